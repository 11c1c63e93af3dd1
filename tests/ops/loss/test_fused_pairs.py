"""Heads and losses whose gradients meet (ledger P-01 to P-08): the pair in two steps, through the
Jacobian of the head, gives what the fused form gives."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

RNG = np.random.default_rng(0)
Z = RNG.standard_normal((5, 4)) * 2
LABELS = np.array([0, 3, 1, 1, 2])
HOT = np.eye(4)[LABELS]
T = RNG.uniform(size=(5, 4))  # several labels beside each other, not adding up to 1


def gradient(f, z=Z):
    return cr.grad(f)(z).numpy()


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("target", [LABELS, HOT], ids=["indices", "one-hot"])
def test_softmax_and_cross_entropy(target):
    """P-01, P-03; erratum E000-20: the mean has the 1/N."""
    a = ops.softmax(Z)
    n = len(Z)
    for reduction, scale in (("mean", n), ("sum", 1), ("batchmean", n)):
        fused = gradient(lambda z, r=reduction: ops.cross_entropy(z, target, reduction=r))
        two = gradient(
            lambda z, r=reduction: ops.categorical_cross_entropy(
                ops.softmax(z), target, reduction=r
            )
        )
        close(fused, (a - HOT) / scale)
        close(two, fused)
    logs = gradient(lambda z: ops.nll_loss(ops.log_softmax(z), LABELS))
    close(logs, (a - HOT) / n)


def test_softmax_and_cross_entropy_with_general_targets():
    """P-02, erratum E003-19: a Σt - t, which is a - t only where t adds up to 1."""
    a = ops.softmax(Z)
    fused = gradient(lambda z: ops.cross_entropy(z, T, reduction="sum"))
    close(fused, a * T.sum(axis=1, keepdims=True) - T)
    assert np.abs(fused - (a - T)).max() > 0.1
    # the sum over p of -(t_p / a_p) a_p (δ_ip - a_i), as the note writes it
    jacobian = np.einsum("np,pi->npi", a, np.eye(4)) - np.einsum("np,ni->npi", a, a)
    close(np.einsum("np,npi->ni", -T / a, jacobian), fused)
    normalised = T / T.sum(axis=1, keepdims=True)
    close(gradient(lambda z: ops.cross_entropy(z, normalised, reduction="sum")), a - normalised)


@pytest.mark.parametrize("f", [ops.sigmoid, ops.logistic])
def test_logistic_and_binary_cross_entropy(f):
    """P-04, P-08: a - t element by element, several neurons beside each other."""
    a = ops.sigmoid(Z)
    fused = gradient(lambda z: ops.binary_cross_entropy_with_logits(z, T, reduction="sum"))
    two = gradient(lambda z: ops.binary_cross_entropy(f(z), T, reduction="sum"))
    close(fused, a - T)
    close(two, fused)
    close(
        ops.binary_cross_entropy_with_logits(Z, T, reduction="none"),
        ops.softplus(Z) - T * Z,
    )
    slope = gradient(lambda p: ops.binary_cross_entropy(p, T, reduction="sum"), a)
    close(slope, (a - T) / (a * (1 - a)))  # L-08


def test_two_classes_of_softmax_are_the_logistic():
    """P-05, erratum E003-20: a_1 = e^z / (e^z + 1) with z = z_1 - z_2."""
    z = Z[:, :2]
    difference = z[:, 0] - z[:, 1]
    close(ops.softmax(z)[:, 0], ops.sigmoid(difference))
    t = T[:, 0]
    both = np.stack([t, 1 - t], axis=1)
    close(
        ops.cross_entropy(z, both, reduction="none"),
        ops.binary_cross_entropy_with_logits(difference, t, reduction="none"),
    )
    g = gradient(lambda z: ops.cross_entropy(z, both, reduction="sum"), z)
    s = gradient(lambda d: ops.binary_cross_entropy_with_logits(d, t, reduction="sum"), difference)
    close(g, np.stack([s, -s], axis=1))


def test_sigmoid_and_squared_error():
    """P-06 with the factor ½, P-07 without: twice as steep. No cancellation: it saturates."""
    o = ops.sigmoid(Z)
    half = gradient(lambda z: ops.half_squared_error(ops.sigmoid(z), T, reduction="sum"))
    full = gradient(lambda z: ops.mse_loss(ops.sigmoid(z), T, reduction="sum"))
    close(half, (o - T) * o * (1 - o))
    close(full, 2 * (o - T) * o * (1 - o))
    far = np.array([40.0])
    stuck = gradient(lambda z: ops.mse_loss(ops.sigmoid(z), np.zeros(1)), far)
    moving = gradient(lambda z: ops.binary_cross_entropy_with_logits(z, np.zeros(1)), far)
    assert stuck < 1e-15
    assert moving == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_fusing_saves(dtype):
    """A confident mistake: the two steps lose the gradient, the fused form keeps it."""
    z = np.array([[200.0, 0.0]], dtype)
    label = np.array([1])
    two = gradient(lambda z: ops.categorical_cross_entropy(ops.softmax(z), label), z)
    fused = gradient(lambda z: ops.cross_entropy(z, label), z)
    close(fused, [[1.0, -1.0]])
    assert np.isfinite(two).all()
    assert np.abs(two).max() < 0.5
