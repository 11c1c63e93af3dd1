"""Arrays without values, as far as the rooms between know them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array, copied, is_array


class Known(AbstractArray):
    def __init__(self, dtype: Any) -> None:
        self.dtype, self.asked = np.dtype(dtype), []

    def astype(self, dtype: Any) -> Any:
        return Known(dtype)

    def copy(self) -> Any:
        return Known(self.dtype)


def test_what_is_an_array():
    assert is_array(np.ones(2))
    assert is_array(np.ones(()))
    assert is_array(Known("f4"))
    assert not any(map(is_array, [1.0, [1.0], np.float32(1), None]))


def test_as_array():
    a, s = np.ones(2, np.float32), Known("f4")
    assert as_array(a) is a
    assert as_array(a, np.float32) is a
    assert as_array(a, np.float64).dtype == np.float64
    assert as_array([1, 2]).dtype == np.int64
    assert as_array(s) is s
    assert as_array(s, np.float32) is s
    assert as_array(s, np.float64).dtype == np.float64


def test_copied():
    a, s = np.ones(2), Known("f4")
    assert copied(a) is not a
    assert not np.shares_memory(copied(a), a)
    assert copied(s) is not s
