"""Penalties against their printed derivatives and against torch, and the projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.ops import regularization as r

rng = np.random.default_rng(0)
W = rng.normal(size=(5, 3))

PENALTIES: dict[str, tuple[Any, Any]] = {  # with the derivative in plain NumPy
    "l1": (r.l1_penalty, np.sign),
    "l2": (r.l2_penalty, lambda w: w),
    "elastic net": (
        lambda w: r.elastic_net_penalty(w, 0.3, 0.7),
        lambda w: 0.3 * np.sign(w) + 0.7 * w,
    ),
    "orthogonality": (
        r.orthogonality_penalty,
        lambda w: 4 * w @ (w.T @ w - np.eye(w.shape[1])),
    ),
    "max-norm": (
        lambda w: r.max_norm_penalty(w, 1.2),
        lambda w: np.where(norms(w) > 1.2, w / norms(w), 0.0),
    ),
}


def norms(w: Any) -> Any:
    return np.linalg.norm(w, axis=1, keepdims=True)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize(
    "w", [W, W.T.copy(), np.asfortranarray(W), W[::2]], ids=["tall", "wide", "fortran", "strided"]
)
def test_values_and_derivatives(name: str, w: Any) -> None:
    penalty, slope = PENALTIES[name]
    np.testing.assert_allclose(cr.grad(penalty)(w).numpy(), slope(w), rtol=1e-12, atol=1e-14)
    assert cr.check_gradients(penalty, w, order=2)


def test_torch_agrees_to_second_order() -> None:
    torch = pytest.importorskip("torch")
    theirs: dict[str, Any] = {
        "l1": lambda w: w.abs().sum(),
        "l2": lambda w: (w**2).sum() / 2,
        "elastic net": lambda w: 0.3 * w.abs().sum() + 0.35 * (w**2).sum(),
        "orthogonality": lambda w: ((w.T @ w - torch.eye(w.shape[1])) ** 2).sum(),
        "max-norm": lambda w: torch.relu(w.norm(dim=1) - 1.2).sum(),
    }
    direction = rng.normal(size=W.shape)
    for name, (penalty, _) in PENALTIES.items():
        for w in (W, W.T.copy()):
            d = direction.reshape(w.shape)
            t = torch.tensor(w, requires_grad=True)
            value = theirs[name](t)
            (g,) = torch.autograd.grad(value, t, create_graph=True)
            h = torch.autograd.grad((g * torch.tensor(d)).sum(), t, allow_unused=True)[0]
            np.testing.assert_allclose(penalty(w), value.item(), rtol=1e-13)
            np.testing.assert_allclose(cr.grad(penalty)(w).numpy(), g.detach(), rtol=1e-12)
            product = cr.grad(lambda x, d=d, f=penalty: (cr.grad(f)(x) * cr.tensor(d)).sum())(w)
            expected = np.zeros_like(w) if h is None else h.numpy(force=True)
            np.testing.assert_allclose(product.numpy(), expected, rtol=1e-11, atol=1e-12)


def test_types_edges_and_inputs() -> None:
    for penalty, _ in PENALTIES.values():
        w = W.astype(np.float32)
        kept = w.copy()
        value = penalty(w)
        assert value.dtype == np.float32
        assert cr.grad(penalty)(w).dtype == np.float32
        np.testing.assert_array_equal(w, kept)
        bad = W.copy()
        bad[1, 1] = np.nan
        assert np.isnan(penalty(bad))
        assert float(penalty(np.zeros((0, 3)))) in (0.0, 3.0)
    # a derivative where there is none is the middle one
    zero = np.zeros((2, 2))
    for name in ("l1", "l2", "elastic net", "max-norm"):
        np.testing.assert_array_equal(cr.grad(PENALTIES[name][0])(zero).numpy(), zero)


def test_the_wide_and_the_tall_penalty_are_one() -> None:
    """E004-32: ‖WᵀW - I‖² = ‖WWᵀ - I‖² + in - out, so the smaller product serves both."""
    w = rng.normal(size=(3, 7))
    direct = np.sum((w.T @ w - np.eye(7)) ** 2)
    assert float(r.orthogonality_penalty(w)) == pytest.approx(direct, rel=1e-13)
    q = cr.init.orthogonal((3, 7), dtype=np.float64)
    assert float(r.orthogonality_penalty(q)) == pytest.approx(4.0)
    np.testing.assert_allclose(cr.grad(r.orthogonality_penalty)(q).numpy(), 0.0, atol=1e-13)
    kernel = rng.normal(size=(4, 2, 3, 3))
    assert float(r.orthogonality_penalty(kernel)) == pytest.approx(
        float(r.orthogonality_penalty(kernel.reshape(4, 18)))
    )


def test_two_norms_of_one_name() -> None:
    """E004-30: note 004 writes ‖W‖₂ for both."""
    frobenius = np.sqrt(2 * float(r.l2_penalty(W)))
    assert frobenius == pytest.approx(np.linalg.norm(W))
    spectral = float(cr.ops.spectral.spectral_norm(W))
    assert spectral == pytest.approx(np.linalg.norm(W, 2))
    assert frobenius - spectral > 0.3


# -- max-norm -------------------------------------------------------------------------------------


def test_the_projection() -> None:
    w = 2 * W
    expected = w / np.maximum(1, norms(w) / 1.5)
    projected = r.max_norm_projection(w, 1.5)
    np.testing.assert_allclose(projected, expected, rtol=1e-14)
    short = norms(w)[:, 0] <= 1.5
    assert 0 < short.sum() < 5
    np.testing.assert_array_equal(projected[short], w[short])  # untouched, to the bit
    assert (norms(projected) <= 1.5 * (1 + 1e-15)).all()
    torch = pytest.importorskip("torch")
    theirs = torch.renorm(torch.tensor(w), 2, 0, 1.5).numpy()
    np.testing.assert_allclose(projected, theirs, rtol=1e-6)  # torch adds 1e-7 to the norm
    assert cr.check_gradients(lambda x: r.max_norm_projection(x, 1.5), w, order=2)


@pytest.mark.parametrize("axis", [0, 1, -1, (1, 2, 3), (0, 2), None])
def test_axes(axis: Any) -> None:
    w = rng.normal(size=(3, 4, 2, 5))
    along = (1, 2, 3) if axis is None else axis
    n = np.sqrt(np.sum(w**2, axis=along, keepdims=True))
    bound = float(np.median(n))
    np.testing.assert_allclose(
        r.max_norm_projection(w, bound, axis), w * np.minimum(1, bound / n), rtol=1e-13
    )
    np.testing.assert_allclose(
        r.max_norm_penalty(w, bound, axis), np.maximum(n - bound, 0).sum(), rtol=1e-12
    )
    # E004-55: the axis matters, and the notes do not say which
    matrix = np.diag([3.0, 1.0]) + 1
    assert not np.allclose(r.max_norm_projection(matrix, 2, 0), r.max_norm_projection(matrix, 2, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lengths_that_squares_cannot_hold(dtype: Any) -> None:
    for size in (np.finfo(dtype).max / 8, np.finfo(dtype).tiny * 8):
        w = np.array([[3.0, 4.0]], dtype) * dtype(size)
        projected = r.max_norm_projection(w, dtype(2.5 * size))
        np.testing.assert_allclose(projected / dtype(size), [[1.5, 2.0]], rtol=1e-6)
    rows = np.array([[np.inf, 1.0], [np.nan, 1.0], [0.0, 0.0]], dtype)
    with np.errstate(invalid="ignore"):
        held = r.max_norm_projection(rows, 1.0)
    np.testing.assert_array_equal(held, [[np.nan, 0.0], [np.nan, np.nan], [0.0, 0.0]])
    assert float(r.max_norm_penalty(np.array([[np.inf, 1.0]], dtype), 1.0)) == np.inf


def test_the_printed_update_forgets_the_penalty() -> None:
    """E004-33: a step along the printed gradient, that of the loss alone, leaves it as it is."""
    loss = lambda w: (w * 0.0).sum()  # noqa: E731
    total = lambda w: loss(w) + 10 * r.max_norm_penalty(w, 0.5)  # noqa: E731
    printed = W - 0.1 * cr.grad(loss)(W).numpy()
    right = W - 0.1 * cr.grad(total)(W).numpy()
    before, after = (float(r.max_norm_penalty(w, 0.5)) for w in (printed, right))
    assert before == float(r.max_norm_penalty(W, 0.5))
    assert after < 0.6 * before


def test_softshrink_gives_zeros_and_a_subgradient_step_none() -> None:
    """E004-54: w - η λ sign(w) swings around 0; the proximal step arrives."""
    printed = right = 0.1237
    for _ in range(1000):
        printed = printed - 0.01 * np.sign(printed)
        right = float(cr.ops.softshrink(np.array(right), 0.01))
    assert right == 0.0
    assert 0 < abs(printed) < 0.01
    x = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_array_equal(cr.ops.softshrink(x, 0.5), [-1.5, 0.0, 0.0, 0.0, 1.5])
    # it is the minimizer of ½ (u - x)² + t |u|
    u = np.linspace(-3, 3, 60_001)
    for value in (-1.7, 0.2, 0.9):
        best = u[np.argmin((u - value) ** 2 / 2 + 0.4 * abs(u))]
        assert float(cr.ops.softshrink(np.array(value), 0.4)) == pytest.approx(best, abs=1e-4)


def test_errors() -> None:
    with pytest.raises(cr.ShapeError, match=r"two or more axes, got shape \(3,\)"):
        r.max_norm_projection(np.ones(3), 1.0)
    with pytest.raises(cr.ShapeError, match=r"shape \(2, 2\) has no axis 2"):
        r.max_norm_penalty(np.ones((2, 2)), 1.0, 2)
    with pytest.raises(cr.ShapeError, match=r"orthogonality .* got shape \(\)"):
        r.orthogonality_penalty(np.ones(()))
    for f in (r.max_norm_penalty, r.max_norm_projection):
        with pytest.raises(ValueError, match="max_norm must be 0 or more, got -1"):
            f(W, -1.0)
