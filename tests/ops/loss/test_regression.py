"""Losses of a difference: what is special to each."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from tests_losses import agree, three, three_torch

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 4, 3))
P = RNG.uniform(0.05, 0.95, (4, 3))
T = RNG.uniform(0, 1, (4, 3))
LOGITS = RNG.standard_normal((6, 4)) * 3
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFT = RNG.dirichlet(np.ones(4), 6)
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5, 3.0])
SAMPLE_WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
CORNERS = np.array([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 3.0, -2.0])


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_huber_where_it_turns_linear(torch, delta):
    """|d| = δ: the slope is δ, from either side. At d = 0 the second derivative is 1."""
    t = np.zeros(CORNERS.shape)
    f = torch.nn.functional.huber_loss
    ours = three(ops.huber_loss, CORNERS, t, reduction="none", delta=delta)
    theirs = three_torch(torch, f, CORNERS, t, reduction="none", delta=delta)
    agree(ours[:2], theirs[:2])
    (second,) = np.diag(cr.hessian(lambda d: ops.huber_loss(d, t[:1], delta=delta))(t[:1]).numpy())
    assert second == 1.0


def test_the_notes_forms_are_reductions():
    """Ledger L-01 to L-06, L-20: 1/n, ½ Σ, (1/N) Σ‖·‖², Σ."""
    d = A - B
    np.testing.assert_allclose(ops.mse_loss(A, B), (d * d).mean(), rtol=1e-14)
    np.testing.assert_allclose(
        ops.mse_loss(A, B, reduction="batchmean"), (d * d).sum(1).mean(), rtol=1e-14
    )
    np.testing.assert_allclose(ops.mse_loss(A[0], B[0], reduction="sum"), d[0] @ d[0], rtol=1e-14)
    np.testing.assert_allclose(
        ops.half_squared_error(A[0], B[0], reduction="sum"), 0.5 * d[0] @ d[0], rtol=1e-14
    )
    for f, more, slope in (
        (ops.mse_loss, {}, 2 * d / d.size),  # erratum E000-19
        (ops.mse_loss, {"reduction": "sum"}, 2 * d),
        (ops.mse_loss, {"reduction": "batchmean"}, 2 * d / 4),
        (ops.half_squared_error, {"reduction": "sum"}, d),
        (ops.l1_loss, {}, np.sign(d) / d.size),  # errata E000-18, E004-01
    ):
        g = cr.grad(lambda x, f=f, more=more: f(x, B, **more))(A)
        np.testing.assert_allclose(g.numpy(), slope, rtol=1e-13)


def test_l1_has_slope_0_at_equality():
    g = cr.grad(lambda x: ops.l1_loss(x, np.array([1.0, 2.0])))(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(g.numpy(), [0.0, 0.5])


def test_smooth_l1_is_huber_over_beta_and_l1_at_0(torch):
    for beta in (0.3, 1.0, 2.0):
        np.testing.assert_allclose(
            ops.smooth_l1_loss(A, B, beta=beta), ops.huber_loss(A, B, delta=beta) / beta, rtol=1e-14
        )
    f = torch.nn.functional.smooth_l1_loss
    for beta in (0.0, 1.0, 2.0):
        x, t = CORNERS, np.zeros(CORNERS.shape)
        ours = three(ops.smooth_l1_loss, x, t, reduction="none", beta=beta)
        agree(ours[:2], three_torch(torch, f, x, t, reduction="none", beta=beta)[:2])


def test_quantile_loss_is_scikit_learns_and_least_at_the_quantile():
    metrics = pytest.importorskip("sklearn.metrics")
    for tau in (0.05, 0.5, 0.9):
        wanted = metrics.mean_pinball_loss(B.ravel(), A.ravel(), alpha=tau)
        np.testing.assert_allclose(ops.quantile_loss(A, B, tau=tau), wanted, rtol=1e-13)
    np.testing.assert_allclose(ops.quantile_loss(A, B), 0.5 * ops.l1_loss(A, B), rtol=1e-14)
    y = RNG.exponential(size=999)
    grid = np.linspace(0, 5, 501)
    costs = [ops.quantile_loss(np.full(y.shape, q), y, tau=0.9) for q in grid]
    assert abs(grid[np.argmin(costs)] - np.quantile(y, 0.9)) < 0.02
    slope = cr.grad(lambda x: ops.quantile_loss(x, np.zeros(1), tau=0.9))(np.zeros(1))
    np.testing.assert_allclose(slope.numpy(), [0.5 - 0.9])


def test_several_quantiles_at_once():
    taus = np.array([0.1, 0.5, 0.9])
    each = ops.quantile_loss(A, B, tau=taus, reduction="none")
    for k, tau in enumerate(taus):
        np.testing.assert_array_equal(
            each[:, k], ops.quantile_loss(A[:, k], B[:, k], tau=tau, reduction="none")
        )
    assert ops.quantile_loss(A.astype(np.float32), B.astype(np.float32), tau=taus).dtype == "f4"
    cr.check_gradients(lambda x, y: ops.quantile_loss(x, y, tau=taus), A, B)
    layer = cr.nn.QuantileLoss(tau=taus)
    np.testing.assert_array_equal(layer(A, B), each.mean())
    with pytest.raises(ShapeError, match=r"tau has 2 entries, but the input of shape \(4, 3\)"):
        ops.quantile_loss(A, B, tau=[0.1, 0.9])
    with pytest.raises(ValueError, match=r"between 0 and 1, got \[0.1, 1.0, 0.5\]"):
        ops.quantile_loss(A, B, tau=[0.1, 1.0, 0.5])


def test_log_cosh_keeps_its_digits_at_both_ends():
    mpmath = pytest.importorskip("mpmath")
    d = np.array([1e-12, 1e-5, 0.3, 0.999, 1.0, 1.001, 20.0, 500.0, -0.2, -3.0])
    got = ops.log_cosh_loss(d, np.zeros(d.shape), reduction="none")
    with mpmath.workdps(40):
        wanted = [float(mpmath.log(mpmath.cosh(mpmath.mpf(v)))) for v in d]
    np.testing.assert_allclose(got, wanted, rtol=4e-16 * 4)
    _, g, h = three(ops.log_cosh_loss, d, np.zeros(d.shape), reduction="sum")
    np.testing.assert_allclose(g / 1.5, np.tanh(d), rtol=1e-14)
    assert np.isfinite(h).all()


def test_the_override_of_log_cosh_equals_the_derived_derivative():
    from chainrule.ops.loss.regression import _log_cosh_of

    x = np.concatenate([A.ravel(), 3 * B.ravel()])
    for f in (_log_cosh_of, _log_cosh_of.underived()):
        g = cr.grad(lambda v, f=f: f(v).sum())(x)
        np.testing.assert_allclose(g.numpy(), np.tanh(x), rtol=1e-12)
    second = cr.hessian(lambda v: _log_cosh_of(v).sum())(np.array([0.0, 0.5])).numpy()
    np.testing.assert_allclose(np.diag(second), 1 / np.cosh([0.0, 0.5]) ** 2, rtol=1e-14)
