"""Predictions for tables: columns, forms, blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.predict_table import _free

from .conftest import Run

pl = pytest.importorskip("polars")

QUICK = ("--epochs", "3", "--hidden", "6", "--no-plots", "--quiet", "--members", "2")


@pytest.fixture
def model(run: Run) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    table = {"key": [f"k{k}" for k in range(80)], "x": x, "town": ["p", "q"] * 40,
             "sick": np.where(x > 0, "yes", "no")}  # fmt: skip
    pl.DataFrame(table).write_csv("t.csv")
    assert run("train", "t.csv", "-t", "sick", "--id", "key", *QUICK).code == 0
    return "t.safetensors"


def test_the_id_or_all_columns_stand_before_the_predictions(run: Run, model: str) -> None:
    heads = {}
    for keep in ("id", "all", "none"):
        result = run("predict", model, "t.csv", "--keep", keep, "--probabilities")
        assert (result.code, result.err) == (0, "")
        heads[keep], *rows = result.out.splitlines()
        assert len(rows) == 80
    found = "predicted_sick,sick=no,sick=yes"
    assert heads == {"id": f"key,{found}", "all": f"key,x,town,sick,{found}", "none": found}
    assert run("predict", model, "t.csv").out.startswith("key,predicted_sick\nk0,")


def test_every_form_holds_the_same(run: Run, model: str) -> None:
    frame = pl.read_csv("t.csv")
    frame.write_parquet("t.parquet")
    for name in ("o.csv", "o.tsv", "o.parquet", "o.npy"):
        result = run("predict", model, "t.parquet", "-o", name, "--probabilities")
        assert (result.code, result.out) == (0, "")
        assert f"{name}: 80 rows, with predicted_sick, sick=no, sick=yes" in result.err
    csv, exact = pl.read_csv("o.csv"), pl.read_parquet("o.parquet")
    assert csv.equals(pl.read_csv("o.tsv", separator="\t"))
    assert csv["predicted_sick"].equals(exact["predicted_sick"])
    np.testing.assert_allclose(csv["sick=yes"], exact["sick=yes"], atol=1e-6)
    assert np.load("o.npy", allow_pickle=False)[:, 0].tolist() == exact["predicted_sick"].to_list()
    assert run("predict", model, "t.csv", "-o", "one.npy").code == 0
    assert np.load("one.npy").shape == (80,)
    # and Python says the same
    pipeline = Pipeline.load(model)
    assert pipeline.preprocessor is not None
    logits = cr.load(model)(pipeline.preprocessor.transform(frame)).detach().numpy()
    np.testing.assert_array_equal(
        cr.ops.softmax(logits.astype(float), axis=1)[:, 1], exact["sick=yes"]
    )


def test_blocks_do_not_matter(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pl.read_csv("t.csv").write_parquet("t.parquet", row_group_size=13)
    whole = {d: run("predict", model, d, "--keep", "all").out for d in ("t.csv", "t.parquet")}
    from chainrule.cli import predict_table

    original = predict_table.scan_table
    monkeypatch.setattr(
        predict_table, "scan_table", lambda *args, **more: original(*args, **more, block=13)
    )
    assert run("predict", model, "t.csv", "--keep", "all").out == whole["t.csv"]
    assert run("predict", model, "t.parquet", "-o", "o.parquet").code == 0
    assert pl.read_parquet("o.parquet").height == 80
    # what is wrong in a later block names its row, and leaves nothing behind
    frame = pl.read_csv("t.csv")
    frame = frame.with_columns(
        pl.when(pl.arange(80) == 70).then(float("inf")).otherwise("x").alias("x")
    )
    frame.write_parquet("bad.parquet")
    for out in ("bad.csv", "bad2.parquet"):
        result = run("predict", model, "bad.parquet", "-o", out)
        assert (result.code, Path(out).exists()) == (2, False)
        assert "row 5" in result.err
        assert "counted from data row 66" in result.err


def test_names_that_are_taken_get_a_number(run: Run, model: str) -> None:
    assert _free(["a", "b"], ["a", "a_2"]) == ["a_3", "b"]
    assert run("predict", model, "t.csv", "-o", "first.csv", "--keep", "all").code == 0
    result = run("predict", model, "first.csv", "--keep", "all")
    assert result.out.startswith("key,x,town,sick,predicted_sick,predicted_sick_2\n")
    assert "predicted_sick as predicted_sick_2" in result.err


def test_values_and_several_targets(run: Run) -> None:
    x = np.linspace(-1, 1, 80)
    pl.DataFrame({"x": x, "a": 100 * x + 1e6, "b": x**2}).write_csv("v.csv")
    assert run("train", "v.csv", "-t", "a", "-t", "b", *QUICK).code == 0
    out = run("predict", "v.safetensors", "v.csv", "--keep", "none").out.splitlines()
    assert out[0] == "predicted_a,predicted_b"
    values = np.array([[float(v) for v in row.split(",")] for row in out[1:]])
    assert abs(values[:, 0].mean() - 1e6) < 200
    result = run("predict", "v.safetensors", "v.csv", "--probabilities")
    assert (result.code, "needs a classifier" in result.err) == (2, True)
