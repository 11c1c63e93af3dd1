"""A schedule from whatever a person may name it by."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from chainrule.array.errors import nearest
from chainrule.optim.lr_scheduler.base import LRScheduler, with_groups
from chainrule.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from chainrule.optim.lr_scheduler.cycle import OneCycleLR
from chainrule.optim.lr_scheduler.factor import (
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from chainrule.optim.lr_scheduler.plateau import ReduceLROnPlateau
from chainrule.optim.lr_scheduler.warmup import WarmupLR
from chainrule.optim.optimizer import Optimizer

__all__ = ["check", "get"]

#: name -> what makes it from an optimizer
_BY_NAME: dict[str, Callable[..., LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    "cosine_restarts": CosineAnnealingWarmRestarts,
    "exponential": ExponentialLR,
    "linear": LinearLR,
    "multi_step": MultiStepLR,
    "one_cycle": OneCycleLR,
    "plateau": ReduceLROnPlateau,
    "polynomial": PolynomialLR,
    "step": StepLR,
    "warmup": functools.partial(WarmupLR, decay="constant"),
    "warmup_cosine": functools.partial(WarmupLR, decay="cosine"),
    "warmup_linear": functools.partial(WarmupLR, decay="linear"),
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
        scheduler: ``"cosine"``, ``"cosine_restarts"``, ``"exponential"``, ``"linear"``,
            ``"multi_step"``, ``"one_cycle"``, ``"plateau"``, ``"polynomial"``, ``"step"``,
            ``"warmup"``, ``"warmup_cosine"`` or ``"warmup_linear"``; a schedule's class or
            ``functools.partial`` of it without the optimizer; any function from an optimizer to a
            schedule; or a schedule, which is returned as it is.
        optimizer: whose rates to change.
        total_steps, epochs, steps_per_epoch: how long the training is; what is not given follows
            from the other two where it can.
        options: arguments of the schedule.

    What is not among the options follows from the length: ``"cosine"`` and ``"polynomial"`` come to
    their end with the last epoch, ``"cosine_restarts"`` begins anew after each third of the epochs,
    ``"step"`` divides by ten there and ``"multi_step"`` after half and three quarters of them,
    ``"exponential"`` falls to a hundredth, ``"one_cycle"`` takes the optimizer's rate as its peak
    and cycles the momentum where there is one, and the warm-ups take a tenth of all batches. A name
    also begins anew: the rates an earlier schedule has changed go back to those before it.

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
    for group in with_groups(optimizer).param_groups:
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
        if not {"momentum", "betas"} & set(optimizer.defaults):
            found["cycle_momentum"] = False
        return found
    if kind is WarmupLR:
        return _warmup(total_steps, given)
    key = {
        CosineAnnealingLR: "T_max",
        CosineAnnealingWarmRestarts: "T_0",
        ExponentialLR: "gamma",
        MultiStepLR: "milestones",
        PolynomialLR: "total_iters",
        StepLR: "step_size",
    }.get(kind)
    if key is None or key in given:
        return {}
    if epochs is None:
        raise ValueError(f"{kind.__name__} needs {key}, or the number of epochs")
    length = max(1, int(epochs))
    third = -(-length // 3)
    return {
        key: {
            "T_max": length,
            "T_0": third,
            "gamma": 0.01 ** (1 / length),
            "milestones": [-(-length // 2), -(-3 * length // 4)],
            "total_iters": length,
            "step_size": third,
        }[key]
    }


def _warmup(total_steps: int | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """A tenth of all batches for the rise, and the rest for what comes after it."""
    total = given.get("total_steps", total_steps)
    if total is None:
        if "warmup_steps" in given and given.get("decay", "constant") == "constant":
            return {}
        raise ValueError(
            "WarmupLR needs warmup_steps and total_steps, or epochs and steps_per_epoch"
        )
    # one batch at least for each of the two, where there are two
    rise = {} if "warmup_steps" in given else {"warmup_steps": max(1, int(total) // 10)}
    return {"total_steps": max(2, int(total)), **rise}
