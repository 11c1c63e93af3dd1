"""Sums of float64 numbers without rounding: no order and no split into batches changes them.

Every finite float64 is a whole multiple of 2⁻¹⁰⁷⁴. A sum is kept as that whole number, in Python's
integers, which never overflow; two sums are added without error, and :func:`rounded` gives the
float64 nearest to the true sum. Within a batch, numbers of one exponent are added by NumPy, their
53 bits in two halves, which stay below 2⁵³ for as many samples as fit into memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNIT", "columns", "join", "quotient", "rounded", "tally", "units"]

Array = NDArray[Any]

UNIT = 1074  # a float64 is a whole number of 2**-UNIT
_HALF = 27  # bits of the lower half of a significand
_MOST = 2**25  # samples added at a time: 2**25 numbers below 2**27 sum to less than 2**53


def tally(codes: Array, weight: Array, n: int) -> Array:
    """(n,) the summed weight of each code: int64 for integer weights, else whole units (object).

    >>> import numpy as np
    >>> rounded(tally(np.array([0, 1, 0, 0]), np.array([1e16, 0.1, 1.0, -1e16]), 2))
    array([1. , 0.1])
    """
    if weight.dtype.kind != "f":
        return _of_integers(codes, weight, n)
    sums: list[int] = [0] * n
    for start in range(0, len(codes), _MOST):
        rows = slice(start, start + _MOST)
        _add(sums, codes[rows], weight[rows].astype(np.float64))
    whole = np.empty(n, object)
    whole[:] = sums
    return whole


def columns(weight: Array, chosen: Array) -> Array:
    """(K,) the summed weight of the rows chosen in each column of (N, K) booleans.

    >>> columns(np.array([1, 2]), np.array([[True, False], [True, True]]))
    array([3, 2])
    """
    if weight.dtype.kind != "f" and _bound(weight) < 2**63:
        return np.asarray(weight @ chosen)
    rows, column = np.nonzero(chosen)
    return tally(column, weight[rows], chosen.shape[1])


def _bound(weight: Array) -> int:
    return int(weight.max(initial=0)) * len(weight)


def _of_integers(codes: Array, weight: Array, n: int) -> Array:
    bound = _bound(weight)
    if bound < 2**53:  # what bincount adds in float64 is exact
        return np.bincount(codes, weights=weight, minlength=n).astype(np.int64)
    whole = np.zeros(n, np.int64 if bound < 2**63 else object)
    np.add.at(whole, codes, weight.astype(whole.dtype))
    return whole if whole.dtype == np.int64 else np.asarray(whole * 2**UNIT, object)


def _add(sums: list[int], codes: Array, values: Array) -> None:
    fraction, exponent = np.frexp(values)
    significand = np.ldexp(fraction, 53).astype(np.int64)
    low = int(exponent.min())
    span = int(exponent.max()) - low + 1
    keys = codes * span + (exponent - low)
    if len(sums) * span <= 4 * len(keys) + 65536:
        used = np.arange(len(sums) * span)
    else:  # many codes or exponents, of which few occur
        used, keys = np.unique(keys, return_inverse=True)
    high = np.bincount(keys, weights=significand >> _HALF, minlength=len(used))
    rest = np.bincount(keys, weights=significand & (2**_HALF - 1), minlength=len(used))
    for at in np.flatnonzero((high != 0) | (rest != 0)).tolist():
        code, step = divmod(int(used[at]), span)
        value = (int(high[at]) << _HALF) + int(rest[at])
        shift = low + step - 53 + UNIT
        sums[code] += value << shift if shift >= 0 else value >> -shift  # no bit is lost: units


def units(a: Array) -> Array:
    """Whole units (object) of sums that are int64 or units already."""
    return a if a.dtype == object else np.asarray(a.astype(object) * 2**UNIT, object)


def join(a: Array, b: Array) -> Array:
    """The sum of two tallies, each int64 or in units."""
    return np.asarray(a + b) if a.dtype == b.dtype else np.asarray(units(a) + units(b))


def rounded(a: Array) -> Array:
    """A tally as numbers: int64 as it is, units as the nearest float64."""
    if a.dtype != object:
        return a
    return np.array([quotient(int(v), 2**UNIT) for v in a.ravel()], np.float64).reshape(a.shape)


def quotient(a: int, b: int) -> float:
    """``a / b`` of whole numbers, correctly rounded, inf where it is too large for a float64."""
    try:
        return a / b
    except OverflowError:
        return float("inf") if (a > 0) == (b > 0) else float("-inf")
