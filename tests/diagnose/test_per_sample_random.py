"""Random networks have the gradients per sample of a loop, or say that they have none.

Widths are often equal to the number of samples, which is where one is taken for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, ops

#: x is (samples, d) and so is the result; w is (d, d), v is (d,), both parameters.
STEPS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "dense": lambda x, w, v: ops.dense(x, w, v, ops.tanh),
    "without bias": lambda x, w, v: ops.dense(x, w),
    "transposed": lambda x, w, v: ops.dense(x, w.T, v, ops.sigmoid),
    "on the right": lambda x, w, v: ops.tanh(x @ w),
    "on the right, transposed": lambda x, w, v: x @ w.T,
    "on the left": lambda x, w, v: (w @ x.reshape(x.shape[0], -1, 1)).reshape(x.shape),
    "square": lambda x, w, v: ops.dense(x, w @ w),
    "shifted": lambda x, w, v: x + v,
    "scaled": lambda x, w, v: x * ops.exp(v),
    "one row": lambda x, w, v: x * w[0],
    "one column": lambda x, w, v: x - w[:, -1],
    "normalised": lambda x, w, v: ops.dense(x, w / ops.norm(w, axis=1, keepdims=True), v),
    "masked": lambda x, w, v: ops.dense(x, w * np.tri(w.shape[0])),
    "one number": lambda x, w, v: x * ops.mean(w) + ops.sum(v * v),
    "rows": lambda x, w, v: x * ops.reshape(v, 1, -1),
    "added": lambda x, w, v: ops.dense(x, w + v),
    "plus one": lambda x, w, v: x * (v + 1.0),
    "softmax": lambda x, w, v: ops.softmax(x * v),
    "gate": lambda x, w, v: x * ops.sigmoid(ops.dense(x, w, v)),
    "joined": lambda x, w, v: ops.dense(
        ops.concatenate([x, ops.tanh(x)], axis=1), ops.concatenate([w, w.T], axis=1)
    ),
    "mean of each": lambda x, w, v: x - ops.mean(x * v, axis=1, keepdims=True),
    "outer": lambda x, w, v: ops.sum(x[:, :, None] * w, axis=1),
    "outer, other axis": lambda x, w, v: ops.sum(x[:, None, :] * w, axis=2),
    "samples meet": lambda x, w, v: x - ops.mean(ops.dense(x, w), axis=0),
    "samples meet in weights": lambda x, w, v: x @ ops.tanh(x.T @ (x * v)),
    "samples turned": lambda x, w, v: (x.T * w[:, :1]).T,
    "fixed rows": lambda x, w, v: x + ops.embedding(np.zeros(x.shape[0], int), w),
    "places": lambda x, w, v: x * ops.embedding(np.arange(v.shape[0]), ops.reshape(v, -1, 1))[:, 0],
}  # fmt: skip
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda o, y: ((o - y) ** 2).sum(),
    "each": lambda o, y: ((o - y) ** 2).sum(axis=1),
    "mse": lambda o, y: ops.mse_loss(o, y, reduction="sum"),
}


class Network(nn.Module):
    def __init__(self, steps: list[str], tied: bool, d: int, rng: Any) -> None:
        self.steps, self.tied = steps, tied
        self.weights = nn.ModuleList()
        for _ in range(1 if tied else len(steps)):
            layer = nn.Dense(d, d).double()
            layer.weight.assign(rng.normal(size=(d, d)))
            layer.bias.assign(rng.normal(size=d))
            self.weights.append(layer)

    def forward(self, x: Any) -> Any:
        for k, step in enumerate(self.steps):
            layer = self.weights[0 if self.tied else k]
            x = STEPS[step](x, layer.weight, layer.bias)
        return x


@settings(max_examples=60, derandomize=True)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4),
    tied=st.booleans(),
    samples=st.integers(1, 4),
    d=st.integers(2, 4),
    loss=st.sampled_from(sorted(LOSSES)),
)
def test_random_networks(steps: list[str], tied: bool, samples: int, d: int, loss: str) -> None:
    rng = np.random.default_rng(len(steps) + 10 * samples + 100 * d)
    model = Network(steps, tied, d, rng)
    x, y = rng.normal(size=(2, samples, d))
    try:
        got = cr.per_sample_gradients(model, LOSSES[loss], x, y)
    except NotImplementedError:
        return
    # the definition: each sample's own loss, of the batch as it is
    for n in range(samples):
        model.zero_grad()
        ((model(x)[n] - y[n]) ** 2).sum().backward()
        for name, p in model.named_parameters():
            wanted = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
            np.testing.assert_allclose(got[name][n], wanted, rtol=1e-8, atol=1e-9, err_msg=name)
