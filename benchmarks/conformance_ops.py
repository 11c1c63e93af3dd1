"""Functions of `torch` as calls of `cr.ops`: element by element, reductions, shape, products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance_cases import (
    CASES,
    CORNER,
    EMPTY,
    INTEGER_MEAN,
    LEGACY_EMPTY,
    NAN,
    NEGATIVE_PAD,
    NOT_ONE,
    POLE,
    ZERO_D,
    add,
    axes,
    ops,
    shape,
)
from conformance_record import NotApplicable


def scaled(name: str) -> Callable[..., Any]:
    def call(a: Any, b: Any, alpha: Any = 1) -> Any:
        return getattr(ops, name)(a, b if alpha == 1 else ops.multiply(b, alpha))

    return call


# -- element by element ------------------------------------------------------------------------

for both in (
    *("abs", "sign", "floor", "sqrt", "square", "exp", "expm1", "log", "log1p", "sin", "cos"),
    *("tanh", "sigmoid", "erf", "lgamma", "digamma", "maximum", "minimum", "pow", "isnan"),
    *("isfinite", "logical_and", "logical_or", "logical_not"),
):
    add(both, both)
add("add", "add", scaled("add"))
add("sub", "subtract", scaled("subtract"))
add("rsub", "subtract", lambda a, b, alpha=1: ops.subtract(b, ops.multiply(a, alpha)))
add("mul", "multiply")
add("true_divide", "divide")
add("div|no_rounding_mode", "divide")
add("neg", "negative")
add("sgn", "sign")
add("max|binary", "maximum")
add("min|binary", "minimum")
add("__radd__", "add", lambda a, b: b + a)
add("__rsub__", "subtract", lambda a, b: b - a)
add("__rmul__", "multiply", lambda a, b: b * a)
add("__rdiv__", "divide", lambda a, b: b / a)
add("__rpow__", "pow", lambda a, b: b**a)
add("__rmatmul__", "matmul", lambda a, b: b @ a)
for theirs, ours in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}.items():  # fmt: skip
    add(theirs, ours)
for n in range(5):
    add(f"polygamma|polygamma_n_{n}", "polygamma", lambda x, n: ops.polygamma(x, n=n))
add("special.polygamma|special_polygamma_n_0", "polygamma", lambda x, n: ops.polygamma(x, n=n))
add("where", "where", lambda x, condition, other: ops.where(condition, x, other))
add("masked_fill", "where", lambda x, mask, value: ops.where(mask, value, x))
add("clamp", "clip", lambda x, min=None, max=None: ops.clip(x, min, max))
add("clamp_min", "clip", lambda x, low: ops.clip(x, low))
add("clamp_max", "clip", lambda x, high: ops.clip(x, None, high))


def expanded(x: Any, *sizes: Any) -> Any:
    wanted = tuple(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes)
    own = (1,) * (len(wanted) - len(shape(x))) + shape(x)
    return ops.broadcast_to(x, tuple(o if w == -1 else w for o, w in zip(own, wanted, strict=True)))


add("broadcast_to", "broadcast_to", expanded)
add("expand", "broadcast_to", expanded)
add("expand_as", "broadcast_to", lambda x, like: ops.broadcast_to(x, like))
add("unsqueeze", "expand_dims", lambda x, axis: ops.expand_dims(x, axis=axis))


def squeezed(x: Any, axis: Any = None) -> Any:
    which = () if axis is None else (axis,) if isinstance(axis, int) else axis
    if not shape(x) and which:
        raise NotApplicable(ZERO_D)
    if any(shape(x)[a] != 1 for a in which):
        raise NotApplicable(NOT_ONE)
    return ops.squeeze(x, axis)


add("squeeze", "squeeze", squeezed)
add("squeeze|multiple", "squeeze", squeezed)

# -- reductions --------------------------------------------------------------------------------


def reducing(name: str, theirs_empty: bool = True) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        if name == "mean" and "i" in (x.dtype.kind, np.dtype(dtype or float).kind):
            raise NotApplicable(INTEGER_MEAN)
        if dtype is not None:
            x = ops.astype(x, dtype)
        return getattr(ops, name)(x, axis=axes(x, dim), keepdims=keepdim)

    return call


for same in ("sum", "mean", "amax", "amin", "any", "all", "argmax", "argmin", "prod"):
    add(same, same, reducing(same))


def log_sum(x: Any, dim: Any, keepdim: bool = False) -> Any:
    if 0 in shape(x):
        raise NotApplicable(EMPTY)
    return reducing("logsumexp")(x, dim, keepdim)


add("logsumexp", "logsumexp", log_sum)
for which in ("max", "min"):
    add(f"{which}|reduction_no_dim", which, reducing(which))

    def with_places(x: Any, dim: int, keepdim: bool = False, which: str = which) -> Any:
        axis = axes(x, dim)
        places = getattr(ops, "arg" + which)(x, axis, keepdim)
        return getattr(ops, which)(x, axis=axis, keepdims=keepdim), places

    add(f"{which}|reduction_with_dim", which, with_places)


def spread(name: str, mean: bool = False) -> Callable[..., Any]:
    def call(
        x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **more: Any
    ) -> Any:
        if isinstance(dim, bool):  # the overload of PyTorch with this argument alone
            dim, unbiased = None, dim
        correction = more.pop("correction", None)
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        axis = axes(x, dim)
        y = getattr(ops, name)(x, axis=axis, keepdims=keepdim, correction=correction, **more)
        return (y, ops.mean(x, axis=axis, keepdims=keepdim)) if mean else y

    return call


for name in ("std", "var"):
    add(name, name, spread(name))
    add(f"{name}|unbiased", name, spread(name))
    add(f"{name}_mean", name, spread(name, mean=True))
    add(f"{name}_mean|unbiased", name, spread(name, mean=True))


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    if dtype is not None:
        x = ops.astype(x, dtype)
    return ops.norm(x, ord=ord, axis=axes(x, dim), keepdims=keepdim)


add("linalg.vector_norm", "norm", vector_norm)
add("norm", "norm", vector_norm)
add("norm|inf", "norm", vector_norm)
add("norm|fro", "norm", lambda x, p="fro", dim=None, keepdim=False: vector_norm(x, 2, dim, keepdim))


# -- shape and order ---------------------------------------------------------------------------


def sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args


for name in ("reshape", "view"):
    add(name, "reshape", lambda x, *wanted: ops.reshape(x, sizes(wanted)))
add("ravel", "reshape", lambda x: ops.reshape(x, -1))


def flattened(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    own = shape(x) or (1,)
    start, end = start_dim % len(own), end_dim % len(own)
    return ops.reshape(x, (*own[:start], math.prod(own[start : end + 1]), *own[end + 1 :]))


def unflattened(x: Any, dim: int, sizes: Any) -> Any:
    own, dim = shape(x), dim % len(shape(x))
    rest = math.prod(s for s in sizes if s != -1)
    sizes = tuple(own[dim] // rest if s == -1 else s for s in sizes)
    return ops.reshape(x, (*own[:dim], *sizes, *own[dim + 1 :]))


add("flatten", "reshape", flattened)
add("unflatten", "reshape", unflattened)
add("permute", "permute_dims", lambda x, *order: ops.permute_dims(x, sizes(order)))


def exchanged(x: Any, a: int, b: int) -> Any:
    if not shape(x):
        raise NotApplicable(ZERO_D)
    return ops.swapaxes(x, a, b)


add("transpose", "swapaxes", exchanged)
add("t", "transpose", lambda x: ops.transpose(x))
add("T", "transpose", lambda x: ops.transpose(x))
add("mT", "matrix_transpose", lambda x: ops.matrix_transpose(x))


def moved(x: Any, source: Any, to: Any) -> Any:
    n = len(shape(x))
    source, to = (v if isinstance(v, tuple | list) else (v,) for v in (source, to))
    where = {t % n: s % n for s, t in zip(source, to, strict=True)}
    rest = iter(a for a in range(n) if a not in where.values())
    return ops.permute_dims(x, [where[a] if a in where else next(rest) for a in range(n)])


add("movedim", "permute_dims", moved)
add("flip", "flip", lambda x, dims: ops.flip(x, tuple(dims)))
add("fliplr", "flip", lambda x: ops.flip(x, 1))
add("flipud", "flip", lambda x: ops.flip(x, 0))


def rolled(x: Any, shifts: Any, dims: Any = None) -> Any:
    if dims is None or dims == ():
        return ops.reshape(ops.roll(ops.reshape(x, -1), shifts, 0), shape(x))
    return ops.roll(x, shifts, dims)


add("roll", "roll", rolled)


def rotated(x: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    for _ in range(k % 4):
        x = ops.flip(ops.swapaxes(x, *dims), dims[0])
    return x


add("rot90", "flip", rotated)


def cumulative(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: int, dtype: Any = None) -> Any:
        if not shape(x):
            raise NotApplicable(ZERO_D)
        if dtype is not None:
            x = ops.astype(x, dtype)
        return getattr(ops, name)(x, axes(x, dim))

    return call


for name in ("cumsum", "cumprod", "logcumsumexp"):
    add(name, name, cumulative(name))


def joined(xs: Any, dim: int = 0) -> Any:
    ranks = [getattr(x, "shape", None) for x in xs]
    if (0,) in ranks and any(r is not None and len(r) > 1 for r in ranks):
        raise NotApplicable(LEGACY_EMPTY)
    return ops.concatenate(xs, axis=dim)


add("cat", "concatenate", joined)
add("stack", "stack", lambda xs, dim=0: ops.stack(xs, axis=dim))
add(
    "hstack", "concatenate", lambda xs: ops.concatenate(xs, axis=0 if len(shape(xs[0])) == 1 else 1)
)
add("vstack", "stack", lambda xs: ops.stack(xs) if len(shape(xs[0])) == 1 else ops.concatenate(xs))


def split_by(x: Any, size: Any, dim: int = 0) -> Any:
    """PyTorch's split has the length of a part, or all lengths; NumPy's the places of the cuts."""
    n = shape(x)[dim]
    if isinstance(size, int):
        return ops.split(x, list(range(size, n, size)), axis=dim)
    return ops.split(x, list(np.cumsum(size)[:-1]), axis=dim)


for name in ("split", "split|list_args", "split_with_sizes"):
    add(name, "split", split_by)
add("chunk", "split", lambda x, n, dim=0: split_by(x, -(-shape(x)[dim] // n), dim))


def tensor_split(x: Any, parts: Any, dim: int = 0) -> Any:
    if isinstance(parts, np.ndarray):
        parts = parts.tolist()
    if isinstance(parts, int):
        cuts = [len(p) for p in np.array_split(np.arange(shape(x)[dim]), parts)]
        return ops.split(x, list(np.cumsum(cuts)[:-1]), axis=dim)
    return ops.split(x, list(parts), axis=dim)


add("tensor_split", "split", tensor_split)


def at(x: Any, axis: int, index: Any) -> Any:
    return x[(*(slice(None),) * (axis % len(shape(x))), index)]


def narrowed(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start) % (shape(x)[dim] + 1) if int(start) >= 0 else int(start) + shape(x)[dim]
    return at(x, dim, slice(start, start + length))


# indexing is an operator, not a function of `ops`
add("__getitem__", "take_along_axis", lambda x, index: x[index])
add("select", "take_along_axis", lambda x, dim, index: at(x, dim, index))
add("narrow", "take_along_axis", narrowed)
add("unbind", "take_along_axis", lambda x, dim=0: [at(x, dim, k) for k in range(shape(x)[dim])])


def selected(x: Any, dim: int, index: Any) -> Any:
    if not shape(x):
        raise NotApplicable(ZERO_D)
    return at(x, dim, index)


add("index_select", "take_along_axis", selected)


def taken(x: Any, index: Any, dim: Any = None) -> Any:
    if dim is None:
        return ops.take_along_axis(ops.reshape(x, -1), np.reshape(index, -1), 0)
    return ops.take_along_axis(x, index, dim)


def gathered(x: Any, dim: int, index: Any) -> Any:
    if not shape(x):
        raise NotApplicable(ZERO_D)
    own, wanted = list(shape(x)), list(shape(index))
    if len(own) != len(wanted) or own[:dim] + own[dim + 1 :] != wanted[:dim] + wanted[dim + 1 :]:
        raise NotApplicable(CORNER)
    return ops.take_along_axis(x, index, dim)


add("take_along_dim", "take_along_axis", taken)
add("gather", "take_along_axis", gathered)


def sorted_with_places(
    x: Any, dim: int = -1, descending: bool = False, stable: bool = False
) -> Any:
    if not shape(x):
        raise NotApplicable(ZERO_D)
    axis = axes(x, dim)
    more = {"descending": True} if descending else {}
    return ops.sort(x, axis, **more), ops.argsort(x, axis, **more)


add("sort", "sort", sorted_with_places)
add("argsort", "argsort", lambda *args, **kwargs: sorted_with_places(*args, **kwargs)[1])
add("msort", "sort", lambda x: ops.sort(x, 0))


def best(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not shape(x):
        raise NotApplicable(ZERO_D)
    return ops.topk(x, k, axes(x, dim), **({} if largest else {"largest": False}))


add("topk", "topk", best)


def repeated(x: Any, repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    if dim is None:
        x, dim = ops.reshape(x, -1), 0
    return ops.repeat(x, repeats, dim)


add("repeat_interleave", "repeat", repeated)
for name in ("repeat", "tile"):
    add(name, "tile", lambda x, *counts: ops.tile(x, sizes(counts)))
add("tril", "tril")
add("triu", "triu")


def padded(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """PyTorch's widths begin at the last axis."""
    if any(w < 0 for w in pad):
        raise NotApplicable(NEGATIVE_PAD)
    if mode == "constant":
        more: dict[str, Any] = {"value": 0.0 if value is None else value}
    else:
        more = {"mode": mode}
    pairs = [(pad[k], pad[k + 1]) for k in range(0, len(pad), 2)]
    pairs += [(0, 0)] * (len(shape(x)) - len(pairs))
    return ops.pad(x, pairs[::-1], **more)


