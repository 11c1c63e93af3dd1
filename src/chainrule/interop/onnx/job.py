"""What is exported, and rows to compare the file with the model on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import ops
from chainrule.array.dtypes import is_float
from chainrule.array.errors import DataError, ShapeError
from chainrule.array.random import Stream
from chainrule.autograd.context import no_grad
from chainrule.autograd.program import tree
from chainrule.data.preprocess import TablePreprocessor
from chainrule.data.preprocess.frames import to_frame
from chainrule.interop.onnx.feeds import feeds, invented
from chainrule.interop.onnx.heads import Head
from chainrule.interop.onnx.trace import raw
from chainrule.nn.dense import Dense
from chainrule.nn.embedding import EmbedColumns
from chainrule.nn.module import Module
from chainrule.nn.standardize import Standardize

__all__ = ["Job", "array_job", "table_job"]

Array = npt.NDArray[Any]

#: Rows made up for a table.
_INVENTED = 64
#: Random rows: a few, and many, so that what ends at some number of rows is noticed.
_FEW, _MANY, _MOST = 5, 300, 1_000_000


@dataclass
class Job:
    """What is to be exported, and how to compare it."""

    model: Module
    inputs: list[tuple[str, Any, tuple[int, ...]]]  # name, type, shape of a row
    head: Head | None
    #: inputs of the file and rows as the model takes them, by turns
    tries: list[tuple[dict[str, Array], list[Array]]] = field(default_factory=list)
    preprocessor: TablePreprocessor | None = None

    def forward(self, *args: Any) -> Sequence[Any]:
        """The arrays or tensors that the file is to give."""
        dtype = self.model.dtype  # a tensor of another type would be a mistake, an array is cast
        out = self.model(*(ops.astype(a, dtype) if is_float(a.dtype) else a for a in args))
        return _listed(out) if self.head is None else self.head.compute(out)

    def expected(self, args: Sequence[Array]) -> list[Array]:
        """What the model gives for these rows."""
        with no_grad(), np.errstate(all="ignore"):
            out = self.model(*args)
            found = _listed(out) if self.head is None else self.head.compute(out)
        arrays = [np.asarray(raw(a)) for a in found]
        for k, name in enumerate(self.head.names if self.head else ()):
            if self.head and name in self.head.labels:
                arrays[k] = self.head.labels[name][arrays[k]]
        return arrays


def _listed(out: Any) -> list[Any]:
    """The arrays that a forward pass gives, in order."""
    arrays: list[Any] = []
    tree(out, arrays)
    return arrays


def table_job(
    model: Module, preprocessor: TablePreprocessor, head: Head | None, example: Any
) -> Job:
    """A model of tables: compared on the example, on rows made up, and on a single one."""
    job = Job(
        model, [("features", np.dtype(np.float32), (preprocessor.width,))], head,
        preprocessor=preprocessor,
    )  # fmt: skip
    tables = [invented(preprocessor, _INVENTED)]
    if example is not None:
        tables.insert(0, to_frame(example))
    for table in (*tables, tables[0].head(1)):
        job.tries.append((feeds(preprocessor, table), [preprocessor.transform(table)]))
    return job


def array_job(model: Module, head: Head | None, example: Any, names: Sequence[str] | None) -> Job:
    """A model of arrays: compared on the example, its first row, and few and many random rows."""
    given = example if isinstance(example, tuple | list) else (example,)
    if example is None:
        given = (_guessed(model),)
    elif isinstance(example, list) and example and not hasattr(example[0], "shape"):
        given = (example,)  # rows as lists of numbers
    arrays = [_example(a, model) for a in given]
    if not arrays or len({len(a) for a in arrays}) > 1:
        raise ShapeError(
            "the inputs of the example have different numbers of rows: "
            f"{', '.join(str(a.shape) for a in arrays)}; every row of one belongs to one of each"
        )
    if names is None:
        names = ["x" if k == 0 else f"x{k + 1}" for k in range(len(arrays))]
    if len(names) != len(arrays):
        raise ValueError(f"input_names has {len(names)} names for {len(arrays)} inputs")
    inputs = [(n, a.dtype, a.shape[1:]) for n, a in zip(names, arrays, strict=True)]
    job = Job(model, inputs, head)
    size = max(1, *(a[0].size for a in arrays))
    random = [[_random(a, n) for a in arrays] for n in (_FEW, max(_FEW, min(_MANY, _MOST // size)))]
    for rows in (arrays, [a[:1] for a in arrays], *random):
        job.tries.append((dict(zip(names, rows, strict=True)), rows))
    return job


def _example(a: Any, model: Module) -> Array:
    array = np.asarray(raw(a))
    if array.dtype.kind not in "fiub":
        raise DataError(f"the example holds {array.dtype}; expected numbers")
    if not array.ndim or not len(array):
        raise ShapeError(
            f"the example has shape {array.shape}; expected one or more rows, such as x[:1]"
        )
    return array.astype(model.dtype) if is_float(array.dtype) else array


def _guessed(model: Module) -> Array:
    """A row for the first layer that tells its shape."""
    for layer in model.modules():
        if layer._modules and not isinstance(layer, EmbedColumns):
            continue
        if isinstance(layer, Dense):
            return np.zeros((1, layer.in_features))
        if isinstance(layer, Standardize):
            return np.zeros((1, *layer.mean.shape))
        if isinstance(layer, EmbedColumns):
            return np.zeros((1, layer.width))
        break
    raise ShapeError(
        "the shape of a row is not known from the first layer; give some rows: "
        "cr.onnx.export(model, path, x[:1])"
    )


def _random(a: Array, rows: int) -> Array:
    """Random rows like those of the example; of integers few are its own, many may be others."""
    picks = np.arange(rows) * 7 % len(a)
    if not is_float(a.dtype):
        if rows == _FEW or a.dtype.kind == "b":
            return a[picks]
        # of bytes, such as pixels, all; the model refuses those that are no codes of its own
        low, high = (0, 255) if a.dtype == np.uint8 else (int(a.min()), int(a.max()))
        u = Stream(0).uniform("export", (rows, *a.shape[1:]), np.float64)
        drawn: Array = (low + np.floor(u * (high - low + 1))).astype(a.dtype)
        return drawn
    u = Stream(0).normal("export", (rows, *a.shape[1:]))
    if len(a) < 2:
        return u.astype(a.dtype)
    with np.errstate(all="ignore"):
        found = (a.mean(axis=0) + a.std(axis=0) * u).astype(a.dtype)
    return found if np.isfinite(found).all() else a[picks]
