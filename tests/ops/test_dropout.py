"""Dropout: the law of its mask, its gradient, its draws."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

N = 200_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_and_the_mean(p):
    """p is the rate of zeros, and the mean stays (erratum E000-04)."""
    cr.seed(1)
    y = ops.dropout(np.ones(N, np.float32), p)
    share = (y == 0).mean()
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / N)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-6)
    assert abs(y.mean() - 1) < 5 * np.sqrt(p / (1 - p) / N)
    assert y.dtype == np.float32


def test_the_gradient_uses_the_same_mask():
    cr.seed(2)
    x = cr.tensor(np.arange(1.0, 101.0), requires_grad=True)
    y = ops.dropout(x, 0.4)
    (g,) = cr.autograd.grad(y.sum(), [x], create_graph=True)
    mask = (y.detach().numpy() != 0) / 0.6
    np.testing.assert_allclose(g.detach().numpy(), mask)
    assert 0 < (mask == 0).sum() < 100


def test_the_ends_and_evaluation():
    x = np.arange(1.0, 5.0)
    t = cr.tensor(x, requires_grad=True)
    assert ops.dropout(t, 0.5, training=False) is t
    assert ops.dropout(x, 0.0) is x
    y = ops.dropout(t, 1.0)
    np.testing.assert_array_equal(y.detach().numpy(), np.zeros(4))
    y.sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), np.zeros(4))
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"p is a probability"):
            ops.dropout(x, p)


def test_infinite_and_missing_values_are_dropped_to_zero():
    cr.seed(0)
    y = ops.dropout(np.full(100, np.inf), 0.5)
    assert set(np.unique(y)) == {0, np.inf}


def test_seeds_repeat_and_steps_differ():
    x = np.ones(100)
    cr.seed(3)
    a, b = ops.dropout(x), ops.dropout(x)
    cr.seed(3)
    c = ops.dropout(x)
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1 - 1e-12, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_captured_step_draws_the_same_masks(p, dtype, executor):
    """Of any shape, in order, from the stream; nothing is drawn where nothing is dropped."""

    def step(x, y):
        a, b = ops.dropout(cr.tensor(x), p), ops.dropout(cr.tensor(y), p)
        return a, b, ops.dropout(a, p, training=False)

    arrays = [np.ones((3, 5, 7), dtype), np.ones(9, dtype)]
    captured = cr.capture(step)
    cr.seed(3)
    eager = [[t.numpy() for t in step(*arrays)] for _ in range(5)]
    drawn = cr.array.random.default_stream().state()
    cr.seed(3)
    for expected in eager:
        for a, b in zip(captured(*arrays), expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
            assert a.dtype == dtype
    assert cr.array.random.default_stream().state() == drawn
    assert drawn["counters"] == ({} if p == 0 else {"dropout": 10})
    assert captured.reason is None


def test_a_rate_that_changes_is_another_step(executor):
    rate = {"p": 0.5}
    step = cr.capture(lambda x: ops.dropout(cr.tensor(x), rate["p"]))
    x = np.ones(1000, np.float32)
    for p in (0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.5):
        rate["p"] = p
        assert (step(x).numpy() == 0).mean() == pytest.approx(p, abs=0.1)
    assert step.reason is None
