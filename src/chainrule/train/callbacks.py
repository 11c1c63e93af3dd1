"""Callbacks: what may look on, and step in, while a model trains."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from chainrule.array.errors import nearest
from chainrule.optim.averaging import (
    ExponentialMovingAverage,
    StochasticWeightAveraging,
    WeightAverage,
)
from chainrule.serialize.atomic import check_writable
from chainrule.train.history import lower_is_better

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

__all__ = [
    "EMA", "SWA", "Averaging", "BestWeights", "Callback", "Checkpoint", "EarlyStopping",
    "LambdaCallback", "TargetReached", "TimeLimit",
]  # fmt: skip

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

    #: Callbacks with a smaller turn come first at every event, others in the order given.
    turn: ClassVar[int] = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch; the model, optimizer and data are known."""

    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch, counted from 0 over the trainer's life."""

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        """After an update of the parameters."""

    def on_measure_start(self, trainer: Trainer) -> None:
        """After the steps of an epoch. The weights as this leaves them are validated, and are what
        `on_epoch_end` sees and may keep."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation."""

    def on_measure_end(self, trainer: Trainer) -> None:
        """After `on_epoch_end` of all callbacks, and before a checkpoint of the epoch: the weights
        must be those that training goes on with."""

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
        min_delta: the least change that counts as better; smaller ones do not move the best.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (losses and errors small, scores large).
        relative: `min_delta` is a share of the magnitude of the best value, as ``threshold`` of
            torch's ``ReduceLROnPlateau``: 0.01 asks for one per cent.

    NaN is never better.

    >>> import chainrule as cr
    >>> cr.callbacks.BestWeights("val_accuracy").monitor
    'val_accuracy'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        mode: str = "auto",
        relative: bool = False,
    ) -> None:
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta must be a finite number from 0, got {min_delta}")
        self.monitor, self.min_delta, self.mode = monitor, float(min_delta), mode
        self.relative = bool(relative)
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

    def _better(self, value: float) -> bool:
        if self.best is None or math.isnan(self.best):
            return True
        least = self.min_delta
        if self.relative and math.isfinite(self.best):
            least *= abs(self.best)
        return self._sign * (self.best - value) > least

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        value = _watched(self, self.monitor, logs)
        if self._better(value):
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


def _watched(callback: Callback, name: str, logs: Logs) -> float:
    """A measurement; without validation data, that of the training data in place of ``val_…``."""
    found = name
    if name not in logs and not any(k.startswith("val_") for k in logs):
        found = name.removeprefix("val_")
    if found not in logs:
        raise ValueError(
            f"{type(callback).__name__} watches {name!r}, which is not measured; "
            f"{nearest(name, logs)}"
        )
    return logs[found]


