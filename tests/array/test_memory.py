"""Vectors that begin with a page."""

from __future__ import annotations

import os

import numpy as np
import pytest

from chainrule.array.memory import page_aligned


@pytest.mark.parametrize("size", [0, 1, 1023, 24960, 600_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_that_begin_with_a_page(size: int, dtype: type) -> None:
    several = [page_aligned(size, np.dtype(dtype)) for _ in range(3)]
    for v in several:
        assert v.shape == (size,)
        assert v.dtype == dtype
        assert size == 0 or v.ctypes.data % 4096 == 0
        assert v.flags.writeable
        assert not v.any()
        v += 1
    assert np.all(several[0] == 1)  # memory of its own


def test_a_view_has_the_vector_as_its_base() -> None:
    v = page_aligned(6, np.dtype(np.float32))
    assert v[2:4].reshape(1, 2).base is v


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("size", [10, 600_000])
def test_a_forked_process_writes_into_a_copy(size: int) -> None:
    v = page_aligned(size, np.dtype(np.float32))
    child = os.fork()
    if child == 0:
        v += 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not v.any()
