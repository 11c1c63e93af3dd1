"""`Flat`: the parameters of one group and one dtype in one contiguous vector.

The backward pass writes into ``grad`` and the update runs once over whole vectors, however many
parameters there are. Everything a person may do to a parameter meanwhile (load a state, convert
the model, set a gradient by hand, give it to a second optimizer) shows in the identity of its
arrays, so a few comparisons per parameter find out whether the vector still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array, DType
from chainrule.array.memory import page_aligned
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable

__all__ = ["Flat"]


class Flat:
    """A vector of parameters, their gradients and whatever state their update keeps.

    Arguments:
        params: distinct parameters of one dtype; from now on their ``_data`` are views of ``data``
            and their ``_slot`` views of ``grad``.

    Attributes:
        data, grad: vectors of all entries, parameter after parameter.
        state: name -> vector of the same length.
        steps: how often each parameter was updated.
        scalars: the numbers of the present update, in the dtype of the parameters.
    """

    __slots__ = (
        "_rule", "_whole", "bounds", "data", "grad", "params", "places", "scalars", "state",
        "steps",
    )  # fmt: skip

    def __init__(self, params: Sequence[Any]) -> None:
        self.params = list(params)
        self.bounds = list(accumulate([p.size for p in params], initial=0))
        self.data: Array = page_aligned(self.bounds[-1], params[0].dtype)
        self.grad: Array = page_aligned(self.bounds[-1], params[0].dtype)
        self.state: dict[str, Array] = {}
        self.steps = [0] * len(params)
        self.scalars: Array = self.data[:0]
        self.places = [
            (p, self.data[a:b].reshape(p.shape), self.grad[a:b].reshape(p.shape))
            for p, (a, b) in zip(params, pairwise(self.bounds), strict=True)
        ]
        self._rule: object = None
        self._whole: tuple[Array, ...] = ()
        self.seat()

    @property
    def dtype(self) -> DType:
        """The one dtype of parameters, gradients, state and scalars."""
        return self.data.dtype

    # -- does the vector still hold? --------------------------------------------------------------

    def ready(self) -> bool:
        """Every parameter is trained, is where it was put and has its gradient in its slot."""
        for p, view, slot in self.places:  # a loop: any() over a generator takes twice as long
            if p._grad is not slot or p._data is not view or not p.requires_grad:
                return False
        return True

    def outdated(self) -> bool:
        """A parameter changed its type or shape or was frozen: it belongs elsewhere now."""
        return any(
            not p.requires_grad or p._data.dtype != view.dtype or p._data.shape != view.shape
            for p, view, _ in self.places
        )

    def left(self) -> bool:
        """A parameter's values are not in the vector: they were replaced, or are in another's."""
        return any(p._data is not view for p, view, _ in self.places)

    def seat(self) -> None:
        """Take in values and gradients that are not in the vector."""
        recorder = state.recorder
        for p, view, slot in self.places:
            if recorder is not None:
                recorder.touch(p)
            if p._data is not view:
                np.copyto(view, p._data)
                p._data = view
                p._slot = slot
            g = p._grad
            if g is None or g is slot:
                continue
            if isinstance(g, Variable):  # recorded with create_graph: it stays on the tape
                np.copyto(slot, g._data)
            else:
                np.copyto(slot, g if recorder is None else recorder.of(g))
                p._grad = slot

    def release(self) -> None:
        """Give frozen parameters memory of their own, so that they do not hold the whole vector."""
        for p, view, slot in self.places:
            if p._data is view and not p.requires_grad:
                p._data = view.copy()
                p._slot = None
                if p._grad is slot:
                    p._grad = slot.copy()

    # -- what an update reads and writes ----------------------------------------------------------

    def runs(self) -> list[tuple[int, int]]:
        """Stretches (first, last + 1) of parameters that have gradients and equal step counts."""
        found: list[tuple[int, int]] = []
        for k, p in enumerate(self.params):
            if p._grad is None:
                continue
            if found and found[-1][1] == k and self.steps[k] == self.steps[k - 1]:
                found[-1] = (found[-1][0], k + 1)
            else:
                found.append((k, k + 1))
        return found

    def operands(
        self, rule: object, states: Sequence[str], scalars: int, first: int, last: int
    ) -> tuple[Array, ...]:
        """``(data, grad, *state, *scalars)`` of a stretch; the scalars are views of ``scalars``."""
        if self._rule is not rule:
            self._rule = rule
            self.scalars = np.empty(scalars, self.dtype)
            self._whole = (
                self.data,
                self.grad,
                *[self._vector(name) for name in states],
                *[self.scalars[i : i + 1].reshape(()) for i in range(scalars)],
            )
        if first == 0 and last == len(self.params):
            return self._whole
        stretch, vectors = slice(self.bounds[first], self.bounds[last]), len(states) + 2
        return (*[v[stretch] for v in self._whole[:vectors]], *self._whole[vectors:])

    def _vector(self, name: str) -> Array:
        if name not in self.state:
            self.state[name] = page_aligned(self.data.size, self.dtype)
        return self.state[name]

    # -- one parameter's state --------------------------------------------------------------------

    def kept(self, k: int) -> tuple[int, dict[str, Array]]:
        """Step count and state (views) of parameter number k; no state before its first step."""
        if self.steps[k] == 0:
            return 0, {}
        stretch = slice(self.bounds[k], self.bounds[k + 1])
        shape = self.places[k][1].shape
        return self.steps[k], {n: v[stretch].reshape(shape) for n, v in self.state.items()}

    def restore(self, k: int, steps: int, state: Mapping[str, Any]) -> None:
        """The inverse of `kept`; values are converted to this vector's dtype."""
        self.steps[k] = steps
        for name, value in state.items():
            self._vector(name)[self.bounds[k] : self.bounds[k + 1]] = np.ravel(value)
