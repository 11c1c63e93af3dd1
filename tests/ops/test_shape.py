"""Movements of values: adjoint pairs, NumPy's meanings, gradients of both orders, messages."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
CUBE = RNG.standard_normal((2, 3, 4))
INDEX = np.array([[2, 0, 2, 1], [0, 0, 0, 0]])

#: name -> (function of one array, the same in NumPy)
LINEAR = {
    "reshape": (lambda x: ops.reshape(x, 2, -1), lambda x: x.reshape(2, -1)),
    "permute_dims": (lambda x: ops.permute_dims(x, (1, 0)), lambda x: x.T),
    "transpose": (ops.transpose, np.transpose),
    "swapaxes": (lambda x: ops.swapaxes(x, 0, -1), lambda x: x.swapaxes(0, -1)),
    "matrix_transpose": (ops.matrix_transpose, lambda x: x.mT),
    "getitem": (lambda x: ops.tensor.s.getitem(x, (slice(1, None), 0)), lambda x: x[1:, 0]),
    "gather": (
        lambda x: ops.take_along_axis(x, INDEX, 0),
        lambda x: np.take_along_axis(x, INDEX, 0),
    ),
    "pad": (lambda x: ops.pad(x, ((1, 0), (0, 2))), lambda x: np.pad(x, ((1, 0), (0, 2)))),
    "flip": (lambda x: ops.flip(x, 1), lambda x: np.flip(x, 1)),
    "flip all": (ops.flip, np.flip),
    "roll": (lambda x: ops.roll(x, 3, 1), lambda x: np.roll(x, 3, 1)),
    "cumsum": (lambda x: ops.cumsum(x, 1), lambda x: np.cumsum(x, 1)),
    "cumsum all": (ops.cumsum, np.cumsum),
    "repeat": (lambda x: ops.repeat(x, 3, -1), lambda x: np.repeat(x, 3, -1)),
    "tril": (lambda x: ops.tril(x, -1), lambda x: np.tril(x, -1)),
    "triu": (ops.triu, np.triu),
    "sum": (lambda x: ops.sum(x, axis=0), lambda x: x.sum(0)),
    "mean": (lambda x: ops.mean(x, axis=(0, 1), keepdims=True), lambda x: x.mean(keepdims=True)),
    "expand_dims": (lambda x: ops.expand_dims(x, axis=1), lambda x: x[:, None]),
    "squeeze": (lambda x: ops.squeeze(x[:, :1], -1), lambda x: x[:, 0]),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, (2, 3, 4)),
        lambda x: np.broadcast_to(x, (2, 3, 4)),
    ),
    "sum_to": (
        lambda x: ops.elementwise.sum_to(x, np.zeros((3, 1))),
        lambda x: x.sum(1, keepdims=True),
    ),
    "split": (lambda x: ops.split(x, [1, 3], axis=1)[1], lambda x: x[:, 1:3]),
    "concatenate": (
        lambda x: ops.concatenate([x, 2 * x], axis=-1),
        lambda x: np.concatenate([x, 2 * x], axis=-1),
    ),
    "stack": (lambda x: ops.stack([x, -x], axis=1), lambda x: np.stack([x, -x], axis=1)),
    "einsum": (lambda x: ops.einsum("ij,kj->ik", x, X[::-1]), lambda x: x @ X[::-1].T),
    "matmul": (lambda x: ops.matmul(x, X.T), lambda x: x @ X.T),
}


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_linear_operations_and_their_adjoints(name):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩, and Aᵀᵀ = A."""
    f, plain = LINEAR[name]
    t = cr.tensor(X, requires_grad=True)
    out = f(t)
    np.testing.assert_allclose(out.detach().numpy(), plain(X), rtol=1e-14, atol=1e-15)
    y = RNG.standard_normal(out.shape)
    c = cr.tensor(y, requires_grad=True)
    (back,) = cr.autograd.grad(out, [t], c, create_graph=True)
    assert back.shape == X.shape
    np.testing.assert_allclose((plain(X) * y).sum(), (X * back.detach().numpy()).sum(), rtol=1e-12)
    (again,) = cr.autograd.grad(back, [c], X)
    np.testing.assert_allclose(again.numpy(), plain(X), rtol=1e-13, atol=1e-14)
    cr.check_gradients(lambda x: ops.sin(f(x)), X)


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_float32_and_arrays(name):
    f, plain = LINEAR[name]
    if name not in ("einsum", "matmul"):  # these have a float64 array in them
        t = cr.tensor(X.astype(np.float32), requires_grad=True)
        y = f(t)
        y.sum().backward()
        assert y.dtype == t.grad.dtype == np.float32
    raw = f(X)
    assert isinstance(raw, np.ndarray)
    np.testing.assert_allclose(raw, plain(X), rtol=1e-14, atol=1e-15)


