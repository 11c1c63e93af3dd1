"""Arrays without values: what stands in the place of an array while a step is captured.

An operation that only looks at shapes and types, and calls NumPy's functions, serves both kinds.
The class that records what is done to it lives in `chainrule.compile.symbolic`; the rooms between
know only this base of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["AbstractArray", "as_array", "copied", "is_array"]


class AbstractArray:
    """An array of known shape and type whose values are not known yet."""

    __slots__ = ()


def is_array(x: Any) -> bool:
    """True for a NumPy array and for what stands in its place.

    >>> is_array(np.ones(2)), is_array([1.0])
    (True, False)
    """
    return isinstance(x, np.ndarray | AbstractArray)


def as_array(x: Any, dtype: Any = None) -> Any:
    """`numpy.asarray`, which leaves an abstract array what it is.

    >>> as_array([1, 2], np.float32)
    array([1., 2.], dtype=float32)
    """
    if isinstance(x, AbstractArray):
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)  # type: ignore[attr-defined]
    return np.asarray(x, dtype)


def copied(a: Any) -> Any:
    """An array of its own with the values of `a`."""
    return a.copy() if isinstance(a, AbstractArray) else np.array(a)  # type: ignore[attr-defined]
