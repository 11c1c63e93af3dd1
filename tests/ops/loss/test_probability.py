"""Divergence, cross entropy and entropy of distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
from tests_losses import REDUCTIONS, P, T, agree, three, three_torch

RNG = np.random.default_rng(0)
TRUE, MODEL = 0.1 + 0.6 * RNG.dirichlet(np.ones(4), (2, 5))
TRUE[0] = [0.5, 0.5, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # torch, of its own kl_div
@pytest.mark.parametrize("mode", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_equals_torch_and_its_gradients_in_both(torch, mode, log_target):
    target = np.log(T) if log_target else T
    more = {"reduction": mode, "log_target": log_target}
    f = torch.nn.functional.kl_div
    x = np.log(P)
    agree(three(ops.kl_div, x, target, **more), three_torch(torch, f, x, target, **more))
    got = three(lambda t, x, **kw: ops.kl_div(x, t, **kw), target, x, **more)
    wanted = three_torch(torch, lambda t, x, **kw: f(x, t, **kw), target, x, **more)
    agree(got, wanted)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_a_target_of_0_costs_nothing(torch):
    """Erratum E004-02: also where log q is -inf."""
    x = np.array([[0.0, -1.0, -np.inf]])
    p = np.array([[1.0, 0.0, 0.0]])
    got = ops.kl_div(x, p, reduction="none")
    np.testing.assert_array_equal(got, [[0.0, 0.0, 0.0]])
    loss, g, h = three(ops.kl_div, x[:, :2], p[:, :2], reduction="sum")
    wanted = torch.nn.functional.kl_div(torch.tensor(x), torch.tensor(p), reduction="none")
    assert loss == 0 == wanted[0, :2].sum()
    assert wanted[0, 2].isnan()  # docs/differences.md
    assert np.isfinite(g).all()
    assert np.isfinite(h).all()


def test_the_notes_order_of_arguments_is_the_other_one():
    """Ledger L-15, erratum E004-14: KL(p ‖ q) of probabilities, summed."""
    each = np.array(
        [
            sum(p * math.log(p / q) for p, q in zip(*rows, strict=True) if p)
            for rows in zip(TRUE, MODEL, strict=True)
        ]
    )
    close = np.testing.assert_allclose
    close(ops.kl_divergence(TRUE, MODEL, reduction="none"), each, rtol=1e-12)
    close(ops.kl_divergence(TRUE, MODEL), each.mean(), rtol=1e-12)
    close(ops.kl_divergence(TRUE, MODEL, reduction="sum"), each.sum(), rtol=1e-12)
    close(ops.kl_divergence(TRUE[1], MODEL[1]), each[1], rtol=1e-12)
    close(ops.kl_div(np.log(MODEL), TRUE, reduction="batchmean"), each.mean(), rtol=1e-12)
    close(ops.kl_divergence(TRUE.T, MODEL.T, axis=0, reduction="none"), each, rtol=1e-12)
    w = np.arange(5.0)
    close(ops.kl_divergence(TRUE, MODEL, weight=w), (w * each).sum() / w.sum(), rtol=1e-12)
    g = cr.grad(lambda q: ops.kl_divergence(TRUE, q, reduction="sum"))(MODEL)
    close(g.numpy(), -TRUE / MODEL, rtol=1e-12)
    cr.check_gradients(lambda p, q: ops.kl_divergence(p, q), TRUE[1:], MODEL[1:])


def test_divergence_at_the_edges():
    p = np.array([1.0, 0.0])
    assert ops.kl_divergence(p, p) == 0  # erratum E004-02
    with np.errstate(divide="ignore"):
        assert ops.kl_divergence(np.array([0.5, 0.5]), p) == np.inf
    assert np.isnan(ops.kl_divergence(np.array([0.0, 1.0]), np.array([np.nan, 1.0])))
    for f in (ops.kl_divergence, ops.distribution_cross_entropy):
        with pytest.raises(DataError, match=r"largest here is 2, the smallest 0 \(q\)"):
            f(p, np.array([2.0, 0.0]))
        with pytest.raises(ShapeError, match=r"p has shape \(2,\), q \(3,\)"):
            f(p, np.ones(3) / 3)
        with pytest.raises(ShapeError, match=r"weight has shape \(2,\)"):
            f(TRUE, MODEL, weight=np.ones(2))


def test_cross_entropy_of_distributions_is_entropy_and_divergence():
    """Ledger L-12."""
    h = ops.entropy(TRUE)
    assert h.shape == (5,)
    np.testing.assert_allclose(h[0], math.log(2), rtol=1e-15)
    each = ops.distribution_cross_entropy(TRUE, MODEL, reduction="none")
    np.testing.assert_allclose(
        each, h + ops.kl_divergence(TRUE, MODEL, reduction="none"), rtol=1e-12
    )
    np.testing.assert_allclose(
        ops.distribution_cross_entropy(TRUE, MODEL),
        ops.categorical_cross_entropy(MODEL, TRUE),
        rtol=1e-13,
    )
    np.testing.assert_allclose(ops.entropy(TRUE, reduction="mean"), h.mean())
    np.testing.assert_allclose(ops.entropy(TRUE.T, axis=0), h)
    cr.check_gradients(lambda p, q: ops.distribution_cross_entropy(p, q), TRUE[1:], MODEL[1:])
    cr.check_gradients(lambda p: ops.entropy(p), TRUE[1:])


@settings(max_examples=50)
@given(arrays(np.float64, (2, 5), elements=st.floats(1e-6, 1)))
def test_gibbs_inequality(values):
    p, q = values / values.sum(axis=1, keepdims=True)
    assert ops.kl_divergence(p, q) >= -1e-15
    assert ops.distribution_cross_entropy(p, q) >= ops.entropy(p) - 1e-14
    assert ops.kl_divergence(p, p) == 0


def test_float32_stays_float32():
    p, q = TRUE.astype(np.float32), MODEL.astype(np.float32)
    for value in (
        ops.kl_divergence(p, q, weight=np.ones(5)),
        ops.distribution_cross_entropy(p, q),
        ops.entropy(p),
    ):
        assert value.dtype == np.float32
