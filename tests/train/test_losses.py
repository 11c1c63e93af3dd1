"""Losses for training: names, weights, options, and what a callable may return."""

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
SIGNS = np.where(RNG.normal(size=(6, 3)) > 0, 1.0, -1.0)
P = VALUES / VALUES.sum(1, keepdims=True)
Q = np.exp(OUT) / np.exp(OUT).sum(1, keepdims=True)

#: Outputs and targets of those that do not take any numbers, or class indices.
SPECIAL: dict[str, tuple[Any, Any]] = {
    "binary_cross_entropy": (1 / (1 + np.exp(-OUT)), VALUES),
    "categorical_cross_entropy": (Q, LABELS),
    "hinge_embedding_loss": (OUT, SIGNS),
    "hinge_loss": (OUT, SIGNS),
    "kl_div": (np.log(Q), P),
    "kl_divergence": (Q, P),
    "nll_loss": (np.log(Q), LABELS),
    "sigmoid_focal_loss": (OUT, (SIGNS + 1) / 2),
    "soft_margin_loss": (OUT, SIGNS),
}


@pytest.mark.parametrize("name", sorted(losses._LOSSES))
def test_weighted_mean_is_over_the_weights(name: str) -> None:
    """Σ w l / Σ w of the per-sample losses, for every loss by name."""
    loss = losses.get(name)
    output, target = SPECIAL.get(name, (OUT, LABELS if loss.targets == "classes" else VALUES))
    t = cr.tensor(output)
    each = np.array(
        [loss.mean(cr.tensor(output[i : i + 1]), target[i : i + 1], None).item() for i in range(6)]
    )
    assert loss.mean(t, target, None).item() == pytest.approx(each.mean(), rel=1e-12)
    assert loss.mean(t, target, W).item() == pytest.approx((each * W).sum() / W.sum(), rel=1e-12)
    ones = loss.mean(t, target, np.ones(6)).item()
    assert ones == pytest.approx(each.mean(), rel=1e-12)


def test_every_loss_of_the_library_is_here_or_takes_more() -> None:
    assert set(cr.ops.loss.__all__) == losses._LOSSES.keys() | losses._OF_MORE
    for name in ("triplet_margin_loss", "gaussian_nll_loss"):
        with pytest.raises(ValueError, match=f"{name} takes more than an output and a target"):
            losses.get(name)


def test_divergences_are_those_of_the_samples():
    each = (P * np.log(P / Q)).sum(1)
    for name, output in (("kl_div", np.log(Q)), ("kl_divergence", Q), ("kl", Q)):
        value = losses.get(name).mean(cr.tensor(output), P, None).item()
        assert value == pytest.approx(each.mean(), rel=1e-12), name
    with pytest.raises(ShapeError, match="a distribution per sample"):
        losses.get("kl").mean(cr.tensor(Q[:, 0]), P[:, 0], None)


def test_aliases_and_functions_of_ops():
    assert losses.get("mse") is losses.get("mse_loss") is losses.get(cr.ops.mse_loss)
    for alias, name in losses._ALIASES.items():
        assert losses.get(alias).name == name
    assert losses.get("nll_of_probabilities").name == "categorical_cross_entropy"
    with pytest.raises(ValueError, match="huber"):
        losses.get("hubr")
    with pytest.raises(TypeError, match="name, a function"):
        losses.get(3)


def test_modules_bring_their_options():
    found = losses.get(cr.nn.HuberLoss(delta=0.25))
    assert (found.name, found.options, found.targets) == (
        "huber_loss",
        (("delta", 0.25),),
        "values",
    )
    t = cr.tensor(OUT)
    each = cr.ops.huber_loss(OUT, VALUES, delta=0.25, reduction="none").mean(1)
    assert found.mean(t, VALUES, W).item() == pytest.approx((each * W).sum() / W.sum())
    assert losses.get(cr.nn.HuberLoss(delta=0.25)) is found
    assert losses.get(cr.nn.MSELoss()) is losses.get("mse")
    assert losses.get(cr.nn.BCELoss()).probabilities
    weighted = losses.get(cr.nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0]))
    for w in (None, W):  # class weights and weights of samples go together
        wanted = cr.ops.cross_entropy(
            OUT, LABELS, weight=np.array([1.0, 2.0, 3.0]), sample_weight=w
        )
        assert weighted.mean(t, LABELS, w).item() == pytest.approx(float(wanted))
    assert str(weighted) == (
        "cross_entropy(ignore_index=-100, label_smoothing=0.0, axis=1, weight)"
    )
    total = losses.get(cr.nn.MSELoss(reduction="sum"))  # as it is, by one's own choice
    assert total.mean(t, VALUES, None).item() == pytest.approx(((OUT - VALUES) ** 2).sum())
    with pytest.raises(TypeError, match=r"write MSELoss\(\), not the class MSELoss"):
        losses.get(cr.nn.MSELoss)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (cr.nn.QuantileLoss(tau=0.9), lambda x: x[:, :1]),
        (cr.nn.QuantileLoss(tau=[0.5]), lambda x: x[:, :1]),
        ("poisson", lambda x: np.floor(np.abs(3 * x[:, :1]))),
        ("gamma", lambda x: np.abs(x[:, :1]) + 0.1),
        (cr.nn.TweedieLoss(power=1.3), lambda x: np.maximum(x[:, :1], 0)),
        ("hinge", lambda x: np.where(x[:, :1] > 0, 1.0, -1.0)),
        (cr.nn.HingeLoss(squared=True), lambda x: np.where(x[:, :1] > 0, 1.0, -1.0)),
        ("log_cosh", lambda x: x[:, :1] ** 2),
        ("sigmoid_focal", lambda x: (x[:, :1] > 0) * 1.0),
    ],
    ids=str,
)
def test_a_trainer_learns_with_them(loss: Any, target: Any) -> None:
    x = np.random.default_rng(0).normal(size=(96, 4)).astype(np.float32)
    y = target(x).astype(np.float32)
    model = cr.nn.Sequential(cr.nn.Dense(4, 16), cr.nn.Tanh(), cr.nn.Dense(16, 1))
    trainer = cr.Trainer(model, loss=loss, optimizer=cr.optim.Adam(lr=0.02), metrics=[], seed=0)
    history = trainer.fit((x, y), epochs=12, batch_size=32, sample_weight=np.ones(96))
    assert history["loss"][-1] < history["loss"][0]
    assert trainer.captured.reason is None


def test_labels_0_and_1_are_refused_before_any_update() -> None:
    x, y = np.ones((8, 2), np.float32), (np.arange(8) % 2).astype(np.float32)[:, None]
    model = cr.nn.Sequential(cr.nn.Dense(2, 1))
    before = model.state_dict()["0.weight"].copy()
    trainer = cr.Trainer(model, loss="hinge", metrics=[])
    with pytest.raises(cr.DataError, match=r"labels -1 and 1, got 0, 1: write 2 \* y - 1"):
        trainer.fit((x, y), epochs=1)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before)


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
