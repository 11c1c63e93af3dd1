"""RMSprop against PyTorch over hundreds of steps, and the forms of the notes and Keras."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {"centered": centered, "momentum": momentum, "weight_decay": decay, "maximize": up}
    for centered in (False, True)
    for momentum in (0.0, 0.8)
    for decay, up in ((0.0, False), (0.1, False), (0.1, True))
]
OPTIONS += [{}, {"alpha": 0.9}, {"alpha": 0.0, "eps": 0.1}, {"alpha": 0.8, "centered": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "RMSprop", options, tolerance=1e-11 if options.get("centered") else 1e-12)


@pytest.mark.parametrize("inside", [False, True])
def test_recurrence_of_the_notes_and_of_keras(inside: bool) -> None:
    """O-09 as printed; K-01, E004-26: Keras has ε in the root."""
    rng = np.random.default_rng(0)
    theta, v = rng.normal(size=5), np.zeros(5)
    p = cr.nn.Parameter(theta)
    optimizer = cr.optim.RMSprop([p], lr=0.1, alpha=0.9, eps=1e-2, eps_inside=inside)
    for _ in range(30):
        p.grad = g = 0.1 * rng.normal(size=5)
        optimizer.step()
        v = 0.9 * v + 0.1 * g**2
        theta = theta - 0.1 * g / (np.sqrt(v + 1e-2) if inside else np.sqrt(v) + 1e-2)
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12)


def test_eps_in_or_out_of_the_root_shows_where_gradients_are_small() -> None:
    ends = []
    for inside in (False, True):
        p = cr.nn.Parameter(np.array([1.0]))
        optimizer = cr.optim.RMSprop([p], lr=0.1, eps=1e-4, eps_inside=inside)
        for _ in range(10):
            p.grad = np.array([1e-3])
            optimizer.step()
        ends.append(p.detach().item())
    assert abs(ends[0] - ends[1]) > 1e-2


def test_a_constant_gradient_has_no_variance_and_gives_no_nan() -> None:
    p = cr.nn.Parameter(np.full(50, 1.0, np.float32))
    optimizer = cr.optim.RMSprop([p], lr=1e-9, alpha=0.5, centered=True, eps=1e-3)
    constant = np.linspace(0.1, 3.0, 50).astype(np.float32)
    for _ in range(100):
        p.grad = constant
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()
    p.grad = np.full(50, np.nan, np.float32)
    optimizer.step()
    assert np.isnan(p.detach().numpy()).all()


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match=r"RMSprop: alpha must be in \[0, 1\), got 1.0"):
        cr.optim.RMSprop(w, alpha=1.0)
    with pytest.raises(ValueError, match=r"RMSprop: momentum must be 0 or more, got -0.5"):
        cr.optim.RMSprop(w, momentum=-0.5)
