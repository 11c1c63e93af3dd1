"""A forward pass run on arrays without values, twice, so that what depends on the rows is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.autograd.context import describe, no_grad, state, structure
from chainrule.autograd.program import StepRecorder, no_draws, tree
from chainrule.autograd.tape import Variable
from chainrule.compile.expression import Expr, walk
from chainrule.compile.graph import Graph
from chainrule.compile.symbolic import CaptureError, line_of
from chainrule.interop.onnx.writer import ExportError
from chainrule.nn.module import Module

__all__ = ["Pair", "Rows", "Traced", "evaluating", "row_counts", "trace_pair"]


@dataclass(frozen=True)
class Rows:
    """A size that depends on the number of rows n: ``times · n + plus``."""

    times: int
    plus: int = 0


class _Graph(Graph):
    """A graph that remembers which layer made each expression."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: dict[Expr, Any] = {}

    def add(self, op: str, args: Any, attrs: Any, shape: Any, dtype: Any) -> Expr:
        e = super().add(op, args, attrs, shape, dtype)
        self.frames.setdefault(e, state.frame)
        return e


@dataclass
class Traced:
    """What a forward pass did with arrays of some number of rows."""

    recorder: StepRecorder
    graph: _Graph
    inputs: list[Any]  # expressions
    outputs: list[Any]  # arrays without values

    def order(self) -> list[Expr]:
        """Arguments before uses."""
        return walk([o.expr for o in self.outputs])


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards in the modes it had."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        changed = [(m, mode) for m, mode in modes if m.training is not mode]
        for module, mode in changed:
            object.__setattr__(module, "training", mode)
        if changed:
            structure.changed()


def row_counts(taken: set[int]) -> tuple[int, int]:
    """Two prime numbers of rows that are no size of anything else, so that they can be told apart.

    >>> row_counts({11, 17})
    (13, 19)
    """
    found: list[int] = []
    n = 11
    while len(found) < 2:
        if n not in taken and all(n % k for k in range(2, int(n**0.5) + 1)):
            found.append(n)
        n += 1
    return found[0], found[1]


def _trace(
    forward: Callable[..., Sequence[Any]], inputs: Sequence[tuple[str, Any, Any]], rows: int
) -> Traced:
    recorder = StepRecorder()
    graph = recorder.graph = _Graph()
    given = [
        recorder.argument(np.zeros((rows, *shape), dtype), name) for name, dtype, shape in inputs
    ]
    try:
        with no_grad(), no_draws():
            state.recorder = recorder
            arrays: list[Any] = []
            tree(list(forward(*map(Variable._wrap, given))), arrays)
            outputs = [recorder.of(a) for a in arrays]
    finally:
        state.recorder = None
        recorder.restore()
    if recorder.written:
        raise ExportError(
            "the forward pass changes parameters or buffers, also in evaluation mode; ONNX files "
            "compute, and keep nothing"
        )
    return Traced(recorder, graph, [a.expr for a in given], outputs)


class Pair:
    """The same forward pass with two numbers of rows.

    Sizes that differ between the two are those that depend on the rows.
    """

    def __init__(self, first: Traced, second: Traced, rows: tuple[int, int]) -> None:
        self.first, self.second, self.rows = first, second, rows
        self.twin: dict[Expr, Expr] = {}
        one, two = first.order(), second.order()
        if len(one) != len(two):
            raise ExportError(_BRANCHES)
        for a, b in zip(one, two, strict=True):
            if a.op != b.op or len(a.args) != len(b.args):
                raise ExportError(f"{self.layer(a)}: {_BRANCHES}")
            self.twin[a] = b
        # only what is an output is wanted of these
        self.outputs = list(zip(first.outputs, second.outputs, strict=True))

    def layer(self, e: Any) -> str:
        """The layer that computed an expression, for a person."""
        return describe(self.first.graph.frames.get(e)) or "the forward pass"

    def scope(self, e: Any) -> str:
        """The dotted name of that layer."""
        frame = self.first.graph.frames.get(e)
        return "" if frame is None else str(frame.path).removeprefix("model").removeprefix(".")

    def size(self, a: Any, b: Any, where: Any) -> int | Rows:
        """A whole number, or how it follows from the rows."""
        if a == b:
            return int(a)
        n, m = self.rows
        times, left = divmod(b - a, m - n)
        if left or isinstance(a, float):
            raise ExportError(
                f"{self.layer(where)}: it uses the number of rows in a way that cannot be written "
                f"down ({a} of {n} rows, {b} of {m})"
            )
        return Rows(int(times), int(a - times * n))

    def shape(self, e: Expr) -> list[int | Rows]:
        """The shape of an expression."""
        return self.sizes(self.first.graph.shapes[e], self.second.graph.shapes[self.twin[e]], e)

    def sizes(self, a: Sequence[int], b: Sequence[int], where: Any) -> list[int | Rows]:
        """Several sizes."""
        if len(a) != len(b):
            raise ExportError(f"{self.layer(where)}: {_BRANCHES}")
        return [self.size(x, y, where) for x, y in zip(a, b, strict=True)]


_BRANCHES = (
    "what is computed depends on the number of rows (an `if` on the shape?); ONNX needs one "
    "program for every number"
)


def trace_pair(
    forward: Callable[..., Sequence[Any]],
    inputs: Sequence[tuple[str, Any, Sequence[int]]],
    taken: set[int],
) -> Pair:
    """Run `forward` on symbols.

    Arguments:
        forward: of as many arrays as there are inputs; gives a sequence of arrays or tensors.
        inputs: name, type and shape of a row of each.
        taken: sizes that stand for something else than rows.

    Raises:
        ExportError: for what looks at values, draws random numbers, runs hooks or changes state; it
            names the layer or the line.
    """
    rows = row_counts(taken)
    try:
        first, second = (_trace(forward, inputs, n) for n in rows)
    except CaptureError as error:
        raise ExportError(f"the model cannot be written as one program: {error}") from error
    except ExportError:
        raise
    except Exception as error:  # whatever the model's own code raises where values are missing
        raise ExportError(
            f"{line_of(error)}the model ran on the example, but not on {rows[0]} rows without "
            f"values, as it must to be written down: {type(error).__name__}: {error}"
        ) from error
    return Pair(first, second, rows)


def raw(a: Any) -> Any:
    """The array of a tensor."""
    return a._data if isinstance(a, Variable) else a
