"""Backpropagation through activations whose outputs depend on all inputs: vectors and Jacobians.

Ledger B-21 to B-25 and F-14. A Jacobian's row is an output, its column an input: ``J_ik = ∂a_i /
∂z_k``. Cotangents are pulled back by its transpose, which can be told from J only where J is not
symmetric, so two activations here are not (erratum E003-16).
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

RNG = np.random.default_rng()


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state


@cr.formula
def gated(xp: Any, x: Any) -> Any:
    """Every entry times the mean of all gates."""
    return x * xp.mean(xp.sigmoid(x), axis=-1, keepdims=True)


@cr.formula
def shared(xp: Any, x: Any) -> Any:
    """Every entry as its part of the sum of sizes."""
    return x / (1.0 + xp.sum(xp.abs(x), axis=-1, keepdims=True))


def jacobian_of_softmax(z: Any) -> Any:
    a = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    return a, np.diag(a) - np.outer(a, a)


def jacobian_of_sigmoid(z: Any) -> Any:
    a = 1 / (1 + np.exp(-z))
    return a, np.diag(a * (1 - a))


def jacobian_of_gated(z: Any) -> Any:
    """``a_i = z_i m``, m the mean gate: ``J_ik = m δ_ik + z_i σ'(z_k) / n``."""
    s, slope = jacobian_of_sigmoid(z)
    return z * s.mean(), s.mean() * np.eye(len(z)) + np.outer(z, np.diag(slope)) / len(z)


def jacobian_of_shared(z: Any) -> Any:
    """``a_i = z_i / r``, r = 1 + Σ|z|: ``J_ik = δ_ik / r - z_i sign(z_k) / r²``."""
    r = 1 + np.abs(z).sum()
    return z / r, np.eye(len(z)) / r - np.outer(z, np.sign(z)) / r**2


VECTOR: dict[str, tuple[Any, Any]] = {
    "softmax": (ops.softmax, jacobian_of_softmax),
    "sigmoid": (ops.sigmoid, jacobian_of_sigmoid),
    "gated": (gated, jacobian_of_gated),
    "shared": (shared, jacobian_of_shared),
}
SYMMETRIC = {"softmax", "sigmoid"}
HIDDEN, HEAD = 5, 4


def value(t: Any) -> Any:
    return t.detach().numpy()


def close(got: Any, wanted: Any) -> None:
    got = value(got) if isinstance(got, cr.Tensor) else got
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def far(a: Any, b: Any) -> bool:
    return bool(np.abs(a - b).max() > 1e-3 * np.abs(a).max())


@pytest.mark.parametrize("name", VECTOR)
def test_rows_are_outputs_and_columns_inputs(name: str) -> None:
    """B-23, F-14: `jacobian` gives J; `vjp` gives Jᵀ g, `jvp` J v."""
    f, by_hand = VECTOR[name]
    z, g = RNG.standard_normal((2, HEAD))
    a, J = by_hand(z)
    close(f(z), a)
    close(cr.jacobian(f)(cr.tensor(z)), J)
    close(cr.vjp(f, cr.tensor(z))[1](cr.tensor(g))[0], J.T @ g)
    close(cr.jvp(f, cr.tensor(z), cr.tensor(g))[1], J @ g)
    assert far(J, J.T) == (name not in SYMMETRIC)


