"""The command as a whole: exit codes, one-line errors, signals, closed pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import cli

from .conftest import Run


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "chainrule", *words]


def raising(error: BaseException) -> Any:
    class Parser:
        def parse_args(self, argv: Any) -> Any:
            def fail(arguments: Any) -> int:
                raise error

            return type("Arguments", (), {"debug": "--debug" in argv, "run": staticmethod(fail)})

    return Parser


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (chainrule.DataError("row 3"), 2, "row 3"),
        (chainrule.ShapeError("expected\n (B, 2)"), 2, "expected (B, 2)"),
        (chainrule.FileFormatError("cut off"), 2, "cut off"),
        (chainrule.MissingExtraError("pip install"), 2, "pip install"),
        (FileNotFoundError(2, "No such file or directory", "a.npz"), 2, "a.npz: No such file"),
        (PermissionError(13, "Permission denied", "a.npz"), 2, "a.npz: Permission denied"),
        (IsADirectoryError(21, "Is a directory", "a"), 2, "a: Is a directory"),
        (chainrule.NonFiniteError("loss became nan"), 1, "loss became nan"),
        (OSError(28, "No space left on device", "a"), 1, "a: No space left on device"),
        (RuntimeError("surprise"), 1, "RuntimeError: surprise (chainrule --debug … shows where)"),
        (KeyError("surprise"), 1, "KeyError: 'surprise'"),
    ],
)
def test_every_error_has_its_code_and_one_line(
    error: Exception, code: int, text: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "parser", raising(error))
    result = run("train")
    assert result.code == code
    assert result.out == ""
    assert result.err.startswith(f"chainrule: error: {text}")
    assert result.err.count("\n") == 1
    assert run("train", "--debug").code == code  # with the traceback, which `run` demands


def test_ctrl_c_outside_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "parser", raising(KeyboardInterrupt()))
    assert run("info") == (130, "", "chainrule: interrupted\n")


def test_debug_stands_before_or_after_the_command(run: Run) -> None:
    for words in (["--debug", "train", "no.npz"], ["train", "no.npz", "--debug"]):
        result = run(*words)
        assert result.code == 2
        assert "in read_arrays" in result.err
        assert result.err.endswith("chainrule: error: no.npz: No such file or directory\n")


def test_without_a_command_the_help_says_where_to_start(run: Run) -> None:
    result = run()
    assert result.code == 0
    assert "Start with: chainrule train" in result.out
    assert run("--version") == (0, f"chainrule {chainrule.__version__}\n", "")


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        command("check"), stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, b"")


def test_ctrl_c_saves_the_model(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("train", "--epochs", "100000", "--schedule", "none"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("    2  "):  # the second epoch is through
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "chainrule: interrupted: the model so far is in digits.safetensors\n"
    assert ", interrupted." in " ".join(out.split())
    assert "Test" not in out
    assert cli.main(["info", str(tmp_path / "digits.safetensors")]) == 0


def test_the_default_run(tmp_path: Path) -> None:
    """No arguments, a fresh process: the digits are learned, and everything is said."""
    start = time.perf_counter()
    process = subprocess.run(command("train"), capture_output=True, text=True, cwd=tmp_path)
    seconds = time.perf_counter() - start
    assert (process.returncode, process.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["digits.safetensors"]
    lines = process.stdout.splitlines()
    for start_of_line in ("Data ", "Task ", "Split ", "Training ", "Test ", "Saved ", "Next "):
        assert any(line.startswith(start_of_line) for line in lines), start_of_line
    epochs = [line.split() for line in lines if line[:5].strip().isdigit() and len(line) > 70]
    assert [int(row[0]) for row in epochs] == list(range(1, 21))
    accuracy = next(line.split()[1] for line in lines if line.startswith("accuracy "))
    assert 0.95 < float(accuracy) <= 1
    assert max(map(len, lines)) <= 80
    assert seconds < 20  # about half a second where nothing else runs
    assert lines[-1] == "Next       chainrule evaluate digits.safetensors"


def test_the_digits_are_learned_on_average(run: Run) -> None:
    found = []
    for seed in range(5):
        result = run("train", "--json", "--quiet", "--seed", seed)
        assert result.code == 0
        found.append(json.loads(result.out)["metrics"]["test"]["accuracy"])
    assert np.mean(found) >= 0.97
