"""Callbacks: what may look on, and step in, while a model trains."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.array.errors import nearest
from chainrule.serialize.atomic import check_writable
from chainrule.train.history import lower_is_better

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

__all__ = ["BestWeights", "Callback", "Checkpoint", "EarlyStopping", "LambdaCallback", "TimeLimit"]

Logs = dict[str, float]


class Callback:
    """Subclass and override what you need. Set ``trainer.stop = "why"`` to end training after the
    step.

    `logs` holds the epoch's measurements: ``loss``, the metrics, ``val_…`` and ``lr``.

    >>> import chainrule as cr
    >>> class TwoEpochs(cr.callbacks.Callback):
    ...     def on_epoch_end(self, trainer, epoch, logs):
    ...         if epoch == 1:
    ...             trainer.stop = "two are enough"
    >>> trainer = cr.Trainer(cr.nn.Dense(2, 1), loss="mse")
    >>> TwoEpochs().on_epoch_end(trainer, 1, {"loss": 0.5})  # as `fit` calls it
    >>> trainer.stop
    'two are enough'
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch; the model, optimizer and data are known."""

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch, counted from 0 over the trainer's life."""

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        """After an update of the parameters."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when training was interrupted."""

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(JSON values, arrays) that a checkpoint must keep for this callback."""
        return {}, {}

    def load_state(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Take back what `state` gave."""


class LambdaCallback(Callback):
    """Functions in place of a class: ``LambdaCallback(on_epoch_end=lambda trainer, epoch, logs:
    …)``.

    Raises:
        TypeError: for a name that is no method of `Callback`, with the nearest ones.

    >>> import chainrule as cr
    >>> tell = cr.callbacks.LambdaCallback(on_epoch_end=lambda trainer, epoch, logs: print(logs))
    >>> trainer = cr.Trainer(cr.nn.Dense(2, 1), loss="mse")
    >>> tell.on_epoch_end(trainer, 0, {"loss": 0.5})  # as `fit` calls it
    {'loss': 0.5}
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        known = [n for n in dir(Callback) if n.startswith("on_")]
        for name, function in functions.items():
            if name not in known:
                raise TypeError(f"LambdaCallback has no {name!r}; {nearest(name, known)}")
            setattr(self, name, function)


class BestWeights(Callback):
    """Keep the weights of the best epoch and put them back when training ends, however it ends.

    Arguments:
        monitor: the measurement to watch: ``"val_loss"``, ``"val_accuracy"``, … Without validation
            data ``"val_loss"`` falls back to ``"loss"``.
        min_delta: the least change that counts as better.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (losses and errors small, scores large).

    >>> import chainrule as cr
    >>> cr.callbacks.BestWeights("val_accuracy").monitor
    'val_accuracy'
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, mode: str = "auto"
    ) -> None:
        if min_delta < 0:
            raise ValueError(f"min_delta must not be negative, got {min_delta}")
        self.monitor, self.min_delta, self.mode = monitor, float(min_delta), mode
        self._sign = 1.0 if lower_is_better(monitor, mode) else -1.0
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self._weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        if not trainer.resumed:
            self._forget()

    def _value(self, logs: Logs) -> float:
        name = self.monitor
        if (
            name not in logs
            and name.startswith("val_")
            and not any(k.startswith("val_") for k in logs)
        ):
            name = name.removeprefix("val_")
        if name not in logs:
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor!r}, which is not measured; "
                f"{nearest(self.monitor, logs)}"
            )
        return logs[name]

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        value = self._value(logs)
        if self.best is None or self._sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            self._weights = trainer.model.state_dict()
        else:
            self.waited += 1

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._weights is not None and (self.waited or trainer.partial):
            trainer.model.load_state_dict(self._weights)
        trainer.history.best_epoch = self.best_epoch

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        values = {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}
        return values, dict(self._weights or {})

    def load_state(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.waited = (
            values["best"],
            values["best_epoch"],
            values["waited"],
        )
        self._weights = dict(arrays) or None


class EarlyStopping(BestWeights):
    """Stop when the monitored value has not improved for `patience` epochs. Ledger S-03, S-04;
    Prechelt 1998.

    Arguments:
        monitor, min_delta, mode: as in `BestWeights`.
        patience: so many epochs in a row without improvement end training, as in Keras; 0 is 1.
        restore_best: put the best weights back at the end (the default).

    >>> import chainrule as cr
    >>> cr.callbacks.EarlyStopping(patience=3).patience
    3
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if patience < 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        super().__init__(monitor, min_delta, mode)
        self.patience, self.restore_best = patience, restore_best

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        super().on_epoch_end(trainer, epoch, logs)
        if self.waited >= max(self.patience, 1) or not math.isfinite(self._value(logs)):
            trainer.stop = "early stopping"

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.restore_best:
            super().on_fit_end(trainer)


class TimeLimit(Callback):
    """Stop after so many `seconds` (a float) of one fit, at the end of a step.

    >>> import chainrule as cr
    >>> cr.callbacks.TimeLimit(3600).seconds
    3600
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        if time.perf_counter() - self._start >= self.seconds:
            trainer.stop = "time limit"


class Checkpoint(Callback):
    """Write everything needed to go on, as one file: ``fit(..., resume=path)`` equals the
    uninterrupted run.

    The file is written beside its place and moved there, so an interruption, even ``kill -9``,
    leaves the last whole one.

    Arguments:
        path: the file; ``{epoch}`` and ``{step}`` in it are filled in, to keep several.
        every_epochs: write after this many epochs (0: never).
        every_steps: also write after this many updates, in the middle of an epoch; the outputs of
            the epoch so far are then kept for its metrics.

    >>> import chainrule as cr
    >>> cr.callbacks.Checkpoint("run-{epoch}.safetensors", every_epochs=5).every_epochs
    5
    """

    def __init__(
        self, path: str | os.PathLike[str], every_epochs: int = 1, every_steps: int = 0
    ) -> None:
        if every_epochs < 0 or every_steps < 0 or not (every_epochs or every_steps):
            raise ValueError("Checkpoint needs every_epochs or every_steps")
        self.path, self.every_epochs, self.every_steps = os.fspath(path), every_epochs, every_steps
        try:
            self._file(0, 0)
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"Checkpoint fills in {{epoch}} and {{step}} only, and {self.path!r} has another "
                "pair of braces; double those that belong to the name"
            ) from error

    def _file(self, epoch: int, step: int) -> str:
        return self.path.format(epoch=epoch, step=step)

    def _write(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._file(trainer.epoch, trainer.step))

    def on_fit_start(self, trainer: Trainer) -> None:
        check_writable(self._file(trainer.epoch, trainer.step))  # now, not after an epoch's work

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        if self.every_steps and step % self.every_steps == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self.every_epochs and (epoch + 1) % self.every_epochs == 0:
            trainer.checkpoint_due = self._write
