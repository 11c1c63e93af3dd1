"""Columns that give the target away are told from those that are merely good."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.data.preprocess.leaks import leak

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 200)
VALUES = RNG.standard_normal(200) * 1e200


@pytest.mark.parametrize(
    ("column", "target", "how"),
    [
        (CLASSES, CLASSES, "equals"),
        (CLASSES * 2 + 1, CLASSES, "correlation"),
        (np.array(["x", "y", "z"])[CLASSES], CLASSES, "3 values has one value"),
        (CLASSES, np.array(["x", "y", "z"])[CLASSES], "3 values has one value"),
        (CLASSES, np.array(["x", "y", "y"])[CLASSES], "3 values has one value"),
        (-5 * VALUES + 1e200, VALUES, "correlation with the target is -1"),
        (np.array(["x", "y", "y"])[CLASSES], CLASSES, ""),
        (VALUES + 0.1e200 * RNG.standard_normal(200), VALUES, ""),
        (VALUES, CLASSES, ""),
        (np.arange(200) // 4, np.arange(200) // 4 % 2 == 0, ""),  # 4 rows each prove nothing
        (CLASSES, np.zeros(200), ""),
        (CLASSES, np.stack([VALUES, CLASSES], 1), "equals"),
        (CLASSES[:10], CLASSES[:10], ""),
        (np.arange(200) % 40, np.arange(200) % 40 == 7, "40 values"),
        (np.arange(200) // 5, np.arange(200) < 4, ""),
    ],
)
def test_leaks(column: Any, target: Any, how: str) -> None:
    series = pl.Series("c", column)
    found = leak(series, series.n_unique(), target)
    assert bool(found) == bool(how)
    assert how in found


def test_rows_without_a_value_do_not_hide_a_leak() -> None:
    series = pl.Series("c", CLASSES).cast(pl.Float64)
    holes = pl.when(pl.Series(range(200)) % 7 == 0).then(None).otherwise(series)
    assert leak(pl.select(holes.alias("c"))["c"], 3, CLASSES) == "it equals the target"
