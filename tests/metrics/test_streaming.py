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

FAST = settings(max_examples=40, deadline=None)
AVERAGED = {
    m.Precision: m.precision_score,
    m.Recall: m.recall_score,
    m.F1: m.f1_score,
}


def fed(make: Callable[[], Any], data: Any, true: Any, pred: Any, w: Any) -> Any:
    """A metric fed the samples in batches of any sizes, over three objects that then merge."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(true) - 1)), max_size=4)))
    streams = [make() for _ in range(3)]
    for i, rows in enumerate(np.split(np.arange(len(true)), cuts)):
        if len(rows):
            streams[i % 3].update(true[rows], pred[rows], None if w is None else w[rows])
    return streams[0].merge(streams[1]).merge(streams[2])


@st.composite
def samples(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, k = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    form = draw(st.sampled_from(["int", "str", "multilabel"]))
    if form == "multilabel":
        true, pred = rng.integers(0, 2, (2, n, k + 1))
    else:
        true, pred = rng.integers(0, k, (2, n))
    if form == "str":
        names = np.array(["ant", "bumblebee", "c", "dog", "e"])
        true, pred = names[true], names[pred]
    w = draw(st.sampled_from([None, "int", "float"]))
    if w is not None:
        w = rng.integers(0, 4, n) if w == "int" else rng.random(n)
        w[0] = 1
    return true, pred, w


def assert_same(stream: Any, whole: Any, w: Any) -> None:
    """To the last bit for integer weights, to the rounding of a sum for others."""
    if w is None or w.dtype.kind == "i":
        np.testing.assert_array_equal(stream, whole)
    else:
        np.testing.assert_allclose(stream, whole, rtol=1e-13, atol=1e-15)


@FAST
@given(data=st.data(), case=samples())
def test_accuracy_and_matrix_equal_the_whole(data: Any, case: Any):
    true, pred, w = case
    whole = m.accuracy_score(true, pred, sample_weight=w)
    assert_same(fed(m.Accuracy, data, true, pred, w).compute(), whole, w)
    if true.ndim == 1:
        present = np.unique(true).tolist()
        labels = data.draw(st.sampled_from([None, present[:2], present[::-1]]))
        normalize = data.draw(st.sampled_from([None, "true", "pred", "all"]))
        options: dict[str, Any] = {"labels": labels, "normalize": normalize}
        stream = fed(lambda: m.ConfusionMatrix(**options), data, true, pred, w)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a (1, 1) matrix
            matrix = m.confusion_matrix(true, pred, sample_weight=w, **options)
        assert stream.compute().dtype == matrix.dtype
        assert_same(stream.compute(), matrix, w)
        known = np.union1d(true, pred).tolist() if labels is None else labels
        assert stream.seen.tolist() == known


@pytest.mark.parametrize("kind", list(AVERAGED))
@FAST
@given(data=st.data(), case=samples())
def test_scores_equal_the_whole(kind: Any, data: Any, case: Any):
    true, pred, w = case
    average = data.draw(st.sampled_from([None, "micro", "macro", "weighted"]))
    options: dict[str, Any] = {
        "average": average,
        "zero_division": data.draw(st.sampled_from([0, 1, math.nan])),
    }
    if true.ndim == 1 and data.draw(st.booleans()):
        options["labels"] = np.unique(true)[:2].tolist()
    stream = fed(lambda: kind(**options), data, true, pred, w)
    assert_same(stream.compute(), AVERAGED[kind](true, pred, sample_weight=w, **options), w)


def test_binary_is_judged_by_all_batches():
    f1 = m.F1()
    f1.update([0, 0], [0, 0])
    f1.update([1, 1], [1, 0])
    assert f1.compute() == m.f1_score([0, 0, 1, 1], [0, 0, 1, 0])
    f1.update([2], [2])
    with pytest.raises(ValueError, match="multiclass"):
        f1.compute()
    f1.reset()
    f1.update([0, 1], [0, 1])
    assert f1.compute() == 1.0
    f1.reset()
    f1.update([0], [0])
    with pytest.warns(m.UndefinedMetricWarning, match="f-score"):
        assert f1.compute() == 0.0


def test_mean():
    mean = m.Mean()
    mean.update(2.0, 3)
    mean.update([4.0, math.nan], [1.0, 0.0])
    assert mean.compute() == 2.5
    other = m.Mean()
    other.update(np.array([10.0], np.float32), [4])
    assert mean.merge(other).compute() == 6.25
    assert mean.merge(m.Mean()).compute() == 6.25
    mean.update(math.nan)
    assert math.isnan(mean.compute())
    mean.reset()
    mean.update([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_array_equal(mean.compute(), [2.0, 4.0])
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        mean.update([1.0])
    with pytest.raises(ShapeError, match="cannot merge"):
        mean.merge(other)
    with pytest.raises(DataError, match="numbers"):
        mean.update(["a"])


def test_results_do_not_alias_the_state():
    matrix = m.ConfusionMatrix()
    matrix.update([0, 1], [0, 1])
    matrix.compute()[:] = 7
    np.testing.assert_array_equal(matrix.compute(), [[1, 0], [0, 1]])


def test_merge_leaves_the_other_alone():
    a, b = m.Accuracy(), m.Accuracy()
    a.update([0], [0])
    b.update([0], [1])
    assert a.merge(b).compute() == 0.5
    assert b.compute() == 0.0


@pytest.mark.parametrize("make", [m.Accuracy, m.Precision, m.Recall, m.F1, m.ConfusionMatrix])
def test_nothing_seen_and_kinds_that_differ(make: Any):
    metric = make()
    with pytest.raises(DataError):
        metric.compute()
    with pytest.raises(ValueError, match="cannot merge"):
        metric.merge(m.R2())
    if make is not m.Accuracy:
        metric.update(["a", "b"], ["a", "b"])
        with pytest.raises(DataError, match="strings"):
            metric.update([0, 1], [0, 1])


def test_masked_batches_count_nothing():
    for make in (m.Accuracy, m.F1):
        metric = make()
        metric.update([0, 1], [1, 0], [0, 0])
        with pytest.raises(DataError, match="weights are zero"):
            metric.compute()
        metric.update([0, 1], [0, 1])
        assert metric.compute() == 1.0


def test_errors_of_options_and_batches():
    with pytest.raises(ValueError, match="average='samples'"):
        m.Precision(average="samples")
    with pytest.raises(ValueError, match="did you mean 'true'"):
        m.ConfusionMatrix(normalize="tru")
    with pytest.raises(ValueError, match="options differ"):
        m.F1().merge(m.F1(average="macro"))
    f1 = m.F1(average="macro")
    f1.update([[0, 1]], [[0, 1]])
    with pytest.raises(ShapeError, match="3 label columns"):
        f1.update([[0, 1, 1]], [[0, 1, 1]])
    with pytest.raises(DataError, match="cannot join"):
        f1.update([0], [1])
