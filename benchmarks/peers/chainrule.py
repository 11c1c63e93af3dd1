"""chainrule: a step captured or eager, predictions, a whole fit."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np

import chainrule as cr
from cases import EPOCHS, RATE, VARIANCE, Case, Job, fitting, predicting, training
from harness import Unavailable


@cr.formula
def normalized(xp: Any, x: Any, weight: Any, bias: Any, axis: int = 0) -> Any:
    """``weight (x - mean) / √(variance + ε) + bias``, the statistics being taken over `axis`, and
    divided once for each, as the other libraries do it."""
    d = x - xp.mean(x, axis=axis, keepdims=True)
    variance = xp.mean(d * d, axis=axis, keepdims=True)
    return d * (1.0 / xp.sqrt(variance + VARIANCE)) * weight + bias


class Norm(cr.nn.Module):
    """Batch normalisation as in training (over the rows, axis 0), layer normalisation (axis 1)."""

    def __init__(self, features: int, axis: int) -> None:
        self.weight = cr.nn.Parameter(np.ones(features, np.float32))
        self.bias = cr.nn.Parameter(np.zeros(features, np.float32))
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return normalized(x, self.weight, self.bias, axis=self.axis)


def network(case: Case) -> Any:
    layers: list[Any] = []
    for n, m in itertools.pairwise(case.sizes):
        layers.append(cr.nn.Dense(n, m))
        if case.norm:
            layers += [Norm(m, 0 if case.norm == "batch" else 1), cr.nn.GELU()]
            layers += [cr.nn.Dropout(case.dropout)] if case.dropout else []
        else:
            layers.append(cr.nn.SiLU() if case.kind == "penalty" else cr.nn.ReLU())
    dense = [k for k, layer in enumerate(layers) if isinstance(layer, cr.nn.Dense)]
    for k, (W, b) in zip(dense, case.layers(), strict=True):
        layers[k].weight.assign(W)
        layers[k].bias.assign(b)
    if case.kind == "row" and case.classes:
        return cr.nn.Sequential(*layers[: dense[-1] + 1], cr.nn.Softmax())
    return cr.nn.Sequential(*layers[: dense[-1] + 1])


def build(case: Case, mode: str) -> Job:
    if case.kind == "products":
        return products(case)
    if case.kind == "fit":
        return fitting(fit)
    model = network(case)
    if case.kind == "row":
        model.eval()
        return predicting(lambda row: model(row).numpy(), case.row(), cr.no_grad)

    optimizer = cr.optim.Adam(model.parameters(), lr=RATE)

    def loss_of(x: Any, y: Any) -> Any:
        if case.kind == "step":
            return cr.ops.cross_entropy(model(x), y)
        x = cr.tensor(x, requires_grad=True)
        (slope,) = cr.autograd.grad(model(x).sum(), [x], create_graph=True)
        return ((cr.ops.norm(slope, axis=1) - 1) ** 2).mean()

    def step(x: Any, y: Any) -> Any:
        loss = loss_of(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    if mode == "captured":
        step = cr.capture(step)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be captured")
        try:
            return training(step, case.batches(), value=lambda loss: loss.item())
        except RuntimeWarning as warning:  # a row of its own has the eager step
            raise Unavailable(str(warning)) from None


def fit(x: Any, y: Any) -> Any:
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Dense(64, 100), cr.nn.ReLU(), cr.nn.Dense(100, 10))
    optimizer = cr.optim.Adam(model.parameters(), lr=RATE)
    trainer = cr.Trainer(model, loss="cross_entropy", optimizer=optimizer, metrics=[])
    trainer.fit((x, y), epochs=EPOCHS, batch_size=32, verbose=False)
    return lambda rows: trainer.predict(rows).argmax(1)


def products(case: Case) -> Job:
    """The matrix products of a step and nothing else, into memory that is there."""
    random = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return random.standard_normal(shape, np.float32)

    layers = [
        (k, array(case.batch, n), array(m, n), array(case.batch, m))  # x, W, the gradient of x Wᵀ
        for k, (n, m) in enumerate(itertools.pairwise(case.sizes))
    ]
    calls = [(x, W.T, np.empty_like(d)) for _, x, W, d in layers]
    for k, x, W, d in reversed(layers):
        calls.append((d.T, x, np.empty_like(W)))
        if k:
            calls.append((d, W, np.empty_like(x)))

    def run(n: int) -> None:
        for _ in range(n):
            for a, b, out in calls:
                np.matmul(a, b, out=out)

    return [], run
