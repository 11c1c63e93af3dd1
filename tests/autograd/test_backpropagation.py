"""The backward pass equals the equations of backpropagation, written out by hand in NumPy.

Ledger B-01 to B-20, A-20. The equations are in their right form; where a note prints another one,
the test shows that it gives something else. A weight matrix is ``(out, in)`` here, as in the
library; W' is the same one as ``(in, out)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

RNG = np.random.default_rng()


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Every test draws the same numbers, whichever tests run before it."""
    RNG.bit_generator.state = np.random.default_rng(2).bit_generator.state


#: name -> (value, derivative by the pre-activation), in plain NumPy
SCALAR: dict[str, tuple[Any, Any]] = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2,
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
    ),
}


def value(t: Any) -> Any:
    return t.detach().numpy()


def network(sizes: tuple[int, ...], names: tuple[str, ...]) -> cr.nn.Sequential:
    pairs = zip(sizes, sizes[1:], names, strict=False)
    return cr.nn.Sequential(
        *(cr.nn.Dense(i, o, activation=getattr(ops, f)) for i, o, f in pairs)
    ).double()


def by_hand(model: cr.nn.Sequential, names: tuple[str, ...], x: Any) -> tuple[list[Any], list[Any]]:
    """Pre-activations z_1 … z_L and outputs a_0 = x, a_1 … a_L, one sample a row."""
    zs, outputs = [], [x]
    for layer, name in zip(model, names, strict=True):
        zs.append(outputs[-1] @ value(layer.weight).T + value(layer.bias))
        outputs.append(SCALAR[name][0](zs[-1]))
    return zs, outputs


def deltas(model: cr.nn.Sequential, names: tuple[str, ...], zs: list[Any], slope: Any) -> list[Any]:
    """δ_1 … δ_L, the last first: ``δ_L = 𝓛' ⊙ f'(z_L)``, ``δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(z_l)``."""
    found = [slope * SCALAR[names[-1]][1](zs[-1])]
    for k in range(len(zs) - 2, -1, -1):
        back = found[0] @ value(model[k + 1].weight)
        found.insert(0, back * SCALAR[names[k]][1](zs[k]))
    return found


def half_squared(output: Any, y: Any) -> Any:
    """``½ Σ (o - y)²``, of which ``o - y`` is the derivative."""
    return ops.half_squared_error(output, y, reduction="sum")


def close(got: Any, wanted: Any) -> None:
    got = value(got) if isinstance(got, cr.Tensor) else got
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def apart(got: Any, wrong: Any) -> None:
    """What a note prints is something else, by more than rounding."""
    got = value(got) if isinstance(got, cr.Tensor) else got
    assert got.shape != wrong.shape or np.abs(got - wrong).max() > 1e-2 * np.abs(got).max()


HEADS = ["identity", "sigmoid", "tanh", "relu", "elu"]


@pytest.mark.parametrize("head", HEADS)
def test_the_error_signal_at_the_output(head: str) -> None:
    """B-01, B-06, B-07: ``δ_o = ∂ε/∂o ⊙ f'(net_o)``; the slope of tanh is 1 - o², not 1 - net_o².

    Errata E000-13, E001-01 to E001-03.
    """
    names = ("tanh", head)
    model, x = network((4, 5, 3), names), RNG.standard_normal((6, 4)) * 2
    y = RNG.standard_normal((6, 3))
    zs, outputs = by_hand(model, names, x)
    o = outputs[-1]
    delta = (o - y) * SCALAR[head][1](zs[-1])
    # the gradient of each sample by a bias is the error signal
    close(cr.per_sample_gradients(model, half_squared, x, y)["1.bias"], delta)
    written = {
        "sigmoid": (o - y) * o * (1 - o),
        "tanh": (o - y) * (1 - o**2),
        "relu": (o - y) * (zs[-1] > 0),
    }
    if head in written:
        close(delta, written[head])
    if head == "tanh":
        apart(delta, (o - y) * (1 - zs[-1] ** 2))
    if head != "identity":
        apart(delta, o - y)  # the gradient by the activations


