"""`Parameter`: the one kind of tensor that changes, and counts its changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.dtypes import is_float
from chainrule.ops.variable import Variable

__all__ = ["Parameter"]


class Parameter(Variable):
    """A tensor that a module owns and an optimizer updates.

    Arguments:
        data: the initial values; an array is copied.
        requires_grad: False freezes it.

    An optimizer gathers its parameters into one vector; ``_data`` is then a view of that vector.
    Every update counts up ``_version``, so that a backward pass through values from before the
    update raises.

    >>> import chainrule as cr
    >>> p = cr.nn.Parameter(np.zeros(2, np.float32))
    >>> p.assign([1.0, 2.0])
    >>> p
    parameter([1., 2.])
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data)
        if not is_float(self._data.dtype):
            raise TypeError(
                f"a parameter holds floats, not {self._data.dtype}; write "
                "Parameter(np.zeros(shape, np.float32)), or convert with .astype(np.float32)"
            )
        self.requires_grad = requires_grad

    def cast(self, dtype: Any) -> None:
        """Change the type; the gradient is dropped and an optimizer gathers the parameter anew."""
        dtype = np.dtype(dtype)
        if dtype != self.dtype:
            self._data = self._data.astype(dtype)
            self._grad = None
            self._slot = None
            self._version += 1

    def __deepcopy__(self, memo: Any) -> Parameter:
        p = Parameter(self._data, self.requires_grad)
        memo[id(self)] = p
        return p

    def __reduce__(self) -> Any:
        return Parameter, (np.array(self._data), self.requires_grad)

    def __repr__(self) -> str:
        text = np.array2string(self._data, prefix="parameter(", separator=", ", threshold=1000)
        extra = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        return f"parameter({text}{extra}{'' if self.requires_grad else ', frozen'})"
