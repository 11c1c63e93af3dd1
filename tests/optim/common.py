"""Four parameters, reproducible gradients, and training with them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import chainrule as cr

SHAPES = [(3, 2), (2,), (), (2, 2)]


def parameters(seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [cr.nn.Parameter(rng.normal(size=s).astype(dtype)) for s in SHAPES]


@functools.cache
def _gradients(step: int) -> list[Any]:
    rng = np.random.default_rng(1000 + step)
    return [rng.normal(size=s) for s in SHAPES]


def gradients(step: int, dtype: Any = np.float64) -> list[Any]:
    return [np.array(g, dtype) for g in _gradients(step)]


def give(params: list[Any], grads: list[Any]) -> None:
    """Gradients by a backward pass, as training does."""
    total: Any = 0.0
    for p, g in zip(params, grads, strict=True):
        if g is not None:
            total = total + (p * cr.tensor(g)).sum()
    total.backward()


def values(params: list[Any]) -> list[Any]:
    return [p.detach().numpy() for p in params]


def same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def train(
    optimizer: Any, params: list[Any], steps: range, skip: Any = lambda step, k: False
) -> None:
    for step in steps:
        optimizer.zero_grad()
        grads = gradients(step, params[0].dtype)
        give(params, [None if skip(step, k) else g for k, g in enumerate(grads)])
        optimizer.step()


def against_torch(
    torch: Any, name: str, options: dict[str, Any], steps: int = 300, tolerance: float = 1e-12
) -> None:
    """Two groups with rates of their own, gradients that are missing now and then, a falling rate:
    the trajectory is PyTorch's, in float64.
    """
    params = parameters()
    twins = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in params]
    base = options.get("lr", 0.01)
    rest = {k: v for k, v in options.items() if k != "lr"}

    def groups(p: list[Any]) -> list[dict[str, Any]]:
        return [{"params": p[:3]}, {"params": p[3:], "lr": base / 2}]

    mine = getattr(cr.optim, name)(groups(params), lr=base, **rest)
    other = getattr(torch.optim, name)(groups(twins), lr=base, **rest)
    for step in range(steps):
        if step == steps // 2:
            for group in (*mine.param_groups, *other.param_groups):
                group["lr"] /= 4
        for k, (p, q, g) in enumerate(zip(params, twins, gradients(step), strict=True)):
            g = g * (1 + np.cos(step / 9)) + 0.3 * np.cos(step / 20)
            missing = k == 1 and step % 7 == 2
            p.grad, q.grad = (None, None) if missing else (g, torch.tensor(g))
        mine.step()
        other.step()
        if step in (0, 1, 6, steps - 1):
            for p, q in zip(params, twins, strict=True):
                np.testing.assert_allclose(
                    p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance
                )


def captured_equals_eager(make: Any, dtype: Any = np.float32, steps: int = 7) -> None:
    """The same bits from a captured step as from eager ones, and no way back to eager."""

    def build() -> tuple[Any, Any, Any]:
        cr.seed(0)
        model = cr.nn.Sequential(cr.nn.Dense(4, 3), cr.nn.Tanh(), cr.nn.Dense(3, 2))
        if dtype == np.float64:
            model.double()
        optimizer = make(model.parameters())

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = cr.ops.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return model, optimizer, step

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)).astype(dtype), rng.normal(size=(6, 2)).astype(dtype)
    model, optimizer, eager = build()
    twin, other, step = build()
    captured = cr.capture(step)
    for k in range(steps):
        for group in (*optimizer.param_groups, *other.param_groups):
            group["lr"] /= 1 + k  # live in a replay
        np.testing.assert_array_equal(captured(x, y).detach().numpy(), eager(x, y).detach().numpy())
    assert captured.reason is None
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.dtype == dtype
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
