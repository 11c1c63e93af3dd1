"""Errata of layers, of backpropagation and of derivatives per weight."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

import chainrule as cr
from errata.measured import (
    ROUNDING,
    SHAPE,
    Errors,
    array,
    differences,
    erratum,
    error,
    gradient,
    off,
    rng,
    sigma,
    slopes,
    softmax,
)


@erratum("E000-01", within=ROUNDING)
def dense_product() -> Errors:
    """`cr.ops.linear` and W·x of a square W, beside the sum Σᵢ wᵢⱼ xᵢ + bⱼ."""
    r = rng(1)
    W, x, b = r.normal(size=(4, 4)), r.normal(size=4), r.normal(size=4)
    by_hand = [sum(W[i, j] * x[i] for i in range(4)) + b[j] for j in range(4)]
    return error(W @ x + b, by_hand), off(cr.ops.linear(x, W.T, b), by_hand)


@erratum("E000-02", within=ROUNDING)
def dense_sum() -> Errors:
    """`cr.ops.linear` of 5 inputs and 3 neurons; the printed sum stops after 3 inputs."""
    r = rng(2)
    W, x = r.normal(size=(5, 3)), r.normal(size=5)
    expected = np.einsum("ij,i->j", W, x)
    return error(W[:3].T @ x[:3], expected), off(cr.ops.linear(x, W.T), expected)


@erratum("E000-03", within=ROUNDING)
def network() -> Errors:
    """Three `cr.nn.Dense` with tanh; the printed formula applies tanh once, at the end."""
    r = rng(3)
    Ws, bs, X = r.normal(size=(3, 4, 4)), r.normal(size=(3, 4)), r.normal(size=(6, 4))
    expected = X
    for W, b in zip(Ws, bs, strict=True):
        expected = np.tanh(np.einsum("ni,ij->nj", expected, W) + b)
    printed = np.tanh(((X @ Ws[0] + bs[0]) @ Ws[1] + bs[1]) @ Ws[2] + bs[2])
    model = cr.nn.Sequential(
        *[layer for _ in range(3) for layer in (cr.nn.Dense(4, 4), cr.nn.Tanh())]
    ).double()
    for layer, W, b in zip(list(model)[::2], Ws, bs, strict=True):
        layer.weight.assign(W.T)
        layer.bias.assign(b)
    return error(printed, expected), off(model(X), expected)


@erratum("E000-04", within=5e-3)
def dropout() -> Errors:
    """The mean of `cr.ops.dropout` of 400,000 ones at p = 0.2, which is to stay 1; all zeros
    at p = 1."""
    ones, p = np.ones(400_000), 0.2
    kept = rng(4).random(ones.size) < p
    library = array(cr.ops.dropout(ones, p))
    assert not array(cr.ops.dropout(ones, 1.0)).any()
    return abs((ones * kept / (1 - p)).mean() - 1), abs(library.mean() - 1)


@cache
def _net() -> SimpleNamespace:
    """Three tanh layers ``a_l = tanh(W_l a_{l-1} + b_l)``, the mean squared error, what is known
    of it by differences."""
    r = rng(5)
    n = SimpleNamespace(W=r.normal(size=(4, 4, 4)), b=r.normal(size=(4, 4)))  # layer 0 unused
    n.x, n.y = r.normal(size=4), r.normal(size=4)
    n.a, n.z = [n.x], [n.x]
    for layer in (1, 2, 3):
        n.z.append(n.W[layer] @ n.a[-1] + n.b[layer])
        n.a.append(np.tanh(n.z[-1]))

    def loss(a3: Any) -> Any:
        return np.mean((a3 - n.y) ** 2)

    def rest(z2: Any) -> Any:
        return loss(np.tanh(n.W[3] @ np.tanh(z2) + n.b[3]))

    n.by_a3 = differences(loss, n.a[3])
    n.by_z3 = differences(lambda z: loss(np.tanh(z)), n.z[3])
    n.by_z2 = differences(rest, n.z[2])
    n.by_W2 = differences(lambda M: rest(M @ n.a[1] + n.b[2]), n.W[2])
    n.tanh = [1 - a**2 for a in n.a]
    n.delta3 = 2 * (n.a[3] - n.y) / 4 * n.tanh[3]
    return n


def _layer(x: Any, W: Any, b: Any) -> Any:
    return cr.ops.dense(x, W, b, cr.ops.tanh)


def _rest(n: SimpleNamespace, z2: Any) -> Any:
    """The loss from the pre-activation of layer 2, by the library."""
    return cr.ops.mse_loss(_layer(cr.ops.tanh(z2), n.W[3], n.b[3]), n.y)


@erratum("E000-13")
def error_signal() -> Errors:
    """δ_L beside the differences by a_L (as it is called) and by z_L (what it is);
    `cr.grad` by z_L."""
    n = _net()
    ours = gradient(lambda z: cr.ops.mse_loss(cr.ops.tanh(z), n.y), n.z[3])
    return error(n.delta3, n.by_a3), off(ours, n.by_z3)


@erratum("E000-14", within=ROUNDING)
def input_of_a_layer() -> Errors:
    """z₁ with the output of layer 2 as its input; `cr.ops.linear` of the layer before."""
    n = _net()
    return error(n.W[1] @ n.a[2] + n.b[1], n.z[1]), off(cr.ops.linear(n.x, n.W[1], n.b[1]), n.z[1])


@erratum("E000-15")
def hidden_signal() -> Errors:
    """δ₂ of a tanh network with W₂ᵀ for W₃ᵀ; `cr.grad` by z₂; central differences."""
    n = _net()
    printed = (n.W[2].T @ n.delta3) * n.tanh[2]
    return error(printed, n.by_z2), off(gradient(lambda z: _rest(n, z), n.z[2]), n.by_z2)


@erratum("E000-16")
def weight_gradient() -> Errors:
    """∇W₂ with the activations of layer 3 (the better of both outer products); `cr.grad`;
    central differences."""
    n = _net()
    delta = (n.W[3].T @ n.delta3) * n.tanh[2]
    printed = min(off(np.outer(*pair), n.by_W2) for pair in ((delta, n.a[3]), (n.a[3], delta)))
    ours = gradient(lambda M: _rest(n, cr.ops.linear(n.a[1], M, n.b[2])), n.W[2])
    return printed, off(ours, n.by_W2)


@erratum("E000-17")
def activation_layer() -> Errors:
    """σ'(z) of tanh beside ∂𝓛/∂a by differences; the library's derivative of tanh beside ∂σ/∂z."""
    n = _net()
    ours = slopes(cr.ops.tanh, n.z[3])
    return error(n.tanh[3], n.by_a3), off(ours, np.diag(differences(np.tanh, n.z[3])))


def _cross_entropy(t: Any) -> Any:
    return lambda z: -np.sum(t * np.log(softmax(z)))


@erratum("E000-28")
def softmax_output() -> Errors:
    """𝓛' ⊙ softmax', which is a 3×3 matrix; `cr.grad` of −Σ t log softmax(z); differences."""
    z, t = rng(6).normal(size=3), np.eye(3)[0]
    a = softmax(z)
    J = np.diag(a) - np.outer(a, a)
    expected = differences(_cross_entropy(t), z)
    ours = gradient(lambda v: -(t * cr.ops.log(cr.ops.softmax(v))).sum(), z)
    return error(-t / a * J, expected), off(ours, expected)


# -- note 001: one hidden layer, then several; weights are in×out ---------------------------------


@cache
def _lecture() -> SimpleNamespace:
    """Two sigmoid layers of 3, half the squared error, and its differences."""
    r = rng(7)
    n = SimpleNamespace(Wo=r.normal(size=(3, 3)), net_z=r.normal(size=3), y=r.uniform(size=3))
    n.z = sigma(n.net_z)
    n.net_o = n.Wo.T @ n.z
    n.o = sigma(n.net_o)
    n.delta_o = (n.o - n.y) * n.o * (1 - n.o)
    n.half = lambda o: 0.5 * np.sum((n.y - o) ** 2)
    n.by_net_z = differences(lambda u: n.half(sigma(n.Wo.T @ sigma(u))), n.net_z)
    n.by_Wo = differences(lambda M: n.half(sigma(M.T @ n.z)), n.Wo)
    return n


def _half(o: Any, y: Any) -> Any:
    return 0.5 * cr.ops.mse_loss(o, y, reduction="sum")


@erratum("E001-01")
def half_squared_error() -> Errors:
    """∂ε/∂o of ½‖y − o‖² with inner derivative +1; `cr.ops.mse_loss` halved; differences."""
    n = _lecture()
    expected = differences(n.half, n.o)
    return error(n.y - n.o, expected), off(gradient(lambda o: _half(o, n.y), n.o), expected)


@erratum("E001-02")
def tanh_of_net() -> Errors:
    """1 − net² and the library's derivative of tanh, beside central differences."""
    net = rng(8).normal(size=4)
    expected = np.diag(differences(np.tanh, net))
    return error(1 - net**2, expected), off(slopes(cr.ops.tanh, net), expected)


