"""Calibration against scikit-learn, and by hand where it has none."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics.calibration import brier_scores


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 30),
    bins=st.integers(1, 12),
    strategy=st.sampled_from(["uniform", "quantile"]),
)
def test_the_curve_equals_the_oracle(sk: Any, seed: int, n: int, bins: int, strategy: str):
    oracle = importlib.import_module("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    p = rng.integers(0, 11, n) / 10  # on the edges of bins too
    ours = m.calibration_curve(y, p, n_bins=bins, strategy=strategy)
    for a, b in zip(ours, oracle(y, p, n_bins=bins, strategy=strategy), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 12),
    k=st.integers(2, 4),
    weighted=st.booleans(),
    half=st.sampled_from(["auto", True, False]),
)
def test_brier_equals_the_oracle(sk: Any, seed: int, n: int, k: int, weighted: bool, half: Any):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    y = rng.integers(0, k, n)
    w = rng.integers(1, 5, n) / 2 if weighted else None
    options: dict[str, Any] = {"sample_weight": w, "scale_by_half": half}
    ours, theirs = (f.brier_score_loss(y, p, labels=np.arange(k), **options) for f in (m, sk))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    if k == 2 and len(set(y)) == 2:
        for pos in (0, 1):
            ours, theirs = (
                f.brier_score_loss(y, p[:, 1], pos_label=pos, **options) for f in (m, sk)
            )
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_brier_by_hand():
    assert m.brier_score_loss([0, 1], [1.0, 0.0]) == 1.0
    assert m.brier_score_loss([1], [0.75]) == 0.0625  # one class of the two is present
    assert m.brier_score_loss([0, 2], [[1, 0, 0], [1, 0, 0]], labels=[0, 1, 2]) == 1.0
    named = brier_scores(["a", "b"], [0.25, 0.25], labels=["a", "b"])
    assert named.tolist() == [0.0625, 0.5625]
    with pytest.raises(ValueError, match="pos_label"):  # nothing says which of them it is
        brier_scores(["a", "b"], [0.25, 0.25])
    assert m.brier_score_loss([-1], [0.4]) == pytest.approx(0.16, rel=1e-15)


def test_expected_calibration_error_by_hand():
    # two bins of confidence: 0.6 (1 of 2 right) and 0.9 (2 of 2 right)
    p = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    y = np.array([0, 0, 0, 1])
    expected = 0.5 * 0.1 + 0.5 * 0.1
    assert m.expected_calibration_error(y, p, n_bins=10) == pytest.approx(expected)
    assert m.expected_calibration_error(y, p[:, 1], n_bins=10) == pytest.approx(expected)
    assert m.expected_calibration_error(np.eye(2)[y], p, n_bins=10) == pytest.approx(expected)
    names = np.array(["cat", "dog"])[y]
    assert m.expected_calibration_error(names, p, n_bins=10) == pytest.approx(expected)


def test_probabilities_that_tell_the_truth_have_a_small_error():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 20_000)
    y = (rng.random((len(p), 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    honest = m.expected_calibration_error(y, p)
    bold = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert honest < 0.02 < 0.1 < m.expected_calibration_error(y, bold)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.calibration_curve([0, 1], [0.5, 1.5]), DataError, "row 1 is 1.5"),
        (lambda: m.calibration_curve([0, 1], [0.5, math.nan]), DataError, "row 1 is nan"),
        (lambda: m.calibration_curve([0, 1, 2], [0.1, 0.2, 0.3]), DataError, "3 labels"),
        (lambda: m.calibration_curve([0, 1], np.eye(2)), DataError, "one label"),
        (lambda: m.calibration_curve([0, 1], [0.1, 0.2], n_bins=0), ValueError, "n_bins"),
        (lambda: m.calibration_curve([0, 1], [0.1, 0.2], strategy="q"), ValueError, "strategy"),
        (lambda: m.brier_score_loss([0, 1], [0.5]), ShapeError, "2 samples"),
        (lambda: m.brier_score_loss([0, 1], [0.5, 2]), DataError, "probability"),
        (lambda: m.brier_score_loss([0, 1], [0, 1], scale_by_half="no"), ValueError, "scale_by"),
        (lambda: m.expected_calibration_error([], []), DataError, "empty"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
