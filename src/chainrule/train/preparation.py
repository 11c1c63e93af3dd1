"""From what a person passes to `fit` to checked batches."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import DataError, ShapeError
from chainrule.autograd.context import no_grad
from chainrule.autograd.tape import Variable
from chainrule.data import (
    Batch,
    Batches,
    check_labels,
    check_lengths,
    check_probabilities,
    check_sample_weight,
    check_targets,
    check_x,
    class_weights,
)
from chainrule.data.sources import as_array, is_arrays
from chainrule.nn.module import Module
from chainrule.train.losses import Loss

__all__ = ["Prepared", "check_parameters", "output_shape", "prepare", "raw_output", "whole"]


@dataclass
class Prepared:
    """Checked batches, and one weight per class or None."""

    batches: Batches
    class_weight: Any
    dtype: Any
    y_dtype: Any

    def epoch(self, epoch: int, start: int = 0, stream: Any = None) -> Any:
        """The batches of an epoch."""
        return self.batches.epoch(
            epoch, start, dtype=self.dtype, y_dtype=self.y_dtype, stream=stream
        )

    def weight(self, batch: Batch) -> Any:
        """The weights of a batch's samples, or None for ones."""
        if self.class_weight is None:
            return batch.weight
        labels = np.asarray(batch.y)
        if labels.ndim > 1 and labels.shape[1] > 1:
            labels = labels.argmax(axis=1)
        labels = labels.reshape(len(labels), -1)[:, 0].astype(np.intp)
        last = len(self.class_weight) - 1
        if labels.max(initial=0) > last or labels.min(initial=0) < 0:  # of a stream, unread so far
            row = int(((labels > last) | (labels < 0)).argmax())
            raise DataError(
                f"batch {batch.index}: y holds label {labels[row]} at row {row}, and class_weight "
                f"reaches from class 0 to {last}; give one weight per class"
            )
        rows = self.class_weight[labels]
        return rows if batch.weight is None else rows * batch.weight


def output_shape(model: Module, x: Any) -> tuple[int, ...]:
    """The shape of the model's output for one sample, from a pass over a row of x."""
    training = model.training
    model.eval()
    try:
        with no_grad(), np.errstate(all="ignore"):
            out = model(np.asarray(x[:1]).astype(model.dtype))
    finally:
        model.train(training)
    return tuple(raw_output(out, 1).shape[1:])


def raw_output(output: Any, rows: int) -> Array:
    """The array in what the model returned for so many rows."""
    raw = output._data if isinstance(output, Variable) else output
    if not isinstance(raw, np.ndarray):
        raise TypeError(
            f"the model returned {type(output).__name__}; expected one tensor with a row per "
            "sample: let forward return the prediction alone"
        )
    if raw.shape[:1] != (rows,):
        raise ShapeError(
            f"the model returned shape {raw.shape} for {rows} samples; expected ({rows}, ...). For "
            "a single sample pass x[None]; in forward keep the first axis"
        )
    return raw


def whole(value: Any, name: str, least: int) -> int:
    """A whole number, or an error that names what came."""
    if not isinstance(value, int | np.integer) or value < least:
        plain = value is None or isinstance(value, numbers.Number | str)
        shown = repr(value) if plain else f"{type(value).__name__}; data is one tuple: fit((x, y))"
        raise ValueError(f"{name} must be a whole number, {least} or more, not {shown}")
    return int(value)


def check_parameters(model: Module, held: Iterable[Any], every: bool) -> None:
    """Refuse an optimizer that would leave the model, or with `every` a part of it, untrained."""
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        raise ValueError(
            "no parameter of the model requires a gradient: it has none, or all are frozen. Set "
            "requires_grad=True on those to train"
        )
    known = {id(p) for p in held}
    missing = [name for name, p in wanted.items() if id(p) not in known]
    if len(missing) == len(wanted):
        raise ValueError(
            "the optimizer holds none of the model's parameters: it belongs to another model, or "
            "layers were replaced since. Pass one without any: cr.optim.Adam(lr=1e-3)"
        )
    if every and missing:
        raise ValueError(
            f"the optimizer does not hold {', '.join(missing)}: layers were added or replaced "
            "after the Trainer was made. Make a new Trainer"
        )