@erratum("E001-03")
def relu_output() -> Errors:
    """∂ε/∂net_o with a ReLU output: the step {0, 1} alone; `cr.grad`; central differences."""
    net, y = np.array([0.7, -0.4, 1.2]), _lecture().y
    expected = differences(lambda u: 0.5 * np.sum((np.maximum(u, 0) - y) ** 2), net)
    ours = gradient(lambda u: _half(cr.ops.relu(u), y), net)
    return error(net > 0, expected), off(ours, expected)


@erratum("E001-04")
def hidden_net_gradient() -> Errors:
    """δ_h with W_oᵀ for W_o (in×out, square here); `cr.grad` by net_z; differences."""
    n = _lecture()
    ours = gradient(
        lambda u: _half(cr.ops.dense(cr.ops.sigmoid(u), n.Wo.T, None, cr.ops.sigmoid), n.y),
        n.net_z,
    )
    printed = (n.Wo.T @ n.delta_o) * n.z * (1 - n.z)
    return error(printed, n.by_net_z), off(ours, n.by_net_z)


@erratum("E001-05")
def outer_product() -> Errors:
    """∇W_o as z ⊙ δ_oᵀ, a vector; `cr.grad` by the matrix; differences."""
    n = _lecture()
    ours = gradient(
        lambda M: _half(cr.ops.dense(n.z, cr.ops.matrix_transpose(M), None, cr.ops.sigmoid), n.y),
        n.Wo,
    )
    return error(n.z * n.delta_o.T, n.by_Wo), off(ours, n.by_Wo)