MIXED = ("tanh", "sigmoid", "elu", "relu", "identity")
SIZES = (4, 6, 5, 5, 7, 3)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("names", [MIXED, ("sigmoid",) * 5, ("relu",) * 5])
def test_error_signals_and_gradients_of_a_deep_network(names: tuple[str, ...], batch: int) -> None:
    """B-02, B-03, B-12, B-13, B-17 and B-20: all layers, samples in rows.

    ``δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(z_l)``, ``∇W_l = Δ_lᵀ A_{l-1}``, ``∇b_l`` the sums of Δ_l's
    columns. Errata E000-14 to E000-16, E001-06, E001-07, E003-09.
    """
    model, x = network(SIZES, names), RNG.standard_normal((batch, 4))
    y = RNG.standard_normal((batch, 3))
    zs, outputs = by_hand(model, names, x)
    found = deltas(model, names, zs, outputs[-1] - y)
    half_squared(model(x), y).backward()
    of_samples = cr.per_sample_gradients(model, half_squared, x, y)
    for k, (layer, delta) in enumerate(zip(model, found, strict=True)):
        close(of_samples[f"{k}.bias"], delta)
        close(layer.weight.grad, delta.T @ outputs[k])
        close(layer.bias.grad, delta.sum(axis=0))
    # the matrix of its own layer in the recursion, where the shapes let it through
    printed = (found[2] @ value(model[1].weight)[:, :5]) * SCALAR[names[1]][1](zs[1])
    apart(found[1], printed)


def test_two_layers_with_matrices_from_input_to_output() -> None:
    """B-08 to B-10: one hidden layer of logistic neurons, one sample, W' ``(in, out)``.

    ``δ_h = (W'_o δ_o) ⊙ z ⊙ (1 - z)``, ``∇W'_o = z δ_oᵀ``, ``∇W'_h = x δ_hᵀ``, ``∇b_o = δ_o``,
    ``∇b_h = δ_h``. Errata E001-04, E001-05.
    """
    model = network((3, 4, 4), ("sigmoid", "sigmoid"))
    x, y = RNG.standard_normal(3), RNG.standard_normal(4)
    W_h, W_o = (value(layer.weight).T for layer in model)
    z = SCALAR["sigmoid"][0](W_h.T @ x + value(model[0].bias))
    o = SCALAR["sigmoid"][0](W_o.T @ z + value(model[1].bias))
    delta_o = (o - y) * o * (1 - o)
    delta_h = (W_o @ delta_o) * z * (1 - z)
    half_squared(model(x[None]), y[None]).backward()
    close(model[1].weight.grad.T, np.outer(z, delta_o))
    close(model[1].bias.grad, delta_o)
    close(model[0].weight.grad.T, np.outer(x, delta_h))
    close(model[0].bias.grad, delta_h)
    apart(delta_h, (W_o.T @ delta_o) * z * (1 - z))  # as printed; here the shapes allow it
    apart(np.outer(z, delta_o), z * delta_o)


def test_the_chain_at_the_hidden_layer_is_a_product_of_jacobians() -> None:
    """B-08: ``∂ε/∂net_z = ∂ε/∂o · ∂o/∂net_o · ∂net_o/∂z · ∂z/∂net_z``, each by `jacobian`.

    Rows are outputs; in the layout of column gradients the factors are transposed and reversed.
    """
    model = network((3, 5, 4), ("tanh", "sigmoid"))
    x, y = RNG.standard_normal((1, 3)), cr.tensor(RNG.standard_normal(4))
    W, b = cr.tensor(value(model[1].weight)), cr.tensor(value(model[1].bias))
    net_z = cr.tensor(by_hand(model, ("tanh", "sigmoid"), x)[0][0][0])
    z = ops.tanh(net_z)
    net_o = W @ z + b
    o = ops.sigmoid(net_o)
    factors = [
        cr.jacobian(lambda o: half_squared(o, y).reshape(1))(o).numpy(),
        cr.jacobian(ops.sigmoid)(net_o).numpy(),
        cr.jacobian(lambda z: W @ z + b)(z).numpy(),
        cr.jacobian(ops.tanh)(net_z).numpy(),
    ]
    assert [f.shape for f in factors] == [(1, 4), (4, 4), (4, 5), (5, 5)]
    row = np.linalg.multi_dot(factors)[0]
    close(row, np.linalg.multi_dot([f.T for f in factors[::-1]])[:, 0])
    close(cr.per_sample_gradients(model, half_squared, x, y.numpy()[None])["0.bias"][0], row)
    close(cr.grad(lambda t: half_squared(ops.sigmoid(W @ ops.tanh(t) + b), y))(net_z), row)


