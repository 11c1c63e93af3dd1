"""`LRScheduler`: what all schedules share, and how their arguments are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer

__all__ = ["LRScheduler", "as_count", "per_group", "with_groups"]


class LRScheduler:
    """The base of all schedules. A subclass gives ``rate(group, base_lr)``.

    Arguments:
        optimizer: its groups' rates when the schedule begins are the base rates.
        last_epoch: the number of the last epoch made, where a training goes on whose optimizer's
            state was loaded; -1 begins anew. `load_state_dict` does the same with less to know.

    Attributes:
        last_epoch: how many steps were made.
        interval: ``"epoch"`` or ``"step"``: when the Trainer calls `step`.

    Raises:
        TypeError, ValueError: for what is no optimizer, or one without parameters.
        ValueError: for a `last_epoch` without an ``initial_lr`` in the groups.
    """

    interval: str = "epoch"
    #: What `state_dict` leaves out.
    _unsaved: tuple[str, ...] = ("optimizer",)
    #: The rate is asked for as the schedule begins, not as it goes on.
    _begins = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = with_groups(optimizer)
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"group {k} of the optimizer has no initial_lr, so no schedule was at epoch "
                    f"{last_epoch}: load the optimizer's state first, or leave last_epoch out"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        self._begin()

    def rate(self, group: Group, base_lr: float) -> float:
        """The rate of a group at ``last_epoch``, which is 0 when the schedule begins."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by one epoch (or batch)."""
        self.last_epoch += 1
        self._set()

    def restart(self) -> None:
        """Back to the base rates and epoch 0, as `SequentialLR` does when its turn comes."""
        # a group added later begins where it is
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=False):
            group["lr"] = base
        self._first()

    def _first(self) -> None:
        """Epoch 0 from the present rates."""
        self.last_epoch = 0
        self._begin()

    def _begin(self) -> None:
        self._begins = True
        try:
            self._set()
        finally:
            del self._begins

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

    def _of_group(self, group: Group, values: list[Any]) -> Any:
        """The value of a group; the last one's for a group that was added later."""
        index = next(i for i, g in enumerate(self.optimizer.param_groups) if g is group)
        return values[min(index, len(values) - 1)]

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
        """Go on from a saved position; the optimizer's rates are set to those of then.

        Raises:
            ValueError: if it is the state of another schedule or of other groups; then nothing
                changes.
        """
        self._fits(state)
        self._take(state)
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def _fits(self, state: Mapping[str, Any]) -> None:
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

    def _take(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update({k: list(v) if isinstance(v, list) else v for k, v in state.items()})


def with_groups(value: Any) -> Optimizer:
    """The optimizer, or an error if it is none or has no parameters yet."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"a schedule changes an optimizer's rates; got {type(value).__name__}")
    if not value.param_groups:
        raise ValueError("a schedule needs an optimizer with parameters; bind it first")
    return value


def as_count(name: str, value: Any) -> int:
    """A whole number, 1 or more, or an error."""
    if int(value) != value or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more; got {value}")
    return int(value)


def per_group(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """One value per group, from one for all or a list of them."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name} must have one value per group: {groups}, got {len(value)}")
    return list(value)
