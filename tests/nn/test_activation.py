"""Activations as modules: the formula, its options, and torch's modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.activation import as_activation
from chainrule.ops.formula import FORMULAS

ALL = [
    nn.ReLU(),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.3),
    nn.ELU(),
    nn.ELU(0.5),
    nn.SELU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.Softplus(),
    nn.Softplus(2.0),
    nn.Softmax(),
    nn.Softmax(0),
    nn.LogSoftmax(),
]


@cr.formula
def snake(xp: Any, x: Any, a: float = 1.0) -> Any:
    """x + sin²(ax)/a."""
    return x + xp.sin(a * x) ** 2 / a


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_as_in_torch(layer: Any) -> None:
    torch = pytest.importorskip("torch")
    options = {"dim" if k == "axis" else k: v for k, v in layer.options.items()}
    theirs = getattr(torch.nn, type(layer).__name__)(**options)
    x = np.linspace(-4, 4, 30).reshape(6, 5)
    np.testing.assert_allclose(layer(x), theirs(torch.tensor(x)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_arrays_stay_arrays_and_tensors_tensors(layer: Any) -> None:
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    y = layer(x)
    assert type(y) is np.ndarray
    assert y.dtype == np.float32
    t = cr.tensor(x, requires_grad=True)
    assert layer(t).requires_grad
    np.testing.assert_array_equal(layer(t).detach().numpy(), y)


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_the_formula_is_the_library_s(layer: Any) -> None:
    assert FORMULAS[layer.formula.name] is layer.formula
    assert not list(layer.parameters())


def test_a_formula_of_your_own() -> None:
    layer = nn.Activation(snake, a=2.0)
    x = np.linspace(-1, 1, 5)
    np.testing.assert_array_equal(layer(x), snake(x, a=2.0))
    assert repr(layer) == "Activation(snake, a=2.0)"
    assert cr.check_gradients(layer, x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Activation(snake, b=1.0), "snake has no option 'b'; it has: a"),
        (lambda: nn.Activation(cr.ops.relu, b=1.0), "relu has no option 'b'; it has: none"),
        (lambda: nn.Activation(snake, a=np.ones(2)), "a constant, not ndarray; to train it"),
        (lambda: nn.Activation(np.tanh), "expected a formula as activation, got tanh"),
        (lambda: nn.Activation("relu"), "expected a formula as activation, got str"),
    ],
)
def test_wrong_arguments(make: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


def test_what_stands_for_an_activation() -> None:
    assert as_activation(None, "x") == (None, {})
    assert as_activation("tanh", "x") == (cr.ops.tanh, {})
    assert as_activation(snake, "x") == (snake, {})
    assert as_activation(nn.ELU(2.0), "x") == (cr.ops.elu, {"alpha": 2.0})


def test_repr() -> None:
    assert [repr(a) for a in (nn.ReLU(), nn.LeakyReLU(), nn.GELU("tanh"))] == [
        "ReLU()",
        "LeakyReLU(negative_slope=0.01)",
        "GELU(approximate='tanh')",
    ]
