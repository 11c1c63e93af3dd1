"""The table of proofs: complete, passing, and able to fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import nn, ops
from chainrule.cli import check
from chainrule.cli.check import Case, cases, errors
from chainrule.ops import loss as losses
from chainrule.ops.formula import FORMULAS, formula

from .conftest import Run


def test_everything_is_in_the_table_and_passes(run: Run) -> None:
    result = run("check")
    assert (result.code, result.err) == (0, "")
    rows = [line.split() for line in result.out.splitlines()]
    for kind, names in (
        ("formula", FORMULAS.keys()),
        ("loss", losses.__all__),
        ("layer", nn.REGISTRY.keys() - {"ModuleList", "ModuleDict"}),
    ):
        assert set(names) <= {row[1] for row in rows if row[:1] == [kind]}
    assert result.out.splitlines()[-1] == f"{len(list(cases()))} passed, 0 failed"


@formula
def cube(xp: Any, x: Any) -> Any:
    return x * x * x


@cube.override(saves="x")
def _cube_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    return g * (3.001 * inputs[0] * inputs[0])  # off by a thirtieth of a percent


def plain(x: Any) -> Any:
    return x * x * x


X = np.array([0.5, -1.2, 2.0])


def test_each_error_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Case("formula", "right", lambda x: x * x * x, plain, [X])
    slope = Case("formula", "slope", cube, plain, [X])
    value = Case("formula", "value", lambda x: x * x * x * 1.0001, plain, [X])
    wide = Case("formula", "wide", lambda x: np.asarray(x, np.float64), plain, [X])
    nan = Case("formula", "nan", lambda x: x * float("nan"), plain, [X])
    assert max(errors(right)[1:]) < 1e-9
    assert errors(slope)[0] < 1e-6 < 1e-4 < errors(slope)[1]
    assert errors(value)[0] > 5e-5
    monkeypatch.setattr(check, "cases", lambda: iter([right, slope, value, wide, nan]))
    result = run("check")
    assert result.code == 1
    failed = [line.split()[1] for line in result.out.splitlines() if line.endswith("FAILED")]
    assert failed == ["slope", "value", "wide", "nan"]
    assert "wide: TypeError: float32 came out as float64" in result.out
    assert result.out.splitlines()[-1] == "1 passed, 4 failed"


def test_a_wrong_gradient_of_a_parameter_is_seen() -> None:
    class Detached(nn.Dense):
        def forward(self, x: Any) -> Any:
            return ops.dense(x, ops.stop_gradient(self.weight), self.bias)

    case = check._layer("Dense", Detached)
    assert len(case.inputs) == 3
    assert errors(case)[1] > 0.1
