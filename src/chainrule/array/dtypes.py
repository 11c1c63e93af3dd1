"""Which floating type a computation runs in.

The rule, in one sentence: arrays decide, scalars follow. Among the operands that have dimensions
the widest floating type wins; Python numbers, NumPy scalars and 0-d arrays are *weak* and take that
type; integers and booleans never widen a float. So float32 stays float32 unless a float64 *array*
takes part.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "DType", "default_dtype", "float_dtype", "is_float"]

Array: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]

#: What a list of Python numbers becomes.
default_dtype: DType = np.dtype(np.float32)

_FLOATS = frozenset("efdg")


def is_float(dtype: DType) -> bool:
    """True for real floating types.

    >>> is_float(np.dtype("float32")), is_float(np.dtype("int64"))
    (True, False)
    """
    return dtype.char in _FLOATS


def float_dtype(arrays: list[Array]) -> DType:
    """The type a computation over `arrays` runs in: the widest float with dimensions, else the
    widest 0-d float, else the default.

    >>> float_dtype([np.ones(3, np.float32), np.float64(2.0), np.arange(3)])
    dtype('float32')
    """
    strong: DType | None = None
    weak: DType | None = None
    for a in arrays:
        dtype = a.dtype
        if dtype.char not in _FLOATS:
            continue
        if a.ndim:
            if strong is None or dtype.itemsize > strong.itemsize:
                strong = dtype
        elif weak is None or dtype.itemsize > weak.itemsize:
            weak = dtype
    return strong or weak or default_dtype
