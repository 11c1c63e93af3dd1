"""The same schedule here and in PyTorch, step by step."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.optim import lr_scheduler


def pair(torch: ModuleType, kind: str = "SGD", **options: Any) -> tuple[Any, Any]:
    """The same two groups for both."""
    rates = (0.5, 0.01)
    mine = [{"params": [cr.nn.Parameter([1.0])], "lr": lr} for lr in rates]
    other = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in rates]
    return getattr(cr.optim, kind)(mine, **options), getattr(torch.optim, kind)(other, **options)


def optimizer(lr: float = 0.1) -> Any:
    """One group with betas."""
    return cr.optim.AdamW([cr.nn.Parameter([1.0])], lr=lr)


def rates(optimizer: Any) -> list[float]:
    """The present rate of each group."""
    return [group["lr"] for group in optimizer.param_groups]


def momenta(optimizer: Any) -> list[Any]:
    """The present momentum or betas of each group."""
    return [g["betas"] if "betas" in g else g["momentum"] for g in optimizer.param_groups]


def compare(torch: ModuleType, make: Any, steps: int = 300, rtol: float = 0.0, **kind: Any) -> None:
    """``make(module, optimizer)`` gives the schedule of either module."""
    a, b = pair(torch, **kind)
    mine, other = make(lr_scheduler, a), make(torch.optim.lr_scheduler, b)
    b.step()  # PyTorch warns of a schedule that goes on before its optimizer
    for step in range(steps + 1):
        np.testing.assert_allclose(mine.get_last_lr(), rates(b), rtol=rtol, err_msg=str(step))
        assert rates(a) == mine.get_last_lr()
        np.testing.assert_allclose(momenta(a), momenta(b), rtol=rtol)
        if step < steps:
            mine.step()
            other.step()


def resumes(make: Any, before: int = 7, after: int = 8) -> None:
    """``make(module, optimizer)`` from a state saved in the middle as JSON goes on as it would."""
    whole, first = optimizer(), optimizer()
    schedule, half = make(lr_scheduler, whole), make(lr_scheduler, first)
    for _ in range(before):
        schedule.step()
        half.step()
    state = json.loads(json.dumps([first.state_dict()["param_groups"], half.state_dict()]))
    second = optimizer(0.9)
    resumed = make(lr_scheduler, second)
    second.load_state_dict({**second.state_dict(), "param_groups": state[0]})
    resumed.load_state_dict(state[1])
    for _ in range(after):
        assert schedule.get_last_lr() == resumed.get_last_lr() == rates(second)
        assert momenta(whole) == momenta(second)
        schedule.step()
        resumed.step()
    assert schedule.get_last_lr() == rates(second)