# -- the rest ---------------------------------------------------


def test_where_clip_maximum_minimum(torch):
    a, b = X, X[::-1] * 0.6 + 0.01
    cr.check_gradients(lambda x, y: ops.where(X > 0, x * y, y), a, b)
    cr.check_gradients(lambda x, y: ops.maximum(x, y) * ops.minimum(x, y * 2), a, b)
    cr.check_gradients(lambda x: ops.clip(x, -0.5, 0.7) * x, a)
    cr.check_gradients(lambda x, low: ops.clip(x, low), a, np.full((3, 1), -0.2))
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    for low, high in ((0.0, 1.0), (0.0, None), (None, 1.0)):
        t, u = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        ops.clip(t, low, high).sum().backward()
        torch.clamp(u, low, high).sum().backward()
        np.testing.assert_array_equal(t.grad.numpy(), u.grad.numpy())
    tie, other = cr.tensor([1.0], requires_grad=True), torch.ones(1, requires_grad=True)
    ops.maximum(tie, np.ones(1, np.float32)).sum().backward()
    torch.maximum(other, torch.ones(1)).sum().backward()
    assert tie.grad.item() == other.grad.item() == 0.5
    for values in ((np.nan, 0.0, 1.0), (0.5, np.nan, None), (0.5, None, np.nan)):
        assert np.isnan(ops.clip(np.array([values[0]]), *values[1:]))
    with pytest.raises(TypeError, match=r"needs low, high or both"):
        ops.clip(x)


def test_nothing_leaks_from_the_branch_not_taken():
    t = cr.tensor(np.array([0.0, 4.0]), requires_grad=True)
    safe = ops.where(t > 0, t, 1.0)
    (first,) = cr.autograd.grad(ops.where(t > 0, ops.sqrt(safe), 0.0).sum(), [t], create_graph=True)
    np.testing.assert_array_equal(first.detach().numpy(), [0, 0.25])
    (second,) = cr.autograd.grad(first.sum(), [t])
    np.testing.assert_array_equal(second.numpy(), [0, -1 / 32])
    bad = ops.where(np.array([True, False]), t, np.array([np.inf, np.nan]))
    np.testing.assert_array_equal(bad.detach().numpy()[:1], [0])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sort_and_topk(torch, axis):
    t, u = cr.tensor(CUBE, requires_grad=True), torch.tensor(CUBE, requires_grad=True)
    values, places = ops.topk(t, 2, axis=axis)
    tv, tp = torch.topk(u, 2, dim=axis)
    np.testing.assert_array_equal(values.detach().numpy(), tv.detach().numpy())
    np.testing.assert_array_equal(places, tp.numpy())
    ((values**3).sum() + (ops.sort(t, axis) * np.arange(4)).sum()).backward()
    ((tv**3).sum() + (torch.sort(u, dim=axis).values * torch.arange(4)).sum()).backward()
    np.testing.assert_allclose(t.grad.numpy(), u.grad.numpy(), rtol=1e-14)
    cr.check_gradients(lambda x: ops.sort(x, axis) * ops.topk(x, 1, axis)[0], CUBE)
    with pytest.raises(ShapeError, match=r"k = 9 of axis . with length"):
        ops.topk(t, 9, axis=axis)


def test_the_smallest_and_descending(torch):
    t, u = cr.tensor(CUBE), torch.tensor(CUBE)
    values, places = ops.topk(t, 2, axis=1, largest=False)
    tv, tp = torch.topk(u, 2, dim=1, largest=False)
    np.testing.assert_array_equal(values.numpy(), tv.numpy())
    np.testing.assert_array_equal(places, tp.numpy())
    wanted = torch.sort(u, dim=0, descending=True).values.numpy()
    np.testing.assert_array_equal(ops.sort(t, 0, descending=True).numpy(), wanted)
    cr.check_gradients(lambda x: ops.sort(x, 0, descending=True) ** 2, CUBE)
    np.testing.assert_array_equal(ops.topk(np.array([1.0, 3.0, 3.0, 0.0]), 2)[1], [1, 2])


