"""Samples of element-wise operations, reductions, and what changes shapes.

A reference is written without the library, so that a wrong text cannot agree with itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array
from chainrule.diagnose.proof.samples import Sample, along, draws

__all__ = ["elementary"]


def _each(f: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: np.array([f(v) for v in x.ravel()], np.float64).reshape(x.shape)


def _digamma(x: float) -> float:
    shift = 0.0
    while x < 30:
        shift, x = shift - 1 / x, x + 1
    r = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r / 240)))


def _trigamma(x: float) -> float:
    shift = 0.0
    while x < 20:
        shift, x = shift + 1 / (x * x), x + 1
    r = 1 / (x * x)
    rest = 1 / 6 - r * (1 / 30 - r * (1 / 42 - r / 30))
    return shift + 1 / x + 0.5 * r + r / x * rest


_REALS, _POSITIVE = (-math.inf, math.inf), (0.0, math.inf)

#: Functions of one number: the reference, where they are defined, and up to which derivative.
_UNARY: dict[str, tuple[Callable[[Array], Any], tuple[float, float], int]] = {
    "abs": (np.abs, _REALS, 2),
    "cos": (np.cos, _REALS, 2),
    "digamma": (_each(_digamma), _POSITIVE, 2),
    "erf": (_each(math.erf), _REALS, 2),
    "exp": (np.exp, _REALS, 2),
    "expm1": (np.expm1, _REALS, 2),
    "floor": (np.floor, _REALS, 0),
    "isfinite": (np.isfinite, _REALS, 0),
    "isnan": (np.isnan, _REALS, 0),
    "lgamma": (_each(math.lgamma), _POSITIVE, 2),
    "log": (np.log, _POSITIVE, 2),
    "log1p": (np.log1p, (-1.0, math.inf), 2),
    "negative": (np.negative, _REALS, 2),
    "sign": (np.sign, _REALS, 0),
    "sin": (np.sin, _REALS, 2),
    "sqrt": (np.sqrt, _POSITIVE, 2),
    "square": (np.square, _REALS, 2),
    "stop_gradient": (np.array, _REALS, 0),
}
_LOOSE = {"digamma": 1e-12, "lgamma": 1e-12, "polygamma": 1e-11}

_BINARY: dict[str, tuple[Callable[[Array, Array], Any], int]] = {
    "add": (np.add, 2),
    "divide": (np.divide, 2),
    "equal": (np.equal, 0),
    "greater": (np.greater, 0),
    "greater_equal": (np.greater_equal, 0),
    "less": (np.less, 0),
    "less_equal": (np.less_equal, 0),
    "maximum": (np.maximum, 2),
    "minimum": (np.minimum, 2),
    "multiply": (np.multiply, 2),
    "not_equal": (np.not_equal, 0),
    "subtract": (np.subtract, 2),
}


def elementary() -> Iterator[Sample]:
    """Samples of element-wise operations, reductions, and what changes shapes."""
    yield from _entries()
    yield from _reductions()
    yield from _shapes()


def _inside(key: str, domain: tuple[float, float], *shape: int) -> Array:
    return draws(key, *shape, low=max(domain[0] + 0.2, -2.0), high=2.0)


def _entries() -> Iterator[Sample]:
    for name, (reference, domain, order) in _UNARY.items():
        yield Sample(
            name,
            getattr(ops, name),
            reference,
            (_inside(name, domain, 3, 4),),
            order=order,
            elementwise=True,
            domain=domain,
            spreads=name not in ("isfinite", "isnan"),
            tolerance=_LOOSE.get(name, 1e-14),
        )
    yield Sample(
        "polygamma",
        lambda x: ops.polygamma(x, n=1),
        _each(_trigamma),
        (_inside("polygamma", _POSITIVE, 3, 4),),
        "n=1",
        elementwise=True,
        domain=_POSITIVE,
        tolerance=_LOOSE["polygamma"],
    )
    for name, (reference2, order) in _BINARY.items():
        for detail, shape in (("", (3, 4)), ("row", (4,)), ("column", (3, 1))):
            yield Sample(
                name,
                getattr(ops, name),
                reference2,
                (draws(name, 3, 4), draws(f"{name} {detail} other", *shape, low=0.2)),
                detail,
                order=order,
                elementwise=not detail,
                spreads=order > 0,
            )
    base, exponent = draws("pow", 3, 4, low=0.2), draws("pow exponent", 3, 4)
    yield Sample("pow", ops.pow, np.power, (base, exponent), domain=_POSITIVE, spreads=False)
    yield Sample("pow", lambda x: ops.pow(x, 3.0), lambda x: x**3.0, (draws("cube", 3, 4),), "x³")
    yes = draws("where yes", 3, 4) > 0
    yield Sample("where", ops.where, np.where, (yes, draws("where", 3, 4), draws("b", 4)),
                 spreads=False)  # fmt: skip
    other = draws("logical other", 3, 4) > 0
    for name in ("logical_and", "logical_or"):
        yield Sample(name, getattr(ops, name), getattr(np, name), (yes, other), order=0)
    yield Sample("logical_not", ops.logical_not, np.logical_not, (yes,), order=0)
    x = draws("clip", 3, 4)
    yield Sample("clip", lambda x: ops.clip(x, -0.5, 0.8), lambda x: np.clip(x, -0.5, 0.8), (x,),
                 elementwise=True)  # fmt: skip
    yield Sample("clip", ops.clip, np.clip, (x, np.full(4, -1.0), np.full((3, 1), 1.1)), "arrays",
                 spreads=False)  # fmt: skip


def _norm(x: Array, axis: Any = None) -> Any:
    return np.sqrt(np.sum(x * x, axis=axis))


def _reductions() -> Iterator[Sample]:
    x = draws("reduction", 3, 4, 2)
    axes: tuple[Any, ...] = (None, 1, (0, 2), -1)
    names = ("sum", "mean", "max", "min", "amax", "amin", "var", "std", "all", "any")
    for name in names:
        numpy = getattr(np, name)
        inputs = (x > -1.5,) if name in ("all", "any") else (x,)
        for axis in axes:
            yield Sample(
                name,
                along(getattr(ops, name), axis=axis),
                along(numpy, axis=axis),
                inputs,
                f"axis={axis}",
                order=0 if name in ("all", "any") else 2,
                tolerance=1e-13,
            )
    for name in ("sum", "max", "var"):
        yield Sample(
            name,
            along(getattr(ops, name), axis=1, keepdims=True),
            along(getattr(np, name), axis=1, keepdims=True),
            (x,),
            "keepdims",
        )
    yield Sample("var", along(ops.var, axis=1, correction=1), lambda x: np.var(x, 1, ddof=1),
                 (x,), "unbiased")  # fmt: skip
    yield Sample("logsumexp", ops.logsumexp, lambda x: np.log(np.exp(x).sum(-1)), (x,))
    yield Sample("logsumexp", along(ops.logsumexp, axis=(0, 1)),
                 lambda x: np.log(np.exp(x).sum((0, 1))), (x,), "axis=(0, 1)",
                 empty=False)  # fmt: skip
    yield Sample("norm", ops.norm, _norm, (x,))
    yield Sample("norm", along(ops.norm, axis=1), lambda x: _norm(x, 1), (x,), "axis=1")
    for order in (1, 3, math.inf):
        yield Sample(
            "norm",
            along(ops.norm, ord=order, axis=-1),
            along(np.linalg.norm, ord=order, axis=-1),
            (draws("norm", 3, 4),),
            f"ord={order}",
        )
    for name in ("argmax", "argmin"):
        for axis in (None, 1):
            yield Sample(
                name,
                along(getattr(ops, name), axis=axis),
                along(getattr(np, name), axis=axis),
                (x,),
                f"axis={axis}",
                order=0,
                spreads=False,
            )
    yield Sample("argsort", ops.argsort, np.argsort, (draws("argsort", 3, 4),), order=0,
                 spreads=False)  # fmt: skip


def _shapes() -> Iterator[Sample]:
    x = draws("shape", 3, 4, 2)
    m = draws("matrix", 3, 4)
    index = np.array([[2, 0], [1, 1], [3, 0]])
    calls: tuple[tuple[str, Callable[[Array], Any], Callable[[Array], Any], Array], ...] = (
        ("astype", lambda x: ops.astype(x, x.dtype), np.array, m),
        ("broadcast_to", lambda x: ops.broadcast_to(x, np.empty((2, 3, 4))),
         lambda x: np.broadcast_to(x, (2, 3, 4)), m),
        ("cumsum", lambda x: ops.cumsum(x, axis=1), lambda x: np.cumsum(x, axis=1), m),
        ("expand_dims", lambda x: ops.expand_dims(x, axis=1),
         lambda x: np.expand_dims(x, axis=1), m),
        ("flip", lambda x: ops.flip(x, axis=(0, 2)), lambda x: np.flip(x, axis=(0, 2)), x),
        ("matrix_transpose", ops.matrix_transpose, lambda x: np.swapaxes(x, -1, -2), x),
        ("pad", lambda x: ops.pad(x, ((1, 0), (2, 1)), value=0.5),
         lambda x: np.pad(x, ((1, 0), (2, 1)), constant_values=0.5), m),
        ("permute_dims", lambda x: ops.permute_dims(x, (2, 0, 1)),
         lambda x: np.transpose(x, (2, 0, 1)), x),
        ("repeat", lambda x: ops.repeat(x, 3, axis=1), lambda x: np.repeat(x, 3, axis=1), x),
        ("reshape", lambda x: ops.reshape(x, 4, -1), lambda x: np.reshape(x, (4, -1)), x),
        ("roll", lambda x: ops.roll(x, 2, axis=1), lambda x: np.roll(x, 2, axis=1), x),
        ("sort", ops.sort, np.sort, m),
        ("squeeze", lambda x: ops.squeeze(ops.expand_dims(x, axis=1), axis=1), np.array, m),
        ("swapaxes", lambda x: ops.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, 0, 2), x),
        ("take_along_axis", lambda x: ops.take_along_axis(x, index, axis=1),
         lambda x: np.take_along_axis(x, index, axis=1), m),
        ("transpose", ops.transpose, np.transpose, x),
        ("tril", lambda x: ops.tril(x, k=1), lambda x: np.tril(x, k=1), m),
        ("triu", lambda x: ops.triu(x, k=-1), lambda x: np.triu(x, k=-1), m),
    )  # fmt: skip
    for name, f, reference, a in calls:
        yield Sample(
            name, f, reference, (a,), tolerance=1e-14, spreads=name not in ("tril", "triu")
        )
    yield Sample("split", lambda x: ops.split(x, [1, 3], axis=1)[1], lambda x: x[:, 1:3], (m,),
                 spreads=False)  # fmt: skip
    yield Sample("topk", lambda x: ops.topk(x, 2)[0], lambda x: np.sort(x)[:, :1:-1], (m,),
                 spreads=False)  # fmt: skip
    for name, f2 in (("concat", ops.concat), ("concatenate", ops.concatenate)):
        yield Sample(
            name,
            lambda a, b, f=f2: f([a, b], axis=1),
            lambda a, b: np.concatenate([a, b], axis=1),
            (m, draws("concatenate", 3, 2)),
        )
    yield Sample("stack", lambda a, b: ops.stack([a, b], axis=1),
                 lambda a, b: np.stack([a, b], axis=1), (m, draws("stack", 3, 4)))  # fmt: skip
