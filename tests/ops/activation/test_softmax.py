"""Softmax and its kin: large logits, any axis, what a shift does, the Jacobian."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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
