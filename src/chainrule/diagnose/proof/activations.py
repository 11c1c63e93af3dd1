"""Samples of activations and of random masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array
from chainrule.array.random import Stream, use_stream
from chainrule.diagnose.proof.samples import Sample, along, draws
from chainrule.ops.formula import FORMULAS

__all__ = ["activations", "masks"]


def _erf(x: Array) -> Any:
    return np.array([math.erf(v) for v in x.ravel()]).reshape(x.shape)


def _sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Array, beta: float = 1.0) -> Any:
    return np.log(1 + np.exp(beta * x)) / beta


def _elu(x: Array, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def _celu(x: Array, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * (np.exp(x / alpha) - 1))


def _gelu_tanh(x: Array) -> Any:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _softmax(x: Array, axis: int = -1) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


#: name: (reference, other options and what they make of it)
_PLAIN: dict[str, tuple[Callable[..., Any], tuple[dict[str, Any], ...]]] = {
    "celu": (_celu, ({"alpha": 0.7},)),
    "elu": (_elu, ({"alpha": 0.7},)),
    "gelu": (lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2, ()),
    "hardshrink": (lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0), ({"lambd": 0.3},)),
    "hardsigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), ()),
    "hardswish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), ()),
    "hardtanh": (
        lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
        ({"min_val": -0.3, "max_val": 0.4},),
    ),
    "identity": (np.array, ()),
    "leaky_relu": (
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        ({"negative_slope": 0.2},),
    ),
    "logistic": (
        lambda x, L=1.0, k=1.0, x0=0.0: L / (1 + np.exp(-k * (x - x0))),
        ({"L": 3.0, "k": 0.5, "x0": 0.4},),
    ),
    "logsigmoid": (lambda x: np.log(_sigmoid(x)), ()),
    "mish": (lambda x: x * np.tanh(_softplus(x)), ()),
    "relu": (lambda x: np.maximum(x, 0), ()),
    "relu6": (lambda x: np.clip(x, 0, 6), ()),
    "selu": (lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772), ()),
    "sigmoid": (_sigmoid, ()),
    "silu": (lambda x: x * _sigmoid(x), ()),
    "softplus": (_softplus, ({"beta": 2.5},)),
    "softshrink": (
        lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
        ({"lambd": 0.3},),
    ),
    "softsign": (lambda x: x / (1 + np.abs(x)), ()),
    "tanh": (lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1), ()),
    "tanhshrink": (lambda x: x - np.tanh(x), ()),
    "threshold": (
        lambda x, threshold=0.0, value=0.0: np.where(x > threshold, x, value),
        ({"threshold": 0.3, "value": -1.5},),
    ),
}


def activations() -> Iterator[Sample]:
    """A sample of every activation with its default options, and one with others."""
    for name, (reference, more) in _PLAIN.items():
        for options in ({}, *more):
            shown = ", ".join(f"{k}={v}" for k, v in options.items())
            yield Sample(
                name,
                along(FORMULAS[name], **options),
                along(reference, **options),
                (draws(name, 3, 4, low=-3.0, high=3.0),),
                shown,
                elementwise=True,
            )
    x = draws("softmax", 3, 4)
    yield Sample("gelu", lambda x: ops.gelu(x, approximate="tanh"), _gelu_tanh,
                 (draws("gelu", 3, 4, low=-3.0, high=3.0),), "tanh", elementwise=True)  # fmt: skip
    for axis in (-1, 0):
        shown = f"axis={axis}"
        for name, f, of in (
            ("softmax", ops.softmax, _softmax),
            ("log_softmax", ops.log_softmax, lambda x, axis: np.log(_softmax(x, axis))),
            ("softmin", ops.softmin, lambda x, axis: _softmax(-x, axis)),
        ):
            yield Sample(name, along(f, axis=axis), along(of, axis=axis), (x,), shown,
                         empty=axis != 0)  # fmt: skip
    yield Sample("softmax_jacobian", ops.softmax_jacobian, _jacobian, (x[0],), empty=False)
    yield Sample("entropy", ops.entropy, lambda p: -np.sum(p * np.log(p), -1), (_softmax(x),))
    for axis in (-1, 0):
        yield Sample("glu", along(ops.glu, axis=axis), along(_glu, axis=axis),
                     (draws("glu", 4, 6),), f"axis={axis}")  # fmt: skip
    yield Sample("prelu", ops.prelu, lambda x, w: np.where(x > 0, x, w[:, None] * x),
                 (draws("prelu", 2, 3, 4), draws("slopes", 3)))  # fmt: skip
    yield Sample("rrelu", ops.rrelu, lambda x: np.where(x > 0, x, (1 / 8 + 1 / 3) / 2 * x), (x,))


def _glu(x: Array, axis: int) -> Any:
    a, b = np.split(x, 2, axis)
    return a * _sigmoid(b)


def _jacobian(x: Array) -> Any:
    a = _softmax(x)
    return np.diag(a) - np.outer(a, a)


def masks() -> Iterator[Sample]:
    """Samples of what is random, with the same draws at every call."""
    for name, shape in (
        ("dropout", (3, 4)), ("alpha_dropout", (3, 4)), ("dropout1d", (2, 3, 4)),
        ("dropout2d", (2, 3, 2, 2)), ("dropout3d", (2, 3, 2, 2, 2)),
        ("feature_alpha_dropout", (2, 3, 4)),
    ):  # fmt: skip
        f = _drawn(getattr(ops, name))
        x = draws(name, *shape)
        # a mask acts entry by entry, on each side of 0: as a line through two points
        ends = {
            sign: (f(sign * np.ones(shape)), f(2.0 * sign * np.ones(shape))) for sign in (1, -1)
        }
        yield Sample(name, f, _lines(ends), (x,), "training", empty=False, spreads=False)
        yield Sample(name, along(getattr(ops, name), training=False), np.array, (x,), "evaluation")


def _drawn(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        with use_stream(Stream(3)):
            return f(x, training=True)

    return call


def _lines(ends: dict[int, tuple[Array, Array]]) -> Callable[[Array], Any]:
    def reference(x: Array) -> Any:
        sides = [2 * a - b + (b - a) * np.abs(x) for a, b in (ends[1], ends[-1])]
        return np.where(x > 0, *sides)

    return reference
