"""Rows of a table as inputs, and rows made up from a preparation."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl

from chainrule.data.preprocess import TablePreprocessor
from chainrule.interop.onnx.columns import NAT
from chainrule.interop.onnx.feeds import feeds, invented

DAY = datetime.datetime(2024, 5, 6, 7, 8, 9)
FRAME = pl.DataFrame(
    {
        "n": [1.5, None, 2.5] * 9,
        "c": ["a", "b", None] * 9,
        "e": [f"m{k % 27}" for k in range(27)],
        "t": [DAY + datetime.timedelta(days=k) if k else None for k in range(27)],
        "l": [datetime.time(k % 24) for k in range(27)],
        "d": [datetime.timedelta(hours=k) for k in range(27)],
        "z": [DAY + datetime.timedelta(days=k) for k in range(27)],
        "w": [f"Some words, {k} of them" for k in range(27)],
        "o": ["low", "high", "low"] * 9,
    }
).with_columns(pl.col("z").dt.replace_time_zone("Europe/Zurich"))
PREPARE = TablePreprocessor(
    kinds={"w": "text", "e": "categorical"}, ordinal={"o": ["low", "high"]}, rare=1
).fit(FRAME)


def test_every_kind_has_its_form() -> None:
    found = feeds(PREPARE, FRAME)
    assert list(found) == FRAME.columns
    np.testing.assert_array_equal(found["n"][:3], [1.5, np.nan, 2.5])
    assert found["c"][:3].tolist() == ["a", "b", ""]
    assert found["t"][0] == NAT
    assert found["t"][1] == 1_714_979_289_000_000 + 86_400_000_000
    assert found["l"][1] == 3_600_000_000
    assert found["d"][2] == 7_200_000_000
    assert found["z"][0] == 1_714_979_289_000_000  # on the clock of its zone
    assert found["w"][0].tolist() == ["some", "words", "0", "of", "them"]
    assert {v.dtype.kind for v in found.values()} == {"f", "i", "O"}


def test_texts_of_different_lengths_are_filled_up() -> None:
    prepare = TablePreprocessor(kinds={"w": "text"}).fit({"w": ["a b", "c d e", "f"]})
    found = feeds(prepare, {"w": ["One, two", None, "three"]})["w"]
    assert found.tolist() == [["one", "two"], ["", ""], ["three", ""]]
    assert feeds(prepare, {"w": [None, ""]})["w"].tolist() == [[""], [""]]


def test_invented_rows_are_ones_the_preparation_takes() -> None:
    rows = invented(PREPARE, 40)
    assert rows.columns == FRAME.columns
    assert all(rows[c].null_count() >= 1 for c in rows.columns)
    features = PREPARE.transform(rows)
    assert np.isfinite(features).all()
    # they reach every category, the missing ones and the far ones
    assert (np.ptp(features, axis=0) > 0).mean() > 0.9
    assert invented(PREPARE, 40).equals(rows)


def test_invented_rows_of_other_scalings() -> None:
    for scaling in ("robust", "quantile", "none"):
        prepare = TablePreprocessor(scaling=scaling).fit({"x": [1.0, 5.0, 2.0, 8.0]})
        rows = invented(prepare, 20)["x"].drop_nulls().to_numpy()
        assert np.isfinite(rows).all()
        assert len(np.unique(rows)) > 10
