"""An optimizer by name, class, function or object."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim


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
    with pytest.raises(ValueError, match="no optimizer 'adma'; did you mean 'adam'"):
        optim.get("adma", w())
    with pytest.raises(TypeError, match="Adam has no option 'beta'; did you mean 'betas'"):
        optim.get("adam", w(), beta=0.9)
    with pytest.raises(TypeError, match="has its options already; lr cannot"):
        optim.get(optim.SGD(lr=0.1), w(), lr=0.2)
    with pytest.raises(TypeError, match=r"an optimizer was expected from .* got list"):
        optim.get(list, w())
    with pytest.raises(TypeError, match="name, class or object was expected, got 3"):
        optim.get(3, w())  # type: ignore[arg-type]
