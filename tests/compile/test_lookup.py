"""Rows of tables at codes, as NumPy does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.compile import lookup
from chainrule.compile.native import Unfinished


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(50, 4, 3), (50, 1000, 2), (1, 1, 1), (0, 3, 2)]
)
def test_scatter_adds_in_double_row_after_row(dtype: Any, n: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, rows, n)
    g = rng.normal(size=(n, columns)).astype(dtype)
    sums = np.zeros((rows, columns))
    for code, row in zip(codes, g, strict=True):
        sums[code] += row
    found = lookup.scatter(g, codes, column=-1, first=0, shape=(rows, columns), padding=-1)
    assert found.dtype == dtype
    assert found.tobytes() == sums.astype(dtype).tobytes()


def test_scatter_of_one_of_several_columns() -> None:
    x = np.array([[0.5, 2.0, 0.0], [0.5, 2.0, 1.0], [0.5, 0.0, 1.0]], np.float32)
    g = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = lookup.scatter(g, x, column=1, first=1, shape=(3, 2), padding=-1)
    np.testing.assert_array_equal(found, [[9, 10], [0, 0], [6, 8]])
    found = lookup.scatter(g, x, column=1, first=1, shape=(3, 2), padding=2)
    np.testing.assert_array_equal(found, [[9, 10], [0, 0], [0, 0]])


def test_a_sum_too_large_is_infinite() -> None:
    g = np.full((3, 1), 2e38, np.float32)
    found = lookup.scatter(g, np.zeros(3, int), column=-1, first=0, shape=(1, 1), padding=-1)
    assert np.isinf(found).all()


@pytest.mark.parametrize(
    ("codes", "sizes", "at"),
    [
        (np.array([0, 2, 1]), [3], None),
        (np.array([[0, 2], [3, 1]], np.uint8), [3], (1, 0)),
        (np.array([0, -1]), [3], (1,)),
        (np.array(3), [3], ()),
        (np.array(2), [3], None),
        (np.array([[0.0, 1.0], [1.0, 0.5]]), [2, 2], (1, 1)),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), [2, 2], (1, 0)),
        (np.array([[0.0, np.inf]]), [2, 2], (0, 1)),
        (np.array([[1.0, 2.0]]), [2, 3], None),
        (np.array([[1, 2], [2, 1]]), [2, 3], (1, 0)),
        (np.zeros((0, 2)), [2, 2], None),
    ],
)
def test_the_first_code_without_a_row(codes: Any, sizes: Any, at: Any) -> None:
    assert lookup.first_bad(codes, sizes) == at
    tables = [np.arange(2.0 * n).reshape(n, 2) for n in sizes]
    kept = -1 if len(sizes) == 1 else 0
    if at is None:
        found = lookup.gather(codes, *tables, kept=kept, check=True)
        np.testing.assert_array_equal(found, lookup.gather(codes, *tables, kept=kept))
    else:
        with pytest.raises(Unfinished):
            lookup.gather(codes, *tables, kept=kept, check=True)


def test_gather_of_columns() -> None:
    x = np.array([[7.0, 1.0, 0.0], [8.0, 0.0, 2.0]], np.float32)
    a, b = np.array([[1], [2]], np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    found = lookup.gather(x, a, b, kept=1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[7, 2, 0, 1], [8, 1, 4, 5]])
