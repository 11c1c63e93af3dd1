"""Rankings against scikit-learn, and what chance and perfection score."""

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
from chainrule.array.errors import DataError, ShapeError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(4, 40),
    ties=st.booleans(),
    weighted=st.booleans(),
    strings=st.booleans(),
)
def test_two_classes_equal_the_oracle(
    sk: Any, seed: int, n: int, ties: bool, weighted: bool, strings: bool
):
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    s = rng.integers(0, 4, n) / 4 if ties else rng.normal(size=n)
    w = rng.integers(1, 5, n) / 2 if weighted else None
    labels = np.array(["no", "yes"])[y] if strings else y
    close: Any = {"rtol": 1e-12, "atol": 1e-12}
    area = m.roc_auc_score(labels, s, sample_weight=w)
    np.testing.assert_allclose(area, sk.roc_auc_score(labels, s, sample_weight=w), **close)
    greater = "yes" if strings else 1
    mean = m.average_precision_score(labels, s, pos_label=greater, sample_weight=w)
    np.testing.assert_allclose(mean, sk.average_precision_score(y, s, sample_weight=w), **close)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    average=st.sampled_from(["macro", "weighted", "micro", None]),
    weighted=st.booleans(),
)
def test_several_columns_equal_the_oracle(sk: Any, seed: int, average: Any, weighted: bool):
    rng = np.random.default_rng(seed)
    n, k = 20, 3
    w = rng.integers(1, 5, n) / 2 if weighted else None
    y = np.concatenate([np.eye(k, dtype=int), rng.integers(0, 2, (n - k, k))])
    s = rng.integers(0, 6, (n, k)) / 6
    options: dict[str, Any] = {"average": average, "sample_weight": w}
    for name in ("roc_auc_score", "average_precision_score"):
        ours, theirs = (getattr(f, name)(y, s, **options) for f in (m, sk))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    if average == "micro":
        return
    classes = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    p = rng.dirichlet(np.ones(k), n)
    options |= {"multi_class": "ovr"}
    ours, theirs = (f.roc_auc_score(classes, p, **options) for f in (m, sk))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_golden():
    assert m.roc_auc_score([0, 0, 1, 1], [1, 2, 3, 4]) == 1.0
    assert m.roc_auc_score([0, 0, 1, 1], [4, 3, 2, 1]) == 0.0
    assert m.roc_auc_score([0, 1, 1], [5, 5, 5]) == 0.5
    assert m.average_precision_score([0, 1, 0, 1], [7, 7, 7, 7]) == 0.5
    assert m.average_precision_score([0, 1], [0.2, 0.9], pos_label=0) == 0.5


def test_one_class_is_undefined():
    with pytest.warns(m.UndefinedMetricWarning):
        assert math.isnan(m.roc_auc_score([1, 1], [0.1, 0.9]))
    with pytest.warns(m.UndefinedMetricWarning):
        assert m.average_precision_score([0, 0], [0.1, 0.9], pos_label=1) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", m.UndefinedMetricWarning)
        p = np.full((2, 3), 1 / 3)
        options: Any = {"labels": [0, 1, 2], "multi_class": "ovr"}
        assert math.isnan(m.roc_auc_score([0, 1], p, **options))
        each = m.roc_auc_score([0, 1], p, average=None, **options)
        assert each[:2].tolist() == [0.5, 0.5]


def test_warnings_point_at_the_caller():
    area = m.ROCAUC()
    area.update([1], [0.5])
    for call in (
        lambda: m.roc_auc_score([1, 1], [0.1, 0.9]),
        lambda: m.average_precision_score([0, 0], [0.1, 0.9]),
        lambda: m.roc_auc_score([[0, 1], [1, 1]], [[0.1, 0.9], [0.2, 0.8]]),
        lambda: m.roc_auc_score([[1, 1], [1, 1]], [[0.1, 0.9], [0.2, 0.8]], average="micro"),
        lambda: m.roc_curve([1, 1], [0.1, 0.9]),
        lambda: m.precision_recall_curve([0, 0], [0.1, 0.9]),
        lambda: m.cohen_kappa_score([1], [1]),
        lambda: m.class_likelihood_ratios([0, 1], [0, 1]),
        lambda: m.d2_tweedie_score([1.0], [1.0]),
        lambda: m.top_k_accuracy_score([0, 1], [0.2, 0.9], k=2),
        area.compute,
    ):
        with pytest.warns(m.UndefinedMetricWarning) as caught:
            call()
        assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.roc_auc_score([0, 1], [0.5]), ShapeError, "2 samples, y_score has 1"),
        (lambda: m.roc_auc_score([], []), DataError, "empty"),
        (lambda: m.roc_auc_score([0, 1], [0.5, math.nan]), DataError, "row 1, column 0 is nan"),
        (lambda: m.roc_auc_score([0, 1], ["a", "b"]), ShapeError, "expected numbers"),
        (lambda: m.roc_auc_score([0, 1, 2], [1, 2, 3]), ShapeError, r"1 column\(s\) for 3 labels"),
        (lambda: m.roc_auc_score([0, 1], np.eye(2)), ShapeError, "2 columns for two labels"),
        (lambda: m.roc_auc_score([0, 1, 2], np.eye(3)), ValueError, "multi_class='ovr'"),
        (
            lambda: m.roc_auc_score([0, 5], np.eye(3)[:2], multi_class="ovr", labels=[0, 1, 2]),
            ValueError,
            r"\[5\], not in",
        ),
        (lambda: m.roc_auc_score([[1, 0, 1]], [[0.5, 0.5]]), ShapeError, "different columns"),
        (lambda: m.roc_auc_score([0, 1], [1, 2], average="mean"), ValueError, "average"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
