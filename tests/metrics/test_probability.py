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
