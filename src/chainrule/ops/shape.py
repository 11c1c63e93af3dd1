"""Array operations that move values without changing them, in adjoint pairs.

Each is linear, and its vjp is its partner: reshape and reshape, permute and permute, index and put,
concatenate and split, cumulative sum and its reverse. So every order of derivative follows.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array, is_array
from chainrule.array.errors import ShapeError
from chainrule.autograd.tape import Op, Variable, apply
from chainrule.ops import elementwise as e
from chainrule.ops.reduction import argsort

__all__ = [
    "astype", "concat", "concatenate", "cumsum", "flip", "getitem",
    "matrix_transpose", "pad", "permute_dims", "repeat", "reshape", "roll", "sort", "split",
    "stack", "swapaxes", "take_along_axis", "topk", "transpose", "tril", "triu",
]  # fmt: skip


class _Linear(Op):
    """One array in, one array out; the vjp is another such operation."""

    def __init__(
        self, name: str, forward: Any, adjoint: Any, view: bool = False, each: Any = None
    ) -> None:
        self.name, self._forward, self._adjoint, self.view = name, forward, adjoint, view
        self._each = each  # the adjoint of many arrays, along a new first axis

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (False,), (False,)

    def forward(self, xp: Any, x: Any, **attrs: Any) -> Any:
        return (self._forward(x, **attrs),), ()

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
        return (self._adjoint(cotangents[0], **attrs),)

    def vjp_of_each(
        self,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        **attrs: Any,
    ) -> Any:
        if self._each is None:
            return super().vjp_of_each(inputs, outputs, residuals, cotangents, needed, **attrs)
        return (self._each(cotangents[0], **attrs),)


def _data(x: Any) -> Any:
    return x if isinstance(x, Variable) else as_array(x)


def _shape(x: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = (x._data if isinstance(x, Variable) else as_array(x)).shape
    return shape


def _axis(axis: int, n: int) -> int:
    """`axis` counted from the front."""
    if not -n <= axis < n:
        raise ShapeError(f"there is no axis {axis} in an array of {n} axes")
    return axis % n


_astype: _Linear = _Linear(
    "astype",
    lambda x, dtype, before: x.astype(dtype),
    lambda g, dtype, before: _cast(g, before, dtype),
)


def _cast(x: Any, dtype: Any, before: Any) -> Any:
    return apply(_astype, x, dtype=dtype, before=before)[0]


def astype(x: Any, dtype: Any) -> Any:
    """x in another type. Through an integer type no gradient passes.

    >>> astype(np.ones(2), np.float32).dtype
    dtype('float32')
    """
    x, dtype = _data(x), np.dtype(dtype)
    if dtype.kind != "f" and isinstance(x, Variable):
        return Variable._wrap(x._data.astype(dtype))
    return _cast(x, dtype, x.dtype)


_reshape: _Linear = _Linear(
    "reshape",
    lambda x, shape, before: np.reshape(x, shape),
    lambda g, shape, before: apply(_reshape, g, shape=before, before=shape)[0],
    view=True,
    each=lambda g, shape, before: np.reshape(g, (len(g), *before)),
)


def reshape(x: Any, *shape: Any) -> Any:
    """x in another shape; one entry may be -1.

    >>> reshape(np.arange(6.0), (2, -1)).shape
    (2, 3)
    """
    x = _data(x)
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return apply(_reshape, x, shape=tuple(wanted), before=_shape(x))[0]


_permute: _Linear = _Linear(
    "permute_dims",
    lambda x, axes: np.transpose(x, axes),
    lambda g, axes: permute_dims(g, tuple(int(a) for a in np.argsort(axes))),
    view=True,
    each=lambda g, axes: np.transpose(g, (0, *(int(a) + 1 for a in np.argsort(axes)))),
)


def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Any:
    """x with its axes in another order (reversed by default).

    Raises:
        ShapeError: if `axes` does not name each axis once.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.permute_dims(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = _data(x)
    n = len(_shape(x))
    order = range(n)[::-1] if axes is None else axes
    if len(order) != n or {_axis(a, n) for a in order} != set(range(n)):
        raise ShapeError(f"an order of {n} axes names each of them once, got {tuple(order)}")
    order = tuple([a % n for a in order])
    return apply(_permute, x, axes=order)[0]


def transpose(x: Any, *axes: Any) -> Any:
    """NumPy's transpose: all axes reversed, or in the order given.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.transpose(np.zeros((2, 3, 4))).shape
    (4, 3, 2)
    """
    order: Any = axes
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
        order = axes[0]
    return permute_dims(x, order or None)


def swapaxes(x: Any, a: int, b: int) -> Any:
    """x with two axes exchanged; either may count from the end.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.swapaxes(np.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    n = len(_shape(x))
    a, b = _axis(a, n), _axis(b, n)
    order = list(range(n))
    order[a], order[b] = b, a
    return permute_dims(x, order)


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged: ``(..., M, N)`` to ``(..., N, M)``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.matrix_transpose(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    return swapaxes(x, -1, -2)


def _put(g: Any, index: Any, before: Any) -> Any:
    if isinstance(g, AbstractArray):  # of a captured step
        return g.recorder.put_at(_put, g, index, before)  # type: ignore[attr-defined]
    out = np.zeros(before, g.dtype)
    if _repeats(index):
        np.add.at(out, index, g)
    else:
        out[index] = g
    return out


def _repeats(index: Any) -> bool:
    """Whether an index may name a place twice (arrays of integers may; slices and masks do not)."""
    parts = index if isinstance(index, tuple) else (index,)
    return builtins.any(
        isinstance(p, list) or (isinstance(p, np.ndarray) and p.dtype.kind in "iu") for p in parts
    )


_getitem: _Linear = _Linear(
    "getitem",
    lambda x, index, before: x[index],
    lambda g, index, before: apply(_putitem, g, index=index, before=before)[0],
    view=True,
)
_putitem: _Linear = _Linear(
    "putitem", _put, lambda g, index, before: apply(_getitem, g, index=index, before=before)[0]
)


def getitem(x: Any, index: Any) -> Any:
    """``x[index]`` with NumPy's rules: slices, integers, masks, integer arrays, None and
    ``...``."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(
        p._data if isinstance(p, Variable) else np.asarray(p) if isinstance(p, list) else p
        for p in parts
    )
    x = _data(x)
    index = parts if isinstance(index, tuple) else parts[0]
    out = apply(_getitem, x, index=index, before=_shape(x))[0]
    if isinstance(out, Variable) and not is_array(out._data):
        out._data = np.asarray(out._data)
    return out


