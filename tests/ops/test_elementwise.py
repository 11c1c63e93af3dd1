"""The primitives as functions: values, derivatives, comparisons off the tape."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.ops.formula import Formula

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
POSITIVE = np.abs(X) + 0.3

UNARY = {
    "abs": (np.abs, X),
    "cos": (np.cos, X),
    "exp": (np.exp, X),
    "expm1": (np.expm1, X),
    "log": (np.log, POSITIVE),
    "log1p": (np.log1p, POSITIVE),
    "negative": (np.negative, X),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), X),
    "sin": (np.sin, X),
    "sqrt": (np.sqrt, POSITIVE),
    "square": (np.square, X),
    "tanh": (np.tanh, X),
}
BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@pytest.mark.parametrize("name", sorted(UNARY))
def test_functions_of_one_array(name):
    plain, x = UNARY[name]
    f = getattr(ops, name)
    assert isinstance(f, Formula)
    np.testing.assert_allclose(f(x), plain(x), rtol=1e-14)
    assert f(x.astype(np.float32)).dtype == np.float32
    cr.check_gradients(f, x)


@pytest.mark.parametrize("name", sorted(BINARY))
def test_functions_of_two_arrays_that_broadcast(name):
    f = getattr(ops, name)
    for a, b in ((POSITIVE, X), (POSITIVE, X[0]), (POSITIVE[:, :1], X), (POSITIVE[0, 0], X)):
        np.testing.assert_allclose(f(a, b), BINARY[name](a, b), rtol=1e-14)
        cr.check_gradients(f, a, b)


def test_special_functions(torch):
    for name, x in (("erf", X), ("lgamma", POSITIVE * 3), ("digamma", POSITIVE * 3)):
        wanted = getattr(torch.special, {"lgamma": "gammaln"}.get(name, name))(torch.tensor(x))
        np.testing.assert_allclose(getattr(ops, name)(x), wanted.numpy(), rtol=1e-12, atol=1e-14)
        cr.check_gradients(getattr(ops, name), x)
    wanted = torch.special.polygamma(2, torch.tensor(POSITIVE))
    np.testing.assert_allclose(ops.polygamma(POSITIVE, n=2), wanted.numpy(), rtol=1e-11)


@pytest.mark.parametrize("name", ["sign", "floor", "stop_gradient"])
def test_what_is_piecewise_constant_has_gradient_zero(name):
    t = cr.tensor(X, requires_grad=True)
    getattr(ops, name)(t).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), np.zeros(X.shape))


def test_a_stopped_gradient_beside_a_live_one():
    t = cr.tensor(X, requires_grad=True)
    (t * ops.stop_gradient(t)).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), X)


def test_powers_at_zero():
    """b a^(b-1) at b = 0 and a^b log a at a = 0 are limits, not NaN."""
    a = cr.tensor(np.array([0.0, 2.0, 0.0]), requires_grad=True)
    b = cr.tensor(np.array([0.0, 0.0, 2.0]), requires_grad=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # in the branch not taken
        ops.pow(a, b).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [0, 0, 0])
    np.testing.assert_allclose(b.grad.numpy(), [0, np.log(2), 0])
    with np.errstate(divide="ignore"):
        slope = cr.grad(ops.pow, argnums=1)(np.float64(0.0), np.float64(-2.0))
    assert slope.item() == -np.inf


def test_comparisons_are_documented_booleans():
    t = cr.tensor(X, requires_grad=True)
    for name, wanted in (
        ("less", X < 0), ("less_equal", X <= 0), ("greater", X > 0), ("greater_equal", X >= 0),
        ("equal", X == 0), ("not_equal", X != 0),
    ):  # fmt: skip
        f = getattr(ops, name)
        for got in (f(t, 0.0), f(X, 0.0), f(t, cr.tensor(0.0))):
            assert isinstance(got, np.ndarray)
            np.testing.assert_array_equal(got, wanted)
        assert f.__name__ == name
        assert "booleans" in f.__doc__
    odd = np.array([1.0, np.nan, np.inf])
    np.testing.assert_array_equal(ops.isnan(odd), [False, True, False])
    np.testing.assert_array_equal(ops.isfinite(odd), [True, False, False])
    yes = np.array([True, True, False])
    np.testing.assert_array_equal(ops.logical_and(yes, ops.isnan(odd)), [False, True, False])
    np.testing.assert_array_equal(ops.logical_or(yes, ops.isnan(odd)), [True, True, False])
    np.testing.assert_array_equal(ops.logical_not(yes), [False, False, True])


def test_shapes():
    assert ops.expand_dims(X, axis=-1).shape == (3, 4, 1)
    assert ops.squeeze(X[:, None]).shape == (3, 4)
    assert ops.squeeze(X[None, :, None], axis=0).shape == (3, 1, 4)
    np.testing.assert_array_equal(ops.broadcast_to(X[0], (3, 4)), np.broadcast_to(X[0], (3, 4)))
    np.testing.assert_array_equal(ops.broadcast_to(X[0], X), np.broadcast_to(X[0], (3, 4)))
    with pytest.raises(ValueError, match="squeeze"):
        ops.squeeze(X, axis=0)
