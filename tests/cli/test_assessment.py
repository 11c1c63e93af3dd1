"""What is said of predictions: every number from its definition, and JSON without a NaN."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from chainrule import metrics
from chainrule.array.errors import ShapeError
from chainrule.cli.assessment import MEASURES, assess, plain, primary, probabilities

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 60)
S = np.stack([np.zeros(60), 3 * Y - 1.5 + RNG.normal(size=60)], axis=1)


def test_two_classes() -> None:
    found = assess("binary", Y, S, classes=["no", "yes"], baseline=[0.7, 0.3], resamples=200)
    json.dumps(found, allow_nan=False)
    p = 1 / (1 + np.exp(-S[:, 1]))
    said = (p > 0.5).astype(int)
    value = {k: v["value"] for k, v in found["metrics"].items()}
    assert value == pytest.approx(
        {
            "accuracy": (said == Y).mean(),
            "balanced_accuracy": metrics.balanced_accuracy_score(Y, said),
            "f1": metrics.f1_score(Y, said),
            "roc_auc": metrics.roc_auc_score(Y, p),
            "average_precision": metrics.average_precision_score(Y, p),
            "log_loss": metrics.log_loss(Y, p),
            "brier": ((p - Y) ** 2).mean(),
        }
    )
    for m in found["metrics"].values():
        assert m["low"] < m["value"] < m["high"]
    constant = found["metrics"]
    assert constant["accuracy"]["baseline"] == pytest.approx((Y == 0).mean())
    assert constant["log_loss"]["baseline"] == pytest.approx(
        -np.where(Y == 1, math.log(0.3), math.log(0.7)).mean()
    )
    assert constant["roc_auc"]["baseline"] == 0.5
    assert found["baseline"]["text"] == "always no, 70.0% of the training rows"
    assert found["metrics"]["f1"]["text"] == "F1 of yes"
    assert np.array(found["confusion_matrix"]).sum() == 60
    assert sum(b["rows"] for b in found["calibration"]["bins"]) == 60
    first = found["worst"][0]
    k = first["row"] - 1
    assert np.where(Y == 1, p, 1 - p).argmin() == k
    assert (first["true"], first["predicted"]) == (["no", "yes"][Y[k]], ["no", "yes"][said[k]])


def test_probabilities_are_taken_as_they_are() -> None:
    p = probabilities("binary", S)
    assert p.sum(axis=1) == pytest.approx(np.ones(60))
    a, b = assess("binary", Y, S), assess("binary", Y, p, from_probabilities=True)
    assert a == b
    assert a == assess("binary", Y, S)  # the same drawings


def test_peers_names_and_rows() -> None:
    peers = {"boosting": np.eye(2)[Y]}
    ids = [f"P{k}" for k in range(60)]
    found = assess("binary", Y, S, peers=peers, rows=range(100, 160), ids=ids, examples=3)
    assert found["metrics"]["accuracy"]["peers"] == {"boosting": 1.0}
    assert len(found["worst"]) == 3
    assert all(w["id"] == f"P{w['row'] - 100}" for w in found["worst"])


def test_many_classes_some_absent() -> None:
    y = np.arange(40) % 3
    s = np.eye(5)[y] * 3 + RNG.normal(size=(40, 5))
    found = assess("multiclass", y, s, classes=list("abcde"))
    assert list(found["metrics"]) == list(MEASURES["multiclass"])
    assert found["metrics"]["roc_auc"]["value"] is None  # no row of d and e
    assert [c["rows"] for c in found["classes"]] == [14, 13, 13, 0, 0]
    assert "roc_auc" not in assess("multiclass", np.arange(60), np.eye(60) * 9)["metrics"]


def test_all_right_is_not_certain() -> None:
    y = np.arange(30) % 3
    found = assess("multiclass", y, np.eye(3)[y] * 5)["metrics"]
    assert found["accuracy"]["low"] == pytest.approx(0.886, abs=1e-3)
    assert found["macro_f1"]["low"] is None
    assert found["macro_f1"]["high"] is None


def test_several_labels() -> None:
    y = RNG.integers(0, 2, (50, 3))
    s = 2 * y - 1 + RNG.normal(size=y.shape)
    found = assess("multilabel", y, s, classes=["a", "b", "c"])
    said = s > 0
    assert found["metrics"]["accuracy"]["value"] == (said == y).all(axis=1).mean()
    assert found["metrics"]["label_accuracy"]["value"] == pytest.approx((said == y).mean())
    p = 1 / (1 + np.exp(-s))
    cross = -np.log(np.where(y == 1, p, 1 - p)).mean()
    assert found["metrics"]["log_loss"]["value"] == pytest.approx(cross)
    assert [o["output"] for o in found["outputs"]] == ["a", "b", "c"]
    k = found["worst"][0]["row"] - 1
    assert found["worst"][0]["true"] == [n for n, v in zip("abc", y[k], strict=True) if v]


def test_numbers() -> None:
    y = RNG.normal(size=40) * 10
    p = y + RNG.normal(size=40)
    found = assess("regression", y, p, baseline=[2.0])
    m = found["metrics"]
    assert m["rmse"]["value"] == pytest.approx(math.sqrt(((y - p) ** 2).mean()))
    assert m["rmse"]["baseline"] == pytest.approx(math.sqrt(((y - 2) ** 2).mean()))
    assert m["rmse"]["low"] < m["rmse"]["value"] < m["rmse"]["high"]
    assert m["mae"]["value"] == pytest.approx(np.abs(y - p).mean())
    worst = found["worst"][0]
    assert abs(worst["error"]) == pytest.approx(np.abs(y - p).max())
    assert worst["error"] == pytest.approx(worst["predicted"] - worst["true"])
    two = assess("regression", np.stack([y, 9 * y], 1), np.stack([p, 9 * p], 1), outputs=["u", "v"])
    assert two["outputs"][1]["rmse"] == pytest.approx(9 * two["outputs"][0]["rmse"])
    assert len(two["worst"][0]["error"]) == 2


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_one_row(task: str) -> None:
    y: Any = [0] if task == "binary" else [1.0]
    found = assess(task, y, S[:1] if task == "binary" else np.array([[1.5]]))
    json.dumps(found, allow_nan=False)
    assert found["rows"] == 1
    assert found["metrics"][primary(task)]["value"] is not None
    assert found["metrics"]["r2" if task == "regression" else "roc_auc"]["value"] is None


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        assess("binary", Y, S[1:])
    with pytest.raises(ShapeError, match="do not fit"):
        assess("regression", np.ones((4, 2)), np.ones((4, 1)))


def test_plain() -> None:
    value = plain({1: (np.bool_(True), -math.inf, None), "a": np.str_("x")})
    assert value == {"1": [True, None, None], "a": "x"}
    assert type(value["a"]) is str
