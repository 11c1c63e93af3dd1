"""The largest singular value: its derivatives, its limits, and power iteration towards it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.ops.spectral import power_iteration, singular_vectors, spectral_norm

SHAPES = [(4, 4), (5, 3), (3, 5), (1, 4), (4, 1), (3, 2, 2)]


def weight(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_derivatives(shape: tuple[int, ...]) -> None:
    """E004-31: the derivative that the note leaves out is u₁ v₁ᵀ."""
    w = weight(shape)
    left, s, right = np.linalg.svd(w.reshape(shape[0], -1))
    assert float(spectral_norm(w)) == pytest.approx(s[0], rel=1e-14)
    slope = np.outer(left[:, 0], right[0]).reshape(shape)
    np.testing.assert_allclose(cr.grad(spectral_norm)(w).numpy(), slope, atol=1e-14)
    assert cr.check_gradients(spectral_norm, w, order=2)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_second_and_third_order_are_torch_s(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    w, a, b = (weight(shape, k) for k in range(3))

    def third(f: Any, x: Any, grad: Any, of: Any) -> tuple[Any, Any]:
        g = grad(f(x), x)
        h = grad((g * of(a)).sum(), x)
        return h, grad((h * of(b)).sum(), x)

    t = torch.tensor(w, requires_grad=True)
    theirs = third(
        lambda x: torch.linalg.matrix_norm(x, 2),
        t,
        lambda y, x: torch.autograd.grad(y, x, create_graph=True)[0],
        torch.tensor,
    )
    p = cr.nn.Parameter(w)
    ours = third(
        spectral_norm,
        p,
        lambda y, x: cr.autograd.grad(y, [x], create_graph=True)[0],
        cr.tensor,
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), atol=1e-11)


def test_half_the_square_has_its_own_derivative() -> None:
    """Yoshida & Miyato's ½ σ²: its slope is σ u vᵀ, of σ itself u vᵀ."""
    w = weight((4, 3))
    half = lambda x: 0.5 * spectral_norm(x) ** 2  # noqa: E731
    sigma = float(spectral_norm(w))
    np.testing.assert_allclose(
        cr.grad(half)(w).numpy(), sigma * cr.grad(spectral_norm)(w).numpy(), rtol=1e-13
    )
    assert cr.check_gradients(half, w, order=2)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (1, 4)])
def test_the_vectors_have_derivatives_too(shape: tuple[int, ...]) -> None:
    w, a, b = weight(shape), weight((shape[0], 1), 1), weight((shape[1], 1), 2)
    sigma, u, v = singular_vectors(w)
    np.testing.assert_allclose(w @ v, sigma * u, atol=1e-14)
    np.testing.assert_allclose(w.T @ u, sigma * v, atol=1e-14)

    def turned(x: Any) -> Any:
        sigma, u, v = singular_vectors(x)
        return (cr.tensor(a) * u).sum() * (cr.tensor(b) * v).sum() + sigma**2

    assert cr.check_gradients(turned, w, order=2)


def test_where_the_largest_is_not_the_only_one() -> None:
    for w in (np.eye(3), np.zeros((2, 3))):
        g = cr.grad(spectral_norm)(w).numpy()
        assert np.linalg.norm(g, 2) == pytest.approx(1.0)  # a subgradient: norm 1, ⟨g, w⟩ = σ
        assert np.sum(g * w) == pytest.approx(float(spectral_norm(w)))
        second = cr.grad(lambda x: (cr.grad(spectral_norm)(x) * cr.tensor(weight(x.shape))).sum())(
            w
        )
        assert not np.isfinite(second.numpy()).all()


def test_limits_and_types() -> None:
    w = weight((3, 3))
    assert spectral_norm(w.astype(np.float32)).dtype == np.float32
    assert cr.grad(spectral_norm)(w.astype(np.float32)).dtype == np.float32
    w[0, 1] = np.inf
    assert float(spectral_norm(w)) == np.inf
    w[0, 0] = np.nan
    assert np.isnan(spectral_norm(w))
    assert np.isnan(cr.grad(spectral_norm)(w).numpy()).all()
    assert float(spectral_norm(np.zeros((0, 3)))) == 0.0
    assert cr.grad(spectral_norm)(np.zeros((3, 0))).shape == (3, 0)
    for size in (1e200, 1e-200):
        assert float(spectral_norm(weight((3, 3)) * size)) == pytest.approx(
            size * float(spectral_norm(weight((3, 3))))
        )


