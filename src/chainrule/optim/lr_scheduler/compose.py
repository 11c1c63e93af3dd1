"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from chainrule.optim.lr_scheduler.base import LRScheduler, with_groups
from chainrule.optim.lr_scheduler.plateau import ReduceLROnPlateau
from chainrule.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Composed(LRScheduler):
    """Schedules of one optimizer, whose states are saved together."""

    _unsaved = ("optimizer", "schedulers", "interval")

    def _hold(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        kind = type(self).__name__
        self.optimizer, self.schedulers = with_groups(optimizer), list(schedulers)
        for k, schedule in enumerate(self.schedulers):
            if not isinstance(schedule, LRScheduler):
                raise TypeError(
                    f"{kind} is made of schedules; number {k} is {type(schedule).__name__}"
                )
            if isinstance(schedule, ReduceLROnPlateau):
                raise ValueError(
                    f"{kind} cannot hold ReduceLROnPlateau (number {k}), whose step needs a metric"
                )
            if schedule.optimizer is not optimizer:
                raise ValueError(f"schedule number {k} of {kind} is of another optimizer")
        intervals = {schedule.interval for schedule in self.schedulers}
        if len(intervals) > 1:
            raise ValueError(
                f"{kind} has schedules that go by epoch and by step; count all of them in batches "
                "and set schedule.interval = 'step' on the others"
            )
        self.interval = intervals.pop()

    def _seen(self) -> None:
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Position and options, and the states of its schedules."""
        return {
            **super().state_dict(),
            "schedulers": [schedule.state_dict() for schedule in self.schedulers],
        }

    def _fits(self, state: Mapping[str, Any]) -> None:
        super()._fits(state)
        if len(state["schedulers"]) != len(self.schedulers):
            raise ValueError(
                f"the state is of {len(state['schedulers'])} schedules, this {type(self).__name__} "
                f"has {len(self.schedulers)}"
            )
        for schedule, part in zip(self.schedulers, state["schedulers"], strict=True):
            schedule._fits(part)

    def _take(self, state: Mapping[str, Any]) -> None:
        super()._take({k: v for k, v in state.items() if k != "schedulers"})
        for schedule, part in zip(self.schedulers, state["schedulers"], strict=True):
            schedule._take(part)


class SequentialLR(_Composed):
    """One schedule after the other: a warm-up, then a decay.

    At each milestone the next schedule begins from the base rates, at its own epoch 0.

    Arguments:
        optimizer: the one of all schedules.
        schedulers: the schedules, in their order; made on this optimizer, base rates first.
        milestones: at which epochs the second, third, … begin: one less than there are schedules.
        last_epoch: as of `LRScheduler`, for the count of this schedule.

    Raises:
        ValueError: for schedules of another optimizer, a wrong number of milestones, milestones
            that fall, or `ReduceLROnPlateau`.

    >>> import chainrule as cr
    >>> from chainrule.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])], lr=1.0)
    >>> warmup = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> schedule = SequentialLR(optimizer, [warmup, CosineAnnealingLR(optimizer, 4)], [3])
    >>> rates = []
    >>> for epoch in range(8):
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers:
            raise ValueError("SequentialLR needs at least one schedule")
        self._hold(optimizer, schedulers)
        self.milestones = [int(m) for m in milestones]
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR of {len(self.schedulers)} schedules needs "
                f"{len(self.schedulers) - 1} milestones, got {len(self.milestones)}"
            )
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"milestones must rise, got {self.milestones}")
        self.base_lrs = list(self.schedulers[0].base_lrs)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._first()
        self.last_epoch = last_epoch + 1

    def _first(self) -> None:
        self.last_epoch = 0
        self.schedulers[bisect_right(self.milestones, 0)]._first()
        self._seen()

    def step(self) -> None:
        self.last_epoch += 1
        k = bisect_right(self.milestones, self.last_epoch)
        if k > 0 and self.milestones[k - 1] == self.last_epoch:
            self.schedulers[k].restart()
        else:
            self.schedulers[k].step()
        self._seen()


class ChainedScheduler(_Composed):
    """All schedules at every step, each from the rate the one before it has left.

    Arguments:
        schedulers: the schedules, made on one optimizer.
        optimizer: that optimizer; may be left out.

    Raises:
        ValueError: for no schedules, those of another optimizer, or `ReduceLROnPlateau`.

    >>> import chainrule as cr
    >>> from chainrule.optim.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])], lr=1.0)
    >>> first = ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> schedule = ChainedScheduler([first, ExponentialLR(optimizer, gamma=0.5)])
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler needs at least one schedule")
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        self._hold(optimizer, schedulers)  # type: ignore[arg-type]
        self.base_lrs = list(self.schedulers[0].base_lrs)
        self.last_epoch = self.schedulers[0].last_epoch
        self._seen()

    def _first(self) -> None:
        self.last_epoch = 0
        for schedule in self.schedulers:
            schedule._first()
        self._seen()

    def step(self) -> None:
        self.last_epoch += 1
        for schedule in self.schedulers:
            schedule.step()
        self._seen()
