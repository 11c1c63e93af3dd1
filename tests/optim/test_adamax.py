"""Adamax against PyTorch over hundreds of steps, and the form of note 004 and Keras."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"betas": (0.3, 0.7), "eps": 0.1},
    {"betas": (0.0, 0.0)},
    {"weight_decay": 0.1, "maximize": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "Adamax", options)


def test_recurrence_of_note_004() -> None:
    """O-13 as printed, which is Keras's (K-06)."""
    rng = np.random.default_rng(0)
    theta, m, u = rng.normal(size=5), np.zeros(5), np.zeros(5)
    p = cr.nn.Parameter(theta)
    optimizer = cr.optim.Adamax([p], lr=0.1, betas=(0.8, 0.9), eps=1e-2, eps_inside=False)
    for t in range(1, 30):
        p.grad = g = rng.normal(size=5)
        optimizer.step()
        m = 0.8 * m + (1 - 0.8) * g
        u = np.maximum(0.9 * u, np.abs(g))
        theta = theta - 0.1 / (u + 1e-2) * m / (1 - 0.8**t)
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12)


def test_the_places_of_eps_differ_by_its_order() -> None:
    """E004-19."""
    ends = {}
    for eps in (1e-4, 1e-8):
        for inside in (True, False):
            p = cr.nn.Parameter(np.array([1.0]))
            optimizer = cr.optim.Adamax([p], lr=0.1, eps=eps, eps_inside=inside)
            for step in range(20):
                p.grad = np.array([np.cos(step)])
                optimizer.step()
            ends[eps, inside] = p.detach().item()
    for eps in (1e-4, 1e-8):
        assert 0 < abs(ends[eps, True] - ends[eps, False]) < 10 * eps


def test_a_first_gradient_of_zero_moves_nothing() -> None:
    """Without ε, as in the paper, it is 0/0."""
    for inside in (True, False):
        p = cr.nn.Parameter(np.array([1.0]))
        p.grad = np.array([0.0])
        cr.optim.Adamax([p], eps_inside=inside).step()
        assert p.detach().item() == 1.0


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="Adamax: betas must be two numbers"):
        cr.optim.Adamax([cr.nn.Parameter([1.0])], betas=(0.9, 1.0))
