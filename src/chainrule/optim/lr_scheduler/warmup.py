"""A linear warm-up, and a decay after it."""

from __future__ import annotations

import math

from chainrule.array.errors import nearest
from chainrule.optim.lr_scheduler.base import LRScheduler, as_count
from chainrule.optim.optimizer import Group, Optimizer

__all__ = ["WarmupLR"]

_DECAYS = ("constant", "cosine", "linear")


class WarmupLR(LRScheduler):
    """Rise to the rate in a straight line, then stay there or fall. `step` is called per batch.

    With w = `warmup_steps`, n = `total_steps` and t = 0, 1, … the number of steps made::

        lr_t = base_lr · (t + 1) / (w + 1)                                       t < w
        lr_t = eta_min + (base_lr - eta_min) · (1 + cos(π (t - w) / (n - w))) / 2     "cosine"
        lr_t = eta_min + (base_lr - eta_min) · (1 - (t - w) / (n - w))                "linear"

    which is ``SequentialLR(optimizer, [LinearLR(optimizer, 1 / (w + 1), total_iters=w),
    CosineAnnealingLR(optimizer, n - w, eta_min)], [w])`` in one piece. No step is wasted at a
    rate of 0 in the beginning; from n on it is `eta_min`.

    Arguments:
        optimizer: whose rates to change; those it has are the peaks.
        warmup_steps: the number of batches on the way up.
        total_steps: the number of batches in the whole training; not needed for ``"constant"``.
        decay: what comes after the rise: ``"constant"``, ``"cosine"`` or ``"linear"``.
        eta_min: the last rate.
        last_epoch: see `LRScheduler`.

    Raises:
        ValueError: for an unknown decay, or one without `total_steps` beyond `warmup_steps`.

    References: Goyal et al., "Accurate, large minibatch SGD", 2017; Loshchilov & Hutter 2017.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.AdamW([cr.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.WarmupLR(optimizer, 3, total_steps=7, decay="cosine")
    >>> rates = []
    >>> for batch in range(8):
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    interval = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int | None = None,
        decay: str = "constant",
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if decay not in _DECAYS:
            raise ValueError(f"no decay {decay!r}; {nearest(decay, _DECAYS)}")
        self.warmup_steps, self.decay = as_count("warmup_steps", warmup_steps), decay
        self.eta_min = float(eta_min)
        self.total_steps = None if total_steps is None else as_count("total_steps", total_steps)
        if decay != "constant" and (total_steps is None or total_steps <= warmup_steps):
            raise ValueError(
                f"WarmupLR with decay={decay!r} needs total_steps, more than the {warmup_steps} of "
                f"the warm-up; got {total_steps}"
            )
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        t, rise, low = self.last_epoch, self.warmup_steps, self.eta_min
        if t < rise:
            return base_lr * (t + 1) / (rise + 1)
        if self.decay == "constant" or self.total_steps is None:
            return base_lr
        share = min(1.0, (t - rise) / (self.total_steps - rise))
        if self.decay == "linear":
            return low + (base_lr - low) * (1 - share)
        return low + (base_lr - low) * (1 + math.cos(math.pi * share)) / 2