@erratum("E001-06")
def softmax_signal() -> Errors:
    """δ of cross entropy behind softmax from the Jacobian's diagonal; `cr.grad`; differences."""
    net, y = rng(9).normal(size=3), np.eye(3)[1]
    o = softmax(net)
    expected = differences(_cross_entropy(y), net)
    ours = gradient(lambda v: -(y * cr.ops.log(cr.ops.softmax(v))).sum(), net)
    return error(-y / o * o * (1 - o), expected), off(ours, expected)


@erratum("E001-07")
def deep_signal() -> Errors:
    """∂ε/∂net_l of a sigmoid layer without its weight matrix; `cr.grad`; differences."""
    n = _lecture()
    printed = n.z * (1 - n.z) * n.delta_o
    ours = gradient(
        lambda u: _half(cr.ops.sigmoid(cr.ops.linear(cr.ops.sigmoid(u), n.Wo.T)), n.y), n.net_z
    )
    return error(printed, n.by_net_z), off(ours, n.by_net_z)


# -- note 002: one derivative for every weight ----------------------------------------------------


@cache
def _per_weight() -> SimpleNamespace:
    """Layers 0 to 3, all tanh, ``φ^l(W^l a + b^l)``."""
    r = rng(10)
    n = SimpleNamespace(W=r.normal(size=(4, 3, 3)), b=r.normal(size=(4, 3)), x=r.normal(size=3))
    n.inputs, n.slope = [n.x], []
    for W, b in zip(n.W, n.b, strict=True):
        n.inputs.append(np.tanh(W @ n.inputs[-1] + b))
        n.slope.append(1 - n.inputs[-1] ** 2)
    return n


def _plain(W: Any, b: Any, x: Any, last: Any = np.tanh) -> Any:
    for k, (M, v) in enumerate(zip(W, b, strict=True)):
        x = (last if k == len(W) - 1 else np.tanh)(M @ x + v)
    return x


@erratum("E002-01", within=ROUNDING)
def number_of_layers() -> Errors:
    """A network of layers 0 to 3 without layer 0, as the text counts; four `cr.ops.dense`."""
    n = _per_weight()
    expected = _plain(n.W, n.b, n.x)
    h: Any = n.x
    for W, b in zip(n.W, n.b, strict=True):
        h = _layer(h, W, b)
    return error(_plain(n.W[1:], n.b[1:], n.x), expected), off(h, expected)


@erratum("E002-03")
def elided_chain() -> Errors:
    """∂ŷ/∂W⁰ᵢⱼ with the elided factors read as ⊙ only; `cr.jvp`; central differences."""
    n = _per_weight()
    rest = differences(lambda M: _plain([M, *n.W[1:]], n.b, n.x), n.W[0])
    printed, ours = np.empty_like(rest), np.empty_like(rest)

    def output(M: Any) -> Any:
        h: Any = n.x
        for W, b in zip([M, *n.W[1:]], n.b, strict=True):
            h = _layer(h, W, b)
        return h

    for i, j in np.ndindex(3, 3):
        v = np.zeros(3)
        v[i] = n.slope[0][i] * n.x[j]
        v = n.W[2] @ (n.slope[1] * (n.W[1] @ v))
        printed[:, i, j] = n.slope[3] * n.slope[2] * v
        direction = np.zeros((3, 3))
        direction[i, j] = 1.0
        ours[:, i, j] = array(cr.jvp(output, (n.W[0],), (direction,))[1])
    return error(printed, rest), off(ours, rest)


