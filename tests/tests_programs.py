"""Random steps on arrays: one script, run on real arrays and noted by a recorder.

A script is a list of actions, each with random numbers that choose among what is there:
element-wise kernels, sums, products, transposes, slices, joined arrays, updates of live memory and
readings of it before and after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from chainrule.compile import native
from chainrule.compile.kernel import Kernel
from chainrule.compile.recorder import Recorder
from chainrule.compile.trace import trace

SHAPES = [(4, 3), (3, 4), (4, 4), (3,), (4, 1), ()]
ACTIONS = [
    "add", "multiply", "tanh", "exp", "rows", "columns", "softmax", "matmul", "transpose",
    "reshape", "slice", "rows of", "concat", "pad", "update", "update part", "read", "read part",
    "constant",
]  # fmt: skip


def _kernel(name: str, text: Any, count: int, into: Any = None) -> Kernel:
    names = ["a", "b", "c"][:count]
    return Kernel(trace(text, names, name), into=into)


def _softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True), xp.sum(x, axis=0)


KERNELS = {
    "add": _kernel("add", lambda xp, a, b: a + b, 2),
    "multiply": _kernel("multiply", lambda xp, a, b: 0.5 * a * b, 2),
    "tanh": _kernel("tanh", lambda xp, a: (xp.tanh(a), 1.0 - xp.tanh(a) * xp.tanh(a)), 1),
    "exp": _kernel("exp", lambda xp, a: xp.exp(-(a * a)), 1),
    "rows": _kernel("rows", lambda xp, a: xp.sum(a, axis=-1, keepdims=True) / 3.0, 1),
    "columns": _kernel("columns", lambda xp, a: (xp.sum(a, axis=0), a * 0.25), 1),
    "softmax": _kernel("softmax", _softmax, 1),
    "update": _kernel("update", lambda xp, a, b: a - 0.1 * b, 2, into={0: 0}),
}

#: (action, four numbers that choose)
scripts = st.lists(
    st.tuples(st.sampled_from(ACTIONS), *[st.integers(0, 11)] * 4), min_size=3, max_size=14
)


class Script:
    """A script with its arguments and live arrays.

    Attributes:
        arguments: arrays that are given at each run.
        live: flat memory, and views of parts of it as parameters are of an optimizer's vector.
    """

    def __init__(self, actions: Any, dtype: Any = np.float32) -> None:
        self.actions, self.dtype = actions, dtype
        r = np.random.default_rng(0)
        self.arguments = [np.asarray(r.normal(size=s), dtype) for s in SHAPES]
        flat = np.asarray(r.normal(size=32), dtype)
        other = np.asarray(r.normal(size=(4, 4)), dtype)
        self.bases = [flat, other]
        self.live = [flat[:12].reshape(4, 3), flat[12:24].reshape(3, 4), flat[24:28], flat, other]

    def run(self, arguments: Any, recorder: Recorder | None = None) -> list[Any]:
        """The values it makes; with a recorder the arguments are symbols and so are they."""
        values = list(arguments)
        for action, *choice in self.actions:
            made = self._act(action, choice, values, recorder)
            values += [v for v in made if v is not None]
        return values[len(SHAPES) :]

    def _act(self, action: str, choice: Any, values: Any, recorder: Any) -> Any:
        a, b, c, d = choice
        x = values[a % len(values)]
        own = (lambda v: recorder.of(v).copy()) if recorder else (lambda v: v.copy())
        call = recorder.kernel if recorder else (lambda kernel, xs: kernel(*xs))
        match action:
            case "add" | "multiply":
                y = values[b % len(values)]
                try:
                    np.broadcast_shapes(x.shape, y.shape)
                except ValueError:
                    return ()
                return call(KERNELS[action], [x, y])
            case "tanh" | "exp":
                return call(KERNELS[action], [x])
            case "rows" | "columns" | "softmax":
                return call(KERNELS[action], [x]) if len(x.shape) == 2 else ()
            case "matmul":
                y = values[b % len(values)]
                if len(x.shape) != 2 or len(y.shape) != 2:
                    return ()
                if x.shape[1] != y.shape[0]:
                    x = x if x.shape[0] == y.shape[0] else y
                    y, x = x, x.T
                return (np.matmul(x, y) if recorder else native.matmul(x, y),)
            case "transpose":
                return (np.transpose(x),)
            case "reshape":
                return (
                    (x.reshape((x.size,)) if c % 2 else x.reshape((-1, 2)),)
                    if x.size % 2 == 0
                    else ()
                )
            case "slice":
                if len(x.shape) != 2:
                    return ()
                i, j = c % x.shape[0], d % x.shape[1]
                return (x[i:, : j + 1 : 1 + b % 2],)
            case "rows of":
                return (x[c % x.shape[0] :],) if x.shape else ()
            case "concat":
                same = [v for v in values[-6:] if v.shape == x.shape]
                axis = c % max(len(x.shape), 1)
                return (
                    (np.concatenate([x, *same[: 1 + d % 2]], axis=axis),)
                    if x.shape and same
                    else ()
                )
            case "pad":
                if len(x.shape) != 2:
                    return ()
                slices, shape = (
                    ((1, 1 + x.shape[0], 1), (0, x.shape[1], 1)),
                    (x.shape[0] + 2, x.shape[1]),
                )
                if recorder and hasattr(x, "expr"):
                    return (recorder.place(x, slices, shape),)
                out = np.zeros(shape, x.dtype)
                out[1:-1] = x
                return (out,)
            case "update":
                target = self.live[b % len(self.live)]
                fits = [v for v in values if v.shape == target.shape and v is not target]
                if fits:
                    call(KERNELS["update"], [target, fits[c % len(fits)]])
                return ()
            case "update part":
                target = self.live[b % len(self.live)]
                start = c % target.shape[0]
                part = target[start:]
                fits = [v for v in values if v.shape == part.shape]
                if fits:
                    np.copyto(part, fits[d % len(fits)])
                return ()
            case "read":
                return (own(self.live[b % len(self.live)]),)
            case "read part":
                target = self.live[b % len(self.live)]
                return (own(target[c % target.shape[0] :]),)
            case "constant":
                return (np.ones_like(x),)
        raise AssertionError(action)
