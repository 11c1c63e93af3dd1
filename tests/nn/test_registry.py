"""Architectures: there and back, through JSON, and nothing by name."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.containers import _Numbered
from chainrule.nn.registry import REGISTRY, build


@cr.formula
def snake(xp: Any, x: Any, a: float = 1.0) -> Any:
    """x + sin²(ax)/a."""
    return x + xp.sin(a * x) ** 2 / a


class Net(nn.Module):
    def __init__(self, body: Any, sizes: Any = (1, 2), *, scale: Any = None) -> None:
        self.body = body
        self.sizes, self.scale = sizes, scale
        self.out = nn.Dense(4, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.body(x))


def around(model: nn.Module, classes: Any = ()) -> Any:
    """Built from its architecture, which went through strict JSON."""
    found = model.architecture()
    text = json.dumps(found, allow_nan=False)
    again = build(json.loads(text), classes)
    assert again.architecture() == found
    assert repr(again) == repr(model)
    assert list(again.state_dict()) == list(model.state_dict())
    return again


@pytest.mark.parametrize(
    "model",
    [
        nn.Dense(3, 4),
        nn.Dense(3, 4, bias=False, activation=nn.LeakyReLU(0.2)),
        nn.Dense(3, 4, weight_init=cr.init.he_normal, bias_init=cr.init.zeros),
        nn.Sequential(nn.Flatten(2), nn.Dropout(0.1), nn.Identity()),
        nn.Sequential(
            {"a": nn.Dense(3, 4), "b": nn.Sequential(nn.ELU(alpha=0.5), nn.GELU("tanh"))}
        ),
        nn.ModuleList([nn.Softmax(axis=0), nn.LogSoftmax()]),
        nn.ModuleDict({"x": nn.Softplus(), "y": nn.Activation(cr.ops.logistic, k=2.0)}),
        nn.Sequential(),
    ],
    ids=lambda m: repr(m).split("\n")[0],
)
def test_there_and_back(model: nn.Module) -> None:
    again = around(model)
    again.load_state_dict(model.state_dict())
    for name, a in model.state_dict().items():
        assert np.array_equal(a, again.state_dict()[name])


def test_containers_tell_their_present_children() -> None:
    model = nn.Sequential(nn.Dense(3, 4), nn.ReLU())
    model.append(nn.Dense(4, 2))
    model[0] = nn.Dense(5, 4)
    again = around(model)
    assert again[0].in_features == 5
    assert len(again) == 3


def test_classes_of_your_own() -> None:
    model = Net(nn.Sequential(nn.Dense(3, 4), nn.Tanh()), sizes=[1, (2, "x")], scale={"a": None})
    again = around(model, [Net])
    assert again.sizes == [1, (2, "x")]
    assert again.scale == {"a": None}
    again.load_state_dict(model.state_dict())
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(again(x).detach().numpy(), model(x).detach().numpy())
    with pytest.raises(ValueError, match=r"class Net is not the library's.*pass classes=\[Net\]"):
        build(model.architecture())


def test_a_subclass_with_a_constructor_is_built_by_it() -> None:
    class Block(nn.Sequential):
        def __init__(self, width: int) -> None:
            super().__init__(nn.Dense(width, width), nn.ReLU())

    model = nn.Sequential(Block(3), Block(3))
    assert model.architecture()["args"][0] == {
        "module": {"class": "Block", "args": [3], "kwargs": {}}
    }
    around(model, [Block])


@pytest.mark.parametrize(
    "value", [True, 3, -0.5, "text", None, math.inf, -math.inf, [1, [2.5]], (), {"module": "m"}]
)
def test_arguments_come_back_as_they_were(value: Any) -> None:
    again = around(Net(nn.Identity(), scale=value), [Net])
    assert again.scale == value
    assert type(again.scale) is type(value)


def test_numbers_of_numpy_become_python_s() -> None:
    again = around(nn.Dense(int(np.int64(3)), np.int64(4)))
    assert again.out_features == 4
    assert math.isnan(around(Net(nn.Identity(), scale=np.float32("nan")), [Net]).scale)
    assert around(Net(nn.Identity(), scale=np.bool_(True)), [Net]).scale is True


def test_formulas_of_your_own() -> None:
    model = nn.Sequential(nn.Dense(3, 3, activation=snake), nn.Activation(snake, a=2.0))
    again = around(model, [snake])
    assert again[1].formula is snake
    with pytest.raises(ValueError, match="the formula snake is not the library's"):
        build(model.architecture())


@pytest.mark.parametrize("value", [np.ones(2), abs, object(), {1: 2}, {3}, b"x", 1j])
def test_what_json_cannot_hold_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="Net: argument scale is"):
        Net(nn.Identity(), scale=value).architecture()
    with pytest.raises(TypeError, match="Net: argument 2 is"):
        nn.Sequential(Net(nn.Identity(), [value])).architecture()


def test_names_of_the_library_are_taken() -> None:
    Impostor = type("Dense", (nn.Module,), {})
    with pytest.raises(TypeError, match="Dense is the name of a class of the library"):
        Impostor().architecture()
    with pytest.raises(ValueError, match="two things are called Dense"):
        build(nn.ReLU().architecture(), [Impostor])

    @cr.formula
    def relu(xp: Any, x: Any) -> Any:
        return x * 2.0

    with pytest.raises(TypeError, match="relu is the name of a formula of the library"):
        nn.Activation(relu).architecture()
    with pytest.raises(TypeError, match="classes holds Module classes and formulas"):
        build(nn.ReLU().architecture(), ["Net"])  # type: ignore[list-item]


# -- sharing --------------------------------------------------------------------------------------


def test_a_shared_module_stays_shared() -> None:
    layer = nn.Dense(3, 3)
    inner = nn.Sequential(nn.Tanh(), layer)
    again = around(nn.Sequential(layer, inner, nn.Sequential(inner, layer)))
    assert again[0] is again[1][1] is again[2][1]
    assert again[1] is again[2][0]
    assert len(list(again.parameters())) == 2


def test_tied_parameters_stay_tied() -> None:
    model = nn.Sequential(nn.Dense(3, 3), nn.Dense(3, 3), nn.Dense(3, 3))
    model[2].weight = model[0].weight
    assert model.architecture()["tied"] == [["0.weight", "2.weight"]]
    again = around(model)
    assert again[2].weight is again[0].weight
    assert again[1].weight is not again[0].weight


def test_building_does_not_move_the_random_stream() -> None:
    found = nn.Dense(3, 3).architecture()
    cr.seed(5)
    wanted = nn.Dense(3, 3).state_dict()["weight"]
    cr.seed(5)
    build(found)
    assert np.array_equal(nn.Dense(3, 3).state_dict()["weight"], wanted)


# -- files from elsewhere -------------------------------------------------------------------------


def node(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"class": name, "args": list(args), "kwargs": kwargs}


def deep(n: int) -> Any:
    value: Any = 1
    for _ in range(n):
        value = [value]
    return node("Dense", value)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (node("Dens", 3, 2), "class Dens is not .*did you mean 'Dense'"),
        (node("os.system", "true"), "class os.system is not the library's"),
        (node("Module"), "class Module is not"),
        (node("Dense"), "Dense cannot be built as it was saved"),
        (node("Dense", 3, 2, colour=1), "Dense cannot be built as it was saved"),
        (node("Dense", -3, 2), "in_features is at least 1"),
        (node("Sequential", {"shared": 0}), "no argument of a module is written as"),
        (node("Sequential", {"module": {"shared": 0}}), "no module number 0"),
        (node("Sequential", {"module": {"shared": "x"}}), "no module number 'x'"),
        (node("Activation", {"formula": "sytem"}), "formula sytem is not"),
        (node("Dense", {"float": "3"}, 2), "no argument of a module is written as"),
        (node("Dense", {}, 2), "no argument of a module is written as"),
        ({"class": "Dense"}, "expected class, args and kwargs"),
        ({"class": 3, "args": [], "kwargs": {}}, "expected class, args and kwargs"),
        ({}, "expected class, args and kwargs"),
        ({**node("ReLU"), "tied": "x"}, "tied parameters are lists of names"),
        ({**node("Dense", 2, 2), "tied": [["weight", "0.weight"]]}, "no 0.weight to tie"),
        ({**node("Dense", 2, 2), "tied": [["weight", "forward"]]}, "no forward to tie"),
        (deep(150), "nested more than 100 deep"),
    ],
)
def test_a_bad_architecture_is_refused(found: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build(found)


def test_every_module_of_the_library_is_registered() -> None:
    here = {
        cls
        for cls in vars(nn).values()
        if inspect.isclass(cls) and issubclass(cls, nn.Module) and cls is not nn.Module
    }
    assert here == set(REGISTRY.values())
    assert _Numbered not in here
    assert all(cls.__name__ == name for name, cls in REGISTRY.items())
