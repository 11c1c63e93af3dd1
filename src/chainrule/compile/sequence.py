"""A captured step as NumPy: the calls it made, one after the other, without the tape."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.compile.kernel import Kernel
from chainrule.compile.print_numpy import compile_numpy, function_name
from chainrule.compile.recorder import Call, Recorder, Slot

__all__ = ["Steps"]

_VIEWS = frozenset({"reshape", "transpose", "_getitem"})


class Steps:
    """The calls of a recorder as a function of its arguments.

    Attributes:
        source: the text, which a person can read.
        function: what it does: arguments in, a tuple of arrays out.
        kernels: name in the text -> kernel.
    """

    def __init__(self, recorder: Recorder, results: Sequence[Any], name: str) -> None:
        self.names: dict[Any, str] = {}
        self.scope: dict[str, Any] = {"copy": np.array}
        self.kernels: dict[str, Kernel] = {}
        self._count = itertools.count(1)
        self._taken: set[str] = set()
        head = []
        for k, a in enumerate(recorder.arguments):
            self.names[a.slot] = f"x{k + 1}"
            head.append(f"x{k + 1}")
        name = function_name(name)
        lines = [f"def {name}({', '.join(head)}):"]
        made = {o: c for c in recorder.calls for o in c.outputs}
        calls, self._wanted = _needed(recorder.calls, results)
        lines += [f"    {self._line(c)}" for c in calls]
        returned = []
        for r in results:
            shown = self._show(r.slot if hasattr(r, "slot") else r)
            call = made.get(r.slot) if hasattr(r, "slot") and isinstance(r.slot, Slot) else None
            fresh = (
                call is not None
                and _name_of(call.function) not in _VIEWS
                and not (isinstance(call.function, Kernel) and call.function.borrow)
            )
            returned.append(shown if fresh else f"copy({shown})")
        comma = "," if len(returned) == 1 else ""
        lines.append(f"    return ({', '.join(returned)}{comma})")
        self.source = "\n".join(lines) + "\n"
        run: Callable[..., tuple[Any, ...]] = compile_numpy(self.source, name, self.scope)
        self.function: Callable[..., tuple[Any, ...]] = lambda *xs: tuple(map(_own, run(*xs)))

    def _unique(self, wish: str) -> str:
        name = wish
        for n in itertools.count(2):
            if name not in self._taken:
                self._taken.add(name)
                return name
            name = f"{wish}_{n}"
        raise AssertionError

    def _show(self, a: Any) -> str:
        """A value by its name, or as a literal."""
        if isinstance(a, Slot):
            if a not in self.names:
                self.names[a] = f"t{next(self._count)}"
            return self.names[a]
        if isinstance(a, np.ndarray):
            return self._object(a, "live")
        if isinstance(a, bool | int | float | str | None) or (
            isinstance(a, tuple) and all(isinstance(v, int) for v in a)
        ):
            if isinstance(a, float) and not np.isfinite(a):
                return self._object(a, "constant")
            return repr(a)
        return self._object(a, "constant")

    def _object(self, a: Any, wish: str) -> str:
        known = self.names.get(id(a))
        if known is None:
            known = self.names[id(a)] = self._unique(f"{wish}{len(self.scope)}")
            self.scope[known] = a
        return known

    def _line(self, c: Call) -> str:
        function = self.names.get(id(c.function))
        if function is None:
            function = self._unique(_name_of(c.function).lstrip("_"))
            self.names[id(c.function)] = function
            self.scope[function] = c.function
            if isinstance(c.function, Kernel):
                self.kernels[function] = c.function
        args = [*map(self._show, c.args), *(f"{k}={self._show(v)}" for k, v in c.options.items())]
        call = f"{function}({', '.join(args)})"
        if self._wanted.isdisjoint(c.outputs):
            return call
        outs = ", ".join(map(self._show, c.outputs))
        many = isinstance(c.function, Kernel) and len(c.outputs) == 1
        return f"{outs}{',' if many else ''} = {call}"


def _name_of(function: Any) -> str:
    if isinstance(function, Kernel):
        return function_name(function.program.name)
    name = str(getattr(function, "__name__", ""))
    return name if name.isidentifier() else "call"


def _own(a: Any) -> Any:
    """An array that is a view of no other."""
    return a if type(a) is np.ndarray and a.base is None else np.array(a)


def _needed(calls: Sequence[Call], results: Sequence[Any]) -> tuple[list[Call], set[Any]]:
    """The calls that a result or an update depends on, and the values that are used."""
    wanted = {r.slot for r in results if isinstance(getattr(r, "slot", None), Slot)}
    kept = []
    for c in reversed(calls):
        if c.effect or any(o in wanted for o in c.outputs):
            kept.append(c)
            wanted.update(a for a in c.args if isinstance(a, Slot))
    return kept[::-1], wanted
