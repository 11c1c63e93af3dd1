"""Learning-rate schedules, with PyTorch's names, arguments and sequences.

A schedule changes ``lr`` in the optimizer's groups. ``scheduler.step()`` is called after the
optimizer's step: once per epoch, or per batch where ``scheduler.interval`` is ``"step"``.
Schedules multiply the present rate where PyTorch's do, so that several of them, and changes by
hand, compose.

>>> import chainrule as cr
>>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])], lr=1.0)
>>> scheduler = cr.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> rates = []
>>> for epoch in range(5):
...     rates += scheduler.get_last_lr()
...     scheduler.step()
>>> rates
[1.0, 1.0, 0.5, 0.5, 0.25]
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chainrule.array.errors import nearest
from chainrule.optim.optimizer import Group, Optimizer

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "StepLR",
    "check",
    "get",
]


class LRScheduler:
    """The base of all schedules. A subclass gives ``rate(group, base_lr)``.

    Arguments:
        optimizer: its groups' rates when the schedule begins are the base rates.

    Attributes:
        last_epoch: how many steps were made.
        interval: ``"epoch"`` or ``"step"``: when the Trainer calls `step`.
    """

    interval: str = "epoch"
    #: What `state_dict` leaves out.
    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = _optimizer(optimizer)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = 0
        self._set()

    def rate(self, group: Group, base_lr: float) -> float:
        """The rate of a group at ``last_epoch``, which is 0 when the schedule begins."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by one epoch (or batch)."""
        self.last_epoch += 1
        self._set()

    def _set(self) -> None:
        groups = self.optimizer.param_groups
        # a group added later has no base rate yet
        for group in groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        rates = [self.rate(group, base) for group, base in zip(groups, self.base_lrs, strict=True)]
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = rates

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Position and options, as JSON can hold them."""
        return {
            k: list(v) if isinstance(v, list) else v
            for k, v in self.__dict__.items()
            if k not in self._unsaved
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved position; the optimizer's rates are set to those of then."""
        own = self.state_dict()
        if set(state) != set(own):
            raise ValueError(
                f"this is no state of {type(self).__name__}: it has {sorted(state)}, "
                f"not {sorted(own)}"
            )
        groups = self.optimizer.param_groups
        if len(state["_last_lr"]) != len(groups):
            raise ValueError(
                f"the state is of {len(state['_last_lr'])} groups; the optimizer has {len(groups)}"
            )
        self.__dict__.update({k: list(v) if isinstance(v, list) else v for k, v in state.items()})
        for group, lr in zip(groups, self._last_lr, strict=True):
            group["lr"] = lr


class LambdaLR(LRScheduler):
    """``lr = base_lr * lr_lambda(epoch)``.

    Arguments:
        optimizer: whose rates to change.
        lr_lambda: a function of the number of steps made, or one per group. It is not saved.
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        self.lr_lambdas = _per_group("lr_lambda", lr_lambda, _optimizer(optimizer))
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        index = next(i for i, g in enumerate(self.optimizer.param_groups) if g is group)
        return base_lr * float(self.lr_lambdas[index](self.last_epoch))


class StepLR(LRScheduler):
    """Multiply by `gamma` every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _count("step_size", step_size), float(gamma)
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return float(group["lr"] * self.gamma if due else group["lr"])


