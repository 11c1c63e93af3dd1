"""Clipping against PyTorch, on gradients in and out of an optimizer's vector."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr

SHAPES = [(3, 4), (4,), ()]


def parameters(scale: float, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(0)
    params = [cr.nn.Parameter(np.zeros(s, dtype)) for s in SHAPES]
    for p in params:
        p.grad = scale * rng.normal(size=p.shape)
    return params


def in_a_vector(params: list[Any]) -> list[Any]:
    optimizer = cr.optim.SGD(params, lr=0.0)
    optimizer.step()  # moves the gradients into their slots
    assert all(p._grad is p._slot for p in params)
    return params


@pytest.mark.parametrize("gathered", ["none", "all", "some", "part"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e3, 0.0])
def test_norm_equals_torch(
    torch: ModuleType, gathered: str, norm_type: float, max_norm: float
) -> None:
    params = parameters(3.0)
    twins = [torch.nn.Parameter(torch.zeros(p.shape, dtype=torch.float64)) for p in params]
    for p, q in zip(params, twins, strict=True):
        q.grad = torch.tensor(p._grad.copy())
    if gathered in ("all", "part"):
        in_a_vector(params)
    elif gathered == "some":
        in_a_vector(params[:1])
    if gathered == "part":  # not all of the vector is clipped
        params, twins = params[:2], twins[:2]
    total = cr.optim.clip_grad_norm(params, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(twins, max_norm, norm_type)
    assert total == pytest.approx(expected.item(), rel=1e-13)
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p._grad, q.grad.numpy(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("gathered", [False, True])
def test_norms_that_are_not_finite(
    torch: ModuleType, bad: float, norm_type: float, gathered: bool
) -> None:
    params = parameters(1.0)
    params[1]._grad[2] = bad
    twins = [torch.nn.Parameter(torch.zeros(p.shape, dtype=torch.float64)) for p in params]
    for p, q in zip(params, twins, strict=True):
        q.grad = torch.tensor(p._grad.copy())
    if gathered:
        in_a_vector(params)
    with pytest.raises(cr.NonFiniteError, match="cannot be clipped"):
        cr.optim.clip_grad_norm(params, 1.0, norm_type, error_if_nonfinite=True)
    total = cr.optim.clip_grad_norm(params, 1.0, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(twins, 1.0, norm_type)
    np.testing.assert_array_equal(total, expected.item())
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_array_equal(p._grad, q.grad.numpy())


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_squares_that_overflow_or_vanish(scale: float) -> None:
    params = parameters(scale, np.float32)
    exact = np.concatenate([p._grad.ravel() for p in params]).astype(np.float64)
    expected = float(np.sqrt(np.sum(exact**2)))
    assert cr.optim.clip_grad_norm(params, scale) == pytest.approx(expected, rel=1e-6)
    clipped = np.concatenate([p._grad.ravel() for p in params])
    assert clipped.dtype == np.float32
    np.testing.assert_allclose(clipped, exact * (scale / (expected + 1e-6)), rtol=1e-5, atol=1e-44)


def test_parameters_without_gradients_do_not_count() -> None:
    params = parameters(1.0)
    params[0].grad = None
    assert cr.optim.clip_grad_norm([], 1.0) == 0.0
    assert cr.optim.clip_grad_norm([params[0]], 1.0) == 0.0
    one = cr.optim.clip_grad_norm(params[1], 1e9)
    two = cr.optim.clip_grad_norm(params[2], 1e9)
    assert cr.optim.clip_grad_norm((p for p in params), 1e9) == pytest.approx(math.hypot(one, two))


def test_clipping_of_gradients_in_the_vector_is_seen_by_the_step() -> None:
    p = cr.nn.Parameter(np.array([3.0, 4.0]))
    optimizer = cr.optim.SGD([p], lr=1.0)
    (p * p).sum().backward()
    assert cr.optim.clip_grad_norm([p], 5.0) == 10.0
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [0.0, 0.0], atol=1e-5)


def test_recorded_gradients_leave_the_tape() -> None:
    p = cr.nn.Parameter(np.array([3.0]))
    (p * p).sum().backward(create_graph=True)
    graph = p.grad
    cr.optim.clip_grad_norm([p], 1.0)
    np.testing.assert_allclose(p.grad.numpy(), [1.0], rtol=1e-6)
    assert graph is not None
    assert graph.detach().item() == 6.0


@pytest.mark.parametrize("gathered", [False, True])
def test_value_equals_torch(torch: ModuleType, gathered: bool) -> None:
    params = parameters(2.0)
    params[0]._grad[0, :3] = [np.inf, -np.inf, np.nan]
    twins = [torch.nn.Parameter(torch.zeros(p.shape, dtype=torch.float64)) for p in params]
    for p, q in zip(params, twins, strict=True):
        q.grad = torch.tensor(p._grad.copy())
    if gathered:
        in_a_vector(params)
    cr.optim.clip_grad_value(params, 0.7)
    torch.nn.utils.clip_grad_value_(twins, 0.7)
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_array_equal(p._grad, q.grad.numpy())


def test_errors() -> None:
    with pytest.raises(ValueError, match="norm_type must be above 0, got 0"):
        cr.optim.clip_grad_norm([], 1.0, 0)
    with pytest.raises(ValueError, match="max_norm must be 0 or more, got -1"):
        cr.optim.clip_grad_norm([], -1.0)
    with pytest.raises(ValueError, match="clip_value must be 0 or more, got -1"):
        cr.optim.clip_grad_value([], -1.0)


def a_step(clip: Any, dtype: Any, gathered: bool, scale: float = 1.0) -> Any:
    """A step that clips; (parameters, step)."""
    rng = np.random.default_rng(1)
    params = [cr.nn.Parameter(rng.normal(size=s).astype(dtype)) for s in SHAPES]
    optimizer = cr.optim.SGD(params, lr=0.1) if gathered else None

    def step(x: Any) -> Any:
        for p in params:
            p.grad = None
        total = sum((p * p * scale).sum() for p in params) * cr.tensor(x).sum()
        total.backward()
        norm = clip(params)
        if optimizer is not None:
            optimizer.step()
        return norm if isinstance(norm, cr.Tensor) else cr.tensor(np.asarray(norm or 0.0, dtype))

    return params, step


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bound", [0.0, 0.5, 1e6])
def test_captured_clipping_equals_eager(
    bound: float, dtype: Any, gathered: bool, executor: str
) -> None:
    """The norm, the gradients and what becomes of the parameters, bit for bit."""

    def clip(params: Any) -> Any:
        cr.optim.clip_grad_value(params, 2.0 * bound + 0.1)
        return cr.optim.clip_grad_norm(params, bound)

    eager_params, eager = a_step(clip, dtype, gathered)
    params, step = a_step(clip, dtype, gathered)
    captured = cr.capture(step)
    for k in range(5):
        x = np.full(3, k + 1, dtype)
        np.testing.assert_array_equal(captured(x).numpy(), eager(x).numpy())
        for p, q in zip(params, eager_params, strict=True):
            np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
            np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    assert captured.reason is None


@pytest.mark.parametrize("scale", [1e-30, 1e30, math.inf, math.nan])
def test_captured_norms_at_the_extremes(scale: float, executor: str) -> None:
    """Neither overflow nor a square that vanishes; infinite and NaN as in the eager step."""

    def clip(params: Any) -> Any:
        return cr.optim.clip_grad_norm(params, 0.5)

    eager_params, eager = a_step(clip, np.float32, True, scale)
    params, step = a_step(clip, np.float32, True, scale)
    captured = cr.capture(step)
    x = np.ones(3, np.float32)
    with np.errstate(all="ignore"):
        for _ in range(4):
            np.testing.assert_array_equal(captured(x).numpy(), eager(x).numpy())
            for p, q in zip(params, eager_params, strict=True):
                np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


def test_a_captured_norm_is_a_tensor_and_an_eager_one_a_float(executor: str) -> None:
    kinds: list[Any] = []

    def clip(params: Any) -> Any:
        norm = cr.optim.clip_grad_norm(params, 0.5)
        kinds.append(type(norm))
        return norm

    _, step = a_step(clip, np.float32, True)
    step(np.ones(3, np.float32))
    assert kinds == [float]
    norm = cr.capture(step)
    with pytest.warns(RuntimeWarning, match="it changes kinds"):
        assert norm(np.ones(3, np.float32)).item() > 0