add("nn.functional.pad|constant", "pad", padded)
add("constant_pad_nd", "pad", lambda x, pad, value=None: padded(x, pad, "constant", value))
add("double", "astype", lambda x, memory_format=None: ops.astype(x, np.float64))
add("float", "astype", lambda x, memory_format=None: ops.astype(x, np.float32))
add("long", "astype", lambda x, memory_format=None: ops.astype(x, np.int64))
add("bool", "astype", lambda x, memory_format=None: ops.astype(x, np.bool_))


# -- products ----------------------------------------------------------------------------------

for name in ("matmul", "mm", "bmm", "mv", "dot"):
    add(name, "matmul", lambda a, b: ops.matmul(a, b))
add("einsum", "einsum", lambda xs, spec: ops.einsum(spec, *xs))
add("outer", "einsum", lambda a, b: ops.einsum("i,j->ij", a, b))
add(
    "addmm",
    "matmul",
    lambda c, a, b, alpha=1, beta=1: ops.add(
        ops.multiply(c, beta), ops.multiply(ops.matmul(a, b), alpha)
    ),
)
add("nn.functional.linear", "linear")


def embedded(
    weight: Any, input: Any, padding_idx: Any = None, max_norm: Any = None, **more: Any
) -> Any:
    if max_norm is not None or any(v for k, v in more.items() if k != "norm_type"):
        raise NotApplicable("max_norm, sparse and scale_grad_by_freq of an embedding")
    return ops.embedding(input, weight, padding_idx)


add("nn.functional.embedding", "embedding", embedded)

#: Several calls, or PyTorch's arguments translated: its wrong ones tell nothing about ours.
for name in (
    *("add", "sub", "rsub", "masked_fill", "t", "T", "movedim", "rot90", "narrow", "select"),
    *("unbind", "hstack", "vstack", "chunk", "tensor_split", "flatten", "unflatten", "addmm"),
    *("fliplr", "flipud", "index_select", "hsplit", "outer"),
):
    if name in CASES:
        CASES[name].direct = False
for name in ("sign", "sgn"):
    CASES[name].apart = (NAN, np.isnan)
for name in [n for n in CASES if "gamma" in n]:
    CASES[name].apart = (POLE, lambda x: np.isinf(x) | ((x <= 0) & (x == np.floor(x))))
    CASES[name].rounded = (1e-8, 1e-8)  # of PyTorch's own trigamma
