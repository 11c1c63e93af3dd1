"""Schedules made of schedules, against PyTorch over hundreds of steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from chainrule.optim import lr_scheduler
from optim.schedules import compare, optimizer, rates, resumes


def warm_cosine(module: Any, o: Any) -> Any:
    warm = module.LinearLR(o, 0.1, total_iters=20)
    return module.SequentialLR(o, [warm, module.CosineAnnealingLR(o, 100)], [20])


def three(module: Any, o: Any) -> Any:
    parts = [
        module.ConstantLR(o, 0.1, 3),
        module.ExponentialLR(o, 0.97),
        module.StepLR(o, 10, 0.5),
    ]
    return module.SequentialLR(o, parts, [5, 60])


def absolute(module: Any, o: Any) -> Any:
    parts = [
        module.LambdaLR(o, lambda t: 1 / (1 + t)),
        module.CosineAnnealingWarmRestarts(o, 7, 2),
        module.MultiStepLR(o, [3, 30]),
        module.PolynomialLR(o, 50, 2.0),
    ]
    return module.SequentialLR(o, parts, [10, 50, 150])


def at_once(module: Any, o: Any) -> Any:
    parts = [module.ExponentialLR(o, 0.9), module.StepLR(o, 3, 0.5)]
    return module.SequentialLR(o, parts, [0])


def warm_chained(module: Any, o: Any) -> Any:
    return module.ChainedScheduler(
        [module.LinearLR(o, 0.1, total_iters=9), module.ExponentialLR(o, 0.98)]
    )


def chained_with_cosine(module: Any, o: Any) -> Any:
    parts = [
        module.ConstantLR(o, 0.2, 4),
        module.CosineAnnealingLR(o, 40, 1e-4),
        module.MultiplicativeLR(o, lambda t: 0.999),
    ]
    return module.ChainedScheduler(parts, o)


def chained_of_sequential(module: Any, o: Any) -> Any:
    first = module.SequentialLR(
        o, [module.ConstantLR(o, 0.5, 2), module.ExponentialLR(o, 0.9)], [4]
    )
    return module.ChainedScheduler([first, module.StepLR(o, 50, 0.5)])


MADE = [
    warm_cosine, three, absolute, at_once, warm_chained, chained_with_cosine, chained_of_sequential,
]  # fmt: skip


@pytest.mark.parametrize("make", MADE)
def test_equals_torch(torch: ModuleType, make: Any) -> None:
    compare(torch, make, rtol=1e-14)


@pytest.mark.parametrize("before", [3, 21])
@pytest.mark.parametrize("make", MADE)
def test_state_resumes_in_the_middle(make: Any, before: int) -> None:
    resumes(make, before, 60)


def test_sequences_in_sequences() -> None:
    """PyTorch raises at the milestone."""
    a = optimizer(1.0)
    first = lr_scheduler.ExponentialLR(a, 0.5)
    inner = lr_scheduler.SequentialLR(
        a, [lr_scheduler.ConstantLR(a, 0.25, 9), lr_scheduler.ExponentialLR(a, 0.1)], [2]
    )
    chain = lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(a, 0.5, 1), lr_scheduler.ExponentialLR(a, 0.1)]
    )
    schedule = lr_scheduler.SequentialLR(a, [first, inner, chain], [2, 6])
    seen = []
    for _ in range(9):
        seen += rates(a)
        schedule.step()
    assert seen == pytest.approx([1, 0.5, 0.25, 0.25, 1, 0.1, 0.5, 0.1, 0.01])


def test_arguments_that_do_not_fit() -> None:
    a, b = optimizer(), optimizer()
    step, other = lr_scheduler.StepLR(a, 3), lr_scheduler.StepLR(b, 3)
    plateau = lr_scheduler.ReduceLROnPlateau(a)
    one = lr_scheduler.OneCycleLR(optimizer(), 0.1, 10)
    for make in (
        lambda parts: lr_scheduler.SequentialLR(a, parts, [1] * (len(parts) - 1)),
        lr_scheduler.ChainedScheduler,
    ):
        with pytest.raises(ValueError, match="needs at least one schedule"):
            make([])
        with pytest.raises(ValueError, match=r"schedule number 1 of .* is of another optimizer"):
            make([step, other])
        with pytest.raises(ValueError, match="cannot hold ReduceLROnPlateau"):
            make([step, plateau])
        with pytest.raises(TypeError, match="is made of schedules; number 1 is float"):
            make([step, 0.1])
    with pytest.raises(ValueError, match="2 schedules needs 1 milestones, got 2"):
        lr_scheduler.SequentialLR(a, [step, step], [1, 2])
    with pytest.raises(ValueError, match="milestones must rise"):
        lr_scheduler.SequentialLR(a, [step, step, step], [5, 2])
    with pytest.raises(ValueError, match="go by epoch and by step"):
        lr_scheduler.SequentialLR(one.optimizer, [lr_scheduler.StepLR(one.optimizer, 3), one], [2])


def test_a_state_of_other_parts() -> None:
    a = optimizer()
    two = lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(a, 3), lr_scheduler.StepLR(a, 5)])
    one = lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(a, 3)])
    with pytest.raises(ValueError, match="of 1 schedules, this ChainedScheduler has 2"):
        two.load_state_dict(one.state_dict())


def test_intervals() -> None:
    a = optimizer()
    warm, cosine = lr_scheduler.LinearLR(a), lr_scheduler.CosineAnnealingLR(a, 100)
    warm.interval = cosine.interval = "step"
    assert lr_scheduler.SequentialLR(a, [warm, cosine], [5]).interval == "step"
    assert lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(a, 3)]).interval == "epoch"
