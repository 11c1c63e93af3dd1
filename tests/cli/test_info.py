"""What is installed, and what a file holds."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule.cli.info import _executor
from chainrule.compile import build

from .conftest import SHORT, Run


def test_the_machine(run: Run) -> None:
    result = run("info")
    assert (result.code, result.err) == (0, "")
    for text in (chainrule.__version__, platform.python_version(), np.__version__):
        assert text in result.out
    assert [line.split()[0] for line in result.out.splitlines()[:7]] == [
        "chainrule", "Python", "NumPy", "BLAS", "Kernel", "Threads", "Executor",
    ]  # fmt: skip


def executor() -> str:
    return " ".join(" ".join(_executor()).split())


def test_why_formulas_run_as_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "off")
    assert executor() == "Executor NumPy: CHAINRULE_NATIVE=off turns native code off"
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    monkeypatch.setattr(build, "runtime", lambda: None)
    monkeypatch.setenv("CC", "cc-that-is-not-there")
    assert "NumPy: there is no C compiler" in executor()
    assert "Compiler none" in executor()
    compiler = build.Compiler(["cc", "-m64"], Path(__file__))
    monkeypatch.setattr(build, "find_compiler", lambda: compiler)
    assert "headers" in executor()
    assert "Compiler cc -m64" in executor()
    monkeypatch.setattr(build, "runtime", lambda: warnings.warn("it failed: no", stacklevel=2))
    assert "NumPy: it failed: no" in executor()


def test_what_runs_as_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    monkeypatch.setattr(build, "runtime", lambda: object())
    monkeypatch.setattr(build, "catalogue", lambda: {"relu": 1, "adam": 2})
    monkeypatch.setattr(build, "cache_folder", lambda: Path("kept"))
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    assert f"C for {build.variants()[0]}; 2 kernels came with the package" in executor()
    assert "other kernels run as NumPy" in executor()
    monkeypatch.setattr(build, "find_compiler", lambda: build.Compiler(["gcc"], Path(__file__)))
    assert "Compiler gcc for other kernels; they are kept in kept" in executor()
    monkeypatch.setenv("CHAINRULE_NATIVE", "always")
    assert "small operations too (CHAINRULE_NATIVE=always)" in executor()
    monkeypatch.setenv("CHAINRULE_NATIVE", "shipped")
    assert "gcc, not used: CHAINRULE_NATIVE=shipped" in executor()


def test_a_model(run: Run, model: Path) -> None:
    result = run("info", model)
    assert (result.code, result.err) == (0, "")
    for text in (
        "a model",
        "classification, 3 classes: 0, 1, 2",
        "blobs.npz, 90 rows: 63 to train, 9 to validate, 18 to test",
        "rows of 2 numbers as they are; the model standardises them itself",
        "Standardize(2 features)",
        "Dense(2 -> 16, relu)",
        "optimizer AdamW",
        f"numpy {np.__version__}",
        "On the test rows",
        "Confusion matrix",
    ):
        assert text in result.out
    assert max(map(len, result.out.splitlines())) <= 80 + len(str(model))


def test_a_model_of_values_says_what_it_gives(run: Run) -> None:
    x = np.linspace(-1, 1, 80)[:, None]
    np.savez("line.npz", X=x, y=50 * x[:, 0] + 1000)
    assert run("train", "line.npz", *SHORT).code == 0
    assert "standardised values; predict undoes that" in run("info", "line.safetensors").out


def test_a_checkpoint(run: Run, data: Path) -> None:
    assert run("train", data, *SHORT, "--checkpoint", "c.safetensors").code == 0
    result = run("info", "c.safetensors")
    assert "a checkpoint" in result.out
    assert "after 12 epochs, 96 steps" in result.out
    assert "Dense(2 -> 16, relu)" in result.out


def test_a_model_of_a_user(run: Run) -> None:
    from chainrule import nn
    from chainrule.serialize.model import save

    save(nn.Dense(2, 3), "own.safetensors", {"note": "mine"})
    assert "Dense(2 -> 3)" in run("info", "own.safetensors").out


def test_no_model(run: Run, data: Path) -> None:
    assert run("info", "none").code == 2
    result = run("info", data)
    assert (result.code, "zip file" in result.err) == (2, True)
    Path("cut.safetensors").write_bytes(b"\0" * 5)
    assert run("info", "cut.safetensors").code == 2
