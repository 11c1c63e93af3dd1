"""The dense layer: one node, torch's values, errors that name the layer."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.autograd import tape
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter

RNG = np.random.default_rng(0)
W, B = RNG.standard_normal((4, 3)), RNG.standard_normal(4)
ACTIVATIONS = {
    None: lambda F, z: z,
    "identity": lambda F, z: z,
    "relu": lambda F, z: F.relu(z),
    "leaky_relu": lambda F, z: F.leaky_relu(z),
    "elu": lambda F, z: F.elu(z),
    "selu": lambda F, z: F.selu(z),
    "gelu": lambda F, z: F.gelu(z),
    "silu": lambda F, z: F.silu(z),
    "sigmoid": lambda F, z: F.sigmoid(z),
    "logistic": lambda F, z: F.sigmoid(z),
    "softplus": lambda F, z: F.softplus(z, threshold=1e9),
    "tanh": lambda F, z: F.tanh(z),
    "softmax": lambda F, z: F.softmax(z, dim=-1),
    "log_softmax": lambda F, z: F.log_softmax(z, dim=-1),
}


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 1, 5, 3), (3,), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS, ids=str)
def test_dense_equals_torch_to_second_order(torch, name, bias, shape):
    x = RNG.standard_normal(shape)
    given = [x, W, B] if bias else [x, W]
    ts = [cr.tensor(a, requires_grad=True) for a in given]
    us = [torch.tensor(a, requires_grad=True) for a in given]
    y = ops.dense(*ts, activation=None if name is None else getattr(ops, name))
    z = ACTIVATIONS[name](torch.nn.functional, torch.nn.functional.linear(*us))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-14)
    c = np.cos(np.arange(y.size)).reshape(y.shape)
    gs = cr.autograd.grad(y, ts, c, create_graph=True)
    hs = torch.autograd.grad(z, us, torch.tensor(c), create_graph=True)
    for g, h in zip(gs, hs, strict=True):
        assert g.shape == tuple(h.shape)
        np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy(), rtol=1e-10, atol=1e-13)
    seconds = cr.autograd.grad(sum((g * g).sum() for g in gs), ts)
    wanted = torch.autograd.grad(sum((h * h).sum() for h in hs), us, allow_unused=True)
    for g, h in zip(seconds, wanted, strict=True):
        expected = 0 if h is None else h.numpy()
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS, ids=str)
def test_a_layer_with_its_activation_is_one_node(name):
    x, w, b = (cr.tensor(a, requires_grad=True) for a in (RNG.standard_normal((5, 3)), W, B))
    y = ops.dense(x, w, b, activation=None if name is None else getattr(ops, name))
    assert y._node.op.name == "dense"
    assert y._node.edges == (x, w, b)


def test_what_a_node_keeps():
    """A ReLU layer keeps its input, weights and output; only some heads need the product."""
    x, w, b = (cr.tensor(a, requires_grad=True) for a in (RNG.standard_normal((5, 3)), W, B))
    z = x.detach().numpy() @ W.T
    for f in (None, ops.relu, ops.tanh, ops.softmax):
        assert ops.dense(x, w, b, activation=f)._node.residuals == ()
    for f in (ops.gelu, ops.silu, ops.sigmoid):
        product, *_ = ops.dense(x, w, b, activation=f)._node.residuals
        np.testing.assert_allclose(product, z, rtol=1e-13)
    frozen = ops.dense(cr.tensor(RNG.standard_normal((5, 3))), w, b, activation=ops.relu)._node
    assert frozen.inputs[1] is None  # without dx the weights are not needed
    assert frozen.needed == (False, True, True)


def test_attributes_of_the_activation():
    x = RNG.standard_normal((5, 3))
    y = ops.dense(x, W, B, activation=ops.leaky_relu, negative_slope=0.3)
    np.testing.assert_allclose(y, ops.leaky_relu(x @ W.T + B, 0.3), rtol=1e-13)
    cr.check_gradients(lambda x, w: ops.dense(x, w, activation=ops.elu, alpha=0.5), x, W)


def test_inputs_stay_and_results_are_new():
    x, w, b = RNG.standard_normal((5, 3)), W.copy(), B.copy()
    before = [a.copy() for a in (x, w, b)]
    y = ops.dense(x, w, b, activation=ops.relu)
    for a, c in zip((x, w, b), before, strict=True):
        np.testing.assert_array_equal(a, c)
        assert not np.shares_memory(y, a)
    cut = np.zeros((5, 6))
    cut[:, ::2] = x
    np.testing.assert_allclose(ops.dense(cut[:, ::2], w, b, activation=ops.relu), y, rtol=1e-14)


def test_types():
    w32, b32 = W.astype(np.float32), B.astype(np.float32)
    x = RNG.standard_normal((5, 3))
    assert ops.dense(x, w32, b32).dtype == np.float32  # raw data follows the weights
    assert ops.dense(np.arange(6).reshape(2, 3), w32).dtype == np.float32
    t = cr.tensor(x.astype(np.float32), requires_grad=True)
    y = ops.dense(t, w32, b32, activation=ops.gelu)
    (g,) = cr.autograd.grad(y.sum(), [t], create_graph=True)
    (h,) = cr.autograd.grad(g.sum(), [t])
    assert y.dtype == g.dtype == h.dtype == np.float32


class Layer(Module):
    def __init__(self):
        self.weight = Parameter(W.astype(np.float32))

    def forward(self, x):
        return ops.dense(x, self.weight)

    def __repr__(self):
        return "Layer(3 -> 4)"


def test_a_tensor_of_another_type_names_the_layer():
    with pytest.raises(
        TypeError,
        match=r"model Layer\(3 -> 4\): x is a float64 tensor, the weights are float32; convert "
        r"one, for example x\.astype\('float32'\) or model\.double\(\)",
    ):
        Layer()(cr.tensor(np.ones((2, 3))))
    with pytest.raises(TypeError, match=r"dense: x is a float32 .*model\.float\(\)"):
        ops.dense(cr.tensor(np.ones((2, 3), np.float32)), W)


def test_linear_is_dense_without_activation():
    x = RNG.standard_normal((5, 3))
    np.testing.assert_array_equal(ops.linear(x, W, B), ops.dense(x, W, B))
    assert not tape.state.frame


def test_a_list_is_data_in_the_type_of_the_weights():
    w = cr.tensor(W.astype(np.float32), requires_grad=True)
    y = ops.dense([[1, 2, 3]], w)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.detach().numpy(), [W @ [1, 2, 3]], rtol=1e-6)
    with pytest.raises(ShapeError, match=r"expected x: \(B, 3\), got \(2,\)"):
        ops.dense([1, 2], w)
