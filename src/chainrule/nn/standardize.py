"""`Standardize`: the scaling of the features, as the first layer of the model that needs it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array, is_float
from chainrule.array.errors import ShapeError
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Variable
from chainrule.nn.module import Module
from chainrule.ops.standardization import mean_and_deviation

__all__ = ["Standardize"]

#: Numbers per sample. More comes from a file made to fill the memory, not from data.
_LARGEST = 2**26


class Standardize(Module):
    """``(x - mean) / scale``, with statistics that belong to the model and are not trained.

    A model that begins with it takes the data as they are, and its file holds all it needs: what
    loads it cannot forget the scaling, or use that of other data.

    Arguments:
        mean: what to subtract: a number, or an array that broadcasts to a sample.
        scale: what to divide by, likewise; above 0.
        shape: of the statistics, to which both are broadcast; by default that of `mean` and `scale`
            together. ``Standardize(shape=64)`` is the identity until a state is loaded into it.

    Attributes:
        mean, scale: buffers of that shape, float32 (float64 in a model that is ``double()``). They
            are in the state and in the file as tensors; optimizers do not see them.

    Shapes: x is ``(..., *shape)``, where a length of 1 in shape fits any: ``(3, 1, 1)`` holds one
    mean and scale for each channel of images ``(n, 3, height, width)``. y has the shape of x. An
    array is cast to the layer's type first, as by every layer: in float32 a feature keeps about 7
    digits, so one that varies by less than a millionth of its size is better shifted beforehand.

    Raises:
        ValueError: for a scale that is not above 0, values that are not finite in float32, or a
            shape that is none.
        ShapeError: when called with an x that does not fit; it names the layer.
        TypeError: when called with a tensor of another floating type.

    >>> import chainrule as cr, numpy as np
    >>> x = np.array([[150.0, 0.5], [190.0, 0.5]])
    >>> layer = cr.nn.Standardize.fit(x)
    >>> layer, layer.mean.tolist(), layer.scale.dtype
    (Standardize(2 features), [170.0, 0.5], dtype('float32'))
    >>> layer(x)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    mean: Array
    scale: Array

    def __init__(
        self, mean: Any = 0.0, scale: Any = 1.0, *, shape: int | Iterable[int] | None = None
    ) -> None:
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            values = [np.asarray(v).astype(np.float32) for v in (mean, scale)]
        for name, value in zip(("mean", "scale"), values, strict=True):
            good = ops.isfinite(value) & (name == "mean" or value > 0)
            if not good.all():
                above = " above 0 (a constant feature takes 1)" if name == "scale" else ""
                raise ValueError(
                    f"Standardize: {name} is finite in float32{above}, got {value[~good][0]}"
                )
        if shape is None:
            shape = np.broadcast_shapes(*(v.shape for v in values))
        size = _checked(shape)
        for name, value in zip(("mean", "scale"), values, strict=True):
            self.register_buffer(name, np.array(np.broadcast_to(value, size)))
        if type(self).__init__ is Standardize.__init__:
            self._arguments = ((), {"shape": size})  # the values are in the state

    @classmethod
    def fit(cls, x: Any, common: bool = False) -> Self:
        """The layer that gives these rows mean 0 and deviation 1.

        Arguments:
            x: ``(n, ...)``, the training rows and no others: what is measured on the rest would be
                flattered. A memory map is read in blocks.
            common: one deviation for all features, for features of one unit such as pixels; see
                `chainrule.ops.standardization.mean_and_deviation`. Else each has its own, and a
                constant one has 1.

        Raises:
            DataError: for no rows, for what are no numbers, and for values that are not finite.

        >>> import numpy as np
        >>> Standardize.fit(np.array([[0, 0], [2, 14]], np.uint8), common=True).scale
        array([5., 5.], dtype=float32)
        """
        return cls(*mean_and_deviation(x, common))

    def forward(self, x: Any) -> Any:
        own, shape = self.mean.shape, tuple(x.shape)
        if shape[len(shape) - len(own) :] != own:
            self._check_shape(shape)
        if x.dtype != self.mean.dtype:
            x = self._cast(x)
        return ops.standardize(x, self.mean, self.scale)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        own = self.mean.shape
        tail = shape[len(shape) - len(own) :] if len(shape) >= len(own) else ()
        if len(tail) == len(own) and all(a in (1, b) for a, b in zip(own, tail, strict=True)):
            return
        fix = "pass the features that the statistics are of"
        if len(shape) > 1 and math.prod(shape[1:]) == math.prod(own):
            fix = "the numbers fit: put nn.Flatten() before this layer, or x.reshape(-1, …)"
        wanted = ", ".join(["...", *map(str, own)])
        raise ShapeError(
            f"{describe(state.frame) or repr(self)}: expected x: ({wanted}), got {shape}; {fix}"
        )

    def _cast(self, x: Any) -> Any:
        """Raw arrays follow the layer's type; a tensor of another type is a mistake."""
        dtype = self.mean.dtype
        if not isinstance(x, Variable):
            return x.astype(dtype)
        given = x._data.dtype
        if is_float(given):
            raise TypeError(
                f"{describe(state.frame) or repr(self)}: x is a {given} tensor, the statistics are "
                f"{dtype}; convert one, for example x.astype({str(dtype)!r}) or "
                f"model.{'double' if given == np.float64 else 'float'}()"
            )
        return ops.astype(x, dtype)

    def extra_repr(self) -> str:
        sides = " x ".join(map(str, self.mean.shape))
        return f"{sides} feature{'' if sides == '1' else 's'}" if sides else "all features alike"


def _checked(shape: Any) -> tuple[int, ...]:
    sides = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    counts = all(isinstance(n, int | np.integer) and type(n) is not bool and n > 0 for n in sides)
    if not counts or len(sides) > 32 or math.prod(map(int, sides)) > _LARGEST:
        raise ValueError(
            f"Standardize: shape is that of a sample, whole numbers from 1 with a product of at "
            f"most {_LARGEST:,}, got {shape!r:.80}"
        )
    return tuple(map(int, sides))
