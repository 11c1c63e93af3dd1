"""Cycles against PyTorch over hundreds of steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import chainrule as cr
from chainrule.optim import lr_scheduler
from optim.schedules import compare, optimizer, resumes

KINDS = pytest.mark.parametrize(
    "kind", [{"kind": "SGD", "momentum": 0.6}, {"kind": "AdamW"}], ids=["momentum", "beta1"]
)

ONE_CYCLE: list[dict[str, Any]] = [
    {"max_lr": 0.1, "total_steps": 20},
    {"max_lr": [0.1, 0.4], "epochs": 4, "steps_per_epoch": 5},
    {"max_lr": 0.1, "total_steps": 20, "anneal_strategy": "linear", "pct_start": 0.45},
    {"max_lr": 0.1, "total_steps": 20, "three_phase": True},
    {"max_lr": 0.1, "total_steps": 20, "div_factor": 5.0, "final_div_factor": 20.0},
    {"max_lr": 0.1, "total_steps": 20, "base_momentum": 0.5, "max_momentum": [0.9, 0.8]},
    {"max_lr": 0.1, "total_steps": 20, "cycle_momentum": False},
    {"max_lr": 0.1, "total_steps": 7, "pct_start": 0.0},
    {"max_lr": 0.1, "total_steps": 7, "pct_start": 1.0},
]


@pytest.mark.parametrize("options", ONE_CYCLE, ids=str)
@KINDS
def test_one_cycle_equals_torch(
    torch: ModuleType, options: dict[str, Any], kind: dict[str, Any]
) -> None:
    steps = options.get("total_steps", 20)
    if options.get("pct_start") == 1.0:
        steps -= 1  # beyond it, PyTorch divides by zero
    compare(torch, lambda module, o: module.OneCycleLR(o, **options), steps, **kind)


def test_one_cycle_that_rises_in_no_step_begins_at_its_peak() -> None:
    """PyTorch divides by zero here."""
    schedule = lr_scheduler.OneCycleLR(optimizer(), 0.3, 10, pct_start=0.1)
    assert schedule.get_last_lr() == [0.3]
    schedule.step()
    assert 0.28 < schedule.get_last_lr()[0] < 0.3


CYCLIC: list[dict[str, Any]] = [
    {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7},
    {"base_lr": [0.01, 0.3], "max_lr": [0.1, 0.4], "step_size_up": 4, "step_size_down": 9},
    {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "triangular2"},
    {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range", "gamma": 0.99},
    {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "cycle_momentum": False},
    {"base_lr": 0.1, "max_lr": 0.3, "step_size_up": 3, "base_momentum": 0.5, "max_momentum": 0.6},
    {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 1, "step_size_down": 1},
    {"base_lr": 0.1, "max_lr": 0.3, "step_size_up": 5, "scale_fn": lambda x: 1 / x},
    {
        "base_lr": 0.1, "max_lr": 0.3, "step_size_up": 5, "scale_fn": lambda x: 0.9**x,
        "scale_mode": "iterations", "mode": "triangular2",
    },
]  # fmt: skip


@pytest.mark.parametrize("options", CYCLIC, ids=str)
@KINDS
def test_cyclic_equals_torch(
    torch: ModuleType, options: dict[str, Any], kind: dict[str, Any]
) -> None:
    compare(torch, lambda module, o: module.CyclicLR(o, **options), rtol=1e-14, **kind)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("OneCycleLR", ONE_CYCLE[0]),
        ("OneCycleLR", ONE_CYCLE[3]),
        *[("CyclicLR", CYCLIC[k]) for k in (0, 2, 3, 7)],
    ],
    ids=str,
)
def test_state_resumes_in_the_middle(name: str, options: dict[str, Any]) -> None:
    resumes(lambda module, optimizer: getattr(module, name)(optimizer, **options))


@settings(max_examples=30)
@given(
    st.integers(2, 60),
    st.floats(0.0, 1.0),
    st.sampled_from(["cos", "linear"]),
    st.booleans(),
    st.floats(1e-4, 10.0),
)
def test_one_cycle_stays_between_its_ends(
    total: int, pct: float, strategy: str, three: bool, peak: float
) -> None:
    three = three and pct <= 0.5
    a = optimizer()
    schedule = lr_scheduler.OneCycleLR(
        a, peak, total, pct_start=pct, anneal_strategy=strategy, three_phase=three
    )
    rates, betas = [], []
    for k in range(total):
        rates.append(a.param_groups[0]["lr"])
        betas.append(a.param_groups[0]["betas"][0])
        if k < total - 1:
            schedule.step()
    slack = 1 + 1e-9
    assert all(peak / 25 / 1e4 / slack <= r <= peak * slack for r in rates)
    assert all(0.85 / slack <= b <= 0.95 * slack for b in betas)
    if not three and pct < 1:
        assert rates[-1] == pytest.approx(peak / 25 / 1e4, rel=1e-6)


def test_arguments_out_of_range() -> None:
    a = optimizer()
    with pytest.raises(ValueError, match="one value per group: 1, got 2"):
        lr_scheduler.OneCycleLR(a, [0.1, 0.2], 10)
    with pytest.raises(ValueError, match="pct_start"):
        lr_scheduler.OneCycleLR(a, 0.1, 10, pct_start=1.5)
    with pytest.raises(ValueError, match="anneal_strategy must be"):
        lr_scheduler.OneCycleLR(a, 0.1, 10, anneal_strategy="cosine")
    with pytest.raises(ValueError, match="no mode 'triangle'; did you mean 'triangular'"):
        lr_scheduler.CyclicLR(a, 0.1, 0.2, mode="triangle")
    with pytest.raises(ValueError, match="scale_mode must be 'cycle' or 'iterations', got 'x'"):
        lr_scheduler.CyclicLR(a, 0.1, 0.2, scale_mode="x")
    with pytest.raises(ValueError, match="step_size_down must be a whole number"):
        lr_scheduler.CyclicLR(a, 0.1, 0.2, step_size_down=0)
    assert a.param_groups[0]["lr"] == 0.1
    assert "initial_lr" not in a.param_groups[0]
    schedule = lr_scheduler.OneCycleLR(a, 0.1, 3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="made for 3 steps; this is step 4"):
        schedule.step()


def test_one_cycle_needs_a_momentum() -> None:
    class Plain(cr.optim.Optimizer):
        pass

    plain = Plain([cr.nn.Parameter([1.0])], {"lr": 0.1})
    with pytest.raises(ValueError, match="Plain has neither momentum nor betas"):
        lr_scheduler.OneCycleLR(plain, 0.1, 10)
    with pytest.raises(ValueError, match="pass cycle_momentum=False"):
        lr_scheduler.CyclicLR(plain, 0.1, 0.2)
    lr_scheduler.OneCycleLR(plain, 0.1, 10, cycle_momentum=False).step()
    lr_scheduler.CyclicLR(plain, 0.1, 0.2, cycle_momentum=False).step()
