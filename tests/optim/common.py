"""Four parameters, reproducible gradients, and training with them."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr

SHAPES = [(3, 2), (2,), (), (2, 2)]


def parameters(seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [cr.nn.Parameter(rng.normal(size=s).astype(dtype)) for s in SHAPES]


def gradients(step: int, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(1000 + step)
    return [rng.normal(size=s).astype(dtype) for s in SHAPES]


def give(params: list[Any], grads: list[Any]) -> None:
    """Gradients by a backward pass, as training does."""
    total: Any = 0.0
    for p, g in zip(params, grads, strict=True):
        if g is not None:
            total = total + (p * cr.tensor(g)).sum()
    total.backward()


def values(params: list[Any]) -> list[Any]:
    return [p.detach().numpy() for p in params]


def same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def train(
    optimizer: Any, params: list[Any], steps: range, skip: Any = lambda step, k: False
) -> None:
    for step in steps:
        optimizer.zero_grad()
        grads = gradients(step, params[0].dtype)
        give(params, [None if skip(step, k) else g for k, g in enumerate(grads)])
        optimizer.step()
