"""The table of proofs: complete, passing, and able to fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import nn, ops
from chainrule.cli import check
from chainrule.compile import exhaustive
from chainrule.diagnose.proof import CHECKS, Sample, samples
from chainrule.nn.loss import Loss
from chainrule.ops.formula import FORMULAS, formula

from .conftest import Run


def test_everything_is_in_the_table_and_passes(run: Run) -> None:
    result = run("check")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    shown = {kind: {row[1] for row in map(str.split, lines) if row[:1] == [kind]} for kind in
             ("operation", "activation", "loss", "layer")}  # fmt: skip
    assert shown["operation"] | shown["activation"] | shown["loss"] == set(ops.__all__)
    assert FORMULAS.keys() <= shown["activation"] | shown["operation"]
    holders = {"ModuleList", "ModuleDict"}
    losses = {name for name, cls in nn.REGISTRY.items() if issubclass(cls, Loss)}
    assert shown["layer"] == nn.REGISTRY.keys() - holders - losses
    count = len(list(samples()))
    assert lines[-2].endswith(f"{count} samples, {count * len(CHECKS):,} checks")
    assert lines[-1] == f"{sum(map(len, shown.values()))} passed, 0 failed"


@formula
def cube(xp: Any, x: Any) -> Any:
    return x * x * x


@cube.override(saves="x")
def _cube_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    return g * (3.001 * inputs[0] * inputs[0])  # off by a thirtieth of a percent


def test_what_fails_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(name: str, f: Any) -> tuple[str, Sample]:
        x = np.array([0.5, -1.2, 2.0])
        return "activation", Sample(name, f, lambda x: x * x * x, (x,))

    given = [
        sample("right", lambda x: x * x * x),
        sample("slope", cube),
        sample("value", lambda x: x * x * x * 1.0001),
        sample("value", lambda x: x * x * x),
        sample("wide", lambda x: np.asarray(x, np.float64) ** 3),
    ]
    monkeypatch.setattr(check, "samples", lambda: iter(given))
    result = run("check")
    assert result.code == 1
    failed = [line.split()[1] for line in result.out.splitlines() if line.endswith("FAILED")]
    assert failed == ["slope", "value", "wide"]
    assert "wide: types: AssertionError: float32 came out as float64" in result.out
    assert "slope: first derivative: AssertionError: against differences: error" in result.out
    assert result.out.splitlines()[-1] == "1 passed, 3 failed"


def test_one_of_them(run: Run) -> None:
    result = run("check", "--only", "gelu")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "1 passed, 0 failed"
    wrong = run("check", "--only", "gelo")
    assert wrong.code == 2
    assert "did you mean 'gelu'?" in wrong.err


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
        (["--write", "page.md"], "--write is for --exhaustive"),
    ],
)
def test_misuse_of_the_options_of_exhaustive(words: list[str], text: str, run: Run) -> None:
    result = run("check", *words)
    assert (result.code, result.out) == (2, "")
    assert text in result.err
