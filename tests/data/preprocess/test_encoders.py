"""Columns as features, one kind at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.array.errors import DataError
from chainrule.data.preprocess.encoders import (
    Categories,
    Encoder,
    Numbers,
    embedding_width,
)


def written(encoder: Encoder, values: Any) -> list[list[float]]:
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    out = np.zeros((len(series), len(encoder.names())), np.float32)
    encoder.write(encoder.read(series), out)
    return out.tolist()


def notes(encoder: Encoder, values: Any) -> list[str]:
    return encoder.notes(encoder.read(pl.Series(values)))


def test_numbers_that_were_missing_in_training() -> None:
    encoder = Numbers.fit(pl.Series("x", [1.0, None, 3.0]), "numeric", "standard")
    assert encoder.names() == ["x", "x is missing"]
    assert written(encoder, [1.0, None, float("nan"), 5.0]) == [[-1, 0], [0, 1], [0, 1], [3, 0]]
    assert notes(encoder, [None]) == []


def test_numbers_missing_only_later() -> None:
    encoder = Numbers.fit(pl.Series("x", [1.0, 3.0]), "numeric", "standard")
    assert written(encoder, [None, 3.0]) == [[0], [1]]
    assert notes(encoder, [None, 3.0]) == [
        "x: 1 row without a value, where training had none; taken as the median 2"
    ]
    assert "2 rows more than 10000 deviations" in notes(encoder, [1e9, -1e9])[0]


def test_one_number_or_none() -> None:
    encoder = Numbers.fit(pl.Series("x", [7.0, None]), "numeric", "standard")
    assert encoder.names() == ["x is missing"]
    assert written(encoder, [None, 7.0, 9.0]) == [[1], [0], [0]]


def test_the_median_of_the_largest_numbers_is_finite() -> None:
    encoder = Numbers.fit(pl.Series("x", [1.7e308, 1.6e308]), "numeric", "standard")
    assert written(encoder, [1.6e308, 1.7e308, None])[:2] == [[-1], [1]]


def test_booleans() -> None:
    encoder = Numbers.fit(pl.Series("x", ["yes", "no", "YES"]), "boolean", "standard")
    assert written(encoder, ["no", "Yes", None]) == [[0], [1], [1]]
    assert written(encoder, [1, 0]) == [[1], [0]]
    assert "the more frequent yes" in notes(encoder, [None])[0]


def test_an_order() -> None:
    order = ["S", "M", "L"]
    encoder = Numbers.fit(pl.Series("x", ["M", "L", "S", None]), "ordinal", "none", order)
    assert written(encoder, ["L", "S", None, "XL"]) == [[2, 0], [0, 0], [1, 1], [1, 1]]
    with pytest.raises(DataError, match=r"the given order lacks \(row 1: 'XL'\)"):
        Numbers.fit(pl.Series("x", ["M", "XL"]), "ordinal", "none", order)
    whole = Numbers.fit(pl.Series("x", [1, 3, 2]), "ordinal", "none", ["3", "2", "1"])
    assert written(whole, [3, 1]) == [[0], [2]]


def test_a_feature_per_category() -> None:
    values = ["b"] * 3 + ["a"] * 3 + ["c"] + [None]
    encoder = Categories.fit(pl.Series("x", values), 2, 16)
    assert encoder.names() == ["x=a", "x=b", "x=(rare)", "x=(missing)"]
    eye = np.eye(4).tolist()
    assert written(encoder, ["a", "b", "c", "new", None]) == [
        eye[0],
        eye[1],
        eye[2],
        eye[2],
        eye[3],
    ]
    assert encoder.embedding() is None
    assert notes(encoder, ["a", "c", None, "new", "new", "x"]) == [
        "x: 3 rows of categories not seen in training (2: 'new', 'x'); counted as a rare category"
    ]


def test_categories_without_rare_or_missing_ones() -> None:
    encoder = Categories.fit(pl.Series("x", ["b", "a"] * 2), 2, 16)
    assert written(encoder, ["a", "b", "new", None]) == [[1, 0], [0, 1], [0, 0], [0, 0]]
    assert len(notes(encoder, ["new", None])) == 2


def test_codes_for_an_embedding() -> None:
    values = pl.Series("x", [*(list(range(20)) * 3), 99, None])
    encoder = Categories.fit(values, 2, 16)
    assert encoder.names() == ["x"]
    assert encoder.embedding() == (22, embedding_width(22))
    codes = [row[0] for row in written(encoder, [0, 99, None, 12345])]
    assert codes == [1, 0, 21, 0]
    assert written(encoder, ["0", "19"]) == written(encoder, [0.0, 19.0])
    everything = {row[0] for row in written(encoder, values)}
    assert everything == set(range(22))


def test_many_rare_categories_are_counted_with_the_new_ones() -> None:
    values = pl.Series("x", ["a", "a", *(f"r{k}" for k in range(1500))])
    encoder = Categories.fit(values, 2, 16)
    assert (encoder.merged, encoder.known_rare) == (1500, [])
    assert "rare or not seen in training" in notes(encoder, ["r1"])[0]


def test_widths_of_embeddings() -> None:
    assert [embedding_width(n) for n in (2, 10, 100, 10**9)] == [2, 6, 21, 50]


def test_what_is_said_is_done() -> None:
    shown = [
        Numbers.fit(pl.Series("x", [1, None, 3]), "numeric", "quantile").action(),
        Numbers.fit(pl.Series("x", ["a", "b"]), "ordinal", "robust", ["a", "b"]).action(),
        Categories.fit(pl.Series("x", ["a", "a", "b", None]), 2, 9).action(),
        Categories.fit(pl.Series("x", ["a", "a", "b", "b"]), 2, 1).action(),
    ]
    assert shown == [
        "to normal scores; missing: the median 2 and a 0/1 column",
        "place in an order of 2, scaled by median and quartiles",
        "1 category and 1 of under 2 rows as one, missing as one: 3 0/1 columns",
        "2 categories: embedding of width 3",
    ]
