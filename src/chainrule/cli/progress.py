"""What a person sees while a model trains: a line per epoch, and a bar on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from chainrule.array.errors import DataError
from chainrule.train.callbacks import Callback, Logs
from chainrule.train.history import History
from chainrule.train.progress import bar
from chainrule.train.trainer import Trainer

__all__ = ["MemberProgress", "Progress", "how_it_ended", "how_members_ended"]

_HEADS = {"val_loss": "val loss", "val_accuracy": "val accuracy", "r2": "R²", "val_r2": "val R²"}

_SAID = {"r2": "R²"}

_BAR = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}"


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
        self.label: str | None = None  # before the bar
        self._held: str | None = None  # the line of the last epoch, where it was not shown
        self._bar: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.out is None:
            return
        if sys.stderr.isatty():
            self._bar = bar(
                desc=self.label,
                total=self.epochs * self.steps,
                initial=trainer.step,
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
                mininterval=0.05,
                bar_format=_BAR,
            )
        self._head(trainer)

    def _head(self, trainer: Trainer) -> None:
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


class MemberProgress(Progress):
    """A line for one network of several at its end, and its bar while it trains.

    Arguments:
        number, count: which network it is, from 1, of how many.
    """

    def __init__(
        self,
        out: TextIO | None,
        columns: list[str],
        epochs: int,
        steps: int,
        number: int,
        count: int,
    ) -> None:
        super().__init__(out, columns, epochs, steps, {})
        self.number, self.count = number, count
        self.label = f"network {number} of {count} "

    def _head(self, trainer: Trainer) -> None:
        if self.number == 1:
            heads = [f"{_HEADS.get(c, c):>12}" for c in self.columns]
            self._print(f"network  {'kept epoch':>10}  " + "  ".join(heads) + "     seconds")

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        pass

    def on_fit_end(self, trainer: Trainer) -> None:
        history = trainer.history
        if self.out is not None:
            done = len(history.rows)
            last = done - 1 if history.best_epoch is None else history.best_epoch
            row = history.rows[last] if done else {}
            values = [f"{row[c]:>12.4f}" if c in row else " " * 12 for c in self.columns]
            kept = f"{last + 1} of {done}" if done else "none"
            text = f"{self.number:>2} of {self.count:<2}  {kept:>9}  " + "  ".join(values)
            self._print(f"{text}  {history.seconds:>10.2f}")
        super().on_fit_end(trainer)


def how_members_ended(
    histories: Sequence[History], asked: int, ended: str, judged: Mapping[str, float], turns: bool
) -> str:
    """How long several networks trained, how many there are, and what the rows held out say.

    Arguments:
        asked: how many there should be.
        ended: why training ended.
        judged: their validation results together, and "rows".
        turns: whether each row is judged by the one network that had not learned from it.
    """
    count = len(histories)
    of = f"{count} of {asked}" if count < asked else str(count)
    seconds, epochs = sum(h.seconds for h in histories), sum(len(h.rows) for h in histories)
    text = f"{of} networks, {epochs} epochs in {seconds:.2f} s"
    if ended in ("interrupted", "time limit"):
        text += f", {ended}"
    text += "."
    values = [f"{_SAID.get(k, k)} {v:.4f}" for k, v in judged.items() if k != "rows"]
    if values:
        who = "each by the network that had not seen it" if turns else "by their mean"
        rows = int(judged["rows"])
        text += f" The {rows:,} rows held out, judged {who}: {', '.join(values)}."
    return text


def how_it_ended(history: History) -> str:
    """How long a training took, why it ended, and which weights were kept."""
    how = "" if history.stopped == "epochs" else f", {history.stopped}"
    text = f"{len(history.rows)} epochs in {history.seconds:.2f} s{how}."
    if history.best_epoch is not None:
        value = history.rows[history.best_epoch].get("val_loss", math.nan)
        text += f" Kept epoch {history.best_epoch + 1}, the best by validation loss, {value:.4f}."
    return text
