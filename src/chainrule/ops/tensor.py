"""`Tensor`: an immutable array that remembers how it was computed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array, copied
from chainrule.array.dtypes import Array, DType, default_dtype, is_float
from chainrule.array.errors import ShapeError
from chainrule.autograd import tape
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.compile.symbolic import capture_error
from chainrule.ops import elementwise as e
from chainrule.ops import product as p
from chainrule.ops import reduction as r
from chainrule.ops import shape as s
from chainrule.ops.recorded import FUNCTIONS, RECORDED, UFUNCS

__all__ = ["Tensor", "asarray", "from_numpy", "tensor"]

_IMMUTABLE = (
    "tensors are immutable, because the tape may still need their values. Instead of t[i] = v "
    "write t = cr.ops.where(mask, v, t), or build it with cr.ops.concatenate or cr.ops.stack"
)


class Tensor(Variable):
    """An n-dimensional array on the tape. Make one with `chainrule.tensor` or `from_numpy`.

    It has NumPy's operators, indexing, method names and meanings. Python numbers, NumPy scalars and
    0-d arrays take the tensor's type; integers and booleans never widen a float.

    Attributes:
        shape, dtype, ndim, size: as in NumPy.
        requires_grad: whether a backward pass reaches it.
        grad: after ``backward()``, the gradient as a tensor; None before, and on intermediate
            tensors.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()
    __array_priority__ = 1000

    def __init__(self, data: Any, dtype: Any = None, requires_grad: bool = False) -> None:
        if isinstance(data, Variable):
            data = data._data
        if state.recorder is not None and type(data) is np.ndarray and data.flags.c_contiguous:
            data = copied(state.recorder.of(data))  # read again at each replay
        a = as_array(data, dtype) if isinstance(data, AbstractArray) else np.array(data, dtype)
        if dtype is None and not hasattr(data, "dtype") and a.dtype == np.float64:
            a = _refine_list(a, data)
        if a.dtype.kind not in "fiub":
            raise TypeError(
                f"a tensor holds floats, integers or booleans, not {a.dtype}; convert the data "
                "first"
            )
        self._init(a, requires_grad)

    def _init(self, a: Array, requires_grad: bool) -> None:
        if requires_grad and not is_float(a.dtype):
            raise TypeError(f"only floating tensors have gradients; this one is {a.dtype}")
        self._data = a
        self._node = None
        self._index = 0
        self._grad = None
        self._of = None
        self.requires_grad = requires_grad

    # -- what it is ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def dtype(self) -> DType:
        """The NumPy type of the entries."""
        dtype: DType = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._data.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(self._data.size)

    @property
    def T(self) -> Tensor:
        """All axes reversed, as in NumPy."""
        return s.transpose(self)  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return s.matrix_transpose(self)  # type: ignore[no-any-return]

    @property
    def is_leaf(self) -> bool:
        """True unless an operation computed it."""
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient added up by backward passes, or None."""
        g = self._grad
        if g is None or isinstance(g, Tensor):
            return g
        if state.recorder is not None:
            return Variable._wrap(copied(state.recorder.of(g)))  # type: ignore[no-any-return]
        # a gradient in an optimizer's vector is overwritten by the next pass: give a copy
        wrapped: Tensor = Variable._wrap(g.copy() if g is self._slot else g)
        return wrapped

    @grad.setter
    def grad(self, value: Any) -> None:
        if state.recorder is not None:
            state.recorder.touch(self, resets=True)
        if value is None:
            self._grad = None
            return
        g = value._data if isinstance(value, Variable) else as_array(value, self.dtype)
        if g.shape != self.shape:
            raise ShapeError(
                f"a gradient for a tensor of shape {self.shape} cannot have shape {g.shape}"
            )
        self._grad = copied(as_array(g, self.dtype))

    # -- leaving the tape -----------------------------------------------------------------------

    def numpy(self) -> Array:
        """The values as an array: a copy, since the tensor itself never changes.

        Raises:
            RuntimeError: if it requires grad; write ``t.detach().numpy()`` to say that the gradient
                ends here.
        """
        if self.requires_grad:
            raise RuntimeError(
                "this tensor requires grad, and an array would drop its gradient in silence. "
                "Write t.detach().numpy()"
            )
        return np.array(_values(self, ".numpy()"))

    def detach(self) -> Tensor:
        """The same values, off the tape."""
        if state.recorder is not None:
            values = copied(state.recorder.of(self._data))
        else:
            values = self._data if self._parameter() is None else self._data.copy()
        detached: Tensor = Variable._wrap(values)
        return detached

    def item(self) -> Any:
        """The one entry as a Python number."""
        if self._data.size != 1:
            raise ValueError(f"item() needs one entry; this tensor has shape {self.shape}")
        return _values(self, ".item()").item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return _values(self, ".tolist()").tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise RuntimeError(
                "np.asarray of a tensor that requires grad would drop its gradient in silence. "
                "Write t.detach().numpy()"
            )
        if copy is False:
            raise ValueError(
                "a tensor is immutable and cannot share its memory; leave out copy=False"
            )
        return np.array(_values(self, "NumPy"), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            what = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
            options = f" with {', '.join(kwargs)}" if kwargs else ""
            raise TypeError(
                f"{what}{options} does not take tensors; use the functions of chainrule.ops"
            )
        function = UFUNCS.get(ufunc.__name__)
        if function is None:
            raise TypeError(
                f"np.{ufunc.__name__} has no derivative here; use chainrule.ops, or "
                "t.detach().numpy() to leave the tape"
            )
        return function(*inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        function = FUNCTIONS.get(func.__name__)
        if function is None:
            raise TypeError(
                f"np.{func.__name__} does not take tensors; use chainrule.ops, or "
                "t.detach().numpy() to leave the tape"
            )
        return function(*args, **kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return np.asarray(self).__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    # -- the backward pass -----------------------------------------------------------------------

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it depends on.

        Arguments:
            gradient: the cotangent of this tensor, of its shape; may be left out for one entry.
            retain_graph: keep the buffers so that backward can run again (default: `create_graph`).
            create_graph: record the pass, so that the gradients can be differentiated.

        Raises:
            RuntimeError: if nothing here requires grad, or `gradient` is missing.
            StaleGraphError: on a second pass without `retain_graph`, or after a parameter changed.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward on a tensor that does not require grad: it was computed from constants "
                "only, or inside no_grad()"
            )
        g = cotangent_for(self, gradient, create_graph)
        tape.backward([self], [g], retain_graph=retain_graph, create_graph=create_graph)

    # -- operators ---------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return e.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return e.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return e.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return e.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return e.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return e.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return e.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return e.divide(other, self)

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int | float) and not isinstance(other, bool):
            return e.power_of(self, exponent=other)
        return e.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return e.pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return p.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return p.matmul(other, self)

    def __neg__(self) -> Any:
        return e.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Any:
        return e.abs(self)

    def __lt__(self, other: Any) -> Any:
        return e.less(self, other)

    def __le__(self, other: Any) -> Any:
        return e.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return e.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return e.greater_equal(self, other)

    def __eq__(self, other: Any) -> Any:
        return e.equal(self, other)

    def __ne__(self, other: Any) -> Any:
        return e.not_equal(self, other)

    __hash__ = object.__hash__

    def __invert__(self) -> Any:
        return ~self._data

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use .any() or .all()"
            )
        return bool(_values(self, "bool()").item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise TypeError(
                f"only an integer tensor of one entry is an index; this is {self.dtype}"
            )
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("a 0-d tensor cannot be iterated")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        return bool((self._data == (value._data if isinstance(value, Variable) else value)).any())

    def __getitem__(self, index: Any) -> Any:
        return s.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(_IMMUTABLE)

    def __delitem__(self, index: Any) -> None:
        raise TypeError(_IMMUTABLE)

    # -- methods with NumPy's names
    # -----------------------------------------------------------------

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
        return r.var(self, axis=axis, keepdims=keepdims, correction=correction)

    def std(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
        return r.std(self, axis=axis, keepdims=keepdims, correction=correction)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return r.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return r.argmin(self, axis, keepdims)

    def argsort(self, axis: int = -1) -> Any:
        return r.argsort(self, axis)

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.any(self, axis, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        return r.all(self, axis, keepdims)

    def cumsum(self, axis: int | None = None) -> Any:
        return s.cumsum(self, axis)

    def reshape(self, *shape: Any) -> Any:
        return s.reshape(self, *shape)

    def ravel(self) -> Any:
        return s.reshape(self, -1)

    flatten = ravel

    def transpose(self, *axes: Any) -> Any:
        return s.transpose(self, *axes)

    def swapaxes(self, a: int, b: int) -> Any:
        return s.swapaxes(self, a, b)

    def squeeze(self, axis: Any = None) -> Any:
        return e.squeeze(self, axis)

    def repeat(self, repeats: int, axis: int) -> Any:
        return s.repeat(self, repeats, axis)

    def clip(self, low: Any = None, high: Any = None) -> Any:
        return e.clip(self, low, high)

    def dot(self, other: Any) -> Any:
        return p.matmul(self, other)

    def exp(self) -> Any:
        return e.exp(self)

    def log(self) -> Any:
        return e.log(self)

    def sqrt(self) -> Any:
        return e.sqrt(self)

    def abs(self) -> Any:
        return e.abs(self)

    def astype(self, dtype: Any) -> Tensor:
        return s.astype(self, dtype)  # type: ignore[no-any-return]

    def copy(self) -> Tensor:
        """Itself: a tensor never changes. (Parameters give a detached copy.)"""
        return self if type(self) is Tensor else self.detach()

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        t = Tensor(self._data, requires_grad=self.requires_grad and self._node is None)
        memo[id(self)] = t
        return t

    def __reduce__(self) -> Any:
        return _rebuild, (np.array(self._data), self.requires_grad and self._node is None)

    def __repr__(self) -> str:
        text = np.array2string(self._data, prefix="tensor(", separator=", ", threshold=1000)
        extra = (
            ""
            if self.dtype in (default_dtype, np.dtype(np.int64), np.dtype(bool))
            else f", dtype={self.dtype}"
        )
        if self._node is not None:
            extra += f", from={self._node.op.name}"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)


def _values(t: Any, what: str) -> Any:
    """The array of a tensor, to be looked at; while a step is captured there is none."""
    if state.recorder is not None and not isinstance(t._data, AbstractArray):
        raise capture_error(f"{what} reads a value, which a replay would not read again")
    return t._data


def _rebuild(data: Array, requires_grad: bool) -> Tensor:
    return Tensor(data, requires_grad=requires_grad)


def _refine_list(a: Array, data: Any) -> Array:
    """Lists of Python numbers become the default type; lists of float64 arrays keep theirs."""
    probe = data
    while isinstance(probe, list | tuple) and probe:
        probe = probe[0]
    return a if hasattr(probe, "dtype") else a.astype(default_dtype)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`.

    Arguments:
        data: nested lists of numbers (floats become float32), an array or scalar (keeps its type).
        dtype: the type to convert to, if another is wanted.
        requires_grad: whether backward passes compute its gradient; floats only.

    Raises:
        TypeError: for objects, strings and complex numbers, or a gradient of integers.

    >>> import chainrule as cr
    >>> cr.tensor([[1, 2], [3, 4]]).dtype, cr.tensor([1.0]).dtype, cr.tensor(np.ones(2)).dtype
    (dtype('int64'), dtype('float32'), dtype('float64'))
    """
    return Tensor(data, dtype, requires_grad)