class _Concat(Op):
    name = "concatenate"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (False,) * len(needed), (False,)

    def forward(self, xp: Any, *xs: Any, axis: int, sizes: Any) -> Any:
        return (np.concatenate(xs, axis=axis),), ()

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
        axis, sizes = attrs["axis"], attrs["sizes"]
        g = cotangents[0]
        lead = (slice(None),) * axis
        ends = np.cumsum(sizes)
        return [
            getitem(g, (*lead, slice(int(end) - size, int(end)))) if n else None
            for size, end, n in zip(sizes, ends, needed, strict=True)
        ]


_concat = _Concat()


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays along an axis they have.

    Raises:
        ShapeError: if other axes differ; names which.

    >>> concatenate([np.zeros((2, 1)), np.ones((2, 2))], axis=1).shape
    (2, 3)
    """
    xs = [_data(a) for a in arrays]
    if not xs:
        raise ValueError("concatenate needs at least one array")
    shapes = [_shape(x) for x in xs]
    n = len(shapes[0])
    axis = _axis(axis, n)
    for k, shape in enumerate(shapes):
        if (
            len(shape) != n
            or shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :]
        ):
            raise ShapeError(
                f"concatenate along axis {axis}: array {k} has shape {shape}, array 0 has "
                f"{shapes[0]}; all other axes must agree"
            )
    xs = _one_dtype(xs)
    return apply(_concat, *xs, axis=axis, sizes=tuple(s[axis] for s in shapes))[0]


def _one_dtype(xs: list[Any]) -> list[Any]:
    dtypes = [x.dtype for x in xs]
    widest = np.result_type(*dtypes)
    return xs if builtins.all(d == widest for d in dtypes) else [astype(x, widest) for x in xs]


concat = concatenate


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis.

    Raises:
        ShapeError: if the shapes differ.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.stack([np.zeros(2), np.ones(2)])
    array([[0., 0.],
           [1., 1.]])
    """
    xs = [_data(a) for a in arrays]
    shapes = {_shape(x) for x in xs}
    if len(shapes) != 1:
        raise ShapeError(f"stack needs arrays of one shape, got {sorted(shapes)}")
    return concatenate([e.expand_dims(x, axis=axis) for x in xs], axis=axis)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """NumPy's split: into equal parts, or at the given positions.

    >>> [p.shape for p in split(np.zeros((5, 2)), [1, 3])]
    [(1, 2), (2, 2), (2, 2)]
    """
    axis = _axis(axis, len(_shape(x)))
    n = _shape(x)[axis]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ShapeError(f"split: axis {axis} of length {n} has no {sections} equal parts")
        edges = [k * (n // sections) for k in range(sections + 1)]
    else:
        edges = [0, *sections, n]
    lead = (slice(None),) * axis
    return [getitem(x, (*lead, slice(a, b))) for a, b in itertools.pairwise(edges)]


_pad: _Linear = _Linear(
    "pad",
    lambda x, widths, value: np.pad(x, widths, constant_values=value),
    lambda g, widths, value: getitem(g, tuple(slice(a, -b or None) for a, b in widths)),
)


def pad(x: Any, widths: Any, value: float = 0.0) -> Any:
    """x with a constant border; `widths` as in NumPy: ``((before, after), …)`` per axis.

    >>> pad(np.ones(2), (1, 2))
    array([0., 1., 1., 0., 0.])
    """
    x = _data(x)
    n = len(_shape(x))
    pairs = np.broadcast_to(np.asarray(widths, int), (n, 2))
    return apply(_pad, x, widths=tuple((int(a), int(b)) for a, b in pairs), value=value)[0]


_flip: _Linear = _Linear(
    "flip",
    lambda x, axis: np.flip(x, axis),
    lambda g, axis: apply(_flip, g, axis=axis)[0],
    view=True,
)


def flip(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x in reverse order along `axis` (all by default).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.flip(np.array([1.0, 2.0, 3.0]))
    array([3., 2., 1.])
    """
    return apply(_flip, _data(x), axis=axis)[0]


_roll: _Linear = _Linear(
    "roll",
    lambda x, shift, axis: np.roll(x, shift, axis),
    lambda g, shift, axis: apply(_roll, g, shift=tuple(-s for s in shift), axis=axis)[0],
)


def roll(x: Any, shift: int | tuple[int, ...], axis: int | tuple[int, ...] = 0) -> Any:
    """x moved round by `shift` places along `axis`; what leaves one end comes in at the other.

    Tuples of one length roll several axes.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.roll(np.array([1.0, 2.0, 3.0]), 1)
    array([3., 1., 2.])
    """
    shifts = shift if isinstance(shift, tuple) else (shift,)
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes; give one for each")
    return apply(_roll, _data(x), shift=shifts, axis=axes)[0]


_cumsum: _Linear = _Linear(
    "cumsum",
    lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype),
    lambda g, axis: flip(cumsum(flip(g, axis), axis), axis),
)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along `axis` (of the flattened array by default, as in NumPy).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    x = _data(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return apply(_cumsum, x, axis=axis)[0]


def _put_along(g: Any, index: Any, axis: int, before: Any) -> Any:
    if isinstance(g, AbstractArray):
        return g.recorder.host(_put_along, (g, index, axis, before), {})  # type: ignore[attr-defined]
    out = np.zeros(before, g.dtype)
    places = list(np.indices(index.shape, sparse=True))
    places[axis] = index
    np.add.at(out, tuple(places), g)
    return out


_take_along: _Linear = _Linear(
    "take_along_axis",
    lambda x, index, axis, before: np.take_along_axis(x, index, axis),
    lambda g, **attrs: apply(_scatter_along, g, **attrs)[0],
)
_scatter_along: _Linear = _Linear(
    "scatter_along_axis", _put_along, lambda g, **attrs: apply(_take_along, g, **attrs)[0]
)


def take_along_axis(x: Any, index: Any, axis: int) -> Any:
    """NumPy's take_along_axis: one index per place, along `axis`; the other axes broadcast.

    Raises:
        ShapeError: for an index with another number of axes.

    >>> take_along_axis(np.array([[1.0, 2.0, 3.0]]), np.array([[2]]), 1)
    array([[3.]])
    """
    x = _data(x)
    index = index._data if isinstance(index, Variable) else as_array(index)
    n = len(_shape(x))
    axis = _axis(axis, n)
    if len(index.shape) != n:
        raise ShapeError(
            f"take_along_axis: x has shape {_shape(x)}, the index {index.shape}; they need the "
            "same number of axes"
        )
    own, wanted = list(_shape(x)), list(index.shape)
    own[axis] = wanted[axis] = 1
    if own != wanted:
        common = list(np.broadcast_shapes(tuple(own), tuple(wanted)))
        whole = [*common[:axis], _shape(x)[axis], *common[axis + 1 :]]
        if _shape(x) != tuple(whole):
            x = e.broadcast_to(x, tuple(whole))
        index = np.broadcast_to(index, (*common[:axis], index.shape[axis], *common[axis + 1 :]))
    return apply(_take_along, x, index=index, axis=axis, before=_shape(x))[0]


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """x in ascending order along `axis`; the gradient goes back to where each value came from.

    Arguments:
        descending: the largest first. NaN counts as the largest; equal entries keep their order.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    return take_along_axis(x, argsort(x, axis, descending), axis)


def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    """The k largest values along `axis`, largest first, and their indices.

    Arguments:
        largest: False for the k smallest, smallest first. NaN counts as the largest; of equal
            entries the first are taken.

    Raises:
        ShapeError: if there are not as many as k.

    >>> values, where = topk(np.array([1.0, 5.0, 3.0]), 2)
    >>> values, where
    (array([5., 3.]), array([1, 2]))
    """
    axis = _axis(axis, len(_shape(x)))
    n = _shape(x)[axis]
    if not 0 <= k <= n:
        raise ShapeError(f"topk: k = {k} of axis {axis} with length {n}")
    order = argsort(x, axis, descending=largest)[(*(slice(None),) * axis, slice(k))]
    return take_along_axis(x, order, axis), order


def repeat(x: Any, repeats: int, axis: int) -> Any:
    """Each entry `repeats` times along `axis`; its gradients are summed.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.repeat(np.array([1.0, 2.0]), 2, axis=0)
    array([1., 1., 2., 2.])
    """
    axis = _axis(axis, len(_shape(x)))
    index = np.repeat(np.arange(_shape(x)[axis]), repeats)
    return getitem(x, (*(slice(None),) * axis, index))


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes, zero elsewhere; `k` moves the diagonal up.

    Raises:
        ShapeError: for an x with fewer than two axes.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.tril(np.ones((2, 2)))
    array([[1., 0.],
           [1., 1.]])
    """
    return e.where(np.tril(_matrix("tril", x), k), x, 0.0)


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes, zero elsewhere; `k` moves the diagonal up.

    Raises:
        ShapeError: for an x with fewer than two axes.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.triu(np.ones((2, 2)))
    array([[1., 1.],
           [0., 1.]])
    """
    return e.where(np.triu(_matrix("triu", x), k), x, 0.0)


def _matrix(name: str, x: Any) -> Any:
    """True in the shape of the matrices in x."""
    if len(_shape(x)) < 2:
        raise ShapeError(f"{name} needs the two axes of a matrix, got shape {_shape(x)}")
    return np.ones(_shape(x)[-2:], np.bool_)
