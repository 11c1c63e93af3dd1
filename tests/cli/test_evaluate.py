"""Measuring a saved model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chainrule.serialize.model import read_metadata

from .conftest import SHORT, Run, blobs


def test_the_metrics_are_those_of_the_predictions(run: Run, model: Path) -> None:
    x, y = blobs(60, seed=5)
    y[:7] = (y[:7] + 1) % 3  # seven rows it must get wrong
    np.savez("new.npz", X=x, y=y)
    found = json.loads(run("evaluate", model, "new.npz", "--json").out)
    assert (found["rows"], found["accuracy"]) == (60, pytest.approx(53 / 60))
    assert np.trace(found["confusion_matrix"]) == 53
    assert [c["rows"] for c in found["classes"]] == np.bincount(y).tolist()
    result = run("evaluate", model, "new.npz")
    assert (result.code, result.err) == (0, "")
    for text in ("accuracy", "0.8833", "macro F1", "precision", "Confusion matrix", "60 rows"):
        assert text in result.out


def test_the_digits_model_is_measured_on_its_test_part(run: Run) -> None:
    assert run("train", "--epochs", 2).code == 0
    found = json.loads(run("evaluate", "digits.safetensors", "--json").out)
    test = read_metadata("digits.safetensors")["metrics"]["test"]
    assert found["rows"] == 359
    assert {k: found[k] for k in test} == test


def test_the_digits_without_a_test_part(run: Run) -> None:
    assert run("train", "--epochs", 1, "--test-fraction", 0).code == 0
    result = run("evaluate", "digits.safetensors")
    assert (result.code, "trained without a test part" in result.err) == (2, True)
    x, y = blobs()
    with open("digits", "wb") as file:  # a file of the same name is no reason for confusion
        np.savez(file, X=x, y=y)
    assert run("train", "digits", *SHORT).code == 0
    result = run("evaluate", "digits.safetensors")
    assert (result.code, "trained on a file called digits" in result.err) == (2, True)


def test_rows_that_were_trained_on_are_noticed(run: Run, model: Path, data: Path) -> None:
    result = run("evaluate", model, data)
    assert result.code == 0
    assert "these are the rows the model was trained on, its 63 training rows" in result.err


def test_regression(run: Run) -> None:
    x = np.linspace(-1, 1, 80)[:, None]
    np.savez("line.npz", X=x, y=50 * x[:, 0] + 1000)
    assert run("train", "line.npz", *SHORT).code == 0
    result = run("evaluate", "line.safetensors", "line.npz")
    assert "root mean squared error" in result.out
    assert "Confusion" not in result.out


def test_what_does_not_fit(run: Run, model: Path, data: Path) -> None:
    x, y = blobs(9)
    for arrays, text in (
        (
            {"X": x[:, :1], "y": y},
            "X has shape (9, 1); the model was trained on rows of shape (2,)",
        ),
        ({"X": x, "y": y.astype(str)}, "y holds text, the model's classes are integers"),
        ({"X": x, "y": y + 2}, "y holds class 3 at row 1, which the model does not know"),
        ({"X": x}, "no array 'y'"),
        ({"X": x * np.nan, "y": y}, "X contains 18 non-finite values"),
    ):
        np.savez("bad.npz", **arrays)
        result = run("evaluate", model, "bad.npz")
        assert (result.code, result.out) == (2, "")
        assert text in result.err
    result = run("evaluate", model)
    assert (result.code, "the model was trained on blobs.npz" in result.err) == (2, True)
    result = run("evaluate", data, data)
    assert (result.code, "zip file" in result.err) == (2, True)
    result = run("evaluate", "none.safetensors", data)
    assert (result.code, "none.safetensors" in result.err) == (2, True)


def test_a_model_of_a_user_is_not_guessed_at(run: Run, data: Path) -> None:
    from chainrule import nn
    from chainrule.serialize.model import save

    save(nn.Dense(2, 3), "own.safetensors")
    result = run("evaluate", "own.safetensors", data)
    assert result.code == 2
    assert "not written by chainrule train" in result.err
