"""Streams of counts: the bits of the functions, whatever the split, order and merge."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError
from tests_metrics import shuffled

FAST = settings(max_examples=25, deadline=None)
RATIOS = {
    m.Precision: m.precision_score,
    m.F1: m.f1_score,
    m.Specificity: m.specificity_score,
    m.NegativePredictiveValue: m.negative_predictive_value,
    m.FalsePositiveRate: m.false_positive_rate,
    m.FalseNegativeRate: m.false_negative_rate,
    m.Jaccard: m.jaccard_score,
}


@st.composite
def samples(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, k = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    true, pred = rng.integers(0, k, (2, n))
    if draw(st.booleans()):
        names = np.array(["ant", "bumblebee", "c", "dog", "e"])
        true, pred = names[true], names[pred]
    w = draw(st.sampled_from([None, "int", "float"]))
    if w is not None:
        w = rng.integers(0, 4, n) if w == "int" else rng.random(n) * 10.0 ** rng.integers(-9, 9, n)
        w[0] = 1
    return rng, true, pred, w


@pytest.mark.parametrize("kind", list(RATIOS))
@FAST
@given(data=st.data(), case=samples())
def test_ratios_are_the_bits_of_the_function(kind: Any, data: Any, case: Any):
    rng, true, pred, w = case
    options: dict[str, Any] = {
        "average": data.draw(st.sampled_from([None, "micro", "macro", "weighted"])),
        "zero_division": data.draw(st.sampled_from([0, 1, math.nan])),
    }
    stream = shuffled(rng, lambda: kind(**options), true, pred, w)
    whole = RATIOS[kind](true, pred, sample_weight=w, **options)
    np.testing.assert_array_equal(stream.compute(), whole)


@FAST
@given(data=st.data(), case=samples())
def test_others_are_the_bits_of_the_function(data: Any, case: Any):
    rng, true, pred, w = case
    weights = data.draw(st.sampled_from([None, "linear", "quadratic"]))
    beta = data.draw(st.sampled_from([0.0, 0.5, 2.0, math.inf]))
    rows: list[tuple[Callable[[], Any], Callable[..., Any], dict[str, Any]]] = [
        (m.MatthewsCorrelation, m.matthews_corrcoef, {}),
        (m.BalancedAccuracy, m.balanced_accuracy_score, {}),
        (lambda: m.CohenKappa(weights=weights), m.cohen_kappa_score, {"weights": weights}),
        (
            lambda: m.FBeta(beta=beta, average="macro", zero_division=0),
            m.fbeta_score,
            {"beta": beta, "average": "macro", "zero_division": 0},
        ),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", m.UndefinedMetricWarning)
        for make, function, options in rows:
            stream = shuffled(rng, make, true, pred, w)
            whole = function(true, pred, sample_weight=w, **options)
            np.testing.assert_array_equal(stream.compute(), whole)


@FAST
@given(case=samples())
def test_weighted_accuracy_and_matrix_do_not_depend_on_the_split(case: Any):
    rng, true, pred, w = case
    for make in (m.Accuracy, m.ConfusionMatrix):
        values = [shuffled(rng, make, true, pred, w).compute() for _ in range(2)]
        np.testing.assert_array_equal(*values)


@pytest.mark.parametrize(
    "make",
    [*RATIOS, m.MatthewsCorrelation, m.BalancedAccuracy, m.CohenKappa, lambda: m.FBeta(beta=2)],
)
def test_nothing_seen_reset_and_other_options(make: Any):
    metric = make()
    with pytest.raises(DataError):
        metric.compute()
    metric.update([0, 1, 1], [0, 1, 0])
    value = metric.compute()
    with pytest.raises(DataError, match="strings"):
        metric.update(["a"], ["b"])
    assert metric.merge(make()).compute() == value
    metric.reset()
    metric.update([0, 1], [0, 1], [0, 0])
    metric.update([0, 1, 1], [0, 1, 0])
    assert metric.compute() == value
    with pytest.raises(ValueError, match="cannot merge"):
        metric.merge(m.Recall())


def test_errors_of_options():
    with pytest.raises(ValueError, match="beta=-1"):
        m.FBeta(beta=-1)
    with pytest.raises(ValueError, match="options differ"):
        m.FBeta(beta=1).merge(m.FBeta(beta=2))
    with pytest.raises(ValueError, match="options differ"):
        m.BalancedAccuracy().merge(m.BalancedAccuracy(adjusted=True))
    with pytest.raises(ValueError, match="mean 'linear'"):
        m.CohenKappa(weights="linea")
    with pytest.raises(ValueError, match="one label per sample"):
        m.MatthewsCorrelation().update([[0, 1]], [[0, 1]])
    assert m.BalancedAccuracy(adjusted=True).__repr__() == "BalancedAccuracy(adjusted=True)"
