"""Dropout: the law of its mask, its gradient, its draws."""

from __future__ import annotations

import math

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


# -- what the mask is -----------------------------------------------------------------------------


def test_how_many_stay_follows_the_binomial_law():
    """Ledger D-01, D-02 (erratum E000-05): the entries of a mask are Bernoulli draws, and how many
    of n stay is binomial."""
    n, rows, p = 8, 40_000, 0.3
    cr.seed(0)
    kept = (ops.dropout(np.ones((rows, n), np.float32), p) != 0).sum(axis=1)
    counts = np.bincount(kept, minlength=n + 1)
    law = np.array([math.comb(n, k) * (1 - p) ** k * p ** (n - k) for k in range(n + 1)])
    assert law.sum() == pytest.approx(1)
    chi_squared = ((counts - rows * law) ** 2 / (rows * law)).sum()
    assert chi_squared < 26.1  # the 99.9 % point for 8 degrees of freedom
    with np.errstate(divide="ignore"):  # the printed law keeps with p: far off
        printed = law[::-1]
        assert ((counts - rows * printed) ** 2 / (rows * printed)).sum() > 1e4


def test_the_printed_form_does_not_keep_the_mean():
    """x · B(1, p) / (1 - p) has the mean p / (1 - p) x (erratum E000-04)."""
    cr.seed(0)
    p = 0.2
    kept_with_p = ops.dropout(np.ones(N), 1 - p) != 0
    assert (kept_with_p / (1 - p)).mean() == pytest.approx(p / (1 - p), abs=0.01)
    assert ops.dropout(np.ones(N), p).mean() == pytest.approx(1, abs=0.01)


def test_integers_are_scaled_as_numbers():
    cr.seed(0)
    assert set(np.unique(ops.dropout(np.full(100, 4), 0.2))) == {0.0, 5.0}


# -- whole channels -------------------------------------------------------------------------------

CHANNELS = [
    ("dropout1d", (64, 50, 4)),
    ("dropout1d", (900, 4)),
    ("dropout2d", (64, 50, 3, 2)),
    ("dropout3d", (64, 50, 2, 3, 2)),
    ("dropout3d", (900, 2, 3, 2)),
]


@pytest.mark.parametrize(("name", "shape"), CHANNELS)
def test_whole_channels_go(name, shape):
    cr.seed(0)
    f = getattr(ops, name)
    single = name != "dropout2d" and len(shape) == int(name[7]) + 1
    x = cr.tensor(np.ones(shape), requires_grad=True)
    y = f(x, 0.25)
    rows = y.detach().numpy().reshape(*(shape[:1] if single else shape[:2]), -1)
    assert (rows == rows[..., :1]).all()
    mask = rows[..., 0]
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.75])
    assert abs((mask == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / mask.size)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert f(x, 0.25, training=False) is x
    assert not f(x, 1.0).detach().numpy().any()


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("dropout1d", (4,), r"dropout1d: expected x: \(N, C, L\) or \(C, L\), got \(4,\)"),
        ("dropout2d", (2, 3, 4), r"\(N, C, H, W\), got \(2, 3, 4\); for an image without samples"),
        ("dropout3d", (2, 3), r"\(N, C, D, H, W\) or \(C, D, H, W\), got \(2, 3\)"),
        ("feature_alpha_dropout", (3,), r"expected x: \(N, C, ...\), got \(3,\)"),
    ],
)
def test_wrong_numbers_of_axes_are_named(name, shape, text):
    for training in (True, False):
        with pytest.raises(cr.ShapeError, match=text):
            getattr(ops, name)(np.ones(shape), training=training)


# -- alpha dropout --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
@pytest.mark.parametrize("p", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(name, p):
    cr.seed(0)
    shape = (400, 500)  # channels of one entry
    x = cr.array.random.Stream(1).normal("x", shape, np.float64)
    y = getattr(ops, name)(x, p, training=True)
    assert y.mean() == pytest.approx(0, abs=0.02)
    assert y.var() == pytest.approx(1, abs=0.03)
    assert ops.dropout(x, p).var() > 1 + 0.9 * p  # which plain dropout does not
    _, counts = np.unique(y, return_counts=True)
    assert counts.max() / y.size == pytest.approx(p, abs=0.01)  # the one value of what is dropped


@pytest.mark.parametrize("p", [0.1, 0.7])
def test_alpha_dropout_is_affine_as_in_torch(torch, p):
    """The two lines a x + b and a α' + b, with torch's numbers."""
    cr.seed(0)
    x = np.linspace(-1.5, 2, 4001)  # above α', so that what is dropped is lowest
    t = cr.tensor(x, requires_grad=True)
    y = ops.alpha_dropout(t, p, training=True)
    ours = y.detach().numpy()
    theirs = torch.nn.functional.alpha_dropout(torch.tensor(x), p, training=True).numpy()
    lowest = ours.min()
    assert lowest == pytest.approx(theirs.min(), rel=1e-12)
    both = (ours != lowest) & (theirs > theirs.min() + 1e-5)
    assert both.sum() > 100
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-12, atol=1e-12)
    y.sum().backward()
    slope = (ours[both][-1] - ours[both][0]) / (x[both][-1] - x[both][0])
    np.testing.assert_allclose(t.grad.numpy(), np.where(ours != lowest, slope, 0), rtol=1e-12)


def test_the_ends_of_alpha_dropout():
    x = np.arange(6.0).reshape(1, 2, 3)
    for name in ("alpha_dropout", "feature_alpha_dropout"):
        f = getattr(ops, name)
        assert f(x) is x  # not training, as in torch
        assert f(x, 0.0, training=True) is x
        np.testing.assert_array_equal(f(x, 1.0, training=True), np.zeros_like(x))
        for p in (-0.1, float("nan")):
            with pytest.raises(ValueError, match=rf"{name}: p is a probability, got {p}"):
                f(x, p, training=True)


# -- captured -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_captured_training_steps_are_the_eager_ones(dtype, executor):
    """All kinds in one step, with their gradients, bit for bit."""

    def step(x, w):
        w = cr.tensor(w, requires_grad=True)
        y = cr.tensor(x) * w
        y = ops.alpha_dropout(ops.selu(y), 0.2, training=True)
        y = ops.feature_alpha_dropout(ops.dropout3d(y, 0.3), 0.4, training=True)
        y = ops.dropout2d(y.reshape(4, 3, 2, 10), 0.3)
        y = ops.rrelu(ops.dropout1d(y.reshape(4, 6, 10), 0.1), training=True)
        (g,) = cr.autograd.grad((y * y).sum(), [w])
        return y, g

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 3, 2, 5, 2)).astype(dtype) for _ in range(2)]
    captured = cr.capture(step)
    cr.seed(5)
    eager = [[t.detach().numpy() for t in step(*arrays)] for _ in range(5)]
    cr.seed(5)
    for expected in eager:
        for a, b in zip(captured(*arrays), expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
    assert captured.reason is None
    assert (eager[0][0] != eager[1][0]).any()
