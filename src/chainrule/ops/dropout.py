"""Dropout: random zeros while training, the identity afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.abstract import as_array
from chainrule.array.dtypes import is_float
from chainrule.array.errors import ShapeError
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Variable
from chainrule.ops.activation.rectifier import SELU_ALPHA, SELU_LAMBDA
from chainrule.ops.draw import bernoulli
from chainrule.ops.formula import formula

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip

#: What SELU tends to at -inf: the value that alpha dropout puts in place of what it drops.
_LOWEST = -SELU_LAMBDA * SELU_ALPHA


@formula
def _masked(xp: Any, x: Any, keep: Any, scale: Any) -> Any:
    return xp.where(keep, x * scale, 0.0)


@formula
def _alpha_masked(xp: Any, x: Any, keep: Any, scale: Any, shift: Any, dropped: Any) -> Any:
    return xp.where(keep, x * scale + shift, dropped)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each entry is zeroed with probability p and the rest scaled by ``1 / (1 - p)``.

    ``y = x ⊙ mask / (1 - p)``, mask ~ Bernoulli(1 - p), so that the mean stays. Its derivative uses
    the same mask: ``g ⊙ mask / (1 - p)``. Ledger D-01 to D-05 (erratum E000-04: p is the rate of
    zeros); Srivastava et al. 2014 (where p is the rate of what stays).

    An entry of the mask is k with probability ``(1 - p)^k p^(1 - k)``, k ∈ {0, 1} (Bernoulli,
    erratum E000-05), so of n entries k stay with probability ``C(n, k) (1 - p)^k p^(n - k)``
    (binomial).

    Arguments:
        p: probability of a zero; 0 is the identity, 1 gives zeros.
        training: False is the identity.

    The draws come from the current random stream, keyed by the layer's path.

    Raises:
        ValueError: if p is no probability.

    >>> import numpy as np
    >>> dropout(np.ones(3), p=0.5, training=False)
    array([1., 1., 1.])
    """
    return _dropped("dropout", x, p, training)


def dropout1d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """`dropout` of whole channels of sequences: ``(N, C, L)``, or ``(C, L)`` without samples.

    Neighbours in a channel are alike, so that single zeros among them hide nothing. Tompson et al.
    2015.

    Arguments:
        p: probability that a channel becomes zeros; the others are scaled by ``1 / (1 - p)``.
        training: False is the identity.

    Raises:
        ValueError: if p is no probability.
        ShapeError: for any other number of axes.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> y = cr.ops.dropout1d(np.ones((4, 8, 5)))
    >>> bool((y == y[:, :, :1]).all()), np.unique(y).tolist()
    (True, [0.0, 2.0])
    """
    return _dropped("dropout1d", x, p, training, _channels("dropout1d", x, 3, 2))


def dropout2d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """`dropout` of whole channels of images: ``(N, C, H, W)``; see `dropout1d`.

    Three axes are refused: they may be an image without samples or sequences (torch takes them as
    sequences and warns). Write ``x[None]`` or `dropout1d`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> y = cr.ops.dropout2d(np.ones((4, 8, 5, 5)))
    >>> bool((y == y[:, :, :1, :1]).all()), np.unique(y).tolist()
    (True, [0.0, 2.0])
    """
    return _dropped("dropout2d", x, p, training, _channels("dropout2d", x, 4))


def dropout3d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """`dropout` of whole channels of volumes: ``(N, C, D, H, W)``, or ``(C, D, H, W)`` without
    samples; see `dropout1d`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.dropout3d(np.ones((1, 2, 2, 2, 2)), training=False).shape
    (1, 2, 2, 2, 2)
    """
    return _dropped("dropout3d", x, p, training, _channels("dropout3d", x, 5, 4))


def alpha_dropout(x: Any, p: float = 0.5, training: bool = False) -> Any:
    """Dropout after `selu`: what is dropped becomes α' = -λα, and mean 0 and variance 1 stay.

    ``y = a (x ⊙ mask + α' (1 - mask)) + b`` with mask ~ Bernoulli(1 - p),
    ``a = ((1 - p)(1 + p α'²))^(-1/2)`` and ``b = -a p α'``. Klambauer et al. 2017.

    Arguments:
        p: probability that an entry is dropped; 0 is the identity, 1 gives zeros, as in torch.
        training: False, the default as in torch, is the identity.

    Raises:
        ValueError: if p is no probability.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.seed(0)
    >>> y = cr.ops.alpha_dropout(np.zeros(10000), p=0.2, training=True)
    >>> np.unique(y).round(4).tolist(), bool(abs(y.mean()) < 0.02)
    ([-1.2362, 0.309], True)
    """
    return _alpha_dropped("alpha_dropout", x, p, training)


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = False) -> Any:
    """`alpha_dropout` of whole channels: ``(N, C, ...)``, any number of axes after the channels.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> y = cr.ops.feature_alpha_dropout(np.zeros((4, 8, 5)), training=True)
    >>> bool((y == y[:, :, :1]).all())
    True
    """
    mask = _channels("feature_alpha_dropout", x, max(_raw(x).ndim, 2))
    return _alpha_dropped("feature_alpha_dropout", x, p, training, mask)


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Variable) else as_array(x)


def _type(raw: Any) -> Any:
    """The floating type in which x is scaled."""
    return raw.dtype if is_float(raw.dtype) else np.dtype(np.float32)


def _channels(name: str, x: Any, batched: int, single: int = 0) -> tuple[int, ...]:
    """The shape of a mask with one entry per channel, of samples or of one."""
    shape: tuple[int, ...] = _raw(x).shape
    if len(shape) == batched:
        return shape[:2] + (1,) * (batched - 2)
    if len(shape) == single:
        return shape[:1] + (1,) * (single - 1)
    axes = {2: ", ...", 3: ", L", 4: ", H, W", 5: ", D, H, W"}[batched]
    either = f"(N, C{axes})" + (f" or (C{axes})" if single else "")
    fix = "; for an image without samples x[None], for sequences dropout1d"
    raise ShapeError(
        f"{describe(state.frame) or name}: expected x: {either}, got {shape}"
        f"{fix if (batched, len(shape)) == (4, 3) else ''}"
    )


def _all_kept(name: str, p: float, training: bool) -> bool:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability, got {p}")
    return not training or p == 0


def _dropped(name: str, x: Any, p: float, training: bool, mask: Any = None) -> Any:
    """x with entries zeroed where a mask, of the shape of x or broadcast, says so."""
    if _all_kept(name, p, training):
        return x
    raw = _raw(x)
    keep = bernoulli(name, raw.shape if mask is None else mask, 1 - p)
    # an operand, not a constant: one kernel serves every rate
    return _masked(x, keep, np.asarray(1 / (1 - p) if p < 1 else 0.0, _type(raw)))


def _alpha_dropped(name: str, x: Any, p: float, training: bool, mask: Any = None) -> Any:
    if p == 1:  # the factor is infinite: zeros, as in torch
        return _dropped(name, x, p, training, mask)
    if _all_kept(name, p, training):
        return x
    raw = _raw(x)
    a = ((1 - p) * (1 + p * _LOWEST**2)) ** -0.5
    b = -a * p * _LOWEST
    keep = bernoulli(name, raw.shape if mask is None else mask, 1 - p)
    return _alpha_masked(x, keep, *(np.asarray(v, _type(raw)) for v in (a, b, a * _LOWEST + b)))
