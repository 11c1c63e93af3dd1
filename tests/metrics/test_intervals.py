"""Intervals: their coverage, that shortcuts equal the plain bootstrap, and what is undefined."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics import intervals

RNG = np.random.default_rng(3)
Y = RNG.integers(0, 2, 80)
S = Y + RNG.normal(size=80)
P = 1 / (1 + np.exp(-S))
T = RNG.normal(size=(60, 2))
METRICS: dict[str, Any] = {
    "accuracy": (m.accuracy_score, Y, (S > 0.5).astype(int)),
    "f1 of strings": (
        functools.partial(m.f1_score, average="macro"),
        np.array(["no", "yes"])[Y],
        np.array(["no", "yes"])[(S > 0.5).astype(int)],
    ),
    "auc": (m.roc_auc_score, Y, S),
    "auc with ties": (m.roc_auc_score, Y, S.round()),
    "average precision": (m.average_precision_score, Y, S),
    "log loss": (functools.partial(m.log_loss, labels=[0, 1]), Y, P),
    "brier": (m.brier_score_loss, Y, P),
    "mse of two": (m.mean_squared_error, T, T + RNG.normal(size=T.shape)),
    "mae": (m.mean_absolute_error, T[:, 0], T[:, 1]),
    "r2": (m.r2_score, T[:, 0], T[:, 0] + 0.3 * T[:, 1]),
    "multilabel": (
        functools.partial(m.f1_score, average="micro"),
        (T > 0).astype(int),
        (T + RNG.normal(size=T.shape) > 0).astype(int),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_every_way_is_the_plain_bootstrap(name: str, weighted: bool):
    metric, y, p = METRICS[name]
    w = RNG.integers(1, 4, len(y)) / 2 if weighted else None
    found = m.bootstrap_interval(metric, y, p, resamples=60, seed=5, sample_weight=w)
    # the same rows, listed one by one and given to the metric as they are
    drawings = []
    for counts in intervals._drawings(np.arange(len(y)), 60, 5):
        for drawn in counts:
            rows = np.repeat(np.arange(len(y)), drawn.astype(int))
            options = {} if w is None else {"sample_weight": w[rows]}
            drawings.append(metric(y[rows], p[rows], **options))
    options = {} if w is None else {"sample_weight": w}
    expected = [metric(y, p, **options), *np.quantile(drawings, [0.025, 0.975])]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert found[1] < found[0] < found[2]
    # in any pieces, the same bits
    assert found == m.bootstrap_interval(metric, y, p, resamples=60, seed=5, sample_weight=w)


def test_pieces_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch):
    whole = m.bootstrap_interval(m.mean_squared_error, T, -T)
    monkeypatch.setattr(intervals, "_CHUNK", 130)
    assert m.bootstrap_interval(m.mean_squared_error, T, -T) == whole
    assert m.bootstrap_interval(m.mean_squared_error, T, -T, seed=1) != whole


@pytest.mark.parametrize("way", ["bootstrap", "wilson"])
def test_the_truth_is_inside_as_often_as_it_should_be(way: str):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(150):
        right = rng.random(60) < 0.8
        if way == "wilson":
            _, low, high = m.proportion_interval(int(right.sum()), 60)
        else:
            y = np.ones(60, int)
            _, low, high = m.bootstrap_interval(m.accuracy_score, y, right + 0, resamples=100)
        inside += low <= 0.8 <= high
    assert 0.90 < inside / 150 < 0.99


@pytest.mark.parametrize("metric", [m.mean_absolute_error, m.r2_score, m.roc_auc_score])
def test_many_rows_are_scaled(monkeypatch: pytest.MonkeyPatch, metric: Any):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 4000)
    s = y + rng.normal(size=4000)
    whole = m.bootstrap_interval(metric, y, s)
    for name in ("_ROWS", "_ROWS_CALLED"):
        monkeypatch.setattr(intervals, name, 1000)
    part = m.bootstrap_interval(metric, y, s)
    assert part[0] == whole[0]
    assert part[2] - part[1] == pytest.approx(whole[2] - whole[1], rel=0.25)
    assert part[1] < part[0] < part[2]


def test_a_function_of_ones_own():
    def median_error(y: Any, p: Any) -> float:
        return float(np.median(np.abs(y - p)))

    value, low, high = m.bootstrap_interval(median_error, T[:, 0], T[:, 1], resamples=100)
    assert low <= value <= high


def test_undefined_drawings_are_left_out():
    y = np.array([0] * 9 + [1])  # a third of the drawings have no positive row
    s = np.arange(10.0)
    value, low, high = m.bootstrap_interval(m.roc_auc_score, y, s)
    assert (value, high) == (1.0, 1.0)
    assert math.isfinite(low)
    nearly_all = np.array([0] * 9 + [1]), np.arange(10.0)

    def picky(y: Any, p: Any) -> float:
        if len(set(p)) < len(p):
            raise ValueError("rows that repeat")
        return 0.5

    value, low, high = m.bootstrap_interval(picky, *nearly_all)
    assert value == 0.5
    assert math.isnan(low)
    assert math.isnan(high)


def test_wilson():
    # Newcombe 1998, table I: 81 of 263, and 0 of 20
    assert m.proportion_interval(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert m.proportion_interval(0, 20)[1:] == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert m.proportion_interval(5, 5)[2] == 1.0
    assert m.proportion_interval(9, 10, 0.5)[1] > m.proportion_interval(9, 10, 0.99)[1]


def test_errors():
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match="level"):
            m.bootstrap_interval(m.accuracy_score, Y, Y, level=level)
    with pytest.raises(ValueError, match="resamples"):
        m.bootstrap_interval(m.accuracy_score, Y, Y, resamples=0)
    with pytest.raises(ShapeError, match="differ in rows"):
        m.bootstrap_interval(m.accuracy_score, Y, Y[1:])
    with pytest.raises(DataError, match="empty"):
        m.bootstrap_interval(m.accuracy_score, [], [])
    with pytest.raises(DataError, match="6 of 5"):
        m.proportion_interval(6, 5)
    with pytest.raises(DataError, match="weights"):
        m.bootstrap_interval(m.accuracy_score, Y, Y, sample_weight=-np.ones(80))
