"""What metrics accept: labels, class indicators and weights, read and checked in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError, nearest

__all__ = [
    "Targets",
    "UndefinedMetricWarning",
    "as_array",
    "as_label_list",
    "as_labels",
    "as_weight",
    "check_option",
    "encode",
    "read_targets",
]

Array = NDArray[Any]

# Integers up to here are exact in float64; a float label beyond is not a label any more.
_EXACT = 2**53


class UndefinedMetricWarning(UserWarning):
    """A metric is 0/0 on this data: no such sample was predicted, or none exists.

    >>> import chainrule as cr
    >>> issubclass(cr.metrics.UndefinedMetricWarning, UserWarning)
    True
    """


@dataclass(frozen=True)
class Targets:
    """True and predicted labels of N samples in one of two forms, and the samples' weights.

    Classes: ``labels`` (K,) are the sorted labels present, ``true`` and ``pred`` (N,) index them.
    Multilabel: ``labels`` are the K column numbers, ``true`` and ``pred`` (N, K) are boolean.
    """

    labels: Array
    true: Array
    pred: Array
    weight: Array
    multilabel: bool

    @property
    def correct(self) -> Array:
        """(N,) bool: the label is right; for multilabel targets, all K of them are."""
        equal: Array = self.true == self.pred
        return np.all(equal, axis=1) if self.multilabel else equal


def read_targets(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    all_zero: bool = False,
) -> Targets:
    """Read the two label arguments of a classification metric.

    ``all_zero`` permits weights that are all zero: a fully masked batch of a longer stream.
    """
    true, pred = as_labels("y_true", y_true), as_labels("y_pred", y_pred)
    if true.ndim != pred.ndim:
        forms = {1: "one label per sample (N,)", 2: "a multilabel indicator (N, K)"}
        raise ShapeError(
            f"y_true is {forms[true.ndim]}, y_pred is {forms[pred.ndim]}: shapes {true.shape} and "
            f"{pred.shape}. Bring both to one form, for instance with argmax(axis=1)"
        )
    if true.shape != pred.shape:
        what = "samples" if len(true) != len(pred) else "label columns"
        raise ShapeError(
            f"y_true and y_pred have different numbers of {what}: shapes {true.shape} and "
            f"{pred.shape}"
        )
    if true.size == 0:
        raise DataError(f"y_true and y_pred are empty (shape {true.shape}); one sample is needed")
    weight = as_weight(sample_weight, len(true), all_zero=all_zero)
    if true.ndim == 2:
        return Targets(np.arange(true.shape[1]), true, pred, weight, multilabel=True)
    same_type("y_true", true, "y_pred", pred)
    labels, codes = encode(np.concatenate([true, pred]))
    return Targets(labels, codes[: len(true)], codes[len(true) :], weight, multilabel=False)


def as_array(name: str, values: ArrayLike) -> Array:
    """``np.asarray`` that explains ragged rows; a sparse matrix is made dense."""
    if hasattr(values, "toarray"):  # a sparse matrix of SciPy
        values = values.toarray()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name}: the rows have different lengths ({error})") from error


def as_labels(name: str, values: ArrayLike) -> Array:
    """(N,) labels as int64 or str, or an (N, K > 1) indicator as bool. (N, 1) counts as (N,)."""
    a = as_array(name, values)
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim not in (1, 2):
        raise ShapeError(
            f"{name}: expected labels (N,) or a multilabel indicator (N, K), got shape {a.shape}"
        )
    if a.dtype.kind == "O":
        a = _from_objects(name, a)
    if a.dtype.kind in "UT":
        if a.ndim == 2:
            raise DataError(f"{name}: strings of shape {a.shape}; expected one label per sample")
        return a if a.dtype.kind == "U" else np.array(a.tolist(), dtype=str)
    if a.dtype.kind == "S":
        raise TypeError(f"{name}: labels are bytes, as {a.flat[0]!r}; decode them to strings")
    if a.dtype.kind not in "biuf":
        raise DataError(f"{name}: labels are strings or integers, got dtype {a.dtype}")
    if a.ndim == 2:
        wrong = (a != 0) & (a != 1)
        if wrong.any():
            raise DataError(
                f"{_first(name, a, wrong)}: an (N, K) indicator holds 0 and 1 only. "
                "Scores of K classes become labels with argmax(axis=1)"
            )
        return a.astype(bool)
    if a.dtype.kind == "f":
        wrong = ~(np.isfinite(a) & (a == np.floor(a)))
        if wrong.any():
            raise DataError(
                f"{_first(name, a, wrong)} is not a class label. Probabilities become labels with "
                "p > 0.5 or p.argmax(axis=1)"
            )
    wrong = np.abs(a) > _EXACT if a.dtype.kind == "f" else a > np.iinfo(np.int64).max
    if wrong.any():
        raise DataError(f"{_first(name, a, wrong)} is too large for a class label")
    return a.astype(np.int64)


def as_label_list(name: str, values: ArrayLike) -> Array:
    """The ``labels`` argument of a metric: (K,) distinct labels, at least one."""
    labels = as_labels(name, values)
    if labels.ndim != 1 or len(labels) == 0:
        raise ShapeError(f"{name}: expected a list of at least one label, got shape {labels.shape}")
    distinct, counts = np.unique(labels, return_counts=True)
    if len(distinct) < len(labels):
        raise DataError(f"{name}: {distinct[counts > 1][0]!r} stands in it more than once")
    return labels


def as_weight(sample_weight: ArrayLike | None, n: int, *, all_zero: bool = False) -> Array:
    """(n,) finite, non-negative weights: int64 (ones when none are given) or float64."""
    if sample_weight is None:
        return np.ones(n, np.int64)
    w = as_array("sample_weight", sample_weight)
    if w.shape != (n,):
        raise ShapeError(f"sample_weight: expected one number per sample ({n},), got {w.shape}")
    if w.dtype.kind == "O" and all(isinstance(v, int | float | np.number) for v in w):
        w = w.astype(np.float64)
    if w.dtype.kind not in "biuf":
        raise DataError(f"sample_weight: expected numbers, got dtype {w.dtype}")
    wrong = ~(np.isfinite(w) & (w >= 0))
    if wrong.any():
        raise DataError(f"{_first('sample_weight', w, wrong)}: weights are finite and >= 0")
    if not all_zero and not w.any():
        raise DataError("sample_weight: all weights are zero, so nothing is measured")
    return w.astype(np.float64 if w.dtype.kind == "f" or w.max() >= 2**63 else np.int64)


def encode(labels: Array) -> tuple[Array, Array]:
    """The sorted distinct labels (K,), and where each of ``labels`` (N,) stands among them."""
    if labels.dtype.kind == "i":
        low, high = int(labels.min()), int(labels.max())
        if high - low < 2 * len(labels):  # small integers: a table is far cheaper than a sort
            present = np.zeros(high - low + 1, bool)
            present[labels - low] = True
            return np.flatnonzero(present) + low, (np.cumsum(present) - 1)[labels - low]
    distinct, codes = np.unique(labels, return_inverse=True)
    return distinct, codes


def same_type(name: str, a: Array, other: str, b: Array) -> None:
    """Strings never equal numbers: comparing them would count every sample as wrong."""
    if a.dtype.kind != b.dtype.kind:
        kinds = {"U": "strings", "i": "numbers"}
        raise DataError(
            f"{name} holds {kinds[a.dtype.kind]} ({a[0]!r}, …), {other} holds "
            f"{kinds[b.dtype.kind]} ({b[0]!r}, …): labels are either all strings or all numbers"
        )


def check_option(name: str, value: object, known: Iterable[str | None]) -> None:
    """Reject an unknown keyword value with the nearest known one."""
    options = list(known)
    if not (value is None or isinstance(value, str)) or value not in options:
        hint = nearest(value, [str(option) for option in options])
        raise ValueError(f"{name}={value!r} is unknown: {hint}")


def _from_objects(name: str, a: Array) -> Array:
    items = a.ravel().tolist()
    if all(isinstance(item, str) for item in items):
        return a.astype(str)
    for i, item in enumerate(items):
        if not isinstance(item, int | float | np.integer | np.floating | np.bool_):
            raise DataError(
                f"{name}[{i}] = {item!r} ({type(item).__name__}) among other objects: "
                "labels are either all strings or all numbers"
            )
    return np.array(a.tolist())


def _first(name: str, a: Array, wrong: Array) -> str:
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{name}[{', '.join(map(str, index))}] = {a[index]}"
