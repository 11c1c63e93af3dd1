"""Losses of classes against torch: weights, smoothing, axes, and from probabilities."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
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

CROSS = [
    {},
    {"weight": CLASS_WEIGHT},
    {"label_smoothing": 0.1},
    {"weight": CLASS_WEIGHT, "label_smoothing": 0.2},
    {"ignore_index": 1},
    {"ignore_index": 1, "weight": CLASS_WEIGHT},
    {"ignore_index": 0, "weight": CLASS_WEIGHT, "label_smoothing": 0.3},
    {"ignore_index": 2, "label_smoothing": 0.3},
    {"label_smoothing": 1.0},
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("more", CROSS, ids=lambda m: "+".join(m) or "plain")
def test_cross_entropy_with_class_indices_equals_torch(torch, more, reduction):
    got = three(ops.cross_entropy, LOGITS, LABELS, reduction=reduction, **more)
    f = torch.nn.functional.cross_entropy
    agree(got, three_torch(torch, f, LOGITS, LABELS, reduction=reduction, **more))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("more", [m for m in CROSS if "ignore_index" not in m])
def test_cross_entropy_with_probabilities_equals_torch(torch, more, reduction):
    got = three(ops.cross_entropy, LOGITS, SOFT, reduction=reduction, **more)
    f = torch.nn.functional.cross_entropy
    agree(got, three_torch(torch, f, LOGITS, SOFT, reduction=reduction, **more))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("more", [{}, {"weight": CLASS_WEIGHT}, {"ignore_index": 1}])
def test_nll_loss_equals_torch(torch, more, reduction):
    logp = np.log(SOFT)
    got = three(ops.nll_loss, logp, LABELS, reduction=reduction, **more)
    f = torch.nn.functional.nll_loss
    agree(got, three_torch(torch, f, logp, LABELS, reduction=reduction, **more))


@pytest.mark.parametrize("more", [{}, *CROSS[1:5]])
def test_classes_on_axis_1_of_more_axes(torch, more):
    x = RNG.standard_normal((2, 4, 3, 5))
    labels = RNG.integers(0, 4, (2, 3, 5))
    f = torch.nn.functional.cross_entropy
    for reduction in REDUCTIONS:
        got = three(ops.cross_entropy, x, labels, reduction=reduction, **more)
        agree(got, three_torch(torch, f, x, labels, reduction=reduction, **more))
    soft = np.moveaxis(RNG.dirichlet(np.ones(4), (2, 3, 5)), -1, 1)
    agree(three(ops.cross_entropy, x, soft), three_torch(torch, f, x, soft))


def test_classes_on_another_axis_and_of_one_sample(torch):
    x = RNG.standard_normal((2, 3, 4))
    labels = RNG.integers(0, 4, (2, 3))
    np.testing.assert_allclose(
        ops.cross_entropy(x, labels, axis=-1), ops.cross_entropy(x.transpose(0, 2, 1), labels)
    )
    one = ops.cross_entropy(LOGITS[0], np.array(2))
    wanted = torch.nn.functional.cross_entropy(torch.tensor(LOGITS[0]), torch.tensor(2))
    np.testing.assert_allclose(one, wanted.item())


def test_golden_cross_entropy():
    x = np.array([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]])
    each = ops.cross_entropy(x, np.array([0, 2]), reduction="none")
    np.testing.assert_allclose(each, [0.4170300162778335, math.log(3)], rtol=1e-14)


def test_the_gradient_is_prediction_minus_target_over_n():
    """Errata E000-20, E003-19."""
    _, g, _ = three(ops.cross_entropy, LOGITS, LABELS)
    scale = math.cos(0) + 0.5
    np.testing.assert_allclose(
        g / scale, (ops.softmax(LOGITS) - np.eye(4)[LABELS]) / 6, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("target", [LABELS, SOFT], ids=["indices", "probabilities"])
@pytest.mark.parametrize(
    "more", [{}, {"label_smoothing": 0.2}, {"weight": CLASS_WEIGHT}, CROSS[3]], ids=str
)
def test_sample_weights(target, more):
    each = ops.cross_entropy(LOGITS, target, reduction="none", **more)
    s = SAMPLE_WEIGHT
    f = ops.cross_entropy
    weighted = f(LOGITS, target, reduction="none", sample_weight=s, **more)
    np.testing.assert_allclose(weighted, s * each, rtol=1e-13)
    total = f(LOGITS, target, reduction="sum", sample_weight=s, **more)
    np.testing.assert_allclose(total, (s * each).sum(), rtol=1e-13)
    divide = s
    if target is LABELS and "weight" in more:
        divide = s * CLASS_WEIGHT[LABELS]
    got = f(LOGITS, target, sample_weight=s, **more)
    np.testing.assert_allclose(got, (s * each).sum() / divide.sum(), rtol=1e-13)
    # doubling a sample is its weight doubled
    twice = np.r_[np.arange(6), 2]
    s2 = np.ones(6)
    s2[2] = 2
    np.testing.assert_allclose(
        f(LOGITS, target, sample_weight=s2, **more), f(LOGITS[twice], target[twice], **more)
    )
    cr.check_gradients(lambda x: f(x, target, sample_weight=s, **more), LOGITS)


def test_sample_weights_of_more_axes():
    x = RNG.standard_normal((2, 4, 3))
    labels = RNG.integers(0, 4, (2, 3))
    each = ops.cross_entropy(x, labels, reduction="none")
    per_sample = np.array([1.0, 3.0])
    np.testing.assert_allclose(
        ops.cross_entropy(x, labels, sample_weight=per_sample),
        (each * per_sample[:, None]).sum() / (3 * per_sample.sum()),
    )
    per_place = RNG.uniform(0, 1, (2, 3))
    np.testing.assert_allclose(
        ops.cross_entropy(x, labels, sample_weight=per_place),
        (each * per_place).sum() / per_place.sum(),
    )
    with pytest.raises(ShapeError, match=r"sample_weight has shape \(5,\)"):
        ops.cross_entropy(x, labels, sample_weight=np.ones(5))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_by_differences(reduction):
    for more in CROSS:
        cr.check_gradients(
            lambda x, more=more: ops.cross_entropy(x, LABELS, reduction=reduction, **more), LOGITS
        )


def test_gradients_reach_soft_targets():
    cr.check_gradients(lambda x, t: ops.cross_entropy(x, t, label_smoothing=0.1), LOGITS, SOFT)


def test_weights_of_float64_do_not_widen_class_losses():
    x = LOGITS.astype(np.float32)
    for more in ({"weight": CLASS_WEIGHT}, {"sample_weight": SAMPLE_WEIGHT}):
        for target in (LABELS, SOFT.astype(np.float32)):
            for smoothing in (0.0, 0.1):
                y = ops.cross_entropy(x, target, label_smoothing=smoothing, **more)
                assert y.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [1e4, -1e4, 1e6])
def test_a_common_offset_of_the_logits_costs_no_digits(dtype, offset):
    x, eps = np.full((2, 3), offset, dtype), np.finfo(dtype).eps
    soft = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], dtype)
    for loss in (
        ops.cross_entropy(x, np.array([0, 2])),
        ops.cross_entropy(x, soft),
        ops.cross_entropy(x, np.array([0, 2]), label_smoothing=0.1),
    ):
        assert abs(loss - math.log(3)) < 4 * eps


def test_an_empty_batch():
    x = cr.tensor(np.zeros((0, 4)), requires_grad=True)
    for loss in (
        ops.cross_entropy(x, np.zeros(0, int), reduction="sum"),
        ops.mse_loss(x, np.zeros((0, 4)), reduction="sum"),
    ):
        assert loss.item() == 0
        loss.backward()
        assert x.grad.shape == (0, 4)
    assert ops.cross_entropy(x, np.zeros(0, int), reduction="none").shape == (0,)


ACTIVE = [ops.cross_entropy, ops.nll_loss, ops.categorical_cross_entropy, ops.focal_loss]


@pytest.mark.parametrize("f", ACTIVE, ids=lambda f: f.__name__)
def test_sample_weights_of_every_loss_of_classes(f):
    x = {"nll_loss": np.log(SOFT), "categorical_cross_entropy": SOFT}.get(f.__name__, LOGITS)
    each = f(x, LABELS, reduction="none")
    s = SAMPLE_WEIGHT
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13)
    close(f(x, LABELS, sample_weight=s), (s * each).sum() / s.sum())
    close(f(x, LABELS, sample_weight=s, reduction="sum"), (s * each).sum())
    close(f(x, LABELS, sample_weight=s, reduction="none"), s * each)
    close(f(x, LABELS, reduction="batchmean"), each.sum() / 6)
    kept = LABELS != 1
    close(f(x, LABELS, ignore_index=1), each[kept].mean())
    assert f(x.astype(np.float32), LABELS, sample_weight=s).dtype == np.float32
    more = np.stack([x, x[::-1]], axis=2)
    labels = np.stack([LABELS, LABELS[::-1]], axis=1)
    close(f(more, labels), each.mean())
    close(f(np.moveaxis(more, 1, -1), labels, axis=-1), each.mean())
    with pytest.raises(DataError, match=f"{f.__name__}: label 7 at row 0"):
        f(x, np.full(6, 7))


@pytest.mark.parametrize("more", [*CROSS[:8], {"reduction": "sum"}, {"reduction": "none"}], ids=str)
def test_of_probabilities_it_is_cross_entropy_of_their_logarithms(more):
    """Ledger L-09 to L-14, L-16: softmax does nothing to log p of a distribution."""
    logp = np.log(SOFT)
    np.testing.assert_allclose(
        ops.categorical_cross_entropy(SOFT, LABELS, **more),
        ops.cross_entropy(logp, LABELS, **more),
        rtol=1e-12,
    )
    if "ignore_index" not in more:
        t = np.roll(SOFT, 1, axis=0)
        np.testing.assert_allclose(
            ops.categorical_cross_entropy(SOFT, t, sample_weight=SAMPLE_WEIGHT, **more),
            ops.cross_entropy(logp, t, sample_weight=SAMPLE_WEIGHT, **more),
            rtol=1e-12,
        )


def test_the_notes_cross_entropies_of_probabilities():
    """Errata E000-11, E000-12, E004-03, E004-04 in the right form; the gradients they print."""
    f = ops.categorical_cross_entropy
    hot = np.eye(4)[LABELS]
    picked = SOFT[np.arange(6), LABELS]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13)
    close(f(SOFT, hot), -(hot * np.log(SOFT)).sum(1).mean())
    close(f(SOFT, LABELS), -np.log(picked).mean())
    close(f(SOFT, LABELS, reduction="sum"), -np.log(picked).sum())
    close(f(SOFT[0], hot[0]), -np.log(SOFT[0, LABELS[0]]))
    g = cr.grad(lambda a: f(a, hot, reduction="sum"))(SOFT).numpy()
    close(g, -hot / SOFT)
    g = cr.grad(lambda a: f(a, LABELS, reduction="sum"))(SOFT).numpy()
    close(g, -hot / SOFT)
    cr.check_gradients(lambda a: f(a, LABELS, label_smoothing=0.2), 0.1 + 0.6 * SOFT)


def test_a_wrong_certainty_costs_100_and_a_right_one_nothing():
    """Erratum E000-26: no division by 0, no 0/0."""
    a = np.array([[1.0, 0.0], [1.0, 0.0]])
    for value in three(ops.categorical_cross_entropy, a, np.array([0, 1]), reduction="none"):
        assert np.isfinite(value).all()
    each = ops.categorical_cross_entropy(a, np.array([0, 1]), reduction="none")
    np.testing.assert_array_equal(each, [0.0, 100.0])
    np.testing.assert_array_equal(
        ops.categorical_cross_entropy(a, np.eye(2), reduction="none"), [0.0, 100.0]
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_the_papers_formula(torch, gamma):
    alpha = CLASS_WEIGHT

    def papers(x, labels, reduction):
        p = torch.softmax(x, dim=1).gather(1, labels[:, None])[:, 0]
        loss = -torch.tensor(alpha)[labels] * (1 - p) ** gamma * torch.log(p)
        return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]

    for mode in REDUCTIONS:
        got = three(ops.focal_loss, LOGITS, LABELS, gamma=gamma, alpha=alpha, reduction=mode)
        agree(got, three_torch(torch, papers, LOGITS, LABELS, reduction=mode), 1e-9)


def test_focal_loss_of_two_classes_is_that_of_their_difference():
    """The sigmoid form, as softmax of two classes is the sigmoid of their difference."""
    x, y = LOGITS[:, :2], LABELS % 2
    np.testing.assert_allclose(
        ops.focal_loss(x, y, gamma=1.5),
        ops.sigmoid_focal_loss(x[:, 1] - x[:, 0], y * 1.0, alpha=None, gamma=1.5),
        rtol=1e-12,
    )
    np.testing.assert_allclose(ops.focal_loss(x, y, gamma=0), ops.cross_entropy(x, y), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, -1e4, -1e4]], dtype)
    labels = np.array([1, 0, 0])
    for f, more in (
        (ops.cross_entropy, {}),
        (ops.cross_entropy, {"label_smoothing": 0.1}),
        (ops.focal_loss, {}),
        (ops.focal_loss, {"gamma": 0.5}),
    ):
        for value in three(f, x, labels, **more):
            assert value.dtype == dtype
            assert np.isfinite(value).all()
        if "label_smoothing" not in more:
            each = f(x, labels, reduction="none", **more)
            np.testing.assert_allclose(each[:2], [2e4, 2e4], rtol=1e-4)


def test_not_a_number_shows():
    bad = LOGITS.copy()
    bad[2, 1] = np.nan
    assert np.isnan(ops.cross_entropy(bad, LABELS))
    assert np.isnan(ops.focal_loss(bad, LABELS))
    p = SOFT.copy()
    p[2, LABELS[2]] = np.nan
    assert np.isnan(ops.categorical_cross_entropy(p, LABELS))
    assert np.isnan(ops.nll_loss(np.log(p), LABELS))


@pytest.mark.parametrize("f", [ops.cross_entropy, ops.nll_loss, ops.focal_loss])
def test_a_mean_of_nothing_has_no_slope(torch, f):
    """The loss is NaN, as torch's, and the weights stay what they are."""
    x = cr.tensor(LOGITS, requires_grad=True)
    labels = np.full(len(LOGITS), -100)
    with np.errstate(invalid="ignore"):
        loss = f(x, labels)
        loss.backward()
    assert np.isnan(loss.item())
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros_like(LOGITS))
    if f is ops.cross_entropy:
        u = torch.tensor(LOGITS, requires_grad=True)
        torch.nn.functional.cross_entropy(u, torch.tensor(labels)).backward()
        np.testing.assert_array_equal(u.grad.numpy(), x.grad.numpy())