def test_several_axes_roll():
    def rolled(x):
        return ops.roll(x, (1, -2), (0, 2))

    np.testing.assert_array_equal(rolled(CUBE), np.roll(CUBE, (1, -2), (0, 2)))
    cr.check_gradients(lambda x: rolled(x) * x, CUBE)
    with pytest.raises(ShapeError, match=r"2 shifts for 1 axes"):
        ops.roll(CUBE, (1, 2), 0)


def test_take_along_axis_broadcasts():
    """In the gradient, too."""
    index = np.array([[1, 0]])
    np.testing.assert_array_equal(
        ops.take_along_axis(X, index, 1), np.take_along_axis(X, np.repeat(index, len(X), 0), 1)
    )
    cr.check_gradients(lambda x: ops.take_along_axis(x, index, 1) ** 2, X)
    many = np.array([[0, 3], [3, 3], [1, 0], [2, 2]])
    cr.check_gradients(lambda x: ops.take_along_axis(x, many, 1) ** 2, X[:1])
    with pytest.raises(ShapeError, match=r"x has shape \(3, 4\), the index \(2,\)"):
        ops.take_along_axis(X, many[0], 1)


def test_several_arrays():
    a, b, c = X, X[:, :1] * 2, X[:, 1:3]
    joined = ops.concatenate([a, cr.tensor(b), c], axis=1)
    np.testing.assert_array_equal(joined.numpy(), np.concatenate([a, b, c], axis=1))
    cr.check_gradients(lambda *xs: ops.sin(ops.concatenate(xs, axis=1)), a, b, c)
    cr.check_gradients(lambda x, y: ops.stack([x, y * x], axis=-1), a, a[::-1])
    parts = ops.split(cr.tensor(X), 2, axis=1)
    np.testing.assert_array_equal(np.concatenate([p.numpy() for p in parts], axis=1), X)
    mixed = ops.concatenate([cr.tensor(X.astype(np.float32)), cr.tensor(X)])
    assert mixed.dtype == np.float64
    assert ops.concat is ops.concatenate


def test_messages():
    t = cr.tensor(X)
    with pytest.raises(ShapeError, match=r"along axis 1: array 1 has shape \(2, 4\), array 0 has"):
        ops.concatenate([t, X[:2]], axis=1)
    with pytest.raises(ValueError, match=r"at least one array"):
        ops.concatenate([])
    with pytest.raises(ShapeError, match=r"stack needs arrays of one shape"):
        ops.stack([t, X[:2]])
    with pytest.raises(ShapeError, match=r"axis 1 of length 4 has no 3 equal parts"):
        ops.split(t, 3, axis=1)
    for call in (
        lambda: ops.concatenate([t], axis=2),
        lambda: ops.split(t, 2, axis=5),
        lambda: ops.swapaxes(t, 0, 3),
        lambda: ops.take_along_axis(t, INDEX, 2),
        lambda: ops.topk(t, 1, axis=-3),
        lambda: ops.repeat(t, 2, 2),
        lambda: ops.permute_dims(t, (0, 2)),
    ):
        with pytest.raises(ShapeError, match=r"there is no axis -?. in an array of 2 axes"):
            call()
    for triangle in (ops.tril, ops.triu):
        with pytest.raises(ShapeError, match=r"two axes of a matrix, got shape \(4,\)"):
            triangle(t[0])
    with pytest.raises(ShapeError, match=r"names each of them once, got \(0, 0\)"):
        ops.permute_dims(t, (0, 0))
    with pytest.raises(ValueError, match=r"reshape"):
        t.reshape(5, 5)
    for axis in (2, -3):
        with pytest.raises(ValueError, match=r"axis"):
            t.sum(axis=axis)


def test_split_of_nothing_and_into_nothing():
    assert [p.shape for p in ops.split(np.zeros((0, 2)), 3)] == [(0, 2)] * 3
    for sections in (0, -2):
        with pytest.raises(ShapeError, match=f"has no {sections} equal parts"):
            ops.split(np.zeros((4, 2)), sections)
