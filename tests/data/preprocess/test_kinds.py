"""What a column is."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from chainrule.array.errors import DataError
from chainrule.data.preprocess.kinds import duplicates, identifies, named_identifier, recognise

TEXT = [f"the shop was {w} and I will come back {k} times" for k in range(6) for w in ("ok", "bad")]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "numeric"),
        ([0, 1], "numeric"),
        ([1.5, None], "numeric"),
        (["1", "2.5", None, " 3", ""], "numeric"),
        ([True, None], "boolean"),
        (["yes", "No", None], "boolean"),
        (["T", "f"], "boolean"),
        (["yes", "no", "maybe"], "categorical"),
        (["yes", "off"], "categorical"),
        (["a", "b"], "categorical"),
        (["1", "a"] * 5, "categorical"),
        (["", ""], "categorical"),
        (pl.Series(["b", "a"], dtype=pl.Categorical), "categorical"),
        (pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])), "ordinal"),
        ([date(2020, 1, 1)], "datetime"),
        ([datetime(2020, 1, 1)], "datetime"),
        ([timedelta(1)], "datetime"),
        ([time(1)], "datetime"),
        (["2020-01-01", "2020-05-01 12:00"], "datetime"),
        (TEXT, "text"),
        (TEXT[:2] * 10, "categorical"),
        (["x" * 40, "y" * 40], "categorical"),
    ],
)
def test_kinds(values: Any, kind: str) -> None:
    assert recognise(pl.Series("c", values)) == kind


def test_what_is_said_wins() -> None:
    assert recognise(pl.Series([1, 2]), "categorical") == "categorical"
    assert recognise(pl.Series([1, 2]), ordered=True) == "ordinal"


def test_text_among_numbers_is_named() -> None:
    values = pl.Series("age", [*map(str, range(95)), "unknown", None, "?", ""])
    with pytest.raises(DataError) as caught:
        recognise(values)
    text = str(caught.value)
    assert "column 'age' has 2 values that are no numbers among 97" in text
    assert "(row 95: 'unknown', row 97: '?')" in text
    assert "kinds={'age': 'categorical'}" in text


def test_what_no_numbers_can_be_made_of() -> None:
    for values in ([[1, 2]], [{"a": 1}], [b"x"]):
        with pytest.raises(DataError, match="leave it out"):
            recognise(pl.Series("c", values))


@pytest.mark.parametrize(
    ("name", "values", "is_one"),
    [
        ("id", [5, 3, 9], True),
        ("passengerId", ["a", "b"], True),
        ("uuid", ["a", "a"], False),
        ("row", list(range(100, 160)), True),
        ("row", [3 * k for k in range(60)], True),
        ("row", list(range(19)), False),
        ("epoch", [1000 * k for k in range(60)], False),
        ("shuffled", [*range(30, 60), *range(30)], False),
        ("x", [k + 0.5 for k in range(60)], False),
        ("ticket", [f"T{k}" for k in range(25)], True),
        ("ticket", [f"T{k // 2}" for k in range(50)], False),
    ],
)
def test_identifiers(name: str, values: list[Any], is_one: bool) -> None:
    series = pl.Series(name, values)
    kind = recognise(series)
    assert bool(identifies(series, kind, series.n_unique(), len(series))) == is_one


def test_names_that_tell() -> None:
    for name in ("ID", "order id", "customer-ID", "orderId", "Index", "GUID", "index_key"):
        assert named_identifier(name), name
    for name in ("solid", "paid", "idle", "keyboard", "monkey", "android"):
        assert not named_identifier(name), name


def test_columns_that_are_there_twice() -> None:
    frame = pl.DataFrame(
        {
            "a": [1, None, 3],
            "b": [1.0, None, 3.0],
            "c": [1.0, float("nan"), 3.0],
            "d": ["1", None, "3"],
            "e": [1, 2, 3],
            "f": pl.Series(["1", None, "3"], dtype=pl.Categorical),
            "g": [[1], [2], [3]],
        }
    )
    assert duplicates(frame.get_columns()) == {"b": "a", "c": "a", "f": "d"}


def test_columns_that_are_nearly_the_same_are_told_apart() -> None:
    one, other = pl.Series("a", range(10_000)), pl.Series("b", range(10_000))
    assert duplicates([one, other]) == {"b": "a"}
    other[7777] = -1  # which is not among the rows looked at first
    assert duplicates([one, other]) == {}
