"""`Dense`: the layer every network has."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array
from chainrule.array.errors import ShapeError
from chainrule.array.random import default_stream
from chainrule.nn.activation import Activation, as_activation
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.formula import Formula

__all__ = ["Dense", "Linear"]

#: From a shape to an array, such as `chainrule.init.he_normal`.
Initializer: TypeAlias = Callable[[tuple[int, ...]], Array]

_RECTIFIERS = frozenset(
    ["relu", "leaky_relu", "elu", "gelu", "silu", "celu", "hardswish", "mish", "relu6"]
)


class Dense(Module):
    """A dense layer: ``y = f(x Wᵀ + b)``. Ledger F-01 to F-04, F-11, F-12 (erratum E000-01).

    Arguments:
        in_features: numbers per sample coming in, at least 1.
        out_features: numbers per sample going out, at least 1.
        bias: False leaves b out.
        activation: f, computed with the product in one pass and recorded as one node: a name
            (``"relu"``), a formula (also your own), or an `Activation` (``nn.LeakyReLU(0.2)``).
            None is the linear layer. A `Sequential` of a Dense and an activation runs the same way.
        weight_init, bias_init: functions from a shape to an array, such as
            `chainrule.init.he_normal`.

    Attributes:
        weight: ``(out_features, in_features)``, torch's layout.
        bias: ``(out_features,)`` or None.

    Initial values (ledger I-06): as torch's Linear, both from ``U(-1/√I, 1/√I)`` for I in_features.
    With `activation` one of relu, leaky_relu, elu, celu, relu6, gelu, silu, mish and hardswish,
    He's ``U(-√(6/I), √(6/I))``, which keeps the variance through rectifiers (ledger I-01, erratum
    E003-10; He et al. 2015), and a zero bias.

    Shapes: x is ``(..., in_features)``, y ``(..., out_features)``. An array is cast to the layer's
    type; a tensor of another floating type raises `TypeError`, and a shape that does not fit
    `ShapeError`: both name the layer.

    >>> import chainrule as cr, numpy as np
    >>> layer = cr.nn.Dense(3, 2, activation="relu")
    >>> layer, layer(np.ones((4, 3))).shape
    (Dense(3 -> 2, relu), (4, 2))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str | Formula[Any] | Activation | None = None,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        self.in_features = _count("in_features", in_features)
        self.out_features = _count("out_features", out_features)
        self.activation, self.options = as_activation(activation, "Dense")
        rectified = self.activation is not None and self.activation.name in _RECTIFIERS
        bound = 1 / math.sqrt(self.in_features)
        shape = (self.out_features, self.in_features)
        if weight_init is None:
            self.weight = _uniform(shape, math.sqrt(6) * bound if rectified else bound)
        else:
            self.weight = _initial("weight_init", weight_init, shape)
        self.bias: Parameter | None = None
        if bias and bias_init is not None:
            self.bias = _initial("bias_init", bias_init, shape[:1])
        elif bias:
            self.bias = (
                Parameter(np.zeros(shape[0], np.float32))
                if rectified
                else _uniform(shape[:1], bound)
            )

    def forward(self, x: Any) -> Any:
        return ops.dense(x, self.weight, self.bias, self.activation, **self.options)

    def extra_repr(self) -> str:
        parts = [f"{self.in_features} -> {self.out_features}"]
        if self.activation is not None:
            parts.append(self.activation.name)
            parts += [f"{k}={v!r}" for k, v in self.options.items()]
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

    def _constructor(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # how the first values were drawn is not part of what the layer is
        if type(self).__init__ is not Dense.__init__:
            return self._arguments
        options: dict[str, Any] = {}
        if self.bias is None:
            options["bias"] = False
        if self.options and self.activation is not None:
            options["activation"] = Activation(self.activation, **self.options)
        elif self.activation is not None:
            options["activation"] = self.activation
        return (self.in_features, self.out_features), options


#: torch's name for `Dense`.
Linear = Dense


def _count(name: str, value: Any) -> int:
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"Dense: {name} is a whole number, got {value!r}") from None
    if n < 1 or isinstance(value, bool):
        raise ValueError(f"Dense: {name} is at least 1, got {value!r}")
    return n


def _uniform(shape: tuple[int, ...], bound: float) -> Parameter:
    return Parameter(default_stream().uniform("init/Dense", shape, low=-bound, high=bound))


def _initial(name: str, init: Any, shape: tuple[int, ...]) -> Parameter:
    if not callable(init):
        example = f"chainrule.init.{init}" if isinstance(init, str) else "chainrule.init.he_normal"
        raise TypeError(f"Dense: {name} is a function of the shape, got {init!r}; pass {example}")
    values = np.asarray(init(shape))
    if values.shape != shape:
        raise ShapeError(f"Dense: {name} gave an array of shape {values.shape}, expected {shape}")
    return Parameter(values.astype(np.float32))
