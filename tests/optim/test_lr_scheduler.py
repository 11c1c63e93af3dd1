"""Schedules against PyTorch over whole runs."""

from __future__ import annotations

import functools
import json
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import chainrule as cr
from chainrule.optim import lr_scheduler


def pair(torch: ModuleType, kind: str = "SGD", **options: Any) -> tuple[Any, Any]:
    """The same two groups for both."""
    rates = (0.5, 0.01)
    mine = [{"params": [cr.nn.Parameter([1.0])], "lr": lr} for lr in rates]
    other = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in rates]
    return getattr(cr.optim, kind)(mine, **options), getattr(torch.optim, kind)(other, **options)


def momenta(optimizer: Any) -> list[Any]:
    return [g["betas"] if "betas" in g else g["momentum"] for g in optimizer.param_groups]


def compare(torch: ModuleType, name: str, options: dict[str, Any], steps: int, **kind: Any) -> None:
    a, b = pair(torch, **kind)
    mine = getattr(lr_scheduler, name)(a, **options)
    other = getattr(torch.optim.lr_scheduler, name)(b, **options)
    b.step()  # PyTorch warns of a schedule that goes on before its optimizer
    for _ in range(steps):
        assert mine.get_last_lr() == other.get_last_lr()
        assert [g["lr"] for g in a.param_groups] == mine.get_last_lr()
        np.testing.assert_array_equal(momenta(a), momenta(b))
        mine.step()
        other.step()
    assert mine.get_last_lr() == other.get_last_lr()


