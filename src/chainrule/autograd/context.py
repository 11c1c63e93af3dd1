"""What the running thread is doing: is the tape on, and which layer is computing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

__all__ = ["Frame", "describe", "enable_grad", "is_grad_enabled", "no_grad", "state", "structure"]


class Frame:
    """A layer in the middle of its forward pass, and the layer that called it."""

    __slots__ = ("module", "parent")

    def __init__(self, module: Any, parent: Frame | None) -> None:
        self.module = module
        self.parent = parent

    @property
    def path(self) -> str:
        """``model.2`` for the third layer of a Sequential; names are looked up only when asked."""
        if self.parent is None:
            return "model"
        outer = self.parent
        for name, child in getattr(outer.module, "_modules", {}).items():
            if child is self.module:
                return f"{outer.path}.{name}"
        for name, child in getattr(outer.module, "named_modules", dict)():
            if child is self.module:
                return f"{outer.path}.{name}"
        return f"{outer.path}.({type(self.module).__name__})"


class _State(threading.local):
    enabled: bool = True
    frame: Frame | None = None
    recorder: Any = None  # while a step is captured
    changes: int = 0  # of attributes of modules, by this thread


#: One per thread.
state = _State()


class _Structure:
    """Counts the changes of attributes of modules, so that a captured step notices them."""

    version: int = 0

    def changed(self) -> None:
        """An attribute of a module was set."""
        self.version += 1
        state.changes += 1


structure = _Structure()


def describe(frame: Frame | None) -> str:
    """``model.2 Dense(128 -> 10)``, or an empty string outside a layer."""
    if frame is None:
        return ""
    # a module with children prints them on further lines: of "Net(" the name is left
    return f"{frame.path} {frame.module!r}".split("\n")[0].removesuffix("(")


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread; False inside `no_grad`.

    >>> import chainrule as cr
    >>> with cr.no_grad():
    ...     cr.is_grad_enabled()
    False
    """
    return state.enabled


_F = TypeVar("_F", bound=Callable[..., Any])


class _Grad(contextlib.ContextDecorator):
    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def _recreate_cm(self) -> _Grad:
        return _Grad(self._enabled)  # a decorated function may run in several threads at once

    def __enter__(self) -> None:
        self._before.append(state.enabled)
        state.enabled = self._enabled

    def __exit__(self, *_: object) -> None:
        state.enabled = self._before.pop()


@overload
def no_grad() -> _Grad: ...
@overload
def no_grad(function: _F) -> _F: ...
def no_grad(function: Any = None) -> Any:
    """Nothing is recorded inside; as a context or a decorator. For prediction and updates.

    ``@no_grad`` and ``@no_grad()`` are the same.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0], requires_grad=True)
    >>> with cr.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    context = _Grad(False)
    return context if function is None else context(function)


def enable_grad() -> _Grad:
    """Recording on again inside a `no_grad` block.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0], requires_grad=True)
    >>> with cr.no_grad(), cr.enable_grad():
    ...     (x * 2).requires_grad
    True
    """
    return _Grad(True)