def test_probabilities_have_no_index_to_ignore():
    for f, x in ((ops.cross_entropy, LOGITS), (ops.categorical_cross_entropy, SOFT)):
        with pytest.raises(ValueError, match=r"ignore_index 1 is for class indices; .*weight, 0"):
            f(x, SOFT, ignore_index=1)


def test_wrong_options_and_shapes():
    for f in (ops.cross_entropy, ops.categorical_cross_entropy):
        with pytest.raises(ValueError, match=r"label_smoothing must be between 0 and 1, got 1.5"):
            f(LOGITS, LABELS, label_smoothing=1.5)
    with pytest.raises(ValueError, match="gamma must be 0 or more, got -1"):
        ops.focal_loss(LOGITS, LABELS, gamma=-1)
    with pytest.raises(ShapeError, match="use sigmoid_focal_loss"):
        ops.focal_loss(LOGITS[:, :1], np.zeros(6, int))
    with pytest.raises(ShapeError, match=r"alpha needs one number per class, shape \(4,\)"):
        ops.focal_loss(LOGITS, LABELS, alpha=np.ones(3))
    with pytest.raises(ShapeError, match=r"need one class index per sample, shape \(6,\).*\(5,\)"):
        ops.cross_entropy(LOGITS, LABELS[:5])
    for target in (LABELS, SOFT):
        with pytest.raises(ShapeError, match=r"one number per class, shape \(4,\), got \(3,\)"):
            ops.cross_entropy(LOGITS, target, weight=np.ones(3))
    with pytest.raises(DataError, match=r"largest here is 2, the smallest 0 \(input\)\. For raw"):
        ops.categorical_cross_entropy(np.array([[2.0, 0.0]]), np.array([0]))


def test_one_node_per_loss():
    for loss in (
        ops.cross_entropy(cr.tensor(LOGITS, requires_grad=True), LABELS),
        ops.focal_loss(cr.tensor(LOGITS, requires_grad=True), LABELS),
    ):
        assert all(e is None or type(e) is not tuple for e in loss._node.edges)
