from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import metrics as m
from chainrule.array.errors import DataError, NonFiniteError, ShapeError

RNG = np.random.default_rng(3)
LOGITS = RNG.standard_normal((50, 4)).astype(np.float32)
CLASSES = RNG.integers(0, 4, 50)
WEIGHT = RNG.random(50)


def run(metric: Any, true: Any, output: Any, weight: Any = None, **options: Any) -> Any:
    """In batches of 16."""
    metric = m.get(metric, **options)
    for i in range(0, len(true), 16):
        rows = slice(i, i + 16)
        metric.update(true[rows], output[rows], None if weight is None else weight[rows])
    return metric.compute()


FUNCTIONS = {
    "accuracy": m.accuracy_score,
    "precision": m.precision_score,
    "recall": m.recall_score,
    "f1": m.f1_score,
    "mse": m.mean_squared_error,
    "mae": m.mean_absolute_error,
    "r2": m.r2_score,
}


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_classes_from_logits(name: str, weight: Any):
    function = FUNCTIONS[name]
    macro = {} if name == "accuracy" else {"average": "macro"}
    many = function(CLASSES, LOGITS.argmax(1), sample_weight=weight, **macro)
    for metric in (name, function.__name__, function):
        assert run(metric, CLASSES, LOGITS, weight) == pytest.approx(many, rel=1e-13)
    assert run(name, np.eye(4)[CLASSES], LOGITS, weight) == pytest.approx(many, rel=1e-13)
    assert run(name, CLASSES[:, None], LOGITS, weight) == pytest.approx(many, rel=1e-13)

    two, one = CLASSES % 2, LOGITS[:, 0]
    binary = function(two, one > 0, sample_weight=weight)
    p = 1 / (1 + np.exp(-one))
    pair = np.stack([-one, one], axis=1)
    for output in (one, one[:, None], pair):
        assert run(name, two, output, weight) == pytest.approx(binary, rel=1e-13)
    assert run(name, two[:, None].astype(np.float32), p, weight, from_probabilities=True) == (
        pytest.approx(binary, rel=1e-13)
    )


RATIOS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "balanced_accuracy": (m.balanced_accuracy_score, {}),
    "f2": (m.fbeta_score, {"beta": 2, "average": "macro"}),
    "jaccard": (m.jaccard_score, {"average": "macro"}),
    "specificity": (m.specificity_score, {"average": "macro"}),
    "npv": (m.negative_predictive_value, {"average": "macro"}),
    "fpr": (m.false_positive_rate, {"average": "macro"}),
    "fnr": (m.false_negative_rate, {"average": "macro"}),
    "mcc": (m.matthews_corrcoef, {}),
    "kappa": (m.cohen_kappa_score, {}),
}


@pytest.mark.parametrize("name", list(RATIOS))
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_more_of_classes(name: str, weight: Any):
    function, options = RATIOS[name]
    many = function(CLASSES, LOGITS.argmax(1), sample_weight=weight, **options)
    assert run(name, CLASSES, LOGITS, weight) == pytest.approx(many, rel=1e-13)
    options = {key: value for key, value in options.items() if key != "average"}
    two, one = CLASSES % 2, LOGITS[:, 0]
    binary = function(two, one > 0, sample_weight=weight, **options)
    assert run(name, two, one, weight) == pytest.approx(binary, rel=1e-13)
    if name != "f2":
        assert run(function, CLASSES, LOGITS, weight) == pytest.approx(many, rel=1e-13)


PROBABILITIES = np.exp(LOGITS.astype(float)) / np.exp(LOGITS.astype(float)).sum(1, keepdims=True)
SCORED: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "log_loss": (m.log_loss, {}),
    "brier": (m.brier_score_loss, {}),
    "ece": (m.expected_calibration_error, {}),
    "roc_auc": (m.roc_auc_score, {"multi_class": "ovr"}),
    "average_precision": (m.average_precision_score, {}),
}


