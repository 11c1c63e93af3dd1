"""Dropout: random zeros while training, the identity afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.random import default_stream
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.ops.formula import formula

__all__ = ["dropout"]


@formula
def _masked(xp: Any, x: Any, keep: Any, scale: Any) -> Any:
    return xp.where(keep, x * scale, 0.0)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each entry is zeroed with probability p and the rest scaled by ``1 / (1 - p)``.

    ``y = x ⊙ mask / (1 - p)``, mask ~ Bernoulli(1 - p), so that the mean stays. Its derivative uses
    the same mask. Ledger D-03 to D-05 (erratum E000-04: p is the rate of zeros); Srivastava et al.
    2014.

    Arguments:
        p: probability of a zero; 0 is the identity, 1 gives zeros.
        training: False is the identity.

    The draws come from the current random stream, keyed by the layer's path.

    >>> import numpy as np
    >>> dropout(np.ones(3), p=0.5, training=False)
    array([1., 1., 1.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, got {p}")
    if not training or p == 0:
        return x
    path = "dropout" if state.frame is None else state.frame.path
    shape = x.shape if not isinstance(x, Variable) else x._data.shape
    if state.recorder is not None:
        keep = state.recorder.bernoulli(path, shape, 1 - p)
    else:
        keep = default_stream().bernoulli(path, shape, 1 - p)
    # an operand, not a constant: one kernel serves every rate
    return _masked(x, keep, np.asarray(1 / (1 - p) if p < 1 else 0.0, x.dtype))