def from_numpy(a: Array) -> Tensor:
    """A tensor that shares the memory of `a`. Do not write to `a` while the tensor is in use.

    >>> import chainrule as cr
    >>> a = np.ones(2, np.float32)
    >>> t = cr.from_numpy(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 1.])
    """
    if not isinstance(a, np.ndarray):
        raise TypeError(f"from_numpy takes a numpy.ndarray, not {type(a).__name__}; use cr.tensor")
    if a.dtype.kind not in "fiub":
        raise TypeError(f"a tensor holds floats, integers or booleans, not {a.dtype}")
    t: Tensor = Variable._wrap(a)
    return t


def asarray(data: Any, dtype: Any = None) -> Tensor:
    """`data` as a tensor, itself if it is one already of that type.

    >>> import chainrule as cr
    >>> cr.asarray([1.0, 2.0])
    tensor([1., 2.])
    """
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype == dtype else data.astype(dtype)
    return Tensor(data, dtype)


@functools.cache
def _one(shape: tuple[int, ...], dtype: DType) -> Array:
    """The cotangent of a value by itself; nobody writes into it."""
    one = np.ones(shape, dtype)
    one.flags.writeable = False
    return one


def cotangent_for(t: Any, gradient: Any, recorded: bool) -> Any:
    """The starting cotangent of `t`: as given, or one for a single entry."""
    if gradient is None:
        if t.size != 1:
            raise RuntimeError(
                f"backward on a tensor of shape {t.shape} needs its gradient: pass gradient= of "
                "that shape, or reduce to one number first, such as t.sum()"
            )
        abstract = isinstance(t._data, AbstractArray)
        g: Any = np.ones_like(t._data) if abstract else _one(t.shape, t.dtype)
    elif isinstance(gradient, Variable):
        g = gradient if recorded else gradient._data
    else:
        g = as_array(gradient, t.dtype)
    if g.shape != t.shape:
        raise ShapeError(f"the gradient of a tensor of shape {t.shape} cannot have shape {g.shape}")
    if g.dtype != t.dtype:
        g = g.astype(t.dtype)
    return Variable._wrap(g) if recorded and not isinstance(g, Variable) else g


tape.install(Tensor, RECORDED)
