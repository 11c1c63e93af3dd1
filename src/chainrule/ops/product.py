"""Products: of matrices, in batches, and Einstein sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.array.namespace import NUMPY
from chainrule.autograd.tape import Op, apply
from chainrule.ops import elementwise as e
from chainrule.ops.shape import _data, _one_dtype, _shape, astype, matrix_transpose, reshape

__all__ = ["einsum", "matmul"]


class _Matmul(Op):
    """Matrix product; with batches on the leading axes, which broadcast."""

    name = "matmul"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (needed[1], needed[0]), (False,)

    def forward(self, xp: Any, a: Any, b: Any, shapes: Any) -> Any:
        return (NUMPY.matmul(a, b),), ()

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        **attrs: Any,
    ) -> Any:
        a, b = inputs
        (g,) = cotangents
        da = (
            sum_to_shape(xp.matmul(g, matrix_transpose(b)), attrs["shapes"][0])
            if needed[0]
            else None
        )
        db = (
            sum_to_shape(xp.matmul(matrix_transpose(a), g), attrs["shapes"][1])
            if needed[1]
            else None
        )
        return da, db

    def per_sample(
        self,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        parameters: Any,
        **attrs: Any,
    ) -> Any:
        """``x W`` with one matrix W for all samples: ``dW_n = x_nᵀ g_n``."""
        (x, w), (g,) = inputs, cotangents
        if parameters[0] or len(attrs["shapes"][1]) != 2:
            raise NotImplementedError(
                "matmul has a gradient per sample only for a matrix on its right: x @ w"
            )
        dx = np.matmul(g, w.T) if needed[0] else None
        return dx, np.matmul(np.swapaxes(per_sample_rows(x), 1, 2), per_sample_rows(g))


def per_sample_rows(a: Any) -> Any:
    """All axes between the first and the last as one: (samples, rows, columns)."""
    return a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1])


_matmul = _Matmul()


def sum_to_shape(g: Any, shape: tuple[int, ...]) -> Any:
    return g if g.shape == shape else e.sum_to(g, np.broadcast_to(np.zeros((), bool), shape))


def matmul(a: Any, b: Any) -> Any:
    """``a @ b`` with NumPy's rules for vectors and batches.

    Raises:
        ShapeError: names both shapes and the axes that should agree.

    >>> matmul(np.ones((2, 3)), np.ones(3))
    array([3., 3.])
    """
    a, b = _data(a), _data(b)
    sa, sb = _shape(a), _shape(b)
    if not sa or not sb:
        raise ShapeError(
            f"matmul needs arrays with axes, got shapes {sa} and {sb}; use * for numbers"
        )
    if sa[-1] != sb[-2 if len(sb) > 1 else 0]:
        raise ShapeError(
            f"matmul: {sa} @ {sb}: the last axis of the first ({sa[-1]}) must equal the "
            f"{'second to last' if len(sb) > 1 else 'only'} axis of the second "
            f"({sb[-2 if len(sb) > 1 else 0]})"
        )
    a, b = _float_pair(a, b)
    if len(sa) == 1 and len(sb) == 1:
        return e.squeeze(matmul(reshape(a, 1, -1), reshape(b, -1, 1)), axis=(0, 1))
    if len(sa) == 1:
        return e.squeeze(matmul(reshape(a, 1, -1), b), axis=-2)
    if len(sb) == 1:
        return e.squeeze(matmul(a, reshape(b, -1, 1)), axis=-1)
    return apply(_matmul, a, b, shapes=(sa, sb))[0]


def _float_pair(a: Any, b: Any) -> tuple[Any, Any]:
    if a.dtype == b.dtype and a.dtype.kind == "f":
        return a, b
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        return a, b
    kinds = [x.dtype for x in (a, b) if x.dtype.kind == "f"]
    dtype = np.result_type(*kinds)
    return (
        a if a.dtype == dtype else astype(a, dtype),
        b if b.dtype == dtype else astype(b, dtype),
    )


class _Einsum(Op):
    name = "einsum"
    view = True  # of one operand, a permutation

    def keeps(self, needed: Any, attrs: Any) -> Any:
        others = sum(needed)
        return [others > (1 if n else 0) for n in needed], (False,)

    def forward(self, xp: Any, *xs: Any, spec: Any, shapes: Any) -> Any:
        return (np.einsum(spec, *xs, optimize=len(xs) > 2),), ()

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        **attrs: Any,
    ) -> Any:
        left, out = attrs["spec"].split("->")
        terms = left.split(",")
        results: list[Any] = []
        for k, n in enumerate(needed):
            if not n:
                results.append(None)
                continue
            rest = [(t, x) for j, (t, x) in enumerate(zip(terms, inputs, strict=True)) if j != k]
            known = set(out).union(*(t for t, _ in rest))
            # letters summed away in the forward product come back by broadcasting
            reachable = "".join(c for c in terms[k] if c in known)
            spec = ",".join([out, *(t for t, _ in rest)]) + "->" + reachable
            g = einsum(spec, cotangents[0], *(x for _, x in rest))
            for axis, c in enumerate(terms[k]):
                if c not in known:
                    g = e.expand_dims(g, axis=axis)
            results.append(e.broadcast_to(g, attrs["shapes"][k]))
        return results


_einsum = _Einsum()


def einsum(spec: str, *arrays: Any) -> Any:
    """Einstein summation: ``einsum("bi,oi->bo", x, w)``.

    Letters only, with an explicit or implied output; no ellipsis and no letter twice in one
    operand.

    Raises:
        ValueError: for a specification outside this.

    >>> einsum("ij,jk->ik", np.eye(2), np.ones((2, 3))).shape
    (2, 3)
    """
    spec = spec.replace(" ", "")
    if "." in spec:
        raise ValueError("einsum: write every axis as a letter; '...' is not supported")
    left, arrow, out = spec.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "")
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if len(terms) != len(arrays):
        raise ValueError(f"einsum {spec!r} names {len(terms)} operands, {len(arrays)} were given")
    for t in [*terms, out]:
        if len(set(t)) != len(t):
            raise ValueError(f"einsum: a letter stands twice in {t!r}; take the diagonal first")
    for c in out:
        if c not in left:
            raise ValueError(f"einsum {spec!r}: the output letter {c!r} is in no operand")
    xs = [_data(a) for a in arrays]
    lengths: dict[str, int] = {}
    for t, x in zip(terms, xs, strict=True):
        if len(t) == len(_shape(x)):
            for c, n in zip(t, _shape(x), strict=True):
                if lengths.setdefault(c, n) != n:
                    raise ShapeError(f"einsum {spec!r}: {c!r} has length {lengths[c]} and {n}")
        else:
            raise ShapeError(
                f"einsum {spec!r}: {t!r} names {len(t)} axes, its operand has shape {_shape(x)}"
            )
    xs = _one_dtype(xs)
    return apply(
        _einsum, *xs, spec=f"{','.join(terms)}->{out}", shapes=tuple(_shape(x) for x in xs)
    )[0]
