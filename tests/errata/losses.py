"""Errata of losses, their derivatives and their reductions."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

import chainrule as cr
from errata.measured import (
    ROUNDING,
    Errors,
    as_printed,
    differences,
    erratum,
    error,
    gradient,
    off,
    one_hot,
    rng,
    sigma,
    softmax,
    worst,
)

# -- squared and absolute error -------------------------------------------------------------------


@cache
def _regression() -> SimpleNamespace:
    r = rng(30)
    return SimpleNamespace(y=r.normal(size=5), p=r.normal(size=5))


def _mae_error(printed: Any) -> Errors:
    n = _regression()
    expected = differences(lambda p: np.mean(np.abs(p - n.y)), n.p)
    ours = gradient(lambda p: cr.ops.l1_loss(p, n.y), n.p)
    return error(printed(n.p, n.y), expected), off(ours, expected)


@erratum("E000-18")
def mae_sign() -> Errors:
    """The derivative sign(y − ŷ)/n and that of `cr.ops.l1_loss`; central differences."""
    return _mae_error(lambda p, y: np.sign(y - p) / len(y))


@erratum("E004-01")
def mae_cases() -> Errors:
    """The derivative by cases, 1/n below and −1/n above; that of `cr.ops.l1_loss`, also 0 at
    equality; central differences."""
    at_equality = gradient(lambda p: cr.ops.l1_loss(p, np.ones(1)), np.ones(1))
    printed, ours = _mae_error(lambda p, y: np.where(p < y, 1.0, -1.0) / len(y))
    return printed, worst(ours, off(at_equality, [0.0]))


@erratum("E000-19")
def mse_sign() -> Errors:
    """The derivative −2(ŷ − y)/n and that of `cr.ops.mse_loss`; central differences."""
    n = _regression()
    expected = differences(lambda p: np.mean((p - n.y) ** 2), n.p)
    ours = gradient(lambda p: cr.ops.mse_loss(p, n.y), n.p)
    return error(-2 * (n.p - n.y) / 5, expected), off(ours, expected)


@erratum("X-06")
def agreement_is_no_proof() -> Errors:
    """The better of both notes' derivatives of the mean absolute error; `cr.ops.l1_loss`."""
    both = [mae_sign.measure(), mae_cases.measure()]
    return min(float(p) for p, _ in both), max(e for _, e in both)  # type: ignore[arg-type]


@erratum("E004-05", within=ROUNDING)
def huber_reduction() -> Errors:
    """Huber's loss of 5 residuals summed, where the note leaves it open, beside their mean;
    `cr.ops.huber_loss` with both reductions."""
    n = _regression()
    e = np.abs(n.p - n.y)
    each = np.where(e <= 1, 0.5 * e**2, e - 0.5)
    mean = off(cr.ops.huber_loss(n.p, n.y), each.mean())
    return each.sum() - each.mean(), worst(
        mean, off(cr.ops.huber_loss(n.p, n.y, reduction="sum"), each.sum())
    )


@erratum("X-01")
def scales_of_squared_error() -> Errors:
    """The notes' five gradients of a squared error of 4×3 numbers beside that of the mean over
    all of them: the furthest; `cr.ops.mse_loss`; differences."""
    r = rng(31)
    p, y = r.normal(size=(4, 3)), r.normal(size=(4, 3))
    expected = differences(lambda v: np.mean((v - y) ** 2), p)
    notes = [2 * (p - y) / 4, p - y, 2 * (p - y) / 4, 2 * (p - y), 2 * (p - y) / 12]
    ours = gradient(lambda v: cr.ops.mse_loss(v, y), p)
    return worst(*(off(g, expected) for g in notes)), off(ours, expected)


# -- cross entropy --------------------------------------------------------------------------------


@cache
def _classes() -> SimpleNamespace:
    """Four rows of three logits, and the cross entropy of each by hand."""
    r = rng(32)
    n = SimpleNamespace(z=r.normal(size=(4, 3)), labels=r.integers(0, 3, 4))
    n.t, n.p = one_hot(n.labels, 3), softmax(n.z)
    n.each = np.array([-np.log(n.p[i, k]) for i, k in enumerate(n.labels)])
    return n


