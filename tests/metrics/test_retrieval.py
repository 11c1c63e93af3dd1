"""Rankings within a sample against scikit-learn."""

from __future__ import annotations

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
@given(data=st.data(), ties=st.booleans())
def test_gains_equal_the_oracle(sk: Any, data: Any, ties: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, k = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 6))
    gains = rng.integers(0, 4, (n, k))
    gains[0, :2] = 2, 1  # else, of 0 and 1 in one row only, they could be taken for labels
    scores = rng.integers(0, 3, (n, k)) if ties else rng.normal(size=(n, k))
    options = {
        "k": data.draw(st.none() | st.integers(1, 7)),
        "sample_weight": data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2])),
        "ignore_ties": not ties and data.draw(st.booleans()),
    }
    both(m.dcg_score, sk.dcg_score, gains, scores, log_base=3, **options)
    both(m.ndcg_score, sk.ndcg_score, gains, scores, **options)
    assert 0 <= m.ndcg_score(gains, scores, **options) <= 1 + 1e-12


@FAST
@given(data=st.data(), ties=st.booleans())
def test_label_rankings_equal_the_oracle(sk: Any, data: Any, ties: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, k = data.draw(st.integers(2, 6)), data.draw(st.integers(2, 6))
    true = rng.integers(0, 2, (n, k))
    true[:2, :2] = [[0, 1], [1, 1]]
    scores = rng.integers(0, 3, (n, k)) / 2 if ties else rng.normal(size=(n, k))
    w = data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2]))
    for name in ("coverage_error", "label_ranking_loss", "label_ranking_average_precision_score"):
        both(getattr(m, name), getattr(sk, name), true, scores, sample_weight=w)


@FAST
@given(data=st.data(), ties=st.booleans(), strings=st.booleans(), normalize=st.booleans())
def test_top_k_equals_the_oracle(sk: Any, data: Any, ties: bool, strings: bool, normalize: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 5))
    names = np.array(list("abcde"[:classes])) if strings else np.arange(classes)
    true = names[rng.integers(0, classes, n)]
    shape = n if classes == 2 else (n, classes)
    scores = rng.integers(-2, 3, shape) / 2 if ties else rng.normal(size=shape)
    options = {
        "k": data.draw(st.integers(1, classes + 1)),
        "labels": names,
        "normalize": normalize,
        "sample_weight": data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2])),
    }
    both(m.top_k_accuracy_score, sk.top_k_accuracy_score, true, scores, **options)


def test_golden():
    assert m.ndcg_score([[0, 0], [1, 0]], [[1, 2], [2, 1]]) == 0.5
    assert m.coverage_error([[0, 0], [0, 1]], [[1, 2], [2, 1]]) == 1.0
    assert m.top_k_accuracy_score([0, 1, 2], np.eye(3), k=1) == 1.0
    with pytest.warns(m.UndefinedMetricWarning, match="every sample is right"):
        assert m.top_k_accuracy_score([0, 1], [0.9, 0.1], k=2) == 1.0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.top_k_accuracy_score([0, 1, 2], np.eye(3), k=0), ValueError, "k=0"),
        (lambda: m.top_k_accuracy_score([0, 1], np.eye(3)[:2]), ShapeError, "3 column"),
        (
            lambda: m.top_k_accuracy_score([0, 1], np.eye(3)[:2], labels=[2, 1, 0]),
            ValueError,
            "sorted",
        ),
        (
            lambda: m.top_k_accuracy_score([0, 7], np.eye(3)[:2], labels=[0, 1, 2]),
            ValueError,
            r"\[7\], not in",
        ),
        (lambda: m.dcg_score([[1, 2]], [[1, 2, 3]]), ShapeError, "shape of y_score"),
        (lambda: m.dcg_score([[1, 2]], [[1, 2]], k=0), ValueError, "k=0"),
        (lambda: m.dcg_score([[1, 2]], [[1, 2]], log_base=1), ValueError, "log_base=1"),
        (lambda: m.dcg_score([[1, np.nan]], [[1, 2]]), DataError, "is nan"),
        (lambda: m.ndcg_score([[1, -2]], [[1, 2]]), DataError, "negative"),
        (lambda: m.ndcg_score([[1]], [[1]]), ShapeError, "one document"),
        (lambda: m.coverage_error([[0, 2]], [[1, 2]]), DataError, "0 and 1 only"),
        (lambda: m.label_ranking_loss([0, 1], [1, 2]), ShapeError, "indicator"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
