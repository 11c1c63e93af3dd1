"""Margins against torch; the hinge of the note."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
from tests_losses import REDUCTIONS, SIGNS, A, B, agree, three, three_torch

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((6, 4)) * 3
LABELS = np.array([0, 3, 1, 1, 2, 0])
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5, 3.0])


def test_hinge_is_the_notes_sum_with_its_gradient():
    """Ledger L-18: 0 if yŷ ≥ 1, -y if yŷ < 1; also where they meet."""
    x = np.array([2.0, 1.0, 0.5, -1.0, -3.0, 0.5])
    y = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    loss, g, _ = three(ops.hinge_loss, x, y, reduction="sum")
    assert loss == 0.5 + 1.5
    np.testing.assert_array_equal(g / 1.5, [0, 0, -1, 0, 0, 1])
    squared = ops.hinge_loss(x, y, reduction="none", squared=True)
    np.testing.assert_array_equal(squared, [0, 0, 0.25, 0, 0, 2.25])
    cr.check_gradients(lambda a: ops.hinge_loss(a, SIGNS, squared=True), A)


def test_hinge_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    wanted = metrics.hinge_loss(SIGNS.ravel(), A.ravel())
    np.testing.assert_allclose(ops.hinge_loss(A, SIGNS), wanted, rtol=1e-14)


def test_labels_0_and_1_are_refused_and_not_learned_from():
    """Erratum E004-06: with y = 0 the loss is 1 whatever the score."""
    for y in (np.array([0.0, 1.0]), np.array([0, 1]), np.array([False, True])):
        with pytest.raises(DataError, match=r"hinge_loss takes labels -1 and 1, got 0, 1"):
            ops.hinge_loss(np.zeros(2), y)
    assert ops.hinge_loss(np.zeros(2), np.array([-1, 1])) == 1.0


def test_soft_margin_is_finite_where_torchs_is_not(torch):
    """docs/differences.md."""
    x, y = np.array([-1e4], np.float32), np.ones(1, np.float32)
    assert ops.soft_margin_loss(x, y) == 1e4
    f = torch.nn.functional.soft_margin_loss
    assert f(torch.tensor(x), torch.tensor(y)).isinf()


def test_soft_margin_is_the_logistic_loss():
    np.testing.assert_allclose(
        ops.soft_margin_loss(A, SIGNS),
        ops.binary_cross_entropy_with_logits(A, (SIGNS + 1) / 2),
        rtol=1e-14,
    )


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_ranking_equals_torch(torch, mode, margin):
    f = torch.nn.functional.margin_ranking_loss
    x1, x2 = A.copy(), B.copy()
    x1[0, 0] = x2[0, 0] + margin * SIGNS[0, 0]  # where it turns
    more = {"margin": margin, "reduction": mode}
    agree(
        three(ops.margin_ranking_loss, x1, x2, SIGNS, **more),
        three_torch(torch, f, x1, x2, SIGNS, **more),
    )


def test_ranking_weights_and_errors():
    each = ops.margin_ranking_loss(A, B, SIGNS, reduction="none", margin=1)
    w = np.arange(4.0)
    np.testing.assert_allclose(
        ops.margin_ranking_loss(A, B, SIGNS, margin=1, weight=w),
        (w[:, None] * each).sum() / (3 * w.sum()),
    )
    with pytest.raises(ShapeError, match=r"input1 has shape \(4, 3\), input2 \(4,\)"):
        ops.margin_ranking_loss(A, B[:, 0], SIGNS)
    with pytest.raises(ShapeError, match=r"input1 has shape \(4, 3\), target \(4,\)"):
        ops.margin_ranking_loss(A, B, SIGNS[:, 0])
    with pytest.raises(DataError, match="labels -1 and 1"):
        ops.margin_ranking_loss(A, B, np.zeros(A.shape))


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["plain", "weighted"])
def test_multi_margin_equals_torch(torch, mode, p, weight):
    more = {"p": p, "margin": 0.8, "reduction": mode, "weight": weight}
    f = torch.nn.functional.multi_margin_loss
    got = three(ops.multi_margin_loss, SCORES, LABELS, **more)
    # torch has no second derivative of it
    t = torch.tensor(SCORES, requires_grad=True)
    wanted = f(
        t,
        torch.tensor(LABELS),
        **{**more, "weight": None if weight is None else torch.tensor(weight)},
    )
    u = torch.tensor(np.cos(np.arange(wanted.numel())) + 0.5).reshape(wanted.shape)
    (g,) = torch.autograd.grad(wanted, t, u)
    agree(got[:2], (wanted.detach().numpy(), g.numpy()))
    cr.check_gradients(lambda x: ops.multi_margin_loss(x, LABELS, **more), SCORES)


def test_multi_margin_of_one_sample_weights_and_errors(torch):
    one = ops.multi_margin_loss(SCORES[0], np.array(2))
    f = torch.nn.functional.multi_margin_loss
    np.testing.assert_allclose(one, f(torch.tensor(SCORES[0]), torch.tensor(2)).item())
    each = ops.multi_margin_loss(SCORES, LABELS, reduction="none")
    s = np.arange(6.0)
    np.testing.assert_allclose(
        ops.multi_margin_loss(SCORES, LABELS, sample_weight=s), (s * each).sum() / s.sum()
    )
    with pytest.raises(ValueError, match="p must be 1 or 2, got 3"):
        ops.multi_margin_loss(SCORES, LABELS, p=3)
    with pytest.raises(DataError, match="label 9 at row 0"):
        ops.multi_margin_loss(SCORES, np.full(6, 9))
    assert np.isnan(ops.multi_margin_loss(np.array([[np.nan, 0.0]]), np.array([1])))
