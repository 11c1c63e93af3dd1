"""Losses for training: names, weights, and what a callable may return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import ShapeError
from chainrule.train import losses

RNG = np.random.default_rng(0)
OUT = RNG.normal(size=(6, 3))
LABELS = RNG.integers(0, 3, 6)
VALUES = RNG.uniform(size=(6, 3))
W = RNG.uniform(0, 2, 6)


@pytest.mark.parametrize("name", sorted(losses._LOSSES))
def test_weighted_mean_is_over_the_weights(name: str) -> None:
    """Σ w l / Σ w of the per-sample losses, for every loss by name."""
    loss = losses.get(name)
    output = (
        1 / (1 + np.exp(-OUT))
        if loss.probabilities
        else np.log(VALUES)
        if name == "nll_loss"
        else OUT
    )
    target: Any = LABELS if loss.targets == "classes" else VALUES
    t = cr.tensor(output)
    each = np.array(
        [loss.mean(cr.tensor(output[i : i + 1]), target[i : i + 1], None).item() for i in range(6)]
    )
    assert loss.mean(t, target, None).item() == pytest.approx(each.mean(), rel=1e-12)
    assert loss.mean(t, target, W).item() == pytest.approx((each * W).sum() / W.sum(), rel=1e-12)
    ones = loss.mean(t, target, np.ones(6)).item()
    assert ones == pytest.approx(each.mean(), rel=1e-12)


def test_aliases_and_functions_of_ops():
    assert losses.get("mse") is losses.get("mse_loss") is losses.get(cr.ops.mse_loss)
    with pytest.raises(ValueError, match="huber"):
        losses.get("hubr")
    with pytest.raises(TypeError, match="name, a function"):
        losses.get(3)


def test_callables():
    per_sample = losses.get(lambda out, t: (out * out).sum(axis=1))
    each = (OUT**2).sum(1)
    assert per_sample.mean(cr.tensor(OUT), None, W).item() == pytest.approx(
        (each * W).sum() / W.sum()
    )
    scalar = losses.get(lambda out, t: (out * out).mean())
    assert scalar.mean(cr.tensor(OUT), None, None).item() == pytest.approx((OUT**2).mean())
    with pytest.raises(ValueError, match="sample_weight"):
        scalar.mean(cr.tensor(OUT), None, W)

    def weighted(out: Any, t: Any, sample_weight: Any = None) -> Any:
        return (out.sum(axis=1) * sample_weight).sum() / sample_weight.sum()

    value = losses.get(weighted).mean(cr.tensor(OUT), None, W).item()
    assert value == pytest.approx((OUT.sum(1) * W).sum() / W.sum())
    with pytest.raises(TypeError, match="not a tensor"):
        losses.get(lambda out, t: 3.0).mean(cr.tensor(OUT), None, None)
    with pytest.raises(ShapeError, match=r"\(6, 3\)"):
        losses.get(lambda out, t: out * out).mean(cr.tensor(OUT), None, None)
