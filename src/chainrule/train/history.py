"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """The measurements of `Trainer.fit`: ``history["val_loss"][3]`` is that of the fourth epoch.

    Attributes:
        stopped: why training ended: "epochs", "early stopping", "interrupted", "error" or a
            callback's own word.
        seed: of the random stream, so that the run can be repeated.
        seconds: how long it took.
        best_epoch: the epoch (from 0) whose weights the model now has, where best weights were
            restored.

    >>> h = History()
    >>> h.append({"loss": 0.5, "val_loss": 0.7})
    >>> h.append({"loss": 0.3, "val_loss": 0.6})
    >>> h["loss"], h.best("val_loss")
    ([0.5, 0.3], (1, 0.6))
    """

    def __init__(self, rows: list[dict[str, float]] | None = None, seed: int | None = None) -> None:
        self.rows: list[dict[str, float]] = list(rows or [])
        self.stopped = "epochs"
        self.seed = seed
        self.seconds = 0.0
        self.best_epoch: int | None = None

    @property
    def history(self) -> dict[str, list[float]]:
        """All measurements as a plain dictionary of lists."""
        return {name: self[name] for name in self}

    def append(self, row: dict[str, float]) -> None:
        """Add an epoch."""
        self.rows.append(dict(row))

    def __getitem__(self, name: str) -> list[float]:
        column = [row[name] for row in self.rows if name in row]
        if not column:
            from chainrule.array.errors import nearest

            raise KeyError(f"{name!r} was not measured; {nearest(name, list(self))}")
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def best(self, name: str = "val_loss", mode: str = "auto") -> tuple[int, float]:
        """(epoch, value) of the best; the smallest of losses and errors, the largest of scores."""
        values = self[name]
        k = min(
            range(len(values)),
            key=lambda i: values[i] if lower_is_better(name, mode) else -values[i],
        )
        return k, values[k]

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        names = list(self)
        head = "epoch  " + "  ".join(f"{n:>12}" for n in names)
        lines = [
            f"{k + 1:>5}  " + "  ".join(f"{row[n]:>12.6g}" if n in row else " " * 12 for n in names)
            for k, row in enumerate(self.rows)
        ]
        if len(lines) > 12:
            lines = [*lines[:5], f"  ...  ({len(lines) - 10} more)", *lines[-5:]]
        return "\n".join(
            [head, *lines, f"stopped: {self.stopped}, {self.seconds:.1f} s, seed {self.seed}"]
        )


def lower_is_better(name: str, mode: str = "auto") -> bool:
    """Whether small values of a measurement are good ones."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', not {mode!r}")
    if mode != "auto":
        return mode == "min"
    stem = name.removeprefix("val_").lower()
    return (
        "loss" in stem
        or "error" in stem
        or stem in ("mse", "mae", "rmse", "mape", "brier", "deviance", "ece", "pinball")
        or stem in ("fpr", "fnr", "false_positive_rate", "false_negative_rate")
    )


def as_row(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers as Python floats, which JSON keeps exactly."""
    return {k: float(v) for k, v in values.items()}
