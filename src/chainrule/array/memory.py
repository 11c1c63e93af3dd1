"""Where long vectors begin."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from chainrule.array.dtypes import Array, DType

__all__ = ["page_aligned"]

_PAGE = 4096
_LARGE = 1 << 21


def page_aligned(size: int, dtype: DType) -> Array:
    """Zeros ``(size,)`` that begin with a page of memory.

    Vectors that are read and written side by side should all begin alike. A processor tells memory
    that was just written from memory about to be read by the last 12 bits of the addresses, and
    waits where two of them come within a few lines of each other by chance: an update by Adam then
    takes several times as long. Where the system has pages of 2 MB, a vector has them as far as it
    fills them by half: the addresses of few pages are found faster than those of many.

    >>> v = page_aligned(3, np.dtype(np.float32))
    >>> v, v.ctypes.data % 4096
    (array([0., 0., 0.], dtype=float32), 0)
    """
    if size == 0:
        return np.zeros(0, dtype)
    large = (size * dtype.itemsize + _LARGE // 2) // _LARGE * _LARGE
    if large and hasattr(mmap, "MADV_HUGEPAGE"):
        kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked process has a copy of its own
        pages = mmap.mmap(-1, max(large, size * dtype.itemsize) + _LARGE, flags=kind)
        start = -np.frombuffer(pages, np.uint8).ctypes.data % _LARGE
        with contextlib.suppress(OSError):  # a kernel that has only small ones
            pages.madvise(mmap.MADV_HUGEPAGE, start, large)
        return np.frombuffer(pages, dtype, size, start)
    memory = bytearray(size * dtype.itemsize + _PAGE)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    return np.frombuffer(memory, dtype, size, -start % _PAGE)
