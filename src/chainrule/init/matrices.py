"""Initial values that are more than independent draws: orthogonal, sparse, identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from chainrule.array.errors import ShapeError
from chainrule.array.random import default_stream
from chainrule.init.initializers import _factor, _give, _place

__all__ = ["dirac", "eye", "identity", "orthogonal", "sparse"]


def orthogonal(target: Any, gain: float | str = 1.0, dtype: DTypeLike = np.float32) -> Any:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    ``W Wᵀ = gain² I`` for ``out <= in`` and ``Wᵀ W = gain² I`` otherwise, so that a signal keeps
    its length through any number of linear layers. It is the Q of a random normal matrix, with the
    signs that make it uniform over all such matrices (Mezzadri 2007).

    Arguments:
        target: the shape ``(out, in, ...)``, to get an array; or such a `Parameter`, to fill it.
            Axes after the second count as inputs: a convolution is ``(out, in · kernel)``.
        gain: the factor, or the nonlinearity whose `gain` to take.
        dtype: of the array; a parameter keeps its own. Q is computed in double precision.

    Raises:
        ShapeError: for fewer than two axes.

    Reference: Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", 2014.

    >>> import chainrule as cr
    >>> w = cr.init.orthogonal((3, 5), dtype=np.float64)
    >>> bool(np.allclose(w @ w.T, np.eye(3), atol=1e-14))
    True
    """
    shape, real = _place(target, dtype)
    if len(shape) < 2:
        raise ShapeError(f"orthogonal: expected the shape (out, in, ...) of a weight, got {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    tall = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(default_stream().normal("init/orthogonal", tall, np.float64))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    if rows < columns:
        q = q.T
    return _give(target, np.ascontiguousarray(_factor(gain) * q, real).reshape(shape))


def sparse(target: Any, sparsity: float, std: float = 0.01, dtype: DTypeLike = np.float32) -> Any:
    """``N(0, std²)`` with the share `sparsity` of each column zero, at random places.

    A column holds the weights of one input, as ``(out, in)`` is laid out; exactly
    ``⌈sparsity · out⌉`` of its entries are zero, as in torch.

    Arguments:
        target: the shape ``(out, in)``, to get an array; or such a `Parameter`, to fill it.
        sparsity: the share of zeros, from 0 to 1.
        std: of the entries that are not zero.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ShapeError: for other than two axes.
        ValueError: for a share outside [0, 1].

    Reference: Martens, "Deep learning via Hessian-free optimization", 2010.

    >>> import chainrule as cr
    >>> (cr.init.sparse((10, 3), sparsity=0.75) == 0).sum(axis=0)
    array([8, 8, 8])
    """
    shape, real = _place(target, dtype)
    if len(shape) != 2:
        raise ShapeError(f"sparse: expected the shape (out, in) of a matrix, got {shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity is a share from 0 to 1, got {sparsity}")
    zeros = math.ceil(sparsity * shape[0])
    values = default_stream().normal("init/sparse", shape, real, 0.0, std)
    words = default_stream().bits("init/sparse/zeros", math.prod(shape)).reshape(shape)
    order = np.argsort(words, axis=0, kind="stable")
    np.put_along_axis(values, order[:zeros], 0, axis=0)
    return _give(target, values)


def eye(target: Any, dtype: DTypeLike = np.float32) -> Any:
    """Ones on the diagonal, zeros beside it: as many inputs as possible pass unchanged.

    Arguments:
        target: the shape ``(out, in)``, to get an array; or such a `Parameter`, to fill it.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ShapeError: for other than two axes; `dirac` is the same for convolutions.

    >>> import chainrule as cr
    >>> cr.init.eye((2, 3))
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    shape, real = _place(target, dtype)
    if len(shape) != 2:
        raise ShapeError(
            f"eye: expected the shape (out, in) of a matrix, got {shape}; dirac is for convolutions"
        )
    return _give(target, np.eye(*shape, dtype=real))


def dirac(target: Any, groups: int = 1, dtype: DTypeLike = np.float32) -> Any:
    """A convolution that passes as many channels as possible unchanged: one at its middle tap.

    Arguments:
        target: the shape ``(out, in, *kernel)`` with one to three kernel axes, to get an array; or
            such a `Parameter`, to fill it.
        groups: of the convolution; each passes its own channels.
        dtype: of the array; a parameter keeps its own.

    Raises:
        ShapeError: for another number of axes, or outputs that `groups` does not divide.

    >>> import chainrule as cr
    >>> cr.init.dirac((1, 1, 3))
    array([[[0., 1., 0.]]], dtype=float32)
    """
    shape, real = _place(target, dtype)
    if not 3 <= len(shape) <= 5:
        raise ShapeError(
            f"dirac: expected the shape (out, in, *kernel) of a convolution, got {shape}; eye is "
            "for matrices"
        )
    if groups < 1 or shape[0] % groups:
        raise ShapeError(f"dirac: {shape[0]} outputs cannot be shared among {groups} groups")
    values = np.zeros(shape, real)
    middle: tuple[Any, ...] = tuple(side // 2 for side in shape[2:])
    each = shape[0] // groups
    for k in range(min(each, shape[1])):
        values[(slice(k, None, each), k, *middle)] = 1
    return _give(target, values)


#: Keras's name for `eye`.
identity = eye