def test_power_iteration_arrives() -> None:
    w = weight((6, 4))
    left, s, _ = np.linalg.svd(w)
    u, v = np.full((6, 1), 6**-0.5), np.full((4, 1), 0.5)

    def tangent(u: Any) -> Any:
        along = left[:, :1].T @ u
        return np.linalg.norm(u - left[:, :1] @ along) / abs(float(along[0, 0]))

    for _ in range(6):
        before = tangent(u)
        sigma, u, v = power_iteration(w, u, v, 2)
        # two iterations: the angle to u₁ shrinks by (σ₂/σ₁)⁴ or more
        assert tangent(u) <= before * (s[1] / s[0]) ** 4 + 1e-14
        assert 0 <= s[0] - float(sigma) + 1e-14 <= s[0] * tangent(u) ** 2 + 1e-13
    exact = cr.grad(spectral_norm)(w).numpy()
    _, u, v = power_iteration(w, u, v, 60)
    by_power = cr.grad(lambda x: power_iteration(x, u, v, 0)[0])(w).numpy()
    np.testing.assert_allclose(by_power, exact, atol=1e-12)
    np.testing.assert_allclose(by_power, u @ v.T, atol=1e-16)
    assert power_iteration(w.astype(np.float32), u.astype(np.float32), v.astype(np.float32))[
        0
    ].dtype == np.dtype(np.float32)


def test_power_iteration_has_no_second_derivative() -> None:
    w = cr.nn.Parameter(weight((3, 3)))
    sigma, u, v = power_iteration(w, np.ones((3, 1)), np.ones((3, 1)))
    assert not u.requires_grad
    with pytest.raises(NotImplementedError, match=r"power_iteration.*second derivative"):
        cr.autograd.grad(sigma, [w], create_graph=True)
    assert v.shape == (3, 1)


def test_vectors_outlast_zeros_and_nan() -> None:
    u, v = np.array([[0.6], [0.8]]), np.array([[1.0], [0.0], [0.0]])
    for w in (np.zeros((2, 3)), np.full((2, 3), np.nan)):
        sigma, a, b = power_iteration(w, u, v, 3)
        np.testing.assert_array_equal(a, u)
        np.testing.assert_array_equal(b, v)
        np.testing.assert_array_equal(np.isnan(sigma), np.isnan(w).any())
    big = 1e200 * weight((2, 3))
    assert float(power_iteration(big, u, v, 50)[0]) == pytest.approx(np.linalg.norm(big, 2))


def test_it_is_captured(executor: str) -> None:
    w = cr.nn.Parameter(weight((4, 3), 3).astype(np.float32))
    u, v = cr.Variable(np.full((4, 1), 0.5, np.float32)), cr.Variable(np.ones((3, 1), np.float32))

    def step() -> Any:
        sigma, a, b = power_iteration(w, u, v)
        u.assign(a)
        v.assign(b)
        return sigma

    start = u.numpy().copy(), v.numpy().copy()
    eager = [step().item() for _ in range(6)]
    u.assign(start[0])
    v.assign(start[1])
    captured = cr.capture(step)
    assert [captured().item() for _ in range(6)] == eager
    assert captured.reason is None
    with pytest.warns(RuntimeWarning, match="spectral_norm computes singular values"):
        cr.capture(lambda: spectral_norm(w))()


def test_errors() -> None:
    with pytest.raises(cr.ShapeError, match=r"spectral norm .* got shape \(3,\)"):
        spectral_norm(np.ones(3))
    with pytest.raises(cr.ShapeError, match=r"power iteration .* got shape \(3,\)"):
        power_iteration(np.ones(3), np.ones((3, 1)), np.ones((1, 1)))
