"""Streams of numbers: equal to the functions, and the same bits for any split, order and merge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from tests_metrics import numbers

STREAMS = {
    "mean_squared_error": m.MeanSquaredError,
    "root_mean_squared_error": m.RootMeanSquaredError,
    "mean_absolute_error": m.MeanAbsoluteError,
    "mean_absolute_percentage_error": m.MeanAbsolutePercentageError,
    "mean_pinball_loss": m.MeanPinballLoss,
    "r2_score": m.R2,
}


@pytest.mark.parametrize("name", list(STREAMS))
@settings(max_examples=40, deadline=None)
@given(data=st.data(), case=numbers())
def test_streams_equal_the_whole(name: str, data: Any, case: Any):
    true, pred, w = case
    options: dict[str, Any] = {"multioutput": data.draw(st.sampled_from(["raw_values", [1, 2, 3]]))}
    if options["multioutput"] == [1, 2, 3]:
        options["multioutput"] = [1, 2, 3][: true.shape[1]] if true.shape[1] > 1 else "raw_values"
    whole = getattr(m, name)(true.astype(float), pred, sample_weight=w, **options)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(true) - 1), max_size=3)))
    streams = [STREAMS[name](**options) for _ in range(2)]
    for i, rows in enumerate(np.split(np.arange(len(true)), cuts)):
        streams[i % 2].update(true[rows], pred[rows], None if w is None else w[rows])
    merged = streams[0].merge(streams[1])
    value = merged.compute()
    merged.reset()
    merged.update(true, pred, w)
    np.testing.assert_array_equal(merged.compute(), value)
    # R² near 0 is 1 minus almost 1, so that the last bit of 1 is the bound there.
    np.testing.assert_allclose(merged.compute(), whole, rtol=1e-14, atol=4e-16)


def test_a_masked_batch_changes_nothing():
    for make in STREAMS.values():
        stream = make()
        stream.update([5.0, 6.0], [1.0, 1.0], [0, 0])
        with pytest.raises(DataError, match="weights are zero"):
            stream.compute()
        stream.update([1.0, 3.0], [1.0, 2.0])
        stream.update([9.0], [0.0], [0.0])
        alone = make()
        alone.update([1.0, 3.0], [1.0, 2.0])
        assert stream.compute() == alone.compute()


@pytest.mark.parametrize("name", list(STREAMS))
@settings(max_examples=30, deadline=None)
@given(data=st.data(), scale=st.sampled_from([1e-150, 1.0, 1e100]))
def test_any_split_order_and_merge_gives_the_same_bits(name: str, data: Any, scale: float):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = data.draw(st.integers(2, 40))
    true, pred = rng.normal(size=(2, n)) * scale * 10.0 ** rng.integers(-8, 8, (2, n))
    w = rng.random(n)
    values = []
    for _ in range(2):
        order = rng.permutation(n)
        streams = [STREAMS[name]() for _ in range(3)]
        for rows in np.array_split(order, int(rng.integers(1, 6))):
            if len(rows):
                streams[int(rng.integers(3))].update(true[rows], pred[rows], w[rows])
        first, second, third = (streams[i] for i in rng.permutation(3))
        values.append(first.merge(second.merge(third)).compute())
    assert values[0] == values[1]


def test_r2_far_from_zero_does_not_cancel():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 64, 400) / 64
    pred = true + rng.integers(-8, 8, 400) / 64
    near, far = m.R2(), m.R2()
    for i in range(0, 400, 16):
        near.update(true[i : i + 16], pred[i : i + 16])
        far.update(true[i : i + 16] + 2.0**40, pred[i : i + 16] + 2.0**40)
    assert near.compute() == pytest.approx(m.r2_score(true, pred), rel=1e-13)
    assert far.compute() == near.compute()


def test_r2_of_a_constant_stream_is_exact():
    true = np.full(10, 0.1) + 1e6
    stream = m.R2()
    for part in np.split(true, 5):
        stream.update(part, part + 1)
    assert stream.compute() == 0.0
    stream = m.R2(force_finite=False)
    stream.update(true, true + 1)
    assert stream.compute() == -math.inf


def test_errors():
    with pytest.raises(DataError, match="update first"):
        m.R2().compute()
    with pytest.raises(ValueError, match="options differ"):
        m.R2().merge(m.R2(force_finite=False))
    with pytest.raises(ValueError, match="options differ"):
        m.MeanPinballLoss(0.1).merge(m.MeanPinballLoss(0.2))
    with pytest.raises(ValueError, match="alpha=7"):
        m.MeanPinballLoss(7)
    stream = m.R2()
    stream.update([1.0, 2.0], [1.0, 3.0])
    value = stream.compute()
    with pytest.raises(DataError, match="too large"):
        stream.update([1e200], [0.0])
    other = m.R2()
    other.update([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(ShapeError, match="2 outputs into one of 1"):
        stream.merge(other)
    assert stream.compute() == value
    one = m.R2()
    one.update([1.0], [1.0])
    with pytest.warns(m.UndefinedMetricWarning, match="two samples"):
        assert math.isnan(one.compute())


def test_a_stream_keeps_its_number_of_outputs():
    for make in STREAMS.values():
        stream = make()
        stream.update([[1.0, 2.0]], [[1.0, 2.0]])
        with pytest.raises(ShapeError):
            stream.update([1.0], [1.0])
