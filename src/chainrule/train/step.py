"""What one update does: forward, loss, penalties, backward, clipping, update, projections."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import optim
from chainrule.array.errors import DataError, NonFiniteError
from chainrule.array.random import default_stream
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.diagnose.nonfinite import first_nonfinite
from chainrule.nn.module import Module
from chainrule.nn.regularizers import Regularizer
from chainrule.train.losses import Loss
from chainrule.train.running import Running

__all__ = ["Steps", "needs_closure"]


def needs_closure(optimizer: Any) -> bool:
    """Whether an optimizer evaluates the loss itself, as L-BFGS does.

    >>> from chainrule.optim import SGD
    >>> needs_closure(SGD())
    False
    """
    kind: Any = type(optimizer)
    return _needs_closure(kind)


@functools.cache
def _needs_closure(kind: Any) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


class Steps:
    """The steps of a `chainrule.Trainer`, which adds the epochs around them."""

    model: Module
    loss: Loss
    optimizer: Any
    regularizers: list[Callable[[Module], Any]]
    clip_norm: float | None
    clip_value: float | None
    accumulate: int
    epoch: int
    step: int
    captured: Callable[..., Any]
    _running: Running
    #: the batch a step is on, for its errors
    _place: Any = None

    def _check_optimizer(self) -> None:
        """Refuse what an optimizer that evaluates the loss itself cannot do."""
        kind = type(self.optimizer)
        if not needs_closure(self.optimizer):
            return
        if self.accumulate > 1:
            raise ValueError(
                f"{kind.__name__} evaluates the loss of a batch several times per update, so "
                "batches cannot be accumulated: leave accumulate at 1 and make batch_size larger "
                "(all rows, if they fit)"
            )
        if self.clip_norm is not None or self.clip_value is not None:
            raise ValueError(
                f"{kind.__name__} searches along a line with the gradient as it is; leave out "
                "clip_norm and clip_value"
            )

    def _train_on(self, batch: Any, weight: Any) -> tuple[float, float]:
        """Update on a batch, as a replay of the step where it can be captured."""
        total_weight = float(len(batch.x)) if weight is None else float(weight.sum())
        if total_weight == 0:  # nobody counts
            return 0.0, 0.0
        self._place = batch
        if needs_closure(self.optimizer):
            loss = self._search(batch, weight)
        else:
            loss, self._running.output = self.captured(batch.x, batch.y, weight, *self._setting())
        self._place = None
        return float(loss), total_weight

    def _setting(self) -> tuple[Any, ...]:
        """What a step reads of this trainer and a callback may change."""
        clip = (self.clip_norm, self.clip_value)
        loss = (self.loss, self.loss.source)
        inside = [r.setting() for r in self.regularizers if isinstance(r, Regularizer)]
        return (self.model, self.optimizer, *loss, *clip, *self.regularizers, *inside)

    def _step(self, x: Any, y: Any, weight: Any, *setting: Any) -> tuple[Any, Any]:
        """One step of training: forward, loss, penalties, backward, clipping, update, projections.

        `setting` is what `_setting` gives: with another one the step is captured anew.
        """
        loss, output = self._loss_of(x, y, weight)
        self._penalized(loss).backward()
        self._clip()
        self.optimizer.step()
        self._after_update()
        self.optimizer.zero_grad()
        return loss._data, output

    def _search(self, batch: Any, weight: Any) -> Any:
        """An update by an optimizer that evaluates the loss several times; its first value."""
        first: list[Any] = []
        stream = default_stream()
        before = stream.state()

        def closure() -> Any:
            stream.load_state(before)  # one function for all points: the same units drop out
            self.optimizer.zero_grad()
            # further points may lie where the loss is infinite: the search turns back by itself
            loss, output = self._loss_of(batch.x, batch.y, weight, checked=not first)
            total = self._penalized(loss, checked=not first)
            total.backward()
            if not first:
                first.append(loss._data)
                self._running.output = output
            return total

        self.optimizer.step(closure)
        self._after_update()
        self.optimizer.zero_grad()
        return first[0]

    def _gradient(self, batch: Any, weight: Any) -> tuple[float, float]:
        """Add the gradient of a batch; its loss and total weight."""
        total_weight = float(len(batch.x)) if weight is None else float(weight.sum())
        if total_weight == 0:  # nobody counts
            return 0.0, 0.0
        self._place = batch
        loss, self._running.output = self._loss_of(batch.x, batch.y, weight)
        total = self._penalized(loss)
        total.backward(np.asarray(total_weight, total.dtype))
        self._place = None
        return loss._data.item(), total_weight

    def _loss_of(self, x: Any, y: Any, weight: Any, checked: bool = True) -> tuple[Any, Any]:
        """The loss, which is finite where `checked`, and the output of the model."""
        output, mean, shown = self.loss.run(self.model, x)
        if y is None:
            raise DataError(
                "training needs targets: batches must be (x, y) or (x, y, weight); the arrays of "
                "one data set are given as a tuple, (x, y), not as a list"
            )
        if not isinstance(output, Variable):
            raise TypeError(
                f"the model returned {type(output).__name__}, not a tensor: nothing can be learned "
                "through it; compute with tensors in forward, without .numpy()"
            )
        loss = mean(output, y, weight)
        if state.recorder is not None:
            state.recorder.finite(loss._data)
        elif checked and not math.isfinite(loss._data.item()):
            raise NonFiniteError(self._explain(loss._data.item(), self._place))
        return loss, shown

    def _penalized(self, loss: Any, checked: bool = True) -> Any:
        """The loss with all penalties, which is finite where `checked`."""
        if not self.regularizers:
            return loss
        total = loss
        for r in self.regularizers:
            total = total + _one_number(r, r(self.model))
        if state.recorder is not None:
            state.recorder.finite(total._data)
        elif checked and not math.isfinite(total._data.item()):
            raise NonFiniteError(
                f"the penalties became {total._data.item()} at step {self.step + 1} (epoch "
                f"{self.epoch + 1}, batch {self._place.index}) while the loss was finite; the "
                "parameters are those of the step before. Try a smaller learning rate, or a "
                f"smaller strength of {', '.join(map(_name, self.regularizers))}"
            )
        return total

    def _after_update(self) -> None:
        """What regularizers do to the weights themselves."""
        for r in self.regularizers:
            if isinstance(r, Regularizer):
                r.after_update(self.model, self._rate)

    def _rate(self, parameter: Any) -> float:
        """The learning rate of a parameter."""
        groups = self.optimizer.param_groups
        own = next((g for g in groups if any(parameter is p for p in g["params"])), groups[0])
        return float(own["lr"])

    def _explain(self, value: float, batch: Any) -> str:
        where = first_nonfinite(self.model, batch.x)
        lr = self.optimizer.param_groups[0]["lr"]
        largest = float(np.max(np.abs(batch.x), initial=0))
        if not math.isfinite(largest):
            return (
                f"the loss became {value} at step {self.step + 1} (epoch {self.epoch + 1}, batch "
                f"{batch.index}), because {where}. Remove or impute such samples where the batches "
                "are made"
            )
        first = (
            f"First, {where}. "
            if where
            else "Every layer's output is finite: it arose in the loss itself. "
        )
        return (
            f"the loss became {value} at step {self.step + 1} (epoch {self.epoch + 1}, batch "
            f"{batch.index}). {first}"
            f"Try a smaller learning rate (now {lr:g}), clip_norm=1.0, or inputs scaled to about 1 "
            "(the largest here "
            f"is {largest:g})"
        )

    def _update(self, weight: float, batch: Any) -> None:
        """One step of the optimizer on the gradient added up so far."""
        optimizer = self.optimizer
        if self.accumulate > 1 and weight:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        g = p._grad._data if isinstance(p._grad, Variable) else p._grad
                        np.divide(g, weight, out=g)
        self._place = batch
        self._clip()
        self._place = None
        optimizer.step()
        self._after_update()
        optimizer.zero_grad()

    def _clip(self) -> None:
        """Clip the gradients as asked for; their norm is finite, or this is the last step."""
        if self.clip_value is not None:
            optim.clip_grad_value(self._trained(), self.clip_value)
        if self.clip_norm is None:
            return
        norm = optim.clip_grad_norm(self._trained(), self.clip_norm)
        if state.recorder is not None:
            state.recorder.finite(norm._data)
        elif not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise NonFiniteError(
                f"the gradient became {norm} at step {self.step + 1} (epoch {self.epoch + 1}, "
                f"batch {self._place.index}) while the loss was finite; the parameters are those "
                "of the step before. Try a smaller learning rate or inputs scaled to about 1"
            )

    def _trained(self) -> list[Any]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _one_number(regularizer: Any, value: Any) -> Any:
    """A penalty as it is, if it can be added to a loss."""
    if isinstance(value, int | float) or (isinstance(value, Variable) and value._data.shape == ()):
        return value
    got = f"shape {value._data.shape}" if isinstance(value, Variable) else type(value).__name__
    raise TypeError(
        f"regularizer {_name(regularizer)} gave {got}; a penalty is one number, a tensor without "
        "axes: end it with .sum()"
    )


def _name(regularizer: Any) -> str:
    if isinstance(regularizer, Regularizer):
        return repr(regularizer)
    return getattr(regularizer, "__name__", type(regularizer).__name__)
