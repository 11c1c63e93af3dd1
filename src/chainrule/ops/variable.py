"""`Variable`: a tensor whose values change in place, and which counts its changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.abstract import as_array
from chainrule.array.errors import ShapeError
from chainrule.autograd import tape
from chainrule.autograd.context import state
from chainrule.ops.tensor import Tensor

__all__ = ["Variable"]


class Variable(Tensor):
    """A tensor that can be given other values, such as a weight that grows from epoch to epoch.

    A captured step (`chainrule.capture`) reads a variable at each replay, where a Python number is
    what it was at the capture. Its type and shape stay.

    Arguments:
        data: the first values; a list or number becomes float32, an array keeps its type.

    Every change counts up, so that a backward pass through values from before it raises.

    >>> import chainrule as cr
    >>> beta = cr.Variable(0.5)
    >>> beta.assign(0.75)
    >>> beta.item()
    0.75
    """

    __slots__ = ("_slot", "_version")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self._version = 0
        self._slot = None

    def assign(self, value: Any) -> None:
        """Overwrite the values, in place and in this variable's own type.

        Raises:
            ShapeError: if the shape is another.
            TypeError: for what are no real numbers.
        """
        kind = type(self).__name__.lower()
        raw = value._data if isinstance(value, tape.Variable) else as_array(value)
        if raw.dtype.kind not in "fiub":
            raise TypeError(f"a {kind} holds numbers, not {raw.dtype}")
        if raw.shape != self.shape:
            raise ShapeError(
                f"a {kind} of shape {self.shape} cannot take values of shape {raw.shape}"
            )
        if state.recorder is not None:
            state.recorder.touch(self)
            state.recorder.put(self._data, raw)
        else:
            np.copyto(self._data, raw, casting="same_kind")
        self._version += 1

    def __deepcopy__(self, memo: Any) -> Variable:
        v = Variable(self._data)
        memo[id(self)] = v
        return v

    def __reduce__(self) -> Any:
        return type(self), (np.array(self._data),)

    def __repr__(self) -> str:
        text = np.array2string(self._data, prefix="variable(", separator=", ", threshold=1000)
        return f"variable({text}{'' if self.dtype == np.float32 else f', dtype={self.dtype}'})"
