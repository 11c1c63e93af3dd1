from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from tests_metrics import FAST, ZERO, both, classes, indicators

SCORES = ["precision_score", "recall_score", "f1_score", "precision_recall_fscore_support"]


@pytest.mark.parametrize("name", SCORES)
@FAST
@given(data=st.data(), case=classes(), zero=ZERO)
def test_scores_of_classes_equal_the_oracle(sk: Any, name: str, data: Any, case: Any, zero: Any):
    true, pred, w, known = case
    average = data.draw(st.sampled_from(["micro", "macro", "weighted", None]))
    labels = data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True))
    kwargs = {"average": average, "labels": labels, "sample_weight": w, "zero_division": zero}
    both(getattr(m, name), getattr(sk, name), true, pred, **kwargs)


@pytest.mark.parametrize("name", SCORES)
@FAST
@given(data=st.data(), case=classes(most=2), zero=ZERO)
def test_binary_scores_equal_the_oracle(sk: Any, name: str, data: Any, case: Any, zero: Any):
    true, pred, w, _ = case
    present = np.unique(np.concatenate([np.ravel(true), np.ravel(pred)])).tolist()
    pos = data.draw(st.sampled_from(present))
    kwargs = {"average": "binary", "pos_label": pos, "sample_weight": w, "zero_division": zero}
    both(getattr(m, name), getattr(sk, name), true, pred, **kwargs)


@pytest.mark.parametrize("name", SCORES)
@FAST
@given(data=st.data(), case=indicators(), zero=ZERO)
def test_multilabel_scores_equal_the_oracle(sk: Any, name: str, data: Any, case: Any, zero: Any):
    true, pred, w, k = case
    average = data.draw(st.sampled_from(["micro", "macro", "weighted", "samples", None]))
    labels = data.draw(
        st.none() | st.lists(st.integers(0, k - 1), min_size=1, max_size=k, unique=True)
    )
    kwargs = {"average": average, "labels": labels, "sample_weight": w, "zero_division": zero}
    both(getattr(m, name), getattr(sk, name), true, pred, **kwargs)


@FAST
@given(case=classes(), beta=st.sampled_from([0.0, 0.5, 2.0, math.inf]))
def test_f_beta_equals_the_oracle(sk: Any, case: Any, beta: float):
    true, pred, w, _ = case
    for average in (None, "macro"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kwargs = {"beta": beta, "average": average, "sample_weight": w, "zero_division": 0}
            ours = m.precision_recall_fscore_support(true, pred, **kwargs)
            theirs = sk.precision_recall_fscore_support(true, pred, **kwargs)
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-12)


@FAST
@given(data=st.data(), case=classes())
def test_matrices_and_accuracies_equal_the_oracle(sk: Any, data: Any, case: Any):
    true, pred, w, known = case
    normalize = data.draw(st.sampled_from([None, "true", "pred", "all"]))
    present = np.unique(true).tolist()
    labels = data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True))
    if labels is not None and not set(labels) & set(present):
        labels.append(present[0])
    kwargs = {"labels": labels, "sample_weight": w, "normalize": normalize}
    both(m.confusion_matrix, sk.confusion_matrix, np.ravel(true), pred, **kwargs)
    ours = m.multilabel_confusion_matrix
    both(ours, sk.multilabel_confusion_matrix, true, pred, labels=labels, sample_weight=w)
    for share in (True, False):
        both(m.accuracy_score, sk.accuracy_score, true, pred, sample_weight=w, normalize=share)


@FAST
@given(data=st.data(), case=indicators(), samplewise=st.booleans())
def test_multilabel_matrices_equal_the_oracle(sk: Any, data: Any, case: Any, samplewise: bool):
    true, pred, w, k = case
    labels = data.draw(st.none() | st.just([k - 1, 0]))
    if not (samplewise and labels):
        kwargs = {"labels": labels, "sample_weight": w, "samplewise": samplewise}
        both(m.multilabel_confusion_matrix, sk.multilabel_confusion_matrix, true, pred, **kwargs)
    both(m.accuracy_score, sk.accuracy_score, true, pred, sample_weight=w)


