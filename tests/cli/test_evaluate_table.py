"""A model of tables measured on other rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chainrule.serialize.model import read_metadata

from .conftest import Run

pl = pytest.importorskip("polars")

QUICK = ("--epochs", "3", "--hidden", "6", "--no-plots", "--quiet", "--members", "1")


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return pl.DataFrame(
        {"key": [f"k{k}" for k in range(rows)], "x": x, "y": np.where(x > 0, "b", "a")}
    )


@pytest.fixture
def model(run: Run) -> str:
    table(90).write_csv("t.csv")
    table(40, 1).write_csv("test.csv")
    assert run("train", "t.csv", "-t", "y", "--id", "key", "--test", "test.csv", *QUICK).code == 0
    return "t.safetensors"


def test_it_is_the_report_of_the_training(run: Run, model: str) -> None:
    result = run("evaluate", model, "test.csv", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    then = read_metadata(model)["metrics"]["test"]
    assert {k: found[k] for k in then} == then
    said = run("evaluate", model, "test.csv").out
    for text in ("t.safetensors: binary of y", "test.csv: 40 rows", "accuracy", "Confusion matrix"):
        assert text in said


def test_rows_that_were_trained_on_are_noticed(run: Run, model: str) -> None:
    assert "its 81 training rows among them" in run("evaluate", model, "t.csv").err


def test_rows_without_the_truth_are_left_out(run: Run, model: str) -> None:
    frame = table(30, 2).with_columns(
        pl.when(pl.arange(30) < 5).then(None).otherwise("y").alias("y")
    )
    frame.write_csv("n.csv")
    result = run("evaluate", model, "n.csv", "--json")
    assert "5 rows without y left out" in result.err
    found = json.loads(result.out)
    assert found["rows"] == 25
    assert min(w["row"] for w in found["worst"]) > 5
    frame.drop("y").write_csv("n.csv")
    result = run("evaluate", model, "n.csv")
    assert (result.code, "no column 'y'" in result.err) == (2, True)
    table(30).with_columns(y=pl.lit("c")).write_csv("n.csv")
    result = run("evaluate", model, "n.csv")
    assert (result.code, "'c'" in result.err) == (2, True)
