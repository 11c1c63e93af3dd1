"""grad, value_and_grad, vjp, jvp, jacobian, hessian against torch.func and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.nn.parameter import Parameter

RNG = np.random.default_rng(0)
W = RNG.standard_normal((4, 3))
X = RNG.standard_normal(3)
Y = RNG.standard_normal(3)


def net(x, w):
    return ops.tanh(ops.matmul(w, x))


def loss(x, w):
    return (net(x, w) ** 2).sum()


def torch_net(torch):
    return lambda x, w: torch.tanh(w @ x)


# -- grad ---------------------------------------------------


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (0, 1), (1, 0), [-1, 0]])
def test_argnums(torch, argnums):
    wanted = torch.func.grad(
        lambda x, w: (torch.tanh(w @ x) ** 2).sum(),
        argnums=tuple(argnums) if isinstance(argnums, list) else argnums,
    )(torch.tensor(X), torch.tensor(W))
    got = cr.grad(loss, argnums)(X, W)
    if isinstance(argnums, int):
        got, wanted = (got,), (wanted,)
    assert isinstance(got, tuple)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-13)


def test_value_and_grad():
    value, (gx, gw) = cr.value_and_grad(loss, (0, 1))(X, W)
    y = np.tanh(W @ X)
    assert not value.requires_grad
    np.testing.assert_allclose(value.item(), (y**2).sum())
    np.testing.assert_allclose(gx.numpy(), W.T @ (2 * y * (1 - y * y)), rtol=1e-13)
    np.testing.assert_allclose(gw.numpy(), np.outer(2 * y * (1 - y * y), X), rtol=1e-13)


def test_grad_keeps_types_and_leaves_arguments_alone():
    x = X.astype(np.float32)
    before = x.copy()
    g = cr.grad(lambda x: (x**2).sum())(x)
    assert g.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    assert cr.grad(lambda x: x * x)(3.0).dtype == np.float32
    assert cr.grad(lambda x: x * x)(np.float64(3)).dtype == np.float64
    np.testing.assert_array_equal(cr.grad(lambda x: x.sum())([1.0, 2.0]).numpy(), [1, 1])


def test_grad_of_grad_of_grad():
    f = cr.grad(cr.grad(cr.grad(lambda x: (x**4).sum())))
    assert f(cr.tensor([2.0])).item() == 48


def test_grad_through_keyword_arguments_and_names():
    def scaled(x, *, by):
        return (x * by).sum()

    g = cr.grad(scaled)
    assert g.__name__ == "scaled"
    np.testing.assert_array_equal(g(X, by=3.0).numpy(), np.full(3, 3.0))


def test_grad_of_a_closure_stays_on_the_tape():
    w = Parameter(W)
    g = cr.grad(lambda x: loss(x, w))(X)
    assert g.requires_grad
    penalty = (g * g).sum()
    penalty.backward()
    wanted = cr.grad(lambda w: (cr.grad(lambda x: loss(x, w))(X) ** 2).sum())(W)
    np.testing.assert_allclose(w.grad.numpy(), wanted.numpy(), rtol=1e-13)
    cr.check_gradients(lambda w: cr.grad(lambda x: loss(x, w))(X), W, order=1)


def test_grad_at_a_tensor_that_requires_grad_stays_on_the_tape():
    x = cr.tensor(X, requires_grad=True)
    cr.grad(lambda t: (t**3).sum())(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X)


def test_grad_inside_no_grad_computes_but_records_nothing():
    w = Parameter(W)
    with cr.no_grad():
        g = cr.grad(lambda x: loss(x, w))(X)
    assert not g.requires_grad
    np.testing.assert_allclose(g.numpy(), cr.grad(loss)(X, W).numpy(), rtol=1e-14)


def test_grad_of_a_constant_is_zero():
    np.testing.assert_array_equal(cr.grad(lambda x: cr.tensor(1.0))(X).numpy(), np.zeros(3))


def test_messages():
    with pytest.raises(ValueError, match=r"argnums=2, but the function was given 2 arguments"):
        cr.grad(loss, 2)(X, W)
    with pytest.raises(ShapeError, match=r"one number as value; it returned shape \(3,\)"):
        cr.grad(lambda x: x)(X)
    with pytest.raises(TypeError, match=r"returned ndarray, not a tensor"):
        cr.grad(lambda x: np.ones(1))(X)
    with pytest.raises(TypeError, match=r"argument 0: it is int64, not a float"):
        cr.grad(lambda x: x.sum())(np.arange(3))
    x = cr.tensor(X)
    with pytest.raises(RuntimeError, match=r"every input must be a tensor that requires grad"):
        cr.autograd.grad((x * 2).sum(), [x])
    y = cr.tensor(X, requires_grad=True)
    with pytest.raises(ShapeError, match=r"without grad_outputs needs"):
        cr.autograd.grad(y * 2, [y])
    with pytest.raises(ShapeError, match=r"value of shape \(3,\) cannot have shape \(2,\)"):
        cr.autograd.grad(y * 2, [y], np.ones(2))
    with pytest.raises(ValueError, match=r"2 cotangents for 1 outputs"):
        cr.vjp(lambda x: x * 2, X)[1](X, X)


def test_autograd_grad_of_several_outputs():
    x = cr.tensor(X, requires_grad=True)
    g = cr.autograd.grad([x * 2, x * x], x, [np.ones(3), cr.tensor(Y)])
    np.testing.assert_allclose(g.numpy(), 2 + 2 * X * Y)


# -- vjp and jvp ---------------------------------------------------


def test_vjp(torch):
    u = RNG.standard_normal(4)
    y, pull = cr.vjp(net, X, W)
    ty, tpull = torch.func.vjp(torch_net(torch), torch.tensor(X), torch.tensor(W))
    np.testing.assert_allclose(y.numpy(), ty.numpy(), rtol=1e-14)
    for _ in range(2):  # may be called again
        for g, t in zip(pull(u), tpull(torch.tensor(u)), strict=True):
            np.testing.assert_allclose(g.numpy(), t.numpy(), rtol=1e-12)


def test_vjp_of_several_outputs():
    y, pull = cr.vjp(lambda x: (x * 2, x.sum()), X)
    assert isinstance(y, tuple)
    np.testing.assert_allclose(pull(np.ones(3), 10.0)[0].numpy(), np.full(3, 12.0))


def test_jvp(torch):
    v, dw = RNG.standard_normal(3), RNG.standard_normal((4, 3))
    y, t = cr.jvp(net, (X, W), (v, dw))
    ty, tt = torch.autograd.functional.jvp(
        torch_net(torch), (torch.tensor(X), torch.tensor(W)), (torch.tensor(v), torch.tensor(dw))
    )
    np.testing.assert_allclose(y.numpy(), ty.numpy(), rtol=1e-14)
    np.testing.assert_allclose(t.numpy(), tt.numpy(), rtol=1e-13)


def test_jvp_equals_differences_and_is_adjoint_to_vjp():
    v, u, h = RNG.standard_normal(3), RNG.standard_normal(4), 1e-5
    _, t = cr.jvp(lambda x: net(x, W), X, v)
    plain = (np.tanh(W @ (X + h * v)) - np.tanh(W @ (X - h * v))) / (2 * h)
    np.testing.assert_allclose(t.numpy(), plain, rtol=1e-8)
    _, pull = cr.vjp(lambda x: net(x, W), X)
    np.testing.assert_allclose(u @ t.numpy(), pull(u)[0].numpy() @ v, rtol=1e-13)


def test_jvp_stays_on_the_tape():
    w, v = Parameter(W), cr.tensor(Y, requires_grad=True)
    y, t = cr.jvp(lambda x: net(x, w), cr.tensor(X), v)
    slope = (1 - np.tanh(W @ X) ** 2)[:, None] * W
    assert y.requires_grad
    np.testing.assert_allclose(cr.autograd.grad(t.sum(), v).numpy(), slope.sum(axis=0), rtol=1e-12)
    cr.check_gradients(lambda x, d, w: cr.jvp(lambda x: net(x, w), x, d)[1], X, Y, W)
    assert not cr.jvp(lambda x: net(x, W), X, Y)[1].requires_grad
    with cr.no_grad():
        assert not any(r.requires_grad for r in cr.jvp(lambda x: net(x, w), X, v))


def test_jvp_of_a_linear_or_constant_function():
    np.testing.assert_array_equal(cr.jvp(lambda x: x * 3, X, Y)[1].numpy(), 3 * Y)
    np.testing.assert_array_equal(cr.jvp(lambda x: cr.tensor([1.0]), X, Y)[1].numpy(), [0])
    with pytest.raises(ShapeError, match=r"direction for x of shape \(3,\) has shape \(2,\)"):
        cr.jvp(lambda x: x * 3, X, np.ones(2))
    with pytest.raises(TypeError, match=r"jvp: the function returned tuple"):
        cr.jvp(lambda x: (x, x), X, Y)


# -- jacobian and hessian ---------------------------------------------------


def test_jacobian(torch):
    got = cr.jacobian(lambda w: net(X, w))(W)
    wanted = torch.func.jacrev(lambda w: torch.tanh(w @ torch.tensor(X)))(torch.tensor(W))
    assert got.shape == (4, 4, 3)
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-13)


def test_jacobian_of_softmax_is_the_notes_matrix():
    a = np.exp(X) / np.exp(X).sum()
    got = cr.jacobian(ops.softmax)(X).numpy()
    np.testing.assert_allclose(got, np.diag(a) - np.outer(a, a), rtol=1e-13)


def test_jacobian_stays_on_the_tape():
    w = Parameter(W)
    j = cr.jacobian(lambda x: net(x, w))(X)
    assert j.requires_grad
    (j * j).sum().backward()
    assert np.abs(w.grad.numpy()).max() > 0
    assert cr.jacobian(lambda x: x[:0] * 2)(X).shape == (0, 3)


def test_hessian(torch):
    got = cr.hessian(lambda x: loss(x, W))(X).numpy()
    wanted = torch.autograd.functional.hessian(
        lambda x: (torch.tanh(torch.tensor(W) @ x) ** 2).sum(), torch.tensor(X)
    )
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-12)
    np.testing.assert_allclose(got, got.T, rtol=1e-12)


def test_hessian_of_a_linear_function_is_zero():
    np.testing.assert_array_equal(cr.hessian(lambda x: (x * 3).sum())(X).numpy(), np.zeros((3, 3)))
