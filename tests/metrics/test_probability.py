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


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 8),
    k=st.integers(2, 4),
    form=st.sampled_from(["int", "str", "one-hot"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    weighted=st.booleans(),
    normalize=st.booleans(),
)
def test_equals_the_oracle(
    sk: Any, seed: int, n: int, k: int, form: str, dtype: Any, weighted: bool, normalize: bool
):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.3), n).astype(dtype)
    p[0] = np.eye(k)[rng.integers(k)]  # certain: right or wrong
    codes = rng.integers(0, k, n)
    names = np.array(["a", "b", "c", "d"][:k])
    w = rng.integers(1, 5, n) / 2 if weighted else None
    kwargs: dict[str, Any] = {"sample_weight": w, "normalize": normalize}
    if form == "one-hot":
        y: Any = np.eye(k, dtype=int)[codes]
    else:
        y = names[codes] if form == "str" else codes
        kwargs["labels"] = names if form == "str" else np.arange(k)
    rtol = 1e-5 if dtype is np.float32 else 1e-12  # the oracle sums float32 in float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = m.log_loss(y, p, **kwargs)
    np.testing.assert_allclose(ours, sk.log_loss(y, p, **kwargs), rtol=rtol)
    if k == 2 and form != "one-hot":
        for column in (p[:, 1], p[:, 1:]):
            ours, theirs = (f(y, column, **kwargs) for f in (m.log_loss, sk.log_loss))
            np.testing.assert_allclose(ours, theirs, rtol=rtol)


def test_golden():
    assert m.log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]) == pytest.approx(1.5 * math.log(2))
    assert m.log_loss([0, 1], [0.5, 0.25], sample_weight=[3, 1]) == pytest.approx(
        1.25 * math.log(2)
    )
    assert m.log_loss([[1, 0], [0, 1]], [[1.0, 0.0], [1.0, 0.0]]) == pytest.approx(26 * math.log(2))
    single = m.log_loss([0, 1], np.array([[1, 0], [1, 0]], np.float32))
    assert single == pytest.approx(11.5 * math.log(2), rel=1e-6)


def test_warnings():
    with pytest.warns(UserWarning, match="row 1 sums to 1.5"):
        m.log_loss([0, 1], [[0.5, 0.5], [0.75, 0.75]])
    with pytest.warns(UserWarning, match="not sorted"):
        loss = m.log_loss(["a", "b"], [0.25, 0.75], labels=["b", "a"])
    assert loss == m.log_loss(["a", "b"], [0.25, 0.75])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.log_loss([0, 1], [0.5]), ShapeError, "2 samples, y_proba has 1"),
        (lambda: m.log_loss([], []), DataError, "empty"),
        (lambda: m.log_loss([0, 1], [0.5, 1.5]), DataError, "row 1, column 0 is 1.5"),
        (lambda: m.log_loss([0, 1], [0.5, math.nan]), DataError, "nan"),
        (lambda: m.log_loss([0, 1], ["a", "b"]), DataError, "expected numbers"),
        (lambda: m.log_loss([0, 1], [[[0.5]]]), ShapeError, "y_proba: expected"),
        (lambda: m.log_loss([0, 0], [0.5, 0.5]), ValueError, "only the label"),
        (lambda: m.log_loss([0, 0], [0.5, 0.5], labels=[0]), ValueError, "at least two"),
        (lambda: m.log_loss([0, 5], [0.5, 0.5], labels=[0, 1]), ValueError, r"\[5\], not in"),
        (lambda: m.log_loss([0, 1, 2], [0.5, 0.5, 0.5]), ShapeError, "2 columns for 3 labels"),
        (lambda: m.log_loss([[1, 0, 0]], [[0.5, 0.5]]), ShapeError, "different columns"),
        (lambda: m.log_loss([0, 1], [0.5, 0.5], labels=["a", "b"]), DataError, "strings"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), strings=st.booleans())
def test_hinge_equals_the_oracle(sk: Any, data: Any, strings: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, k = data.draw(st.integers(1, 9)), data.draw(st.integers(2, 4))
    names = np.array(list("abcd"[:k])) if strings else np.arange(k) * 3 - 1
    true = names[rng.integers(0, k, n)]
    s = rng.normal(size=n if k == 2 else (n, k)) * 2
    w = data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2]))
    options = {"labels": names, "sample_weight": w}
    if k == 2:  # scikit-learn takes the sign from y_true, and not from the labels
        true[0] = names[-1]
        if len(np.unique(true)) == 1:
            return
    ours, theirs = (f.hinge_loss(true, s, **options) for f in (m, sk))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_explained_shares_equal_the_oracle(sk: Any, data: Any):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    k = data.draw(st.integers(2, 4))
    true = np.concatenate([np.arange(k), rng.integers(0, k, 8)])
    p = rng.random(len(true)) if k == 2 else rng.dirichlet(np.ones(k), len(true))
    w = data.draw(st.sampled_from([None, rng.integers(1, 4, len(true)) / 2]))
    for name in ("d2_log_loss_score", "d2_brier_score"):
        ours, theirs = (getattr(f, name)(true, p, sample_weight=w) for f in (m, sk))
        # D² near 0 is 1 minus almost 1, so that the last bits of 1 are the bound there.
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-15)
        assert ours <= 1
    shares = np.bincount(true, minlength=k) / len(true)
    null = np.full(len(true), shares[1]) if k == 2 else np.tile(shares, (len(true), 1))
    assert m.d2_log_loss_score(true, null) == pytest.approx(0, abs=1e-14)
    assert m.d2_brier_score(true, null) == pytest.approx(0, abs=1e-14)


def test_explained_shares_need_two_samples():
    for function in (m.d2_log_loss_score, m.d2_brier_score):
        with pytest.warns(m.UndefinedMetricWarning, match="fewer than two"):
            assert math.isnan(function([1], [0.5]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.hinge_loss([0, 1, 2], [1.0, 2.0, 3.0]), ShapeError, r"\(3, 3\)"),
        (lambda: m.hinge_loss([0, 1], [[1.0, 2.0], [1.0, 2.0]]), ShapeError, r"\(2, 2\)"),
        (lambda: m.hinge_loss([0, 1], ["a", "b"]), TypeError, "numbers"),
        (lambda: m.hinge_loss([0, 1], [1.0, math.nan]), DataError, "row 1 is not finite"),
        (lambda: m.hinge_loss([0, 7], [1.0, 2.0], labels=[0, 1]), ValueError, r"\[7\], not in"),
    ],
)
def test_hinge_errors(call: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