@pytest.mark.parametrize("name", list(SCORED))
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_probabilities_from_logits(name: str, weight: Any):
    function, options = SCORED[name]
    close: Any = {"rel": 1e-12}
    many = function(CLASSES, PROBABILITIES, sample_weight=weight, **options)
    for metric in (name, function):
        assert run(metric, CLASSES, LOGITS, weight) == pytest.approx(many, **close)
    assert run(name, CLASSES, PROBABILITIES, weight, from_probabilities=True) == (
        pytest.approx(many, **close)
    )
    two, one = CLASSES % 2, LOGITS[:, 0].astype(float)
    p = 1 / (1 + np.exp(-one))
    options = {key: value for key, value in options.items() if key != "multi_class"}
    binary = function(two, p, sample_weight=weight, **options)
    pair = np.stack([-one / 2, one / 2], axis=1)
    for output in (one, one[:, None], pair):
        assert run(name, two, output, weight) == pytest.approx(binary, **close)
    for output in (p, np.stack([1 - p, p], axis=1)):
        found = run(name, two, output, weight, from_probabilities=True)
        assert found == pytest.approx(binary, **close)


def test_areas_of_saturated_logits_keep_their_order():
    logits = np.array([800.0, 900.0, -900.0])  # sigmoid gives 1, 1, 0
    assert run("auc", np.array([0, 1, 0]), logits) == 1.0


@pytest.mark.parametrize("k", [1, 3])
def test_top_k(k: int):
    whole = m.top_k_accuracy_score(CLASSES, LOGITS, k=k)
    assert run(f"top_{k}_accuracy", CLASSES, LOGITS) == pytest.approx(whole, rel=1e-15)
    assert run(m.TopKAccuracy(k), CLASSES, LOGITS) == pytest.approx(whole, rel=1e-15)
    assert m.get("top_5_accuracy").name == "top_5_accuracy"


@pytest.mark.parametrize("name", ["rmse", "mape"])
def test_more_of_numbers(name: str):
    function = {"rmse": m.root_mean_squared_error, "mape": m.mean_absolute_percentage_error}[name]
    whole = function(LOGITS[:, 0].astype(float), LOGITS[:, 1])
    for metric in (name, function):
        assert run(metric, LOGITS[:, 0], LOGITS[:, 1:2]) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    "name", ["roc_auc", "average_precision", "kappa", "mcc", "balanced_accuracy", "fnr"]
)
def test_one_class_so_far_does_not_warn(name: str):
    value = run(name, np.array([0, 0]), np.array([0.5, -0.5]))
    assert math.isnan(value) or 0 <= value <= 1


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_regression_as_it_is(name: str, weight: Any):
    function = FUNCTIONS[name]
    whole = function(LOGITS[:, 0].astype(float), LOGITS[:, 1], sample_weight=weight)
    for metric in (name, function.__name__, function):
        assert run(metric, LOGITS[:, 0], LOGITS[:, 1:2], weight) == pytest.approx(whole, rel=1e-12)


def test_names_are_what_was_asked_for():
    assert m.get("f1").name == "f1"
    assert m.get("f1_score").name == "f1_score"
    assert m.get(m.f1_score).name == "f1_score"
    assert m.get(m.F1(average="micro")).name == "f1"
    assert m.get(m.R2).name == "r2"


def test_threshold_is_exclusive():
    """Errata E004-56: a logit at 0 and a probability at 0.5 are not class 1."""
    assert run("accuracy", np.array([0, 1]), np.array([0.0, 1e-30])) == 1.0
    probabilities = np.array([0.5, 0.51])
    assert run("accuracy", np.array([0, 1]), probabilities, from_probabilities=True) == 1.0


def test_streaming_objects_keep_their_options():
    micro = run(m.F1(average="micro"), CLASSES, LOGITS)
    assert micro == m.f1_score(CLASSES, LOGITS.argmax(1), average="micro")
    np.testing.assert_array_equal(
        run(m.ConfusionMatrix(), CLASSES, LOGITS), m.confusion_matrix(CLASSES, LOGITS.argmax(1))
    )
    assert run(m.MeanSquaredError(), LOGITS, LOGITS + 1) == pytest.approx(1.0, rel=1e-6)


def test_early_epochs_do_not_warn():
    assert run("f1", np.array([0, 1, 2]), np.eye(3)[[0, 0, 0]]) == pytest.approx(0.5 / 3)


