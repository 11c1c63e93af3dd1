"""`Symbolic`: an array without values, which tells its recorder what is done to it.

While a step is captured the tape runs unchanged, but on symbolic arrays. A question that only
values can answer raises `CaptureError`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.compile.lower import Shape

if TYPE_CHECKING:
    from chainrule.compile.recorder import Recorder

__all__ = ["CaptureError", "Postponed", "Symbolic"]


class CaptureError(RuntimeError):
    """A step does something that cannot be captured; the message says what, and in which line."""


class Postponed(CaptureError):
    """A step does something that it does now and then only: the next call may be captured."""


def capture_error(what: str) -> CaptureError:
    """The error, with the line of the caller's own code."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if _is_own(frame):
            return CaptureError(f"{frame.f_code.co_filename}:{frame.f_lineno}: {what}")
        frame = frame.f_back
    return CaptureError(what)


def line_of(error: BaseException) -> str:
    """The line of a person's own code that led to an error, to be put before its text."""
    found = ""
    traceback = error.__traceback__
    while traceback is not None:
        if _is_own(traceback.tb_frame):
            found = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}: "
        traceback = traceback.tb_next
    return found


def _is_own(frame: Any) -> bool:
    return frame.f_globals.get("__name__", "").split(".")[0] not in ("chainrule", "numpy")


def _value(what: str) -> Callable[..., Any]:
    def method(self: Symbolic, *args: Any, **kwargs: Any) -> Any:
        raise capture_error(
            f"{what} needs a value, and while a step is captured there are none; return the tensor "
            "from the step and look at it there"
        )

    return method


def _operator(ufunc: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator of two operands, and the same with the other one first."""

    def forward(self: Symbolic, other: Any) -> Any:
        return self.recorder.ufunc(ufunc, self, other)

    def backward(self: Symbolic, other: Any) -> Any:
        return self.recorder.ufunc(ufunc, other, self)

    return forward, backward


def _in_place(ufunc: np.ufunc) -> Callable[..., Any]:
    def update(self: Symbolic, other: Any) -> Any:
        return self.recorder.put(self, self.recorder.ufunc(ufunc, self, other))

    return update


class Symbolic(AbstractArray):
    """An array whose values come later. It has NumPy's attributes as far as they need no values."""

    __slots__ = ("dtype", "expr", "recorder", "shape", "slot")

    def __init__(self, recorder: Recorder, expr: Any, shape: Shape, dtype: Any, slot: Any) -> None:
        self.recorder, self.expr, self.slot = recorder, expr, slot
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __repr__(self) -> str:
        return f"Symbolic({self.shape}, {self.dtype})"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Symbolic:
        return self.recorder.permute(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Symbolic:
        n = self.ndim
        return self.recorder.permute(self, (*range(n - 2), n - 1, n - 2))

    def reshape(self, *shape: Any) -> Symbolic:
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return self.recorder.reshape(self, tuple(wanted))

    def astype(self, dtype: Any, copy: bool = True) -> Symbolic:
        cast: Symbolic = self.recorder.astype(self, np.dtype(dtype))
        return cast

    def copy(self) -> Symbolic:
        """The same value under a name of its own: an update in place must not reach this one."""
        return self.recorder.copy(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> Symbolic:
        return self.recorder.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise capture_error(
            "an array is written into; give the new value with cr.ops.where or concatenate"
        )

    __bool__ = _value("the truth of an array")
    __float__ = _value("float() of an array")
    __int__ = _value("int() of an array")
    __index__ = _value("an index")
    __iter__ = _value("iterating over an array")
    __array__ = _value("NumPy")
    item = _value(".item()")
    tolist = _value(".tolist()")
    max = _value(".max()")
    min = _value(".min()")
    any = _value(".any()")
    all = _value(".all()")
    view = _value(".view()")

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if method != "__call__" or kwargs or ufunc.nout != 1:
            raise capture_error(f"np.{ufunc.__name__}.{method} on an array")
        result = self.recorder.ufunc(ufunc, *inputs)
        if out is None or result is NotImplemented:
            return result
        return self.recorder.put(out[0], result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.recorder.function(func, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise capture_error(f".{name} of an array; use a function of cr.ops")
        raise AttributeError(name)

    __hash__ = object.__hash__
    __add__, __radd__ = _operator(np.add)
    __sub__, __rsub__ = _operator(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder)
    __and__, __rand__ = _operator(np.bitwise_and)
    __or__, __ror__ = _operator(np.bitwise_or)
    __xor__, __rxor__ = _operator(np.bitwise_xor)
    __iadd__, __isub__ = _in_place(np.add), _in_place(np.subtract)
    __imul__, __itruediv__ = _in_place(np.multiply), _in_place(np.divide)
    __lt__, __gt__ = _operator(np.less)
    __le__, __ge__ = _operator(np.less_equal)
    __eq__ = _operator(np.equal)[0]
    __ne__ = _operator(np.not_equal)[0]

    def __neg__(self) -> Any:
        return self.recorder.ufunc(np.negative, self)

    def __abs__(self) -> Any:
        return self.recorder.ufunc(np.absolute, self)

    def __invert__(self) -> Any:
        return self.recorder.ufunc(np.invert, self)

    def __pow__(self, other: Any) -> Any:  # as NumPy's operator does
        if type(other) in (int, float) and other == 2:
            return self.recorder.ufunc(np.square, self)
        return self.recorder.ufunc(np.power, self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.recorder.ufunc(np.power, other, self)

    __matmul__, __rmatmul__ = _operator(np.matmul)
