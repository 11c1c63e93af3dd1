"""Forward mode by every single parameter: the nested products of note 002, `jvp`, and backprop.

Ledger W-01 to W-09 with the selectors of N-08 and N-09. Layers are 0 … n, all with weights (erratum
E002-01), matrices ``(out, in)``. The nest is ``v ← O_i φ'(net^m) · input_j`` and then, layer by
layer, ``v ← φ'(net^l) ⊙ (W^l v)``; it is no chain of element-wise products (E002-02, E002-03).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

RNG = np.random.default_rng(4)
SIZES = (3, 4, 2, 3)
NAMES = ("tanh", "sigmoid", "elu")
SLOPES = {
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "sigmoid": lambda z: 1 / (2 + np.exp(z) + np.exp(-z)),
    "elu": lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
}


def row_selector(i: int, n: int) -> Any:
    """o_i: a row with 1 in place i, so that ``o_i v = v_i``."""
    return np.eye(n)[i : i + 1]


def matrix_selector(i: int, n: int) -> Any:
    """O_i: a square matrix with a single 1, so that ``O_i v = v_i e_i``."""
    return np.diag(np.eye(n)[i])


@pytest.fixture
def model() -> cr.nn.Sequential:
    layers = zip(SIZES, SIZES[1:], NAMES, strict=False)
    made = cr.nn.Sequential(*(cr.nn.Dense(i, o, activation=f) for i, o, f in layers)).double()
    for p in made.parameters():
        p.assign(RNG.standard_normal(p.shape))
    return made


def value(t: Any) -> Any:
    return t.detach().numpy()


def forward(model: cr.nn.Sequential, x: Any) -> tuple[list[Any], list[Any]]:
    """The pre-activation of every layer, and what each layer takes in."""
    nets, inputs = [], [x]
    for layer in model:
        nets.append(value(layer.weight) @ inputs[-1] + value(layer.bias))
        inputs.append(value(layer.activation(cr.tensor(nets[-1]))))
    return nets, inputs


def nest(model: cr.nn.Sequential, x: Any, m: int, i: int, j: int | None) -> Any:
    """``∂ŷ/∂W^m_ij``, or without j ``∂ŷ/∂b^m_i``, as note 002 nests it."""
    nets, inputs = forward(model, x)
    v = matrix_selector(i, SIZES[m + 1]) @ SLOPES[NAMES[m]](nets[m])
    if j is not None:
        v = v * (row_selector(j, SIZES[m]) @ inputs[m])
    for k in range(m + 1, len(model)):
        v = SLOPES[NAMES[k]](nets[k]) * (value(model[k].weight) @ v)
    return v


class Entry(NamedTuple):
    """A single number among the parameters."""

    name: str
    layer: int
    i: int
    j: int | None
    value: Any
    direction: Any


def entries(model: cr.nn.Sequential) -> Iterator[Entry]:
    """Every weight and every bias, with the unit direction along it."""
    for name, p in model.named_parameters():
        for index in np.ndindex(*p.shape):
            direction = np.zeros(p.shape)
            direction[index] = 1
            i, j = index if len(index) == 2 else (*index, None)
            yield Entry(name, int(name[0]), i, j, value(p), direction)


def test_selectors() -> None:
    """N-08, N-09."""
    v = np.array([5.0, 6.0, 7.0])
    assert row_selector(2, 3) @ v == 7
    np.testing.assert_array_equal(matrix_selector(2, 3) @ v, [0, 0, 7])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_nest_is_the_derivative_of_the_output(model: cr.nn.Sequential, layer: int) -> None:
    """W-03 to W-08: by every weight and bias of the first, a middle and the last layer."""
    x = RNG.standard_normal(3)
    chosen = [e for e in entries(model) if e.layer == layer]
    assert len(chosen) == model[layer].weight.size + model[layer].bias.size
    for e in chosen:
        y, tangent = cr.jvp(
            lambda p, e=e: cr.functional_call(model, {e.name: p}, x[None]), e.value, e.direction
        )
        np.testing.assert_array_equal(value(y), value(model(x[None])))
        wanted = nest(model, x, layer, e.i, e.j)
        np.testing.assert_allclose(value(tangent)[0], wanted, rtol=1e-11, atol=1e-14)


def test_the_elision_is_a_nest_and_no_chain_of_hadamard_products(model: cr.nn.Sequential) -> None:
    """Errata E002-02, E002-03: read without the matrices between, it is another number."""
    x = RNG.standard_normal(3)
    nets, inputs = forward(model, x)
    slopes = [SLOPES[f](z) for f, z in zip(NAMES, nets, strict=True)]
    inner = value(model[1].weight) @ (matrix_selector(1, 4) @ slopes[0] * inputs[0][2])
    chain = slopes[2][:2] * slopes[1] * inner
    assert np.abs(chain - nest(model, x, 0, 1, 2)[:2]).max() > 1e-3


def test_the_derivative_of_the_loss(model: cr.nn.Sequential) -> None:
    """W-01, W-02 (L-04): ``∂ℓ/∂θ = (2/N) Σ (ŷ - y)ᵀ ∂ŷ/∂θ``; one backward pass gives them all."""
    x, y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 3))
    ops.mse_loss(model(x), y, reduction="batchmean").backward()
    gradients = {name: value(p.grad) for name, p in model.named_parameters()}
    error = value(model(x)) - y
    for e in entries(model):
        tangents = np.array([nest(model, row, e.layer, e.i, e.j) for row in x])
        wanted = 2 / len(x) * (error * tangents).sum()
        index = e.i if e.j is None else (e.i, e.j)
        assert gradients[e.name][index] == pytest.approx(wanted, rel=1e-10, abs=1e-14)
        _, slope = cr.jvp(
            lambda p, e=e: ops.mse_loss(
                cr.functional_call(model, {e.name: p}, x), y, reduction="batchmean"
            ),
            e.value,
            e.direction,
        )
        assert slope.item() == pytest.approx(wanted, rel=1e-10, abs=1e-14)


def test_the_update_parameter_by_parameter(model: cr.nn.Sequential) -> None:
    """W-09: ``θ ← θ - α ∂ℓ/∂θ``, a sweep for each, is the step of `SGD` for all."""
    x, y, alpha = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 3)), 0.1

    def loss(name: str, p: Any) -> Any:
        output = cr.functional_call(model, {name: p}, x)
        return ops.mse_loss(output, y, reduction="batchmean")

    wanted = {name: value(p).copy() for name, p in model.named_parameters()}
    for e in entries(model):
        _, slope = cr.jvp(lambda p, e=e: loss(e.name, p), e.value, e.direction)
        wanted[e.name] -= alpha * slope.item() * e.direction
    optimizer = cr.optim.SGD(model.parameters(), lr=alpha)
    ops.mse_loss(model(x), y, reduction="batchmean").backward()
    optimizer.step()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(value(p), wanted[name], rtol=1e-10, atol=1e-13)


def test_all_parameters_at_once(model: cr.nn.Sequential) -> None:
    """Tuples of parameters and directions: the sum of the derivatives along each."""
    x = RNG.standard_normal((4, 3))
    names, own = zip(*[(n, value(p)) for n, p in model.named_parameters()], strict=True)
    along = tuple(RNG.standard_normal(p.shape) for p in own)

    def f(*given: Any) -> Any:
        return cr.functional_call(model, dict(zip(names, given, strict=True)), x)

    _, tangent = cr.jvp(f, own, along)
    total = sum(
        e.direction.ravel() @ along[names.index(e.name)].ravel() * nest(model, x[1], *e[1:4])
        for e in entries(model)
    )
    np.testing.assert_allclose(value(tangent)[1], total, rtol=1e-11, atol=1e-13)


def test_a_softmax_output_takes_the_product_with_its_jacobian() -> None:
    """Erratum E002-04: the nest is for element-wise activations; at a softmax J stands for φ'."""
    first = cr.nn.Dense(3, 4, activation="tanh").double()
    last = cr.nn.Dense(4, 3, activation="softmax").double()
    model, x, direction = cr.nn.Sequential(first, last), RNG.standard_normal(3), np.zeros((4, 3))
    direction[1, 2] = 1
    nets, _ = forward(model, x)
    a = value(model(x[None]))[0]
    inner = value(last.weight) @ (matrix_selector(1, 4) @ SLOPES["tanh"](nets[0]) * x[2])
    _, tangent = cr.jvp(
        lambda p: cr.functional_call(model, {"0.weight": p}, x[None]),
        value(first.weight),
        direction,
    )
    np.testing.assert_allclose(value(tangent)[0], (np.diag(a) - np.outer(a, a)) @ inner, rtol=1e-11)
    assert np.abs(value(tangent)[0] - a * (1 - a) * inner).max() > 1e-3


def test_one_direction_for_each_argument() -> None:
    with pytest.raises(ValueError, match="jvp: 1 directions for 2 arguments; give one for each"):
        cr.jvp(lambda a, b: a * b, (np.ones(2), np.ones(2)), (np.ones(2),))
    with pytest.raises(cr.ShapeError, match=r"x of shape \(2,\) has shape \(3,\)"):
        cr.jvp(lambda a, b: a * b, (np.ones(2), np.ones(2)), (np.ones(2), np.ones(3)))
