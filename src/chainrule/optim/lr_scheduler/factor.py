"""Schedules that multiply the rate: by a function, at given epochs, along a line or a power."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from chainrule.optim.lr_scheduler.base import LRScheduler, as_count, per_group, with_groups
from chainrule.optim.optimizer import Group, Optimizer

__all__ = [
    "ConstantLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]


class LambdaLR(LRScheduler):
    """``lr = base_lr * lr_lambda(epoch)``.

    Arguments:
        optimizer: whose rates to change.
        lr_lambda: a function of the number of steps made, or one per group. It is not saved.
        last_epoch: see `LRScheduler`.
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = per_group("lr_lambda", lr_lambda, with_groups(optimizer))
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        return base_lr * float(self._of_group(group, self.lr_lambdas)(self.last_epoch))


class MultiplicativeLR(LRScheduler):
    """Multiply by ``lr_lambda(epoch)`` at every epoch, the first excepted.

    Arguments:
        optimizer: whose rates to change.
        lr_lambda: a function of the number of steps made, or one per group. It is not saved.
        last_epoch: see `LRScheduler`.
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = per_group("lr_lambda", lr_lambda, with_groups(optimizer))
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        if self._begins:
            return lr
        return lr * float(self._of_group(group, self.lr_lambdas)(self.last_epoch))


class StepLR(LRScheduler):
    """Multiply by `gamma` every `step_size` epochs.

    Arguments:
        optimizer: whose rates to change.
        step_size: the number of epochs between two falls.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = as_count("step_size", step_size), float(gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return float(group["lr"] * self.gamma if due else group["lr"])


class MultiStepLR(LRScheduler):
    """Multiply by `gamma` at each of the epochs `milestones` (twice where one comes twice).

    Arguments:
        optimizer: whose rates to change.
        milestones: the epochs, in any order.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(int(m) for m in milestones), float(gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        times = self.milestones.count(self.last_epoch)
        return float(group["lr"] * self.gamma**times if times else group["lr"])


class ConstantLR(LRScheduler):
    """`factor` times the rate for `total_iters` epochs, then the rate itself.

    Arguments:
        optimizer: whose rates to change.
        factor: in (0, 1].
        total_iters: the number of epochs.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"factor must be in (0, 1], got {factor}")
        self.factor, self.total_iters = float(factor), as_count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1.0 / self.factor) if self.last_epoch == self.total_iters else lr


class ExponentialLR(LRScheduler):
    """Multiply by `gamma` every epoch.

    Arguments:
        optimizer: whose rates to change.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = float(gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        return float(group["lr"] if self._begins else group["lr"] * self.gamma)


class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` times the rate in `total_iters` equal steps: a warm-up.

    `WarmupLR` is one with what comes after it.

    Arguments:
        optimizer: whose rates to change.
        start_factor: in (0, 1].
        end_factor: in [0, 1].
        total_iters: the number of steps; constant afterwards.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor must be in [0, 1], got {end_factor}")
        self.start_factor, self.end_factor = float(start_factor), float(end_factor)
        self.total_iters = as_count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._begins or self.last_epoch > self.total_iters:
            return lr
        # the ratio of two neighbours on the line, so that schedules compose
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1.0 + rise / before)


class PolynomialLR(LRScheduler):
    """``base_lr * (1 - epoch / total_iters) ** power``, and 0 from `total_iters` on.

    Computed from the rate before, so that schedules compose.

    Arguments:
        optimizer: whose rates to change.
        total_iters: the number of epochs.
        power: 1 is a line.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        if not power >= 0:
            raise ValueError(f"power must be 0 or more, got {power}")
        self.total_iters, self.power = as_count("total_iters", total_iters), float(power)
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        t, length = self.last_epoch, self.total_iters
        if self._begins or t > length:
            return lr
        return float(lr * ((1.0 - t / length) / (1.0 - (t - 1) / length)) ** self.power)
