"""Averages of weights over the steps of training, which often generalize better than the last.

>>> import chainrule as cr
>>> w = cr.nn.Parameter([0.0])
>>> mean = cr.optim.StochasticWeightAveraging([w])
>>> for value in (1.0, 2.0, 6.0):
...     w.assign([value])  # as a step of an optimizer does
...     mean.update()
>>> with mean.apply():
...     print(w)
parameter([3.])
>>> w
parameter([6.])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace

__all__ = ["ExponentialMovingAverage", "StochasticWeightAveraging", "WeightAverage"]


def _towards(xp: Any, average: Any, p: Any, share: Any) -> Any:
    """a ← a + share (p - a), which is p itself, to the bit, for a share of 1."""
    return xp.where(share >= 1.0, p, average + share * (p - average))


_TOWARDS = Kernel(trace(_towards, ["average", "p", "share"], "average"), into={0: 0})


class WeightAverage:
    """The base: averages of parameters, each beside its parameter, ``a ← a + share · (p - a)``.

    Arguments:
        parameters: a model, parameters, or ``(name, parameter)`` pairs. One that comes twice (tied
            weights) counts once. Buffers, such as the statistics of a normalization, are not
            averaged.

    The first update copies the parameters, as torch's ``AveragedModel`` does, so that the values a
    model starts from do not count.

    Attributes:
        updates: how many there were.
    """

    def __init__(self, parameters: Any) -> None:
        if hasattr(parameters, "named_parameters"):
            parameters = parameters.named_parameters()
        if isinstance(parameters, Variable):
            raise TypeError("averages are of a model or a list of parameters: write [p]")
        self.named: dict[str, Any] = {}
        known: set[int] = set()
        for k, item in enumerate(parameters):
            name, p = item if isinstance(item, tuple) else (str(k), item)
            if not isinstance(p, Variable) or p._parameter() is not p:
                raise TypeError(f"only parameters are averaged, not {type(p).__name__}")
            if id(p) not in known:
                known.add(id(p))
                self.named[name] = p
        if not self.named:
            raise ValueError(
                "there are no parameters to average (a generator gives them only once)"
            )
        self.updates = 0
        self.averages: dict[str, Any] = {n: np.array(p._data) for n, p in self.named.items()}
        self._stored: dict[str, Any] | None = None

    def share(self, updates: int) -> float:
        """How far the averages move towards the parameters, after so many updates."""
        raise NotImplementedError(f"{type(self).__name__} must define share(updates)")

    def update(self) -> None:
        """Take in the present values; to be called after each step of the optimizer.

        Raises:
            RuntimeError: while the averages are applied, which would be averaged themselves.
        """
        if self._stored is not None:
            raise RuntimeError(
                "the parameters hold the averages at the moment: restore() them before update()"
            )
        numbers: dict[Any, Any] = {}  # the share, in each type
        for name, p in self.named.items():
            a = self.averages[name]
            if a.dtype != p._data.dtype:  # the model was converted
                a = self.averages[name] = a.astype(p._data.dtype)
            number = numbers.setdefault(a.dtype, np.array(self._share(), a.dtype))
            if state.recorder is not None:
                state.recorder.kernel(_TOWARDS, (a, p._data, number))
            else:
                _TOWARDS.quietly(a, p._data, number)
        if state.recorder is not None:
            state.recorder.hosts.append((lambda: self._prepared(numbers), self._count))
        else:
            self._count()

    def _share(self) -> float:
        return float(self.share(self.updates)) if self.updates else 1.0

    def _prepared(self, numbers: dict[Any, Any]) -> bool:
        """Set the numbers that a captured step reads; False where it must not run."""
        for number in numbers.values():
            number[...] = self._share()
        return self._stored is None

    def _count(self) -> None:
        self.updates += 1

    @property
    def applied(self) -> bool:
        """Whether the parameters hold the averages at the moment."""
        return self._stored is not None

    def apply(self) -> Self:
        """Put the averages into the parameters, whose values are stored until `restore`.

        In a ``with`` block they come back at its end.

        Raises:
            RuntimeError: if they are applied already.
        """
        if self._stored is not None:
            raise RuntimeError("the averages are applied already: restore() first")
        self._stored = {n: np.array(p._data) for n, p in self.named.items()}
        for name, p in self.named.items():
            p.assign(self.averages[name])
        return self

    def restore(self) -> None:
        """Give the parameters back what they were before `apply`.

        Raises:
            RuntimeError: if the averages are not applied.
        """
        if self._stored is None:
            raise RuntimeError("there is nothing to restore: the averages are not applied")
        stored, self._stored = self._stored, None
        for name, p in self.named.items():
            p.assign(stored[name])

    def keep(self) -> None:
        """Leave the averages in the parameters for good."""
        if self._stored is None:
            self.apply()
        self._stored = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stored is not None:
            self.restore()

    def state_dict(self) -> dict[str, Any]:
        """``{"updates": count, "averages": {name: array}}``, copies."""
        return {
            "updates": self.updates,
            "averages": {n: np.array(a) for n, a in self.averages.items()},
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. Nothing changes unless everything fits.

        Raises:
            ValueError: for other names.
            ShapeError: for another shape.
        """
        averages = saved["averages"]
        if averages.keys() != self.averages.keys():
            differ = sorted(averages.keys() ^ self.averages.keys())
            raise ValueError(f"the state is of other parameters: {', '.join(differ[:5])} differ")
        for name, a in averages.items():
            if np.shape(a) != self.averages[name].shape:
                raise ShapeError(
                    f"{name} has shape {np.shape(a)} in the state, {self.averages[name].shape} here"
                )
        self.updates = int(saved["updates"])
        for name, a in averages.items():  # in place: a captured step knows the arrays
            np.copyto(self.averages[name], a, casting="same_kind")


class ExponentialMovingAverage(WeightAverage):
    """``a ← decay · a + (1 - decay) · p`` after every step.

    Arguments:
        parameters: see `WeightAverage`.
        decay: what is kept, from 0 (the parameters themselves) to below 1; an average of about
            ``1 / (1 - decay)`` steps.
        warmup: use ``min(decay, (1 + t) / (10 + t))`` at update t, so that a short training does
            not end with an average that its beginning rules.

    Equal to ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn(decay)``.

    References: Polyak & Juditsky 1992; Tarvainen & Valpola, "Mean teachers", 2017.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([1.0])
    >>> ema = cr.optim.ExponentialMovingAverage([w], decay=0.9)
    >>> ema.update()
    >>> w.assign([2.0])
    >>> ema.update()
    >>> ema.averages["0"]
    array([1.1], dtype=float32)
    """

    def __init__(self, parameters: Any, decay: float = 0.999, warmup: bool = False) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}")
        super().__init__(parameters)
        self.decay, self.warmup = float(decay), bool(warmup)

    def share(self, updates: int) -> float:
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + updates) / (10 + updates))
        return 1.0 - decay


class StochasticWeightAveraging(WeightAverage):
    """The plain mean of the parameters at every `update`: ``a ← a + (p - a) / (n + 1)``.

    Meant for the last part of a training with a learning rate that stays high; one update an epoch
    is enough. Equal to ``torch.optim.swa_utils.AveragedModel``.

    Arguments:
        parameters: see `WeightAverage`.

    Reference: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018.

    >>> import chainrule as cr
    >>> mean = cr.optim.StochasticWeightAveraging(cr.nn.Dense(2, 1))
    >>> mean.update()
    >>> sorted(mean.averages)
    ['bias', 'weight']
    """

    def share(self, updates: int) -> float:
        return 1.0 / (updates + 1)
