"""A program by itself as native code: what an operation runs when nothing is captured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.compile import native
from chainrule.compile.expression import Expr, Program
from chainrule.compile.graph import Graph
from chainrule.compile.lower import VIEWS, Lowered, Signature, lower
from chainrule.compile.place import Layout, Write

__all__ = ["native_plan"]

#: From this many entries on a kernel that is not there yet is worth building.
_WORTH = 1 << 17
#: The same for a person's own formula, which is likely to run often.
_WORTH_OF_OWN = 1 << 10
_TYPES = (np.dtype(np.float32), np.dtype(np.float64))


def native_plan(
    program: Program, signature: Signature, into: Mapping[int, int], borrow: bool, own: bool
) -> Callable[..., Any] | None:
    """What runs a program for these shapes and types as native code; None where NumPy should.

    NumPy keeps programs that only rearrange (their results are views), those of integers, and small
    ones whose kernel the package did not come with: building it takes longer than they ever do.

    Arguments:
        into: output position -> position of the argument whose memory receives it.
        borrow: a result may be an argument itself.
        own: the program is a person's, whose kernel is built for smaller arrays too.
    """
    if not native.available():
        return None
    low = lower(program, signature)
    if low.dtype not in _TYPES or all(map(_is_view, low.outputs)) or not _is_plain(low, signature):
        return None
    graph = Graph()
    arguments = [
        graph.input(str(x), shape, dtype)
        for x, (shape, dtype) in zip(program.inputs, _typed(low, signature), strict=True)
    ]
    try:
        outputs = graph.call(
            program, arguments, [(graph.shapes[x], graph.dtypes[x]) for x in arguments]
        )
        kinds = [
            (graph.shapes[o], graph.dtypes[o]) if isinstance(o, Expr) else ((), low.dtype)
            for o in outputs
        ]
        given = dict(into)
        if borrow:
            given |= {k: arguments.index(o) for k, o in enumerate(outputs) if o in arguments}
        results = [(o, *kinds[k]) for k, o in enumerate(outputs) if k not in given]
        writes = [Write(arguments[j], outputs[k]) for k, j in into.items()]
        if any(not isinstance(w.value, Expr) for w in writes):
            return None
        layout = Layout(graph, arguments, results, writes)
    except NotImplementedError:
        return None
    if any(i.kind not in ("kernel", "copy") for i in layout.instructions):
        return None
    texts = native.texts_of(layout)
    size = max((math.prod(graph.shapes[x]) for x in arguments), default=0)
    worth = size >= (_WORTH_OF_OWN if own else _WORTH)
    build = (worth or native.always()) and not native.only_shipped()
    if not build and not native.shipped(texts):
        return None
    written = set(into.values())
    run = native.plan(
        layout,
        program.name,
        [(graph.dtypes[x], graph.shapes[x], j in written) for j, x in enumerate(arguments)],
        layout.constants,
    )
    if run is None or not given:
        return run
    return _returning(run, given, len(outputs))


def _returning(run: Callable[..., Any], given: Mapping[int, int], count: int) -> Callable[..., Any]:
    """Give the arguments that are outputs, or received them, in their places among the results."""
    own = [k for k in range(count) if k not in given]
    if not own and count == 1:  # a layer's head, which writes over its product
        only = given[0]

        def same(*arrays: Any) -> Any:
            return (arrays[only],) if run(*arrays) is not NotImplemented else NotImplemented

        return same

    def call(*arrays: Any) -> Any:
        found = run(*arrays)
        if found is NotImplemented:
            return found
        results: list[Any] = [None] * count
        for k, r in zip(own, found, strict=True):
            results[k] = r
        for k, j in given.items():
            results[k] = arrays[j]
        return tuple(results)

    return call


def _is_view(o: Any) -> bool:
    while isinstance(o, Expr) and o.op in (*VIEWS, "copy"):
        o = o.args[0]
    return not isinstance(o, Expr) or o.op in ("input", "full")


def _is_plain(low: Lowered, signature: Signature) -> bool:
    """Only the two floating types, booleans, and whole numbers as labels."""
    for e in low.order():
        dtype = low.dtypes[e]
        if isinstance(dtype, np.dtype) and dtype != low.dtype and dtype.kind != "b":
            return False
    return all(
        s is float or (not isinstance(s, type) and (s[1] in _TYPES or s[1].kind in "biu"))
        for s in signature
    )


def _typed(low: Lowered, signature: Signature) -> list[tuple[Any, Any]]:
    """Shape and type of every argument; a Python number has the program's type."""
    return [((), low.dtype) if isinstance(s, type) else s for s in signature]