@erratum("E000-09", within=ROUNDING)
def bce_count() -> Errors:
    """Binary cross entropy of 6 rows over 2 classes instead of 6 rows;
    `cr.ops.binary_cross_entropy`."""
    r = rng(33)
    y, p = (r.random(6) > 0.5) * 1.0, r.uniform(0.1, 0.9, 6)
    each = [-np.log(q if t else 1 - q) for q, t in zip(p, y, strict=True)]
    expected = sum(each) / 6
    return abs(sum(each) / 2 - expected), off(cr.ops.binary_cross_entropy(p, y), expected)


@erratum("E000-10", within=ROUNDING)
def bce_of_hard_predictions() -> Errors:
    """Binary cross entropy of right predictions that are exactly 0 or 1, beside the limit 0;
    `cr.ops.binary_cross_entropy`."""
    y = np.array([1.0, 0.0])
    with as_printed():
        printed = error(-np.mean(y * np.log(y) + (1 - y) * np.log(1 - y)), 0.0)
    return printed, off(cr.ops.binary_cross_entropy(y, y), 0.0)


@erratum("E000-11", within=ROUNDING)
def cce_without_classes() -> Errors:
    """y log ŷ averaged over all 4×3 entries, with no sum over classes; `cr.ops.cross_entropy` with
    one-hot targets."""
    n = _classes()
    printed = -np.mean(n.t * np.log(n.p))
    return abs(printed - n.each.mean()), off(cr.ops.cross_entropy(n.z, n.t), n.each.mean())


@erratum("E000-12", within=ROUNDING)
def cce_of_one_sample() -> Errors:
    """−(1/N) log ŷ of the first row alone; `cr.ops.cross_entropy` with class indices."""
    n = _classes()
    ours = off(cr.ops.cross_entropy(n.z, n.labels), n.each.mean())
    return abs(n.each[0] / 4 - n.each.mean()), ours


@erratum("E000-20")
def fused_gradient_scale() -> Errors:
    """ŷ − y of a batch of 4, and the gradient of `cr.ops.cross_entropy`, beside differences of the
    note's own mean."""
    n = _classes()
    expected = differences(lambda z: -np.sum(n.t * np.log(softmax(z))) / 4, n.z)
    return error(n.p - n.t, expected), off(
        gradient(lambda z: cr.ops.cross_entropy(z, n.t), n.z), expected
    )


@erratum("E000-26", within=ROUNDING)
def saturated_derivative() -> Errors:
    """The derivative of binary cross entropy at predictions that are exactly right, beside 0; of
    `cr.ops.binary_cross_entropy_with_logits` at logits of ±800."""
    y, z = np.array([0.0, 1.0]), np.array([-800.0, 800.0])
    with as_printed():
        printed = error(-(y / y - (1 - y) / (1 - y)) / 2, [0, 0])
    ours = gradient(lambda v: cr.ops.binary_cross_entropy_with_logits(v, y), z)
    return printed, off(ours, [0, 0])


@erratum("E001-11", within=ROUNDING)
def zero_times_log_of_zero() -> Errors:
    """−Σ y log o at o = y = (1, 0), beside 0; `cr.ops.cross_entropy` at logits of ±800."""
    y = np.array([1.0, 0.0])
    with as_printed():
        printed = error(-np.sum(y * np.log(y)), 0.0)
    return printed, off(cr.ops.cross_entropy(np.array([[800.0, -800.0]]), y[None]), 0.0)


@erratum("E003-18", within=ROUNDING)
def target_over_activation() -> Errors:
    """−t/a at a = t = (0, 1), beside (0, −1); the derivative of
    `cr.ops.distribution_cross_entropy` there, and of `cr.ops.cross_entropy` by logits of ±800,
    a − t, beside (0, 0)."""
    t, z = np.array([0.0, 1.0]), np.array([[-800.0, 800.0]])
    with as_printed():
        printed = error(-t / t, [0, -1])
    by_a = gradient(lambda a: cr.ops.distribution_cross_entropy(t, a), t)
    by_z = gradient(lambda z: cr.ops.cross_entropy(z, t[None]), z)
    return printed, worst(off(by_a, [0, -1]), off(by_z, [[0, 0]]))


@erratum("E003-19")
def targets_that_do_not_sum_to_one() -> Errors:
    """a − t for targets that sum to 0.8, and the gradient of `cr.ops.cross_entropy`;
    differences."""
    t, z = np.array([0.5, 0.2, 0.1]), rng(34).normal(size=3)
    expected = differences(lambda v: -np.sum(t * np.log(softmax(v))), z)
    ours = gradient(lambda v: cr.ops.cross_entropy(v[None], t[None]), z)
    return error(softmax(z) - t, expected), off(ours, expected)


