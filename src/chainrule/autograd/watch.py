"""What a function of a person's reads besides its arguments, and whether that has changed.

A captured step is replayed without running its Python. Its variables from outside (a number that a
loop changes, a dictionary, attributes of an object) are therefore remembered when it is captured
and compared before each replay. What belongs to the library (modules, parameters, optimizers) has
its own ways to tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import is_
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["CACHES", "Kept", "Watch"]

_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)
_FIXED = (ModuleType, type, BuiltinFunctionType, np.ndarray, np.ufunc)
_MOST = 1000  # entries of a container that are compared
_DEPTH = 3
#: Attributes of modules that say nothing about what they compute.
CACHES = frozenset({"_plan", "_replayed"})
_MUTABLE = (list, dict, set, deque)
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

    def __init__(self, functions: Sequence[Any], modules: Iterable[Any] = ()) -> None:
        self._seen: set[int] = set()
        #: (name, how to read it, what it was)
        self._known: list[tuple[str, Callable[[], Any], Any]] = []
        #: variables that are the same as long as they are the same object
        self._cells: list[tuple[CellType, Any]] = []
        self._items: list[tuple[dict[str, Any], str, Any]] = []
        #: of the known ones: those whose inside may change
        self._deep: list[_Deep] = []
        #: variables with their values, to be put back
        self._variables: list[tuple[CellType, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._kept = Kept()
        for f in functions:
            self._follow(f)
        for m in modules:
            self._attributes(m)

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
        return all([deep.same() for deep in self._deep])  # noqa: C419  # quicker than one by one

    def changed(self) -> str | None:
        """The name of a variable that is not what it was."""
        return next((name for name, read, before in self._known if read() != before), None)

    def restore(self) -> None:
        """Give the variables, and lists, dictionaries and attributes in them, their values back."""
        for cell, value in self._variables:
            cell.cell_contents = value
        for home, name, value in self._globals:
            home[name] = value
        self._kept.restore()

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
        self._kept.keep(value)
        if len(place) == 2:
            self._globals.append((*place, value))
        elif place and value is not None:
            self._variables.append((*place, value))
        if not _is_flat(value) or (place and value is None):
            self._deep.append(_Deep(read, now))
        elif len(place) == 1:
            self._cells.append((place[0], value))
        elif place:
            self._items.append((*place, value))

    def _object(self, name: str, value: Any) -> None:
        if _is_library(type(value)) or hasattr(value, "named_parameters"):
            return  # a module tells of its attributes itself
        self._inside(name, value)

    def _attributes(self, module: Any) -> None:
        """Lists, dictionaries and the like in the attributes of a person's module.

        That another value is set, a module tells itself.
        """
        for name, value in vars(module).items():
            if not (name.startswith("_") or _is_flat(value) or hasattr(value, "named_parameters")):
                self._inside(f"{type(module).__name__}.{name}", value)

    def _inside(self, name: str, value: Any) -> None:
        now = _state(value, 0)
        self._kept.keep(value)
        self._known.append((name, lambda: _state(value, 0), now))
        self._deep.append(_Deep(lambda: value, now))


class _Deep:
    """A variable whose inside may change.

    As long as it is the same object, and all containers in it hold the same objects, nothing has
    changed, which is quickly seen; else its state is compared.
    """

    def __init__(self, read: Callable[[], Any], now: Any) -> None:
        self._read, self._now = read, now
        self._look()

    def _look(self) -> None:
        self._value = self._read()
        found: list[tuple[Any, tuple[Any, ...]]] = []
        self._inside = found if _contents(self._value, 0, found) else None

    def same(self) -> bool:
        if self._inside is not None and self._read() is self._value:
            for container, before in self._inside:
                if len(container) != len(before) or not all(map(is_, container, before)):
                    break
            else:
                return True
        if _state(self._read(), 0) != self._now:
            return False
        self._look()
        return True


class Kept:
    """Lists, dictionaries, sets and attributes as they are now, to be put back.

    >>> kept, found = Kept(), {"losses": [1.0]}
    >>> kept.keep(found)
    >>> found["losses"].append(2.0)
    >>> kept.changed()
    True
    >>> kept.restore()
    >>> found
    {'losses': [1.0]}
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, Any]] = {}

    def keep(self, value: Any, depth: int = 0) -> None:
        """Remember what is in a value, three levels deep."""
        if not isinstance(value, _MUTABLE):
            value = None if _is_library(type(value)) else getattr(value, "__dict__", None)
        if not isinstance(value, _MUTABLE) or id(value) in self._seen:
            return
        if depth < _DEPTH and len(value) <= _MOST:
            self._seen[id(value)] = value, value.copy()
            for v in value.values() if isinstance(value, dict) else value:
                if not hasattr(v, "named_parameters"):
                    self.keep(v, depth + 1)

    def changed(self) -> bool:
        """Whether something is not what it was."""
        return any(_differ(now, before) for now, before in self._seen.values())

    def restore(self) -> None:
        """Put back what is not what it was."""
        for now, before in self._seen.values():
            if not _differ(now, before):
                continue
            if isinstance(now, list | deque):
                now.clear()
                now.extend(before)
            elif isinstance(now, set):
                now ^= now ^ before
            else:  # others may read it meanwhile
                for k in now.keys() - before.keys() - CACHES:
                    del now[k]
                now.update((k, v) for k, v in before.items() if k not in CACHES)


def _differ(a: Any, b: Any) -> bool:
    if isinstance(a, set):
        return bool(a != b)
    if isinstance(a, dict):
        a, b = ({k: v for k, v in d.items() if k not in CACHES} for d in (a, b))
        return a.keys() != b.keys() or any(a[k] is not v for k, v in b.items())
    return len(a) != len(b) or any(x is not y for x, y in zip(a, b, strict=True))


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
    if isinstance(value, list | tuple | deque):
        return id(value) if len(value) > _MOST else [_state(v, depth + 1) for v in value]
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


def _contents(value: Any, depth: int, found: list[tuple[Any, tuple[Any, ...]]]) -> bool:
    """Add what changes when the inside of a value does, and what it holds; follows `_state`.
    False where that cannot be told by objects."""
    if isinstance(value, _PLAIN + _FIXED) or hasattr(value, "named_parameters"):
        return True
    containers = isinstance(value, list | tuple | dict | set | frozenset | deque)
    if depth >= _DEPTH or (_is_library(type(value)) and not containers):
        return True
    if not containers:
        if any(_slots(kind) for kind in type(value).__mro__):
            return False
        inside = getattr(value, "__dict__", None)
        return inside is None or _contents(inside, depth + 1, found)
    if len(value) > _MOST:
        return True
    if isinstance(value, dict):
        views: list[Any] = [value, value.values()]
    else:
        views = [value]
    found.extend((view, tuple(view)) for view in views)
    return all(_contents(v, depth + 1, found) for v in views[-1])


def _slots(kind: type) -> Sequence[str]:
    names = vars(kind).get("__slots__", ())
    return [names] if isinstance(names, str) else [n for n in names if n not in _HIDDEN]
