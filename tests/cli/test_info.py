"""What is installed, and what a file holds."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

import chainrule

from .conftest import SHORT, Run


def test_the_machine(run: Run) -> None:
    result = run("info")
    assert (result.code, result.err) == (0, "")
    for text in (chainrule.__version__, platform.python_version(), np.__version__, "printed NumPy"):
        assert text in result.out
    assert [line.split()[0] for line in result.out.splitlines()[:7]] == [
        "chainrule", "Python", "NumPy", "BLAS", "Kernel", "Threads", "Executor",
    ]  # fmt: skip


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
