"""NumPy's functions on tensors: recorded where there is a derivative, an error where not."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.primitives import PRIMITIVES
from chainrule.ops.recorded import FUNCTIONS, RECORDED, UFUNCS

X = np.random.default_rng(0).standard_normal((3, 4))


def leaf(a):
    return cr.tensor(a, requires_grad=True)


# -- NumPy's functions ---------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "negative",
        "absolute",
        "sign",
        "floor",
        "sqrt",
        "square",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sin",
        "cos",
        "tanh",
        "isnan",
        "isfinite",
    ],
)
def test_unary_ufuncs(name):
    x = np.abs(X) + 0.1
    got = getattr(np, name)(leaf(x))
    if name.startswith("is"):
        assert isinstance(got, np.ndarray)
    else:
        assert isinstance(got, cr.Tensor)
        assert got.requires_grad
        got = got.detach().numpy()
    np.testing.assert_allclose(got, getattr(np, name)(x), rtol=1e-15)


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
)
def test_binary_ufuncs(name):
    x, y = np.abs(X) + 0.1, np.abs(X[::-1]) + 0.1
    wanted = getattr(np, name)(x, y)
    for args in ((leaf(x), leaf(y)), (x, leaf(y)), (leaf(x), y)):
        got = getattr(np, name)(*args)
        assert got.requires_grad
        np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x),
        lambda x: np.sum(x, axis=0),
        lambda x: np.mean(x, axis=1, keepdims=True),
        lambda x: np.max(x, axis=0),
        lambda x: np.min(x),
        lambda x: np.var(x, axis=0),
        lambda x: np.std(x, axis=1, ddof=1),
        lambda x: np.concatenate([x, x], axis=1),
        lambda x: np.stack([x, x]),
        lambda x: np.reshape(x, (4, 3)),
        lambda x: np.transpose(x),
        lambda x: np.swapaxes(x, 0, 1),
        lambda x: np.where(X > 0, x, 0.0),
        lambda x: np.clip(x, -0.5, 0.5),
        lambda x: np.expand_dims(x, 0),
        lambda x: np.squeeze(x[:1]),
        lambda x: np.split(x, 2, axis=1)[1],
        lambda x: np.pad(x, 1),
        lambda x: np.cumsum(x, axis=1),
        lambda x: np.flip(x, 0),
        lambda x: np.roll(x, 1, 0),
        lambda x: np.einsum("ij->j", x),
        lambda x: np.sort(x, axis=0),
        lambda x: np.take_along_axis(x, np.array([[0], [1], [0]]), 1),
        lambda x: np.broadcast_to(x, (2, 3, 4)),
        lambda x: np.tril(x),
        lambda x: np.triu(x, 1),
        lambda x: np.dot(x, X.T),
        lambda x: np.repeat(x, 2, axis=0),
    ],
)
def test_functions_of_numpy(call):
    got, wanted = call(leaf(X)), call(X)
    assert isinstance(got, cr.Tensor)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-13, atol=1e-15)
    cr.check_gradients(call, X)


def test_choices_of_numpy_are_plain_arrays():
    t = leaf(X)
    for name in ("argmax", "argmin", "argsort"):
        got = getattr(np, name)(t, axis=1)
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, getattr(np, name)(X, axis=1))
    assert np.shape(t) == (3, 4)
    assert np.ndim(t) == 2
    assert np.size(t) == 12
    assert not np.all(t > 0)
    assert np.any(t)


def test_what_numpy_cannot_do_with_tensors_raises():
    t = leaf(X)
    with pytest.raises(TypeError, match=r"np\.arctan has no derivative here"):
        np.arctan(t)
    with pytest.raises(TypeError, match=r"np\.median does not take tensors"):
        np.median(t)
    with pytest.raises(TypeError, match=r"np\.add\.reduce does not take tensors"):
        np.add.reduce(t)
    with pytest.raises(TypeError, match=r"np\.exp with out"):
        np.exp(t, out=np.empty((3, 4)))
    a = np.ones((3, 4))
    with pytest.raises(TypeError, match=r"does not take tensors"):
        a += t


# -- xp for tensors ---------------------------------------------------


def test_the_tables_name_functions_of_numpy():
    assert all(isinstance(getattr(np, name), np.ufunc) for name in UFUNCS)
    assert all(callable(getattr(np, name)) for name in FUNCTIONS)


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_primitive_runs_on_tensors(name):
    assert callable(getattr(RECORDED, name))


def test_an_unknown_primitive():
    with pytest.raises(AttributeError, match="xp has no primitive 'cosh'"):
        RECORDED.cosh(leaf(X))


def test_constants_in_the_shape_and_type_of_a_tensor():
    t = leaf(X.astype(np.float32))
    for got, value in ((RECORDED.ones_like(t), 1), (RECORDED.zeros_like(t), 0)):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, np.full((3, 4), value))
    hot = RECORDED.one_hot(np.array([[1], [3], [0]]), t)
    np.testing.assert_array_equal(hot.argmax(1), [1, 3, 0])
    assert not hasattr(ops, "one_hot")
