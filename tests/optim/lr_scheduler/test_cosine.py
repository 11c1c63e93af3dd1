"""Cosines against PyTorch over hundreds of steps."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.optim import lr_scheduler
from optim.schedules import compare, optimizer, pair, rates, resumes

CASES: list[tuple[str, dict[str, Any]]] = [
    ("CosineAnnealingLR", {"T_max": 10}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.001}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("CosineAnnealingLR", {"T_max": 300}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_equals_torch(torch: ModuleType, name: str, options: dict[str, Any]) -> None:
    compare(torch, lambda module, optimizer: getattr(module, name)(optimizer, **options))


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_state_resumes_in_the_middle(name: str, options: dict[str, Any]) -> None:
    resumes(lambda module, optimizer: getattr(module, name)(optimizer, **options))


@pytest.mark.parametrize("multiple", [1, 2, 3])
def test_restarts_in_the_middle_of_an_epoch_as_in_torch(torch: ModuleType, multiple: int) -> None:
    a, b = pair(torch)
    mine = lr_scheduler.CosineAnnealingWarmRestarts(a, 2, multiple, 1e-4)
    other = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(b, 2, multiple, 1e-4)
    b.step()
    for epoch in range(12):
        for batch in range(5):
            mine.step(epoch + batch / 5)
            other.step(epoch + batch / 5)
            assert rates(a) == pytest.approx(rates(b), rel=1e-12)
            assert mine.last_epoch == other.last_epoch == epoch
    for _ in range(9):  # and on from there
        mine.step()
        other.step()
        assert rates(a) == pytest.approx(rates(b), rel=1e-9)


def test_restarts_after_a_restart() -> None:
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(1.0), 3, 2)
    first = []
    for _ in range(12):
        first.append(schedule.get_last_lr()[0])
        schedule.step()
    schedule.restart()
    again = []
    for _ in range(12):
        again.append(schedule.get_last_lr()[0])
        schedule.step()
    assert first == again
    assert [t for t, lr in enumerate(first) if lr == 1.0] == [0, 3, 9]


@settings(max_examples=30)
@given(st.integers(1, 50), st.floats(0.0, 0.01), st.floats(0.02, 10.0))
def test_cosine_follows_its_equation(period: int, low: float, base: float) -> None:
    schedule = lr_scheduler.CosineAnnealingLR(optimizer(base), period, low)
    for t in range(period + 1):
        exact = low + (base - low) * (1 + np.cos(np.pi * t / period)) / 2
        assert schedule.get_last_lr()[0] == pytest.approx(exact, rel=1e-9, abs=1e-12)
        schedule.step()


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="T_max must be a whole number, 1 or more; got 0"):
        lr_scheduler.CosineAnnealingLR(optimizer(), 0)
    with pytest.raises(ValueError, match="T_mult must be a whole number"):
        lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), 3, 0)
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), 3)
    for epoch in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="epoch must be 0 or more"):
            schedule.step(epoch)
    assert (schedule.last_epoch, schedule.get_last_lr()) == (0, [0.1])
