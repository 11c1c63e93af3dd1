"""Ratios of the four counts: against scikit-learn where it has them, and against each other."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics as m
from tests_metrics import FAST, ZERO, both, classes, indicators

TRUE = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
PRED = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]  # TP 3, FP 1, FN 2, TN 4
AVERAGES = st.sampled_from(["micro", "macro", "weighted", None])
RATES = {
    "specificity_score": lambda tn, fp, fn, tp: (tn, tn + fp),
    "negative_predictive_value": lambda tn, fp, fn, tp: (tn, tn + fn),
    "false_positive_rate": lambda tn, fp, fn, tp: (fp, fp + tn),
    "false_negative_rate": lambda tn, fp, fn, tp: (fn, fn + tp),
}


@FAST
@given(data=st.data(), average=AVERAGES, zero=ZERO)
def test_fbeta_and_jaccard_equal_the_oracle(sk: Any, data: Any, average: Any, zero: Any):
    true, pred, w, known = data.draw(classes() | indicators())
    labels = None
    if isinstance(known, list):
        labels = data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True))
    options = {"average": average, "labels": labels, "sample_weight": w, "zero_division": zero}
    beta = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 10.0]))
    # At β = 0 scikit-learn's 0/0 is that of precision, of which this function does not warn.
    options["same_warnings"] = beta > 0
    both(m.fbeta_score, sk.fbeta_score, true, pred, beta=beta, **options)
    if not math.isnan(zero if zero != "warn" else 0):
        both(m.jaccard_score, sk.jaccard_score, true, pred, **options)


@pytest.mark.parametrize("name", list(RATES))
@FAST
@given(data=st.data(), average=AVERAGES)
def test_rates_are_ratios_of_the_oracles_counts(sk: Any, name: str, data: Any, average: Any):
    true, pred, w, _ = data.draw(classes() | indicators())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = sk.multilabel_confusion_matrix(true, pred, sample_weight=w).astype(float)
        ours = getattr(m, name)(true, pred, average=average, sample_weight=w, zero_division=0)
    support = cells[:, 1].sum(axis=1)
    if average == "micro":
        cells = cells.sum(axis=0, keepdims=True)
    cells[np.abs(cells) < 1e-12] = 0  # what differences of sums of weights leave
    top, bottom = RATES[name](*cells.reshape(-1, 4).T)
    expected = np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)
    if average == "weighted":
        expected = np.average(expected, weights=support if support.any() else None)
    elif average is not None:
        expected = expected.mean()
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@FAST
@given(case=classes(most=2))
def test_laws(case: Any):
    """Ledger M-05 to M-08: the complements, and the same ratio seen from the other class."""
    true, pred, w, _ = case
    present = np.unique(np.concatenate([np.ravel(true), np.ravel(pred)])).tolist()
    if len(present) < 2:
        return
    one, other = present
    options: Any = {"sample_weight": w, "zero_division": math.nan}
    close: Any = {"rtol": 1e-14, "atol": 1e-15}
    specificity = m.specificity_score(true, pred, pos_label=one, **options)
    recall = m.recall_score(true, pred, pos_label=one, **options)
    npv = m.negative_predictive_value(true, pred, pos_label=one, **options)
    fpr = m.false_positive_rate(true, pred, pos_label=one, **options)
    fnr = m.false_negative_rate(true, pred, pos_label=one, **options)
    np.testing.assert_allclose(fpr, 1 - specificity, **close)
    np.testing.assert_allclose(fnr, 1 - recall, **close)
    np.testing.assert_allclose(specificity, m.recall_score(true, pred, pos_label=other, **options))
    np.testing.assert_allclose(npv, m.precision_score(true, pred, pos_label=other, **options))
    for value in (specificity, npv, fpr, fnr):
        assert math.isnan(value) or 0 <= value <= 1
    f1 = m.f1_score(true, pred, pos_label=one, **options)
    jaccard = m.jaccard_score(true, pred, pos_label=one, **options)
    np.testing.assert_allclose(jaccard, f1 / (2 - f1), rtol=1e-14)


def test_golden():
    assert m.specificity_score(TRUE, PRED) == 4 / 5
    assert m.negative_predictive_value(TRUE, PRED) == 4 / 6
    assert m.false_positive_rate(TRUE, PRED) == 1 / 5
    assert m.false_negative_rate(TRUE, PRED) == 2 / 5
    assert m.jaccard_score(TRUE, PRED) == 3 / 6
    assert m.fbeta_score(TRUE, PRED, beta=2) == 5 * 3 / (5 * 3 + 4 * 2 + 1)
    three = ["a", "a", "b", "c"], ["a", "b", "b", "b"]
    np.testing.assert_allclose(m.specificity_score(*three, average=None), [1, 1 / 3, 1])
    assert m.specificity_score(*three, average="micro") == 6 / 8
    np.testing.assert_allclose(m.negative_predictive_value(*three, average=None), [2 / 3, 1, 3 / 4])


@pytest.mark.parametrize("name", list(RATES))
def test_zero_by_zero_is_zero_with_a_warning(name: str):
    """Errata E004-37."""
    function = getattr(m, name)
    true, pred = ([0, 0], [0, 0]) if name == "false_negative_rate" else ([1, 1], [1, 1])
    with pytest.warns(m.UndefinedMetricWarning, match="0/0"):
        assert function(true, pred) == 0.0
    assert function(true, pred, zero_division=1) == 1.0
    assert math.isnan(function(true, pred, zero_division=math.nan))


def test_positive_class_and_average_are_defined():
    """Errata E004-56: they are arguments, and never guessed."""
    assert m.specificity_score(TRUE, PRED, pos_label=0) == 3 / 5
    with pytest.raises(ValueError, match="pos_label=1"):
        m.specificity_score(["no", "yes"], ["no", "yes"])
    with pytest.raises(ValueError, match=r"multiclass.*average='macro'"):
        m.false_positive_rate([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="beta=-1"):
        m.fbeta_score(TRUE, PRED, beta=-1)
    samples = m.specificity_score([[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [1, 1, 0]], average="samples")
    assert samples == (1 / 2 + 1) / 2


def test_float_weights_leave_no_remainder():
    """TN is what remains of the total: 0.1 + 0.2 + 0.3 must cancel to 0, not to 5.6e-17."""
    with pytest.warns(m.UndefinedMetricWarning):
        assert m.specificity_score([1, 1, 1], [1, 0, 1], sample_weight=[0.1, 0.2, 0.3]) == 0.0
