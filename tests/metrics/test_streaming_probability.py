"""Streams of probabilities and scores against the functions, whatever the split and the order."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from tests_metrics import shuffled

FAST = settings(max_examples=25, deadline=None)
CLOSE: Any = {"rtol": 1e-13, "atol": 1e-15}


@st.composite
def samples(draw: st.DrawFn, columns: int | None = None) -> tuple[Any, Any, Any, Any]:
    """A generator, labels, probabilities (N, K) or (N,), and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(2, 40))
    k = columns or draw(st.integers(1, 4))
    true = np.concatenate([np.arange(max(k, 2)), rng.integers(0, max(k, 2), n)])
    p = rng.dirichlet(np.ones(k), len(true)) if k > 1 else rng.random(len(true))
    if draw(st.booleans()):  # ties
        p = np.round(p * 4) / 4
        if k > 1:
            p[:, 0] = 1 - p[:, 1:].sum(axis=1)
            p = np.where((p < 0).any(axis=1)[:, None], np.eye(k)[0], p)
    w = draw(st.sampled_from([None, "int", "float"]))
    if w is not None:
        w = rng.integers(1, 4, len(true)) if w == "int" else rng.random(len(true)) + 0.01
    return rng, true, p, w


@FAST
@given(case=samples())
def test_losses_equal_the_functions(case: Any):
    rng, true, p, w = case
    labels = list(range(max(2, 1 if p.ndim == 1 else p.shape[1])))
    for make, function in (
        (m.LogLoss, m.log_loss),
        (m.BrierScore, m.brier_score_loss),
        (m.CalibrationError, m.expected_calibration_error),
    ):
        values = [shuffled(rng, make, true, p, w).compute() for _ in range(2)]
        assert values[0] == values[1]
        whole = function(true, p, sample_weight=w, labels=labels)
        np.testing.assert_allclose(values[0], whole, **CLOSE)


@FAST
@given(data=st.data(), average=st.sampled_from(["macro", "weighted", None]))
def test_rankings_equal_the_functions(data: Any, average: Any):
    rng, true, p, w = data.draw(samples(columns=data.draw(st.sampled_from([1, 3]))))
    for make, function, options in (
        (m.ROCAUC, m.roc_auc_score, {"multi_class": "ovr"}),
        (m.AveragePrecision, m.average_precision_score, {}),
    ):
        values = [
            shuffled(rng, lambda make=make: make(average=average), true, p, w).compute()
            for _ in range(2)
        ]
        np.testing.assert_array_equal(*values)
        whole = function(true, p, sample_weight=w, average=average, **options)
        np.testing.assert_allclose(values[0], whole, **CLOSE)


@FAST
@given(data=st.data())
def test_indicators_and_micro(data: Any):
    rng, _, p, w = data.draw(samples(columns=3))
    true = rng.integers(0, 2, p.shape)
    true[0], true[1] = 0, 1
    average = data.draw(st.sampled_from(["micro", "macro", "weighted", None]))
    for make, function in (
        (m.ROCAUC, m.roc_auc_score),
        (m.AveragePrecision, m.average_precision_score),
    ):
        stream = shuffled(rng, lambda make=make: make(average=average), true, p, w)
        whole = function(true, p, sample_weight=w, average=average)
        np.testing.assert_allclose(stream.compute(), whole, **CLOSE)


