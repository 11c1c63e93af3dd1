"""NAdam against PyTorch over hundreds of steps, and the four forms."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"momentum_decay": 1.0, "betas": (0.7, 0.9)},
    {"momentum_decay": 0.0, "eps": 0.1},
    {"betas": (0.0, 0.0)},
    {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    {"weight_decay": 0.1, "maximize": True, "momentum_decay": 0.1},
]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "NAdam", options)


def run(steps: int, start: Any, **options: Any) -> Any:
    p = cr.nn.Parameter(np.array(start))
    optimizer = cr.optim.NAdam([p], **options)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        p.grad = rng.normal(size=p.shape)
        optimizer.step()
    return p.detach().numpy()


@pytest.mark.parametrize("form", ["constant", "ruder", "printed", "schedule"])
def test_forms_step_by_step(form: str) -> None:
    """O-14, E004-20, E004-21; the schedule with decay 1 is Keras's (K-04)."""
    lr, b1, b2, eps, psi = 0.05, 0.8, 0.9, 1e-3, 1.0
    rng = np.random.default_rng(1)
    theta, m, v, product = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3), 1.0
    mu = lambda t: b1 * (1 - 0.5 * 0.96 ** (t * psi))  # noqa: E731
    for t in range(1, 41):
        g = rng.normal(size=3)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        product *= mu(t)
        ahead = {
            "schedule": mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product),
            "constant": b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t),
            "ruder": (b1 * m + (1 - b1) * g) / (1 - b1**t),
            "printed": b1 * m / (1 - b1**t) + (1 - b1) * g,
        }[form]
        theta = theta - lr * ahead / (np.sqrt(v / (1 - b2**t)) + eps)
    ours = run(40, [1.0, -2.0, 0.5], lr=lr, betas=(b1, b2), eps=eps, momentum_decay=psi, form=form)
    np.testing.assert_allclose(ours, theta, rtol=1e-12)


@pytest.mark.parametrize(
    ("form", "factor"),
    [("constant", 0.9 * 0.1 / (1 - 0.81) + 1.0), ("ruder", 1.9), ("printed", 1.0)],
)
def test_the_first_step(form: str, factor: float) -> None:
    """E004-20: 1.474, 1.9 and 1 times the rate."""
    p = cr.nn.Parameter(np.array([1.0]))
    p.grad = np.array([3.0])
    cr.optim.NAdam([p], lr=0.1, form=form, eps=0.0).step()
    assert 1.0 - p.detach().item() == pytest.approx(0.1 * factor, rel=1e-12)
    assert factor in (1.9, 1.0) or round(factor, 3) == 1.474


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match=r"NAdam: momentum_decay must be 0 or more, got -1.0"):
        cr.optim.NAdam(w, momentum_decay=-1)
    with pytest.raises(ValueError, match="NAdam: no form 'const'; did you mean 'constant'"):
        cr.optim.NAdam(w, form="const")
    with pytest.raises(ValueError, match="NAdam: no form 3"):
        cr.optim.NAdam(w, form=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="betas must be two numbers"):
        cr.optim.NAdam(w, betas=(0.9,))  # type: ignore[arg-type]
