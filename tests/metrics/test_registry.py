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
