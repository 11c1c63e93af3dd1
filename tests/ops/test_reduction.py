"""Reductions: NumPy's values over every axis, gradients at ties, zeros and infinities."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError

RNG = np.random.default_rng(0)
CUBE = RNG.standard_normal((2, 3, 4))
AXES = [None, 0, -1, (0, 2), (0, 1, 2)]


def grad(f, x):
    return cr.grad(lambda t: f(t).sum())(np.asarray(x, float)).numpy()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
def test_logsumexp(axis, keepdims):
    def f(x):
        return ops.logsumexp(x, axis=axis, keepdims=keepdims)

    wanted = np.log(np.exp(CUBE).sum(axis=axis, keepdims=keepdims))
    assert f(CUBE).shape == wanted.shape
    np.testing.assert_allclose(f(CUBE), wanted, rtol=1e-14)
    cr.check_gradients(f, CUBE)


def test_logsumexp_of_extremes():
    assert ops.logsumexp(np.array([1e4, 1e4])) == 1e4 + math.log(2)
    assert ops.logsumexp(np.array([-1e4, -1e4])) == -1e4 + math.log(2)
    assert ops.logsumexp(np.array([-np.inf, 1.0])) == 1
    np.testing.assert_array_equal(grad(ops.logsumexp, [1e4, -1e4]), [1, 0])
    assert np.isnan(ops.logsumexp(np.array([np.nan, 1.0])))
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(np.array([-np.inf, -np.inf])) == -np.inf


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("correction", [0, 1])
def test_var_and_std(axis, correction):
    for name in ("var", "std"):
        f = getattr(ops, name)
        got = f(CUBE, axis=axis, correction=correction)
        wanted = getattr(np, name)(CUBE, axis=axis, ddof=correction)
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
        cr.check_gradients(lambda x, f=f: f(x, axis=axis, correction=correction), CUBE)


@pytest.mark.parametrize(("count", "correction"), [(0, 0), (0, 1), (1, 1), (1, 2), (2, 3)])
def test_the_variance_of_too_few_is_none(torch, count, correction):
    """No negative one, as in torch."""
    x = np.arange(2.0 * count).reshape(count, 2)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's
        for name in ("var", "std"):
            wanted = getattr(torch, name)(torch.tensor(x), dim=0, correction=correction)
            got = getattr(ops, name)(x, axis=0, correction=correction)
            np.testing.assert_array_equal(got, wanted.numpy())


def test_std_of_equal_entries_has_gradient_zero():
    t = cr.tensor(np.ones(3), requires_grad=True)
    (first,) = cr.autograd.grad(ops.std(t), [t], create_graph=True)
    np.testing.assert_array_equal(first.detach().numpy(), np.zeros(3))
    (second,) = cr.autograd.grad((first * first).sum(), [t])
    assert np.isfinite(second.numpy()).all()


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("order", [1, 2, 3, 1.5, math.inf])
def test_norm(order, axis):
    wanted = (
        np.abs(CUBE).max(axis=axis)
        if order == math.inf
        else (np.abs(CUBE) ** order).sum(axis=axis) ** (1 / order)
    )
    np.testing.assert_allclose(ops.norm(CUBE, order, axis), wanted, rtol=1e-13)
    cr.check_gradients(lambda x: ops.norm(x, order, axis), CUBE)


@pytest.mark.parametrize("order", [0, 0.5, -1, -2.5, -math.inf])
def test_norms_that_are_none(torch, order):
    """Below 1, as in torch: entries of 0 get no gradient."""
    x = CUBE.copy()
    x[0, 0, 0] = 0.0
    u = torch.tensor(x, requires_grad=True)
    for axis in (None, 0, (1, 2)):
        wanted = torch.linalg.vector_norm(u, order, axis)
        np.testing.assert_allclose(ops.norm(x, order, axis), wanted.detach().numpy(), rtol=1e-13)
        if order != -math.inf:  # there 0 is a kink
            g = torch.autograd.grad(wanted.sum(), u, materialize_grads=True)[0]
            ours = grad(lambda t: ops.norm(t, order, axis).sum(), x)  # noqa: B023
            np.testing.assert_allclose(ours, g.numpy(), rtol=1e-12)
    cr.check_gradients(lambda t: ops.norm(t, order, 1), CUBE)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std", "norm", "logsumexp"])
def test_axis_0_of_a_number(name):
    """As in NumPy and torch; the gradient has no axis, too."""
    f = getattr(ops, name)
    for axis in (0, -1, (0,)):
        for keepdims in (False, True):
            x = cr.tensor(np.float64(3.0), requires_grad=True)
            y = f(x, axis=axis, keepdims=keepdims)
            assert y.shape == cr.autograd.grad(y, x).shape == ()
    with pytest.raises(ShapeError, match=r"there is no axis 1 in an array of 0 axes"):
        f(np.float64(3.0), axis=1)


@pytest.mark.parametrize("name", ["max", "min"])
def test_there_is_no_largest_of_nothing(name, executor):
    for axis in (None, 1, (0, 1)):
        with pytest.raises(ValueError, match=r"no largest|no identity"):
            getattr(ops, name)(np.zeros((5, 0, 5)), axis=axis)
    assert getattr(ops, name)(np.zeros((5, 0, 5)), axis=0).shape == (0, 5)


def test_argsort_descending_keeps_the_order_of_equal_entries(torch):
    x = np.array([[2.0, 1.0, 2.0, np.nan, 1.0], [0.0, 0.0, -1.0, 5.0, 5.0]])
    for descending in (False, True):
        wanted = torch.argsort(torch.tensor(x), dim=1, descending=descending, stable=True)
        np.testing.assert_array_equal(ops.argsort(x, 1, descending), wanted.numpy())


def test_norm_at_zero_has_gradient_zero():
    """So that a gradient penalty at a flat point is no NaN."""
    t = cr.tensor(np.zeros((2, 3)), requires_grad=True)
    (first,) = cr.autograd.grad(ops.norm(t, axis=1).sum(), [t], create_graph=True)
    np.testing.assert_array_equal(first.detach().numpy(), np.zeros((2, 3)))
    (second,) = cr.autograd.grad(first.sum(), [t])
    assert np.isfinite(second.numpy()).all()


def test_ties_share_the_gradient_as_in_torch(torch):
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    u = torch.tensor(x, requires_grad=True)
    torch.amax(u, dim=1).sum().backward()
    np.testing.assert_allclose(grad(lambda t: ops.max(t, axis=1), x), u.grad.numpy())
    u.grad = None
    torch.amin(u, dim=1).sum().backward()
    np.testing.assert_allclose(grad(lambda t: ops.min(t, axis=1), x), u.grad.numpy())
    assert ops.amax is ops.max


def test_nan_is_the_largest_and_the_smallest():
    x = np.array([1.0, np.nan, 3.0])
    assert np.isnan(ops.max(x))
    assert np.isnan(ops.min(x))
    np.testing.assert_array_equal(grad(ops.max, x), [0, 1, 0])


def test_types_and_empty_arrays():
    x = CUBE.astype(np.float32)
    for name in ("sum", "mean", "max", "min", "var", "std", "logsumexp", "norm"):
        t = cr.tensor(x, requires_grad=True)
        y = getattr(ops, name)(t, axis=1)
        (first,) = cr.autograd.grad(y.sum(), [t], create_graph=True)
        assert y.dtype == first.dtype == np.float32
    assert ops.sum(np.zeros((0, 3))) == 0
    np.testing.assert_array_equal(ops.sum(np.zeros((0, 3)), axis=0), np.zeros(3))
    assert ops.sum(np.zeros((2, 0, 3)), axis=2).shape == (2, 0)
    assert ops.sum(np.array([1, 2])).dtype == np.int64
    assert ops.mean(np.array([1, 2])) == 1.5


def test_choices_are_plain_arrays():
    t = cr.tensor(CUBE, requires_grad=True)
    np.testing.assert_array_equal(ops.argmax(t, axis=1), CUBE.argmax(1))
    assert ops.argmin(t, 1, keepdims=True).shape == (2, 1, 4)
    np.testing.assert_array_equal(ops.argsort(np.array([1.0, 0.0, 1.0])), [1, 0, 2])
    assert ops.any(t)
    np.testing.assert_array_equal(ops.all(t, axis=0), CUBE.all(0))