class EarlyStopping(BestWeights):
    """Stop when the monitored value has not improved for `patience` epochs. Ledger S-04.

    The note says to monitor the loss, and leaves open which, how long and by how much (erratum
    E001-13): by default the validation loss, five epochs, any improvement, and the best weights
    come back.

    Arguments:
        monitor, min_delta, mode, relative: as in `BestWeights`.
        patience: so many epochs in a row without improvement end training, as in Keras; 0 is 1.
        restore_best: put the best weights back at the end (the default).
        alpha: also stop, without patience, where a loss is more than so many per cent above its
            best: Prechelt's criterion GL, ``100 (value / best - 1) > alpha``.

    A value that is NaN or infinite ends training at once.

    Reference: Prechelt, "Early stopping - but when?", 1998.

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
        relative: bool = False,
        alpha: float | None = None,
    ) -> None:
        if patience < 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        super().__init__(monitor, min_delta, mode, relative)
        if alpha is not None and (not alpha > 0 or self._sign < 0):
            raise ValueError(
                f"alpha is above 0 and for a loss, which is better when smaller; got {alpha} for "
                f"{monitor!r}"
            )
        self.patience, self.restore_best, self.alpha = patience, restore_best, alpha

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        super().on_epoch_end(trainer, epoch, logs)
        value = _watched(self, self.monitor, logs)
        risen = (
            self.alpha is not None
            and self.best is not None
            and (value - self.best > self.alpha / 100 * abs(self.best))
        )
        if risen or self.waited >= max(self.patience, 1) or not math.isfinite(value):
            trainer.stop = "early stopping"

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.restore_best:
            super().on_fit_end(trainer)


class TargetReached(Callback):
    """Stop once a measurement reaches a value: at most it for losses, at least it for scores.

    Arguments:
        monitor: what to watch, such as ``"val_accuracy"``; without validation data ``"val_…"``
            falls back to the same of the training data.
        value: the target.
        mode: ``"min"``, ``"max"`` or ``"auto"``, as in `BestWeights`.

    The weights stay those that reached it.

    >>> import chainrule as cr
    >>> cr.callbacks.TargetReached("val_accuracy", 0.98).value
    0.98
    """

    def __init__(self, monitor: str, value: float, mode: str = "auto") -> None:
        if not math.isfinite(value):
            raise ValueError(f"value must be a finite number, got {value}")
        self.monitor, self.value, self.mode = monitor, float(value), mode
        self._sign = 1.0 if lower_is_better(monitor, mode) else -1.0

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self._sign * (self.value - _watched(self, self.monitor, logs)) >= 0:
            trainer.stop = "target reached"


class Averaging(Callback):
    """Averages of the weights: measured, kept by others as the best, and left at the end.

    The base of `EMA` and `SWA`.
    """

    turn = -1  # the others see the averages, and may put others in their place

    def __init__(self) -> None:
        self.average: WeightAverage | None = None
        self._loaded: dict[str, Any] | None = None

    def _made(self, model: Any) -> WeightAverage:
        raise NotImplementedError

    def on_fit_start(self, trainer: Trainer) -> None:
        self.average = self._made(trainer.model)
        if trainer.resumed and self._loaded is not None:
            self.average.load_state_dict(self._loaded)
        self._loaded = None

    def on_measure_start(self, trainer: Trainer) -> None:
        if self.average is not None and self.average.updates:
            self.average.apply()

    def on_measure_end(self, trainer: Trainer) -> None:
        if self.average is not None and self.average.applied:
            self.average.restore()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.average is not None and self.average.updates:
            self.average.keep()

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.average is None:
            return {"updates": 0}, {}
        saved = self.average.state_dict()
        return {"updates": saved["updates"]}, saved["averages"]

    def load_state(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        self._loaded = {"updates": values["updates"], "averages": arrays} if arrays else None


class EMA(Averaging):
    """An exponential moving average of the weights, which is measured and left at the end.

    After each update ``a ← decay · a + (1 - decay) · w``. Validation, `BestWeights` and
    `EarlyStopping` see the averages, training goes on with the weights themselves, and the trained
    model has the averages (or the best of them). A checkpoint holds both, and a resumed run equals
    the uninterrupted one bit for bit.

    Arguments:
        decay, warmup: see `chainrule.optim.ExponentialMovingAverage`.
        every: so many updates of the weights to one of the averages.

    Buffers, such as the statistics of a normalization, are not averaged. A second `fit` starts a
    new average, from where the first one left the model.

    >>> import chainrule as cr, numpy as np
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> trainer = cr.Trainer(cr.nn.Dense(1, 1), loss="mse", callbacks=[cr.callbacks.EMA(0.9)])
    >>> len(trainer.fit((x, 2 * x), epochs=3)["loss"])
    3
    """

    def __init__(self, decay: float = 0.999, warmup: bool = False, every: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}")
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        super().__init__()
        self.decay, self.warmup, self.every = float(decay), bool(warmup), every

    def _made(self, model: Any) -> WeightAverage:
        return ExponentialMovingAverage(model, self.decay, self.warmup)

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        if self.average is not None and step % self.every == 0:
            self.average.update()


class SWA(Averaging):
    """The mean of the weights after each epoch from some epoch on, otherwise as `EMA`.

    It is meant for the last part of a training, at a learning rate that stays high.

    Arguments:
        start: the first epoch of this fit that counts, from 0.

    Reference: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018.

    >>> import chainrule as cr
    >>> cr.callbacks.SWA(start=15).start
    15
    """

    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError(f"start is an epoch, from 0, got {start}")
        super().__init__()
        self.start = start

    def _made(self, model: Any) -> WeightAverage:
        return StochasticWeightAveraging(model)

    def on_measure_start(self, trainer: Trainer) -> None:
        if self.average is not None and trainer.epoch - trainer._first_epoch >= self.start:
            self.average.update()
        super().on_measure_start(trainer)


class TimeLimit(Callback):
    """Stop after so many `seconds` (a float) of one fit, at the end of a step.

    >>> import chainrule as cr
    >>> cr.callbacks.TimeLimit(3600).seconds
    3600
    """

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, got {seconds}")
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
