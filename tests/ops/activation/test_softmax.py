"""Softmax and its kin: large logits, any axis, what a shift does, the Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import ops

X = np.random.default_rng(0).standard_normal((3, 5)) * 2


def test_softmax_of_large_and_infinite_logits():
    """Erratum E000-07."""
    x = np.array([[1000.0, 1000.0], [-1000.0, 0.0], [-math.inf, 0.0]])
    np.testing.assert_allclose(ops.softmax(x), [[0.5, 0.5], [0, 1], [0, 1]])
    np.testing.assert_allclose(ops.softmin(-x), [[0.5, 0.5], [0, 1], [0, 1]])
    np.testing.assert_allclose(ops.log_softmax(x)[:2], [[-math.log(2)] * 2, [-1000, 0]])
    assert ops.log_softmax(x)[2, 0] == -math.inf
    np.testing.assert_allclose(ops.softmax(X, axis=0).sum(0), np.ones(5))
    np.testing.assert_allclose(ops.softmax(X, axis=(0, 1)).sum(), 1)


def test_log_softmax_loses_no_digits_to_a_common_offset():
    for dtype in (np.float32, np.float64):
        y = ops.log_softmax(np.full((1, 3), 1e4, dtype))
        np.testing.assert_allclose(y, -math.log(3), rtol=2 * np.finfo(dtype).eps)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.integers(-1000, 1000))
def test_a_shift_changes_nothing_and_the_sum_is_one(values, shift):
    x = np.round(np.array(values), 3)
    y = ops.softmax(x)
    assert ((y >= 0) & (y <= 1)).all()
    np.testing.assert_allclose(y.sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(ops.softmax(x + shift), y, rtol=1e-10)
    np.testing.assert_allclose(ops.log_softmax(x + shift), ops.log_softmax(x), atol=1e-10)
    np.testing.assert_allclose(np.exp(ops.log_softmax(x)), y, rtol=1e-12, atol=1e-300)


# -- the Jacobian ---------------------------------------------------------------------------------


def test_the_jacobian_in_all_its_forms():
    """Cases, quotient rule, Kronecker, matrix (ledger A-16 to A-18)."""
    z = X[0]
    e, a = np.exp(z), ops.softmax(z)
    total, d = e.sum(), np.eye(5)
    J = ops.softmax_jacobian(z)
    for printed in (
        np.diag(a) - np.outer(a, a),
        a[:, None] * (d - a),
        np.where(d == 1, a - a * a, -np.outer(a, a)),
        np.where(d == 1, (e * total - e * e) / total**2, -np.outer(e, e) / total**2),
        cr.jacobian(ops.softmax)(z).numpy(),
    ):
        np.testing.assert_allclose(J, printed, rtol=1e-12, atol=1e-17)
    np.testing.assert_array_equal(J, J.T)
    np.testing.assert_allclose(J.sum(axis=1), 0, atol=1e-16)
    # the last entry of its second row is -a_2 a_K, with the sign (erratum E003-15)
    assert J[1, -1] < 0


def test_the_product_with_the_jacobian_needs_no_matrix():
    """a ⊙ (g - a·g), rows times J (ledger A-18)."""
    g = np.cos(X)
    _, pull = cr.vjp(ops.softmax, X)
    (product,) = pull(g)
    matrices = ops.softmax_jacobian(X)
    assert matrices.shape == (3, 5, 5)
    np.testing.assert_allclose(
        np.asarray(product.numpy()), np.einsum("nik,ni->nk", matrices, g), rtol=1e-13, atol=1e-16
    )


def test_the_jacobian_along_any_axis():
    x = np.random.default_rng(1).standard_normal((2, 3, 4))
    for axis, order in ((0, (1, 2, 0)), (1, (0, 2, 1)), (2, (0, 1, 2)), (-2, (0, 2, 1))):
        J = ops.softmax_jacobian(x, axis=axis)
        np.testing.assert_allclose(J, ops.softmax_jacobian(np.transpose(x, order)), rtol=1e-14)
    with pytest.raises(ValueError, match=r"axis"):
        ops.softmax_jacobian(x, axis=3)


def test_the_jacobian_keeps_digits_types_and_derivatives():
    J = ops.softmax_jacobian(np.array([0.0, 50.0]))  # 1 - a would leave no digit
    np.testing.assert_allclose(J, np.exp(-50) * np.array([[1, -1], [-1, 1]]), rtol=1e-14)
    assert ops.softmax_jacobian(X.astype(np.float32)).dtype == np.float32
    cr.check_gradients(ops.softmax_jacobian, X[:, :3])
    assert np.isnan(ops.softmax_jacobian(np.array([0.0, np.nan]))).all()
    x = np.array([-1e4, 1e4, -np.inf])
    assert not ops.softmax_jacobian(x).any()
