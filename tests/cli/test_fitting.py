"""One training: which weights are left, what ends it, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule.array import random
from chainrule.cli.arguments import UsageError
from chainrule.cli.fitting import check_names, fit, measured, optimizer, validation_results
from chainrule.nn import Dense, Sequential

from .conftest import blobs

OPTIONS: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 0.02, "weight_decay": None, "schedule": "none",
    "batch_size": 10, "epochs": 4, "patience": 0, "seed": 0,
}  # fmt: skip


def network() -> Sequential:
    random.seed(0)
    return Sequential(Dense(2, 8, activation="relu"), Dense(8, 3))


def data() -> tuple[Any, Any]:
    x, y = blobs()
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y


def test_an_optimizer_has_its_own_defaults_for_what_is_open() -> None:
    assert optimizer({"optimizer": "sgd", "learning_rate": 0.5}).defaults["lr"] == 0.5
    assert optimizer({"optimizer": "adamw"}).defaults["weight_decay"] == 0.01
    for words in (("adamx", None, None), (None, "cosin", None), (None, None, "rellu")):
        with pytest.raises(UsageError, match="did you mean"):
            check_names(*words)
    check_names("sgd", "none", "tanh")


def test_the_best_weights_are_left() -> None:
    x, y = data()
    valid = (x[:30], (y[:30] + 1) % 3)  # learning makes it worse on these rows
    model = network()
    history = fit(
        model, (x, y), valid, {**OPTIONS, "epochs": 9, "patience": 2}, loss="cross_entropy"
    )
    assert (history.stopped, history.best_epoch) == ("early stopping", 0)
    assert validation_results(history)["loss"] == min(history["val_loss"])


def test_labels_can_be_smoothed_with_weights() -> None:
    x, y = data()
    weights = np.ones(len(y))
    train = (x, y, weights)
    plain, soft = network(), network()
    losses = [
        fit(
            m, train, (x, y, weights), {**OPTIONS, "label_smoothing": s}, loss="cross_entropy"
        ).rows[-1]
        for m, s in ((plain, 0.0), (soft, 0.3))
    ]
    assert losses[1]["val_loss"] > losses[0]["val_loss"] + 0.1  # its best value is not 0
    assert not np.array_equal(*(m[0].weight.detach().numpy() for m in (plain, soft)))


def test_a_time_limit_ends_it() -> None:
    options = {**OPTIONS, "epochs": 10**6, "time_limit": 0.2}
    history = fit(network(), data(), data(), options, loss="cross_entropy")
    assert history.stopped == "time limit"
    assert history.seconds < 5
    assert math.isfinite(validation_results(history)["loss"])


@pytest.mark.parametrize("more", [{}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_measured_of_scores_is_what_training_measures(
    more: dict[str, Any], weighted: bool
) -> None:
    x, y = data()
    part = (x, y, np.linspace(0.5, 2, len(x)).astype(np.float32)) if weighted else (x, y)
    model = network()
    options = {**OPTIONS, **more}
    names = ["accuracy"]
    history = fit(model, part, part, options, loss="cross_entropy", metrics=names)
    scores = model(x).detach().numpy()
    found = measured(scores, part, options, "cross_entropy", names)
    then = validation_results(history)
    assert found == pytest.approx({k: then[k] for k in ("loss", "accuracy")}, rel=1e-6)
    assert "accuracy" not in measured(scores, part, options, "cross_entropy", [])
    one = measured(np.zeros((1, 1), np.float32), (x[:1], np.ones((1, 1), np.float32)), OPTIONS,
                   "mse", ["r2"])  # fmt: skip
    assert one == {"loss": 1.0}  # R² of a single row is undefined