CASES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 7}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 4}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.5**t, lambda t: 1 + t]}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.001}),
    ("CosineAnnealingLR", {"T_max": 1}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_equals_torch(torch: ModuleType, name: str, options: dict[str, Any]) -> None:
    compare(torch, name, options, 25)


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
@pytest.mark.parametrize(
    "kind", [{"kind": "SGD", "momentum": 0.6}, {"kind": "AdamW"}], ids=["momentum", "beta1"]
)
def test_one_cycle_equals_torch(
    torch: ModuleType, options: dict[str, Any], kind: dict[str, Any]
) -> None:
    steps = options.get("total_steps", 20)
    if options.get("pct_start") == 1.0:
        steps -= 1  # beyond it, PyTorch divides by zero
    compare(torch, "OneCycleLR", options, steps, **kind)


def test_one_cycle_that_rises_in_no_step_begins_at_its_peak() -> None:
    """PyTorch divides by zero here."""
    schedule = lr_scheduler.OneCycleLR(optimizer(), 0.3, 10, pct_start=0.1)
    assert schedule.get_last_lr() == [0.3]
    schedule.step()
    assert 0.28 < schedule.get_last_lr()[0] < 0.3


PLATEAU: list[dict[str, Any]] = [
    {"patience": 2},
    {"mode": "max", "patience": 1, "factor": 0.5},
    {"patience": 0, "cooldown": 3, "min_lr": 1e-3},
    {"patience": 1, "threshold": 0.2, "min_lr": [1e-2, 1e-4]},
    {"patience": 1, "threshold": 0.1, "threshold_mode": "abs", "factor": 0.3},
    {"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
    {"patience": 0, "eps": 1e-3},
]


@pytest.mark.parametrize("options", PLATEAU, ids=str)
def test_plateau_equals_torch(torch: ModuleType, options: dict[str, Any]) -> None:
    a, b = pair(torch)
    mine = lr_scheduler.ReduceLROnPlateau(a, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    rng = np.random.default_rng(0)
    changes = 0
    for t in range(60):
        metric = float("nan") if t == 7 else 1 / (1 + t) + 0.3 * rng.random()
        before = mine.get_last_lr()
        mine.step(metric)
        other.step(metric)
        changes += before != mine.get_last_lr()
        assert mine.get_last_lr() == other.get_last_lr()
    assert changes > 0


def test_schedules_compose_as_in_torch(torch: ModuleType) -> None:
    a, b = pair(torch)
    module = torch.optim.lr_scheduler
    mine = [lr_scheduler.LinearLR(a, 0.1), lr_scheduler.ExponentialLR(a, 0.9)]
    mine.append(lr_scheduler.CosineAnnealingLR(a, 8, eta_min=1e-4))
    other = [module.LinearLR(b, 0.1), module.ExponentialLR(b, 0.9)]
    other.append(module.CosineAnnealingLR(b, 8, eta_min=1e-4))
    b.step()
    for _ in range(12):
        for x, y in zip(mine, other, strict=True):
            x.step()
            y.step()
        assert [g["lr"] for g in a.param_groups] == [g["lr"] for g in b.param_groups]


def optimizer(lr: float = 0.1) -> Any:
    return cr.optim.AdamW([cr.nn.Parameter([1.0])], lr=lr)


@pytest.mark.parametrize(("name", "options"), [*CASES, ("OneCycleLR", ONE_CYCLE[0])], ids=str)
def test_state_resumes_in_the_middle(name: str, options: dict[str, Any]) -> None:
    options = {
        k: v[0] if k == "lr_lambda" and isinstance(v, list) else v for k, v in options.items()
    }
    make = getattr(lr_scheduler, name)
    whole, first = optimizer(), optimizer()
    schedule, half = make(whole, **options), make(first, **options)
    for _ in range(7):
        schedule.step()
        half.step()
    state = json.loads(json.dumps([first.state_dict()["param_groups"], half.state_dict()]))
    second = optimizer(0.9)
    resumed = make(second, **options)
    second.load_state_dict({**second.state_dict(), "param_groups": state[0]})
    resumed.load_state_dict(state[1])
    for _ in range(8):
        assert schedule.get_last_lr() == resumed.get_last_lr()
        assert whole.param_groups[0]["betas"] == second.param_groups[0]["betas"]
        schedule.step()
        resumed.step()
    assert schedule.get_last_lr() == [second.param_groups[0]["lr"]]


def test_plateau_state() -> None:
    a, b = optimizer(), optimizer()
    first = lr_scheduler.ReduceLROnPlateau(a, patience=2)
    fresh = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = lr_scheduler.ReduceLROnPlateau(b, patience=2)
    second.load_state_dict(fresh)
    for k in range(4):
        first.step(1.0 + k)
    second.load_state_dict(first.state_dict())
    assert second.get_last_lr() == first.get_last_lr() == [b.param_groups[0]["lr"]]
    assert (second.best, second.num_bad_epochs) == (1.0, 0)


def test_states_that_do_not_fit() -> None:
    step, exponential = (
        lr_scheduler.StepLR(optimizer(), 2),
        lr_scheduler.ExponentialLR(optimizer(), 0.5),
    )
    with pytest.raises(ValueError, match="no state of StepLR"):
        step.load_state_dict(exponential.state_dict())
    p, q = cr.nn.Parameter([1.0]), cr.nn.Parameter([1.0])
    two = lr_scheduler.StepLR(cr.optim.SGD([{"params": [p]}, {"params": [q]}]), 2)
    with pytest.raises(ValueError, match="of 2 groups; the optimizer has 1"):
        step.load_state_dict(two.state_dict())


def test_a_group_added_later_is_scheduled_too() -> None:
    a = optimizer(1.0)
    schedule = lr_scheduler.ExponentialLR(a, 0.5)
    schedule.step()
    a.add_param_group({"params": [cr.nn.Parameter([1.0])], "lr": 0.8})
    schedule.step()
    assert schedule.get_last_lr() == [0.25, 0.4]


# -- properties ----------------------------------------------------------------------------------


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


@settings(max_examples=30)
@given(st.integers(1, 50), st.floats(0.0, 0.01), st.floats(0.02, 10.0))
def test_cosine_follows_its_equation(period: int, low: float, base: float) -> None:
    schedule = lr_scheduler.CosineAnnealingLR(optimizer(base), period, low)
    for t in range(period + 1):
        exact = low + (base - low) * (1 + np.cos(np.pi * t / period)) / 2
        assert schedule.get_last_lr()[0] == pytest.approx(exact, rel=1e-9, abs=1e-12)
        schedule.step()


@settings(max_examples=30)
@given(st.integers(1, 10), st.floats(0.1, 1.0), st.integers(0, 40))
def test_step_follows_its_equation(size: int, gamma: float, steps: int) -> None:
    schedule = lr_scheduler.StepLR(optimizer(2.0), size, gamma)
    for _ in range(steps):
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(2.0 * gamma ** (steps // size), rel=1e-12)


# -- by name ---------------------------------------------------------------------------------------


def test_names_and_lengths() -> None:
    one = lr_scheduler.get("one_cycle", optimizer(0.3), epochs=3, steps_per_epoch=5)
    assert isinstance(one, lr_scheduler.OneCycleLR)
    assert (one.total_steps, one.interval) == (15, "step")
    assert one.optimizer.param_groups[0]["max_lr"] == 0.3
    cosine = lr_scheduler.get("cosine", optimizer(), total_steps=11, steps_per_epoch=5)
    assert isinstance(cosine, lr_scheduler.CosineAnnealingLR)
    assert (cosine.T_max, cosine.interval) == (3, "epoch")
    step = lr_scheduler.get("step", optimizer(), epochs=10)
    assert isinstance(step, lr_scheduler.StepLR)
    assert step.step_size == 4
    plateau = lr_scheduler.get("plateau", optimizer(), epochs=10, patience=3)
    assert isinstance(plateau, lr_scheduler.ReduceLROnPlateau)
    assert plateau.patience == 3
    falling = lr_scheduler.get("exponential", optimizer(1.0), epochs=10)
    for _ in range(10):
        falling.step()
    assert falling.get_last_lr()[0] == pytest.approx(0.01)
    assert isinstance(lr_scheduler.get("linear", optimizer(), epochs=10), lr_scheduler.LinearLR)


def test_objects() -> None:
    a = optimizer()
    schedule = lr_scheduler.StepLR(a, 3)
    assert lr_scheduler.get(schedule, a) is schedule
    partial = functools.partial(lr_scheduler.OneCycleLR, max_lr=0.7)
    one = lr_scheduler.get(partial, a, total_steps=9)
    assert a.param_groups[0]["max_lr"] == 0.7
    assert one.total_steps == 9  # type: ignore[attr-defined]
    by_hand = lr_scheduler.get(lambda o: lr_scheduler.StepLR(o, 5), a, epochs=9)
    assert by_hand.step_size == 5  # type: ignore[attr-defined]


def test_a_name_begins_anew() -> None:
    a = optimizer(0.2)
    for name in ("cosine", "one_cycle", "exponential"):
        schedule = lr_scheduler.get(name, a, epochs=4, steps_per_epoch=2)
        for _ in range(4):
            schedule.step()
        assert a.param_groups[0]["lr"] < 0.2
    lr_scheduler.get("cosine", a, epochs=4)
    assert a.param_groups[0]["lr"] == 0.2


def test_errors() -> None:
    a = optimizer()
    with pytest.raises(ValueError, match="no schedule 'cosin'; did you mean 'cosine'"):
        lr_scheduler.get("cosin", a, epochs=3)
    with pytest.raises(ValueError, match="known: 'cosine', 'exponential'"):
        lr_scheduler.check("zzz")
    with pytest.raises(ValueError, match="CosineAnnealingLR needs T_max, or the number of epochs"):
        lr_scheduler.get("cosine", a)
    with pytest.raises(ValueError, match="needs total_steps, or epochs and steps_per_epoch"):
        lr_scheduler.get("one_cycle", a, epochs=3)
    with pytest.raises(TypeError, match="takes no options"):
        lr_scheduler.get(lr_scheduler.StepLR(a, 3), a, gamma=0.1)
    with pytest.raises(TypeError, match=r"a schedule was expected from .* got list"):
        lr_scheduler.get(lambda o: [o], a)
    with pytest.raises(TypeError, match="changes an optimizer's rates; got float"):
        lr_scheduler.StepLR(0.1, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bind it first"):
        lr_scheduler.StepLR(cr.optim.SGD(lr=0.1), 3)
    with pytest.raises(ValueError, match="step_size must be a whole number, 1 or more; got 0"):
        lr_scheduler.StepLR(a, 0)
    with pytest.raises(ValueError, match="one value per group: 1, got 2"):
        lr_scheduler.OneCycleLR(a, [0.1, 0.2], 10)
    with pytest.raises(ValueError, match="pct_start"):
        lr_scheduler.OneCycleLR(a, 0.1, 10, pct_start=1.5)
    with pytest.raises(ValueError, match="anneal_strategy must be"):
        lr_scheduler.OneCycleLR(a, 0.1, 10, anneal_strategy="cosine")
    schedule = lr_scheduler.OneCycleLR(a, 0.1, 3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="made for 3 steps; this is step 4"):
        schedule.step()
    for options in ({"factor": 1.0}, {"mode": "least"}, {"threshold_mode": "x"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            lr_scheduler.ReduceLROnPlateau(a, **options)
    for options in ({"start_factor": 0.0}, {"end_factor": 1.5}, {"total_iters": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            lr_scheduler.LinearLR(a, **options)


def test_one_cycle_needs_a_momentum() -> None:
    class Plain(cr.optim.Optimizer):
        pass

    plain = Plain([cr.nn.Parameter([1.0])], {"lr": 0.1})
    with pytest.raises(ValueError, match="Plain has neither momentum nor betas"):
        lr_scheduler.OneCycleLR(plain, 0.1, 10)
    lr_scheduler.OneCycleLR(plain, 0.1, 10, cycle_momentum=False).step()