class MultiStepLR(LRScheduler):
    """Multiply by `gamma` at each of the epochs `milestones` (twice where one comes twice)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(int(m) for m in milestones), float(gamma)
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        times = self.milestones.count(self.last_epoch)
        return float(group["lr"] * self.gamma**times if times else group["lr"])


class ExponentialLR(LRScheduler):
    """Multiply by `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = float(gamma)
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        return float(group["lr"] * self.gamma if self.last_epoch else group["lr"])


class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` times the rate in `total_iters` equal steps: a warm-up.

    Arguments:
        optimizer: whose rates to change.
        start_factor: in (0, 1].
        end_factor: in [0, 1].
        total_iters: the number of steps; constant afterwards.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor must be in [0, 1], got {end_factor}")
        self.start_factor, self.end_factor = float(start_factor), float(end_factor)
        self.total_iters = _count("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        lr: float = group["lr"]
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        # the ratio of two neighbours on the line, so that schedules compose
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1.0 + rise / before)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the base rate to `eta_min` in `T_max` steps (and back, if it goes on).

    ``lr_t = eta_min + (base_lr - eta_min) (1 + cos(π t / T_max)) / 2``, computed from the rate
    before, so that schedules compose.

    Reference: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017
    (without restarts).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _count("T_max", T_max), float(eta_min)
        super().__init__(optimizer)

    def rate(self, group: Group, base_lr: float) -> float:
        t, period, low = self.last_epoch, self.T_max, self.eta_min
        lr: float = group["lr"]
        if t == 0:
            return lr
        if (t - 1 - period) % (2 * period) == 0:  # the step up from the bottom: no ratio there
            return lr + (base_lr - low) * (1 - math.cos(math.pi / period)) / 2
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return ratio * (lr - low) + low


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
    ) -> None:
        groups = _optimizer(optimizer).param_groups
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = _count("epochs", epochs) * _count("steps_per_epoch", steps_per_epoch)
        self.total_steps = _count("total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.pct_start, self.three_phase = float(pct_start), bool(three_phase)
        self.anneal_strategy = anneal_strategy
        for group, peak in zip(groups, _per_group("max_lr", max_lr, optimizer), strict=True):
            group["initial_lr"] = peak / div_factor
            group["max_lr"] = peak
            group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = bool(cycle_momentum)
        if self.cycle_momentum:
            if not {"momentum", "betas"} & set(optimizer.defaults):
                raise ValueError(
                    f"{type(optimizer).__name__} has neither momentum nor betas; "
                    "pass cycle_momentum=False"
                )
            lows = _per_group("base_momentum", base_momentum, optimizer)
            highs = _per_group("max_momentum", max_momentum, optimizer)
            for group, low, high in zip(groups, lows, highs, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer)

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
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
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
        self.min_lrs = _per_group("min_lr", min_lr, _optimizer(optimizer))
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
        index = next(i for i, g in enumerate(self.optimizer.param_groups) if g is group)
        lower = max(lr * self.factor, self.min_lrs[min(index, len(self.min_lrs) - 1)])
        return lower if lr - lower > self.eps else lr

    def _better(self, value: float) -> bool:
        down = self.mode == "min"
        best = (math.inf if down else -math.inf) if self.best is None else self.best
        if self.threshold_mode == "rel":
            bound = best * (1.0 - self.threshold if down else self.threshold + 1.0)
        else:
            bound = best - self.threshold if down else best + self.threshold
        return value < bound if down else value > bound


def _optimizer(value: Any) -> Optimizer:
    if not isinstance(value, Optimizer):
        raise TypeError(f"a schedule changes an optimizer's rates; got {type(value).__name__}")
    if not value.param_groups:
        raise ValueError("a schedule needs an optimizer with parameters; bind it first")
    return value


def _count(name: str, value: Any) -> int:
    if int(value) != value or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more; got {value}")
    return int(value)


def _per_group(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name} must have one value per group: {groups}, got {len(value)}")
    return list(value)


_BY_NAME: dict[str, type[LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    "exponential": ExponentialLR,
    "linear": LinearLR,
    "one_cycle": OneCycleLR,
    "plateau": ReduceLROnPlateau,
    "step": StepLR,
}


def check(name: str) -> None:
    """Raise ValueError, with the nearest names, if there is no schedule of this name."""
    if name not in _BY_NAME:
        raise ValueError(f"no schedule {name!r}; {nearest(name, _BY_NAME)}")


def get(
    scheduler: str | LRScheduler | Callable[..., Any],
    optimizer: Optimizer,
    *,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    **options: Any,
) -> LRScheduler:
    """A schedule by name, for a training of known length.

    Arguments:
        scheduler: ``"cosine"``, ``"exponential"``, ``"linear"``, ``"one_cycle"``, ``"plateau"`` or
            ``"step"``; a schedule's class or ``functools.partial`` of it without the optimizer;
            any function from an optimizer to a schedule; or a schedule, which is returned as it is.
        optimizer: whose rates to change.
        total_steps, epochs, steps_per_epoch: how long the training is; what is not given follows
            from the other two where it can.
        options: arguments of the schedule.

    What is not among the options follows from the length: ``"cosine"`` comes to its end with the
    last epoch, ``"step"`` divides by ten after each third of the epochs, ``"one_cycle"`` takes the
    optimizer's rate as its peak, ``"exponential"`` falls to a hundredth. A name also begins anew:
    the rates an earlier schedule has changed go back to those before it.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.AdamW([cr.nn.Parameter([0.0])], lr=0.01)
    >>> cr.optim.lr_scheduler.get("cosine", optimizer, epochs=20).T_max
    20
    """
    if isinstance(scheduler, LRScheduler):
        if options:
            raise TypeError("a schedule that is built already takes no options")
        return scheduler
    if isinstance(scheduler, str):
        check(scheduler)
        scheduler = _BY_NAME[scheduler]
        _restart(optimizer)
    if total_steps is None and epochs is not None and steps_per_epoch is not None:
        total_steps = epochs * steps_per_epoch
    if epochs is None and total_steps is not None and steps_per_epoch is not None:
        epochs = math.ceil(total_steps / steps_per_epoch)
    if isinstance(scheduler, functools.partial):
        kind, options = scheduler.func, {**scheduler.keywords, **options}
        arguments = scheduler.args
    else:
        kind, arguments = scheduler, ()
    if not arguments:
        options = {**_from_length(kind, optimizer, total_steps, epochs, options), **options}
    made = kind(optimizer, *arguments, **options)
    if not isinstance(made, LRScheduler):
        raise TypeError(f"a schedule was expected from {kind!r}, got {type(made).__name__}")
    return made


def _restart(optimizer: Optimizer) -> None:
    """The rates from before an earlier schedule, whose traces go."""
    for group in _optimizer(optimizer).param_groups:
        base = group.pop("initial_lr", group["lr"])
        group["lr"] = group.pop("max_lr", base)


def _from_length(
    kind: Any,
    optimizer: Optimizer,
    total_steps: int | None,
    epochs: int | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments that follow from the length of the training."""
    if kind is OneCycleLR:
        found: dict[str, Any] = {"max_lr": [group["lr"] for group in optimizer.param_groups]}
        if "epochs" not in given:
            found["total_steps"] = total_steps
        return found
    key = {CosineAnnealingLR: "T_max", StepLR: "step_size", ExponentialLR: "gamma"}.get(kind)
    if key is None or key in given:
        return {}
    if epochs is None:
        raise ValueError(f"{kind.__name__} needs {key}, or the number of epochs")
    length = max(1, int(epochs))
    return {
        key: {"T_max": length, "step_size": -(-length // 3), "gamma": 0.01 ** (1 / length)}[key]
    }
