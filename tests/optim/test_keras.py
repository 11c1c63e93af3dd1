"""Keras's conventions by name (K-01 to K-07), against values that Keras has printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.keras_golden import ROWS, START, STEPS, gradient, rate

GOLDEN = json.loads(Path(__file__).with_name("keras_golden.json").read_text("utf-8"))


def trajectory(name: str, options: dict[str, Any]) -> Any:
    p = cr.nn.Parameter(np.array(START))
    optimizer = getattr(cr.optim, name)([p], lr=rate(0), **options)
    seen = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        p.grad = gradient(step)
        optimizer.step()
        seen.append(p.detach().numpy().copy())
    return np.array([seen[0], seen[STEPS // 2], seen[-1]])


@pytest.mark.parametrize("row", ROWS)
def test_equals_keras(row: str) -> None:
    _, _, name, options = ROWS[row]
    np.testing.assert_allclose(trajectory(name, options), GOLDEN[row], rtol=1e-13)


@pytest.mark.parametrize("row", [r for r in ROWS if r[:4] in ("K-01", "K-02", "K-05", "K-06")])
def test_the_default_place_of_eps_is_another(row: str) -> None:
    _, _, name, options = ROWS[row]
    options = {k: v for k, v in options.items() if k not in ("eps_inside", "eps_hat")}
    assert np.abs(trajectory(name, options)[-1] - GOLDEN[row][-1]).max() > 1e-4
