"""An optimizer by name, class, function or object; and what holds for each of them."""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.optim.registry import OPTIMIZERS, RULES
from optim.common import captured_equals_eager, gradients, parameters, same, train, values


def w() -> list[cr.nn.Parameter]:
    return [cr.nn.Parameter(np.ones(2, np.float32))]


def test_names() -> None:
    assert type(optim.get("sgd", w(), lr=0.1)) is optim.SGD
    assert type(optim.get("Adam", w())) is optim.Adam
    assert type(optim.get("adamw", w())) is optim.AdamW
    assert optim.get("sgd", w(), lr=0.1, momentum=0.5).param_groups[0]["momentum"] == 0.5


def test_objects() -> None:
    params = w()
    bound = optim.SGD(params, lr=0.3)
    assert optim.get(bound, params) is bound
    configured = optim.AdamW(lr=0.3)
    made = optim.get(configured, params)
    assert made is not configured
    assert made.param_groups[0]["params"] == params
    assert optim.get(optim.Adam, params, lr=0.2).param_groups[0]["lr"] == 0.2
    partial = functools.partial(optim.SGD, lr=0.4)
    assert optim.get(partial, params, momentum=0.1).param_groups[0]["lr"] == 0.4
    assert optim.get(lambda p: optim.SGD(p, lr=0.6), params).param_groups[0]["lr"] == 0.6


def test_errors() -> None:
    with pytest.raises(ValueError, match="no optimizer 'adma'; did you mean 'adamax' or 'adam'"):
        optim.get("adma", w())
    with pytest.raises(TypeError, match="Adam has no option 'beta'; did you mean 'betas'"):
        optim.get("adam", w(), beta=0.9)
    with pytest.raises(TypeError, match="has its options already; lr cannot"):
        optim.get(optim.SGD(lr=0.1), w(), lr=0.2)
    with pytest.raises(TypeError, match=r"an optimizer was expected from .* got list"):
        optim.get(list, w())
    with pytest.raises(TypeError, match="name, class or object was expected, got 3"):
        optim.get(3, w())  # type: ignore[arg-type]


def test_every_optimizer_has_its_name() -> None:
    for name, kind in OPTIMIZERS.items():
        assert type(optim.get(name.upper(), w())) is kind
        assert getattr(optim, kind.__name__) is kind
        assert kind.__name__.lower() == name


def test_every_rule_has_its_equation() -> None:
    for name, rule in RULES.items():
        assert "←" in (inspect.getdoc(rule.text) or ""), name
        arguments = [*inspect.signature(rule.text).parameters]
        assert tuple(arguments[3 : 3 + len(rule.states)]) == rule.states
    assert len({id(rule.text) for rule in RULES.values()}) == len(RULES)


# -- what holds for each ---------------------------------------------------------------------------

