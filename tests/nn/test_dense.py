"""Dense: initial values, activation inside, agreement with torch's Linear."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


@cr.formula
def snake(xp: Any, x: Any, a: float = 1.0) -> Any:
    """x + sin²(ax)/a."""
    return x + xp.sin(a * x) ** 2 / a


def values(p: Any) -> Any:
    return p.detach().numpy()


def test_shapes_and_types() -> None:
    layer = nn.Dense(5, 3)
    assert (layer.weight.shape, layer.bias.shape) == ((3, 5), (3,))
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert nn.Dense(5, 3, bias=False).bias is None
    assert list(nn.Dense(5, 3, bias=False).state_dict()) == ["weight"]
    assert nn.Linear is nn.Dense
    assert nn.Dense(np.int64(5), np.int32(3)).in_features == 5


def test_the_default_is_that_of_torch() -> None:
    layer = nn.Dense(100, 400)
    for p in (layer.weight, layer.bias):
        a = values(p)
        assert abs(a).max() <= 0.1
        # the standard error of the variance of n uniform numbers is 0.9 of it over √n
        assert abs(a.var() / (0.1**2 / 3) - 1) < 4 * 0.9 / a.size**0.5


@pytest.mark.parametrize("activation", ["relu", cr.ops.relu, nn.ReLU(), "elu", nn.LeakyReLU(0.2)])
def test_rectifiers_start_with_he(activation: Any) -> None:
    layer = nn.Dense(100, 400, activation=activation)
    a = values(layer.weight)
    assert abs(a).max() <= np.sqrt(6 / 100) * (1 + 1e-6)
    assert abs(a.var() * 100 / 2 - 1) < 0.02
    assert not values(layer.bias).any()


def test_a_rectified_signal_keeps_its_size() -> None:
    x = np.random.default_rng(0).normal(size=(256, 200)).astype(np.float32)
    model = nn.Sequential(*(nn.Dense(200, 200, activation="relu") for _ in range(20)))
    with cr.no_grad():
        out = model(x).numpy()
    assert 0.3 < (out**2).mean() < 3


def test_the_seed_repeats_the_values() -> None:
    cr.seed(1)
    a, b = nn.Dense(3, 3), nn.Dense(3, 3)
    cr.seed(1)
    c = nn.Dense(3, 3)
    assert np.array_equal(values(a.weight), values(c.weight))
    assert not np.array_equal(values(a.weight), values(b.weight))
    assert not np.array_equal(values(a.weight)[0], values(a.bias))


def test_own_initial_values() -> None:
    layer = nn.Dense(
        50,
        40,
        weight_init=functools.partial(cr.init.xavier_uniform, gain=4),
        bias_init=lambda shape: np.full(shape, 0.5),
    )
    assert np.sqrt(6 / 90) * 2 < abs(values(layer.weight)).max() <= 4 * np.sqrt(6 / 90)
    assert values(layer.bias).tolist() == [0.5] * 40
    assert layer.bias.dtype == np.float32


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"weight_init": "he_normal"}, TypeError, "pass chainrule.init.he_normal"),
        ({"bias_init": 0}, TypeError, "bias_init is a function"),
        ({"weight_init": lambda s: np.ones(3)}, cr.ShapeError, r"shape \(3,\), expected \(2, 3\)"),
        ({"activation": "rleu"}, ValueError, "no activation is called 'rleu'; did you mean 'relu'"),
        ({"activation": nn.ReLU}, TypeError, r"write ReLU\(\)"),
        ({"activation": np.tanh}, TypeError, "expected a formula as activation, got tanh"),
        ({"activation": cr.ops.maximum}, TypeError, "formula of one array|expected a formula"),
    ],
)
def test_wrong_arguments(kwargs: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        nn.Dense(3, 2, **kwargs)


@pytest.mark.parametrize("n", [0, -1, True, 2.5, "3", None])
def test_features_are_counts(n: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"Dense: in_features"):
        nn.Dense(n, 2)
    with pytest.raises((TypeError, ValueError), match=r"Dense: out_features"):
        nn.Dense(2, n)


@pytest.mark.parametrize(
    ("activation", "module"),
    [
        ("relu", nn.ReLU()),
        (nn.LeakyReLU(0.3), nn.LeakyReLU(0.3)),
        (snake, nn.Activation(snake)),
        (nn.Activation(snake, a=2.0), nn.Activation(snake, a=2.0)),
        ("softmax", nn.Softmax()),
        (None, nn.Identity()),
    ],
)
def test_an_activation_inside_equals_one_after(activation: Any, module: Any) -> None:
    inside = nn.Dense(4, 3, activation=activation)
    plain = nn.Dense(4, 3)
    plain.load_state_dict(inside.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(values(inside(x)), values(module(plain(x))))


def test_the_gradients_are_right() -> None:
    layer = nn.Dense(3, 2, activation=nn.Activation(snake, a=2.0)).double()
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert cr.check_gradients(lambda t: layer(t), x)


def test_repr() -> None:
    assert repr(nn.Dense(128, 10)) == "Dense(128 -> 10)"
    assert repr(nn.Dense(2, 1, False, "relu")) == "Dense(2 -> 1, relu, bias=False)"
    assert repr(nn.Dense(2, 1, activation=nn.ELU(0.5))) == "Dense(2 -> 1, elu, alpha=0.5)"


@pytest.mark.parametrize("x", ["abc", None, np.ones((2, 3), complex), np.array([["a", "b", "c"]])])
def test_what_is_no_array_of_numbers_raises(x) -> None:
    with pytest.raises((TypeError, cr.ShapeError), match=r"Dense\(3 -> 2\).*(numbers|got \(\))"):
        nn.Sequential(nn.Dense(3, 2))(x)
