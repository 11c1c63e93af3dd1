"""Steps whose kernels are worth several threads give the bits of the eager run, too.

Their sums over the rows have kernels of their own, and those that reduce rows write over operands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import fuse
from tests_layout import Machine
from tests_steps import assert_equal_to_eager, build_together

nn, ops, optim = cr.nn, cr.ops, cr.optim

R = np.random.default_rng(0)
X = R.normal(size=(360, 6)).astype(np.float32)


@cr.formula
def layer_normalized(xp, x, weight, bias):
    d = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(d * d, axis=-1, keepdims=True)
    return d * (1.0 / xp.sqrt(variance + 1e-5)) * weight + bias


class LayerNorm(nn.Module):
    def __init__(self, n: int) -> None:
        self.weight = nn.Parameter(np.ones(n, np.float32))
        self.bias = nn.Parameter(np.zeros(n, np.float32))

    def forward(self, x: Any) -> Any:
        return layer_normalized(x, self.weight, self.bias)


def training(classes: int, *layers: Any) -> Any:
    """(owners, step, batches)"""
    model = nn.Sequential(*layers)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return [model, optimizer], step, [(X, np.arange(len(X)) % classes)] * 5


def layer_norm() -> Any:
    return training(4, nn.Dense(6, 96), LayerNorm(96), nn.GELU(), nn.Dropout(0.2), nn.Dense(96, 4))


def many_classes() -> Any:
    return training(100, nn.Dense(6, 100))


STEPS = [layer_norm, many_classes]


@pytest.fixture(scope="module")
def built(executor: str) -> None:
    if executor == "native":
        build_together(STEPS)


@pytest.mark.parametrize("make", STEPS)
@pytest.mark.usefixtures("built")
def test_captured_equals_eager(make: Any, executor: str) -> None:
    step = assert_equal_to_eager(make)
    (program,) = step.programs()
    if executor == "native":
        assert program.replay.reason is None
        layout = program.replay.layout
        Machine(layout).run()
        assert layout.fusion.apart
        assert all(fuse.is_shared(shape) for shape, _ in layout.fusion.apart)
