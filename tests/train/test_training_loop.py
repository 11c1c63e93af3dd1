"""The training loops of the notes, written out in NumPy, give the weights that `fit` gives.

Ledger S-01 to S-07, O-01: forward, error, error signals, gradients, update; after every sample,
after a batch, or after all samples. Matrices are ``(in, out)``, as in notes 000 and 001.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr

RNG = np.random.default_rng(0)
N, ETA = 12, 0.3
X, Y = RNG.standard_normal((N, 3)), RNG.random((N, 2))


def half_squared(output: Any, y: Any) -> Any:
    """``½ ‖o - y‖²`` of each sample: then the mean over a batch is that of note 001's error."""
    return ((output - y) ** 2).sum(axis=-1) * 0.5


def network() -> cr.nn.Sequential:
    return cr.nn.Sequential(
        cr.nn.Dense(3, 4, activation="sigmoid"), cr.nn.Dense(4, 2, activation="sigmoid")
    ).double()


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


class ByHand:
    """Two layers of logistic neurons, trained by the three steps of note 000 on a batch of rows."""

    def __init__(self, model: cr.nn.Sequential) -> None:
        state = model.state_dict()
        self.W_h, self.b_h = state["0.weight"].T, state["0.bias"]
        self.W_o, self.b_o = state["1.weight"].T, state["1.bias"]

    def step(self, x: Any, y: Any) -> float:
        """I forward, II error, III error signals, IV gradients, V update."""
        z = sigmoid(x @ self.W_h + self.b_h)
        o = sigmoid(z @ self.W_o + self.b_o)
        n = len(x)
        delta_o = (o - y) / n * o * (1 - o)  # the mean stands in the loss, and nowhere else
        delta_h = (delta_o @ self.W_o.T) * z * (1 - z)
        self.W_o, self.b_o = self.W_o - ETA * z.T @ delta_o, self.b_o - ETA * delta_o.sum(axis=0)
        self.W_h, self.b_h = self.W_h - ETA * x.T @ delta_h, self.b_h - ETA * delta_h.sum(axis=0)
        return float(0.5 * ((o - y) ** 2).sum() / n)

    def agrees(self, model: cr.nn.Sequential) -> None:
        state = model.state_dict()
        for name, value in (
            ("0.weight", self.W_h.T), ("0.bias", self.b_h),
            ("1.weight", self.W_o.T), ("1.bias", self.b_o),
        ):  # fmt: skip
            np.testing.assert_allclose(state[name], value, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("batch", [1, 5, N], ids=["samples", "batches", "whole"])
def test_epochs_of_samples_of_batches_and_of_the_whole_set(batch: int) -> None:
    """S-01 to S-03, S-05 to S-07, O-01: in the order given; the last batch is smaller."""
    model = network()
    hand = ByHand(model)
    trainer = cr.Trainer(model, loss=half_squared, optimizer=cr.optim.SGD(lr=ETA))
    history = trainer.fit((X, Y), epochs=3, batch_size=batch, shuffle=False)
    for epoch in range(3):
        starts = range(0, N, batch)
        losses = [hand.step(X[i : i + batch], Y[i : i + batch]) for i in starts]
        sizes = [len(X[i : i + batch]) for i in starts]
        assert history["loss"][epoch] == pytest.approx(np.average(losses, weights=sizes))
    hand.agrees(model)
    assert len(history["loss"]) == 3  # S-03: a fixed number of epochs


def test_a_shuffled_epoch_takes_every_sample_once() -> None:
    """S-01: note 001 leaves the order open; here it is drawn anew for each epoch."""
    data = cr.data.Batches((np.arange(N, dtype=np.float64)[:, None], Y), batch_size=1, shuffle=True)
    first, second = ([float(x[0, 0]) for x, _ in data] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second


def test_the_mean_of_the_gradients_is_the_gradient_of_the_mean() -> None:
    """S-05, S-06: a step after all samples is the mean of the steps that each would take."""
    model = network()
    of_each = cr.per_sample_gradients(model, half_squared, X, Y)
    half_squared(model(X), Y).mean().backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), of_each[name].mean(axis=0), atol=1e-14)


def test_a_loss_of_certain_probabilities_needs_the_pair() -> None:
    """S-08: ``-t/a`` at a = 0 is infinite and its product with J NaN; of the logits it is a - t."""
    logits = np.array([[0.0, 800.0]])
    a = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    t = np.array([[1.0, 0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -t / a
        pulled = (np.diag(a[0]) - np.outer(a, a)) @ slope[0]
    assert np.isinf(slope).any()
    assert np.isnan(pulled).any()
    x = cr.tensor(logits, requires_grad=True)
    loss = cr.ops.cross_entropy(x, np.array([0]))
    loss.backward()
    assert loss.item() == 800
    np.testing.assert_array_equal(x.grad.numpy(), a - t)
