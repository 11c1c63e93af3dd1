"""A warm-up is a line and a decay, in one piece."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule.optim import lr_scheduler
from optim.schedules import optimizer, rates, resumes

DECAYS: list[dict[str, Any]] = [
    {"warmup_steps": 10, "total_steps": 200, "decay": "cosine"},
    {"warmup_steps": 1, "total_steps": 200, "decay": "cosine", "eta_min": 0.01},
    {"warmup_steps": 7, "total_steps": 200, "decay": "linear"},
    {"warmup_steps": 30},
]


@pytest.mark.parametrize("options", DECAYS, ids=str)
def test_is_what_sequential_makes_of_its_parts(options: dict[str, Any]) -> None:
    a, b = optimizer(0.3), optimizer(0.3)
    rise, total = options["warmup_steps"], options.get("total_steps", 200)
    low = options.get("eta_min", 0.0)
    schedule = lr_scheduler.WarmupLR(a, **options)
    assert schedule.interval == "step"
    after: Any = {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(b, total - rise, low),
        "linear": lambda: lr_scheduler.PolynomialLR(b, total - rise),
        "constant": lambda: lr_scheduler.LambdaLR(b, lambda t: 1.0),
    }[options.get("decay", "constant")]
    first = lr_scheduler.LinearLR(b, 1 / (rise + 1), total_iters=rise)
    parts = lr_scheduler.SequentialLR(b, [first, after()], [rise])
    for _ in range(total + 1):
        assert rates(a) == pytest.approx(rates(b), rel=1e-10, abs=1e-15)
        schedule.step()
        parts.step()


@pytest.mark.parametrize("options", DECAYS, ids=str)
def test_state_resumes_in_the_middle(options: dict[str, Any]) -> None:
    resumes(lambda module, optimizer: module.WarmupLR(optimizer, **options))


def test_the_end_stays() -> None:
    schedule = lr_scheduler.WarmupLR(optimizer(1.0), 2, 5, "linear", eta_min=0.1)
    for _ in range(20):
        schedule.step()
    assert schedule.get_last_lr() == [pytest.approx(0.1, rel=1e-14)]


def test_arguments_out_of_range() -> None:
    a = optimizer()
    with pytest.raises(ValueError, match="no decay 'cosin'; did you mean 'cosine'"):
        lr_scheduler.WarmupLR(a, 3, 10, "cosin")
    with pytest.raises(ValueError, match="more than the 3 of the warm-up; got None"):
        lr_scheduler.WarmupLR(a, 3, decay="cosine")
    with pytest.raises(ValueError, match="more than the 3 of the warm-up; got 3"):
        lr_scheduler.WarmupLR(a, 3, 3, "linear")
    with pytest.raises(ValueError, match="warmup_steps must be a whole number"):
        lr_scheduler.WarmupLR(a, 0)
