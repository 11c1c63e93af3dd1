"""Examples: taken, guessed, and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError, ShapeError
from chainrule.data.preprocess import TablePreprocessor
from chainrule.interop.onnx.job import array_job, table_job

nn = cr.nn


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Dense(3, 2)), (3,)),
        (nn.Sequential(nn.Sequential(nn.Standardize(np.zeros((2, 5))))), (2, 5)),
        (nn.Sequential(nn.EmbedColumns(4, [(3, 2)]), nn.Dense(5, 1)), (4,)),
    ],
)
def test_the_first_layer_tells_the_shape_of_a_row(model: Any, shape: tuple[int, ...]) -> None:
    assert array_job(model, None, None, None).inputs == [("x", np.dtype(np.float32), shape)]


def test_else_an_example_is_asked_for() -> None:
    with pytest.raises(ShapeError, match=r"give some rows: cr\.onnx\.export\(model, path, x\[:1\]"):
        array_job(nn.Sequential(nn.Flatten(), nn.Dense(3, 2)), None, None, None)


def test_floats_follow_the_model_and_integers_stay() -> None:
    def dtype(model: Any, a: Any) -> str:
        return str(array_job(model, None, a, None).inputs[0][1])

    assert dtype(nn.Dense(2, 2), np.zeros((1, 2))) == "float32"
    assert dtype(nn.Dense(2, 2).double(), np.zeros((1, 2), np.float32)) == "float64"
    assert dtype(nn.Dense(2, 2), np.zeros((1, 2), np.uint8)) == "uint8"
    assert dtype(nn.Dense(2, 2), cr.tensor([[1.0, 2.0]])) == "float32"
    assert dtype(nn.Dense(2, 2), [[1.0, 2.0]]) == "float32"


def test_several_inputs_have_names() -> None:
    model, x = nn.Dense(2, 2), np.zeros((3, 2))
    assert [n for n, *_ in array_job(model, None, (x, x), None).inputs] == ["x", "x2"]
    assert [n for n, *_ in array_job(model, None, (x, x), ["a", "b"]).inputs] == ["a", "b"]
    with pytest.raises(ValueError, match="input_names has 1 names for 2 inputs"):
        array_job(model, None, (x, x), ["a"])


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        (np.zeros((0, 2)), ShapeError, r"expected one or more rows"),
        (np.float32(1), ShapeError, r"shape \(\)"),
        (np.array([["a", "b"]]), DataError, r"expected numbers"),
        ((np.zeros((1, 2)), np.zeros((2, 2))), ShapeError, r"different numbers of rows"),
    ],
)
def test_examples_that_are_none(example: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        array_job(nn.Dense(2, 2), None, example, None)


def test_random_rows_look_like_the_example() -> None:
    x = np.random.default_rng(0).normal([5.0, -300.0], [0.1, 40.0], (50, 2))
    rows = array_job(nn.Dense(2, 2), None, x, None).tries[-2][1][0]
    assert rows.shape == (5, 2)
    assert (np.abs(rows - [5.0, -300.0]) < [1.0, 400.0]).all()
    codes = array_job(nn.Embedding(9, 2), None, np.array([[3, 8]]), None).tries[-2][1][0]
    assert codes.tolist() == [[3, 8]] * 5


def test_many_random_integers_are_of_the_range_of_the_example() -> None:
    pixels = array_job(nn.Flatten(), None, np.zeros((1, 4, 4), np.uint8), None).tries[-1][1][0]
    assert (pixels.dtype, pixels.min(), pixels.max()) == (np.uint8, 0, 255)
    codes = array_job(nn.Embedding(9, 2), None, np.array([[3, 8]]), None).tries[-1][1][0]
    assert sorted({*codes.ravel().tolist()}) == [3, 4, 5, 6, 7, 8]


def test_a_table_is_tried_on_the_example_on_made_up_rows_and_on_one() -> None:
    table = {"x": [1.0, 2.0, 5.0]}
    prepare = TablePreprocessor().fit(table)
    job = table_job(nn.Dense(1, 1), prepare, None, table)
    assert [len(rows[0]) for _, rows in job.tries] == [3, 64, 1]
    assert [len(given["x"]) for given, _ in job.tries] == [3, 64, 1]