@erratum("E002-04")
def softmax_per_weight() -> Errors:
    """∂ŷ/∂W³ᵢⱼ of a softmax output by its diagonal; `cr.jacobian`; central differences."""
    n = _per_weight()
    a, z = n.inputs[3], n.W[3] @ n.inputs[3] + n.b[3]
    s = softmax(z)
    expected = differences(lambda M: softmax(M @ a + n.b[3]), n.W[3])
    printed = np.einsum("ki,i,j->kij", np.eye(3), s * (1 - s), a)
    ours = cr.jacobian(lambda M: cr.ops.softmax(cr.ops.linear(a, M, n.b[3])))(n.W[3])
    return error(printed, expected), off(ours, expected)


# -- note 003: sensitivities; weights are out×in --------------------------------------------------


@cache
def _sensitivities() -> SimpleNamespace:
    r = rng(11)
    return SimpleNamespace(
        W=r.normal(size=(4, 4)), a=r.normal(size=4), b=r.normal(size=4), s=r.normal(size=4)
    )


def _cost(n: SimpleNamespace, W: Any, b: Any) -> Any:
    return np.sum((np.tanh(W @ n.a + b) - n.s) ** 2)


def _cost_by_library(n: SimpleNamespace, W: Any, b: Any) -> Any:
    return cr.ops.mse_loss(_layer(n.a, W, b), n.s, reduction="sum")


@erratum("E003-01", within=ROUNDING)
def scalar_forward() -> Errors:
    """Σᵢ wᵢⱼ aⱼ + b, summed over the index that stays; `cr.ops.linear`; the sum over j."""
    n = _sensitivities()
    expected = np.einsum("ij,j->i", n.W, n.a) + n.b
    return error(n.W.sum(0) * n.a + n.b, expected), off(cr.ops.linear(n.a, n.W, n.b), expected)


@erratum("E003-05")
def chain_rule_index() -> Errors:
    """∂c/∂aᵢ = sᵢ wᵢᵢ, the sum over i taken literally; `cr.grad`; differences of s·(W a)."""
    n = _sensitivities()
    expected = differences(lambda a: n.s @ (n.W @ a), n.a)
    ours = gradient(lambda a: (n.s * cr.ops.linear(a, n.W)).sum(), n.a)
    return error(n.s * np.diag(n.W), expected), off(ours, expected)


@erratum("E003-06", within=ROUNDING)
def column_times_column() -> Errors:
    """wⱼ s of two columns of 3; `cr.vjp` of `cr.ops.linear`; the sum Σᵢ wᵢⱼ sᵢ."""
    r = rng(12)
    W, s = r.normal(size=(3, 2)), r.normal(size=3)
    expected = np.einsum("ij,i->j", W, s)
    try:
        printed = error(W[:, [0]] @ s[:, None], expected[:1])
    except ValueError:
        printed = SHAPE
    _, pull = cr.vjp(lambda a: cr.ops.linear(a, W), np.zeros(2))
    return printed, off(pull(s)[0], expected)


@erratum("E003-08")
def weight_sensitivity() -> Errors:
    """∂c/∂wᵢⱼ = sᵢ aᵢ of a tanh layer; `cr.grad`; central differences."""
    n = _sensitivities()
    expected = differences(lambda W: _cost(n, W, n.b), n.W)
    out = np.tanh(n.W @ n.a + n.b)
    s = 2 * (out - n.s) * (1 - out**2)
    ours = gradient(lambda W: _cost_by_library(n, W, n.b), n.W)
    return error(np.outer(s * n.a, np.ones(4)), expected), off(ours, expected)


@erratum("E003-09")
def bias_gradient() -> Errors:
    """∂c/∂b of a tanh layer, taken for 0 where the note gives none; `cr.grad`; differences."""
    n = _sensitivities()
    expected = differences(lambda b: _cost(n, n.W, b), n.b)
    ours = gradient(lambda b: _cost_by_library(n, n.W, b), n.b)
    return error(np.zeros(4), expected), off(ours, expected)


@erratum("E003-16")
def general_jacobian() -> Errors:
    """J λ' for a = z/Σz, whose Jacobian is not symmetric; `cr.vjp`; central differences."""
    r = rng(13)
    z, lam = r.uniform(0.5, 2, 4), r.normal(size=4)
    J = differences(lambda v: v / v.sum(), z)
    expected = differences(lambda v: lam @ (v / v.sum()), z)
    _, pull = cr.vjp(lambda v: v / v.sum(), z)
    return error(J @ lam, expected), off(pull(lam)[0], expected)


@erratum("X-03", within=ROUNDING)
def orientation() -> Errors:
    """W x of a matrix kept in×out, beside Σᵢ xᵢ wᵢⱼ; `cr.ops.linear` takes out×in."""
    r = rng(14)
    W, x = r.normal(size=(3, 3)), r.normal(size=3)
    expected = np.einsum("i,ij->j", x, W)
    return error(W @ x, expected), off(cr.ops.linear(x, W.T), expected)