def test_sensitivities_index_by_index() -> None:
    """B-15 to B-19, L-05, L-06, P-07: sums over indices, as loops; c = Σ (t - a)², logistic.

    ``s_i = ∂c/∂z_i = (∂c/∂a_i)(∂a_i/∂z_i)``; ``∂c/∂a_j^{l-1} = Σ_i s_i w_ij``, column j of W;
    ``s_j^{l-1} = a_j (1 - a_j) Σ_i s_i w_ij``; ``∂c/∂w_ij = s_i a_j``. Errata E003-05, E003-06,
    E003-08.
    """
    names = ("sigmoid", "sigmoid")
    model, t = network((3, 4, 2), names), RNG.random(2)
    _, (a0, a1, a2) = by_hand(model, names, RNG.standard_normal((1, 3)))
    (a0,), (a1,), (a2,) = a0, a1, a2
    w = value(model[1].weight)
    s2 = [2 * (a2[k] - t[k]) * a2[k] * (1 - a2[k]) for k in range(2)]
    by_output = [sum(s2[i] * w[i, j] for i in range(2)) for j in range(4)]
    close(np.array(by_output), [w[:, j] @ s2 for j in range(4)])
    s1 = [a1[j] * (1 - a1[j]) * by_output[j] for j in range(4)]
    close(np.array(s1), (w.T @ s2) * a1 * (1 - a1))

    output = model(a0[None])
    ops.mse_loss(output[0], t, reduction="sum").backward()
    close(model[1].bias.grad, s2)
    close(model[0].bias.grad, s1)
    close(model[1].weight.grad, [[s2[i] * a1[j] for j in range(4)] for i in range(2)])
    close(model[0].weight.grad, [[s1[i] * a0[j] for j in range(3)] for i in range(4)])

    # Δc ≈ s_i a_j Δw, with the input of the weight and not the output of the neuron
    def cost() -> float:
        return float(((t - value(model(a0[None]))[0]) ** 2).sum())

    before, step, i, j = cost(), 1e-6, 0, 2
    w = w.copy()
    w[i, j] += step
    model[1].weight.assign(w)
    change = (cost() - before) / step
    assert change == pytest.approx(s2[i] * a1[j], rel=1e-4)
    assert change != pytest.approx(s2[i] * a2[i], rel=1e-2)


@pytest.mark.parametrize("eta", [0.5, 0.01])
def test_the_update_of_weights_and_biases(eta: float) -> None:
    """B-04, B-11, B-14, B-20: ``W ← W - η δ aᵀ`` and ``b ← b - η δ`` in every layer (E003-09)."""
    names = ("tanh", "relu", "sigmoid")
    model, x = network((3, 4, 5, 2), names), RNG.standard_normal((1, 3))
    y = RNG.random((1, 2))
    zs, outputs = by_hand(model, names, x)
    found = deltas(model, names, zs, outputs[-1] - y)
    wanted = [
        (value(layer.weight) - eta * np.outer(d, a), value(layer.bias) - eta * d[0])
        for layer, d, a in zip(model, found, outputs, strict=False)
    ]
    optimizer = cr.optim.SGD(model.parameters(), lr=eta)
    half_squared(model(x), y).backward()
    optimizer.step()
    for layer, (W, b) in zip(model, wanted, strict=True):
        close(layer.weight, W)
        close(layer.bias, b)


def test_all_error_signals_come_before_any_update() -> None:
    """B-05: signals, then gradients, then the update. A matrix that has moved gives others."""
    names = ("tanh", "tanh", "identity")
    model, x = network((3, 4, 4, 2), names), RNG.standard_normal((5, 3))
    y, eta = RNG.standard_normal((5, 2)), 0.5
    zs, outputs = by_hand(model, names, x)
    right = deltas(model, names, zs, outputs[-1] - y)
    first = value(model[0].weight) - eta * right[0].T @ x
    moved = cr.nn.Sequential(*model)
    W = value(model[2].weight).copy()
    model[2].weight.assign(W - eta * right[2].T @ outputs[2])
    wrong = deltas(moved, names, zs, outputs[-1] - y)
    apart(right[0], wrong[0])
    model[2].weight.assign(W)
    optimizer = cr.optim.SGD(model.parameters(), lr=eta)
    half_squared(model(x), y).backward()
    optimizer.step()
    close(model[0].weight, first)


def test_a_backward_pass_after_an_update_raises() -> None:
    """B-05: the tape refuses what would be a gradient through a matrix that has moved."""
    model, x = network((3, 4, 2), ("tanh", "identity")), RNG.standard_normal((5, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    late = model(x).sum()
    model(x).sum().backward()
    before = [value(p).copy() for p in model.parameters()]
    optimizer.step()
    assert any((value(p) != b).any() for p, b in zip(model.parameters(), before, strict=True))
    gradients = [p.grad.numpy().copy() for p in model.parameters()]
    with pytest.raises(cr.StaleGraphError, match=r"model\.1 Dense\(4 -> 2.*was updated after"):
        late.backward()
    for p, g in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)  # nothing was half added
