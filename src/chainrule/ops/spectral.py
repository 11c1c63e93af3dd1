"""The spectral norm of a weight: exactly, with all derivatives, and by power iteration."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.autograd.context import no_grad
from chainrule.autograd.tape import Op, Variable, apply
from chainrule.compile.symbolic import capture_error
from chainrule.ops.formula import formula
from chainrule.ops.product import matmul
from chainrule.ops.regularization import as_matrix
from chainrule.ops.shape import _shape, concatenate, matrix_transpose

__all__ = ["power_iteration", "singular_vectors", "spectral_norm"]


class _Solve(Op):
    """``x`` with ``a x = b``; NaN for a singular a."""

    name = "solve"

    def forward(self, xp: Any, a: Any, b: Any) -> Any:
        try:
            return (np.linalg.solve(a, b),), ()
        except np.linalg.LinAlgError:
            return (np.full_like(b, np.nan),), ()

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
        (gb,) = apply(_solve, matrix_transpose(inputs[0]), cotangents[0])
        return -matmul(gb, matrix_transpose(outputs[0])), gb


_solve = _Solve()


class _Top(Op):
    """The largest singular value of a matrix, and its vectors: ``W v = σ u``, ``Wᵀ u = σ v``."""

    name = "spectral_norm"

    def forward(self, xp: Any, w: Any) -> Any:
        if not isinstance(w, np.ndarray):
            raise capture_error(
                "spectral_norm computes singular values, which a captured step cannot; "
                "power_iteration can"
            )
        rows, columns = w.shape
        u, v = np.zeros((rows, 1), w.dtype), np.zeros((columns, 1), w.dtype)
        if not w.size:
            return (np.zeros((), w.dtype), u, v), ()
        if not np.isfinite(w).all():  # an infinite entry makes the norm infinite
            u[...] = v[...] = np.nan
            return (np.max(np.abs(w)), u, v), ()
        left, values, right = np.linalg.svd(w, full_matrices=False)
        return (
            np.asarray(values[0]),
            np.ascontiguousarray(left[:, :1]),
            np.ascontiguousarray(right[:1].T),
        ), ()

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
        (w,), (s, u, v), (gs, gu, gv) = inputs, outputs, cotangents
        t = matrix_transpose
        g = gs * matmul(u, t(v))
        if _is_zero(gu) and _is_zero(gv):
            return (g,)
        # the vectors turn by K⁺ (dW v, dWᵀ u), K = [[σ I, -W], [-Wᵀ, σ I]]. K is singular along
        # z = (u, v), which a border makes good
        rows, columns = _shape(w)
        scaled = [s * np.eye(n, dtype=w.dtype) for n in (rows, columns)]
        corner = np.zeros((1, 1), w.dtype)
        border = t(concatenate([u, v], axis=0))
        k = concatenate(
            [
                concatenate([scaled[0], -w, u], axis=1),
                concatenate([-t(w), scaled[1], v], axis=1),
                concatenate([border, corner], axis=1),
            ],
            axis=0,
        )
        right = concatenate([gu, gv, corner], axis=0)
        (x,) = apply(_solve, k, right)
        return (g + matmul(x[:rows], t(v)) + matmul(u, t(x[rows : rows + columns])),)


_top = _Top()


def _is_zero(g: Any) -> bool:
    """Whether nothing comes from here: zeros that stand for an output nobody used."""
    if isinstance(g, Variable):
        return not g.requires_grad and not g._data.any()
    return not g.any()


def spectral_norm(w: Any) -> Any:
    """The largest singular value σ₁ of a weight as a matrix, exactly.

    Ledger R-05, errata E004-30, E004-31. Its derivative is ``u₁ v₁ᵀ``, and all orders follow where
    σ₁ is simple. Where it is repeated, one of the pairs is taken (a subgradient), and the second
    derivative, which does not exist, is NaN or of the size of 1/rounding.

    Arguments:
        w: a weight ``(out, in, ...)``; its other axes count as inputs.

    Raises:
        ShapeError: for fewer than two axes.

    >>> float(spectral_norm(np.diag([3.0, 4.0])))
    4.0
    """
    return apply(_top, as_matrix(w, "a spectral norm"))[0]


def singular_vectors(w: Any) -> tuple[Any, Any, Any]:
    """σ₁ of a weight as a matrix with its unit vectors, columns u and v: ``W v = σ₁ u``.

    All three have derivatives where σ₁ is simple. The sign of the pair is LAPACK's choice.

    >>> sigma, u, v = singular_vectors(np.array([[0.0, 2.0], [0.0, 0.0]]))
    >>> float(sigma), abs(u[:, 0]), abs(v[:, 0])
    (2.0, array([1., 0.]), array([0., 1.]))
    """
    sigma, u, v = apply(_top, as_matrix(w, "a spectral norm"))
    return sigma, u, v


class _Between(Op):
    """``uᵀ W v`` for vectors that follow W: it has the derivative ``u vᵀ``, and no second one."""

    name = "power_iteration"
    second_order = "none"

    def forward(self, xp: Any, w: Any, u: Any, v: Any) -> Any:
        return (xp.sum(u * xp.matmul(w, v), axis=None, keepdims=False),), ()

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
        _, u, v = inputs
        return cotangents[0] * (u * matrix_transpose(v)), None, None


_between = _Between()


@formula
def _direction(xp: Any, x: Any, before: Any) -> Any:
    """``x / ‖x‖`` of a column; what it was before where x is zero or not finite."""
    top = xp.max(xp.abs(x))
    good = (top > 0.0) & xp.isfinite(top)
    ratio = x / xp.where(good, top, 1.0)
    n = xp.sqrt(xp.sum(ratio * ratio))
    return xp.where(good, ratio / xp.where(good, n, 1.0), before)


def power_iteration(w: Any, u: Any, v: Any, iterations: int = 1) -> tuple[Any, Any, Any]:
    """``uᵀ W v``, which tends to σ₁ of `w`, and the vectors after so many iterations. Ledger R-05.

    ``v ← Wᵀu / ‖Wᵀu‖``, then ``u ← W v / ‖W v‖``. Each brings u and v nearer to the singular
    vectors by ``(σ₂/σ₁)²``, so that one per training step is enough for vectors that are kept from
    step to step (Yoshida & Miyato 2017; Miyato et al. 2018). It needs no singular values, and can
    be captured.

    Arguments:
        w: a weight ``(out, in, ...)``; its other axes count as inputs.
        u, v: columns of length 1, ``(out, 1)`` and ``(in, 1)``, from before.
        iterations: how many; 0 takes u and v as they are.

    Returns:
        σ, whose derivative is ``u vᵀ`` with u and v held; a second derivative raises, and is what
        `spectral_norm` is for. Then the new u and v, off the tape.

    >>> w = np.diag([3.0, 4.0])
    >>> sigma, u, v = power_iteration(w, np.full((2, 1), 0.5**0.5), np.zeros((2, 1)), 20)
    >>> round(float(sigma), 6)
    4.0
    """
    w = as_matrix(w, "a power iteration")
    with no_grad():
        for _ in range(iterations):
            v = _direction(matmul(matrix_transpose(w), u), v)
            u = _direction(matmul(w, v), u)
    return apply(_between, w, u, v)[0], u, v
