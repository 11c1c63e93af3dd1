"""Schedules that multiply, against PyTorch over hundreds of steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from chainrule.optim import lr_scheduler
from optim.schedules import compare, optimizer, pair, resumes

CASES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.97}),
    ("StepLR", {"step_size": 300, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9, 250], "gamma": 0.3}),
    ("MultiStepLR", {"milestones": [9, 2]}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.1, "total_iters": 1}),
    ("ConstantLR", {"factor": 0.3, "total_iters": 290}),
    ("ExponentialLR", {"gamma": 0.99}),
    ("ExponentialLR", {"gamma": 1.01}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 7}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.01, "total_iters": 299}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 290, "power": 0.9}),
    ("PolynomialLR", {"total_iters": 1000, "power": 2.0}),
    ("PolynomialLR", {"total_iters": 1, "power": 0.0}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.5**t, lambda t: 1 + t]}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.95 + 0.1 * (t % 2)}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 1 - 1 / (t + 1), lambda t: 0.99]}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_equals_torch(torch: ModuleType, name: str, options: dict[str, Any]) -> None:
    compare(torch, lambda module, optimizer: getattr(module, name)(optimizer, **options))


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_state_resumes_in_the_middle(name: str, options: dict[str, Any]) -> None:
    options = {k: v[0] if isinstance(v, list) and callable(v[0]) else v for k, v in options.items()}
    resumes(lambda module, optimizer: getattr(module, name)(optimizer, **options))


def test_one_function_per_group(torch: ModuleType) -> None:
    a, _ = pair(torch)
    for name in ("LambdaLR", "MultiplicativeLR"):
        with pytest.raises(ValueError, match="lr_lambda must have one value per group: 2, got 1"):
            getattr(lr_scheduler, name)(a, [lambda t: 1.0])


@settings(max_examples=30)
@given(st.integers(1, 10), st.floats(0.1, 1.0), st.integers(0, 40))
def test_step_follows_its_equation(size: int, gamma: float, steps: int) -> None:
    schedule = lr_scheduler.StepLR(optimizer(2.0), size, gamma)
    for _ in range(steps):
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(2.0 * gamma ** (steps // size), rel=1e-12)


@settings(max_examples=30)
@given(st.integers(1, 50), st.floats(0.1, 4.0))
def test_polynomial_follows_its_equation(length: int, power: float) -> None:
    schedule = lr_scheduler.PolynomialLR(optimizer(2.0), length, power)
    for t in range(length + 2):
        exact = 2.0 * (1 - min(t, length) / length) ** power
        assert schedule.get_last_lr()[0] == pytest.approx(exact, rel=1e-11, abs=1e-14)
        schedule.step()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLR", {"step_size": 0}, "step_size must be a whole number, 1 or more; got 0"),
        ("LinearLR", {"start_factor": 0.0}, "start_factor"),
        ("LinearLR", {"end_factor": 1.5}, "end_factor"),
        ("LinearLR", {"total_iters": 0}, "total_iters"),
        ("ConstantLR", {"factor": 1.5}, r"factor must be in \(0, 1\], got 1.5"),
        ("PolynomialLR", {"power": -1}, "power must be 0 or more"),
        ("PolynomialLR", {"total_iters": 2.5}, "total_iters must be a whole number"),
    ],
)
def test_arguments_out_of_range(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(lr_scheduler, name)(optimizer(), **options)
