"""A command run in process, in an empty folder, and small data for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from chainrule.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("train", path)`` in an empty folder; no traceback may show unless asked for."""
    monkeypatch.chdir(tmp_path)

    def call(*words: Any) -> Result:
        capsys.readouterr()
        code = main([str(w) for w in words])
        out, err = capsys.readouterr()
        assert ("Traceback" in err) == ("--debug" in words and code in (1, 2)), err
        return Result(code, out, err)

    return call


def blobs(rows: int = 90, seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Three well separated groups of points in the plane, on scales far from 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    centres = np.array([[0.0, 5.0], [9.0, 5.0], [0.0, -4.0]])
    return (centres[y] + rng.standard_normal((rows, 2))) * [1000.0, 0.01], y


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The blobs as a file."""
    x, y = blobs()
    path = tmp_path / "blobs.npz"
    np.savez(path, X=x, y=y)
    return path


@pytest.fixture
def model(run: Run, data: Path, tmp_path: Path) -> Path:
    """A model of the blobs."""
    path = tmp_path / "blobs.safetensors"
    assert run("train", data, "-o", path, *SHORT).code == 0
    return path


#: A training that takes little time and still learns the blobs.
SHORT = ("--hidden", "16", "--epochs", "12", "--batch-size", "8")
