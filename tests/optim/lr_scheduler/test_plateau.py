"""The plateau against PyTorch."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from chainrule.optim import lr_scheduler
from optim.schedules import optimizer, pair

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


@pytest.mark.parametrize("options", [{"factor": 1.0}, {"mode": "least"}, {"threshold_mode": "x"}])
def test_arguments_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        lr_scheduler.ReduceLROnPlateau(optimizer(), **options)