# By hand: TP 3, FP 1, FN 2, TN 4 for the positive class 1.
TRUE = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
PRED = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]


def test_golden_binary():
    assert m.accuracy_score(TRUE, PRED) == 7 / 10
    assert m.accuracy_score(TRUE, PRED, normalize=False) == 7.0
    assert m.precision_score(TRUE, PRED) == 3 / 4
    assert m.recall_score(TRUE, PRED) == 3 / 5
    assert m.f1_score(TRUE, PRED) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2), rel=1e-15)
    assert m.precision_score(TRUE, PRED, pos_label=0) == 4 / 6
    assert m.balanced_accuracy_score(TRUE, PRED) == pytest.approx((3 / 5 + 4 / 5) / 2, rel=1e-15)
    np.testing.assert_array_equal(m.confusion_matrix(TRUE, PRED), [[4, 1], [2, 3]])
    np.testing.assert_array_equal(
        m.multilabel_confusion_matrix(TRUE, PRED), [[[3, 2], [1, 4]], [[4, 1], [2, 3]]]
    )


def test_golden_multiclass():
    true, pred = ["a", "a", "b", "b", "b", "c"], ["a", "b", "b", "b", "c", "c"]
    p, r, f, support = m.precision_recall_fscore_support(true, pred)
    np.testing.assert_allclose(p, [1, 2 / 3, 1 / 2])
    np.testing.assert_allclose(r, [1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(f, [2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_array_equal(support, [2, 3, 1])
    assert m.precision_score(true, pred, average="micro") == 4 / 6
    assert m.precision_score(true, pred, average="macro") == pytest.approx(13 / 18)
    assert m.precision_score(true, pred, average="weighted") == pytest.approx(4.5 / 6)
    matrix = m.confusion_matrix(true, pred, labels=["c", "b"], normalize="true")
    np.testing.assert_allclose(matrix, [[1, 0], [1 / 3, 2 / 3]])


def test_golden_weights_and_samples():
    assert m.accuracy_score([0, 1], [0, 0], sample_weight=[3, 1]) == 3 / 4
    assert m.precision_score([1, 0], [1, 1], sample_weight=[0.5, 1.5]) == 1 / 4
    true, pred = [[1, 1, 0], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]]
    with pytest.warns(m.UndefinedMetricWarning, match="1 of 2 samples have no predicted label"):
        assert m.precision_score(true, pred, average="samples") == 1 / 4
    assert m.precision_score(true, pred, average="samples", zero_division=1) == 3 / 4
    assert m.precision_score(true, pred, average="samples", zero_division=math.nan) == 1 / 2
    assert m.accuracy_score(true, pred) == 1 / 2


def test_counts_with_integer_weights_stay_integers():
    assert m.confusion_matrix(TRUE, PRED).dtype == np.int64
    assert m.confusion_matrix(TRUE, PRED, sample_weight=[2] * 10).dtype == np.int64
    assert m.confusion_matrix(TRUE, PRED, sample_weight=np.ones(10, "f4")).dtype == np.float64


def test_labels_of_other_types():
    variable = np.array(["a", "bb", "a"], dtype=np.dtypes.StringDType())
    assert m.accuracy_score(variable, ["a", "bb", "bb"]) == 2 / 3
    assert m.accuracy_score([True, False], np.array([1.0, 1.0])) == 1 / 2
    assert m.f1_score([True, False], [1, 0], pos_label=True) == 1.0
    ends = np.array([-128, 127], np.int8)
    np.testing.assert_array_equal(m.confusion_matrix(ends, [127, 127]), [[0, 1], [0, 1]])


class Sparse:
    """Looks like a sparse matrix of SciPy."""

    def __init__(self, dense: Any) -> None:
        self.dense = np.asarray(dense)

    def toarray(self) -> Any:
        return self.dense


def test_sparse_indicators_and_weights_of_other_types():
    true, pred = [[1, 0], [1, 1]], [[1, 1], [1, 1]]
    dense = m.f1_score(true, pred, average=None)
    np.testing.assert_array_equal(m.f1_score(Sparse(true), Sparse(pred), average=None), dense)
    weights = np.array([1, 2.5], object)
    assert m.accuracy_score([0, 1], [0, 0], sample_weight=weights) == 1 / 3.5
    assert m.accuracy_score([0, 1], [0, 0], sample_weight=np.array([2**63, 0], np.uint64)) == 1.0


def test_sums_of_large_integer_weights_do_not_overflow():
    """Errata E004-39: int64 sums would be negative here, and float64 sums off by one."""
    exact = m.confusion_matrix([0, 1, 1], [0, 1, 1], sample_weight=[1, 2**53, 1])
    assert exact.tolist() == [[1, 0], [0, 2**53 + 1]]
    large = np.full(3, 2**63 - 1)
    matrix = m.confusion_matrix([0, 1, 1], [0, 1, 1], sample_weight=large)
    np.testing.assert_allclose(matrix, [[2.0**63, 0], [0, 2.0**64]], rtol=1e-15)
    assert m.f1_score([0, 1, 1], [0, 1, 0], sample_weight=large) == pytest.approx(2 / 3, rel=1e-15)
    cells = m.multilabel_confusion_matrix(
        [[1, 0], [1, 1]], [[1, 1], [1, 1]], sample_weight=large[:2]
    )
    np.testing.assert_allclose(cells[0], [[0, 0], [0, 2.0**64]])


def test_zero_by_zero():
    """Errata E004-37: the printed ratios are nan where nothing is predicted, or nothing is true."""
    tp, fp = np.float64(0), np.float64(0)
    with np.errstate(invalid="ignore"):
        printed = tp / (tp + fp)
    assert math.isnan(printed)
    for score in (m.precision_score, m.recall_score, m.f1_score):
        with pytest.warns(m.UndefinedMetricWarning, match="0/0 and set to 0"):
            assert score([0, 0], [0, 0], zero_division="warn") == 0.0
        assert score([0, 0], [0, 0], zero_division=1) == 1.0


def test_undefined_scores_warn_and_name_the_labels():
    with pytest.warns(m.UndefinedMetricWarning, match=r"precision is 0/0 .* label \['c'\]"):
        p = m.precision_score(["a", "c"], ["a", "a"], average=None)
    np.testing.assert_array_equal(p, [0.5, 0])
    with pytest.warns(m.UndefinedMetricWarning, match="recall"):
        assert m.recall_score([0, 0], [0, 1]) == 0
    with pytest.warns(m.UndefinedMetricWarning, match="no true sample of label \\[1\\]"):
        assert m.balanced_accuracy_score([0, 0], [0, 1]) == 0.5
    with pytest.warns(m.UndefinedMetricWarning, match="one class"):
        assert math.isnan(m.balanced_accuracy_score([0], [0], adjusted=True))
    with pytest.warns(UserWarning, match=r"\(1, 1\)"):
        m.confusion_matrix([3], [3])
    with pytest.warns(UserWarning, match="plays no part"):
        m.f1_score(TRUE, PRED, average="macro", pos_label=0)


def test_warnings_point_at_the_caller():
    for call in (
        lambda: m.recall_score([0, 0], [0, 1]),
        lambda: m.precision_recall_fscore_support([0, 0], [0, 1], warn_for=["recall"]),
        lambda: m.balanced_accuracy_score([0, 0], [0, 1]),
        lambda: m.r2_score([1.0], [1.0]),
    ):
        with pytest.warns(m.UndefinedMetricWarning) as caught:
            call()
        assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.accuracy_score([0, 1], [0]), ShapeError, r"samples: shapes \(2,\) and \(1,\)"),
        (lambda: m.accuracy_score([], []), DataError, "empty"),
        (lambda: m.accuracy_score([0], [[0, 1]]), ShapeError, "multilabel indicator"),
        (lambda: m.accuracy_score([[0, 1]], [[0, 1, 1]]), ShapeError, "label columns"),
        (lambda: m.accuracy_score([0, 1], [0.2, 0.8]), DataError, r"y_pred\[0\] = 0.2 .*argmax"),
        (lambda: m.accuracy_score([0, 1], [0, math.nan]), DataError, r"y_pred\[1\] = nan"),
        (lambda: m.accuracy_score([0], [[0.3, 0.7]]), DataError, r"y_pred\[0, 0\] = 0.3"),
        (lambda: m.accuracy_score([0], [1e300]), DataError, "too large"),
        (lambda: m.accuracy_score([0], np.array([2**63], np.uint64)), DataError, "too large"),
        (lambda: m.accuracy_score(["a"], [0]), DataError, "strings .* numbers"),
        (lambda: m.accuracy_score([["a", "b"]], [[0, 1]]), DataError, "strings of shape"),
        (lambda: m.accuracy_score([[0], [0, 1]], [0, 1]), ShapeError, "different lengths"),
        (lambda: m.accuracy_score(0, 1), ShapeError, r"got shape \(\)"),
        (lambda: m.accuracy_score([1j], [1]), DataError, "complex"),
        (lambda: m.accuracy_score([b"a"], [b"a"]), TypeError, "decode"),
        (
            lambda: m.accuracy_score(np.array(["a", None], object), ["a", "b"]),
            DataError,
            r"y_true\[0\] = 'a'",
        ),
        (
            lambda: m.accuracy_score([0], [0], sample_weight=[1, 2]),
            ShapeError,
            r"\(1,\), got \(2,\)",
        ),
        (lambda: m.accuracy_score([0], [0], sample_weight=[-1]), DataError, r"\[0\] = -1"),
        (lambda: m.accuracy_score([0], [0], sample_weight=["a"]), DataError, "numbers"),
        (lambda: m.f1_score([0, 1], [0, 1], sample_weight=[0, 0]), DataError, "all weights"),
        (lambda: m.f1_score(TRUE, PRED, average="macr"), ValueError, "did you mean 'macro'"),
        (lambda: m.f1_score([0, 1, 2], [0, 1, 2]), ValueError, "multiclass.*average='macro'"),
        (lambda: m.f1_score([[0, 1]], [[0, 1]]), ValueError, "multilabel.*'samples'"),
        (lambda: m.f1_score(TRUE, PRED, pos_label=2), ValueError, r"pos_label=2 .*\[0, 1\]"),
        (lambda: m.f1_score(["a", "b"], ["a", "b"]), ValueError, "pos_label=1 .*'a', 'b'"),
        (lambda: m.f1_score(TRUE, PRED, average="samples"), ValueError, "multilabel targets"),
        (lambda: m.f1_score(TRUE, PRED, zero_division=2), ValueError, "'warn', 0, 1 or nan"),
        (lambda: m.f1_score(TRUE, PRED, zero_division="wan"), ValueError, "did you mean 'warn'"),
        (
            lambda: m.f1_score(TRUE, PRED, average="macro", labels=[1, 1]),
            DataError,
            "more than once",
        ),
        (lambda: m.f1_score(TRUE, PRED, average="macro", labels=[]), ShapeError, "at least one"),
        (lambda: m.f1_score(TRUE, PRED, average="macro", labels=["a"]), DataError, "labels holds"),
        (
            lambda: m.f1_score([[0, 1]], [[0, 1]], average=None, labels=[2]),
            ValueError,
            "column numbers 0…1",
        ),
        (lambda: m.confusion_matrix(TRUE, PRED, normalize="tru"), ValueError, "mean 'true'"),
        (lambda: m.confusion_matrix(TRUE, PRED, labels=[5]), ValueError, "none of them"),
        (lambda: m.confusion_matrix([[0, 1]], [[0, 1]]), ValueError, "multilabel_confusion"),
        (lambda: m.balanced_accuracy_score([[0, 1]], [[0, 1]]), ValueError, "one label"),
        (
            lambda: m.precision_recall_fscore_support(TRUE, PRED, beta=-1),
            ValueError,
            "beta=-1",
        ),
        (
            lambda: m.precision_recall_fscore_support(TRUE, PRED, warn_for=["fscore"]),
            ValueError,
            "did you mean 'f-score'",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
    assert issubclass(error, ValueError | TypeError)
