"""Products: of matrices, in batches, and Einstein sums."""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.array.namespace import NUMPY
from chainrule.autograd.tape import Op, apply
from chainrule.ops import elementwise as e
from chainrule.ops.shape import (
    _data,
    _one_dtype,
    _shape,
    astype,
    getitem,
    matrix_transpose,
    permute_dims,
    reshape,
)

__all__ = ["einsum", "matmul"]


class _Matmul(Op):
    """Matrix product; with batches on the leading axes, which broadcast."""

    name = "matmul"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (needed[1], needed[0]), (False,)

    def forward(self, xp: Any, a: Any, b: Any, shapes: Any) -> Any:
        return (NUMPY.matmul(a, b),), ()

    def common(self, attrs: dict[str, Any]) -> Any:
        right = len(attrs["shapes"][1]) > 2
        return [k for k, shape in enumerate(attrs["shapes"]) if len(shape) <= 2 and (k or right)]

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
        """One matrix for all samples: ``dW_n = x_nᵀ g_n`` of ``x W``; ``dW_n = g_n x_nᵀ`` of
        ``W x``, where x has three axes or more."""
        (a, b), (g,) = inputs, cotangents
        left, right = (len(shape) for shape in attrs["shapes"])
        if parameters[0] and not parameters[1] and left == 2 and right > 2:
            dw = np.matmul(g, np.swapaxes(b, -1, -2))
            dx = np.matmul(a.T, g) if needed[1] else None
            return dw.sum(axis=tuple(range(1, dw.ndim - 2))), dx
        if parameters[0] or right != 2:
            raise NotImplementedError(
                "matmul has a gradient per sample only for one matrix beside x: x @ w, or w @ x "
                "with samples on the first of three axes of x"
            )
        dx = np.matmul(g, b.T) if needed[0] else None
        return dx, np.matmul(np.swapaxes(per_sample_rows(a), 1, 2), per_sample_rows(g))


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
            if not rest and reachable == out != terms[k]:  # a sum
                g = cotangents[0]
            elif rest and not out:  # a factor
                spec = ",".join(t for t, _ in rest) + "->" + reachable
                g = einsum(spec, *(x for _, x in rest)) * cotangents[0]
            else:
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

    As in NumPy: the output may be left out, ``...`` stands for axes that broadcast, and a letter
    twice in one operand takes its diagonal.

    Raises:
        ValueError: for a specification that names what is not there.
        ShapeError: for axes of one letter with two lengths.

    >>> einsum("ij,jk->ik", np.eye(2), np.ones((2, 3))).shape
    (2, 3)
    >>> float(einsum("ii->", np.eye(3)))  # the trace
    3.0
    """
    spec = spec.replace(" ", "")
    left, arrow, out = spec.partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays):
        raise ValueError(f"einsum {spec!r} names {len(terms)} operands, {len(arrays)} were given")
    xs = [_data(a) for a in arrays]
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        out = "..." * ("..." in left)
        out += "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if "." in spec:
        terms, out, xs = _without_ellipsis(spec, terms, out, xs)
    if len(set(out)) != len(out):
        raise ValueError(f"einsum {spec!r}: a letter stands twice in the output {out!r}")
    for c in out:
        if c not in "".join(terms):
            raise ValueError(f"einsum {spec!r}: the output letter {c!r} is in no operand")
    lengths: dict[str, int] = {}
    for k, (t, x) in enumerate(zip(terms, xs, strict=True)):
        if len(t) == len(_shape(x)):
            for c, n in zip(t, _shape(x), strict=True):
                if lengths.setdefault(c, n) != n:
                    raise ShapeError(f"einsum {spec!r}: {c!r} has length {lengths[c]} and {n}")
        else:
            raise ShapeError(
                f"einsum {spec!r}: {t!r} names {len(t)} axes, its operand has shape {_shape(x)}"
            )
        if len(set(t)) != len(t):
            terms[k], xs[k] = _diagonals(t, x)
    xs = _one_dtype(xs)
    return apply(
        _einsum, *xs, spec=f"{','.join(terms)}->{out}", shapes=tuple(_shape(x) for x in xs)
    )[0]


def _without_ellipsis(
    spec: str, terms: list[str], out: str, xs: list[Any]
) -> tuple[list[str], str, list[Any]]:
    """Letters for the axes that ``...`` stands for; where they broadcast, x is repeated."""
    rest = [len(_shape(x)) - len(t.replace("...", "")) for t, x in zip(terms, xs, strict=True)]
    for text, more in zip([*terms, out], [*rest, 0], strict=True):
        if text.count(".") != 3 * text.count("...") or text.count("...") > 1 or more < 0:
            raise ValueError(f"einsum {spec!r}: {text!r} has no place for its axes")
    free = [c for c in string.ascii_letters if c not in spec]
    names = "".join(free[: max([0, *(n for t, n in zip(terms, rest, strict=True) if "." in t)])])
    at = [t.find("...") for t in terms]
    middle = [_shape(x)[a : a + n] if a >= 0 else () for a, n, x in zip(at, rest, xs, strict=True)]
    common = np.broadcast_shapes(*middle)
    for k, (a, own) in enumerate(zip(at, middle, strict=True)):
        wanted = common[len(common) - len(own) :]
        if own != wanted:
            shape = _shape(xs[k])
            xs[k] = e.broadcast_to(xs[k], (*shape[:a], *wanted, *shape[a + len(own) :]))
    terms = [
        t.replace("...", names[len(names) - n :] if n else "")
        for t, n in zip(terms, rest, strict=True)
    ]
    return terms, out.replace("...", names), xs


def _diagonals(term: str, x: Any) -> tuple[str, Any]:
    """Where a letter stands twice, the entries with equal indices; their axis comes last."""
    for c in sorted(set(term), key=term.index):
        if term.count(c) > 1:
            axes = [k for k, other in enumerate(term) if other == c]
            order = [k for k in range(len(term)) if k not in axes] + axes
            every = np.arange(_shape(x)[axes[0]])
            x = getitem(permute_dims(x, order), (..., *(every,) * len(axes)))
            term = term.replace(c, "") + c
    return term, x
