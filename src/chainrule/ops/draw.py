"""Random operands: drawn from the current stream, and anew at every replay of a captured step."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.abstract import as_array
from chainrule.array.random import default_stream
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable

__all__ = ["bernoulli", "uniform"]


def _path(name: str) -> str:
    """Who draws: the layer, or outside of one the function."""
    return name if state.frame is None else state.frame.path


def bernoulli(name: str, shape: tuple[int, ...], p: float) -> Any:
    """A mask of this shape, true with probability p.

    >>> bernoulli("dropout", (2, 3), 1.0)
    array([[ True,  True,  True],
           [ True,  True,  True]])
    """
    if state.recorder is not None:
        return state.recorder.bernoulli(_path(name), shape, p)
    return default_stream().bernoulli(_path(name), shape, p)


def uniform(name: str, like: Any, low: float, high: float) -> Any:
    """Numbers uniform on [low, high), of the shape and floating type of `like`.

    >>> uniform("rrelu", np.zeros((2, 3), np.float32), 0.0, 1.0).dtype
    dtype('float32')
    """
    raw = like._data if isinstance(like, Variable) else as_array(like)
    dtype = raw.dtype if raw.dtype == np.float64 else np.dtype(np.float32)
    if state.recorder is not None:
        return state.recorder.uniform(_path(name), raw.shape, dtype, low, high)
    return default_stream().uniform(_path(name), raw.shape, dtype, low, high)
