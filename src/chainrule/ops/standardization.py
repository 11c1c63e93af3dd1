"""Standardisation: a formula, and the statistics it takes, read from rows block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.dtypes import Array
from chainrule.array.errors import DataError
from chainrule.ops.formula import formula

__all__ = ["mean_and_deviation", "standardize"]

_BLOCK = 1 << 18  # numbers read at a time: large enough to hide the calls, small enough for cache


@formula
def standardize(xp: Any, x: Any, mean: Any, scale: Any) -> Any:
    """``(x - mean) / scale`` with broadcasting.

    >>> import numpy as np
    >>> standardize(np.array([[1.0, 5.0], [3.0, 9.0]]), np.array([2.0, 5.0]), 2.0)
    array([[-0.5,  0. ],
           [ 0.5,  2. ]])
    """
    return (x - mean) / scale


def mean_and_deviation(
    x: Any, common: bool = False, dtype: npt.DTypeLike = np.float32
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of every feature over the rows, in double precision.

    ``mean = Σ_n x_n / N``, ``deviation = √(Σ_n (x_n - mean)² / N)``, in two passes, each over
    differences: large means cost no digits.

    Arguments:
        x: ``(N, ...)``, a row per sample; a memory map is read block by block, twice.
        common: one deviation for all features, the root of their mean variance: for features of
            one unit, such as pixels, where a deviation of its own would blow up a feature that is
            nearly always 0.
        dtype: what the rows are cast to before anything else. These are then the statistics of the
            numbers that a model of this type meets, and a feature that it cannot tell from a
            constant counts as one.

    Returns:
        Two arrays of the shape of a sample. A constant feature has deviation 1, so that dividing
        by it changes nothing.

    Raises:
        DataError: for no rows, for entries that are no numbers, and for a feature with values that
            are not finite in `dtype`.

    >>> import numpy as np
    >>> mean_and_deviation([[1.0, 5.0], [3.0, 5.0]])
    (array([2., 5.]), array([1., 1.]))
    """
    rows = np.asarray(x)
    if not rows.ndim or not rows.size or rows.dtype.kind not in "biuf":
        raise DataError(
            f"statistics need rows of numbers, (rows, features), got shape {rows.shape} and type "
            f"{rows.dtype}"
        )
    n = len(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        # of differences to the first row: exactly 0 for a constant feature
        first = next(_blocks(rows[:1], dtype))[0]
        mean = first + sum(np.sum(b - first, axis=0) for b in _blocks(rows, dtype)) / n
        variance = sum(np.sum((b - mean) ** 2, axis=0) for b in _blocks(rows, dtype)) / n
    bad = ~np.isfinite(variance)
    if bad.any():
        where = ", ".join(str(k) for k in np.argwhere(bad)[0]) or "0"
        raise DataError(
            f"feature {where} holds values that are not finite in {np.dtype(dtype)}; remove such "
            "rows (keep those where numpy.isfinite holds), impute or rescale them"
        )
    if common:
        variance = np.full_like(variance, np.mean(variance))
    deviation = np.sqrt(variance)
    # what rounding alone leaves of a constant, or what vanishes in the type of the model
    rounding = 8 * np.finfo(np.float64).eps * np.abs(mean)
    constant = (deviation <= rounding) | (deviation.astype(dtype) == 0)
    return np.asarray(mean), np.where(constant, 1.0, deviation)


def _blocks(rows: Array, dtype: npt.DTypeLike) -> Iterator[Array]:
    step = max(1, _BLOCK // (rows.size // len(rows)))
    for start in range(0, len(rows), step):
        yield rows[start : start + step].astype(dtype).astype(np.float64)