#: name, options -> the state it keeps for each parameter (O-18), zero at first
STATE: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("sgd", {}, ()),
    ("sgd", {"momentum": 0.9}, ("buffer",)),
    ("sgd", {"momentum": 0.9, "dampening": 0.1}, ("buffer",)),
    ("sgd", {"momentum": 0.9, "nesterov": True}, ("buffer",)),
    ("momentum", {"form": "velocity"}, ("v",)),
    ("momentum", {"form": "ema"}, ("v",)),
    ("momentum", {"form": "polyak"}, ("change",)),
    ("momentum", {"form": "nesterov"}, ("v",)),
    ("momentum", {"form": "printed_polyak"}, ("v",)),
    ("adagrad", {"initial_accumulator_value": 0.1}, ("v",)),
    ("adadelta", {}, ("v", "u")),
    ("rmsprop", {}, ("v",)),
    ("rmsprop", {"momentum": 0.9, "centered": True}, ("v", "mean", "buffer")),
    ("adam", {}, ("m", "v")),
    ("adam", {"amsgrad": True, "weight_decay": 0.1}, ("m", "v", "v_max")),
    ("adam", {"eps_hat": True, "weight_decay": 0.1, "decoupled_weight_decay": True}, ("m", "v")),
    ("adamw", {}, ("m", "v")),
    ("adamax", {}, ("m", "u")),
    ("nadam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, ("m", "v")),
    ("nadam", {"form": "ruder"}, ("m", "v")),
    ("radam", {"weight_decay": 0.1}, ("m", "v")),
    ("rprop", {}, ("before", "size")),
    ("asgd", {"t0": 3.0}, ("ax",)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options", "state"), STATE, ids=str)
def test_state_per_parameter_resumes_bit_for_bit(
    name: str, options: dict[str, Any], state: tuple[str, ...], dtype: Any
) -> None:
    def skip(step: int, k: int) -> bool:
        return k == 2 and step < 3

    whole, half = parameters(dtype=dtype), parameters(dtype=dtype)
    optimizer, first = (optim.get(name, p, lr=0.03, **options) for p in (whole, half))
    assert not optimizer.state_dict()["state"]
    train(optimizer, whole, range(12), skip)
    train(first, half, range(7), skip)
    saved = first.state_dict()
    arrays = saved.pop("state")
    assert set(arrays) == {f"{k}.{s}" for k in range(4) for s in state}
    assert all(a.dtype == dtype for a in arrays.values())
    again = [cr.nn.Parameter(v) for v in values(half)]
    second = optim.get(name, again, lr=0.9, **options)
    second.load_state_dict({**json.loads(json.dumps(saved)), "state": arrays})
    train(second, again, range(7, 12), skip)
    same(values(again), values(whole))
    assert all(p.dtype == dtype for p in again)


@pytest.mark.parametrize(("name", "options", "state"), STATE, ids=str)
def test_a_captured_step_has_the_bits_of_an_eager_one(
    name: str, options: dict[str, Any], state: tuple[str, ...], executor: str
) -> None:
    captured_equals_eager(lambda params: optim.get(name, params, lr=0.03, **options))


@pytest.mark.parametrize(("name", "options", "state"), STATE, ids=str)
def test_float32_is_near_float64(
    name: str, options: dict[str, Any], state: tuple[str, ...]
) -> None:
    ends = []
    for dtype in (np.float32, np.float64):
        p = [cr.nn.Parameter(v.astype(dtype)) for v in values(parameters(dtype=np.float32))]
        optimizer = optim.get(name, p, lr=0.03, **options)
        for step in range(50):
            for q, g in zip(p, gradients(step, np.float32), strict=True):
                q.grad = g.astype(dtype)
            optimizer.step()
        ends.append(np.concatenate([v.ravel() for v in values(p)]))
    # Rprop follows signs, which float32 rounds to no others
    np.testing.assert_allclose(*ends, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("name", "options", "state"), STATE, ids=str)
def test_nan_in_one_entry_stays_there(
    name: str, options: dict[str, Any], state: tuple[str, ...]
) -> None:
    p = cr.nn.Parameter(np.ones(3))
    optimizer = optim.get(name, [p], lr=0.03, **options)
    for step in range(2):
        p.grad = np.array([0.5, np.nan if step == 0 else 0.5, -0.5])
        optimizer.step()
    np.testing.assert_array_equal(np.isnan(p.detach().numpy()), [False, True, False])


@pytest.mark.parametrize(("name", "options", "state"), STATE, ids=str)
def test_maximize_is_the_negative_gradient(
    name: str, options: dict[str, Any], state: tuple[str, ...]
) -> None:
    ends = []
    for sign in (1, -1):
        p = [cr.nn.Parameter(v) for v in values(parameters())]
        optimizer = optim.get(name, p, lr=0.03, maximize=sign < 0, **options)
        for step in range(9):
            for q, g in zip(p, gradients(step), strict=True):
                q.grad = sign * g
            optimizer.step()
        ends.append(values(p))
    same(*ends)
