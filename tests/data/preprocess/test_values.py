"""Numbers, booleans, text and moments, in every form a file may give them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from chainrule.array.errors import DataError
from chainrule.data.preprocess.values import (
    as_booleans,
    as_moments,
    as_numbers,
    as_text,
    family_of,
    filled,
    text_of,
)

DAY = 86_400_000_000


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, 2, None]),
        pl.Series([1.0, 2.0, float("nan")]),
        pl.Series([" 1", "2.0 ", ""]),
        pl.Series([Decimal(1), Decimal(2), None]),
        pl.Series(["1", "2", None], dtype=pl.Categorical),
    ],
    ids=lambda s: str(s.dtype),
)
def test_numbers(values: pl.Series) -> None:
    assert as_numbers(values).to_list() == [1.0, 2.0, None]
    assert as_numbers(pl.Series([None, None])).to_list() == [None, None]


def test_what_are_no_numbers_is_named_by_row() -> None:
    values = pl.Series("age", ["1", "x", None, *["old"] * 8])
    with pytest.raises(DataError) as caught:
        as_numbers(values)
    text = str(caught.value)
    assert "column 'age' has 9 values that are no numbers (row 1: 'x', row 3: 'old'" in text
    assert "row 6: 'old', …)" in text
    assert "row 7" not in text
    with pytest.raises(DataError, match=r"1 value that is infinite \(row 1: -inf\)"):
        as_numbers(pl.Series("age", [1.0, float("-inf")]))
    with pytest.raises(DataError, match="type Date; expected numbers"):
        as_numbers(pl.Series([date(2020, 1, 1)]))


def test_booleans() -> None:
    expected = [True, False, None]
    for values in ([True, False, None], ["YES", "n", " "], [1, 0, None], [1.0, 0.0, None]):
        assert as_booleans(pl.Series(values)).to_list() == expected
    with pytest.raises(DataError, match=r"row 1: 'perhaps'"):
        as_booleans(pl.Series(["yes", "perhaps"]))
    with pytest.raises(DataError, match=r"row 0: 2\)"):
        as_booleans(pl.Series([2]))


def test_text_is_the_same_for_the_same_value() -> None:
    for values in ([3, None], [3.0, float("nan")], ["3", ""], [3.0, None]):
        assert as_text(pl.Series(values)).to_list() == ["3", None]
    assert as_text(pl.Series([1e300, -0.5, 2.0**60])).null_count() == 0
    assert as_text(pl.Series([True])).to_list() == [text_of(True)] == ["true"]
    for value in (7, 2.5, 4.0, "é", False, 1e20):
        assert as_text(pl.Series([value])).to_list() == [text_of(value)]
    with pytest.raises(DataError, match="expected text or numbers"):
        as_text(pl.Series([[1, 2]]))


@pytest.mark.parametrize(
    ("values", "family", "expected"),
    [
        ([date(1970, 1, 2), None], "dates", [DAY, None]),
        ([datetime(1970, 1, 1, 0, 0, 1), None], "dates", [1_000_000, None]),
        (["1970-01-02", ""], "dates", [DAY, None]),
        (["1970-01-02T00:00", None], "dates", [DAY, None]),
        (["1970-01-01 00:00:01.5", None], "dates", [1_500_000, None]),
        ([timedelta(days=1), None], "durations", [DAY, None]),
        ([time(0, 0, 2), None], "times", [2_000_000, None]),
    ],
)
def test_moments(values: list[Any], family: str, expected: list[int | None]) -> None:
    assert as_moments(pl.Series(values), family).to_list() == expected


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_every_unit_of_time(unit: Any) -> None:
    values = pl.Series([datetime(1970, 1, 2)]).cast(pl.Datetime(unit))
    assert as_moments(values).to_list() == [DAY]


def test_moments_on_the_clock_of_training() -> None:
    noon = pl.Series([datetime(2024, 1, 1, 12, tzinfo=UTC)])
    vienna = noon.dt.convert_time_zone("Europe/Vienna")
    assert as_moments(noon, "dates", "Europe/Vienna").equals(
        as_moments(vienna, "dates", "Europe/Vienna")
    )
    assert as_moments(vienna, "dates", "Europe/Vienna")[0] - as_moments(noon, "dates", "UTC")[
        0
    ] == (3_600_000_000)
    with pytest.raises(DataError, match="has time zone UTC, and had no time zone in training"):
        as_moments(noon)
    with pytest.raises(DataError, match="no time zone 'Mars/Base'"):
        as_moments(noon, "dates", "Mars/Base")


def test_moments_that_are_none() -> None:
    with pytest.raises(DataError, match=r"no dates \(row 1: '2024-02-30'"):
        as_moments(pl.Series(["2024-01-01", "2024-02-30"]))
    with pytest.raises(DataError, match=r"no dates \(row 0: '2024-01-01 25:00'"):
        as_moments(pl.Series(["2024-01-01 25:00"]))
    with pytest.raises(DataError, match="years 1 to 9999"):
        as_moments(pl.Series([2**62]).cast(pl.Datetime("us")))
    with pytest.raises(DataError, match="outside the calendar"):
        as_moments(pl.Series([2**62]).cast(pl.Datetime("ms")))
    with pytest.raises(DataError, match="expected times of day"):
        as_moments(pl.Series([1]), "times")


def test_families() -> None:
    assert family_of(pl.Series(["a"], dtype=pl.Enum(["a"]))) == "text"
    assert family_of(pl.Series([None])) == "nothing"
    assert family_of(pl.Series([[1]])) == ""


def test_what_is_there() -> None:
    assert filled(pl.Series([1.0, None, float("nan")])).tolist() == [True, False, False]
    assert filled(pl.Series(["a", "", None])).tolist() == [True, False, False]
    assert filled(pl.Series([1, None])).tolist() == [True, False]
