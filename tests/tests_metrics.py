"""Small random inputs with ties, missing classes and weights, compared with the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

FAST = settings(max_examples=40, deadline=None)
NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog"}
ZERO = st.sampled_from(["warn", 0, 1, 0.0, 1.0, np.nan])


@st.composite
def weights(draw: st.DrawFn, n: int) -> Any:
    form = draw(st.sampled_from(["none", "int", "float"]))
    if form == "none":
        return None
    if form == "int":
        w = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    else:
        w = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.7, 3.0]), min_size=n, max_size=n))
    return w if any(w) else None


@st.composite
def classes(draw: st.DrawFn, most: int = 4) -> tuple[Any, Any, Any, list[Any]]:
    """Targets, predictions, weights, and all labels there could be."""
    n, k = draw(st.integers(1, 9)), draw(st.integers(1, most))
    true, pred = (draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)) for _ in range(2))
    all_labels: list[Any] = list(range(most))
    form = draw(st.sampled_from(["list", "array", "float", "column", "str", "object", "apart"]))
    if form in ("str", "object"):
        true, pred = ([NAMES[i] for i in y] for y in (true, pred))
        all_labels = [NAMES[i] for i in all_labels]
        if form == "object":
            true, pred = (np.array(y, dtype=object) for y in (true, pred))
    elif form == "apart":  # far apart, so that no table of labels is possible
        true, pred, all_labels = ([1000 * i - 7 for i in y] for y in (true, pred, all_labels))
    elif form == "array":
        true, pred = np.array(true, np.uint8), np.array(pred)
    elif form == "float":
        true, pred = np.array(true, np.float32), np.array(pred, np.float64)
    elif form == "column":
        true = np.array(true)[:, None]
    return true, pred, draw(weights(n)), all_labels


@st.composite
def indicators(draw: st.DrawFn) -> tuple[Any, Any, Any, int]:
    n, k = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    row = st.lists(st.integers(0, 1), min_size=k, max_size=k)
    true, pred = (np.array(draw(st.lists(row, min_size=n, max_size=n))) for _ in range(2))
    return true, pred, draw(weights(n)), k


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


def both(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *args: Any,
    same_warnings: bool = True,
    rtol: float = 1e-12,
    **kwargs: Any,
) -> None:
    """The same value, dtype kind and shape, and a warning of 0/0 in the same cases."""
    results, undefined = [], []
    for f in (ours, theirs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(f(*args, **kwargs))
        undefined.append(any(w.category.__name__ == "UndefinedMetricWarning" for w in caught))
    ours_all, theirs_all = (r if isinstance(r, tuple) else (r,) for r in results)
    assert len(ours_all) == len(theirs_all)
    for a, b in zip(ours_all, theirs_all, strict=True):
        if b is None:
            assert a is None
            continue
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)
    if same_warnings:
        assert undefined[0] == undefined[1]


def shuffled(
    rng: np.random.Generator, make: Callable[[], Any], true: Any, pred: Any, w: Any
) -> Any:
    """A metric fed the samples in a random order and random batches, over three that then merge."""
    streams = [make() for _ in range(3)]
    order = rng.permutation(len(true))
    for rows in np.array_split(order, int(rng.integers(1, 6))):
        if len(rows):
            weight = None if w is None else w[rows]
            streams[int(rng.integers(3))].update(true[rows], pred[rows], weight)
    first, second, third = (streams[i] for i in rng.permutation(3))
    return first.merge(second.merge(third))
