"""Adam and AdamW against PyTorch over hundreds of steps, and the errata of the notes."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.0},
    {"betas": (0.3, 0.7), "eps": 1e-2},
    {"betas": (0.0, 0.0)},
    {"amsgrad": True},
    {"amsgrad": True, "maximize": True, "weight_decay": 0.1},
]

COMBINATIONS: list[dict[str, Any]] = [
    {"weight_decay": decay, "decoupled_weight_decay": decoupled, "maximize": up, "amsgrad": most}
    for decay, decoupled in ((0.0, False), (0.1, False), (0.1, True))
    for up in (False, True)
    for most in (False, True)
]


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(
    torch: ModuleType, kind: str, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3))
    p = cr.nn.Parameter(start)
    q = torch.nn.Parameter(torch.tensor(start))
    mine = getattr(cr.optim, kind)([p], lr=0.01, **options)
    other = getattr(torch.optim, kind)([q], lr=0.01, **options)
    for step in range(300):
        g = (1 + np.cos(step / 9)) * (np.cos(step + start) + 0.1 * rng.normal(size=(4, 3)))
        p.grad, q.grad = g, torch.tensor(g)
        mine.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
def test_options_combine_as_in_torch(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "Adam", options)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_adamw_combines_as_in_torch(torch: ModuleType, amsgrad: bool, maximize: bool) -> None:
    options = {"amsgrad": amsgrad, "maximize": maximize, "weight_decay": 0.2}
    against_torch(torch, "AdamW", options)


def test_adam_with_decoupled_decay_is_adamw() -> None:
    ends = []
    for kind, extra in ((cr.optim.Adam, {"decoupled_weight_decay": True}), (cr.optim.AdamW, {})):
        p = cr.nn.Parameter(np.array([1.0, -2.0]))
        optimizer = kind([p], lr=0.1, weight_decay=0.3, **extra)  # type: ignore[operator]
        for step in range(10):
            p.grad = np.array([math.cos(step), math.sin(step)])
            optimizer.step()
        ends.append(p.detach().numpy())
    np.testing.assert_array_equal(*ends)


def test_float32_is_as_near_to_float64_as_torch(torch: ModuleType) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=1000).astype(np.float32)
    exact, p = cr.nn.Parameter(start.astype(np.float64)), cr.nn.Parameter(start)
    q = torch.nn.Parameter(torch.tensor(start))
    mine = [cr.optim.AdamW([x], lr=0.01) for x in (exact, p)]
    other = torch.optim.AdamW([q], lr=0.01)
    for _ in range(200):
        g = rng.normal(size=1000).astype(np.float32)
        exact.grad, p.grad, q.grad = g.astype(np.float64), g, torch.tensor(g)
        for optimizer in (*mine, other):
            optimizer.step()
    ours = np.abs(p.detach().numpy() - exact.detach().numpy()).max()
    theirs = np.abs(q.detach().numpy() - exact.detach().numpy()).max()
    assert ours < 2 * theirs


def test_time_counts_from_one() -> None:
    """E000-24, E004-18: with the exponent t = 0 at the first update the quotient is 0/0."""
    p = cr.nn.Parameter(np.array([1.0, -1.0]))
    p.grad = np.array([1e-3, 1e3])
    cr.optim.Adam([p], lr=0.1, eps=0.0).step()
    np.testing.assert_allclose(p.detach().numpy(), [0.9, -1.1], rtol=1e-14)


def test_recurrence_of_note_004() -> None:
    """O-11 and O-12, written as printed."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=5)
    p = cr.nn.Parameter(theta)
    optimizer = cr.optim.AdamW([p], lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3)
    m, v = np.zeros(5), np.zeros(5)
    for t in range(1, 30):
        g = rng.normal(size=5)
        p.grad = g
        optimizer.step()
        m = 0.8 * m + (1 - 0.8) * g
        v = 0.95 * v + (1 - 0.95) * g**2
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        theta = theta - 0.02 * (m_hat / (np.sqrt(v_hat) + 1e-3) + 0.3 * theta)
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-13)
    state = optimizer.state_dict()["state"]
    np.testing.assert_allclose(state["0.m"], m, rtol=1e-13)
    np.testing.assert_allclose(state["0.v"], v, rtol=1e-13)


def test_l2_is_not_decoupled_decay() -> None:
    """E004-24: an entry with large gradients is decayed less by L2."""
    drops = {}
    for kind in ("Adam", "AdamW"):
        ends = []
        for decay in (0.0, 0.1):
            p = cr.nn.Parameter(np.array([1.0, 1.0]))
            optimizer = getattr(cr.optim, kind)([p], lr=1e-3, weight_decay=decay)
            for step in range(100):
                p.grad = math.cos(step) * np.array([1.0, 100.0])
                optimizer.step()
            ends.append(p.detach().numpy())
        drops[kind] = ends[0] - ends[1]
    np.testing.assert_allclose(drops["AdamW"], 0.01, rtol=0.1)
    assert drops["Adam"][0] > 10 * drops["Adam"][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"Adam: betas must be two numbers in \[0, 1\), got \(1.0, 0.9\)"),
        ({"betas": (0.9,)}, "two numbers"),
        ({"betas": 0.9}, "two numbers"),
        ({"eps": -1e-8}, "eps must be 0 or more"),
        ({"lr": -1}, "lr must be 0 or more"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cr.optim.Adam([cr.nn.Parameter([1.0])], **options)
