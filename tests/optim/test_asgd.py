"""ASGD against PyTorch over hundreds of steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr

OPTIONS: list[dict[str, Any]] = [
    {},
    {"lambd": 0.1, "alpha": 0.5, "t0": 3.0},
    {"weight_decay": 0.1, "t0": 0.0},
    {"weight_decay": 0.1, "maximize": True, "t0": 100.0},
]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3))
    p, q = cr.nn.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    mine = cr.optim.ASGD([p], lr=0.05, **options)
    other = torch.optim.ASGD([q], lr=0.05, **options)
    for step in range(300):
        g = np.cos(step + start) + 0.1 * rng.normal(size=(4, 3))
        p.grad, q.grad = g, torch.tensor(g)
        mine.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(
        mine.state_dict()["state"]["0.ax"], other.state[q]["ax"].numpy(), rtol=1e-12
    )


def test_the_mean_is_that_of_the_iterates() -> None:
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.ASGD([p], lr=0.1, lambd=0.0, t0=0.0)
    seen = []
    for step in range(20):
        p.grad = np.array([np.cos(step)])
        optimizer.step()
        seen.append(p.detach().item())
    mean = optimizer.state_dict()["state"]["0.ax"]
    np.testing.assert_allclose(mean, [np.mean(seen[1:])], rtol=1e-13)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"ASGD: t0 must be 0 or more, got -1.0"):
        cr.optim.ASGD([cr.nn.Parameter([1.0])], t0=-1)
