"""What a function of a person's reads besides its arguments, and whether that has changed.

A captured step is replayed without running its Python. Its variables from outside (a number that a
loop changes, a dictionary, attributes of an object) are therefore remembered when it is captured
and compared before each replay. What belongs to the library (modules, parameters, optimizers) has
its own ways to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["Watch"]

_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)
_FIXED = (ModuleType, type, BuiltinFunctionType, np.ndarray, np.ufunc)
_MOST = 1000  # entries of a container that are compared
_DEPTH = 3
_HIDDEN = ("__dict__", "__weakref__")


class Watch:
    """The outside variables of functions, as they are now.

    >>> rate = {"now": 0.1}
    >>> def mine(x):
    ...     return x * rate["now"]
    >>> mine.__module__ = "mine"
    >>> watch = Watch([mine])
    >>> watch.same()
    True
    >>> rate["now"] = 0.2
    >>> watch.same(), watch.changed()
    (False, 'rate')
    """

    def __init__(self, functions: list[Callable[..., Any]]) -> None:
        self._seen: set[int] = set()
        #: (name, how to read it, what it was)
        self._known: list[tuple[str, Callable[[], Any], Any]] = []
        #: variables that are the same as long as they are the same object
        self._cells: list[tuple[CellType, Any]] = []
        self._items: list[tuple[dict[str, Any], str, Any]] = []
        #: of the known ones: those whose inside may change
        self._deep: list[tuple[Callable[[], Any], Any]] = []
        for f in functions:
            self._follow(f)

    def same(self) -> bool:
        """Whether every variable is what it was."""
        try:
            for cell, value in self._cells:
                if cell.cell_contents is not value:
                    return self.changed() is None
        except ValueError:  # a variable that was deleted
            return self.changed() is None
        for home, name, value in self._items:
            if home.get(name) is not value:
                return self.changed() is None
        return all(read() == before for read, before in self._deep)

    def changed(self) -> str | None:
        """The name of a variable that is not what it was."""
        return next((name for name, read, before in self._known if read() != before), None)

    def _follow(self, f: Any) -> None:
        if isinstance(f, MethodType):
            self._object(getattr(f.__self__, "__name__", type(f.__self__).__name__), f.__self__)
            f = f.__func__
        if id(f) in self._seen:
            return
        self._seen.add(id(f))
        if isinstance(f, partial):
            self._variable("an argument of partial", _constant([f.args, f.keywords]), ())
            self._follow(f.func)
            return
        if not isinstance(f, FunctionType) and hasattr(f, "__wrapped__"):  # as lru_cache makes
            self._follow(f.__wrapped__)
            return
        if not isinstance(f, FunctionType):
            if not _is_library(type(f)):
                self._object(type(f).__name__, f)
                self._follow(vars(type(f)).get("__call__"))
            return
        if _is_library(f):
            return
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=False):
            self._variable(name, _cell(cell), (cell,))
        for name in _names(f.__code__):
            if name in f.__globals__:
                self._variable(name, _item(f.__globals__, name), (f.__globals__, name))
        for k, value in enumerate((*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())):
            self._variable(f"default {k + 1} of {f.__name__}", _constant(value), ())

    def _variable(self, name: str, read: Callable[[], Any], place: tuple[Any, ...]) -> None:
        value = read()
        if isinstance(value, FunctionType | MethodType | partial) and not _is_library(value):
            self._follow(value)
        now = _state(value, 0)
        self._known.append((name, lambda: _state(read(), 0), now))
        if not _is_flat(value) or (place and value is None):
            self._deep.append((lambda: _state(read(), 0), now))
        elif len(place) == 1:
            self._cells.append((place[0], value))
        elif place:
            self._items.append((*place, value))

    def _object(self, name: str, value: Any) -> None:
        if _is_library(type(value)) or hasattr(value, "named_parameters"):
            return  # a module tells of its attributes itself
        now = _state(value, 0)
        self._known.append((name, lambda: _state(value, 0), now))
        self._deep.append((lambda: _state(value, 0), now))


def _is_library(x: Any) -> bool:
    return str(getattr(x, "__module__", "")).split(".")[0] in ("chainrule", "numpy", "builtins")


def _cell(cell: CellType) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not bound yet
            return None

    return read


def _item(home: dict[str, Any], name: str) -> Callable[[], Any]:
    return lambda: home.get(name)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _names(code: Any) -> Iterator[str]:
    yield from code.co_names
    for c in code.co_consts:
        if hasattr(c, "co_names"):
            yield from _names(c)


def _is_flat(value: Any) -> bool:
    """Whether a value cannot change inside, as far as this module looks."""
    return isinstance(value, _PLAIN) or isinstance(_state(value, 0), int)


def _state(value: Any, depth: int) -> Any:
    """Something equal as long as the value is what it was."""
    if isinstance(value, _PLAIN):
        return (type(value), value) if value == value else (type(value), "nan")
    if isinstance(value, _FIXED) or (
        _is_library(type(value)) and not isinstance(value, list | tuple | dict | set)
    ):
        return id(value)
    if depth >= _DEPTH or hasattr(value, "named_parameters"):
        return id(value)
    if isinstance(value, list | tuple):
        return id(value) if len(value) > _MOST else [_state(v, depth + 1) for v in value[:_MOST]]
    if isinstance(value, dict):
        if len(value) > _MOST:
            return id(value)
        return {
            k if isinstance(k, _PLAIN) else id(k): _state(v, depth + 1) for k, v in value.items()
        }
    if isinstance(value, set | frozenset):
        return {v if isinstance(v, _PLAIN) else id(v) for v in value}
    inside = dict(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        for name in _slots(kind):
            inside[name] = getattr(value, name, None)
    return (id(value), _state(inside, depth + 1)) if inside and depth + 1 < _DEPTH else id(value)


def _slots(kind: type) -> Sequence[str]:
    names = vars(kind).get("__slots__", ())
    return [names] if isinstance(names, str) else [n for n in names if n not in _HIDDEN]
