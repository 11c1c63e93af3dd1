"""Rprop against PyTorch over hundreds of steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {},
    {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)},
    {"maximize": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "Rprop", options)


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e250])
def test_only_signs_matter(scale: float) -> None:
    """Also where products of gradients vanish or overflow."""
    p = cr.nn.Parameter(np.array([1.0, -2.0]))
    optimizer = cr.optim.Rprop([p], lr=0.1)
    for step in range(30):
        p.grad = scale * np.array([np.cos(step), np.sin(0.3 * step)])
        optimizer.step()
    q = cr.nn.Parameter(np.array([1.0, -2.0]))
    optimizer = cr.optim.Rprop([q], lr=0.1)
    for step in range(30):
        q.grad = np.array([np.cos(step), np.sin(0.3 * step)])
        optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match="Rprop: etas must be one number between 0 and 1 and one"):
        cr.optim.Rprop(w, etas=(1.2, 0.5))
    with pytest.raises(ValueError, match="etas must be two numbers"):
        cr.optim.Rprop(w, etas=(0.5,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step_sizes must be the least and the largest"):
        cr.optim.Rprop(w, step_sizes=(2.0, 1.0))
