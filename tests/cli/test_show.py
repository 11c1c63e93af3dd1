from __future__ import annotations

from pathlib import Path

import pytest

import chainrule as cr
from chainrule.cli import main


def test_a_training_step_as_c_and_as_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--numpy"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("def step(x1, x2):")
    assert "adam(" in text
    assert main(["show"]) == 0
    text = capsys.readouterr().out
    assert "cross_entropy" in text
    assert len(text.splitlines()) < 200


def test_a_prediction_of_a_trained_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--epochs", "1", "--quiet", "-o", "m.safetensors"]) == 0
    capsys.readouterr()
    assert main(["show", "m.safetensors", "--predict", "--numpy", "--batch", "3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("def predict(x1):")
    assert "standardize(" in text
    assert "adam(" not in text


def test_the_step_of_an_ensemble_is_that_of_one_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "m.safetensors")
    networks = [cr.nn.Sequential(cr.nn.Dense(4, 6), cr.nn.Dense(6, 3)) for _ in range(2)]
    cr.save(cr.nn.Ensemble(networks), path, {"input_shape": [4]})
    assert main(["show", path]) == 0
    step = capsys.readouterr().out
    cr.save(networks[0], path, {"input_shape": [4]})
    assert main(["show", path]) == 0
    assert capsys.readouterr().out == step


def test_a_file_that_says_nothing_of_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.safetensors"
    cr.save(cr.nn.Dense(2, 1), path)
    assert main(["show", str(path)]) == 2
    assert "does not say what a row looks like" in capsys.readouterr().err
