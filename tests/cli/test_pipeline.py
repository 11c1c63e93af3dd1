"""Scaled targets, classes and parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.array.errors import DataError, ShapeError
from chainrule.cli.pipeline import Pipeline, Scaling, decide_task, read_classes, split_rows
from chainrule.nn import Dense, Flatten, Sequential


def test_targets_are_scaled_in_double_precision() -> None:
    y = np.random.default_rng(0).standard_normal((500, 3)) * [1e-4, 1.0, 1e6] + [0, 5, 1e15]
    s = Scaling.of(y)
    np.testing.assert_allclose(s.mean, y.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(s.scale, y.std(axis=0), rtol=1e-10)
    z = s.apply(y)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, (y - s.mean) / s.scale, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(s.undo((y - s.mean) / s.scale), y, rtol=1e-12)
    np.testing.assert_array_equal(Scaling.from_json(s.to_json()).scale, s.scale)


def test_a_column_of_targets_is_one_output() -> None:
    s = Scaling.of(np.array([1.0, 3.0]))
    assert s.apply(np.array([1.0, 3.0, 5.0])).tolist() == [[-1], [1], [3]]
    assert Scaling.of(np.full(9, 0.1)).apply(np.full(9, 0.1)).tolist() == [[0]] * 9


@pytest.mark.parametrize(
    ("y", "asked", "task"),
    [
        (np.array([0, 1]), "auto", "classification"),
        (np.array([True, False]), "auto", "classification"),
        (np.array(["a", "b"]), "auto", "classification"),
        (np.array([b"a", b"b"]), "auto", "classification"),
        (np.array([0.0, 1.0]), "auto", "regression"),
        (np.array([0.0, 1.0]), "classification", "classification"),
        (np.array([0, 1]), "regression", "regression"),
    ],
)
def test_the_task_follows_from_y(y: np.ndarray, asked: str, task: str) -> None:
    assert decide_task(y, asked)[0] == task


def test_labels_that_are_none() -> None:
    assert read_classes(np.array([[3], [4]])).tolist() == [3, 4]
    assert read_classes(np.array([3.0, 4.0])).dtype == np.int64
    for bad in (np.array([0.5]), np.array([np.nan]), np.array([b"\xff"]), np.ones((2, 2))):
        with pytest.raises(DataError):
            read_classes(bad)


@given(
    st.lists(st.integers(0, 3), min_size=40, max_size=90),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 5),
)
def test_parts_hold_every_row_once(y: list[int], v: float, t: float, seed: int) -> None:
    labels = np.array(y)
    parts = split_rows(labels, {"validation": v, "test": t}, seed, "regression")
    assert list(parts) == ["train", *(["validation"] if v else []), *(["test"] if t else [])]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(y)))


def pipeline(classes: np.ndarray) -> Pipeline:
    model = Sequential(Flatten(), Dense(4, len(classes)))
    return Pipeline(model, (2, 2), classes, None, (), {})


def test_labels_become_numbers_and_back() -> None:
    p = pipeline(np.array(["cat", "dog"]))
    codes = p.encode(np.array(["dog", "cat", "dog"]))
    assert codes.tolist() == [1, 0, 1]
    assert p.decide(np.eye(2)[codes]).tolist() == ["dog", "cat", "dog"]
    with pytest.raises(DataError, match=r"class 'dogs' at row 0, .* did you mean 'dog'"):
        p.encode(np.array(["dogs"]))
    with pytest.raises(DataError, match="y holds integers, the model's classes are text"):
        p.encode(np.array([0]))
    with pytest.raises(DataError, match="class 9 at row 1"):
        pipeline(np.array([1, 5])).encode(np.array([1, 9]))


def test_rows_fit_whatever_their_arrangement() -> None:
    p = pipeline(np.array([0, 1]))
    x = np.random.default_rng(0).random((5, 2, 2))
    np.testing.assert_array_equal(*(next(p.scores(a)) for a in (x, x.reshape(5, 4))))
    with pytest.raises(ShapeError, match=r"\(5, 3\); the model was trained on rows of shape"):
        next(p.scores(x.reshape(5, 4)[:, :3]))
