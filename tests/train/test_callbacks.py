"""Callbacks: the best weights, early stopping, limits, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.train.callbacks import (
    EMA,
    SWA,
    BestWeights,
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
    TargetReached,
)
from tests_common import blobs, net


class Scripted(Callback):
    """Replaces the watched value by a script, before the callbacks after it see it."""

    def __init__(self, values: list[float], name: str = "val_loss") -> None:
        self.values, self.name = values, name
        self.weights: list[Any] = []

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        logs[self.name] = self.values[epoch]
        self.weights.append(trainer.model.state_dict())


def run(values: list[float], callback: Any, name: str = "val_loss") -> Any:
    script = Scripted(values, name)
    trainer = cr.Trainer(net(), callbacks=[script, callback], seed=0)
    trainer.fit(blobs(60), epochs=len(values))
    return trainer, script


def test_early_stopping_restores_the_best():
    trainer, script = run([3, 2, 1, 2, 3, 4, 5, 0.5], EarlyStopping(patience=2))
    assert len(trainer.history.rows) == 5  # two without improvement
    assert trainer.history.stopped == "early stopping"
    assert trainer.history.best_epoch == 2
    for name, v in trainer.model.state_dict().items():
        np.testing.assert_array_equal(v, script.weights[2][name])


def test_scores_are_better_when_larger():
    trainer, script = run([0.1, 0.9, 0.5], BestWeights("val_accuracy"), "val_accuracy")
    assert trainer.history.best_epoch == 1
    np.testing.assert_array_equal(trainer.model.state_dict()["0.bias"], script.weights[1]["0.bias"])


@pytest.mark.parametrize(("patience", "epochs"), [(0, 2), (1, 2), (3, 4)])
def test_patience_counts_the_epochs_without_improvement(patience: int, epochs: int):
    trainer, _ = run([1, 2, 3, 4, 5, 6], EarlyStopping(patience=patience))
    assert len(trainer.history.rows) == epochs


def test_no_callbacks_may_be_written_as_none():
    assert cr.Trainer(net(), callbacks=None, regularizers=None).callbacks == []


def test_min_delta_and_no_restore():
    trainer, script = run(
        [1.0, 0.99, 0.98, 0.97], EarlyStopping(patience=1, min_delta=0.1, restore_best=False)
    )
    assert len(trainer.history.rows) == 2
    np.testing.assert_array_equal(trainer.model.state_dict()["0.bias"], script.weights[1]["0.bias"])


def test_without_validation_val_loss_means_loss():
    trainer = cr.Trainer(net(), callbacks=[EarlyStopping(patience=1)], seed=0)
    trainer.fit(blobs(60), epochs=2)
    assert trainer.history.best_epoch is not None


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        # ledger S-04, E001-13: which changes count, how long, and what is kept
        ([1.0, 0.95, 0.91, 0.9, 0.89], {"min_delta": 0.2, "patience": 3}, 4, 0),
        ([1.0, 0.95, 0.91, 0.7, 0.69, 0.6], {"min_delta": 0.2, "patience": 4}, 6, 3),
        ([100, 99, 98, 97, 96, 50], {"min_delta": 0.05, "relative": True, "patience": 2}, 3, 0),
        ([100, 99, 94, 93, 92, 50], {"min_delta": 0.05, "relative": True, "patience": 2}, 5, 2),
        (
            [-1.0, -1.04, -1.2, -1.21, -1.22],
            {"min_delta": 0.1, "relative": True, "patience": 2},
            5,
            2,
        ),
        ([3, 2, np.nan, 1, 0], {"patience": 5}, 3, 1),
        ([3, 2, np.inf, 1, 0], {"patience": 5}, 3, 1),
        ([3, 3, 3, 3], {"patience": 2}, 3, 0),
        # Prechelt's GL: at most 5 % above the best
        ([2, 1, 1.04, 1.045, 1.06, 0.5], {"patience": 9, "alpha": 5}, 5, 1),
        ([2, 1, 1.04, 1.045, 0.9, 0.5], {"patience": 9, "alpha": 5}, 6, 5),
    ],
)
def test_what_counts_as_better(values: Any, options: Any, epochs: int, best: int) -> None:
    trainer, script = run(values, EarlyStopping(**options))
    assert len(trainer.history.rows) == epochs
    assert trainer.history.best_epoch == best
    np.testing.assert_array_equal(
        trainer.model.state_dict()["0.weight"], script.weights[best]["0.weight"]
    )


def test_nan_is_never_the_best() -> None:
    trainer, _ = run([np.nan, 2.0, np.nan, 1.0, np.nan], BestWeights())
    assert trainer.history.best_epoch == 3


@pytest.mark.parametrize(
    ("name", "values", "target", "epochs"),
    [
        ("val_loss", [0.5, 0.3, 0.2, 0.1], 0.2, 3),
        ("val_accuracy", [0.5, 0.8, 0.9, 0.95], 0.85, 3),
        ("val_loss", [0.5, np.nan, 0.4], 0.2, 3),
        ("val_accuracy", [0.9, 0.9], 0.9, 1),
    ],
)
def test_a_target_ends_training(name: str, values: Any, target: float, epochs: int) -> None:
    trainer, script = run(values, TargetReached(name, target), name)
    assert len(trainer.history.rows) == epochs
    reached = epochs < len(values)
    assert trainer.history.stopped == ("target reached" if reached else "epochs")
    np.testing.assert_array_equal(  # and the weights are those that reached it
        trainer.model.state_dict()["0.weight"], script.weights[-1]["0.weight"]
    )


def test_a_target_of_the_training_loss() -> None:
    data = blobs(60)
    first = cr.Trainer(net(), seed=0)
    losses = first.fit(data, epochs=12)["loss"]
    second = cr.Trainer(net(), callbacks=[TargetReached("val_loss", losses[6])], seed=0)
    assert second.fit(data, epochs=12)["loss"] == losses[:7]
    with pytest.raises(ValueError, match="TargetReached watches 'acc', which is not measured"):
        cr.Trainer(net(), callbacks=[TargetReached("acc", 1.0)], seed=0).fit(data, epochs=1)
    with pytest.raises(ValueError, match="a finite number, got nan"):
        TargetReached("loss", float("nan"))


# -- averages of the weights ----------------------------------------------------------------------


def averaged(callbacks: Any, epochs: int = 4, **options: Any) -> Any:
    trainer = cr.Trainer(
        net(p=0.2), optimizer=cr.optim.SGD(lr=0.3), callbacks=callbacks, metrics=[], seed=1
    )
    trainer.fit(blobs(90), epochs=epochs, validation_data=blobs(60, seed=5), **options)
    return trainer


def test_the_average_is_measured_and_left_and_training_does_not_see_it() -> None:
    raw: list[Any] = []

    class Raw(Callback):
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            raw.append(trainer.model.state_dict())

    with_average = averaged([Raw(), EMA(0.8)])
    steps, raw = raw, []
    without = averaged([Raw()])
    for a, b in zip(steps, raw, strict=True):
        np.testing.assert_array_equal(a["0.weight"], b["0.weight"])
    expected = {n: v.astype(np.float64) for n, v in raw[0].items()}
    for state in raw[1:]:
        expected = {n: 0.8 * a + 0.2 * state[n] for n, a in expected.items()}
    for name, v in with_average.model.state_dict().items():
        np.testing.assert_allclose(v, expected[name], rtol=1e-5, atol=1e-6)
    assert with_average.history["loss"] == without.history["loss"]
    assert with_average.history["val_loss"] != without.history["val_loss"]
    measured = with_average.evaluate(blobs(60, seed=5))["loss"]
    assert measured == pytest.approx(with_average.history["val_loss"][-1], rel=1e-6)


def test_the_mean_of_the_last_epochs() -> None:
    ends: list[Any] = []

    class Ends(Callback):
        def on_measure_start(self, trainer: Any) -> None:
            ends.append(trainer.model.state_dict())

    averaged([Ends()], epochs=5)
    raw, script = list(ends), Scripted([1.0] * 5)
    trainer = averaged([SWA(start=2), script], epochs=5)
    np.testing.assert_array_equal(script.weights[1]["0.weight"], raw[1]["0.weight"])
    for last in (3, 4):
        mean = np.mean([r["0.weight"] for r in raw[2 : last + 1]], axis=0, dtype=np.float64)
        np.testing.assert_allclose(script.weights[last]["0.weight"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        trainer.model.state_dict()["0.weight"], script.weights[4]["0.weight"]
    )
    never = averaged([SWA(start=9)], epochs=5)
    np.testing.assert_array_equal(never.model.state_dict()["0.weight"], raw[4]["0.weight"])
    with pytest.raises(ValueError, match="an epoch, from 0, got -1"):
        SWA(-1)
    with pytest.raises(ValueError, match="seconds must be 0 or more, got nan"):
        cr.callbacks.TimeLimit(float("nan"))


@pytest.mark.parametrize("first", [True, False])
def test_the_best_are_averages_wherever_the_callbacks_stand(first: bool) -> None:
    script = Scripted([3, 1, 2, 4])
    ema, best = EMA(0.8), BestWeights()
    trainer = averaged([ema, script, best] if first else [script, best, ema])
    assert trainer.history.best_epoch == 1
    for name, v in trainer.model.state_dict().items():
        np.testing.assert_array_equal(v, script.weights[1][name])
    plain = Scripted([3, 1, 2, 4])
    averaged([plain])
    assert not np.array_equal(plain.weights[1]["0.weight"], script.weights[1]["0.weight"])


def test_the_average_when_training_ends_early() -> None:
    trainer = averaged([EMA(0.5), cr.callbacks.TimeLimit(0.0)])
    assert trainer.step == 1
    assert trainer.history.stopped == "time limit"

    class Broken(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            raise OSError("no space")

    ema = EMA(0.5, every=3)
    trainer = cr.Trainer(net(), callbacks=[ema, Broken()], metrics=[], seed=1)
    with pytest.raises(OSError, match="no space"):
        trainer.fit(blobs(90), epochs=2, batch_size=10)
    assert ema.average is not None
    assert ema.average.updates == 3
    np.testing.assert_array_equal(
        trainer.model.state_dict()["0.weight"], ema.average.averages["0.weight"]
    )
    trainer.callbacks = [ema]
    trainer.fit(blobs(90), epochs=1)  # anew
    assert ema.average.updates == 1
    for options in ({"decay": 1.0}, {"every": 0}):
        with pytest.raises(ValueError, match="must be"):
            EMA(**options)


def test_errors_name_what_is_measured():
    with pytest.raises(ValueError, match="val_accuracy"):
        cr.Trainer(net(), callbacks=[EarlyStopping("val_acuracy")], seed=0).fit(
            blobs(60), epochs=1, validation_data=blobs(60)
        )
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(patience=-1)
    with pytest.raises(ValueError, match="alpha is above 0 and for a loss"):
        EarlyStopping("val_accuracy", alpha=5.0)
    with pytest.raises(ValueError, match="min_delta"):
        BestWeights(min_delta=-1)
    with pytest.raises(ValueError, match="every"):
        Checkpoint("x", every_epochs=0)
    with pytest.raises(TypeError, match="on_epoch_end"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="Callback"):
        cr.Trainer(net(), callbacks=[print])  # type: ignore[list-item]


def test_lambda_and_time_limit():
    seen = []
    trainer = cr.Trainer(
        net(),
        callbacks=[
            LambdaCallback(
                on_epoch_end=lambda trainer, epoch, logs: seen.append((epoch, logs["loss"]))
            ),
            cr.callbacks.TimeLimit(0.0),
        ],
        seed=0,
    )
    h = trainer.fit(blobs(60), epochs=5)
    assert h.stopped == "time limit"
    assert trainer.step == 1
    assert seen == []


def test_a_second_fit_starts_its_watch_anew():
    stopper = EarlyStopping("loss", patience=3)
    trainer = cr.Trainer(net(), callbacks=[stopper], seed=0)
    trainer.fit(blobs(60), epochs=2)
    first = stopper.best
    trainer.fit(blobs(60), epochs=2)
    assert stopper.best is not None
    assert first is not None
    assert trainer.epoch == 4
    assert stopper.best_epoch in (2, 3)


def test_a_checkpoint_that_cannot_be_written_is_known_before_the_first_step(tmp_path: Any) -> None:
    trainer = cr.Trainer(net(), callbacks=[Checkpoint(tmp_path / "none" / "c.safetensors")])
    with pytest.raises(FileNotFoundError, match="create it first"):
        trainer.fit(blobs(60), epochs=1)
    assert trainer.step == 0
    with pytest.raises(ValueError, match=r"\{epoch\} and \{step\} only"):
        Checkpoint("run-{epok}.safetensors")
