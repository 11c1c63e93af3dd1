"""Callbacks: the best weights, early stopping, limits, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.train.callbacks import (
    BestWeights,
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
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


def test_errors_name_what_is_measured():
    with pytest.raises(ValueError, match="val_accuracy"):
        cr.Trainer(net(), callbacks=[EarlyStopping("val_acuracy")], seed=0).fit(
            blobs(60), epochs=1, validation_data=blobs(60)
        )
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(patience=-1)
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
