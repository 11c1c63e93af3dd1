"""Measurements of a model of tables, in the unit of its targets."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.cli.outcome import baseline_of, importance, judge
from chainrule.cli.pipeline import Pipeline
from chainrule.data.preprocess import TablePreprocessor, Target
from chainrule.nn import Dense

pl = pytest.importorskip("polars")

FRAME = pl.DataFrame(
    {"x": np.arange(40) - 19.5, "noise": np.arange(40) % 7, "y": np.arange(40) * 5.0 + 100}
)


def line() -> Pipeline:
    """A model that knows the line: standardised x in, standardised y out."""
    model = Dense(2, 1)
    model.load_state_dict(
        {"weight": np.array([[1.0, 0.0]], np.float32), "bias": np.zeros(1, np.float32)}
    )
    preprocessor = TablePreprocessor(drop=["y"], kinds={"x": "numeric", "noise": "numeric"}).fit(
        FRAME
    )
    return Pipeline.of_table(model, preprocessor, Target().fit(FRAME.select("y")), {})


def test_errors_are_in_the_unit_of_the_target() -> None:
    pipeline = line()
    assert pipeline.target is not None
    frame = FRAME.with_columns(FRAME["y"] + 10)
    pipeline.about["baseline"] = baseline_of(pipeline.target, pipeline.target.encode(FRAME))
    assert pipeline.about["baseline"] == [pytest.approx(197.5, rel=1e-6)]
    found = judge(pipeline, frame, pipeline.table_scores(frame), intervals=False)
    assert found["metrics"]["mae"]["value"] == pytest.approx(10, rel=1e-4)
    assert found["metrics"]["rmse"]["value"] == pytest.approx(10, rel=1e-4)
    assert "197.5" in found["baseline"]["text"]
    assert found["worst"][0]["error"] == pytest.approx(-10, rel=1e-4)


def test_the_columns_that_are_used_come_first() -> None:
    pipeline = line()
    assert pipeline.preprocessor is not None
    assert pipeline.target is not None
    x, y = pipeline.preprocessor.transform(FRAME), pipeline.target.encode(FRAME)
    first, second = importance(pipeline, x, y)
    assert (first["column"], second["column"]) == ("x", "noise")
    assert first["mean"] == pytest.approx(2, rel=0.5)  # twice the variance of y
    assert second["mean"] == 0


def test_ids_stand_beside_the_worst_rows() -> None:
    pipeline = line()
    pipeline.about["data"] = {"ids": ["noise"]}
    found = judge(
        pipeline, FRAME, pipeline.table_scores(FRAME), rows=range(101, 141), intervals=False
    )
    for row in found["worst"]:
        assert row["id"] == (row["row"] - 101) % 7
