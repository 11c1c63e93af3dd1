"""Cycles of rate and momentum: once over the whole training, or again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from chainrule.array.errors import nearest
from chainrule.optim.lr_scheduler.base import LRScheduler, as_count, per_group, with_groups
from chainrule.optim.optimizer import Group, Optimizer

__all__ = ["CyclicLR", "OneCycleLR"]


class CyclicLR(LRScheduler):
    """Up from `base_lr` to `max_lr` and down again, in straight lines, again and again.

    The momentum (``momentum`` or β1) goes the other way. `step` is called after every batch.

    Arguments:
        optimizer: whose rates to change; its own ``lr`` is not used.
        base_lr, max_lr: the least and the largest rate, or one per group.
        step_size_up: the number of batches on the way up.
        step_size_down: on the way down; as many as up by default.
        mode: ``"triangular"``, all cycles as high; ``"triangular2"``, each half as high as the one
            before; ``"exp_range"``, the height times ``gamma ** batches``.
        gamma: for ``"exp_range"``.
        scale_fn: a function of its own for the height, in place of `mode`. It is not saved.
        scale_mode: whether `scale_fn` is given the number of the cycle, from 1 (``"cycle"``), or of
            the batch (``"iterations"``).
        cycle_momentum: False leaves the momentum alone.
        base_momentum, max_momentum: its least and largest value, or one per group.
        last_epoch: see `LRScheduler`.

    Reference: Smith, "Cyclical learning rates for training neural networks", 2017.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])])
    >>> schedule = cr.optim.lr_scheduler.CyclicLR(
    ...     optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2, mode="triangular2"
    ... )
    >>> rates = []
    >>> for batch in range(8):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """

    interval = "step"
    _unsaved = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = with_groups(optimizer).param_groups
        modes = ("triangular", "triangular2", "exp_range")
        if mode not in modes:
            raise ValueError(f"no mode {mode!r}; {nearest(mode, modes)}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        up = as_count("step_size_up", step_size_up)
        down = up if step_size_down is None else as_count("step_size_down", step_size_down)
        self.total_size, self.step_ratio = float(up + down), up / float(up + down)
        self.mode, self.gamma, self.scale_fn = mode, float(gamma), scale_fn
        if scale_fn is None:
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = scale_mode
        lows = per_group("base_lr", base_lr, optimizer)
        self.max_lrs = per_group("max_lr", max_lr, optimizer)
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentums = per_group("base_momentum", base_momentum, optimizer)
        self.max_momentums = per_group("max_momentum", max_momentum, optimizer)
        if self.cycle_momentum:
            _needs_momentum(optimizer)
        if last_epoch == -1:
            for group, low in zip(groups, lows, strict=True):
                group["lr"] = group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        if x <= self.step_ratio:
            height = x / self.step_ratio
        else:
            height = (x - 1) / (self.step_ratio - 1)
        scale = self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            low = self._of_group(group, self.base_momentums)
            high = self._of_group(group, self.max_momentums)
            _set_momentum(group, high - (high - low) * height * scale)
        return float(base_lr + (self._of_group(group, self.max_lrs) - base_lr) * height * scale)

    def _scale(self, x: int) -> float:
        if self.scale_fn is not None:
            return float(self.scale_fn(x))
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        return 1.0 if self.mode == "triangular" else float(self.gamma**x)


class OneCycleLR(LRScheduler):
    """Up from a small rate to `max_lr`, then down to nearly nothing, over the whole training.

    The momentum (``momentum`` or β1) goes the other way. `step` is called after every batch.

    Arguments:
        optimizer: whose rates to change; its own ``lr`` is not used.
        max_lr: the largest rate, or one per group.
        total_steps: the number of batches in the whole training; or
        epochs, steps_per_epoch: whose product it is.
        pct_start: the share of steps spent going up, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: False leaves the momentum alone.
        base_momentum, max_momentum: its least and largest value, or one per group.
        div_factor: the first rate is ``max_lr / div_factor``.
        final_div_factor: the last rate is the first divided by this.
        three_phase: go down to the first rate as fast as up, and then to the last.
        last_epoch: see `LRScheduler`.

    Raises:
        ValueError: for steps beyond `total_steps`.

    Reference: Smith & Topin, "Super-convergence", 2018.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.AdamW([cr.nn.Parameter([0.0])])
    >>> scheduler = cr.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> rates = scheduler.get_last_lr()
    >>> for _ in range(9):
    ...     scheduler.step()
    ...     rates += scheduler.get_last_lr()
    >>> [round(r, 3) for r in rates]
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0]
    """

    interval = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = with_groups(optimizer).param_groups
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = as_count("epochs", epochs) * as_count("steps_per_epoch", steps_per_epoch)
        self.total_steps = as_count("total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.pct_start, self.three_phase = float(pct_start), bool(three_phase)
        self.anneal_strategy = anneal_strategy
        peaks = per_group("max_lr", max_lr, optimizer)
        self.cycle_momentum = bool(cycle_momentum)
        lows = per_group("base_momentum", base_momentum, optimizer)
        highs = per_group("max_momentum", max_momentum, optimizer)
        if self.cycle_momentum:
            _needs_momentum(optimizer)
        if last_epoch == -1:
            for group, peak, low, high in zip(groups, peaks, lows, highs, strict=True):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if self.cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch)

    def rate(self, group: Group, base_lr: float) -> float:
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR was made for {self.total_steps} steps; this is step {t}. "
                "Count the batches of the whole training"
            )
        phases, start = self._phases(), 0.0
        while len(phases) > 1 and t > phases[0][0]:
            start = phases.pop(0)[0]
        end, lrs, momenta = phases[0]
        share = (t - start) / (end - start) if end != start else 1.0
        if self.cycle_momentum:
            momentum = self._between(group[momenta[0]], group[momenta[1]], share)
            _set_momentum(group, momentum)
        return self._between(group[lrs[0]], group[lrs[1]], share)

    def _phases(self) -> list[tuple[float, tuple[str, str], tuple[str, str]]]:
        """(last step, from and to which rate, from and to which momentum) of each phase."""
        last = self.total_steps - 1
        rise = self.pct_start * self.total_steps
        up = (rise - 1, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
        if not self.three_phase:
            return [up, (last, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))]
        return [
            up,
            (2 * rise - 2, ("max_lr", "initial_lr"), ("base_momentum", "max_momentum")),
            (last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")),
        ]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _needs_momentum(optimizer: Optimizer) -> None:
    if not {"momentum", "betas"} & set(optimizer.defaults):
        raise ValueError(
            f"{type(optimizer).__name__} has neither momentum nor betas; pass cycle_momentum=False"
        )


def _set_momentum(group: Group, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
