"""What all schedules share: state, groups, resuming by number, composing."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest

import chainrule as cr
from chainrule.optim import lr_scheduler
from optim.schedules import momenta, optimizer, pair, rates


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
        assert rates(a) == rates(b)


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


LAST: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.9}),
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 6, 9]}),
    ("ConstantLR", {"total_iters": 8}),
    ("LinearLR", {"total_iters": 9}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 20, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 30}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.3, "step_size_up": 3}),
]


@pytest.mark.parametrize(("name", "options"), LAST, ids=str)
def test_last_epoch_goes_on_as_in_torch(
    torch: ModuleType, name: str, options: dict[str, Any]
) -> None:
    a, b = pair(torch, momentum=0.9)
    for module, o in ((lr_scheduler, a), (torch.optim.lr_scheduler, b)):
        make = getattr(module, name)
        schedule = make(o, **options)
        o.step()
        for _ in range(5):
            schedule.step()
        schedule = make(o, **options, last_epoch=4)
        assert schedule.last_epoch == 5
        for _ in range(12):
            schedule.step()
        assert schedule.last_epoch == 17
        assert [float(lr) for lr in schedule.get_last_lr()] == rates(o)
    assert rates(a) == pytest.approx(rates(b), rel=1e-14)
    assert momenta(a) == pytest.approx(momenta(b), rel=1e-14)


def test_last_epoch_needs_a_schedule_before() -> None:
    for name, options in LAST:
        with pytest.raises(ValueError, match="group 0 of the optimizer has no initial_lr"):
            getattr(lr_scheduler, name)(optimizer(), **options, last_epoch=3)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    a = optimizer()
    schedule = lr_scheduler.SequentialLR(
        a, [lr_scheduler.StepLR(a, 2), lr_scheduler.ExponentialLR(a, 0.5)], [4]
    )
    schedule.step()
    before, state = copy.deepcopy(schedule.state_dict()), copy.deepcopy(schedule.state_dict())
    state["schedulers"][1].pop("gamma")
    state["last_epoch"] = 3
    with pytest.raises(ValueError, match="no state of ExponentialLR"):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before


def test_restart() -> None:
    a = optimizer(1.0)
    schedule = lr_scheduler.ExponentialLR(a, 0.5)
    schedule.step()
    a.add_param_group({"params": [cr.nn.Parameter([1.0])], "lr": 0.8})
    schedule.restart()
    assert rates(a) == [1.0, 0.8]
    assert schedule.last_epoch == 0
