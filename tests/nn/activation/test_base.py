"""What an activation layer is: a formula with options, or what stands for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.activation import as_activation
from chainrule.ops.formula import FORMULAS


def is_activation(cls: Any) -> bool:
    return issubclass(cls, nn.Activation)


@cr.formula
def snake(xp: Any, x: Any, a: float = 1.0) -> Any:
    """x + sin²(ax)/a."""
    return x + xp.sin(a * x) ** 2 / a


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
        (lambda: nn.Dense(2, 2, activation=nn.PReLU()), r"Sequential\(Dense\(...\), PReLU"),
        (lambda: nn.Dense(2, 2, activation="glu"), "a formula of one array; glu takes a, b"),
        (lambda: nn.Dense(2, 2, activation=nn.ReLU), r"write ReLU\(\), not the class ReLU"),
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


def test_every_formula_of_one_array_serves_by_name() -> None:
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    for name in [name for name, f in FORMULAS.items() if len(f.arrays) == 1]:
        layer = nn.Dense(4, 2, activation=name)
        plain = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        np.testing.assert_allclose(
            layer(x).detach().numpy(), FORMULAS[name](plain), rtol=1e-5, atol=1e-6
        )
        assert cr.nn.build(layer.architecture()).activation is FORMULAS[name]
    with pytest.raises(ValueError, match=r"no activation is called 'mich'.*mish"):
        nn.Dense(4, 2, activation="mich")


@pytest.mark.parametrize("name", sorted(n for n, c in nn.REGISTRY.items() if is_activation(c)))
def test_after_a_dense_layer_it_is_part_of_it(name: str) -> None:
    """In one node, with the same values and gradients."""
    cls = nn.REGISTRY[name]
    required = {"Activation": (cr.ops.tanh,), "Threshold": (0.5, -2.0)}
    first, layer = nn.Dense(4, 3), cls(*required.get(name, ()))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    found = []
    for run in (nn.Sequential(first, layer), lambda x: layer(first(x))):
        y = run(cr.tensor(x))
        found.append([y.detach().numpy(), *cr.autograd.grad((y * y).sum(), [first.weight])])
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][1].numpy(), found[1][1].numpy(), rtol=1e-4, atol=1e-5)
    assert repr(cr.nn.build(layer.architecture())) == repr(layer)
