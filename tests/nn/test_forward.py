"""The forward pass in the forms of all notes: sums, matrices, samples in rows, whole networks.

Ledger F-01 to F-15. A weight is ``(out, in)``; W' is its transpose, as notes 000 and 001 have it.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError

RNG = np.random.default_rng()


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state


def value(t: Any) -> Any:
    return t.detach().numpy()


def close(got: Any, wanted: Any) -> None:
    np.testing.assert_allclose(value(got), wanted, rtol=1e-13, atol=1e-14)


def dense(i: int, o: int, activation: Any = None) -> tuple[cr.nn.Dense, Any, Any]:
    layer = cr.nn.Dense(i, o, activation=activation).double()
    return layer, value(layer.weight), value(layer.bias)


def test_one_layer_in_every_form() -> None:
    """F-01, F-02, F-04, F-11, F-12: errata E000-01, E000-02, E003-01."""
    layer, W, b = dense(3, 4)
    X = RNG.standard_normal((6, 3))
    rows = layer(X)
    close(rows, X @ W.T + b)  # Z = X W' + b, b to every row
    for x, z in zip(X, value(rows), strict=True):
        close(layer(x), W @ x + b)  # z = W x + b
        close(layer(x), W.T.T @ x + b)  # z = W'ᵀ x + b
        sums = [sum(W[j, i] * x[i] for i in range(3)) + b[j] for j in range(4)]
        np.testing.assert_allclose(sums, z, rtol=1e-13)
    # as printed, W' x with W' (in, out), does not fit, nor does a layer fed with its outputs
    with pytest.raises(ValueError, match="matmul"):
        W.T @ X[0]
    with pytest.raises(ShapeError, match=r"expected x: \(B, 3\), got \(6, 4\)"):
        layer(value(rows))


NAMES = ("tanh", "sigmoid", "elu", "softmax")


def test_whole_networks() -> None:
    """F-03, F-05 to F-09: layer by layer, and as one nested expression; every layer has its own f.

    Without the activations, as note 000 composes it, the network is one affine map (E000-03).
    """
    sizes = (3, 5, 4, 6, 2)
    layers = [dense(i, o, f) for i, o, f in zip(sizes, sizes[1:], NAMES, strict=False)]
    model = cr.nn.Sequential(*(layer for layer, _, _ in layers))
    fs = [getattr(ops, f) for f in NAMES]
    X = RNG.standard_normal((7, 3))
    H = X
    for (_, W, b), f in zip(layers, fs, strict=True):
        H = f(H @ W.T + b)  # H_l = f_l(H_{l-1} W_l' + b_l)
    close(model(X), H)
    for x, y in zip(X, H, strict=True):
        z = x
        for (_, W, b), f in zip(layers, fs, strict=True):
            net = W @ z + b
            z = f(net)
        np.testing.assert_allclose(z, y, rtol=1e-12)
    (_, W0, b0), (_, W1, b1) = layers[:2]
    two = fs[1](W1 @ fs[0](W0 @ X[0] + b0) + b1)  # f^o(W_oᵀ f^h(W_hᵀ x + b_h) + b_o)
    close(model[:2](X[:1]), two[None])
    affine = X
    for _, W, b in layers:
        affine = affine @ W.T + b
    slope = np.linalg.multi_dot([W for _, W, _ in layers[::-1]])
    np.testing.assert_allclose(affine - affine[0], (X - X[0]) @ slope.T, atol=1e-12)
    assert np.abs(affine - H).max() > 0.1


def test_local_derivatives() -> None:
    """F-13: ``∂z_i/∂w_ij = a_j``, ``∂z_i/∂a_j = w_ij``, and ``∂z_i/∂b_i = 1`` (H-04, E003-09)."""
    _, W, b = dense(3, 4)
    a = RNG.standard_normal(3)
    by_weight = value(cr.jacobian(lambda W: ops.dense(a, W, b))(W))
    for i, k in product(range(4), repeat=2):
        np.testing.assert_array_equal(by_weight[i, k], a if i == k else 0 * a)
    np.testing.assert_array_equal(value(cr.jacobian(lambda a: ops.dense(a, W, b))(a)), W)
    np.testing.assert_array_equal(value(cr.jacobian(lambda b: ops.dense(a, W, b))(b)), np.eye(4))


def test_an_activation_may_mix_the_outputs_of_its_layer() -> None:
    """F-14: softmax in any layer; each output depends on every pre-activation."""
    layer, W, b = dense(3, 4, "softmax")
    x = RNG.standard_normal(3)
    z = W @ x + b
    a = np.exp(z) / np.exp(z).sum()
    close(layer(x), a)
    assert (value(cr.jacobian(ops.softmax)(z)) != 0).all()
    close(layer(np.stack([x, -x]))[0], a)  # of one sample, not over the batch


def test_output_heads() -> None:
    """F-15: independent answers as logistic neurons, or as classes of a softmax over combinations.

    Two yes/no questions are two neurons, or four classes whose scores add those of the answers.
    """
    z = RNG.standard_normal((6, 2))
    each = ops.sigmoid(z)
    combinations = np.array(list(product([0, 1], repeat=2)))
    joint = ops.softmax(z @ combinations.T)
    for k, (first, second) in enumerate(combinations):
        p = np.where(first, each[:, 0], 1 - each[:, 0])
        q = np.where(second, each[:, 1], 1 - each[:, 1])
        np.testing.assert_allclose(joint[:, k], p * q, rtol=1e-13)
    answers = RNG.integers(0, 2, (6, 2))
    labels = answers @ [2, 1]
    by_neuron = ops.binary_cross_entropy_with_logits(z, answers.astype(float), reduction="sum")
    by_class = ops.cross_entropy(z @ combinations.T, labels, reduction="sum")
    np.testing.assert_allclose(by_neuron, by_class, rtol=1e-13)


def test_two_classes_are_one_neuron() -> None:
    """L-08, P-05: softmax over a score and 0 is a logistic neuron, and so are their losses."""
    z, yes = RNG.standard_normal(6), RNG.random(6)
    a = ops.sigmoid(z)
    both = ops.softmax(np.stack([z, 0 * z], axis=1))
    np.testing.assert_allclose(both, np.stack([a, 1 - a], axis=1), rtol=1e-13)
    targets = np.stack([yes, 1 - yes], axis=1)
    of_one = ops.binary_cross_entropy(a, yes, reduction="none")
    np.testing.assert_allclose(
        of_one, ops.categorical_cross_entropy(both, targets, reduction="none"), rtol=1e-13
    )
    # by one of the two probabilities: (a - t) / (a (1 - a))
    slope = cr.grad(lambda a: ops.binary_cross_entropy(a, yes, reduction="sum"))(a)
    np.testing.assert_allclose(value(slope), (a - yes) / (a * (1 - a)), rtol=1e-12)
