"""Run a program: one printed function per signature, printed at first use and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.array.namespace import NUMPY
from chainrule.compile import native
from chainrule.compile.eager import native_plan
from chainrule.compile.expression import Program
from chainrule.compile.lower import Signature
from chainrule.compile.print_numpy import compile_numpy, function_name, print_numpy
from chainrule.compile.schedule import Schedule, schedule

__all__ = ["Kernel"]

NUMPY.matmul = native.matmul  # type: ignore[assignment]
_MOST_PLANS = 1024  # a stream of ever new shapes must not fill the memory
_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray


class Kernel:
    """A program as a function of arrays, returning a tuple of arrays.

    Arguments:
        program: what to compute.
        borrow: a result may be one of the arguments itself (for cotangents, which are borrowed);
            otherwise it never is, though a squeezed or broadcast argument is a view of it.
        donated: positions of arguments that may be overwritten.
        into: output position -> position of the argument whose memory receives it. That argument
            itself is then the result. Every output is computed from the arguments as they came,
            in whatever order they are written. The arguments must not overlap one another.
        own: it is a person's own formula: native code is built for it at first use.

    Called with arrays and Python numbers, one per input of the program. An operation runs in the
    widest floating type among the arguments with dimensions; numbers and 0-d arrays follow.

    >>> from chainrule.compile.trace import trace
    >>> sgd = trace(lambda xp, p, g, lr: p - lr * g, ["p", "g", "lr"], "sgd")
    >>> step = Kernel(sgd, into={0: 0})
    >>> p = np.ones(3)
    >>> step(p, np.ones(3), 0.5)[0] is p, p
    (True, array([0.5, 0.5, 0.5]))
    >>> print(step.source((3,), (3,), ()))
    def sgd(p, g, lr):
        t0 = multiply(lr, g)
        subtract(p, t0, out=p)
        return p,
    """

    __slots__ = (
        "_functions",
        "_last",
        "_lock",
        "_plans",
        "borrow",
        "donated",
        "into",
        "own",
        "program",
    )

    def __init__(
        self,
        program: Program,
        borrow: bool = False,
        donated: tuple[int, ...] = (),
        into: Mapping[int, int] | None = None,
        own: bool = False,
    ) -> None:
        self.program = program
        self.own = own
        self.borrow = borrow
        self.donated = donated
        self.into = dict(into or {})
        if len(set(self.into.values())) < len(self.into):
            raise ValueError(f"{program.name}: two outputs cannot go into one input: {self.into}")
        self._plans: dict[Any, Callable[..., tuple[Any, ...]]] = {}
        self._functions: dict[str, Callable[..., tuple[Any, ...]]] = {}
        self._lock = threading.Lock()
        #: The native plan that was made last.
        self._last: Callable[..., Any] | None = None

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        last = self._last
        if last is not None:  # native code looks at types and shapes itself
            found = last(*arrays)
            if found is not NotImplemented:
                return found  # type: ignore[no-any-return]
        return self._planned(arrays)

    def quietly(self, *arrays: Any) -> tuple[Any, ...]:
        """Run without NumPy's warnings: an infinite gradient must become NaN in silence, because
        finding it is the task of the training loop."""
        if self._last is not None:
            return self(*arrays)
        with np.errstate(all="ignore"):
            return self(*arrays)

    def _planned(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run by the plan for these types and shapes."""
        key = tuple([(a.shape, a.dtype) if type(a) is _ndarray else _kind(a) for a in arrays])
        plan = self._plans.get(key)
        if plan is None:
            for a in arrays:
                if isinstance(a, AbstractArray):  # a step is being captured
                    result: tuple[Any, ...] = a.recorder.kernel(self, arrays)  # type: ignore[attr-defined]
                    return result
            plan = self._plan(key)
        return plan(*arrays)

    def source(self, *shapes: tuple[int, ...], dtype: Any = _FLOAT32) -> str:
        """The NumPy text that runs for arrays of these shapes and one type."""
        return print_numpy(self._schedule([(tuple(s), np.dtype(dtype)) for s in shapes]))

    def printed(self, signature: Signature) -> str:
        """The NumPy text for a signature."""
        return print_numpy(self._schedule(signature))

    def _schedule(self, signature: Signature) -> Schedule:
        if len(signature) != len(self.program.inputs):
            names = ", ".join(map(str, self.program.inputs))
            raise TypeError(
                f"{self.program.name} takes {len(self.program.inputs)} arrays ({names}), "
                f"{len(signature)} were given"
            )
        return schedule(self.program, signature, self.donated, self.into, not self.borrow)

    def _plan(self, signature: Any) -> Callable[..., tuple[Any, ...]]:
        function: Callable[..., tuple[Any, ...]] | None = None
        if len(signature) == len(self.program.inputs):
            function = native_plan(self.program, signature, self.into, self.borrow, self.own)
        if function is not None:
            self._last = function
            if self.into:
                function = self._or_numpy(function, signature)
            with self._lock:
                self._plans[signature] = function
            return function
        return self._numpy(signature)

    def _or_numpy(self, run: Callable[..., Any], signature: Any) -> Callable[..., tuple[Any, ...]]:
        """Native code, or NumPy for arrays to be written that are not contiguous."""

        def call(*arrays: Any) -> tuple[Any, ...]:
            result = run(*arrays)
            return self._numpy(signature)(*arrays) if result is NotImplemented else result

        return call

    def _numpy(self, signature: Any) -> Callable[..., tuple[Any, ...]]:
        s = self._schedule(signature)
        source = print_numpy(s)
        with self._lock:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
                self._functions.clear()
            function = self._functions.get(source)
            if function is None:
                function = self._functions[source] = compile_numpy(
                    source, function_name(self.program.name)
                )
            self._plans.setdefault(signature, function)
        return function


def _kind(a: Any) -> Any:
    """What a plan depends on in an argument that is no plain array."""
    if isinstance(a, AbstractArray):
        return AbstractArray
    if hasattr(a, "dtype"):
        return a.shape, a.dtype
    if isinstance(a, bool | int | float):
        return bool if isinstance(a, bool) else int if isinstance(a, int) else float
    raise TypeError(f"expected arrays and numbers, got {type(a).__name__}: pass np.asarray(...)")
