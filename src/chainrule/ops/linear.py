"""The dense layer: a product and a head (bias and activation), one node on the tape."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from chainrule.array.abstract import as_array
from chainrule.array.dtypes import is_float
from chainrule.array.namespace import NUMPY
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Op, Variable, apply, apply_raw
from chainrule.compile.kernel import Kernel
from chainrule.ops.formula import Formula
from chainrule.ops.product import per_sample_rows
from chainrule.ops.signature import Signature

__all__ = ["dense", "linear"]


class _Head:
    """What follows the product, ``f(z + b)``, as one program, and what its derivative reads."""

    def __init__(
        self, activation: Formula[Any] | None, options: tuple[tuple[str, Any], ...], bias: bool
    ) -> None:
        def text(xp: Any, z: Any, b: Any = None) -> Any:
            s = z if b is None else z + b
            return s if activation is None else activation(s, **dict(options))

        def with_bias(xp: Any, z: Any, b: Any) -> Any:
            return text(xp, z, b)

        def without_bias(xp: Any, z: Any) -> Any:
            return text(xp, z)

        names = (["bias"] if bias else []) + ([activation.name] if activation else [])
        f: Formula[Any] = Formula(with_bias if bias else without_bias, "_".join(names))
        f.own = activation is not None and activation.own
        self.program = f.compiled()
        every = (True, True) if bias else (True,)
        sources = self.program.derivative(every)[1]
        self.planned = self.program.planned(every)
        # without residuals, and the product's memory becomes the output
        self.fused = Kernel(self.program.program, donated=(0,), own=f.own)
        self.reads_z = self.planned is not None or ("x", 0) in self.program.reads(every)
        self.reads_b = ("x", 1) in sources
        self.reads_y = ("y", 0) in sources

    def pull(
        self, xp: Any, bias: Any, outputs: Any, residuals: Any, g: Any, want_bias: bool
    ) -> tuple[Any, Any]:
        """The error signal δ and, where wanted, the gradient of the bias."""
        # of a product that was not kept only the shape is read, which is that of g
        z = residuals[0] if residuals else g if xp is NUMPY else Variable._wrap(g._data)
        arguments = (z, *bias)
        wanted = (True, want_bias)[: len(arguments)]
        if xp is NUMPY and self.planned is not None:
            found = self.planned.pull(arguments, outputs, residuals[1:], (g,), wanted)
        else:
            found = self.program.vjp(xp, arguments, outputs, (), (g,), wanted)
        return found[0], found[1] if want_bias else None


@functools.lru_cache(maxsize=1024)
def _head(
    activation: Formula[Any] | None, options: tuple[tuple[str, Any], ...], bias: bool
) -> _Head | None:
    return None if activation is None and not bias else _Head(activation, options, bias)


class _Dense(Op):
    """``y = f(x Wᵀ + b)``.

    With ``δ = f'(x Wᵀ + b) ⊙ g`` (the derivative of the head): ``dx = δ W``, ``dW = δᵀ x``, ``db =
    Σ_rows δ`` (ledger B-01 to B-03 in the orientation of N-11; errata E000-15, E000-16).
    """

    name = "dense"
    signature = Signature("x: (..., I), W: (O, I), b: (O,) -> (..., O)")
    unbiased = Signature("x: (..., I), W: (O, I) -> (..., O)")

    def forward(
        self, xp: Any, x: Any, W: Any, *b: Any, head: _Head | None
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        z = xp.matmul(x, xp.matrix_transpose(W))
        if head is None:
            return (z,), ()
        if xp is not NUMPY or (head.planned is None and head.reads_z):
            return (head.program(z, *b),), ((z,) if head.reads_z else ())
        if head.planned is not None and state.enabled:
            outputs, kept = head.planned.run((z, *b))
            return outputs, (z, *kept)
        return head.fused(z, *b), ()

    def keeps(self, needed: tuple[bool, ...], attrs: dict[str, Any]) -> Any:
        head = attrs["head"]
        if head is None:
            return (needed[1], needed[0]), (False,)
        z = head.reads_z  # then the second order computes it again, on tensors
        return (z or needed[1], z or needed[0], z or head.reads_b)[: len(needed)], (head.reads_y,)

    def common(self, attrs: dict[str, Any]) -> Any:
        return (1, 2)

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        *,
        head: _Head | None = None,
        **attrs: Any,
    ) -> Any:
        x, W, *b = inputs
        delta, db = cotangents[0], None
        if head is not None:
            want_bias = len(needed) == 3 and needed[2]
            delta, db = head.pull(xp, b, outputs, residuals, delta, want_bias)
        dx = xp.matmul(delta, W) if needed[0] else None
        dW = None
        if needed[1]:
            rows = delta
            if len(delta.shape) != 2:
                n = math.prod(delta.shape[:-1])
                rows = xp.reshape(delta, (n, delta.shape[-1]))
                x = xp.reshape(x, (n, x.shape[-1]))
            dW = xp.matmul(xp.matrix_transpose(rows), x)
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
        head: _Head | None = None,
        **attrs: Any,
    ) -> Any:
        """``dW_n = δ_nᵀ x_n`` for every sample n at once; further axes of a sample are summed."""
        if parameters[0]:
            raise NotImplementedError(
                "dense has no gradient per sample for an x that is not of the samples"
            )
        x, W, *b = inputs
        delta = cotangents[0]
        if head is not None:
            delta, _ = head.pull(NUMPY, b, outputs, residuals, delta, False)
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
    """A dense layer: ``y = f(x Wᵀ + b)``. Ledger F-01, F-02, F-04 to F-06, F-11 to F-14 (erratum
    E000-01).

    Backward, with the error signal ``δ = Jᵀ g`` (``f'(z) ⊙ g`` for an element-wise f):
    ``dx = δ W``, ``dW = δᵀ x`` and ``db = Σ_rows δ``. Ledger B-02, B-03, B-07, B-09, B-10, B-12,
    B-13, B-16 to B-19 (errata E000-14 to E000-16, E001-04, E001-07).

    Arguments:
        x: ``(..., in_features)``; rows are samples. A list becomes an array of the weight's type.
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
    if type(x) is not np.ndarray and not isinstance(x, Variable):
        x = as_array(x)
    head = _head(activation, tuple(sorted(options.items())) if options else (), bias is not None)
    args = (x, weight) if bias is None else (x, weight, bias)
    if bias is not None and not isinstance(bias, Variable) and not hasattr(bias, "shape"):
        args = (x, weight, as_array(bias, weight.dtype))
    signature = _Dense.unbiased if bias is None else _Dense.signature
    # not by `shape` and `dtype` of a tensor, which are calls
    raw = [a._data if isinstance(a, Variable) else a for a in args]
    shapes = [a.shape for a in raw]
    if not signature.fits(*shapes):
        signature.check("dense", *shapes)
    if raw[0].dtype != raw[1].dtype:
        return apply(_dense, *same_type(*args), head=head)[0]
    return apply_raw(_dense, args, raw, {"head": head})[0]


def same_type(*args: Any, who: str = "dense") -> tuple[Any, ...]:
    """Raw arrays follow the weight's type; a tensor of another type is a mistake."""
    dtype = args[1].dtype
    if args[0].dtype is dtype or args[0].dtype == dtype:
        return args
    x = args[0]
    if isinstance(x, Variable) and is_float(x._data.dtype):
        who = describe(state.frame) or who
        raise TypeError(
            f"{who}: x is a {x._data.dtype} tensor, the weights are {dtype}; convert one, for "
            f"example x.astype({str(dtype)!r}) or "
            f"model.{'double' if x._data.dtype == np.float64 else 'float'}()"
        )
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{describe(state.frame) or who}: x must hold numbers, not {x.dtype}")
    return (x.astype(dtype), *args[1:])


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """torch's name for `dense` without activation: ``x Wᵀ + b``. Ledger F-01.

    x is ``(..., I)``, `weight` ``(O, I)`` and `bias` ``(O,)`` or None; the result is ``(..., O)``.

    Raises:
        ShapeError: names the shapes that do not fit.

    >>> import numpy as np
    >>> linear(np.ones((1, 3)), np.ones((2, 3)), np.array([0.0, 1.0]))
    array([[3., 4.]])
    """
    return dense(x, weight, bias)
