"""Run a program: one printed function per set of shapes, printed at first use and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.compile.expression import Program
from chainrule.compile.print_numpy import compile_numpy, function_name, print_numpy
from chainrule.compile.schedule import schedule

__all__ = ["Kernel"]

_functions: dict[tuple[str, str], Callable[..., Any]] = {}
_lock = threading.Lock()
_MOST_PLANS = 1024  # a stream of ever new shapes must not fill the memory


class Kernel:
    """A program as a function of arrays, returning a tuple of arrays.

    `borrow`: a result may be one of the arguments itself (for cotangents, which are borrowed);
    otherwise it is always new memory. `donated` arguments may be overwritten. `into` maps an output's
    position to that of the input whose memory receives it; the input array itself is then returned.
    """

    __slots__ = ("_plans", "borrow", "donated", "into", "program")

    def __init__(
        self,
        program: Program,
        borrow: bool = False,
        donated: tuple[int, ...] = (),
        into: dict[int, int] | None = None,
    ) -> None:
        self.program = program
        self.borrow = borrow
        self.donated = donated
        self.into = into or {}
        self._plans: dict[Any, Callable[..., tuple[Any, ...]]] = {}

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        key = tuple([getattr(a, "shape", ()) for a in arrays])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(key)
        return plan(*arrays)

    def source(self, *shapes: tuple[int, ...]) -> str:
        """The NumPy text that runs for these shapes."""
        return print_numpy(schedule(self.program, shapes, self.donated), not self.borrow)

    def _plan(self, shapes: tuple[tuple[int, ...], ...]) -> Callable[..., tuple[Any, ...]]:
        s = schedule(self.program, shapes, self.donated)
        source, name = print_numpy(s, not self.borrow), function_name(s)
        with _lock:
            function = _functions.get((name, source))
            if function is None:
                function = _functions[name, source] = compile_numpy(source, name)
            if self.into:
                function = self._written(function)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[shapes] = function
        return function

    def _written(self, function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        """`function` with its outputs copied into the inputs of `into`."""

        def written(*arrays: Any) -> tuple[Any, ...]:
            outputs = list(function(*arrays))
            for k, j in self.into.items():
                np.copyto(arrays[j], outputs[k])
                outputs[k] = arrays[j]
            return tuple(outputs)

        return written
