"""Likelihoods against torch and scikit-learn's own losses."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
from tests_losses import COUNTS, POSITIVE, REDUCTIONS, A, B, P, agree, three, three_torch


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("log_input", [False, True])
def test_poisson_equals_torch(torch, mode, full, log_input):
    x = A if log_input else POSITIVE
    more = {"log_input": log_input, "full": full, "reduction": mode}
    f = torch.nn.functional.poisson_nll_loss
    agree(three(ops.poisson_nll_loss, x, COUNTS, **more), three_torch(torch, f, x, COUNTS, **more))


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", ["same", "column", "row", "output"])
def test_gaussian_equals_torch(torch, mode, full, shape):
    var = {"same": P, "column": P[:, :1], "row": P[:, 0], "output": P[:1]}[shape].copy()
    var.flat[0] = 0.0  # held at eps, with a gradient as in torch
    more = {"full": full, "reduction": mode, "eps": 1e-2}
    f = torch.nn.functional.gaussian_nll_loss
    agree(three(ops.gaussian_nll_loss, A, B, var, **more), three_torch(torch, f, A, B, var, **more))

    def of_variance(v, *args, **kw):
        return ops.gaussian_nll_loss(*args, v, **kw)

    def torchs(v, *args, **kw):
        return f(*args, v, **kw)

    if var.shape == P.shape:
        agree(three(of_variance, var, A, B, **more), three_torch(torch, torchs, var, A, B, **more))


def test_gaussian_by_differences_and_its_errors():
    cr.check_gradients(ops.gaussian_nll_loss, A, B, P)
    one = ops.gaussian_nll_loss(A, B, 2.0)
    np.testing.assert_allclose(one, ops.gaussian_nll_loss(A, B, np.full(A.shape, 2.0)))
    w = np.arange(4.0)
    each = ops.gaussian_nll_loss(A, B, P, reduction="none")
    np.testing.assert_allclose(
        ops.gaussian_nll_loss(A, B, P, weight=w), (w[:, None] * each).sum() / (3 * w.sum())
    )
    with pytest.raises(DataError, match="takes variances of 0 or more; the smallest here is -1"):
        ops.gaussian_nll_loss(A, B, -np.ones(A.shape))
    with pytest.raises(ShapeError, match=r"var has shape \(3,\); expected \(4, 3\), \(4,\)"):
        ops.gaussian_nll_loss(A, B, np.ones(3))
    with pytest.raises(ValueError, match="eps must be positive"):
        ops.gaussian_nll_loss(A, B, P, eps=0)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.2, 1.5, 1.9, 2.0, 3.0, -1.0])
def test_tweedie_equals_scikit_learn(power):
    library = pytest.importorskip("sklearn._loss.loss")
    y, x = POSITIVE.ravel(), A.ravel()
    theirs = library.HalfTweedieLoss(power=power)
    np.testing.assert_allclose(
        ops.tweedie_loss(x, y, power=power, reduction="none"),
        theirs.loss(y, x),
        rtol=1e-12,
        atol=1e-14,
    )
    g, h = theirs.gradient_hessian(y, x)
    ours = cr.grad(lambda v: ops.tweedie_loss(v, y, power=power, reduction="sum"))(x).numpy()
    np.testing.assert_allclose(ours, g, rtol=1e-12, atol=1e-13)
    ours = cr.hessian(lambda v: ops.tweedie_loss(v, y, power=power, reduction="sum"))(x).numpy()
    np.testing.assert_allclose(np.diag(ours), h, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0, 3.0])
def test_half_the_deviance_equals_scikit_learns_and_is_0_at_a_perfect_fit(power):
    metrics = pytest.importorskip("sklearn.metrics")
    y = POSITIVE if power >= 2 else COUNTS
    deviance = metrics.mean_tweedie_deviance(y.ravel(), np.exp(A.ravel()), power=power)
    got = ops.tweedie_loss(A, y, power=power, deviance=True)
    np.testing.assert_allclose(got, deviance / 2, rtol=1e-12)
    perfect = ops.tweedie_loss(np.log(POSITIVE), POSITIVE, power=power, deviance=True)
    assert abs(perfect) < 1e-13


def test_gamma_is_scikit_learns_and_tweedie_of_power_2():
    library = pytest.importorskip("sklearn._loss.loss")
    y, x = POSITIVE.ravel(), A.ravel()
    got = ops.gamma_loss(x, y, reduction="none")
    np.testing.assert_allclose(got, library.HalfGammaLoss().loss(y, x), rtol=1e-13)
    for deviance in (False, True):
        np.testing.assert_array_equal(
            ops.gamma_loss(x, y, deviance=deviance),
            ops.tweedie_loss(x, y, power=2, deviance=deviance),
        )
    constant = library.HalfGammaLoss().constant_to_optimal_zero(y)
    np.testing.assert_allclose(
        ops.gamma_loss(x, y, deviance=True, reduction="none"), got + constant, rtol=1e-12
    )


def test_poisson_is_tweedie_of_power_1():
    np.testing.assert_allclose(
        ops.poisson_nll_loss(A, COUNTS), ops.tweedie_loss(A, COUNTS, power=1), rtol=1e-15
    )


def test_the_least_loss_is_at_the_mean():
    y = np.random.default_rng(0).gamma(2.0, 3.0, 500)
    grid = np.log(np.linspace(4, 8, 401))
    for power in (1, 1.5, 2, 3):
        costs = [ops.tweedie_loss(np.full(500, m), y, power=power) for m in grid]
        assert abs(np.exp(grid[np.argmin(costs)]) - y.mean()) < 0.01


def test_gradients_of_the_whole_family_by_differences():
    for power in (-1.0, 0.0, 1.0, 1.3, 2.0, 3.0):
        cr.check_gradients(
            lambda x, p=power: ops.tweedie_loss(x, POSITIVE, power=p, deviance=True), A
        )
