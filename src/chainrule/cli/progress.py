"""What a person sees while a model trains: a line per epoch, and a bar on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from chainrule.array.errors import DataError
from chainrule.train.callbacks import Callback, Logs
from chainrule.train.history import History
from chainrule.train.progress import bar
from chainrule.train.trainer import Trainer

__all__ = ["Progress", "how_it_ended"]

_HEADS = {"val_loss": "val loss", "val_accuracy": "val accuracy", "r2": "R²", "val_r2": "val R²"}

_BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}"


class Progress(Callback):
    """Print each epoch's loss and metrics to `out`, and a bar to standard error on a terminal.

    Arguments:
        out: where the lines go; None for nowhere (then there is no bar either).
        columns: the measurements shown, in this order.
        epochs, steps: how long the training is, and how many updates an epoch has.
        run: what a checkpoint must agree with to be gone on from: data, options that matter.
        lines: about how many epochs get a line of their own; the last always does.
    """

    def __init__(
        self,
        out: TextIO | None,
        columns: list[str],
        epochs: int,
        steps: int,
        run: Mapping[str, Any],
        lines: int | None = None,
    ) -> None:
        self.out, self.columns, self.epochs, self.steps = out, columns, epochs, steps
        self.run = dict(run)
        self.every = 1 if lines is None else -(-epochs // lines)
        self._held: str | None = None  # the line of the last epoch, where it was not shown
        self._bar: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.out is None:
            return
        if sys.stderr.isatty():
            self._bar = bar(
                total=self.epochs * self.steps,
                initial=trainer.step,
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
                mininterval=0.05,
                bar_format=_BAR,
            )
        heads = [f"{_HEADS.get(c, c):>12}" for c in self.columns]
        self._print(f"{'epoch':>5}  " + "  ".join(heads) + "     seconds")
        if trainer.epoch:
            self._print(f"{'…':>5}  {trainer.epoch} epochs are in the checkpoint")

    def on_step_end(self, trainer: Trainer, step: int, loss: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self._bar.update(1)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self.out is not None:
            values = [f"{logs[c]:>12.4f}" if c in logs else " " * 12 for c in self.columns]
            line = f"{epoch + 1:>5}  " + "  ".join(values) + f"  {logs['seconds']:>10.2f}"
            if epoch == 0 or (epoch + 1) % self.every == 0:
                self._held = None
                self._print(line)
            else:
                self._held = line

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._held is not None:
            self._print(self._held)
            self._held = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=self.out)
        else:
            print(line, file=self.out, flush=True)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"run": self.run}, {}

    def load_state(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        then = values["run"]
        changed = [k for k in self.run if then.get(k) != self.run[k]]
        if changed:
            k = changed[0]
            raise DataError(
                f"the checkpoint is of another run: its {k} was {then.get(k)}, here it is "
                f"{self.run[k]}; resume with the data and options it was started with"
            )


def how_it_ended(history: History) -> str:
    """How long a training took, why it ended, and which weights were kept."""
    how = "" if history.stopped == "epochs" else f", {history.stopped}"
    text = f"{len(history.rows)} epochs in {history.seconds:.2f} s{how}."
    if history.best_epoch is not None:
        value = history.rows[history.best_epoch].get("val_loss", math.nan)
        text += f" Kept epoch {history.best_epoch + 1}, the best by validation loss, {value:.4f}."
    return text
