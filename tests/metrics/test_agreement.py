"""Agreement in one number against scikit-learn, its laws, and sums that overflow integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics as m
from tests_metrics import FAST, both, classes, indicators


@FAST
@given(case=classes())
def test_matthews_equals_the_oracle(sk: Any, case: Any):
    true, pred, w, _ = case
    # scikit-learn takes the difference of rounded products: what should be 0 can be 1e-16
    both(m.matthews_corrcoef, sk.matthews_corrcoef, true, pred, sample_weight=_whole(w))


@FAST
@given(data=st.data(), case=classes())
def test_kappa_equals_the_oracle(sk: Any, data: Any, case: Any):
    true, pred, w, known = case
    labels = data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True))
    present = np.unique(true).tolist()
    if labels is not None and not set(labels) & set(present):
        labels.append(present[0])
    options = {
        "labels": labels,
        "weights": data.draw(st.sampled_from([None, "linear", "quadratic"])),
        "sample_weight": _whole(w),
        "replace_undefined_by": data.draw(st.sampled_from([np.nan, 0.0, 1.0])),
    }
    both(m.cohen_kappa_score, sk.cohen_kappa_score, np.ravel(true), pred, **options)


@FAST
@given(case=classes(), adjusted=st.booleans())
def test_balanced_accuracy_equals_the_oracle(sk: Any, case: Any, adjusted: bool):
    true, pred, w, _ = case
    if (w is None or all(w)) and (len(np.unique(true)) > 1 or not adjusted):
        options = {"sample_weight": w, "adjusted": adjusted, "same_warnings": False}
        both(m.balanced_accuracy_score, sk.balanced_accuracy_score, true, pred, **options)


@FAST
@given(case=classes(most=2), replace=st.sampled_from([np.nan, 1.0, {"LR+": 2.0, "LR-": 0.0}]))
def test_likelihood_ratios_equal_the_oracle(sk: Any, case: Any, replace: Any):
    true, pred, w, known = case
    options = {"labels": known, "sample_weight": _whole(w), "replace_undefined_by": replace}
    with np.errstate(invalid="ignore"):
        both(m.class_likelihood_ratios, sk.class_likelihood_ratios, np.ravel(true), pred, **options)


@FAST
@given(data=st.data(), normalize=st.booleans())
def test_shares_of_errors_equal_the_oracle(sk: Any, data: Any, normalize: bool):
    true, pred, w, _ = data.draw(classes() | indicators())
    both(m.zero_one_loss, sk.zero_one_loss, true, pred, sample_weight=w, normalize=normalize)
    both(m.hamming_loss, sk.hamming_loss, true, pred, sample_weight=w)


def _whole(w: Any) -> Any:
    return None if w is None else [math.ceil(v) for v in w]


@FAST
@given(case=classes())
def test_laws(case: Any):
    true, pred, w, _ = case
    value = m.matthews_corrcoef(true, pred, sample_weight=w)
    assert -1 <= value <= 1
    assert value == m.matthews_corrcoef(pred, true, sample_weight=w)
    several = len(np.unique(np.asarray(true)[np.asarray(w) > 0] if w else true)) > 1
    assert m.matthews_corrcoef(true, true, sample_weight=w) == float(several)
    if len(np.unique(np.concatenate([np.ravel(true), np.ravel(pred)]))) == 2:
        first = np.ravel(pred)[0]
        other = next(v for v in [*np.ravel(true), *np.ravel(pred)] if v != first)
        flipped = np.where(np.ravel(pred) == first, other, first)
        assert m.matthews_corrcoef(true, flipped, sample_weight=w) == -value


def test_matthews_of_two_classes_is_the_printed_ratio():
    true, pred = [1] * 5 + [0] * 5, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    tp, fp, fn, tn = 3, 1, 2, 4
    printed = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert m.matthews_corrcoef(true, pred) == pytest.approx(printed, rel=1e-15)


def test_an_empty_row_or_column_is_zero():
    """Errata E004-38: the printed ratio is 0/0."""
    tp, fp, fn, tn = (np.float64(v) for v in (0, 0, 1, 2))  # of [0, 0, 1] and [0, 0, 0]
    with np.errstate(invalid="ignore"):
        printed = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert math.isnan(printed)
    for true, pred in (([0, 0, 1], [0, 0, 0]), ([1, 1], [0, 1]), ([2, 2], [2, 2])):
        assert m.matthews_corrcoef(true, pred) == 0.0


def test_matthews_does_not_overflow():
    """Errata E004-39: the printed product of four sums leaves int64 from about 10⁵ samples on."""
    n = 120_000
    true = np.repeat([1, 0], n)
    pred = np.repeat([1, 0, 0, 1], n // 2)
    pred[: n // 4] = 0
    tp, fp, fn, tn = (
        np.int64(((true == t) & (pred == p)).sum()) for t, p in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    with np.errstate(over="ignore", invalid="ignore"):
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        printed = (tp * tn - fp * fn) / np.sqrt(product)
    real = float(np.corrcoef(true, pred)[0, 1])
    assert not abs(printed - real) < 0.1
    assert m.matthews_corrcoef(true, pred) == pytest.approx(real, rel=1e-12)
    assert m.matthews_corrcoef(true, true, sample_weight=np.full(2 * n, 10**6)) == 1.0


def test_golden():
    assert m.hamming_loss([0, 1, 1, 1], [0, 1, 0, 1]) == 0.25
    assert m.zero_one_loss([0, 1, 1, 1], [0, 1, 0, 1], normalize=False) == 1.0
    y1, y2 = [0] * 40 + [1] * 60, [0] * 30 + [1] * 10 + [0] * 20 + [1] * 40
    assert m.cohen_kappa_score(y1, y2) == pytest.approx((0.7 - 0.5) / (1 - 0.5), rel=1e-14)
    assert m.balanced_accuracy_score(y1, y2) == pytest.approx((3 / 4 + 2 / 3) / 2, rel=1e-15)
    with pytest.warns(m.UndefinedMetricWarning, match="no true sample of label \\[1\\]"):
        assert m.balanced_accuracy_score([0, 0], [0, 1]) == 0.5
    with pytest.warns(m.UndefinedMetricWarning, match="one class"):
        assert math.isnan(m.balanced_accuracy_score([0], [0], adjusted=True))
    with pytest.warns(m.UndefinedMetricWarning, match="kappa is 0/0"):
        assert math.isnan(m.cohen_kappa_score([0], [0]))


def test_balanced_accuracy_of_two_classes_is_the_mean_of_two_rates():
    """Ledger M-10: (sensitivity + specificity) / 2."""
    true, pred = [1] * 5 + [0] * 5, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    rates = m.recall_score(true, pred) + m.specificity_score(true, pred)
    assert m.balanced_accuracy_score(true, pred) == pytest.approx(rates / 2, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: m.matthews_corrcoef([[0, 1]], [[0, 1]]), "one label per sample"),
        (lambda: m.balanced_accuracy_score([[0, 1]], [[0, 1]]), "one label per sample"),
        (lambda: m.cohen_kappa_score([0, 1], [0, 1], weights="linaer"), "mean 'linear'"),
        (lambda: m.cohen_kappa_score([0, 1], [0, 1], labels=[2]), "none of them is in y1"),
        (lambda: m.cohen_kappa_score([0], [0], replace_undefined_by=2), "from -1 to 1"),
        (lambda: m.class_likelihood_ratios([0, 1, 2], [0, 1, 2]), "multiclass"),
        (lambda: m.class_likelihood_ratios([0], [0], replace_undefined_by=3), "nan, 1 or"),
        (
            lambda: m.class_likelihood_ratios([0], [0], replace_undefined_by={"LR": 1.0}),
            "did you mean",
        ),
        (
            lambda: m.class_likelihood_ratios(
                [0], [0], replace_undefined_by={"LR+": 0.0, "LR-": 1.0}
            ),
            r"LR\+.*from 1",
        ),
    ],
)
def test_errors(call: Callable[[], Any], text: str):
    with pytest.raises(ValueError, match=text):
        call()
