"""Initial values of weights, by the variance that keeps a signal alive through many layers.

For independent weights and inputs of mean 0, ``Var(Σ_i w_i x_i) = n Var(w) Var(x)`` over n inputs
(ledger I-05, errata E004-28, E004-29): the signal keeps its variance forward with
``Var(w) = 1/fan_in`` (LeCun), the gradient keeps its own backward with ``1/fan_out``; Glorot's
``2/(fan_in + fan_out)`` lies between, and He's ``2/fan_in`` makes up for the half that a rectifier
removes.

Every function takes a shape and gives a float32 array, or takes a parameter, fills it in its own
type and gives it back. Draws come from the current random stream.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from chainrule.array.errors import ShapeError, nearest
from chainrule.array.random import default_stream
from chainrule.autograd.tape import Variable

__all__ = [
    "constant",
    "fans",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "trunc_normal",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def fans(shape: Iterable[int]) -> tuple[int, int]:
    """``(fan_in, fan_out)``: how many inputs an output sums, and how many outputs an input reaches.

    They are the two sides of the matrix itself, not of a neuron (ledger N-13, erratum E003-11).

    Arguments:
        shape: ``(out, in)`` or, of a convolution, ``(out, in, *kernel)``: both fans are then
            multiplied by the size of the kernel.

    Raises:
        ShapeError: for fewer than two axes, which have no fans.

    >>> fans((10, 128)), fans((8, 3, 5, 5))
    ((128, 10), (75, 200))
    """
    sides = tuple(shape)
    if len(sides) < 2:
        raise ShapeError(
            f"fans: expected the shape (out, in, ...) of a weight, got {sides}; give a bias zeros, "
            "or uniform with bounds of your own"
        )
    kernel = math.prod(sides[2:])
    return sides[1] * kernel, sides[0] * kernel


def gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much the standard deviation must grow to make up for a nonlinearity; torch's values.

    linear, identity, convolutions and sigmoid 1, tanh 5/3, relu √2, selu 3/4, and leaky_relu
    √(2/(1 + a²)) with a = `param` (0.01 by default). ``"lisa_logistic"`` is 4, the factor of note
    003 and of the LISA tutorials for the logistic function (ledger I-03, erratum E003-12), which
    is not in Glorot & Bengio's paper.

    Raises:
        ValueError: for another name, with the nearest.

    >>> gain("relu") ** 2, gain("tanh"), gain("leaky_relu", 1.0)
    (2.0000000000000004, 1.6666666666666667, 1.0)
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = [*_GAINS, "leaky_relu"]
        raise ValueError(f"no gain is known for {nonlinearity!r}; {nearest(nonlinearity, known)}")
    return _GAINS[nonlinearity]


_GAINS = {
    **dict.fromkeys(["linear", "identity", "sigmoid", "logistic"], 1.0),
    **dict.fromkeys([f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)], 1.0),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
    "lisa_logistic": 4.0,
}


def _place(target: Any, dtype: DTypeLike) -> tuple[tuple[int, ...], Any]:
    """The shape and type to fill: a parameter's own, or the ones asked for."""
    if hasattr(target, "assign"):
        return target.shape, target.dtype
    if isinstance(target, Variable | np.ndarray):
        raise TypeError(
            f"an initializer takes a shape or a parameter, not {type(target).__name__}; "
            f"pass the shape {target.shape}"  # type: ignore[union-attr]
        )
    try:
        return (operator.index(target),), dtype
    except TypeError:
        return tuple(map(operator.index, target)), dtype


def _give(target: Any, values: Any) -> Any:
    if not hasattr(target, "assign"):
        return values
    target.assign(values)
    return target


def uniform(target: Any, low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32) -> Any:
    """``U(low, high)``.

    Arguments:
        target: a shape, to get an array; or a `Parameter`, to fill it in place and get it back.
        low, high: the ends, low included.
        dtype: of the array; a parameter keeps its own.

    >>> import chainrule as cr
    >>> cr.init.uniform((2, 3), -1, 1).shape
    (2, 3)
    """
    shape, real = _place(target, dtype)
    return _give(target, default_stream().uniform("init/uniform", shape, real, low, high))


