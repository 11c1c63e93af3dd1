"""Each check: what passes, what is refused, and which row, column and range the message names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule.array.errors import DataError
from chainrule.data import (
    check_labels,
    check_lengths,
    check_probabilities,
    check_sample_weight,
    check_targets,
    check_x,
    class_weights,
    validate,
)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(validate, "BLOCK", 8)


class Table:
    columns = ["age", "city"]

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


# --- x


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from([np.float16, np.float32]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
        elements=st.floats(width=16),
    ),
    block=st.integers(1, 40),
)
def test_finite_or_named(x, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "BLOCK", block)
        bad = np.argwhere(~np.isfinite(x))
        if not len(bad):
            assert check_x(x) is not None
            return
        with pytest.raises(DataError) as caught:
            check_x(x)
    assert f"contains {len(bad)} non-finite value" in str(caught.value)
    assert validate.place(tuple(bad[0])) in str(caught.value)


def test_message_names_count_row_and_column(small_blocks):
    x = np.zeros((50, 6), np.float32)
    x[17, 4], x[30, 0], x[49, 5] = np.nan, np.inf, -np.inf
    with pytest.raises(
        DataError,
        match="x contains 3 non-finite values; the first is nan at row 17, column 4"
        r"\. Remove rows with NaN or infinity",
    ):
        check_x(x)
    with pytest.raises(DataError, match=r"pixels contains .* inf at row 30, position"):
        check_x(x[:, :4].reshape(50, 2, 2), "pixels")


def test_table_columns_are_named():
    with pytest.raises(DataError, match=r"row 1, column 0 \('age'\)"):
        check_x(Table(np.array([[1.0, 2.0], [np.nan, 3.0]])))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_false_alarm_where_the_sum_overflows(dtype):
    x = np.full((200, 5), np.finfo(dtype).max, dtype)
    assert check_x(x, dtype=dtype) is x or np.shares_memory(check_x(x, dtype=dtype), x)
    x[::2] *= -1
    check_x(x, dtype=dtype)
    x[199, 4] = np.nan
    with pytest.raises(DataError, match=r"contains 1 non-finite value; .* row 199, column 4"):
        check_x(x, dtype=dtype)


def test_infinities_of_both_signs_do_not_cancel():
    with pytest.raises(DataError, match="2 non-finite"):
        check_x(np.array([np.inf, -np.inf, 1.0]))


def test_values_too_large_for_the_training_dtype():
    x = np.array([[1.0, 2.0], [3.0, 1e39]])
    with pytest.raises(DataError, match=r"too large for float32; .* 1e\+39 at row 1, column 1"):
        check_x(x)
    assert check_x(x, dtype=np.float64)[1, 1] == 1e39


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_integers_are_not_scanned(dtype, monkeypatch):
    monkeypatch.setattr(validate, "_blocks", lambda array: pytest.fail("the array was read"))
    x = np.ones((3, 2), dtype)
    assert np.shares_memory(check_x(x), x)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_empty(shape):
    with pytest.raises(DataError, match="x is empty"):
        check_x(np.zeros(shape))


def test_wrong_kinds():
    with pytest.raises(DataError, match=r"row 0, column 1 \('city'\) holds 'Rome'"):
        check_x(Table(np.array([[1, "Rome"]], object)))
    with pytest.raises(DataError, match="complex"):
        check_x(np.zeros(2, complex))
    with pytest.raises(DataError, match="single value"):
        check_x(3.0)


def test_layouts():
    x = np.asfortranarray(np.arange(600.0).reshape(20, 30))[::-2, 1::3]
    check_x(x)
    check_x(x.astype(">f4"))


# --- targets


@pytest.mark.parametrize(
    ("have", "want"), [((5,), (1,)), ((5, 1), ()), ((5, 3), (1, 3)), ((5, 1, 3), (3,))]
)
def test_targets_take_the_outputs_shape(have, want):
    y = np.random.default_rng(0).random(have)
    got = check_targets(y, want)
    assert got.shape == (5, *want)
    assert np.shares_memory(got, y)


def test_targets_of_another_size():
    with pytest.raises(DataError, match=r"y has shape \(5, 3\).*output has shape \(5, 2\)"):
        check_targets(np.zeros((5, 3)), (2,))
    with pytest.raises(DataError, match=r"output has shape \(5, 3\)"):
        check_targets(np.zeros(5), (3,))


def test_targets_range(small_blocks):
    y = np.full((20, 2), 0.5)
    check_targets(y, low=0, high=1)
    y[13, 1] = 1.5
    with pytest.raises(DataError, match=r"y holds 1\.5 at row 13, column 1, outside .*\[0, 1\]"):
        check_targets(y, low=0, high=1)
    with pytest.raises(DataError, match=r"holds -1\.0 at row 0"):
        check_targets([-1.0, 1.0], low=0)


def test_targets_finite():
    with pytest.raises(DataError, match="y contains 1 non-finite value; the first is inf at row 2"):
        check_targets([0.0, 1.0, np.inf])


# --- labels


@settings(max_examples=40, deadline=None)
@given(
    y=st.lists(st.integers(-3, 6), min_size=1, max_size=30),
    n_classes=st.integers(1, 5),
    dtype=st.sampled_from([np.int8, np.int64, np.float32]),
)
def test_labels_in_range_or_named(y, n_classes, dtype):
    y = np.array(y, dtype)
    bad = np.flatnonzero((y < 0) | (y >= n_classes))
    if not len(bad):
        got = check_labels(y, n_classes)
        assert got.dtype.kind == "i"
        assert np.array_equal(got, y)
        return
    message = f"label {int(y[bad[0]])} at row {bad[0]}; expected 0 to {n_classes - 1}"
    with pytest.raises(DataError, match=message):
        check_labels(y, n_classes)


def test_integer_labels_stay_where_they_are():
    y = np.array([0, 1, 2], np.uint8)
    assert np.shares_memory(check_labels(y, 3), y)


def test_whole_floats_are_cast_and_others_refused(small_blocks):
    assert check_labels([3.0, 0.0], 4).dtype == np.int64
    y = np.zeros(40)
    y[21] = 3.5
    with pytest.raises(DataError, match=r"y holds 3\.5 at row 21; class labels are integers"):
        check_labels(y, 4)


def test_booleans_are_two_classes():
    assert check_labels(np.array([True, False]), 2).tolist() == [1, 0]


def test_labels_without_a_known_number_of_classes():
    assert check_labels([0, 1000]).max() == 1000
    with pytest.raises(DataError, match="label -1 at row 1; expected a label of 0 or more"):
        check_labels([0, -1])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((4, 1), int), r"shape \(4, 1\).*y\.ravel\(\)"),
        (np.eye(4), r"shape \(4, 4\).*y\.argmax\(axis=1\)"),
        (np.int64(3), r"shape \(\)"),
        (np.zeros(0, int), "y is empty"),
        (np.array([0.0, np.nan]), "non-finite value; the first is nan at row 1"),
        (np.array([0.0, np.inf]), "non-finite value; the first is inf at row 1"),
        (np.array(["a", "b"]), r"row 0 holds 'a'.*numpy\.unique"),
    ],
)
def test_labels_refused(y, message):
    with pytest.raises(DataError, match=message):
        check_labels(y, 5)


def test_label_per_pixel():
    y = np.zeros((2, 3, 3), int)
    check_labels(y, 2, ndim=3)
    y[1, 2, 0] = 2
    with pytest.raises(DataError, match=r"label 2 at row 1, position \(2, 0\)"):
        check_labels(y, 2, ndim=3)


def test_one_class_cannot_be_trained_on(small_blocks):
    check_labels(np.full(20, 3), 5)
    with pytest.raises(DataError, match="all 20 labels of y are 3"):
        check_labels(np.full(20, 3), 5, training=True)
    check_labels(np.arange(20) // 19, 5, training=True)


# --- lengths and weights


def test_lengths():
    x, y = np.zeros((4, 2)), [0] * 4
    assert check_lengths(x=x, y=y, sample_weight=None) == 4
    with pytest.raises(DataError, match="x has 4 rows but sample_weight has 3"):
        check_lengths(x=x, y=y, sample_weight=np.ones(3))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -0.5, 1.0], r"sample_weight holds -0\.5 at row 1"),
        ([1.0, 2.0, np.nan], "non-finite value; the first is nan at row 2"),
        ([0, 0, 0], "all 3 values of sample_weight are zero"),
        ([1.0, 2.0], r"shape \(2,\); expected \(3,\)"),
        ([[1.0], [1.0], [1.0]], r"shape \(3, 1\); expected \(3,\)"),
        (["a", "b", "c"], "row 0 holds 'a'"),
    ],
)
def test_sample_weight_refused(weight, message):
    with pytest.raises(DataError, match=message):
        check_sample_weight(weight, 3)


def test_sample_weight_passes(small_blocks):
    weight = np.zeros(40)
    weight[39] = 2.0
    assert np.shares_memory(check_sample_weight(weight, 40), weight)
    assert check_sample_weight([True, False], 2).tolist() == [True, False]


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_balanced_gives_classes_equal_totals(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    weights = class_weights(y, len(counts), "balanced")
    np.testing.assert_allclose(weights * counts, len(y) / len(counts), rtol=1e-14)


def test_balanced_equals_scikit_learn():
    utils = pytest.importorskip("sklearn.utils.class_weight")
    y = np.random.default_rng(0).integers(0, 5, 200)
    theirs = utils.compute_class_weight("balanced", classes=np.arange(5), y=y)
    np.testing.assert_allclose(class_weights(y, 5, "balanced"), theirs, rtol=1e-15)


def test_class_weight_forms():
    y = [0, 1, 2]
    assert class_weights(y, 3).tolist() == [1, 1, 1]
    assert class_weights(y, 3, {0: 2, np.int64(2): 0.5}).tolist() == [2, 1, 0.5]
    given_weights = np.array([1, 2, 3], np.float32)
    got = class_weights(y, 3, given_weights)
    assert got.dtype == np.float64
    assert got.tolist() == [1, 2, 3]
    assert class_weights(y, 3, (1, 0, 3)).tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("balance", "the only word for it is 'balanced'"),
        ({3: 1.0}, "names class 3; expected 0 to 2"),
        ({"cat": 1.0}, "names class 'cat'"),
        ({1: -1.0}, r"-1\.0 for class 1"),
        ([1.0, np.nan, 1.0], "nan for class 1"),
        ([1.0, 2.0], r"shape \(2,\); expected \(3,\)"),
        ([0, 0, 0], "zero for every class"),
        (2.0, r"shape \(\); expected \(3,\)"),
        ({1: [1.0, 2.0]}, r"class_weight\[1\]"),
        ({1: "x"}, r"class_weight\[1\]"),
    ],
)
def test_class_weight_refused(weight, message):
    with pytest.raises(DataError, match=message):
        class_weights([0, 1, 2], 3, weight)


def test_balanced_needs_every_class():
    with pytest.raises(DataError, match="class 1 has none"):
        class_weights([0, 2], 3, "balanced")


def test_probabilities_of_classes(small_blocks):
    good = np.full((9, 4), 0.25, np.float16)
    assert check_probabilities(good) is good
    bad = good.astype(np.float64)
    bad[6, 0] = 0.5
    with pytest.raises(DataError, match=r"adds up to 1\.25 at row 6"):
        check_probabilities(bad)
    with pytest.raises(DataError, match=r"-1.0 at row 0, column 0, outside the range \[0, 1\]"):
        check_probabilities([[-1.0, 2.0]])


def test_fixes_for_one_output_and_for_labels_can_be_typed():
    with pytest.raises(DataError, match="Give the last layer 1 output"):
        check_targets(np.zeros(3), shape=(2,))
    with pytest.raises(DataError, match=r"classes, y = numpy.unique\(y, return_inverse=True\)"):
        check_labels([0, 9], 3, "validation y")
