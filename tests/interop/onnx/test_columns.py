"""Features from raw columns: to the bit those of `TablePreprocessor`, for every kind of column."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.data.preprocess import TablePreprocessor
from chainrule.interop.onnx.columns import NAT, columns_of, write_columns
from chainrule.interop.onnx.feeds import feeds
from chainrule.interop.onnx.verify import Runner
from chainrule.interop.onnx.writer import ExportError, Writer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def features(prepare: TablePreprocessor) -> Runner:
    """The preparation alone, in onnxruntime."""
    w = Writer(17)
    value = write_columns(w, prepare, columns_of(prepare))
    w.output(value, "features", np.float32, ["rows", prepare.width])
    return Runner(w.model("columns", {}, "1").SerializeToString())


def column(name: str, values: Any, seed: int = 0, missing: float = 0.0) -> pl.Series:
    """A column in which a share is missing."""
    gone = np.random.default_rng(seed).random(len(values)) < missing
    kept = [None if g else v for g, v in zip(gone, values, strict=True)]
    return pl.Series(name, kept, strict=False)


RNG = np.random.default_rng(3)
N = 300
WORDS = ["the", "Quick", "naïve", "café", "fox", "x1", "42"]
LETTERS = RNG.choice(list("abc"), N, p=[0.6, 0.3, 0.1])
START = datetime.datetime(2019, 11, 3, 4, 5, 6)
HOURS = RNG.uniform(0, 24 * 900, N)

TRAIN: dict[str, Any] = {
    "numbers": column("numbers", RNG.standard_normal(N) * 30 + 100),
    "missing numbers": column("x", RNG.standard_normal(N), 1, 0.2),
    "huge numbers": column("huge", RNG.standard_normal(N) * 1e200),
    "tiny numbers": column("tiny", (RNG.standard_normal(N) + 0.5) * 1e-53),
    "whole numbers": column("whole", RNG.integers(0, 1000, N)),
    "nearly constant": column("flat", [1.5] * N, 2, 0.5),
    "booleans": column("flag", RNG.random(N) < 0.4, 3, 0.1),
    "words for booleans": column("answer", RNG.choice(["Yes", "no"], N), 4, 0.1),
    "categories": column("letter", LETTERS, 5, 0.1),
    "categories with none missing": column("letter", LETTERS),
    "rare categories": column("letter", [f"r{k}" if k < 3 else v for k, v in enumerate(LETTERS)]),
    "numbers as categories": column("code", RNG.integers(1, 5, N)),
    "many categories": column("many", [f"m{k}" for k in RNG.integers(0, 40, N)], 6, 0.1),
    "an order": column("size", RNG.choice(["S", "M", "L"], N), 7, 0.1),
    "moments": column("when", [START + datetime.timedelta(hours=h) for h in HOURS], 8, 0.1),
    "days": column("day", [START.date() + datetime.timedelta(days=int(h)) for h in HOURS]),
    "clock times": column("at", [datetime.time(int(h) % 24, int(h) % 60) for h in HOURS], 9, 0.1),
    "durations": column("for", [datetime.timedelta(minutes=h) for h in HOURS]),
    "texts": column(
        "text",
        [" ".join(RNG.choice(WORDS, 4)) + f"! {k}, {h:.3f}"
         for k, h in enumerate(HOURS)], 10, 0.1,
    ),
}  # fmt: skip
KINDS = {"numbers as categories": "categorical", "texts": "text", "huge numbers": "numeric"}


def other(series: pl.Series) -> pl.Series:
    """Values that training had not: missing, new, far off."""
    extra: list[Any] = [None]
    if series.dtype == pl.String:
        extra += ["something new", "", "no", "S"] if series.name not in ("answer", "size") else [""]
    elif series.dtype.is_float():
        extra += [float("nan"), 1e300, -1e300, 0.0, float(series.drop_nulls()[0])]
    elif series.dtype == pl.Date:
        extra += [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(2000, 2, 29)]
    elif series.dtype == pl.Datetime:
        extra += [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)]
    return pl.concat([series, pl.Series(series.name, extra, dtype=series.dtype)])


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
@pytest.mark.parametrize("name", TRAIN)
def test_features_equal_those_of_the_preparation(name: str, scaling: str) -> None:
    series = TRAIN[name]
    kinds = {series.name: KINDS[name]} if name in KINDS else {}
    order = {"size": ["S", "M", "L"]} if name == "an order" else {}
    frame = pl.DataFrame([series])
    if scaling == "none" and name == "huge numbers":
        frame = frame.with_columns(pl.col("huge") * 1e-170)
    prepare = TablePreprocessor(scaling=scaling, kinds=kinds, ordinal=order).fit(frame)
    rows = pl.DataFrame([other(frame[series.name])])
    expected = prepare.transform(rows)
    (found,) = features(prepare)(feeds(prepare, rows))
    assert found.dtype == np.float32
    # a sine or logarithm of another library may be rounded to a neighbour
    ulp = 1 if name in ("texts", "moments", "days", "clock times") else 0
    assert np.abs(found.view(np.int32) - expected.view(np.int32)).max() <= ulp or np.allclose(
        found, expected, rtol=1.2e-7 * ulp, atol=1e-15
    )


def test_the_day_of_the_year_is_right_for_every_year() -> None:
    days = pl.date_range(datetime.date(1, 1, 1), datetime.date(9999, 12, 31), "31d", eager=True)
    edges = [
        datetime.date(y, m, d)
        for y in (1600, 1700, 1900, 1999, 2000, 2023, 2024, 2100)
        for m, d in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    leap = [datetime.date(y, 2, 29) for y in (4, 1600, 2000, 2024, 9996)]
    rows = pl.DataFrame({"day": pl.concat([days, pl.Series(edges + leap)])})
    prepare = TablePreprocessor(kinds={"day": "datetime"}).fit(rows.head(2000))
    (found,) = features(prepare)(feeds(prepare, rows))
    np.testing.assert_allclose(found, prepare.transform(rows), rtol=2e-7, atol=1e-15)


def test_all_columns_together_keep_the_order_of_the_features() -> None:
    frame = pl.DataFrame(
        [s.alias(name) for name, s in TRAIN.items() if name not in ("huge numbers",)]
    )
    kinds = {k: v for k, v in KINDS.items() if k in frame.columns}
    prepare = TablePreprocessor(kinds=kinds, ordinal={"an order": ["S", "M", "L"]}).fit(frame)
    assert prepare.embeddings  # which stand last, whatever the order of the columns
    (found,) = features(prepare)(feeds(prepare, frame))
    np.testing.assert_allclose(found, prepare.transform(frame), rtol=2e-7, atol=1e-15)


def test_what_an_input_takes_is_said() -> None:
    frame = pl.DataFrame(
        {
            "n": [1.0, 2.0, None] * 9,
            "c": ["a", "b", "c"] * 9,
            "t": [START + datetime.timedelta(days=k) for k in range(27)],
            "b": ["yes", "no", "no"] * 9,
        }
    )
    prepare = TablePreprocessor().fit(frame)
    said = {c.name: (np.dtype(c.dtype).kind, c.takes) for c in columns_of(prepare)}
    assert said == {
        "n": ("f", "a number; missing: NaN"),
        "c": ("U", "a category as text; missing: ''"),
        "t": ("i", "microseconds since 1970; missing: NaT"),
        "b": ("U", "'yes', 'no', 'true', '1' …; missing: ''"),
    }
    assert np.datetime64("NaT").astype(np.int64) == NAT


def test_words_for_booleans_in_every_case() -> None:
    prepare = TablePreprocessor().fit({"b": ["yes", "no", "no", None] * 5})
    words = np.array(["yes", "YES", "Yes", "TRUE", "t", "1", "on", "No", "0", "off", "?", ""])
    (found,) = features(prepare)({"b": words.astype(object)})
    assert found[:, 0].tolist() == [1.0] * 7 + [0.0] * 5
    assert found[:, 1].tolist() == [0.0] * 10 + [1.0] * 2


def test_a_column_without_a_name_is_refused() -> None:
    prepare = TablePreprocessor().fit(pl.DataFrame({"": [1.0, 2.0], "x": [1.0, 3.0]}))
    with pytest.raises(ExportError, match=r"a column has no name"):
        columns_of(prepare)
