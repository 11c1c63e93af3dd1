"""The dense layer: a product and a head (bias and activation), one node on the tape."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chainrule.array.dtypes import is_float
from chainrule.array.namespace import NUMPY
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Op, Variable, apply
from chainrule.compile.expression import Expr
from chainrule.ops.formula import Compiled, Formula
from chainrule.ops.product import per_sample_rows
from chainrule.ops.signature import Signature

__all__ = ["dense", "linear"]


@functools.lru_cache(maxsize=1024)
def _head(
    activation: Formula[Any] | None, attrs: tuple[tuple[str, Any], ...], bias: bool
) -> Compiled | None:
    """``activation(z + b)`` as one program."""
    if activation is None and not bias:
        return None

    def text(xp: Any, z: Any, b: Any = 0.0) -> Any:
        s = z + b if isinstance(b, Expr) else z
        return s if activation is None else activation(s, **dict(attrs))

    def with_bias(xp: Any, z: Any, b: Any) -> Any:
        return text(xp, z, b)

    def without_bias(xp: Any, z: Any) -> Any:
        return text(xp, z)

    name = "bias" if activation is None else f"bias_{activation.name}" if bias else activation.name
    return Formula(with_bias if bias else without_bias, name).compiled()


@functools.lru_cache(maxsize=1024)
def _reads(head: Compiled, bias: bool) -> tuple[bool, bool, bool]:
    """Whether the head's derivative reads the product z (or what follows from it), the bias and
    the output."""
    every = (True, True) if bias else (True,)
    sources = head.derivative(every)[1]
    z = ("x", 0) in head.reads(every) or head.planned(every) is not None
    return z, ("x", 1) in sources, ("y", 0) in sources


class _Dense(Op):
    """``y = f(x Wᵀ + b)``.

    With ``δ = f'(x Wᵀ + b) ⊙ g`` (the derivative of the head): ``dx = δ W``, ``dW = δᵀ x``, ``db =
    Σ_rows δ`` (ledger B-01 to B-03 in the orientation of N-11; errata E000-15, E000-16).
    """

    name = "dense"
    signature = Signature("x: (..., I), W: (O, I), b: (O,) -> (..., O)")
    unbiased = Signature("x: (..., I), W: (O, I) -> (..., O)")

    def forward(
        self, xp: Any, x: Any, W: Any, b: Any = None, *, activation: Any = None, options: Any = ()
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        z = xp.matmul(x, xp.matrix_transpose(W))
        head = _head(activation, options, b is not None)
        if head is None:
            return (z,), ()
        arguments = (z,) if b is None else (z, b)
        reads_z = _reads(head, b is not None)[0]
        planned = head.planned((True,) * len(arguments)) if xp is NUMPY and state.enabled else None
        if planned is not None:
            outputs, kept = planned.run(arguments)
            return outputs, (z, *kept)
        if xp is NUMPY and not reads_z:
            return (head.into((0,), *arguments),), ()  # the product's memory becomes the output
        return (head(*arguments),), ((z,) if reads_z else ())

    def keeps(self, needed: tuple[bool, ...], attrs: dict[str, Any]) -> Any:
        bias = len(needed) == 3
        head = _head(attrs.get("activation"), attrs.get("options", ()), bias)
        z, b, y = (False, False, False) if head is None else _reads(head, bias)
        # where z is read, the second order computes it again, on tensors
        return (z or needed[1], z or needed[0], z or b)[: len(needed)], (y,)

    def _delta(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        g: Any,
        activation: Any,
        options: Any,
        bias: bool,
    ) -> tuple[Any, Any]:
        """The error signal δ and, where wanted, the gradient of the bias."""
        head = _head(activation, options, len(inputs) == 3)
        if head is None:
            return g, None
        planned = head.planned((True,) * (len(inputs) - 1)) if len(residuals) > 1 else None
        if planned is not None and xp is NUMPY:
            arguments = [residuals[0], *inputs[2:]]
            wanted = (True, bias)[: len(arguments)]
            found = planned.pull(arguments, outputs, residuals[1:], (g,), wanted)
            return found[0], (found[1] if bias else None)
        # of a product that was not kept only the shape is read, which is that of g
        z = residuals[0] if residuals else g if xp is NUMPY else Variable._wrap(g._data)
        arguments = [z] if len(inputs) == 2 else [z, inputs[2]]
        wanted = (True, bias)[: len(arguments)]
        cotangents = head.vjp(xp, arguments, outputs, (), (g,), wanted)
        return cotangents[0], (cotangents[1] if bias else None)

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        *,
        activation: Any = None,
        options: Any = (),
        **attrs: Any,
    ) -> Any:
        x, W = inputs[:2]
        bias = len(needed) == 3 and needed[2]
        delta, db = self._delta(
            xp, inputs, outputs, residuals, cotangents[0], activation, options, bias
        )
        dx = xp.matmul(delta, W) if needed[0] else None
        dW = None
        if needed[1]:
            if len(delta.shape) == 2:
                dW = xp.matmul(xp.matrix_transpose(delta), x)
            else:
                rows = xp.reshape(delta, (-1, delta.shape[-1]))
                dW = xp.matmul(xp.matrix_transpose(rows), xp.reshape(x, (-1, x.shape[-1])))
        return (dx, dW, db)[: len(needed)]

    def per_sample(
        self,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        parameters: Any,
        *,
        activation: Any = None,
        options: Any = (),
        **attrs: Any,
    ) -> Any:
        """``dW_n = δ_nᵀ x_n`` for every sample n at once; further axes of a sample are summed."""
        x, W = inputs[:2]
        delta, _ = self._delta(
            NUMPY, inputs, outputs, residuals, cotangents[0], activation, options, False
        )
        rows = per_sample_rows(delta)
        dx = np.matmul(delta, W) if needed[0] else None
        dW = None
        if needed[1]:
            dW = np.matmul(np.swapaxes(rows, 1, 2), per_sample_rows(x))
        db = np.add.reduce(rows, axis=1) if len(needed) == 3 and needed[2] else None
        return (dx, dW, db)[: len(needed)]


_dense = _Dense()


def dense(
    x: Any, weight: Any, bias: Any = None, activation: Formula[Any] | None = None, **options: Any
) -> Any:
    """A dense layer: ``y = f(x Wᵀ + b)``. Ledger F-01 to F-04, F-11, F-12 (erratum E000-01).

    Arguments:
        x: ``(..., in_features)``; rows are samples.
        weight: ``(out_features, in_features)``, torch's layout.
        bias: ``(out_features,)`` or None.
        activation: a formula such as `ops.relu`, computed in the same pass and recorded in the same
            node; None is the linear layer. `options` are its attributes.

    Returns:
        ``(..., out_features)``.

    Raises:
        ShapeError: names the layer, what was expected, what came and a likely fix.

    >>> import numpy as np
    >>> dense(np.ones((2, 3)), np.ones((4, 3)), np.zeros(4)).shape
    (2, 4)
    """
    attrs: dict[str, Any] = {}
    if activation is not None:
        attrs["activation"] = activation
        if options:
            attrs["options"] = tuple(sorted(options.items()))
    if bias is None:
        if not _Dense.unbiased.fits(x.shape, weight.shape):
            _Dense.unbiased.check("dense", x.shape, weight.shape)
        return apply(_dense, *_same_type(x, weight), **attrs)[0]
    if not _Dense.signature.fits(x.shape, weight.shape, bias.shape):
        _Dense.signature.check("dense", x.shape, weight.shape, bias.shape)
    return apply(_dense, *_same_type(x, weight, bias), **attrs)[0]


def _same_type(*args: Any) -> tuple[Any, ...]:
    """Raw arrays follow the weight's type; a tensor of another type is a mistake."""
    dtype = args[1].dtype
    if args[0].dtype is dtype or args[0].dtype == dtype:
        return args
    x = args[0]
    if isinstance(x, Variable) and is_float(x._data.dtype):
        who = describe(state.frame) or "dense"
        raise TypeError(
            f"{who}: x is a {x._data.dtype} tensor, the weights are {dtype}; convert one, for "
            f"example x.astype({str(dtype)!r}) or "
            f"model.{'double' if x._data.dtype == np.float64 else 'float'}()"
        )
    return (x.astype(dtype), *args[1:])


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """torch's name for `dense` without activation: ``x Wᵀ + b``."""
    return dense(x, weight, bias)
