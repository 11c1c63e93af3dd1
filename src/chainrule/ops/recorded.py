"""What runs on tensors: `xp` for them, and NumPy's functions under their own names."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.numerics import one_hot
from chainrule.autograd.tape import Variable
from chainrule.ops import elementwise as e
from chainrule.ops import product as p
from chainrule.ops import reduction as r
from chainrule.ops import shape as s

__all__ = ["FUNCTIONS", "RECORDED", "UFUNCS", "RecordedNamespace"]


def _np_axis(function: Any) -> Any:
    def call(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return function(a, axis=axis, keepdims=keepdims)

    return call


UFUNCS: dict[str, Any] = {
    **{
        name: getattr(e, name)
        for name in [
            "add",
            "subtract",
            "multiply",
            "divide",
            "negative",
            "sign",
            "floor",
            "sqrt",
            "square",
            "exp",
            "expm1",
            "log",
            "log1p",
            "sin",
            "cos",
            "tanh",
            "maximum",
            "minimum",
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "equal",
            "not_equal",
            "isnan",
            "isfinite",
            "logical_and",
            "logical_or",
            "logical_not",
        ]
    },
    "true_divide": e.divide,
    "power": e.pow,
    "absolute": e.abs,
    "positive": lambda x: x,
    "matmul": p.matmul,
}

FUNCTIONS: dict[str, Any] = {
    **{name: _np_axis(getattr(r, name)) for name in ("sum", "mean", "max", "amax", "min", "amin")},
    **{name: getattr(r, name) for name in ("argmax", "argmin", "argsort", "any", "all")},
    **{
        name: getattr(s, name)
        for name in [
            "concatenate",
            "stack",
            "reshape",
            "transpose",
            "swapaxes",
            "split",
            "pad",
            "cumsum",
            "flip",
            "roll",
            "sort",
            "take_along_axis",
            "tril",
            "triu",
            "repeat",
        ]
    },
    **{name: getattr(e, name) for name in ("where", "clip", "squeeze", "expand_dims")},
    "broadcast_to": e.broadcast_to,
    "einsum": p.einsum,
    "dot": p.matmul,
    "var": lambda a, axis=None, ddof=0, keepdims=False: r.var(a, axis, keepdims, ddof),
    "std": lambda a, axis=None, ddof=0, keepdims=False: r.std(a, axis, keepdims, ddof),
    "shape": lambda a: a.shape,
    "ndim": lambda a: a.ndim,
    "size": lambda a: a.size,
}


class RecordedNamespace:
    """`xp` for tensors: the same names, each call on the tape."""

    def __getattr__(self, name: str) -> Any:
        for room in (e, r, s, p):
            if hasattr(room, name):
                value = getattr(room, name)
                setattr(self, name, value)
                return value
        raise AttributeError(f"xp has no primitive {name!r}")

    def one_hot(self, labels: Any, like: Any, axis: int = -1) -> Any:
        raw = labels._data if isinstance(labels, Variable) else labels
        return one_hot(raw, like._data if isinstance(like, Variable) else like, axis)

    def ones_like(self, x: Any) -> Any:
        return np.ones_like(x._data if isinstance(x, Variable) else x)

    def zeros_like(self, x: Any) -> Any:
        return np.zeros_like(x._data if isinstance(x, Variable) else x)


RECORDED = RecordedNamespace()
