"""Targets to what a loss takes, and predictions back."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError, FileFormatError
from chainrule.data import Target


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("y", ["b", "a", "é"] * 2),
        pl.Series("y", [True, False] * 2),
        pl.Series("y", [-3, 7, 9] * 5, dtype=pl.Int16),
        pl.Series("y", [0, 2**64 - 1] * 2, dtype=pl.UInt64),
        pl.Series("y", ["u", "v"] * 2, dtype=pl.Categorical).cast(pl.String),
    ],
)
def test_classes_keep_their_type(values: pl.Series) -> None:
    target = Target().fit(values)
    codes = target.encode(values)
    assert codes.dtype == np.int64
    assert target.classes == sorted(set(values.to_list()))
    logits = 9.0 * np.eye(target.outputs, dtype=np.float32)[codes]
    assert target.decode(logits).equals(values.to_frame())
    p = target.probabilities(logits)
    assert p.columns == [f"y={c}" for c in target.classes]
    np.testing.assert_allclose(p.sum_horizontal(), 1, atol=1e-12)
    again = Target.from_json(json.loads(json.dumps(target.to_json())))
    assert again.decode(logits).equals(values.to_frame())
    assert (again.encode(values) == codes).all()


def test_names_of_losses_and_outputs() -> None:
    two = Target().fit([0, 1] * 3)
    assert (two.task, two.outputs, two.loss) == ("binary", 2, "cross_entropy")
    labels = Target().fit({"a": [0, 1], "b": [True, False], "c": [1.0, 0.0]})
    assert (labels.outputs, labels.loss) == (3, "binary_cross_entropy_with_logits")
    values = Target().fit({"a": [0.5, 1], "b": [3, 9]})
    assert (values.outputs, values.loss, values.classes) == (2, "mse", None)


def test_labels() -> None:
    frame = pl.DataFrame({"a": [0, 1, 1], "b": [True, False, True], "c": [1.0, 0.0, 0.0]})
    target = Target().fit(frame)
    y = target.encode(frame)
    assert y.dtype == np.float32
    assert y.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 0]]
    decoded = target.decode(y * 2 - 1)
    assert decoded["b"].to_list() == [True, False, True]
    assert decoded["a"].equals(frame["a"])
    assert target.probabilities(np.zeros((1, 3))).row(0) == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match=r"row 0: 2\)"):
        target.encode({"a": [2], "b": [True], "c": [1]})


def test_values_are_standardised_and_come_back() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"a": rng.standard_normal(50) * 1e-4 + 5, "b": rng.standard_normal(50) * 1e300}
    )
    target = Target().fit(frame)
    z = target.encode(frame)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-5)
    back = target.decode(z)
    assert back.columns == ["a", "b"]
    for name in "ab":
        a, b = frame[name].to_numpy(), back[name].to_numpy()
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 * np.abs(a - a.mean()).max())
    with pytest.raises(DataError, match="no probabilities"):
        target.probabilities(z)
    with pytest.raises(DataError, match="beyond the range of numbers of 'b'"):
        target.decode(np.array([[0.0, 0.0], [0.0, 1e30]]))


def test_rows_without_a_target() -> None:
    frame = {"a": [1.5, None, float("nan"), 2], "b": [1, 2, 3, None]}
    target = Target()
    assert target.present(frame).tolist() == [True, False, False, False]
    target.fit({"y": ["a", "", "b", "a", "b"]})
    assert target.classes == ["a", "b"]
    assert target.present({"y": ["a", ""], "z": [None, None]}).tolist() == [True, False]
    with pytest.raises(DataError, match=r"column 'y' has 1 value missing \(row 1: None\)"):
        target.encode({"y": ["a", None]})


def test_other_rows_with_other_targets() -> None:
    target = Target().fit({"kind": ["cat", "dog"] * 2})
    with pytest.raises(
        DataError, match=r"not known to the model \(row 1: 'dgo'\). Did you mean 'dog'"
    ):
        target.encode({"kind": ["dog", "dgo"]})
    with pytest.raises(DataError, match="It knows 2 classes: cat, dog"):
        target.encode({"kind": ["zebra"]})
    with pytest.raises(DataError, match=r"test\.csv lacks the target 'kind'; did you mean 'kinds'"):
        target.encode({"kinds": ["cat"]}, "test.csv")
    numbers = Target().fit([0.5, 1.5, 2.0])
    with pytest.raises(DataError, match="row 1: 'x'"):
        numbers.encode(pl.Series("y", ["1", "x"]))
    with pytest.raises(DataError, match="too far from the training rows"):
        numbers.encode([1e300])


def test_the_same_value_in_another_type() -> None:
    target = Target().fit([1, 2, 3] * 5)
    for values in (["1", "3"], [1.0, 3.0], np.array([1, 3], np.uint8)):
        assert target.encode(values).tolist() == [0, 2]
    booleans = Target().fit([True, False] * 2)
    for values in (["True", "false"], [True, False]):
        assert booleans.encode(values).tolist() == [1, 0]


def test_scores_that_are_none() -> None:
    target = Target().fit(["a", "b"] * 2)
    for scores in (np.zeros((2, 3)), np.zeros(2), np.array([["x", "y"]])):
        with pytest.raises(DataError, match=r"expected \(n, 2\)"):
            target.decode(scores)
    with pytest.raises(DataError, match="row 1 is not finite"):
        target.probabilities([[0.0, 1.0], [0.0, np.nan]])


def test_an_unknown_task() -> None:
    with pytest.raises(DataError, match="did you mean 'regression'"):
        Target().fit([1, 2], "regresion")


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.lists(st.one_of(st.none(), st.floats()), max_size=30),
        st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=30),
        st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "1", "é", ""])), max_size=30),
        st.lists(st.one_of(st.none(), st.booleans()), max_size=30),
    ),
    st.sampled_from(["auto", "classification", "regression", "binary", "multiclass", "multilabel"]),
)
def test_any_target_is_fitted_or_refused(values: list[Any], task: str) -> None:
    frame = pl.DataFrame({"y": pl.Series(values, strict=False)})
    target = Target()
    try:
        target.fit(frame, task)
    except DataError:
        return
    here = frame.filter(pl.Series(target.present(frame)))
    y = target.encode(here)
    assert np.isfinite(y).all()
    if target.task == "regression":
        if np.nanmax(np.abs(here["y"].cast(pl.Float64).to_numpy())) < 1e308:
            target.decode(y)  # beyond, what float32 rounds up is no number of float64
    elif target.task == "multilabel":
        assert set(np.unique(y)) <= {0.0, 1.0}
    else:
        assert set(y) == set(range(target.outputs))
        labels = target.decode(np.eye(target.outputs)[y])["y"]
        assert labels.cast(pl.Float64, strict=False).equals(
            here["y"].cast(pl.Float64, strict=False), check_names=False
        )
    stored = target.to_json()
    assert Target.from_json(json.loads(json.dumps(stored))).to_json() == stored


STORED = [
    Target().fit(["a", "b"] * 3).to_json(),
    Target().fit([1, 2, 3] * 5).to_json(),
    Target().fit({"a": [0, 1], "b": [True, False]}).to_json(),
    Target().fit({"a": [0.5, 1], "b": [3, 9]}).to_json(),
]
JUNK = [None, True, 0, -1, 3, 2**70, 0.5, float("inf"), "", "x", "Int64", "regression", [], [1], {}]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(STORED))
def test_a_damaged_file_is_refused_or_harmless(seed: int, stored: Any) -> None:
    choose = random.Random(seed)
    damaged = json.loads(json.dumps(stored))
    part: Any = damaged
    key = choose.choice(list(part))
    while isinstance(part[key], list | dict) and part[key] and choose.random() < 0.7:
        part = part[key]
        key = choose.choice(list(part) if isinstance(part, dict) else range(len(part)))
    if choose.random() < 0.2:
        del part[key]
    else:
        part[key] = choose.choice(JUNK)
    try:
        target = Target.from_json(damaged)
    except FileFormatError:
        return
    try:
        target.decode(np.zeros((2, target.outputs)))
        target.probabilities(np.zeros((2, target.outputs)))
    except DataError:
        pass


def test_what_is_no_target() -> None:
    for value in (None, [], {}, "x"):
        with pytest.raises(FileFormatError):
            Target.from_json(value)
