"""Class indices as targets: checked, and turned into what a text takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array import numerics
from chainrule.array.abstract import AbstractArray
from chainrule.array.errors import DataError, ShapeError
from chainrule.autograd.context import state
from chainrule.compile.symbolic import capture_error
from chainrule.ops.loss.reduction import raw

__all__: list[str] = []


def column(input: Any, axis: int) -> list[int]:
    """The shape in which one number per class lies along `axis`."""
    return [-1 if a == axis else 1 for a in range(len(input.shape))]


def class_weight(name: str, weight: Any, input: Any, axis: int, what: str = "weight") -> Any:
    w, classes = raw(weight), input.shape[axis]
    if w.shape != (classes,):
        raise ShapeError(
            f"{name}: {what} needs one number per class, shape ({classes},), got {w.shape}"
        )
    return w.astype(input.dtype, copy=False)


def picked(w: Any, labels: Any) -> Any:
    """The weight of each label."""
    if isinstance(labels, AbstractArray):
        return labels.recorder.getitem(w, labels)  # type: ignore[attr-defined]
    return w[labels]


def indices(name: str, target: Any, input: Any, axis: int, ignore_index: int) -> tuple[Any, Any]:
    """Labels of the shape of the rows, and a mask of the ignored ones or None."""
    labels, shape = raw(target), input.shape
    rows = shape[:axis] + shape[axis + 1 :]
    if labels.shape != rows:
        raise ShapeError(
            f"{name}: logits of shape {tuple(shape)} need one class index per sample, shape "
            f"{rows}, or class probabilities of the same shape; got target of shape "
            f"{tuple(labels.shape)} ({labels.dtype})"
        )
    return _labels(name, labels, shape[axis], ignore_index)


def rows_as_columns(x: Any, axis: int) -> Any:
    """One number per row, as a column along `axis`."""
    return x.reshape(*x.shape[:axis], 1, *x.shape[axis:])


def _labels(name: str, labels: Any, classes: int, ignore_index: int) -> tuple[Any, Any]:
    """Whole class indices in range, and a mask of the ignored ones (None if there are none)."""
    kind = labels.dtype.kind
    if kind not in "iub":
        bad = np.argwhere(~_is_whole(labels)) if kind == "f" else np.zeros((1, labels.ndim), int)
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            raise DataError(
                f"{name}: class indices must be whole numbers, got {labels.dtype} (first: "
                f"{labels[at]} at {at})"
            )
    labels = labels.astype(np.int64, copy=False)
    if not labels.size:
        return labels, None
    if isinstance(labels, AbstractArray):  # of a captured step: looked at before each replay
        if 0 <= ignore_index < classes:
            raise capture_error(f"{name}: labels are looked for ignore_index {ignore_index}")
        state.recorder.labels(labels, classes)
        return labels, None
    if numerics.largest(labels) < classes and not 0 <= ignore_index < classes:
        return labels, None
    low, high = int(labels.min()), int(labels.max())
    ignored = labels == ignore_index
    wrong = ((labels < 0) | (labels >= classes)) & ~ignored
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f"row {at[0]}" if len(at) == 1 else f"index {at}"
        hint = " (labels counted from 1? subtract 1)" if low >= 1 and high == classes else ""
        raise DataError(
            f"{name}: label {int(labels[at])} at {place} is out of range; {classes} classes are 0 "
            f"to {classes - 1}{hint}"
        )
    return np.where(ignored, 0, labels), ignored if ignored.any() else None


def _is_whole(x: Any) -> Any:
    return np.isfinite(x) & (x == np.floor(x))