def prepare(
    data: Any,
    model: Module,
    loss: Loss,
    *,
    batch_size: int,
    shuffle: bool = False,
    sample_weight: Any = None,
    class_weight: Any = None,
    training: bool = False,
    name: str = "",
) -> Prepared:
    """Check everything that can be checked before the first step, and batch it.

    Raises:
        DataError: for data that cannot be trained on, naming argument, row and column.
        ShapeError: if the first row does not fit the model, naming the layer.
    """
    dtype = model.dtype
    prefix = f"{name} " if name else ""
    if isinstance(data, Batches):
        if sample_weight is not None:
            raise DataError(
                "sample_weight belongs to the Batches here: Batches((x, y), sample_weight=…)"
            )
        return Prepared(
            data, _class_weight_of_batches(class_weight, dtype), dtype, _y_dtype(loss, dtype)
        )
    if not is_arrays(data):
        batches = Batches(data, batch_size=batch_size, sample_weight=sample_weight)
        return Prepared(
            batches, _class_weight_of_batches(class_weight, dtype), dtype, _y_dtype(loss, dtype)
        )
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        count = f"a tuple of {len(data)}" if isinstance(data, tuple) else type(data).__name__
        raise DataError(f"{prefix}data must be (x, y) or (x, y, sample_weight), got {count}")
    if len(data) == 3:
        if sample_weight is not None:
            raise DataError("sample_weight came twice: in the data's tuple and by name")
        sample_weight = data[2]
    if data[1] is None:
        raise DataError(f"{prefix}y is None; expected the targets, one for every row of x")
    x = check_x(data[0], f"{prefix}x", dtype)
    shape = output_shape(model, x)
    y, n_classes = _targets(data[1], loss, shape, f"{prefix}y", training, dtype)
    check_lengths(**{f"{name}_x" if name else "x": x, f"{name}_y" if name else "y": y})
    weights = None
    if class_weight is not None:
        if n_classes is None:
            raise DataError(f"class_weight needs classes, and the targets of {loss.name} are not")
        labels = (
            y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1).astype(np.int64)
        )
        weights = class_weights(labels, n_classes, class_weight).astype(dtype)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(x), f"{prefix}sample_weight")
    batches = Batches((x, y), batch_size=batch_size, shuffle=shuffle, sample_weight=sample_weight)
    return Prepared(batches, weights, dtype, _y_dtype(loss, dtype, y))


def _targets(
    y: Any, loss: Loss, shape: tuple[int, ...], name: str, training: bool, dtype: Any
) -> tuple[Any, int | None]:
    if loss.targets == "any":
        return as_array(y, name), None
    if loss.targets == "values":
        checked = check_targets(y, shape, name, low=loss.low, high=loss.high, dtype=dtype)
        binary = loss.high == 1.0 and (checked.size == len(checked))
        if binary and training and checked.min() == checked.max() in (0, 1):
            check_labels(checked.reshape(-1), 2, name, training=True)  # one class: it says so
        return checked, 2 if binary else None
    if not shape:
        raise DataError(
            f"{loss.name} needs one output per class, but the model gives one number per sample; "
            "end it with "
            "nn.Dense(…, number of classes), or use binary_cross_entropy_with_logits"
        )
    array = as_array(y, name)
    if array.shape[1:] == shape and array.dtype.kind == "f":
        return check_probabilities(array, name, dtype), shape[0]
    if shape[0] == 1:
        raise DataError(
            f"{loss.name} needs one output per class, but the model has a single output; give the "
            "last layer 2 "
            "outputs, or use the loss 'binary_cross_entropy_with_logits'"
        )
    return check_labels(y, shape[0], name, ndim=len(shape), training=training), shape[0]


def _y_dtype(loss: Loss, dtype: Any, y: Any = None) -> Any:
    return dtype if loss.targets == "values" or (y is not None and y.dtype.kind == "f") else None


def _class_weight_of_batches(class_weight: Any, dtype: Any) -> Any:
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        raise DataError(
            f"class_weight={class_weight!r} needs the labels of the whole set, and the data comes "
            "as batches: pass one weight per class, or a dict"
        )
    if isinstance(class_weight, Mapping):
        known = [k for k in class_weight if isinstance(k, numbers.Integral)]
        n_classes = 1 + int(max(known, default=0))
    else:
        n_classes = np.asarray(class_weight).size
    return class_weights((), n_classes, class_weight).astype(dtype)
