"""Orthogonal, sparse and identity matrices, and torch's values where they are exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import init


@given(st.integers(1, 12), st.integers(1, 12), st.lists(st.integers(1, 3), max_size=2))
def test_orthonormal_rows_or_columns(o: int, i: int, kernel: list[int]) -> None:
    w = init.orthogonal((o, i, *kernel), dtype=np.float64)
    assert w.shape == (o, i, *kernel)
    w = w.reshape(o, -1)
    small = w @ w.T if o <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-14)


def test_orthogonal_in_float32_and_with_a_gain() -> None:
    w = init.orthogonal((64, 200), gain="relu")
    assert w.dtype == np.float32
    np.testing.assert_allclose(w @ w.T, 2 * np.eye(64), atol=1e-6)
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.init.orthogonal_(torch.empty(64, 200), gain=math.sqrt(2)).numpy()
    np.testing.assert_allclose(theirs @ theirs.T, w @ w.T, atol=2e-6)


def test_orthogonal_matrices_are_uniform() -> None:
    """The Q that LAPACK gives has a first entry that is never positive; without the signs this
    mean would be -0.42, thirty standard errors away."""
    w = np.array([init.orthogonal((3, 3), dtype=np.float64) for _ in range(1000)])
    assert np.all(abs(w.mean(axis=0)) < 5 * w.std(axis=0) / math.sqrt(1000))
    # an entry of a uniform unit vector of R^3 is uniform in [-1, 1]: its square has mean 1/3
    np.testing.assert_allclose((w**2).mean(axis=0), 1 / 3, atol=5 * math.sqrt(4 / 45 / 1000))
    signs = np.sign(np.linalg.det(w))
    assert abs(signs.mean()) < 5 / math.sqrt(1000)


@pytest.mark.parametrize(("rows", "columns"), [(10, 4), (7, 20), (1, 3)])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.75, 1.0])
def test_the_zeros_of_each_column(rows: int, columns: int, sparsity: float) -> None:
    torch = pytest.importorskip("torch")
    w = init.sparse((rows, columns), sparsity)
    theirs = torch.nn.init.sparse_(torch.empty(rows, columns), sparsity).numpy()
    np.testing.assert_array_equal((w == 0).sum(axis=0), (theirs == 0).sum(axis=0))


def test_where_the_zeros_are() -> None:
    w = init.sparse((4, 5000), 0.5, std=2.0, dtype=np.float64)
    share = (w == 0).mean(axis=1)  # of each place
    np.testing.assert_allclose(share, 0.5, atol=5 * math.sqrt(0.25 / 5000))
    values = w[w != 0]
    assert abs(values.var() / 4 - 1) < 5 * math.sqrt(2 / values.size)
    assert abs(values.mean()) < 10 / math.sqrt(values.size)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (0, 3)])
def test_eye_is_torch_s(shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(init.eye(shape), torch.nn.init.eye_(torch.ones(shape)).numpy())
    assert init.identity is init.eye


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(4, 2, 3), (2, 4, 4, 3), (6, 6, 1, 2, 3), (4, 1, 5)])
def test_dirac_is_torch_s(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
    np.testing.assert_array_equal(init.dirac(shape, groups), theirs)


@pytest.mark.parametrize("f", [init.orthogonal, init.eye, lambda t, **o: init.sparse(t, 0.5, **o)])
def test_parameters_types_and_seeds(f: Any) -> None:
    p = cr.nn.Parameter(np.full((4, 3), 7.0))
    memory = p._data
    assert f(p) is p
    assert p._data is memory
    assert p.dtype == np.float64
    cr.seed(5)
    a = f((4, 3))
    cr.seed(5)
    np.testing.assert_array_equal(f([4, np.int64(3)]), a)
    assert a.dtype == np.float32
    assert f((0, 3), dtype=np.float64).shape == (0, 3)


def test_errors() -> None:
    with pytest.raises(cr.ShapeError, match=r"orthogonal: expected .* got \(3,\)"):
        init.orthogonal(3)
    with pytest.raises(cr.ShapeError, match=r"sparse: expected .* of a matrix, got \(2, 2, 2\)"):
        init.sparse((2, 2, 2), 0.5)
    with pytest.raises(ValueError, match=r"a share from 0 to 1, got 75"):
        init.sparse((2, 2), 75)
    with pytest.raises(cr.ShapeError, match="dirac is for convolutions"):
        init.eye((2, 2, 2))
    with pytest.raises(cr.ShapeError, match="eye is for matrices"):
        init.dirac((2, 2))
    with pytest.raises(cr.ShapeError, match="3 outputs cannot be shared among 2 groups"):
        init.dirac((3, 2, 2), 2)
