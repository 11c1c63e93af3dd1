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

NAMES = ["mean_squared_error", "mean_absolute_error", "r2_score"]
STREAMS = {
    "mean_squared_error": m.MeanSquaredError,
    "mean_absolute_error": m.MeanAbsoluteError,
    "r2_score": m.R2,
}


@st.composite
def numbers(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    n, c = draw(st.integers(2, 8)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["f8", "f4", "int", "constant"]))
    # Whole numbers and quarters: constants and perfect predictions are exact for both sides.
    true, pred = rng.integers(-20, 20, (2, n, c)) / (1 if kind == "int" else 4)
    if kind == "constant":
        true[:, 0] = 2.0
        if draw(st.booleans()):
            pred[:, 0] = 2.0
    if kind == "f4":
        true, pred = true.astype(np.float32), pred.astype(np.float32)
    if kind == "int":
        true = true.astype(int)
    if c == 1 and draw(st.booleans()):
        pred = pred[:, 0]
    weight = draw(st.sampled_from([None, "int", "float"]))
    if weight == "int":
        weight = rng.integers(1, 4, n)
    elif weight == "float":
        weight = rng.integers(1, 9, n) / 8
    return true, pred, weight


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), case=numbers())
def test_equal_the_oracle(sk: Any, name: str, data: Any, case: Any):
    true, pred, w = case
    c = true.shape[1]
    choices: list[Any] = ["raw_values", "uniform_average"]
    if name == "r2_score":
        choices += ["variance_weighted", None]
    if c > 1:
        choices.append([0.25, 0.5, 3.0][:c])
    kwargs = {"sample_weight": w, "multioutput": data.draw(st.sampled_from(choices))}
    if name == "r2_score":
        kwargs["force_finite"] = data.draw(st.booleans())
    ours = getattr(m, name)(true, pred, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its divisions by zero
        theirs = getattr(sk, name)(true, pred, **kwargs)
    rtol = 2e-5 if pred.dtype == np.float32 else 1e-11  # the oracle sums float32 in float32
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    if kwargs["multioutput"] == "raw_values":
        assert ours.dtype == (np.float32 if true.dtype == np.float32 else np.float64)
        assert ours.shape == (c,)
    else:
        assert type(ours) is float


def test_golden():
    true, pred = [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]
    assert m.mean_squared_error(true, pred) == 0.375
    assert m.mean_absolute_error(true, pred) == 0.5
    assert m.r2_score(true, pred) == pytest.approx(1 - 1.5 / 29.1875, rel=1e-15)
    assert m.mean_squared_error(true, pred, sample_weight=[0, 0, 1, 1]) == 0.5
    two = [[0.0, 1.0], [2.0, 1.0]]
    np.testing.assert_array_equal(
        m.mean_absolute_error(two, [[1, 1], [2, 4]], multioutput="raw_values"), [0.5, 1.5]
    )
    assert m.mean_absolute_error(two, [[1, 1], [2, 4]], multioutput=[3, 1]) == 0.75


def test_r2_of_a_constant_is_exact_though_its_mean_is_not():
    true = np.full(10, 0.1) + 1e6  # the naive mean of these differs from them in the last bit
    assert m.r2_score(true, true) == 1.0
    assert m.r2_score(true, true + 1) == 0.0
    assert m.r2_score(true, true + 1, force_finite=False) == -math.inf
    assert math.isnan(m.r2_score(true, true, force_finite=False))
    stream = m.R2()
    for part in np.split(true, 5):
        stream.update(part, part + 1)
    assert stream.compute() == 0.0


def test_r2_far_from_zero_does_not_cancel():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 64, 400) / 64
    pred = true + rng.integers(-8, 8, 400) / 64
    near, far = m.R2(), m.R2()
    for i in range(0, 400, 16):
        near.update(true[i : i + 16], pred[i : i + 16])
        far.update(true[i : i + 16] + 2.0**40, pred[i : i + 16] + 2.0**40)
    assert near.compute() == pytest.approx(m.r2_score(true, pred), rel=1e-13)
    assert far.compute() == pytest.approx(near.compute(), rel=1e-6)


def test_r2_of_one_sample_is_nan_with_a_warning():
    with pytest.warns(m.UndefinedMetricWarning, match="two samples"):
        assert math.isnan(m.r2_score([1.0], [1.0]))


@pytest.mark.parametrize("name", NAMES)
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
    np.testing.assert_allclose(merged.compute(), whole, rtol=1e-12, atol=1e-13)
    merged.reset()
    merged.update(true, pred, w)
    np.testing.assert_allclose(merged.compute(), whole, rtol=1e-14)


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


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.mean_squared_error([1.0], [1.0, 2.0]), ShapeError, "samples"),
        (lambda: m.mean_squared_error([1.0], [[1.0, 2.0]]), ShapeError, "outputs"),
        (lambda: m.mean_squared_error([], []), DataError, "empty"),
        (lambda: m.mean_squared_error([[[1.0]]], [1.0]), ShapeError, r"\(1, 1, 1\)"),
        (lambda: m.mean_squared_error(["a"], [1.0]), DataError, "y_true: expected numbers"),
        (lambda: m.r2_score([1.0, 2.0], [1.0, math.inf]), DataError, "row 1, column 0 is inf"),
        (lambda: m.r2_score([1, 2], [1, 2], multioutput="raw"), ValueError, "raw_values"),
        (lambda: m.r2_score([1, 2], [1, 2], multioutput=[1.0]), ShapeError, "several outputs"),
        (
            lambda: m.mean_squared_error([1, 2], [1, 2], multioutput="variance_weighted"),
            ValueError,
            "uniform_average",
        ),
        (lambda: m.R2().compute(), DataError, "update first"),
        (lambda: m.R2().merge(m.R2(force_finite=False)), ValueError, "options differ"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()


def test_a_stream_keeps_its_number_of_outputs():
    for make in STREAMS.values():
        stream = make()
        stream.update([[1.0, 2.0]], [[1.0, 2.0]])
        with pytest.raises(ShapeError):
            stream.update([1.0], [1.0])
