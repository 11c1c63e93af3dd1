"""What follows a network: classes, probabilities and values on their own scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import ops
from chainrule.data.preprocess import Target
from chainrule.data.preprocess.target import _dtype
from chainrule.interop.onnx.trace import raw

__all__ = ["Head", "of_classes", "of_target", "of_values"]

F8 = np.dtype(np.float64)


@dataclass(frozen=True)
class Head:
    """From what the model gives to what a person asked for.

    Attributes:
        names: of the outputs.
        compute: from the model's scores to one array for each output.
        labels: for an output that is the number of a class, the classes by number.
        says: what each output is, for people.
        about: what the file tells: task, classes.
        size: a difference this large matters: 1 but for values, of which it is the deviation.
    """

    names: list[str]
    compute: Callable[[Any], Sequence[Any]]
    labels: dict[str, Any] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    size: float = 1.0


def _listed(names: Any) -> str:
    """What the columns of the probabilities are of."""
    shown = [str(n) for n in list(names)[:6]]
    return f"of {', '.join(shown)}" + (f", … {list(names)[-1]}" if len(names) > 6 else "")


def of_classes(classes: Sequence[Any]) -> Head:
    """Of a classifier of arrays: the class of the largest logit, and the softmax."""
    labels = np.asarray(classes)

    def compute(scores: Any) -> Sequence[Any]:
        scores = raw(scores)
        return [np.argmax(scores, axis=1), raw(ops.softmax(scores, axis=1))]

    return Head(
        ["prediction", "probabilities"],
        compute,
        {"prediction": labels},
        ["the class", _listed(labels)],
        {"task": "classification", "classes": labels.tolist()},
    )


def of_values(mean: Any, scale: Any, shape: Sequence[int]) -> Head:
    """Of a regression on arrays: values on their own scale, in float64."""
    mean, scale = np.array(mean, F8), np.array(scale, F8)

    def compute(scores: Any) -> Sequence[Any]:
        z = raw(scores).astype(F8) * scale + mean
        return [z.reshape((z.shape[0], *shape))]

    return Head(
        ["prediction"], compute, {}, ["the value"], {"task": "regression"}, float(scale.min())
    )


def of_target(target: Target, weights: Sequence[float] | None = None) -> Head:
    """Of a model of tables: what `Target.decode` and `Target.probabilities` give."""
    predicted = [f"predicted_{name}" for name in target.names]
    about = {"task": target.task, "targets": target.names, "classes": target.classes}
    if target.task == "regression":
        scalers = target._scalers

        def values(scores: Any) -> Sequence[Any]:
            z = raw(scores).astype(F8)
            return [(z[:, k] * s.scale + s.centre) * s.unit for k, s in enumerate(scalers)]

        size = min(s.scale * s.unit for s in scalers)
        return Head(predicted, values, {}, ["the value"] * len(predicted), about, size)
    assert target.classes is not None
    if target.task == "multilabel":
        dtypes = [
            np.dtype(str(_dtype(kind)).lower().replace("boolean", "bool"))
            for kind in target._dtypes
        ]

        def labels(scores: Any) -> Sequence[Any]:
            z = raw(scores).astype(F8)
            found = [(z[:, k] > 0.0).astype(kind) for k, kind in enumerate(dtypes)]
            return [*found, raw(ops.sigmoid(z))]

        says = ["whether it holds"] * len(predicted) + [_listed(target.names)]
        return Head([*predicted, "probabilities"], labels, {}, says, about)
    shift = None if weights is None else np.log(np.asarray(weights, F8))
    kind = target._dtypes[0]
    classes = np.array(
        target.classes,
        object if kind == "String" else np.dtype(kind.lower().replace("boolean", "bool")),
    )

    def decided(scores: Any) -> Sequence[Any]:
        z = raw(scores).astype(F8)
        chosen = np.argmax(z if shift is None else z + shift, axis=1)
        return [chosen, raw(ops.softmax(z, axis=1))]

    return Head(
        [predicted[0], "probabilities"],
        decided,
        {predicted[0]: classes},
        ["the class", _listed(classes)],
        {**about, "decision": None if weights is None else list(weights)},
    )
