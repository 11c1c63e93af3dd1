"""What training refuses, found before it starts: each check names the first bad row and the fix.

Every check reads its array in blocks, so a memory-mapped file is checked in constant memory. Each
returns the array to train on, which is the one it was given unless the docstring says otherwise.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.data.sources import Array, as_array, column_names, place

__all__ = [
    "check_labels",
    "check_lengths",
    "check_probabilities",
    "check_sample_weight",
    "check_targets",
    "check_x",
    "class_weights",
]

BLOCK = 1 << 18  # elements: large enough to hide the call, small enough to stay in cache


def check_x(data: Any, name: str = "x", dtype: npt.DTypeLike = np.float32) -> Array:
    """Samples that can be trained on: numbers, at least one row and one feature, all finite.

    Args:
        data: ``(n, ...)``, anything :func:`chainrule.data.as_array` takes.
        name: what messages call it.
        dtype: the dtype that training casts to; a float64 value too large for it would become
            infinite and is refused here.

    Returns:
        The array, uncast. Booleans and integers are always finite and are not read.

    Raises:
        DataError: naming how many entries are bad and the first row and column.

    >>> check_x([[1.0, 2.0], [3.0, float("nan")]])
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: x contains 1 non-finite value; the first is nan at row 1, ...
    """
    x = _not_empty(as_array(data, name), name)
    _check_finite(x, name, dtype, column_names(data))
    return x


def check_targets(
    data: Any,
    shape: tuple[int, ...] | None = None,
    name: str = "y",
    *,
    low: float = -math.inf,
    high: float = math.inf,
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Real-valued targets: as :func:`check_x`, with the shape of one target and a range.

    Args:
        data: ``(n, *shape)``.
        shape: the shape of the model's output for one sample, if known. Targets that differ from
            it in axes of length 1 only, such as ``(n,)`` for outputs ``(n, 1)``, are reshaped:
            broadcast as they are, they would give an ``(n, n)`` loss.
        name: what messages call it.
        low, high: the allowed range, such as 0 and 1 for binary cross-entropy.
        dtype: the dtype that training casts to.

    Returns:
        The array, uncast, viewed as ``(n, *shape)``.

    Raises:
        DataError: naming the first row and column, or the shape.

    >>> check_targets([1.0, 2.0, 3.0], shape=(1,)).shape
    (3, 1)
    """
    y = _not_empty(as_array(data, name), name)
    columns = column_names(data)
    if shape is not None and y.shape[1:] != shape:
        if [k for k in y.shape[1:] if k != 1] != [k for k in shape if k != 1]:
            wanted = f"as many outputs as {name} has columns" if y.ndim > 1 else "1 output"
            raise DataError(
                f"{name} has shape {y.shape}, but the model's output has shape {(len(y), *shape)}. "
                f"Give the last layer {wanted}."
            )
        y = y.reshape(len(y), *shape)
    _check_finite(y, name, dtype, columns)
    if low > -math.inf or high < math.inf:
        for start, block in _blocks(y):
            if block.min() < low or block.max() > high:
                index, value = _first((block < low) | (block > high), block, start)
                raise DataError(
                    f"{name} holds {value} at {place(index, columns)}, outside the range "
                    f"[{low:g}, {high:g}] of this loss. Rescale {name}, or choose another loss."
                )
    return y


