"""Generated tables and options: never a traceback, never a NaN in what is written."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.cli import main

pl = pytest.importorskip("polars")

NAMES = ["a", "b", "y=1", "predicted_y", "sp ace", 'quo"te', "é", "0"]
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(-3, 9),
    "real": st.floats(-1e6, 1e6).map(lambda v: round(v, 3)),
    "wild": st.sampled_from([0.0, 1e-300, 1e38, -1e308, 5e-324, math.inf, math.nan]),
    "text": st.sampled_from(["p", "q", "r", "-", "x,y", "née", "NA", "1"]),
    "words": st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=9),
    "yes": st.booleans(),
    "day": st.dates().map(str),
    "empty": st.just(None),
    "constant": st.just("same"),
}
#: What a target mostly holds, so that most tables can be learned from.
CYCLES: list[list[Any]] = [
    [0, 1], ["no", "yes", "no"], ["p", "q", "r"], [True, False], [0.5, 1.25, -3.0, 9.0, 2.5],
    [10**12, 2, 3, 4, 5, 6, 7], [1e300, -1e300, 0.5], [1e-30, 2e-30, 0.5e-30],
]  # fmt: skip
KINDS = ("numeric", "categorical", "text", "boolean", "datetime", "identifier")
PLAIN = [
    ("--task", "classification"), ("--task", "regression"), ("--scaling", "robust"),
    ("--scaling", "quantile"), ("--scaling", "none"), ("--test-fraction", "0"),
    ("--validation-fraction", "0"), ("--cv", "2"), ("--seeds", "2"), ("--search", "1"),
    ("--class-weight", "balanced"), ("--label-smoothing", "0.1"), ("--hidden", ""),
    ("--optimizer", "sgd"), ("--schedule", "none"), ("--split-seed", "3"), ("--patience", "1"),
    ("--time-limit", "0.01"),
]  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, list[Any]], list[str]]:
    """A table and the options of a training on it."""
    rows = draw(st.sampled_from([0, 1, 5, 20, 24, 31, 40, 40]))
    table: dict[str, list[Any]] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)):
        cell = CELLS[draw(st.sampled_from(sorted(CELLS)))]
        missing = draw(st.sampled_from([0, 0, 5]))
        values = [draw(cell) for _ in range(min(rows, 12))]
        table[name] = [
            None if missing and k % missing == 2 else values[(k * 7 + k // 12) % len(values)]
            for k in range(rows)
        ]
    names = list(table)
    cycle = draw(st.sampled_from(CYCLES))
    table["y"] = [cycle[k % len(cycle)] for k in range(rows)]
    targets = ["y", *draw(st.sampled_from([[], [], [], names[:1]]))]
    words = [w for t in targets for w in ("--target", t)]
    for option, value in draw(
        st.lists(st.sampled_from(PLAIN), max_size=3, unique_by=lambda pair: pair[0])
    ):
        words += [option, value]
    for option in draw(st.sampled_from([[], [], ["--group"], ["--time"], ["--id"], ["--drop"]])):
        words += [option, draw(st.sampled_from(names))]
    if draw(st.booleans()):
        words += ["--kind", f"{names[0]}={draw(st.sampled_from(KINDS))}"]
    if members := draw(st.sampled_from(["1", "1", "1", "2", "3", ""])):
        words += ["--members", members]
    return table, words


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


def fine(code: int, err: str) -> bool:
    """Whether a command did it; otherwise it must have said in one line what was wrong."""
    assert code in (0, 2), err
    assert "Traceback" not in err
    if code == 2:
        assert err.splitlines()[-1].startswith(("chainrule: error: ", "see: ")), err
    return code == 0


@pytest.fixture(autouse=True, scope="module")
def few_resamples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.cli.assessment._FEWEST_RESAMPLES", 20)
        patch.setattr("chainrule.cli.assessment._DRAWN", 1)
        yield


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(requests(), st.sampled_from(["csv", "parquet"]))
def test_any_table_is_learned_or_refused_in_a_line(
    request: tuple[dict[str, list[Any]], list[str]], form: str
) -> None:
    table, words = request
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        frame = pl.DataFrame(table, strict=False)
        path = f"t.{form}"
        frame.write_csv(path) if form == "csv" else frame.write_parquet(path)
        quick = ("--epochs", "2", "--batch-size", "16", "--no-plots", "--json", "--quiet")
        code, out, err = call("train", path, *words, *quick)
        if not fine(code, err):
            assert os.listdir() == [path]
            assert out == ""
            return
        json.loads(out, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
        json.loads(Path("t-run", "results.json").read_text("utf-8"), parse_constant=pytest.fail)
        code, _, err = call("evaluate", "t.safetensors", path, "--json")
        fine(code, err)
        for more in ((), ("--probabilities",)):
            code, _, err = call("predict", "t.safetensors", path, "-o", "p.parquet", *more)
            if fine(code, err):
                found = pl.read_parquet("p.parquet")
                assert found.height == frame.height
                added = found.columns[len(frame.columns) :] if "--id" not in words else []
                for name in added:
                    assert not found[name].null_count()
                    if found[name].dtype.is_float():
                        assert found[name].is_finite().all()
                os.unlink("p.parquet")
        assert call("info", "t.safetensors")[0] == 0