def normal(target: Any, mean: float = 0.0, std: float = 1.0, dtype: DTypeLike = np.float32) -> Any:
    """``N(mean, std²)``; arguments as in `uniform`.

    >>> import chainrule as cr
    >>> p = cr.nn.Parameter(np.zeros(2, np.float32))
    >>> cr.init.normal(p, std=0.02) is p
    True
    """
    shape, real = _place(target, dtype)
    return _give(target, default_stream().normal("init/normal", shape, real, mean, std))


def trunc_normal(
    target: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    dtype: DTypeLike = np.float32,
) -> Any:
    """``N(mean, std²)`` between `a` and `b`: what falls outside is drawn again.

    For mean 0 and bounds ±2 std, the variance is 0.774 std²; Keras divides std by the root of that,
    0.8796, in its truncated He and Glorot initializers.

    Arguments:
        target: a shape, to get an array; or a `Parameter`, to fill it in place and get it back.
        mean, std: of the normal before it is cut; std above 0.
        a, b: the bounds themselves, as in torch, not in units of std. No value passes them, not
            even by rounding.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ValueError: for bounds or a std out of order, and where under 1 % of the normal lies between
            the bounds, so that nearly all draws would be in vain.

    >>> import chainrule as cr
    >>> bool(abs(cr.init.trunc_normal((50, 40), std=0.02, a=-0.04, b=0.04)).max() <= 0.04)
    True
    """
    shape, real = _place(target, dtype)
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal needs std > 0 and a < b, got std={std}, a={a}, b={b}")
    low, high = ((bound - mean) / (std * math.sqrt(2)) for bound in (a, b))
    inside = (math.erf(high) - math.erf(low)) / 2
    if not inside >= 0.01:
        raise ValueError(
            f"only {inside:.2g} of a normal with mean {mean} and std {std} lies between a={a} and "
            f"b={b}; the bounds are values, not multiples of std: ±2 std are "
            f"a={mean - 2 * std:g}, b={mean + 2 * std:g}"
        )
    values = np.empty(math.prod(shape), real)
    open_places = np.arange(values.size)
    while open_places.size:
        drawn = default_stream().normal("init/trunc_normal", open_places.size, real, mean, std)
        exact = drawn.astype(np.float64)
        kept = (exact >= a) & (exact <= b)
        values[open_places[kept]] = drawn[kept]
        open_places = open_places[~kept]
    return _give(target, values.reshape(shape))


def constant(target: Any, value: float, dtype: DTypeLike = np.float32) -> Any:
    """`value` everywhere (such as 1 for the forget gate of an LSTM, ledger I-06).

    >>> constant(3, 0.5)
    array([0.5, 0.5, 0.5], dtype=float32)
    """
    shape, real = _place(target, dtype)
    return _give(target, np.full(shape, value, real))


def zeros(target: Any, dtype: DTypeLike = np.float32) -> Any:
    """Zeros, the usual bias (ledger I-06). As weights they never learn: all units stay alike.

    >>> zeros((1, 2))
    array([[0., 0.]], dtype=float32)
    """
    return constant(target, 0.0, dtype)


def ones(target: Any, dtype: DTypeLike = np.float32) -> Any:
    """Ones, the usual scale of a normalization.

    >>> ones(2)
    array([1., 1.], dtype=float32)
    """
    return constant(target, 1.0, dtype)


def _scaled(target: Any, law: str, variance: float, dtype: DTypeLike) -> Any:
    """Mean 0 and this variance: ``U(-√(3v), √(3v))`` or ``N(0, v)``."""
    if variance == 0:
        return zeros(target, dtype)
    if law == "normal":
        return normal(target, 0.0, math.sqrt(variance), dtype)
    bound = math.sqrt(3 * variance)
    return uniform(target, -bound, bound, dtype)


def _fans_of(target: Any) -> tuple[int, int]:
    """At least 1: a weight of no entries has nothing to scale."""
    fan_in, fan_out = fans(_place(target, np.float32)[0])
    return fan_in or 1, fan_out or 1


def _factor(given: float | str) -> float:
    return gain(given) if isinstance(given, str) else given


