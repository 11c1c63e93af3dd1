"""The progress bar: on a terminal only, on standard error, with tqdm's estimate of the time
left."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Progress", "bar"]

_BAR = (
    "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} steps, "
    "{elapsed} so far, {remaining} left{postfix}"
)


def bar(**options: Any) -> Any:
    """A bar of tqdm without the thread that would watch over it: a training leaves no thread
    behind, which would wake every ten seconds for the rest of the process."""
    from tqdm import tqdm

    class Unwatched(tqdm):  # type: ignore[type-arg]  # generic for the type checker alone
        monitor_interval = 0

    return Unwatched(**options)


class Progress:
    """A bar over the steps of all epochs, and a line per epoch.

    The estimate counts what is left of the whole run, validation included, and follows the recent
    speed.

    Arguments:
        verbose: None shows the bar and lines on a terminal and elsewhere only what `say` is for;
            True always prints the lines; False nothing.
    """

    def __init__(self, verbose: bool | None, epochs: int, steps: int | None, done: int = 0) -> None:
        terminal = sys.stderr.isatty()
        self.lines = terminal if verbose is None else verbose
        self.silent = verbose is False
        self.epochs = epochs
        self._bar: Any = None
        if self.lines and terminal:
            total = None if steps is None else epochs * steps
            self._bar = bar(
                total=total,
                initial=done,
                unit="step",
                leave=False,
                dynamic_ncols=True,
                smoothing=0.1,
                file=sys.stderr,
                bar_format=_BAR if total else None,
            )

    def step(self, loss: float, epoch: int) -> None:
        if self._bar is not None:
            self._bar.update(1)
            if self._bar.n % 16 == 0:
                self._bar.set_postfix_str(
                    f"epoch {epoch + 1}/{self.epochs}, loss {loss:.4f}", refresh=False
                )

    def epoch(self, number: int, logs: dict[str, float]) -> None:
        if self.lines:
            width = len(str(self.epochs))
            shown = "  ".join(
                f"{name} {value:.4f}"
                for name, value in logs.items()
                if name not in ("lr", "seconds")
            )
            self._write(
                f"epoch {number + 1:>{width}}/{self.epochs}  {shown}  ({logs['seconds']:.1f} s)"
            )

    def say(self, text: str) -> None:
        """What a person must know though nothing else is shown, such as an interruption."""
        if not self.silent:
            self._write(text)

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