def check_labels(
    data: Any,
    n_classes: int | None = None,
    name: str = "y",
    *,
    ndim: int = 1,
    training: bool = False,
) -> Array:
    """Class labels: integers 0 to ``n_classes`` - 1, one per sample.

    Args:
        data: ``(n,)``, or ``(n, ...)`` with ``ndim`` axes (a label per pixel, for example).
            Booleans count as 0 and 1; floats are accepted where they are whole (3.0, not 3.5).
        n_classes: the number of classes, the model's outputs; None allows any number from 0 on.
        name: what messages call it.
        ndim: how many axes labels have.
        training: refuse labels that are all of one class, from which nothing can be learned.

    Returns:
        The array itself for integers of any width; a new int64 array for floats and booleans.

    Raises:
        DataError: naming the first row whose label is no integer or out of range, and the range.

    >>> check_labels([0, 2.0, 1], 3)
    array([0, 2, 1])
    >>> check_labels([0, 3, 1], 3)
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: y holds label 3 at row 1; expected 0 to 2 for 3 classes. ...
    """
    y = as_array(data, name)
    if y.ndim != ndim:
        fix = ""
        if ndim == 1 and y.ndim == 2:
            one = y.shape[1] == 1
            fix = f" Pass {name}.ravel()." if one else f" For one-hot rows: {name}.argmax(axis=1)."
        what = "(n,), one label per row" if ndim == 1 else f"{ndim} axes"
        raise DataError(f"{name} has shape {y.shape}; expected {what}.{fix}")
    _not_empty(y, name)
    _check_finite(y, name, y.dtype, None)
    lowest, highest = math.inf, -math.inf
    for start, block in _blocks(y):
        if block.dtype.kind == "f" and (block != np.floor(block)).any():
            index, value = _first(block != np.floor(block), block, start)
            raise DataError(
                f"{name} holds {value} at {place(index)}; class labels are integers. "
                f"For real-valued targets use a regression loss, such as 'mse'."
            )
        low, high = int(block.min()), int(block.max())
        if low < 0 or (n_classes is not None and high >= n_classes):
            bad = block < 0 if n_classes is None else (block < 0) | (block >= n_classes)
            index, value = _first(bad, block, start)
            expected = (
                "a label of 0 or more"
                if n_classes is None
                else f"0 to {n_classes - 1} for {n_classes} classes"
            )
            raise DataError(
                f"{name} holds label {int(value)} at {place(index)}; expected {expected}. "
                f"Number the classes from 0, the same way in all data: "
                f"classes, y = numpy.unique(y, return_inverse=True)."
            )
        lowest, highest = min(lowest, low), max(highest, high)
    if training and lowest == highest:
        raise DataError(
            f"all {y.size} labels of {name} are {int(lowest)}; training a classifier needs at "
            f"least two classes."
        )
    return y if y.dtype.kind in "iu" else y.astype(np.int64)


def check_probabilities(data: Any, name: str = "y", dtype: npt.DTypeLike = np.float32) -> Array:
    """Class probabilities: ``(n, classes, ...)`` from 0 to 1 that add up to 1 over the classes.

    Args:
        data: floats; one-hot rows and smoothed or mixed labels are of this kind.
        name: what messages call it.
        dtype: the dtype that training casts to.

    Raises:
        DataError: naming the first row that is none, as the labels of a sample that may belong to
            several classes at once.

    >>> check_probabilities([[1.0, 1.0]])
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: y adds up to 2 at row 0; the probabilities of the classes ...
    """
    y = check_targets(data, None, name, low=0.0, high=1.0, dtype=dtype)
    for start, block in _blocks(y):
        total = block.sum(axis=1, dtype=np.float64)
        bad = np.abs(total - 1) > 0.01  # float16, and tables of three decimals
        if bad.any():
            index, value = _first(bad, total, start)
            raise DataError(
                f"{name} adds up to {value:g} at {place(index)}; the probabilities of the classes "
                f"add up to 1. Where a sample may have several labels, use "
                f"'binary_cross_entropy_with_logits'."
            )
    return y


def check_lengths(**arrays: Any) -> int:
    """The number of rows that all arrays share; their keywords are their names in messages.

    None stands for an absent array. Raises DataError naming both arrays and both lengths.

    >>> check_lengths(x=np.zeros((3, 2)), y=[0, 1, 0], sample_weight=None)
    3
    >>> check_lengths(x=np.zeros((3, 2)), y=[0, 1])
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: x has 3 rows but y has 2; every row of x needs one of y.
    """
    (first, first_rows), *others = [(k, len(a)) for k, a in arrays.items() if a is not None]
    for name, rows in others:
        if rows != first_rows:
            raise DataError(
                f"{first} has {first_rows} rows but {name} has {rows}; every row of {first} needs "
                f"one of {name}."
            )
    return first_rows


def check_sample_weight(data: Any, n: int, name: str = "sample_weight") -> Array:
    """One weight per row: finite, none negative, not all zero.

    Zero leaves a row out; the weighted mean is Σwℓ/Σw, which all zeros leave undefined.

    Args:
        data: ``(n,)``.
        n: the number of rows of ``x``.
        name: what messages call it.

    >>> check_sample_weight([1.0, 0.0, 2.5], 3)
    array([1. , 0. , 2.5])
    """
    weight = as_array(data, name)
    if weight.shape != (n,):
        raise DataError(
            f"{name} has shape {weight.shape}; expected ({n},), one weight per row of x."
        )
    _not_empty(weight, name)
    _check_finite(weight, name, np.float32, None)
    positive = False
    for start, block in _blocks(weight):
        if block.min() < 0:
            index, value = _first(block < 0, block, start)
            raise DataError(f"{name} holds {value} at {place(index)}; weights are 0 or more.")
        positive = positive or bool(block.any())
    if not positive:
        raise DataError(
            f"all {n} values of {name} are zero: no row would count. Give a positive one."
        )
    return weight