@FAST
@given(data=st.data(), bins=st.sampled_from([4, 100]))
def test_bins_are_within_their_bound(data: Any, bins: int):
    rng, true, p, w = data.draw(samples(columns=data.draw(st.sampled_from([1, 3]))))
    stream = shuffled(rng, lambda: m.ROCAUC(bins=bins, average=None), true, p, w)
    scores = p[:, None] if p.ndim == 1 else p
    weight = np.ones(len(true)) if w is None else w
    exact = m.ROCAUC(average=None)
    exact.update(true, p, w)
    for k, (value, whole) in enumerate(
        zip(np.atleast_1d(stream.compute()), np.atleast_1d(exact.compute()), strict=True)
    ):
        positive = true == (k if p.ndim == 2 else 1)
        at = np.minimum(((1 - scores[:, k]) * bins).astype(int), bins - 1)
        pos, neg = (np.bincount(at, weight * side, bins) for side in (positive, ~positive))
        bound = (pos @ neg) / (pos.sum() * neg.sum()) / 2
        assert abs(value - whole) <= bound + 1e-12
    # scores that are multiples of the bins' width from above lose nothing
    q = (np.floor((1 - p) * 4) / 4).clip(max=0.75)
    coarse = shuffled(rng, lambda: m.AveragePrecision(bins=4, average=None), true, 1 - q, w)
    whole = m.AveragePrecision(average=None)
    whole.update(true, 1 - q, w)
    np.testing.assert_allclose(coarse.compute(), whole.compute(), **CLOSE)


@FAST
@given(case=samples(columns=4), k=st.integers(1, 3))
def test_top_k_equals_the_function(case: Any, k: int):
    rng, true, p, w = case
    stream = shuffled(rng, lambda: m.TopKAccuracy(k), true, p, w)
    whole = m.top_k_accuracy_score(true, p, k=k, sample_weight=w)
    np.testing.assert_allclose(stream.compute(), whole, **CLOSE)


def test_labels_of_one_batch_need_not_be_all():
    loss = m.LogLoss(labels=["a", "b", "c"])
    loss.update(["b"], [[0.25, 0.5, 0.25]])
    loss.update(["c"], [[0.0, 0.5, 0.5]])
    assert loss.compute() == math.log(2)
    area = m.ROCAUC(labels=["no", "yes"])
    area.update(["no"], [0.25])
    area.update(["yes"], [0.5])
    assert area.compute() == 1.0


def test_one_class_warns():
    for options in ({}, {"bins": 10}):
        area = m.ROCAUC(**options)
        area.update([1, 1], [0.25, 0.5])
        with pytest.warns(m.UndefinedMetricWarning):
            assert math.isnan(area.compute())


@pytest.mark.parametrize(
    "make",
    [
        m.LogLoss,
        m.BrierScore,
        m.CalibrationError,
        m.ROCAUC,
        m.AveragePrecision,
        lambda: m.ROCAUC(bins=8),
    ],
)
def test_life(make: Any):
    metric = make()
    with pytest.raises(DataError):
        metric.compute()
    metric.update([0, 1, 1], [0.25, 0.75, 0.375])
    value = metric.compute()
    for true, p in (([0, 7], [0.5, 0.5]), ([0], [0.5, 0.5])):
        with pytest.raises(ValueError, match=r"7|samples|fit"):
            metric.update(true, p)
    metric.update([0, 1], [0.5, 0.5], [0, 0])
    assert metric.merge(make()).compute() == value
    assert make().merge(metric).compute() == value
    metric.reset()
    with pytest.raises(DataError):
        metric.compute()
    with pytest.raises(ValueError, match="options differ"):
        metric.merge(m.Recall())


def test_errors():
    with pytest.raises(ValueError, match="k=0"):
        m.TopKAccuracy(0)
    with pytest.raises(ShapeError, match="one column for each"):
        m.TopKAccuracy(2).update([0, 1], [0.5, 0.5])
    with pytest.raises(ValueError, match="n_bins=0"):
        m.CalibrationError(n_bins=0)
    with pytest.raises(ValueError, match="micro"):
        m.ROCAUC(average="micro", bins=5)
    with pytest.raises(DataError, match=r"bins are of \[0, 1\]"):
        m.ROCAUC(bins=5).update([0, 1], [-3.0, 4.0])
    area = m.ROCAUC()
    area.update([0, 1], [0.5, 0.5])
    with pytest.raises(ShapeError, match="3 columns after batches of 1"):
        area.update([0], [[0.2, 0.3, 0.5]])
    other = m.ROCAUC()
    other.update([0], [[0.2, 0.3, 0.5]])
    with pytest.raises(ShapeError, match="merge 3 columns into 1"):
        area.merge(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert area.compute() == 0.5