def test_a_callable_sees_everything_at_once():
    calls = []

    def spread(y_true: Any, output: Any) -> float:
        calls.append((y_true.shape, output.shape, output.dtype))
        return float(np.ptp(output))

    assert run(spread, CLASSES, LOGITS) == float(np.ptp(LOGITS))
    assert calls == [((50,), (50, 4), np.float32)]
    with pytest.raises(ValueError, match="sample_weight"):
        run(spread, CLASSES, LOGITS, WEIGHT)

    def weighted(y_true: Any, output: Any, sample_weight: Any = None) -> Any:
        return sample_weight

    metric = m.get(weighted)
    metric.update([0], [[1.0]], [0.5])
    metric.update([0], [[1.0]])
    np.testing.assert_array_equal(metric.compute(), [0.5, 1.0])
    metric.reset()
    metric.update([0], [[1.0]])
    assert metric.compute() is None


def test_a_callable_keeps_copies():
    metric = m.get(lambda y, output: float(output.sum()))
    buffer = np.ones(2)
    metric.update([0, 0], buffer)
    buffer[:] = 9
    metric.update([0, 0], buffer)
    assert metric.compute() == 20.0


def test_an_own_object_comes_back_as_it_is():
    own = m.get("accuracy")
    assert m.get(own) is own


def test_reset_starts_over():
    metric = m.get("accuracy")
    metric.update([0], [[1.0, 0.0, 0.0]])
    metric.reset()
    with pytest.raises(DataError, match="update first"):
        metric.compute()
    metric.update([0], [-1.0])
    assert metric.compute() == 1.0
    stream = m.get(m.Accuracy())
    stream.update([1], [[1.0, 0.0]])
    stream.reset()
    stream.update([0], [[1.0, 0.0]])
    assert stream.compute() == 1.0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.get("acuracy"), ValueError, "did you mean 'accuracy'"),
        (lambda: m.get("zzz"), ValueError, "known: .*'mse'"),
        (lambda: m.get("rmsee"), ValueError, "did you mean 'rmse'"),
        (lambda: m.get("specificty"), ValueError, "did you mean 'specificity'"),
        (lambda: m.get("top_0_accuracy"), ValueError, "did you mean 'top_[35]_accuracy'"),
        (lambda: m.get("top_5_accuracy").update([0], [0.5]), ShapeError, "K classes"),
        (lambda: m.get(3), ValueError, "neither a name"),
        (lambda: m.get("f1").update([0, 4], LOGITS[:2]), DataError, r"y_true\[1\] = 4.*0…3"),
        (lambda: m.get("f1").update([-1], [0.5]), DataError, "0…1"),
        (lambda: m.get("f1").update(["a"], [0.5]), DataError, "class numbers"),
        (lambda: m.get("f1").update([[1, 1]], [[0.5, 0.1]]), DataError, "callable"),
        (lambda: m.get("f1").update([0, 1], [0, 1]), DataError, "already decided"),
        (lambda: m.get("f1").update([0], [[[1.0]]]), ShapeError, r"\(1, 1, 1\)"),
        (lambda: m.get("f1").update([0, 1], [0.5]), ShapeError, "samples"),
        (lambda: m.get("f1").update([0], ["a"]), DataError, "numbers"),
        (lambda: m.get("f1").update([0, 0], [0.1, math.nan]), NonFiniteError, "row 1"),
        (lambda: m.get("mse").update([0.0], [math.nan]), NonFiniteError, "'mse'.*row 0"),
        (
            lambda: m.get("f1", from_probabilities=True).update([0], [1.5]),
            DataError,
            "from_probabilities=False",
        ),
        (lambda: m.get("f1").compute(), DataError, "update first"),
        (lambda: m.get(lambda a, b: 0).compute(), DataError, "update first"),
        (lambda: m.get(lambda a, b: 0).update([0], [0, 1]), ShapeError, "number of samples"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()


def test_the_number_of_columns_stays():
    metric = m.get("accuracy")
    metric.update([0], [[1.0, 0.0]])
    with pytest.raises(ShapeError, match="3 columns after batches of 2"):
        metric.update([0], [[1.0, 0.0, 0.0]])
