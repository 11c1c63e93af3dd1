r"""Penalties on weights, and the projection that keeps them short. Ledger R-01 to R-08.

Note 004 writes ‖W‖₂ for two norms (erratum E004-30). Here the Frobenius norm is
:math:`‖W‖_F^2 = Σ_{ij} W_{ij}^2`; the spectral norm :math:`σ_1(W)` is in `chainrule.ops.spectral`.

A weight of more than two axes, such as a convolution's ``(out, in, kernel)``, is the matrix
``(out, in · kernel)`` wherever a matrix is asked for: a row holds what comes into one unit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.ops.formula import formula
from chainrule.ops.product import matmul
from chainrule.ops.shape import _data, _shape, matrix_transpose, permute_dims, reshape

__all__ = [
    "elastic_net_penalty", "l1_penalty", "l2_penalty", "max_norm_penalty", "max_norm_projection",
    "orthogonality_penalty",
]  # fmt: skip


# -- of every entry by itself ---------------------------------------------------------------------


@formula
def l1_penalty(xp: Any, w: Any) -> Any:
    """``Σ |w|``. Its derivative is ``sign(w)``, 0 at 0 (ledger R-03).

    Its proximal step is `chainrule.ops.softshrink`.

    >>> float(l1_penalty(np.array([1.0, -2.0, 0.0])))
    3.0
    """
    return xp.sum(xp.abs(w))


@formula
def l2_penalty(xp: Any, w: Any) -> Any:
    """``½ Σ w²``, with derivative w: half the squared Frobenius norm. Ledger R-01, R-04.

    The ½ is the notes' and torch's ``weight_decay``; Keras's L2 lacks it (ledger X-09, K-10).

    >>> float(l2_penalty(np.array([1.0, -2.0])))
    2.5
    """
    return 0.5 * xp.sum(w * w)


@formula
def elastic_net_penalty(xp: Any, w: Any, l1: Any, l2: Any) -> Any:
    """``λ₁ Σ |w| + ½ λ₂ Σ w²``, with derivative ``λ₁ sign(w) + λ₂ w``.

    Ledger R-03; Zou & Hastie 2005.

    >>> float(elastic_net_penalty(np.array([1.0, -2.0]), 0.5, 2.0))
    6.5
    """
    return l1 * xp.sum(xp.abs(w)) + l2 * (0.5 * xp.sum(w * w))


# -- of rows --------------------------------------------------------------------------------------


def _length(xp: Any, w: Any) -> Any:
    """The Euclidean norm of each row as a column; neither overflows nor vanishes where w does not.

    Its derivative at a row of zeros is taken as 0.
    """
    top = xp.stop_gradient(xp.max(xp.abs(w), axis=1, keepdims=True))
    unit = xp.where((top > 0.0) & xp.isfinite(top), top, 1.0)
    ratio = w / unit
    squares = xp.sum(ratio * ratio, axis=1, keepdims=True)
    zero = xp.equal(squares, 0.0)
    return unit * xp.where(zero, 0.0, xp.sqrt(xp.where(zero, 1.0, squares)))


@formula
def _excess(xp: Any, w: Any, bound: Any) -> Any:
    """``Σ_i max(0, ‖w_i‖ - c)`` over the rows."""
    n = _length(xp, w)
    return xp.sum(xp.where(n <= bound, 0.0, n - bound))


@formula
def _held(xp: Any, w: Any, bound: Any) -> Any:
    """``w_i / max(1, ‖w_i‖ / c)`` for each row."""
    n = _length(xp, w)
    short = n <= bound
    return w * xp.where(short, 1.0, bound / xp.where(short, 1.0, n))


def _check_bound(max_norm: Any) -> None:
    if isinstance(max_norm, int | float) and not max_norm >= 0:
        raise ValueError(f"max_norm must be 0 or more, got {max_norm}")


def _rows(w: Any, axis: Any) -> tuple[Any, Any]:
    """The vectors of `w` along `axis` as rows, and the way back."""
    shape, n = _shape(w), len(_shape(w))
    if n < 2:
        raise ShapeError(
            f"a max-norm is of the vectors in a weight of two or more axes, got shape {shape}"
        )
    axes = range(1, n) if axis is None else np.atleast_1d(axis).tolist()
    if not axes or any(not -n <= a < n for a in axes):
        raise ShapeError(f"a weight of shape {shape} has no axis {axis}")
    along = sorted({a % n for a in axes})
    order = [a for a in range(n) if a not in along] + along
    kept = tuple(shape[a] for a in order)
    length = math.prod(shape[a] for a in along)
    rows = reshape(_permuted(w, order), (math.prod(shape) // max(length, 1), length))

    def back(flat: Any) -> Any:
        return _permuted(reshape(flat, kept), np.argsort(order).tolist())

    return rows, back


def _permuted(w: Any, order: list[int]) -> Any:
    return w if order == sorted(order) else permute_dims(w, tuple(order))


def max_norm_penalty(w: Any, max_norm: Any, axis: Any = None) -> Any:
    r"""``Σ_i max(0, ‖w_i‖ - c)`` over the vectors of incoming weights. Ledger R-07.

    Its derivative is ``w_i / ‖w_i‖`` where ``‖w_i‖ > c`` and 0 elsewhere: note 004 prints an update
    without it, in which the penalty has no effect (erratum E004-33).

    Arguments:
        w: a weight of two or more axes.
        max_norm: c.
        axis: the axes along which a vector lies; all but the first by default, which makes it what
            comes into one unit: row i of ``(out, in)`` (erratum E004-55; Keras's layout is
            ``(in, out)``, and its axis 0).

    Raises:
        ShapeError: for a weight of fewer axes.
        ValueError: for `max_norm` below 0.

    >>> float(max_norm_penalty(np.array([[3.0, 4.0], [0.1, 0.0]]), 2.0))
    3.0
    """
    _check_bound(max_norm)
    rows, _ = _rows(_data(w), axis)
    return _excess(rows, max_norm) if math.prod(_shape(rows)) else l1_penalty(rows)


def max_norm_projection(w: Any, max_norm: Any, axis: Any = None) -> Any:
    """``w_i / max(1, ‖w_i‖ / c)``: vectors longer than c are shortened to it. Ledger R-08.

    Arguments and errors as in `max_norm_penalty`.

    References: Srebro & Shraibman 2005; Srivastava et al. 2014.

    >>> max_norm_projection(np.array([[3.0, 4.0], [0.1, 0.0]]), 2.0)
    array([[1.2, 1.6],
           [0.1, 0. ]])
    """
    _check_bound(max_norm)
    rows, back = _rows(_data(w), axis)
    return back(_held(rows, max_norm) if math.prod(_shape(rows)) else rows + 0.0)


# -- of matrices ----------------------------------------------------------------------------------


def as_matrix(w: Any, who: str) -> Any:
    """`w` as ``(out, in · kernel)``."""
    w = _data(w)
    shape = _shape(w)
    if len(shape) < 2:
        raise ShapeError(f"{who} is of a weight of two or more axes, got shape {shape}")
    return w if len(shape) == 2 else reshape(w, (shape[0], math.prod(shape[1:])))


@formula
def _square_distance(xp: Any, a: Any, b: Any) -> Any:
    d = a - b
    return xp.sum(d * d)


def orthogonality_penalty(w: Any) -> Any:
    """``‖Wᵀ W - I‖_F²``, with derivative ``4 W (Wᵀ W - I)``. Ledger R-06, erratum E004-32.

    For a wide W, with more columns than rows, ``Wᵀ W`` cannot be I; but
    ``‖Wᵀ W - I‖² = ‖W Wᵀ - I‖² + in - out``, so that the penalty has the same derivative as that
    of orthonormal rows. It is computed from the smaller of the two products.

    Arguments:
        w: a weight ``(out, in, ...)``.

    Raises:
        ShapeError: for fewer than two axes.

    References: Brock et al. 2017; Bansal et al. 2018. Keras's ``OrthogonalRegularizer`` is another
    penalty, of the absolute cosines between rows.

    >>> float(orthogonality_penalty(2 * np.eye(3)))
    27.0
    """
    w = as_matrix(w, "an orthogonality penalty")
    rows, columns = _shape(w)
    t = matrix_transpose(w)
    gram = matmul(t, w) if columns <= rows else matmul(w, t)
    distance = _square_distance(gram, np.eye(min(rows, columns), dtype=gram.dtype))
    return distance if columns <= rows else distance + float(columns - rows)
