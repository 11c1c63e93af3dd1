"""Half cosines, once or with restarts."""

from __future__ import annotations

import math

from chainrule.optim.lr_scheduler.base import LRScheduler, as_count
from chainrule.optim.optimizer import Group, Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the base rate to `eta_min` in `T_max` steps (and back, if it goes on).

    ``lr_t = eta_min + (base_lr - eta_min) (1 + cos(π t / T_max)) / 2``, computed from the rate
    before, so that schedules compose.

    Arguments:
        optimizer: whose rates to change.
        T_max: the number of epochs down.
        eta_min: the least rate.
        last_epoch: see `LRScheduler`.

    Reference: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017
    (without restarts).
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = as_count("T_max", T_max), float(eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        t, period, low = self.last_epoch, self.T_max, self.eta_min
        lr: float = group["lr"]
        if self._begins:
            return lr
        if (t - 1 - period) % (2 * period) == 0:  # the step up from the bottom: no ratio there
            return lr + (base_lr - low) * (1 - math.cos(math.pi / period)) / 2
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return ratio * (lr - low) + low


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the base rate to `eta_min`, again and again.

    ``lr = eta_min + (base_lr - eta_min) (1 + cos(π T_cur / T_i)) / 2``, where T_cur epochs have
    passed since the last restart, and T_i are between this one and the next.

    Arguments:
        optimizer: whose rates to change.
        T_0: the number of epochs until the first restart.
        T_mult: how many times as long each period is as the one before, a whole number.
        eta_min: the least rate.
        last_epoch: see `LRScheduler`.

    Reference: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=2)
    >>> rates = []
    >>> for epoch in range(7):
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0, self.T_mult = as_count("T_0", T_0), as_count("T_mult", T_mult)
        self.eta_min = float(eta_min)
        #: how many epochs were made, with the part of the present one that was told to `step`
        self.position: float = last_epoch + 1
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to `epoch`, which may be in the middle of one: after each batch,
        ``step(epoch + batch / batches)`` follows the curve.
        """
        if epoch is not None and not 0 <= epoch < math.inf:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        self.position = self.position + 1 if epoch is None else epoch
        self.last_epoch = math.floor(self.position)
        self._set()

    def _first(self) -> None:
        self.position = 0
        super()._first()

    def rate(self, group: Group, base_lr: float) -> float:
        since, period = self.position, self.T_0
        if self.T_mult == 1:
            since %= period
        while since >= period:
            since -= period
            period *= self.T_mult
        low = self.eta_min
        return low + (base_lr - low) * (1 + math.cos(math.pi * since / period)) / 2