@pytest.mark.parametrize("head", VECTOR)
@pytest.mark.parametrize("hidden", VECTOR)
def test_backpropagation_with_jacobians_of_any_kind(hidden: str, head: str) -> None:
    """B-21 to B-23: ``s^L = Jᵀ λ'``, ``s^{l-1} = Jᵀ Wᵀ s^l``, in the same layers as the rest.

    What note 003 prints, J for Jᵀ, is right for symmetric ones alone (erratum E003-16).
    """
    first = cr.nn.Dense(3, HIDDEN, activation=VECTOR[hidden][0]).double()
    second = cr.nn.Dense(HIDDEN, HEAD, activation=VECTOR[head][0]).double()
    model = cr.nn.Sequential(first, second)
    x, target = 3 * RNG.standard_normal((6, 3)), RNG.random((6, HEAD))

    def cost(a: Any, t: Any) -> Any:  # depends on the outputs jointly
        return (((a - t) ** 2).sum(axis=-1) + 1.0).log().sum()

    got = cr.per_sample_gradients(model, cost, x, target)
    cost(model(x), target).backward()
    dW = np.zeros(second.weight.shape)
    for n in range(6):
        a1, J1 = VECTOR[hidden][1](value(first.weight) @ x[n] + value(first.bias))
        a2, J2 = VECTOR[head][1](value(second.weight) @ a1 + value(second.bias))
        slope = 2 * (a2 - target[n]) / (1 + ((a2 - target[n]) ** 2).sum())
        # s_i = Σ_p ∂c/∂a_p ∂a_p/∂z_i, as the sum and as the product
        s2 = np.array([sum(slope[p] * J2[p, i] for p in range(HEAD)) for i in range(HEAD)])
        close(s2, J2.T @ slope)
        s1 = J1.T @ value(second.weight).T @ s2
        close(got["1.bias"][n], s2)
        close(got["0.bias"][n], s1)
        close(got["1.weight"][n], np.outer(s2, a1))
        close(got["0.weight"][n], np.outer(s1, x[n]))
        dW += np.outer(s2, a1)
        assert far(s2, J2 @ slope) == (head not in SYMMETRIC)
        assert far(s1, J1 @ value(second.weight).T @ s2) == (hidden not in SYMMETRIC)
    close(second.weight.grad, dW)


def test_a_hidden_softmax_layer_index_by_index() -> None:
    """B-22: ``s_j^{l-1} = Σ_p a_p (δ_pj - a_j) w_pᵀ s^l`` with w_p the column p of W^l."""
    first = cr.nn.Dense(3, HIDDEN, activation="softmax").double()
    second = cr.nn.Dense(HIDDEN, HEAD, activation="tanh").double()
    x, t = RNG.standard_normal((1, 3)), RNG.standard_normal(HEAD)
    ((second(first(x)) - t) ** 2).sum().backward()
    a = value(first(x))[0]
    out = value(second(first(x)))[0]
    s = 2 * (out - t) * (1 - out**2)
    W = value(second.weight)
    wanted = [
        sum(a[p] * ((p == j) - a[j]) * (W[:, p] @ s) for p in range(HIDDEN)) for j in range(HIDDEN)
    ]
    close(first.bias.grad, wanted)


def test_a_softmax_output_layer() -> None:
    """B-25, B-12, B-01: ``δ = Jᵀ ∂ε/∂o`` with the whole matrix; with cross entropy ``o - y``.

    An element-wise product takes a vector and a matrix for a matrix, or keeps the diagonal alone
    (errata E000-28, E001-06).
    """
    z, y = RNG.standard_normal(HEAD), np.eye(HEAD)[2]
    o, J = jacobian_of_softmax(z)
    slope = -y / o
    delta = J.T @ slope
    close(delta, o - y)
    close(cr.grad(lambda z: -(y * ops.softmax(z).log()).sum())(cr.tensor(z)), delta)
    close(cr.grad(lambda z: ops.cross_entropy(z[None], np.array([2])))(cr.tensor(z)), delta)
    assert (J * slope).shape == (HEAD, HEAD)
    assert far(delta, np.diag(J) * slope)


def test_special_cases_need_no_matrix() -> None:
    """B-24: a diagonal Jacobian is an element-wise product, softmax two sums, the fused pair none.

    The 4096 × 4096 entries of J would take 128 MiB.
    """
    k = 4096
    z, g = RNG.standard_normal((2, 1, k))
    x = cr.tensor(z, requires_grad=True)
    pulls = {
        "sigmoid": lambda: (ops.sigmoid(x) * g).sum().backward(),
        "softmax": lambda: (ops.softmax(x) * g).sum().backward(),
        "fused": lambda: ops.cross_entropy(x, np.array([7])).backward(),
    }
    a = np.exp(z) / np.exp(z).sum()
    wanted = {
        "sigmoid": g * np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2,
        "softmax": a * (g - (a * g).sum()),
        "fused": a - (np.arange(k) == 7),
    }
    for name, pull in pulls.items():
        pull()  # kernels are built the first time
        x.grad = None
        tracemalloc.start()
        pull()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20, name
        close(x.grad, wanted[name])
        x.grad = None