def class_weights(
    y: Any, n_classes: int, class_weight: str | Mapping[int, float] | Any = None
) -> npt.NDArray[np.float64]:
    """One weight per class; the weight of a row is that of its class.

    Args:
        y: labels ``(n,)``, integers 0 to ``n_classes`` - 1.
        n_classes: the number of classes K.
        class_weight: None for ones; ``"balanced"`` for n / (K n_k) with n_k rows of class k, so
            that every class has the same total weight (scikit-learn's formula); a dict from class
            to weight, 1 for classes it leaves out; K weights.

    Returns:
        Weights ``(K,)`` in float64.

    Raises:
        DataError: for another form or another word, a class that is not there, a number of weights
            other than K, weights negative, not finite or all zero; for ``"balanced"`` with a class
            that has no row.

    >>> class_weights([0, 0, 0, 1], 2, "balanced")
    array([0.66666667, 2.        ])
    >>> class_weights([0, 1, 2], 3, {2: 5.0})
    array([1., 1., 5.])
    """
    if class_weight is None:
        return np.ones(n_classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise DataError(
                f"class_weight={class_weight!r} is unknown; the only word for it is 'balanced'. "
                f"Otherwise pass a dict from class to weight, or {n_classes} weights."
            )
        return _balanced(check_labels(y, n_classes), n_classes)
    if isinstance(class_weight, Mapping):
        weights = np.ones(n_classes)
        for label, weight in class_weight.items():
            if isinstance(label, str) or label not in range(n_classes):
                raise DataError(
                    f"class_weight names class {label!r}; expected 0 to {n_classes - 1} for "
                    f"{n_classes} classes."
                )
            if not isinstance(weight, numbers.Real):
                raise DataError(f"class_weight[{label}] is {weight!r}; expected a number.")
            weights[int(label)] = weight
    else:
        weights = as_array(class_weight, "class_weight").astype(np.float64)
        if weights.shape != (n_classes,):
            raise DataError(
                f"class_weight has shape {weights.shape}; expected ({n_classes},), one weight per "
                f"class."
            )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        k = int(bad.argmax())
        raise DataError(
            f"class_weight is {weights[k]} for class {k}; weights are finite and 0 or more."
        )
    if not weights.any():
        raise DataError("class_weight is zero for every class: no row would count.")
    return weights


def _balanced(y: Array, n_classes: int) -> npt.NDArray[np.float64]:
    counts = np.zeros(n_classes, np.int64)
    for _, block in _blocks(y):
        counts += np.bincount(block.astype(np.int64, copy=False), minlength=n_classes)
    if not counts.all():
        raise DataError(
            f"class_weight='balanced' divides by the rows of each class, and class "
            f"{int(counts.argmin())} has none. Pass a dict from class to weight."
        )
    return len(y) / (n_classes * counts.astype(np.float64))


def _blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Pieces of about BLOCK elements along the rows, each with the number of its first row."""
    step = max(1, BLOCK // max(1, array.size // len(array)))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def _first(bad: npt.NDArray[np.bool_], block: Array, start: int) -> tuple[tuple[int, ...], Any]:
    """The place in the whole array, and the value, of a block's first bad entry."""
    row, *rest = (int(i) for i in np.argwhere(bad)[0])
    return (start + row, *rest), block[(row, *rest)].item()


def _not_empty(array: Array, name: str) -> Array:
    if array.ndim == 0:
        raise DataError(f"{name} is the single value {array}; expected one row per sample.")
    if array.size == 0:
        raise DataError(f"{name} is empty (shape {array.shape}); expected at least one row.")
    return array


def _check_finite(array: Array, name: str, dtype: npt.DTypeLike, columns: list[str] | None) -> None:
    if array.dtype.kind != "f":
        return
    target = np.dtype(dtype)
    if target.kind != "f" or target.itemsize > array.dtype.itemsize:
        target = array.dtype
    count = 0
    first: tuple[tuple[int, ...], float] = (), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for start, block in _blocks(array):
            cast = block.astype(target, copy=False)
            # A sum is finite only where all its terms are: one fast pass. Large finite values may
            # overflow it, so the slower look decides.
            if math.isfinite(cast.sum()):
                continue
            bad = ~np.isfinite(cast)
            if not count and bad.any():
                first = _first(bad, block, start)
            count += int(np.count_nonzero(bad))
    if count:
        index, value = first
        values = "value" if count == 1 else "values"
        if math.isfinite(value):
            raise DataError(
                f"{name} contains {count} {values} too large for {target}; the first is {value:g} "
                f"at {place(index, columns)}. Rescale the data, or train in float64."
            )
        raise DataError(
            f"{name} contains {count} non-finite {values}; the first is {value} at "
            f"{place(index, columns)}. Remove rows with NaN or infinity (keep those where "
            f"numpy.isfinite holds), or impute them."
        )
