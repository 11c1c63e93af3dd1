"""Every loss with every reduction against torch; weights, labels, extremes, messages."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 4, 3))
P = RNG.uniform(0.05, 0.95, (4, 3))
T = RNG.uniform(0, 1, (4, 3))
LOGITS = RNG.standard_normal((6, 4)) * 3
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFT = RNG.dirichlet(np.ones(4), 6)
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5, 3.0])
SAMPLE_WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
REDUCTIONS = ["mean", "sum", "none"]

POINTWISE = {
    "mse_loss": (A, B, {}),
    "l1_loss": (A, B, {}),
    "huber_loss": (A, B, {"delta": 0.7}),
    "binary_cross_entropy": (P, T, {}),
    "binary_cross_entropy_with_logits": (3 * A, T, {}),
}


def three(loss, x, *args, **kwargs):
    """Value, gradient, and the gradient of the squared gradient (zeros if there is none)."""
    t = cr.tensor(x, requires_grad=True)
    y = loss(t, *args, **kwargs)
    u = np.cos(np.arange(y.size)).reshape(y.shape) + 0.5
    (g,) = cr.autograd.grad(y, [t], u.astype(y.dtype), create_graph=True)
    (h,) = cr.autograd.grad((g * g).sum(), [t])
    return y.detach().numpy(), g.detach().numpy(), h.numpy()


def three_torch(torch, loss, x, *args, **kwargs):
    def convert(v):
        return torch.tensor(v) if isinstance(v, np.ndarray) else v

    t = torch.tensor(x, requires_grad=True)
    y = loss(t, *[convert(a) for a in args], **{k: convert(v) for k, v in kwargs.items()})
    n = y.numel()
    u = (torch.cos(torch.arange(n, dtype=torch.float64)) + 0.5).reshape(y.shape)
    (g,) = torch.autograd.grad(y, t, u, create_graph=True)
    if g.requires_grad:
        (h,) = torch.autograd.grad((g * g).sum(), t, allow_unused=True)
    else:
        h = None
    h = np.zeros(x.shape) if h is None else h.numpy(force=True)
    return y.detach().numpy(), g.detach().numpy(), h


def agree(got, wanted, rtol=1e-11):
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


# -- losses of two arrays of one shape ---------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_pointwise_losses_equal_torch(torch, name, reduction):
    x, y, more = POINTWISE[name]
    got = three(getattr(ops, name), x, y, reduction=reduction, **more)
    f = getattr(torch.nn.functional, name)
    # torch adds 1e-12 to p (1 - p) in the derivative of binary_cross_entropy
    rtol = 1e-9 if name == "binary_cross_entropy" else 1e-12
    agree(got, three_torch(torch, f, x, y, reduction=reduction, **more), rtol)


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_pointwise_losses_by_differences_in_both_arguments(name):
    x, y, more = POINTWISE[name]
    for reduction in ("mean", "none", "batchmean"):
        f = functools.partial(getattr(ops, name), reduction=reduction, **more)
        cr.check_gradients(f, x, y)


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_batchmean_divides_by_the_rows(name):
    x, y, more = POINTWISE[name]
    f = getattr(ops, name)
    np.testing.assert_allclose(
        f(x, y, reduction="batchmean", **more), f(x, y, reduction="sum", **more) / 4, rtol=1e-15
    )


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_a_weighted_mean_divides_by_the_weights(name):
    x, y, more = POINTWISE[name]
    f = getattr(ops, name)
    each = f(x, y, reduction="none", **more)
    w = RNG.uniform(0, 2, (4, 3))
    np.testing.assert_allclose(f(x, y, weight=w, **more), (w * each).sum() / w.sum(), rtol=1e-13)
    np.testing.assert_allclose(f(x, y, weight=w, reduction="sum", **more), (w * each).sum())
    np.testing.assert_allclose(f(x, y, weight=w, reduction="none", **more), w * each)
    rows = np.array([1.0, 0.0, 2.0, 0.5])
    full = np.repeat(rows[:, None], 3, axis=1)
    np.testing.assert_allclose(f(x, y, weight=rows, **more), f(x, y, weight=full, **more))
    cr.check_gradients(lambda a: f(a, y, weight=rows, **more), x)


def test_row_weights_of_a_square_batch_are_per_row_too():
    """Four rows of four columns: a weight per row must not turn into one per column."""
    x, y = RNG.standard_normal((2, 3, 3))
    w = np.array([1.0, 0.0, 5.0])
    each = ops.mse_loss(x, y, reduction="none")
    wanted = (each * w[:, None]).sum() / (3 * w.sum())
    np.testing.assert_allclose(ops.mse_loss(x, y, weight=w), wanted)


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


# -- cross entropy ---------------------------------------------------


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


# -- extremes and types ---------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype)
    labels = np.array([1, 0])
    for value in three(ops.cross_entropy, x, labels):
        assert value.dtype == dtype
        assert np.isfinite(value).all()
    np.testing.assert_allclose(
        ops.cross_entropy(x, labels, reduction="none"), [2e4, 2e4], rtol=1e-4
    )
    t = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 1.0]], dtype)
    for name in sorted(POINTWISE):
        if name == "binary_cross_entropy":
            continue
        for value in three(getattr(ops, name), x, t):
            assert value.dtype == dtype
            assert np.isfinite(value).all()
    for value in three(
        ops.binary_cross_entropy_with_logits, x, t, pos_weight=np.array([2.0, 1, 1])
    ):
        assert np.isfinite(value).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bce_of_certain_probabilities_has_finite_gradients_where_right(dtype):
    p = np.array([0.0, 1.0, 0.5], dtype)
    y, g, h = three(ops.binary_cross_entropy, p, np.array([0.0, 1.0, 1.0], dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(g).all()
    assert np.isfinite(h).all()


def test_not_a_number_shows():
    bad = LOGITS.copy()
    bad[2, 1] = np.nan
    assert np.isnan(ops.cross_entropy(bad, LABELS))
    assert np.isnan(ops.mse_loss(bad, LOGITS))
    assert np.isnan(ops.binary_cross_entropy_with_logits(bad, SOFT))
    p = P.copy()
    p[0, 0] = np.nan
    assert np.isnan(ops.binary_cross_entropy(p, T))


@pytest.mark.parametrize("name", [*sorted(POINTWISE), "cross_entropy", "nll_loss"])
def test_float32_stays_float32(name):
    if name in POINTWISE:
        x, target, more = POINTWISE[name]
        weight = np.ones((4, 3))
    else:
        x, target, more, weight = -np.abs(LOGITS), LABELS, {}, CLASS_WEIGHT
    for extra in ({}, {"weight": weight.astype(np.float32)}, {"reduction": "none"}):
        t = cr.tensor(x.astype(np.float32), requires_grad=True)
        y = getattr(ops, name)(
            t, target.astype(np.float32) if name in POINTWISE else target, **extra, **more
        )
        assert y.dtype == np.float32
        (g,) = cr.autograd.grad(y.sum(), [t], create_graph=True)
        (h,) = cr.autograd.grad((g * g).sum(), [t])
        assert g.dtype == h.dtype == np.float32


def test_weights_of_float64_do_not_widen_class_losses():
    x = LOGITS.astype(np.float32)
    for more in ({"weight": CLASS_WEIGHT}, {"sample_weight": SAMPLE_WEIGHT}):
        for target in (LABELS, SOFT.astype(np.float32)):
            for smoothing in (0.0, 0.1):
                y = ops.cross_entropy(x, target, label_smoothing=smoothing, **more)
                assert y.dtype == np.float32


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


def test_losses_in_lists_and_scalars():
    assert ops.mse_loss([1.0, 2.0], [0.0, 4.0]) == 2.5
    np.testing.assert_allclose(ops.cross_entropy([[2.0, 0.0]], [0]), 0.12692801104297263, rtol=1e-6)


# -- messages ---------------------------------------------------


def test_an_unknown_reduction():
    for f in (ops.mse_loss, ops.cross_entropy, ops.nll_loss):
        with pytest.raises(
            ValueError, match=r"unknown reduction 'avg'; known: 'batchmean', 'mean'"
        ):
            f(LOGITS, LOGITS, reduction="avg")
    with pytest.raises(ValueError, match=r"did you mean 'mean'"):
        ops.mse_loss(A, B, reduction="means")


def test_shapes_that_differ():
    with pytest.raises(
        ShapeError, match=r"mse_loss: input has shape \(4, 1\), target \(4,\).*reshape"
    ):
        ops.mse_loss(np.ones((4, 1)), np.ones(4))
    with pytest.raises(ShapeError, match=r"need one class index per sample, shape \(6,\).*\(5,\)"):
        ops.cross_entropy(LOGITS, LABELS[:5])
    with pytest.raises(ShapeError, match=r"one number per class, shape \(4,\), got \(3,\)"):
        ops.cross_entropy(LOGITS, LABELS, weight=np.ones(3))
    with pytest.raises(ShapeError, match=r"one number per class, shape \(4,\), got \(3,\)"):
        ops.cross_entropy(LOGITS, SOFT, weight=np.ones(3))


def test_wrong_labels():
    with pytest.raises(DataError, match=r"label 4 at row 2 is out of range; 4 classes are 0 to 3"):
        ops.cross_entropy(LOGITS, np.array([0, 1, 4, 1, 2, 0]))
    with pytest.raises(DataError, match=r"counted from 1\? subtract 1"):
        ops.cross_entropy(LOGITS, LABELS + 1)
    with pytest.raises(DataError, match=r"label -1 at row 0"):
        ops.nll_loss(LOGITS, np.array([-1, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"whole numbers.*first: 0.5 at \(1,\)"):
        ops.cross_entropy(LOGITS, np.array([0, 0.5, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"whole numbers"):
        ops.cross_entropy(LOGITS, np.array([0, np.nan, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"at index \(1, 2\)"):
        ops.cross_entropy(np.zeros((2, 3, 3)), np.array([[0, 1, 2], [0, 1, 7]]))
    for dtype in (float, np.uint8, np.int8, np.uint64):
        assert ops.cross_entropy(LOGITS, LABELS.astype(dtype)) == ops.cross_entropy(LOGITS, LABELS)
    many = np.zeros((1, 300))
    np.testing.assert_allclose(ops.cross_entropy(many, np.array([255], np.uint8)), math.log(300))
    with pytest.raises(DataError, match=r"whole numbers, got <U1"):
        ops.cross_entropy(LOGITS, np.array(list("aabbcc")))
    with pytest.raises(DataError, match=r"whole numbers"):
        ops.cross_entropy(LOGITS, np.array([0, np.inf, 0, 0, 0, 0]))


def test_wrong_values_of_options():
    with pytest.raises(ValueError, match=r"label_smoothing must be between 0 and 1, got 1.5"):
        ops.cross_entropy(LOGITS, LABELS, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"delta must be positive, got 0"):
        ops.huber_loss(A, B, delta=0)
    with pytest.raises(DataError, match=r"largest here is 1.5, the smallest 0"):
        ops.binary_cross_entropy(np.array([0.0, 1.5]), np.zeros(2))


def test_one_node_per_loss():
    for loss in (
        ops.cross_entropy(cr.tensor(LOGITS, requires_grad=True), LABELS),
        ops.mse_loss(cr.tensor(A, requires_grad=True), B),
        ops.binary_cross_entropy_with_logits(cr.tensor(A, requires_grad=True), T),
    ):
        assert all(e is None or type(e) is not tuple for e in loss._node.edges)


CORNERS = np.array([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 3.0, -2.0])


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
