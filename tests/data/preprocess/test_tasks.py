"""The task that a target sets, and the targets that set none."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.array.errors import DataError
from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.tasks import decide


@pytest.mark.parametrize(
    ("y", "asked", "task", "why"),
    [
        (["a", "b"] * 3, "auto", "binary", "'y' holds text with 2 values"),
        (["a", "b", "c"] * 3, "auto", "multiclass", "text with 3 values"),
        ([True, False] * 3, "auto", "binary", "booleans"),
        ([0, 1] * 3, "auto", "binary", "whole numbers with 2 values"),
        ([0, 1, 2] * 50, "auto", "multiclass", "whole numbers with 3 values, 50 rows each"),
        ([0.0, 1.0, 2.0, None] * 50, "auto", "multiclass", "whole numbers with 3 values"),
        (list(range(20)) * 5, "auto", "multiclass", "20 values"),
        (list(range(21)) * 9, "auto", "regression", "21 different values in 189 rows"),
        (list(range(10)) * 4, "auto", "regression", "10 different values in 40 rows"),
        ([0.5, 1.0], "auto", "regression", "numbers that are not whole"),
        (["1.5", "2", " 3 "], "auto", "regression", "numbers that are not whole"),
        (["1", "2"] * 5, "auto", "binary", "whole numbers"),
        ([0, 1, 2] * 50, "regression", "regression", "asked for; 'y' holds whole numbers"),
        ([1, 2, 3] * 2, "classification", "multiclass", "asked for"),
        ([1, 2] * 2, "multiclass", "multiclass", "asked for"),
        ({"a": [0, 1], "b": [1, 0]}, "auto", "multilabel", "several columns of 0 and 1"),
        ({"a": [0.0, 1.0], "b": [True, False]}, "classification", "multilabel", "asked for"),
        ({"a": [0, 1], "b": [1, 0]}, "regression", "regression", "asked for"),
        ({"a": [0.5, 1], "b": [7, 8]}, "auto", "regression", "several columns of numbers"),
        ([0, 1], "multilabel", "multilabel", "asked for"),
    ],
)
def test_tasks(y: Any, asked: str, task: str, why: str) -> None:
    decision = decide(to_frame(y, column="y"), asked)
    assert decision.task == task
    assert why in decision.why


@pytest.mark.parametrize(
    ("y", "asked", "message"),
    [
        ([], "auto", "there are no rows"),
        ([None, None], "auto", "all targets are missing in 'y'"),
        ({"a": [1, None], "b": [None, 1]}, "auto", "all targets are missing in 'a', 'b'"),
        (["a"] * 4, "auto", "a single class, 'a', in all 4 rows"),
        ([True, True, None], "auto", "a single class, True, in all 2 rows"),
        ([1.5] * 3, "auto", "is 1.5 in all 3 rows; there is nothing to learn"),
        (["a", "a", "b"], "auto", "class 'b' has one row"),
        (["a", "a", "b", "c"], "auto", r"2 classes \('b', 'c'\) have one row"),
        (
            [f"n{k}" for k in range(20)],
            "auto",
            "20 classes in 20 rows, nearly one per row: .* iden",
        ),
        (list(range(20)), "classification", "a value to predict"),
        (["1"] * 19 + ["one"], "auto", r"1 value that is no number \(row 19: 'one'\).*task class"),
        (["a", None, "1"], "regression", r"row 0: 'a'\). Regression needs numbers"),
        ([1.0, np.inf, None, -np.inf], "auto", r"2 values that are infinite \(row 1: inf, row 3"),
        ([1.0, None, 2.5], "classification", r"not whole \(row 2: 2.5\)"),
        ([1e300, 1.0] * 2, "classification", "too large to tell classes apart"),
        ([1, 2, 3] * 2, "binary", r"needs two classes; the target 'y' has 3 \(1, 2, 3\)"),
        ([date(2020, 1, 1)] * 2, "auto", "has type Date"),
        ({"a": [0, 1], "b": [1.5, 2]}, "auto", "do not go together"),
        ({"a": [0, 1], "b": ["x", "y"]}, "auto", "'b' holds text"),
        ({"a": ["u", "v"], "b": ["x", "y"]}, "regression", "column 'a' has 2 values"),
        ({"a": [0, 1], "b": [1, 1]}, "auto", "'b' is 1 in all 2 rows: a single class"),
        ({"a": [0, 2]}, "multilabel", "needs 0 and 1"),
        ({"a": [0, 1, 2] * 2, "b": [0, 1, 2] * 2}, "classification", "under task classification"),
    ],
)
def test_targets_that_set_no_task(y: Any, asked: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decide(to_frame(y, column="y"), asked)


def test_no_target_at_all() -> None:
    with pytest.raises(DataError, match="no target column"):
        decide(pl.DataFrame(), "auto")
