"""What losses per element share: torch's values, reductions, weights, types, extremes, errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
from chainrule.ops.loss import LOSSES, reduction
from tests_losses import POINTWISE, REDUCTIONS, A, B, agree, three, three_torch
from tests_steps import forget_plans

RNG = np.random.default_rng(1)
TORCHS = [name for name, row in POINTWISE.items() if row[3]]
#: not finite at every logit, because the exponential of one is not
OVERFLOW = {"gamma_loss", "poisson_nll_loss", "tweedie_loss"}
PROBABILITIES = {"binary_cross_entropy"}


def with_weight(name):
    """The loss, with the weights that divide the mean as its fourth argument."""
    key = "sample_weight" if name.startswith("binary") else "weight"  # torch's weight is another
    f = functools.partial(getattr(ops, name), **POINTWISE[name][2])
    return lambda x, y, w, **more: f(x, y, **{key: w}, **more)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # torch, of its own kl_div
@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("name", TORCHS)
def test_losses_equal_torch(torch, name, mode):
    x, y, more, _ = POINTWISE[name]
    got = three(getattr(ops, name), x, y, reduction=mode, **more)
    f = getattr(torch.nn.functional, name)
    # torch adds 1e-12 to p (1 - p) in the derivative of binary_cross_entropy
    rtol = 1e-9 if name == "binary_cross_entropy" else 1e-12
    agree(got, three_torch(torch, f, x, y, reduction=mode, **more), rtol)


@pytest.mark.parametrize("name", POINTWISE)
def test_derivatives_by_differences_in_both_arguments(name):
    x, y, more, _ = POINTWISE[name]
    f = getattr(ops, name)
    given = (x, y) if y.dtype.kind == "f" and (y % 0.25).any() else (x,)  # not in labels
    for mode in ("mean", "none", "batchmean"):
        g = functools.partial(f, reduction=mode, **more)
        cr.check_gradients(lambda *a, g=g: g(a[0], a[1] if len(a) > 1 else y), *given)


@pytest.mark.parametrize("name", POINTWISE)
def test_reductions_and_weights(name):
    x, y, more, _ = POINTWISE[name]
    f = functools.partial(getattr(ops, name), **more)
    each = f(x, y, reduction="none")
    assert each.shape == x.shape
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13)
    close(f(x, y), each.mean())
    close(f(x, y, reduction="sum"), each.sum())
    close(f(x, y, reduction="batchmean"), each.sum() / 4)
    w, g = RNG.uniform(0, 2, (4, 3)), with_weight(name)
    close(g(x, y, w), (w * each).sum() / w.sum())
    close(g(x, y, w, reduction="sum"), (w * each).sum())
    close(g(x, y, w, reduction="none"), w * each)
    close(g(x, y, w, reduction="batchmean"), (w * each).sum() / 4)
    rows = np.array([1.0, 0.0, 2.0, 0.5])
    full = np.repeat(rows[:, None], 3, axis=1)
    close(g(x, y, rows), g(x, y, full))
    cr.check_gradients(lambda a: g(a, y, rows), x)


def test_row_weights_of_a_square_batch_are_per_row_too():
    """Three rows of three columns: a weight per row must not turn into one per column."""
    x, y = RNG.standard_normal((2, 3, 3))
    w = np.array([1.0, 0.0, 5.0])
    each = ops.mse_loss(x, y, reduction="none")
    wanted = (each * w[:, None]).sum() / (3 * w.sum())
    np.testing.assert_allclose(ops.mse_loss(x, y, weight=w), wanted)


@pytest.mark.parametrize("name", POINTWISE)
def test_float32_stays_float32_and_inputs_stay(name):
    x, y, more, _ = POINTWISE[name]
    single, target = x.astype(np.float32), y.astype(np.float32)
    weight = np.ones(4)
    before = single.copy(), target.copy()
    f, g = getattr(ops, name), with_weight(name)
    for value in (
        *three(f, single, target, **more),
        *three(f, single, target, reduction="none", **more),
        *three(g, single, target, weight),
    ):
        assert value.dtype == np.float32
    np.testing.assert_array_equal(single, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(POINTWISE.keys() - OVERFLOW - PROBABILITIES))
def test_extreme_inputs_have_finite_losses_and_derivatives(name, dtype):
    _, y, more, _ = POINTWISE[name]
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [-0.0, 800, -800], [1e-30, 88, -89]], dtype)
    for value in three(getattr(ops, name), x, y.astype(dtype), **more):
        assert value.dtype == dtype
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", sorted(OVERFLOW))
def test_a_mean_that_is_no_float_costs_infinity_and_not_nan(name):
    x = np.array([[1e4, -1e4, 0.0]])
    with np.errstate(over="ignore"):
        loss = getattr(ops, name)(x, np.ones((1, 3)), reduction="none")
    assert not np.isnan(loss).any()
    assert np.isinf(loss).any()


@pytest.mark.parametrize("name", POINTWISE)
def test_not_a_number_shows(name):
    x, y, more, _ = POINTWISE[name]
    x = x.copy()
    x[1, 1] = np.nan
    loss = getattr(ops, name)(x, y, reduction="none", **more)
    assert np.isnan(loss[1, 1])
    assert np.isfinite(np.delete(loss, 4)).all()


@pytest.mark.parametrize("name", POINTWISE)
def test_empty_scalar_and_strided_inputs(name):
    x, y, more, _ = POINTWISE[name]
    f = getattr(ops, name)
    empty = cr.tensor(x[:0], requires_grad=True)
    loss = f(empty, y[:0], reduction="sum", **more)
    loss.backward()
    assert loss.item() == 0
    assert empty.grad.shape == (0, 3)
    each = f(x, y, reduction="none", **more)
    np.testing.assert_array_equal(f(x[0, 0], y[0, 0], **more), each[0, 0])
    np.testing.assert_array_equal(f(x.T, y.T, reduction="none", **more), each.T)


def replays(name):
    """A step of this loss on two batches in turn, captured and not."""
    x, y, more, _ = POINTWISE[name]
    x, y = x.astype(np.float32), y.astype(np.float32)
    p = cr.nn.Parameter(x[:1])

    def step(a, b):
        p._grad = None
        loss = getattr(ops, name)(a + 0.0 * p, b, **more)
        loss.backward()
        return loss

    captured = cr.capture(step)
    for k in range(4):
        part = slice(k % 2 * 2, k % 2 * 2 + 2)
        assert captured(x[part], y[part]).item() == step(x[part], y[part]).item(), name


def test_a_captured_step_equals_the_eager_one(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "0")
    forget_plans()
    for name in POINTWISE:
        replays(name)
    forget_plans()


def test_a_captured_step_in_c_equals_the_eager_one(executor):
    for name in ("binary_cross_entropy", "hinge_loss", "huber_loss"):
        replays(name)


def test_every_loss_has_a_text_and_every_text_is_public():
    from chainrule.ops import loss

    assert set(LOSSES) == set(loss.__all__)
    assert all(getattr(ops, name) is getattr(loss, name) for name in LOSSES)
    assert set(POINTWISE) <= set(LOSSES)


# -- messages -------------------------------------------------------------------------------------


def test_an_unknown_reduction():
    for name in ("mse_loss", "cross_entropy", "nll_loss", "kl_divergence", "triplet_margin_loss"):
        args = (A, A, A) if name.startswith("trip") else (A, A)
        with pytest.raises(
            ValueError, match=r"unknown reduction 'avg'; known: 'batchmean', 'mean'"
        ):
            getattr(ops, name)(*args, reduction="avg")
    with pytest.raises(ValueError, match=r"did you mean 'mean'"):
        ops.mse_loss(A, B, reduction="means")


@pytest.mark.parametrize("name", POINTWISE)
def test_shapes_that_differ(name):
    _, y, more, _ = POINTWISE[name]
    y = y[:, 1]
    with pytest.raises(
        ShapeError, match=name + r": input has shape \(4, 1\), target \(4,\).*reshape"
    ):
        getattr(ops, name)(np.full((4, 1), 0.5), y, **more)
    with pytest.raises(ShapeError, match=r"weight needs one number per row, shape \(4,\)"):
        with_weight(name)(np.full(4, 0.5), y, np.ones(3))


def test_conditions_on_values_name_what_came():
    x = np.zeros(3)
    for f, target, words in (
        (ops.hinge_loss, [0.0, 1.0, 1.0], r"labels -1 and 1, got 0, 1: write 2 \* y - 1"),
        (ops.hinge_loss, [-1.0, 0.5, 1.0], r"got -1, 0.5, 1: map them"),
        (ops.soft_margin_loss, [False, True, True], r"write 2 \* y - 1"),
        (ops.hinge_embedding_loss, [2.0, 1.0, 1.0], "soft|labels -1 and 1, got 1, 2"),
        (ops.poisson_nll_loss, [-1.0, 1.0, 1.0], "targets of 0 or more; the smallest here is -1"),
        (ops.gamma_loss, [0.0, 1.0, 1.0], "targets above 0; the smallest here is 0"),
        (ops.tweedie_loss, [-2.0, 1.0, 1.0], "power 1.5 takes targets of 0 or more"),
        (ops.sigmoid_focal_loss, [0.2, 1.0, 1.0], "targets 0 and 1, got values from 0.2 to 1"),
    ):
        with pytest.raises(DataError, match=words):
            f(x, np.array(target))
    with pytest.raises(DataError, match=r"largest here is 1.5, the smallest 0"):
        ops.binary_cross_entropy(np.array([0.0, 1.5]), np.zeros(2))
    with pytest.raises(DataError, match="cross_entropy"):
        ops.categorical_cross_entropy(np.array([[0.0, 1.5]]), np.zeros(1, int))


def test_a_captured_step_stops_at_values_outside_before_any_update():
    p = cr.nn.Parameter(np.ones(3, np.float32))
    optimizer = cr.optim.SGD([p], lr=0.1)

    def step(target):
        optimizer.zero_grad()
        loss = ops.hinge_loss(p * 1.0, target)
        loss.backward()
        optimizer.step()
        return loss

    captured = cr.capture(step)
    good = np.array([1, -1, 1], np.float32)
    for _ in range(4):
        captured(good)
    before = p.numpy().copy() if not p.requires_grad else p.detach().numpy().copy()
    with pytest.raises(DataError, match="labels -1 and 1, got 0, 1"):
        captured(np.array([0, 1, 1], np.float32))
    np.testing.assert_array_equal(p.detach().numpy(), before)
    captured(good)  # and goes on


def test_conditions_let_nan_through_to_the_loss():
    y = np.array([np.nan, 1.0])
    for condition in (reduction.UNIT, reduction.SIGNS, reduction.POSITIVE, reduction.HARD):
        condition.check(y, lambda v: "never")


def test_options_out_of_range():
    for f, more, words in (
        (ops.huber_loss, {"delta": 0}, "delta must be positive, got 0"),
        (ops.smooth_l1_loss, {"beta": -1}, "beta must be 0 or more, got -1"),
        (ops.quantile_loss, {"tau": 1.0}, "tau must lie between 0 and 1, got 1.0"),
        (ops.tweedie_loss, {"power": 0.5}, "no distribution of power 0.5"),
        (ops.sigmoid_focal_loss, {"alpha": 2.0}, "alpha must be None or from 0 to 1, got 2.0"),
        (ops.sigmoid_focal_loss, {"gamma": -1.0}, "gamma must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            f(np.zeros(2), np.ones(2), **more)


def test_one_node_per_loss():
    for name, (x, y, more, _) in POINTWISE.items():
        loss = getattr(ops, name)(cr.tensor(x, requires_grad=True), y, **more)
        assert all(e is None or type(e) is not tuple for e in loss._node.edges)


def test_lists_and_numbers():
    assert ops.mse_loss([1.0, 2.0], [0.0, 4.0]) == 2.5
    np.testing.assert_allclose(ops.cross_entropy([[2.0, 0.0]], [0]), 0.12692801104297263, rtol=1e-6)
