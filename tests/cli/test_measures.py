"""The measurements against scikit-learn's definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.cli.measures import measure, report
from chainrule.cli.pipeline import Pipeline, Scaling
from chainrule.nn import Dense


def pipeline(n: int | None) -> Pipeline:
    if n is None:
        return Pipeline(Dense(1, 1), (1,), None, Scaling(np.full(1, 7.0), np.full(1, 2.0)), (), {})
    return Pipeline(Dense(1, n), (1,), np.arange(n), None, (), {})


def test_classification() -> None:
    targets = np.array([0, 0, 1, 1, 1])
    found = np.array([0, 1, 1, 1, 0])
    scores = np.eye(2, dtype=np.float32)[found]
    values = measure(pipeline(2), scores, targets)
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["macro_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert values["macro_recall"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert values["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    hit, miss = np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))
    assert values["loss"] == pytest.approx((3 * hit + 2 * miss) / 5, rel=1e-6)
    assert values["confusion_matrix"] == [[1, 1], [1, 2]]
    assert any(line.startswith("accuracy") and line.endswith("0.6000") for line in report(values))


def test_regression_is_on_the_scale_of_y() -> None:
    targets, scores = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]])
    values = measure(pipeline(None), scores, targets)
    assert values == {
        "rows": 3,
        "rmse": pytest.approx(2 * (1 / 3) ** 0.5),
        "mae": pytest.approx(2 / 3),
        "r2": pytest.approx(1 - 1 / 2),
    }


def test_what_is_undefined_is_none() -> None:
    values = measure(pipeline(None), np.array([[1.0]]), np.array([[1.0]]))
    assert values["r2"] is None
    assert report(values)[-1].split() == ["R²", "–"]
    assert measure(pipeline(3), np.eye(3)[[0, 0]], np.array([0, 0]))["macro_f1"] == 1


def test_many_classes_fit_the_screen() -> None:
    n = 50
    targets = np.arange(n).repeat(2)
    found = targets.copy()
    found[:2] = 7
    lines = report(measure(pipeline(n), np.eye(n)[found], targets))
    assert "The 10 hardest of 50 classes" in lines
    assert "Most frequent confusions (50 classes)" in lines
    assert lines[-1].split() == ["0", "7", "2"]
    assert max(map(len, lines)) <= 80
