"""Curves against scikit-learn, and which label they take for positive."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from tests_metrics import FAST, both


@FAST
@given(data=st.data(), drop=st.booleans(), ties=st.booleans(), strings=st.booleans())
def test_equal_the_oracle(sk: Any, data: Any, drop: bool, ties: bool, strings: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = data.draw(st.integers(2, 30))
    y = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    s = rng.integers(0, 4, n) / 4 if ties else rng.normal(size=n)
    w = data.draw(st.sampled_from([None, rng.integers(0, 3, n) / 2]))
    if w is not None:
        w[:2] = 1
    options: dict[str, Any] = {"sample_weight": w}
    if strings or data.draw(st.booleans()):
        y = np.array(["no", "yes"])[y] if strings else y
        options["pos_label"] = data.draw(st.sampled_from(np.unique(y).tolist()))
    both(m.confusion_matrix_at_thresholds, sk.confusion_matrix_at_thresholds, y, s, **options)
    options["drop_intermediate"] = drop
    for name in ("roc_curve", "precision_recall_curve", "det_curve"):
        both(getattr(m, name), getattr(sk, name), y, s, **options)


@FAST
@given(data=st.data())
def test_values_at_thresholds_equal_the_oracle(sk: Any, data: Any):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    y, s = rng.integers(0, 2, 12), rng.integers(0, 5, 12) / 4
    w = data.draw(st.sampled_from([None, rng.integers(1, 3, 12)]))
    options = {"sample_weight": w, "metric_params": {"zero_division": 0}}
    function = m.precision_score
    ours, theirs = (f.metric_at_thresholds(y, s, function, **options) for f in (m, sk))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_golden():
    fpr, tpr, thresholds = m.roc_curve([0, 1], [1.0, 2.0])
    assert (fpr.tolist(), tpr.tolist()) == ([0, 0, 1], [0, 1, 1])
    assert thresholds.tolist() == [math.inf, 2.0, 1.0]
    assert m.auc(fpr, tpr) == 1.0
    assert m.auc(fpr[::-1], tpr[::-1]) == 1.0
    fpr, tpr, _ = m.roc_curve([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6])
    assert len(fpr) == 4
    assert len(m.roc_curve([0, 0, 0, 1, 1, 1], range(6), drop_intermediate=False)[0]) == 7


@FAST
@given(data=st.data())
def test_the_area_under_the_curve_is_the_score(data: Any):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    y = np.concatenate([[0, 1], rng.integers(0, 2, 20)])
    s = rng.integers(0, 6, 22)
    fpr, tpr, _ = m.roc_curve(y, s)
    assert m.auc(fpr, tpr) == pytest.approx(m.roc_auc_score(y, s), rel=1e-13)


def test_one_class():
    with pytest.warns(m.UndefinedMetricWarning, match="no negative"):
        assert np.isnan(m.roc_curve([1, 1], [0.1, 0.2])[0]).all()
    with pytest.warns(m.UndefinedMetricWarning, match="no positive"):
        assert np.isnan(m.roc_curve([0, 0], [0.1, 0.2])[1]).all()
    with pytest.warns(m.UndefinedMetricWarning, match="recall is set to 1"):
        _, recall, _ = m.precision_recall_curve([0, 0], [0.1, 0.2])
    assert recall.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.roc_curve([0, 1, 2], [1, 2, 3]), DataError, "of two labels"),
        (lambda: m.roc_curve([0, 1], np.eye(2)), ShapeError, "a curve needs"),
        (lambda: m.metric_at_thresholds([0, 1], np.eye(2), max), ShapeError, "a curve needs"),
        (lambda: m.roc_curve(["a", "b"], [1, 2]), ValueError, "pos_label"),
        (lambda: m.roc_curve([1, 2], [1, 2]), ValueError, r"\[1, 2\].*pos_label"),
        (lambda: m.roc_curve([0, 1], [1, 2], pos_label="a"), ValueError, "not among"),
        (lambda: m.det_curve([0, 0], [1, 2]), DataError, "both classes"),
        (lambda: m.auc([0.0], [1.0]), ShapeError, "at least 2 points"),
        (lambda: m.auc([0.0, 2.0, 1.0], [1.0, 1.0, 1.0]), ValueError, "up and down"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
