from __future__ import annotations

import numpy as np
import pytest

from chainrule.array.dtypes import default_dtype, float_dtype, is_float

F16, F32, F64 = (np.dtype(t) for t in (np.float16, np.float32, np.float64))


@pytest.mark.parametrize(
    ("dtype", "yes"),
    [
        ("e", True),
        ("f", True),
        ("d", True),
        (">f4", True),
        ("i4", False),
        ("?", False),
        ("F", False),
    ],
)
def test_real_floats(dtype, yes):
    assert is_float(np.dtype(dtype)) is yes


@pytest.mark.parametrize(
    ("arrays", "dtype"),
    [
        ([np.ones(1, F32), np.ones(1, F64)], F64),
        ([np.ones(1, F32), np.ones((), F64), np.float64(1)], F32),
        ([np.ones(1, F16), np.ones((), F32)], F16),
        ([np.ones((), F32), np.ones((), F64)], F64),
        ([np.arange(3), np.ones(1, bool), np.ones(1, F32)], F32),
        ([np.arange(3), np.float64(1)], F64),
        ([np.arange(3)], F32),
        ([], F32),
    ],
)
def test_arrays_decide_and_scalars_follow(arrays, dtype):
    assert float_dtype(arrays) == dtype


def test_the_default():
    assert default_dtype == F32
