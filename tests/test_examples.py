"""The examples run as they stand, without a warning, and do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``example(name)``: the names that it defines. What it writes goes to a temporary folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="example")


def test_digits(example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    accuracy = example("digits")["main"]()
    assert accuracy > 0.95
    assert (tmp_path / "digits.safetensors").exists()
    *_, predicted, true = capsys.readouterr().out.splitlines()
    digits = [line[line.index("[") : line.index("]")] for line in (predicted, true)]
    assert sum(a == b for a, b in zip(*digits, strict=True)) >= len(digits[0]) - 1


def test_regression(example: Any) -> None:
    network, line = example("regression")["main"]()
    assert network > 0.95
    assert line < 0.5  # the curve is no straight line, so the network has learned something


def test_custom(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert example("custom")["main"]() < 0.1  # the signal spans from -3 to 3
    assert capsys.readouterr().out.count("True") == 3


def test_gradient_penalty(example: Any) -> None:
    distance, slope = example("gradient_penalty")["main"]()
    assert abs(distance - 1.62) < 0.1  # known in closed form
    assert abs(slope - 1) < 0.2  # what the penalty asks for


def test_capture(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    mean, deviation = example("capture")["main"]()
    assert abs(mean - 2) < 0.2  # the ring that it was shown
    assert deviation < 0.5
    assert "lines were replayed" in capsys.readouterr().out


def test_table(example: Any) -> None:
    pytest.importorskip("polars")
    accuracy, larger = example("table")["main"]()
    assert accuracy > max(0.85, larger + 0.1)


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in here, f"no test runs {path.name}"