@erratum("E003-21")
def logistic_pair() -> Errors:
    """The cost (2.23) itself where its derivative is meant, and the gradient of
    `cr.ops.binary_cross_entropy_with_logits`; differences."""
    z, y = np.array([-0.8]), np.array([1.0])
    cost = -np.log(sigma(z))
    expected = differences(lambda v: -np.log(sigma(v)).sum(), z)
    ours = gradient(lambda v: cr.ops.binary_cross_entropy_with_logits(v, y), z)
    return error(cost, expected), off(ours, expected)


@erratum("E004-03", within=ROUNDING)
def cross_entropy_of_a_batch() -> Errors:
    """The plain sum over 4 rows beside their mean; `cr.ops.cross_entropy`."""
    n = _classes()
    ours = off(cr.ops.cross_entropy(n.z, n.labels), n.each.mean())
    return n.each.sum() - n.each.mean(), ours


@erratum("E004-04", within=ROUNDING)
def nll_of_probabilities() -> Errors:
    """What `nll_loss` makes of probabilities, which the note feeds to it, beside −Σ log ŷ;
    `cr.ops.nll_loss` of their logarithms."""
    n = _classes()
    fed = float(cr.ops.nll_loss(n.p, n.labels, reduction="sum"))
    ours = cr.ops.nll_loss(np.log(n.p), n.labels, reduction="sum")
    return abs(fed - n.each.sum()), off(ours, n.each.sum())


@erratum("X-02")
def scales_of_cross_entropy() -> Errors:
    """The sum over 4 rows beside their mean; `cr.ops.cross_entropy` with both reductions, and
    the gradient of the sum beside ŷ − y."""
    n = _classes()
    ours = gradient(lambda z: cr.ops.cross_entropy(z, n.t, reduction="sum"), n.z)
    return n.each.sum() - n.each.mean(), worst(
        off(cr.ops.cross_entropy(n.z, n.t), n.each.mean()),
        off(cr.ops.cross_entropy(n.z, n.t, reduction="sum"), n.each.sum()),
        off(ours, n.p - n.t),
    )


@erratum("E004-02", within=ROUNDING)
def divergence_with_a_zero() -> Errors:
    """Σ p log(p/q) of p = q = (½, ½, 0), beside 0; `cr.ops.kl_div` and `cr.ops.kl_divergence`."""
    p = np.array([[0.5, 0.5, 0.0]])
    with as_printed():
        printed = error(np.sum(p * np.log(p / p)), 0.0)
        log_q = np.log(p)
    return printed, worst(
        off(cr.ops.kl_divergence(p, p), 0.0),
        off(cr.ops.kl_div(np.maximum(log_q, -1e4), p, reduction="batchmean"), 0.0),
    )


@erratum("E004-14", within=ROUNDING)
def order_of_the_divergence() -> Errors:
    """KL(p‖q) with the arguments in the note's order given to `cr.ops.kl_div`, whose order is
    torch's; `cr.ops.kl_div(log q, p)` and `cr.ops.kl_divergence(p, q)`; the sum by hand."""
    r = rng(35)
    p, q = softmax(r.normal(size=(1, 4))), softmax(r.normal(size=(1, 4)))
    expected = sum(a * np.log(a / b) for a, b in zip(p[0], q[0], strict=True))
    swapped = cr.ops.kl_div(np.log(p), q, reduction="sum")
    return error(swapped, expected), worst(
        off(cr.ops.kl_div(np.log(q), p, reduction="batchmean"), expected),
        off(cr.ops.kl_divergence(p, q), expected),
    )


@erratum("E004-06", within=ROUNDING)
def labels_of_the_hinge() -> Errors:
    """The hinge loss with labels 0 and 1 in place of −1 and 1; `cr.ops.hinge_loss`; by hand."""
    score, y = rng(36).normal(size=6), np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    expected = sum(max(0.0, 1 - s if t else 1 + s) for s, t in zip(score, y, strict=True)) / 6
    printed = np.maximum(0, 1 - y * score).mean()
    return error(printed, expected), off(cr.ops.hinge_loss(score, 2 * y - 1), expected)
