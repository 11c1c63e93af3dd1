"""The table of proofs: complete, passing, and able to fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import nn, ops
from chainrule.cli import check
from chainrule.cli.check import Case, cases, errors
from chainrule.compile import exhaustive
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
        ("layer", nn.REGISTRY.keys() - {"ModuleList", "ModuleDict", *nn.loss.__all__}),
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


# -- check --exhaustive ---------------------------------------------------------------------------


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few numbers instead of all."""
    few = 65537 * 33

    def measure(row: Any, stride: int, progress: Any) -> Any:
        return exhaustive.float32_errors(row, few, progress)

    monkeypatch.setattr(check, "float32_errors", measure)
    monkeypatch.setattr(check, "float64_errors", lambda row: exhaustive.float64_errors(row, 5))


@pytest.mark.usefixtures("sampled")
def test_rounding_errors_are_a_line_for_each_primitive_and_executor(run: Run) -> None:
    pytest.importorskip("mpmath")
    result = run("check", "--exhaustive")
    assert (result.code, result.err) == (0, "")
    rows = [line.split()[:2] for line in result.out.splitlines()]
    names = [
        [name, executor] for name in exhaustive.ROWS for executor in exhaustive.executors(name)
    ]
    assert [row for row in rows if row in names] == names
    assert result.out.splitlines()[-1] == f"{len(names)} passed, 0 failed"


@pytest.mark.usefixtures("sampled")
def test_a_rounding_error_above_its_bound_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpmath")
    monkeypatch.setattr(
        exhaustive, "executors", lambda name: {"NumPy": lambda x: np.tanh(x) * x.dtype.type(1.001)}
    )
    result = run("check", "--exhaustive", "--only", "tanh")
    assert result.code == 1
    assert [line for line in result.out.splitlines() if line.endswith("FAILED")]
    assert result.out.splitlines()[-1] == "0 passed, 1 failed"


@pytest.mark.usefixtures("sampled")
def test_without_mpmath_float64_is_left_out_with_a_word(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mpmath", None)
    result = run("check", "--exhaustive", "--only", "sqrt")
    assert result.code == 0
    assert "float64 was left out" in result.out
    assert "pip install" in result.out


@pytest.mark.usefixtures("sampled")
def test_the_table_is_written_between_the_markers_of_a_page(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- exhaustive:begin -->\nold\n<!-- exhaustive:end -->\nafter\n")
    assert run("check", "--exhaustive", "--only", "sqrt", "--write", page).code == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- exhaustive:begin -->\n\nchainrule ")
    assert text.endswith("|\n\n<!-- exhaustive:end -->\nafter\n")
    assert "| sqrt | NumPy | 0.500 |" in text
    assert "old" not in text
    assert run("check", "--exhaustive", "--only", "exp", "--write", page).code == 0
    names = [line.split()[1] for line in page.read_text().splitlines() if line.startswith("| ")]
    assert names == ["primitive", *["sqrt"] * (len(names) // 2), *["exp"] * (len(names) // 2)]
    page.write_text("no markers\n")
    result = run("check", "--exhaustive", "--write", page)
    assert result.code == 2
    assert "has no lines <!-- exhaustive:begin -->" in result.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--exhaustive", "--only", "tan"], "no measured primitive 'tan'; did you mean 'tanh'"),
        (["--only", "tanh"], "--only is for --exhaustive"),
        (["--write", "page.md"], "--write is for --exhaustive"),
    ],
)
def test_misuse_of_the_options_of_exhaustive(words: list[str], text: str, run: Run) -> None:
    result = run("check", *words)
    assert (result.code, result.out) == (2, "")
    assert text in result.err
