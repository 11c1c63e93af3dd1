from __future__ import annotations

import importlib
import math
import pkgutil

import numpy as np
import pytest

import chainrule.ops
from chainrule.compile.lint import lint
from chainrule.ops.formula import FORMULAS, Formula


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (lambda xp, x: xp.where(x > 0.0, 1.0, 0.0) * x, ["where"]),
        (lambda xp, x: (x > 0.0) * 1.0 * x, ["multiply"]),
        (lambda xp, x: x * np.sqrt(2), ["multiply"]),
        (lambda xp, x: np.float64(2.0) - x, ["subtract"]),
        (lambda xp, x: xp.mean(x > 0.0) * x, ["mean"]),
        (lambda xp, x: (1 - (x > 0.0)) * x, ["multiply"]),
        (lambda xp, x: xp.pow(x, np.float64(2.0)), ["pow"]),
        (lambda xp, x: xp.sum(xp.where(x > 0.0, 1.0, 2.0)) + x, ["where"]),
        (lambda xp, x: xp.where(x > 0.0, x, 0.0), []),
        (lambda xp, x: x * math.sqrt(2) + 1, []),
        (lambda xp, x: x / x.shape[0] + xp.mean(x, axis=-1, keepdims=True), []),
        (lambda xp, x: xp.erf(xp.sigmoid(x)) * xp.lgamma(x), []),
        (lambda xp, x: xp.where(x > 0.0, xp.ones_like(x), 0.0), []),
    ],
)
def test_the_operation_that_widens_is_named(text, found):
    assert lint(text, ["x"]) == found


def test_attributes_are_passed_on():
    def text(xp, x, a=1.0):
        return x * a

    assert lint(text, ["x"]) == []
    assert lint(text, ["x"], a=np.float64(2.0)) == ["multiply"]


def formulas():
    """Every formula of the library: the registry, and those that public functions are made of."""
    found = dict(FORMULAS)
    for module in pkgutil.walk_packages(chainrule.ops.__path__, "chainrule.ops."):
        values = vars(importlib.import_module(module.name)).items()
        found |= {name: value for name, value in values if isinstance(value, Formula)}
    return found


@pytest.mark.parametrize("name", sorted(formulas()))
def test_every_formula_of_the_library_keeps_float32(name):
    f = formulas()[name]
    assert lint(f.text, f.arrays) == []


def test_the_formulas_are_found():
    assert {"gelu", "softmax", "logsumexp", "norm", "_mse", "maximum"} <= set(formulas())
