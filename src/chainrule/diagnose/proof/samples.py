"""What the operations are proved with: inputs for each, and the same thing in plain NumPy.

A reference is written without the library, so that a wrong text cannot agree with itself.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array

__all__ = ["Sample", "draws", "elementary"]


class Sample(NamedTuple):
    """One call of an operation: `f` of the inputs in the library, `reference` of them in NumPy.

    `order` is up to which derivative the operation has one that is not zero everywhere.
    """

    name: str
    f: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Array, ...]
    detail: str = ""
    order: int = 2
    #: entry by entry: any shape serves, and extremes are tried in every entry
    elementwise: bool = False
    #: where its floating inputs may lie
    domain: tuple[float, float] = (-math.inf, math.inf)
    #: NaN in gives NaN out
    spreads: bool = True
    #: allowed error relative to the largest entry, in float64
    tolerance: float = 1e-13

    @property
    def title(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name

    @property
    def reals(self) -> list[int]:
        """Which inputs are real numbers, not indices or conditions."""
        return [k for k, a in enumerate(self.inputs) if a.dtype.kind == "f"]


def draws(key: str, *shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """Numbers that depend on the key alone; each is at least 0.05 away from a whole number, where
    many functions have a kink."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    x = rng.uniform(low, high, shape)
    near = np.round(x)
    return np.where(np.abs(x - near) < 0.05, near + np.where(x < near, -0.07, 0.07), x)


def _each(f: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: np.array([f(v) for v in x.ravel()], np.float64).reshape(x.shape)


def _along(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x: f(x, **options)


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
    """Samples of all operations but activations and losses."""
    yield from _entries()
    yield from _reductions()
    yield from _shapes()
    yield from _products()


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
                _along(getattr(ops, name), axis=axis),
                _along(numpy, axis=axis),
                inputs,
                f"axis={axis}",
                order=0 if name in ("all", "any") else 2,
                tolerance=1e-13,
            )
    for name in ("sum", "max", "var"):
        yield Sample(
            name,
            _along(getattr(ops, name), axis=1, keepdims=True),
            _along(getattr(np, name), axis=1, keepdims=True),
            (x,),
            "keepdims",
        )
    yield Sample("var", _along(ops.var, axis=1, correction=1), lambda x: np.var(x, 1, ddof=1),
                 (x,), "unbiased")  # fmt: skip
    yield Sample("logsumexp", ops.logsumexp, lambda x: np.log(np.exp(x).sum(-1)), (x,))
    yield Sample("logsumexp", _along(ops.logsumexp, axis=(0, 1)),
                 lambda x: np.log(np.exp(x).sum((0, 1))), (x,), "axis=(0, 1)")  # fmt: skip
    yield Sample("norm", ops.norm, _norm, (x,))
    yield Sample("norm", _along(ops.norm, axis=1), lambda x: _norm(x, 1), (x,), "axis=1")
    for order in (1, 3, math.inf):
        yield Sample(
            "norm",
            _along(ops.norm, ord=order, axis=-1),
            _along(np.linalg.norm, ord=order, axis=-1),
            (draws("norm", 3, 4),),
            f"ord={order}",
        )
    for name in ("argmax", "argmin"):
        for axis in (None, 1):
            yield Sample(
                name,
                _along(getattr(ops, name), axis=axis),
                _along(getattr(np, name), axis=axis),
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


def _products() -> Iterator[Sample]:
    a, b = draws("matmul", 3, 4), draws("matmul other", 4, 5)
    yield Sample("matmul", ops.matmul, np.matmul, (a, b))
    yield Sample("matmul", ops.matmul, np.matmul, (a, draws("vector", 4)), "vector")
    yield Sample("matmul", ops.matmul, np.matmul, (draws("stacked", 2, 3, 4), b), "stacked")
    yield Sample("einsum", lambda a, b: ops.einsum("ij,jk->ki", a, b),
                 lambda a, b: np.einsum("ij,jk->ki", a, b), (a, b))  # fmt: skip
    yield Sample("einsum", lambda a, b: ops.einsum("bij,bij->b", a, b),
                 lambda a, b: np.einsum("bij,bij->b", a, b),
                 (draws("e", 2, 3, 4), draws("f", 2, 3, 4)), "per row")  # fmt: skip
    W, bias = draws("weight", 5, 4), draws("bias", 5)
    yield Sample("linear", ops.linear, lambda x, W, b: x @ W.T + b, (a, W, bias))
    yield Sample("dense", ops.dense, lambda x, W, b: x @ W.T + b, (a, W, bias))
    yield Sample(
        "dense",
        lambda x, W, b: ops.dense(x, W, b, activation=ops.tanh),
        lambda x, W, b: np.tanh(x @ W.T + b),
        (a, W, bias),
        "tanh",
    )
    codes = np.array([2, 0, 2])
    yield Sample("embedding", ops.embedding, lambda i, W: W[i], (codes, draws("table", 4, 3)),
                 spreads=False)  # fmt: skip
    yield Sample(
        "embed_columns",
        lambda x, W: ops.embed_columns(
            ops.concatenate([x, codes[:, None].astype(x.dtype)], 1), [W]
        ),
        lambda x, W: np.concatenate([x, W[codes]], axis=1),
        (draws("columns", 3, 2), draws("table", 4, 3)),
        spreads=False,
    )
    yield Sample("dropout", lambda x: ops.dropout(x, 0.4, training=False), np.array, (a,),
                 "evaluation")  # fmt: skip
    yield Sample("standardize", ops.standardize, lambda x, m, s: (x - m) / s,
                 (a, draws("mean", 4), draws("scale", 4, low=0.3)))  # fmt: skip
