"""A rate that falls when nothing gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.optim.lr_scheduler.base import LRScheduler, per_group, with_groups
from chainrule.optim.optimizer import Group, Optimizer

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiply by `factor` when a metric has not improved for more than `patience` steps.

    ``scheduler.step(metric)`` is called with the metric after each epoch; NaN is no improvement.

    Arguments:
        optimizer: whose rates to change.
        mode: ``"min"`` where less is better, or ``"max"``.
        factor: in (0, 1).
        patience: how many steps without improvement are borne.
        threshold: how large an improvement must be: relative to the best value so far
            (``threshold_mode`` ``"rel"``) or absolute (``"abs"``).
        cooldown: how many steps after a reduction are not counted.
        min_lr: the least rate, or one per group.
        eps: a reduction by no more than this is left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"factor must be between 0 and 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor, self.threshold, self.eps = float(factor), float(threshold), float(eps)
        self.patience, self.cooldown = int(patience), int(cooldown)
        self.min_lrs = per_group("min_lr", min_lr, with_groups(optimizer))
        self.best: float | None = None  # JSON has no infinity
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self._reduce = False
        super().__init__(optimizer)

    def step(self, metrics: float) -> None:  # type: ignore[override]
        """Go on by one epoch, whose metric this is."""
        value = float(metrics)
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        self._reduce = self.num_bad_epochs > self.patience
        if self._reduce:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        super().step()
        self._reduce = False

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        if not self._reduce:
            return lr
        lower = max(lr * self.factor, self._of_group(group, self.min_lrs))
        return lower if lr - lower > self.eps else lr

    def _better(self, value: float) -> bool:
        down = self.mode == "min"
        best = (math.inf if down else -math.inf) if self.best is None else self.best
        if self.threshold_mode == "rel":
            bound = best * (1.0 - self.threshold if down else self.threshold + 1.0)
        else:
            bound = best - self.threshold if down else best + self.threshold
        return value < bound if down else value > bound
