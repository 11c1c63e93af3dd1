"""Moments as time passed and places in cycles."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.array.errors import DataError
from chainrule.data.preprocess.moments import Moments


def written(encoder: Moments, values: list[Any]) -> list[list[float]]:
    out = np.zeros((len(values), len(encoder.names())), np.float32)
    encoder.write(encoder.read(pl.Series(values)), out)
    return out.tolist()


def test_moments_have_the_cycles_that_vary() -> None:
    start = datetime(2020, 1, 1)
    days = Moments.fit(pl.Series("t", [start + timedelta(days=k) for k in range(200)]), "standard")
    assert days.cycles == ["year", "week"]
    hours = Moments.fit(pl.Series("t", [start + timedelta(hours=k) for k in range(20)]), "standard")
    assert hours.cycles == ["day"]
    assert hours.names() == ["t", "t sin of day", "t cos of day"]
    (row,) = written(hours, [datetime(2020, 1, 1, 6)])
    np.testing.assert_allclose(row[1:], [1, 0], atol=1e-6)
    (monday,) = written(days, [datetime(2020, 1, 6)])
    np.testing.assert_allclose(monday[3:], [0, 1], atol=1e-6)
    np.testing.assert_allclose(monday[1:3], [np.sin(2 * np.pi * 5 / 365.25), 1], atol=0.01)


def test_missing_moments_stand_in_the_middle() -> None:
    values = pl.Series("t", [datetime(2020, 1, 1), datetime(2020, 1, 3), None])
    encoder = Moments.fit(values, "standard")
    assert encoder.names() == ["t", "t is missing", "t sin of week", "t cos of week"]
    assert written(encoder, [None]) == [[0, 1, 0, 0]]
    later = Moments.fit(values.head(2), "standard")
    assert later.notes(later.read(pl.Series([None]))) == [
        "t: 1 row without a value, where training had none; taken as the median"
    ]


def test_times_and_durations() -> None:
    clock = Moments.fit(pl.Series("t", [time(0), time(12)]), "standard")
    assert clock.names() == ["t", "t sin of day", "t cos of day"]
    lasting = Moments.fit(pl.Series("t", [timedelta(hours=1), timedelta(hours=3)]), "standard")
    assert written(lasting, [timedelta(hours=2), timedelta(hours=3)]) == [[0], [1]]
    with pytest.raises(DataError, match="expected durations"):
        written(lasting, [3])


def test_text_dates_stand_for_dates() -> None:
    encoder = Moments.fit(pl.Series("t", [datetime(2020, 1, k) for k in (1, 2, 3)]), "standard")
    assert written(encoder, ["2020-01-02"]) == written(encoder, [datetime(2020, 1, 2)])
