"""Adagrad against PyTorch over hundreds of steps, and the forms of note 000 and Keras."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.5},
    {"weight_decay": 0.1},
    {"lr": 0.3, "lr_decay": 0.01},
    {"initial_accumulator_value": 0.1},
    {"lr": 0.3, "eps": 0.1},
    {"lr_decay": 0.1, "initial_accumulator_value": 2.0, "weight_decay": 0.1, "maximize": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "Adagrad", options)


def test_recurrence_of_note_000() -> None:
    """O-07 as printed, with its ε read as 1e-8."""
    rng = np.random.default_rng(0)
    theta, v = rng.normal(size=5), np.zeros(5)
    p = cr.nn.Parameter(theta)
    optimizer = cr.optim.Adagrad([p], lr=0.2, eps=1e-8)
    for _ in range(20):
        p.grad = g = rng.normal(size=5)
        optimizer.step()
        v = v + g**2
        theta = theta - 0.2 / (np.sqrt(v) + 1e-8) * g
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-13)
    np.testing.assert_allclose(optimizer.state_dict()["state"]["0.v"], v, rtol=1e-14)


def test_an_eps_of_ten_to_the_eighth_stops_everything() -> None:
    """E000-21: the printed ε, without the sign of its exponent."""
    moved = {}
    for eps in (1e8, 1e-8):
        p = cr.nn.Parameter(np.array([1.0]))
        p.grad = np.array([0.5])
        cr.optim.Adagrad([p], lr=0.1, eps=eps).step()
        moved[eps] = 1.0 - p.detach().item()
    assert moved[1e8] < 1e-9
    assert moved[1e-8] == pytest.approx(0.1, rel=1e-6)


def test_eps_inside_the_root() -> None:
    """K-02, E004-26: Keras's form, from 0.1."""
    theta, v = np.array([1.0, -2.0, 0.3]), np.full(3, 0.1)
    p = cr.nn.Parameter(theta)
    options = {"initial_accumulator_value": 0.1, "eps": 1e-2, "eps_inside": True}
    optimizer = cr.optim.Adagrad([p], lr=0.1, **options)  # type: ignore[arg-type]
    for step in range(10):
        p.grad = g = np.cos(step + np.arange(3.0)) / 10
        optimizer.step()
        v = v + g * g
        theta = theta - 0.1 * g / np.sqrt(v + 1e-2)
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-13)


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match=r"Adagrad: lr_decay must be 0 or more, got -1.0"):
        cr.optim.Adagrad(w, lr_decay=-1)
    with pytest.raises(ValueError, match="initial_accumulator_value must be 0 or more, got nan"):
        cr.optim.Adagrad(w, initial_accumulator_value=float("nan"))
