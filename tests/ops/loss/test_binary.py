"""Losses of yes and no against torch."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from tests_losses import REDUCTIONS, agree, three, three_torch

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


def test_pos_weight_equals_torch(torch):
    w = np.array([0.5, 1.0, 4.0])
    for reduction in REDUCTIONS:
        got = three(
            ops.binary_cross_entropy_with_logits, 3 * A, T, reduction=reduction, pos_weight=w
        )
        wanted = three_torch(
            torch,
            torch.nn.functional.binary_cross_entropy_with_logits,
            3 * A,
            T,
            reduction=reduction,
            pos_weight=w,
        )
        agree(got, wanted)


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3,), (4, 1), (4, 3), ()])
def test_weight_is_torchs_which_does_not_divide_the_mean(torch, mode, shape):
    w = RNG.uniform(0.5, 2, shape)
    for name, x in (("binary_cross_entropy", P), ("binary_cross_entropy_with_logits", A)):
        more = {"weight": np.asarray(w), "reduction": mode}
        got = three(getattr(ops, name), x, T, **more)
        wanted = three_torch(torch, getattr(torch.nn.functional, name), x, T, **more)
        agree(got, wanted, 1e-9)
        single = getattr(ops, name)(x.astype(np.float32), T.astype(np.float32), **more)
        assert single.dtype == np.float32
        with pytest.raises(ShapeError, match="for one number per row use sample_weight"):
            getattr(ops, name)(x, T, weight=np.ones(4))


def test_bce_at_certainty_is_torchs(torch):
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    got = ops.binary_cross_entropy(p, t, reduction="none")
    wanted = torch.nn.functional.binary_cross_entropy(
        torch.tensor(p), torch.tensor(t), reduction="none"
    )
    np.testing.assert_array_equal(got, wanted.numpy())
    np.testing.assert_array_equal(got, [0, 0, 100, 100])


def test_a_hard_target_of_any_type_serves():
    p = P.astype(np.float32)
    for target in ((T > 0.5), (T > 0.5).astype(int), (T > 0.5).astype(np.float64)):
        y = ops.binary_cross_entropy(cr.tensor(p), target)
        np.testing.assert_allclose(
            y.item(), ops.binary_cross_entropy(p, (T > 0.5) * 1.0), rtol=1e-6
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bce_of_certain_probabilities_has_finite_gradients_where_right(dtype):
    p = np.array([0.0, 1.0, 0.5], dtype)
    y, g, h = three(ops.binary_cross_entropy, p, np.array([0.0, 1.0, 1.0], dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(g).all()
    assert np.isfinite(h).all()


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("more", [{}, {"pos_weight": np.array([2.0])}], ids=["plain", "weighted"])
def test_cross_entropy_of_the_logit_zero_has_its_slope(torch, target, more):
    """Where the branches for either sign meet: σ(0) - y, and σ'(0) at second order."""
    t = np.full(CORNERS.shape, target)
    f = torch.nn.functional.binary_cross_entropy_with_logits
    agree(
        three(ops.binary_cross_entropy_with_logits, CORNERS, t, **more),
        three_torch(torch, f, CORNERS, t, **more),
    )


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 4.0])], ids=["plain", "weighted"])
def test_multilabel_equals_torch(torch, mode, weight):
    f = torch.nn.functional.multilabel_soft_margin_loss
    more = {"weight": weight, "reduction": mode}
    agree(
        three(ops.multilabel_soft_margin_loss, 3 * A, T, **more),
        three_torch(torch, f, 3 * A, T, **more),
    )
    each = ops.multilabel_soft_margin_loss(A, T, weight=weight, reduction="none")
    s = np.array([1.0, 0.0, 2.0, 0.5])
    np.testing.assert_allclose(
        ops.multilabel_soft_margin_loss(A, T, weight=weight, sample_weight=s),
        (s * each).sum() / s.sum(),
    )


def focal_in_torch(torch, x, t, alpha, gamma):
    """The paper's formula, from probabilities."""
    x, t = torch.tensor(x, requires_grad=True), torch.tensor(t)
    p = torch.sigmoid(x)
    right = p * t + (1 - p) * (1 - t)
    weight = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    loss = -weight * (1 - right) ** gamma * torch.log(right)
    (g,) = torch.autograd.grad(loss.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad((g * g).sum(), x)
    return loss.detach().numpy(), g.detach().numpy(), h.numpy()


@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_the_papers_formula(torch, alpha, gamma):
    t = (T > 0.5) * 1.0
    f = functools.partial(
        ops.sigmoid_focal_loss, target=t, alpha=alpha, gamma=gamma, reduction="none"
    )
    x = cr.tensor(A, requires_grad=True)
    y = f(x)
    (g,) = cr.autograd.grad(y.sum(), [x], create_graph=True)
    (h,) = cr.autograd.grad((g * g).sum(), [x])
    got = (y.detach().numpy(), g.detach().numpy(), h.numpy())
    agree(got, focal_in_torch(torch, A, t, alpha, gamma), 1e-10)


def test_focal_loss_without_focus_is_cross_entropy():
    t = (T > 0.5) * 1.0
    np.testing.assert_allclose(
        ops.sigmoid_focal_loss(A, t, alpha=None, gamma=0.0),
        ops.binary_cross_entropy_with_logits(A, t),
        rtol=1e-14,
    )


@pytest.mark.parametrize("gamma", [0.3, 1.5, 2.0])
def test_focal_loss_of_extreme_logits_has_finite_derivatives(gamma):
    """Also where (1 - p)^γ has no slope at p = 1."""
    x = np.array([1e4, -1e4, 1e4, -1e4, 0.0, 800.0])
    t = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    for value in three(ops.sigmoid_focal_loss, x, t, gamma=gamma, alpha=None, reduction="none"):
        assert np.isfinite(value).all()
    got = ops.sigmoid_focal_loss(x, t, gamma=gamma, alpha=None, reduction="none")
    np.testing.assert_allclose(got[:4], [0, 1e4, 1e4, 0])