def xavier_uniform(target: Any, gain: float | str = 1.0, dtype: DTypeLike = np.float32) -> Any:
    """Glorot's ``U(-b, b)``, ``b = gain √(6 / (fan_in + fan_out))``, for tanh and linear layers.

    Ledger I-02; Glorot & Bengio 2010, equation 16. The fans are those of the matrix: the next
    layer's width, which note 003 takes, does not exist for the last layer (erratum E003-11).
    ``gain="lisa_logistic"`` is the rule of note 003 for the logistic function, four times as wide
    (ledger I-03, erratum E003-12), a convention of the LISA tutorials; torch's gain for it is 1.

    Arguments:
        target: the shape ``(out, in, ...)``, to get an array; or such a `Parameter`, to fill it.
        gain: factor on the standard deviation, or the nonlinearity whose `gain` to take.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ShapeError: for fewer than two axes.
        ValueError: for a nonlinearity without a gain.

    >>> float(abs(xavier_uniform((100, 50))).max()) <= (6 / 150) ** 0.5
    True
    """
    return _scaled(target, "uniform", _factor(gain) ** 2 * 2 / sum(_fans_of(target)), dtype)


def xavier_normal(target: Any, gain: float | str = 1.0, dtype: DTypeLike = np.float32) -> Any:
    """Glorot's ``N(0, gain² 2 / (fan_in + fan_out))``; see `xavier_uniform`. Erratum E004-27.

    >>> xavier_normal((10, 20)).shape
    (10, 20)
    """
    return _scaled(target, "normal", _factor(gain) ** 2 * 2 / sum(_fans_of(target)), dtype)


def lecun_uniform(target: Any, dtype: DTypeLike = np.float32) -> Any:
    """LeCun's ``U(-√(3/fan_in), √(3/fan_in))``: variance 1/fan_in; see `lecun_normal`.

    >>> lecun_uniform((10, 20)).shape
    (10, 20)
    """
    return _scaled(target, "uniform", 1 / _fans_of(target)[0], dtype)


def lecun_normal(target: Any, dtype: DTypeLike = np.float32) -> Any:
    """LeCun's ``N(0, 1/fan_in)``, which keeps the forward variance; for SELU.

    Ledger I-04, I-05; LeCun et al. 1998. Note 004 calls it Xavier's (erratum E004-27).

    >>> lecun_normal((10, 20)).shape
    (10, 20)
    """
    return _scaled(target, "normal", 1 / _fans_of(target)[0], dtype)


def _he(target: Any, law: str, a: float, mode: str, nonlinearity: str, dtype: DTypeLike) -> Any:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans_of(target)[mode == "fan_out"]
    return _scaled(target, law, gain(nonlinearity, a) ** 2 / fan, dtype)


def he_uniform(
    target: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: DTypeLike = np.float32,
) -> Any:
    """He's ``U(-b, b)``, ``b = gain √(3/fan)``: ``√(6/fan_in)`` for rectifiers.

    Ledger I-01; He et al. 2015. The root covers the 6, unlike in note 003 (erratum E003-10).

    Arguments:
        target: the shape ``(out, in, ...)``, to get an array; or such a `Parameter`, to fill it.
        a: slope of the leaky rectifier for negative numbers; 0, the default as in torch, is relu.
        mode: ``"fan_in"`` keeps the variance forward, ``"fan_out"`` backward.
        nonlinearity: whose `gain` to take.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ShapeError: for fewer than two axes.
        ValueError: for another mode or nonlinearity.

    >>> float(abs(he_uniform((100, 50))).max()) <= (6 / 50) ** 0.5
    True
    """
    return _he(target, "uniform", a, mode, nonlinearity, dtype)


def he_normal(
    target: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: DTypeLike = np.float32,
) -> Any:
    """He's ``N(0, gain²/fan)``: ``2/fan_in`` for rectifiers; arguments as in `he_uniform`.

    >>> he_normal((10, 20)).shape
    (10, 20)
    """
    return _he(target, "normal", a, mode, nonlinearity, dtype)


kaiming_uniform, kaiming_normal = he_uniform, he_normal
glorot_uniform, glorot_normal = xavier_uniform, xavier_normal
truncated_normal = trunc_normal
