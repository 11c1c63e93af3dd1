"""Embeddings: rows of a table at codes, and the sum of cotangents back into the table.

Gather and scatter are an adjoint pair: the vjp of each is the other, so every order of derivative
follows.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.array.dtypes import is_float
from chainrule.array.errors import DataError, ShapeError
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Op, Variable, apply
from chainrule.compile import lookup
from chainrule.ops.shape import _data, _getitem, _putitem, _shape

__all__ = ["embed_columns", "embedding"]


def _who(name: str) -> str:
    """The layer that is computing, else the operation."""
    return describe(state.frame) or name


class _Gather(Op):
    """``table[codes]``. The row `padding` gets no gradient; `blank` takes it for zero, too."""

    name = "embedding"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (False,), (False,)

    def forward(
        self, xp: Any, table: Any, *, codes: Any, shape: Any, padding: int, blank: bool = False
    ) -> Any:
        if isinstance(table, AbstractArray):  # of a captured step
            y = table.recorder.gather(codes, [table])  # type: ignore[attr-defined]
        else:
            y = lookup.gather(codes, table)
        if blank and padding >= 0:
            y = y * (codes != padding)[..., None].astype(y.dtype)
        return (y,), ()

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        *,
        codes: Any = None,
        shape: Any = None,
        padding: int = -1,
        **attrs: Any,
    ) -> Any:
        (g,) = cotangents
        return (apply(_scatter, g, x=codes, column=-1, first=0, shape=shape, padding=padding)[0],)

    def per_sample(
        self,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        parameters: Any,
        *,
        codes: Any = None,
        shape: Any = None,
        padding: int = -1,
        **attrs: Any,
    ) -> Any:
        """Each sample has a table of its own, below that of the sample before."""
        if not codes.ndim:
            raise NotImplementedError("embedding of a single code has no samples")
        return (_per_sample(cotangents[0], codes, 0, shape, padding),)


class _Scatter(Op):
    """Zeros of a table's `shape`, to which the rows of g are added at their codes: the adjoint of
    `_Gather`, and of a table of `_EmbedColumns` (see `chainrule.compile.lookup.scatter`)."""

    name = "scatter_add"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (False,), (False,)

    def forward(self, xp: Any, g: Any, *, x: Any, width: int = 0, **attrs: Any) -> Any:
        if isinstance(g, AbstractArray):
            return (g.recorder.scatter(g, x, **attrs),), ()  # type: ignore[attr-defined]
        return (lookup.scatter(g, x, **attrs),), ()

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        *,
        x: Any = None,
        column: int = -1,
        first: int = 0,
        shape: Any = None,
        padding: int = -1,
        **attrs: Any,
    ) -> Any:
        (h,) = cotangents
        codes = x if column < 0 else x[:, column]
        rows = apply(_gather, h, codes=codes, shape=shape, padding=padding, blank=True)[0]
        if column < 0:
            return (rows,)
        index = (slice(None), slice(first, first + shape[1]))
        return (apply(_putitem, rows, index=index, before=(x.shape[0], attrs["width"]))[0],)


class _EmbedColumns(Op):
    """The first columns of x, then for each further one the rows of its table."""

    name = "embed_columns"

    def keeps(self, needed: Any, attrs: Any) -> Any:
        return (True, *(False,) * (len(needed) - 1)), (False,)

    def forward(self, xp: Any, x: Any, *tables: Any, kept: int, shapes: Any) -> Any:
        if isinstance(x, AbstractArray):
            return (x.recorder.gather(x, tables, kept),), ()  # type: ignore[attr-defined]
        return (lookup.gather(x, *tables, kept=kept),), ()

    def vjp(
        self,
        xp: Any,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        *,
        kept: int = 0,
        shapes: Any = (),
        **attrs: Any,
    ) -> Any:
        (g,) = cotangents
        x = inputs[0]._data if isinstance(inputs[0], Variable) else inputs[0]
        found = [_numbers(g, kept, x.shape) if needed[0] else None]
        first, width = kept, kept + sum(dim for _, dim in shapes)
        for j, shape in enumerate(shapes):
            found.append(
                apply(
                    _scatter, g, x=x, column=kept + j, first=first, shape=shape, padding=-1,
                    width=width,
                )[0]
                if needed[1 + j]
                else None
            )  # fmt: skip
            first += shape[1]
        return found

    def per_sample(
        self,
        inputs: Any,
        outputs: Any,
        residuals: Any,
        cotangents: Any,
        needed: Any,
        parameters: Any,
        *,
        kept: int = 0,
        shapes: Any = (),
        **attrs: Any,
    ) -> Any:
        if parameters[0]:
            raise NotImplementedError(
                "embed_columns has no gradient per sample for an x that is not of the samples"
            )
        (g,), x = cotangents, inputs[0]
        found = [_numbers(g, kept, x.shape) if needed[0] else None]
        first = kept
        for j, shape in enumerate(shapes):
            codes = x[:, kept + j].astype(np.int64)
            found.append(_per_sample(g, codes, first, shape, -1) if needed[1 + j] else None)
            first += shape[1]
        return found


_gather, _scatter, _embed_columns = _Gather(), _Scatter(), _EmbedColumns()


def _numbers(g: Any, kept: int, shape: tuple[int, int]) -> Any:
    """The cotangent of x: that of its numbers, and zeros for its codes."""
    index = (slice(None), slice(0, kept))
    part = apply(_getitem, g, index=index, before=g.shape)[0]
    return apply(_putitem, part, index=index, before=shape)[0]


def _per_sample(g: Any, codes: Any, first: int, shape: tuple[int, int], padding: int) -> Any:
    n, (rows, columns) = codes.shape[0], shape
    own = codes + rows * np.arange(n).reshape(n, *(1,) * (codes.ndim - 1))
    whole = (n * rows, columns)
    out = lookup.scatter(g, own, column=-1, first=first, shape=whole, padding=-1)
    out = out.reshape(n, rows, columns)
    if padding >= 0:
        out[:, padding] = 0
    return out


def _table(name: str, weight: Any) -> Any:
    weight = _data(weight)
    if len(_shape(weight)) != 2 or not is_float(weight.dtype):
        raise ShapeError(
            f"{_who(name)}: a table has the shape (rows, columns) and holds floats, got "
            f"{weight.dtype} {_shape(weight)}"
        )
    return weight


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """``weight[input]``: for each code the row of a table.

    The gradient of a row is the sum over all places where its code stands, added in a fixed order.
    Numbers are added in double.

    Arguments:
        input: integer codes of any shape, 0 to num - 1.
        weight: the table, ``(num, dim)``.
        padding_idx: a row, counted from the end if negative, that gets no gradient, as in torch.

    Returns:
        ``(*input.shape, dim)``.

    Raises:
        DataError: for a code out of range, with the first one, its place and the layer.
        TypeError: for codes that are no integers; whole floats are converted by
            ``x.astype(np.int64)``.
        ShapeError: for a weight that is no table.

    >>> import numpy as np
    >>> embedding(np.array([[2, 0]]), np.array([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]]))
    array([[[2. , 2.1],
            [0. , 0.1]]])
    """
    codes = input._data if isinstance(input, Variable) else input
    codes = codes if isinstance(codes, AbstractArray) else np.asarray(codes)
    if codes.dtype.kind not in "iu":  # type: ignore[union-attr]
        raise TypeError(_not_integers(codes))
    table = _table("embedding", weight)
    shape = _shape(table)
    if isinstance(codes, AbstractArray):
        codes.recorder.codes(codes, shape[:1])  # type: ignore[attr-defined]
    else:
        at = lookup.first_bad(codes, shape[:1])
        if at is not None:
            place = f"row {at[0]}" if len(at) == 1 else f"index {at}" if at else "the single entry"
            raise DataError(_out_of_range(f"code {codes[at]} at {place}", shape[0], codes, at))
    padding = -1 if padding_idx is None else _padding(padding_idx, shape[0])
    return apply(_gather, table, codes=codes, shape=shape, padding=padding)[0]


def _not_integers(codes: Any) -> str:
    if codes.dtype.kind == "f":
        fix = (
            "for whole numbers write x.astype(np.int64); a table of numbers with codes in its last "
            "columns goes into EmbedColumns"
        )
    elif codes.dtype.kind == "b":
        fix = "for False and True as codes 0 and 1 write x.astype(np.int64)"
    else:
        fix = "number the categories: categories, codes = np.unique(x, return_inverse=True)"
    return f"{_who('embedding')}: codes are integers, got {codes.dtype}; {fix}"


def _out_of_range(what: str, rows: int, codes: Any, at: tuple[int, ...]) -> str:
    one, hint = rows == 1, ""
    if codes.size and codes.min() >= 1 and codes.max() == rows:
        hint = "; codes counted from 1? subtract 1"
    return (
        f"{_who('embedding')}: {what} is out of range; a table of {rows} row{'' if one else 's'} "
        f"has {'code 0' if one else f'codes 0 to {rows - 1}'}{hint}"
    )


def _padding(padding_idx: Any, rows: int) -> int:
    try:
        k = operator.index(padding_idx)
    except TypeError:
        raise TypeError(
            f"embedding: padding_idx is the number of a row, got {padding_idx!r}"
        ) from None
    if not -rows <= k < rows:
        raise ValueError(f"embedding: padding_idx {k} is no row of a table of {rows}")
    return k % rows


def embed_columns(x: Any, weights: Sequence[Any]) -> Any:
    """The first columns of x as they are, and for each of its last ones the rows of a table.

    ``y = [x_1 … x_m, W_1[x_{m+1}], …, W_k[x_{m+k}]]`` for k tables: rows of numbers with the
    categories of a table of data.

    Arguments:
        x: ``(n, m + k)``, floats; the last k columns hold codes as whole numbers. An array is cast
            to the type of the tables first.
        weights: k tables ``(rows, columns)`` of one type.

    Returns:
        ``(n, m + Σ columns)``. Its gradient by the m numbers is passed on; by the codes it is zero.

    Raises:
        DataError: for a code that is not whole or out of range; it names layer, row, column, value.
        ShapeError: for an x that is no matrix, or has fewer columns than there are tables.
        TypeError: for a tensor of another type.

    >>> import numpy as np
    >>> x = np.array([[0.5, 1.0], [0.6, 0.0]])
    >>> embed_columns(x, [np.array([[10.0, 20.0], [30.0, 40.0]])])
    array([[ 0.5, 30. , 40. ],
           [ 0.6, 10. , 20. ]])
    """
    tables = [_table("embed_columns", w) for w in weights]
    x = _data(x)
    shape, shapes = _shape(x), tuple(_shape(t) for t in tables)
    kept = shape[-1] - len(tables) if len(shape) == 2 else -1
    if kept < 0:
        raise ShapeError(
            f"{_who('embed_columns')}: expected x: (n, columns) with a column for each of "
            f"{len(tables)} tables, got {shape}"
        )
    if not tables:
        return x
    x = _cast(x, tables)
    raw = x._data if isinstance(x, Variable) else x
    rows = [n for n, _ in shapes]
    if isinstance(raw, AbstractArray):
        raw.recorder.codes(raw, rows, kept)  # type: ignore[attr-defined]
    else:
        at = lookup.first_bad(raw[:, kept:], rows)
        if at is not None:
            raise DataError(_bad_code(raw, at[0], kept + at[1], rows[at[1]]))
    return apply(_embed_columns, x, *tables, kept=kept, shapes=shapes)[0]


def _bad_code(x: Any, row: int, column: int, rows: int) -> str:
    value = x[row, column]
    whole = np.isfinite(value) and value == np.floor(value)
    what = "is out of range" if whole else "is no whole number"
    return (
        f"{_who('embed_columns')}: x holds {value:g} at row {row}, column {column}, which {what}; "
        f"the codes of {rows} categories are {'0' if rows == 1 else f'0 to {rows - 1}'}"
    )


def _cast(x: Any, tables: Sequence[Any]) -> Any:
    """Raw arrays follow the tables' type; a tensor of another type is a mistake."""
    dtype = tables[0].dtype
    if any(t.dtype != dtype for t in tables):
        raise TypeError(
            f"{_who('embed_columns')}: tables have one type, got "
            f"{', '.join(sorted({str(t.dtype) for t in tables}))}"
        )
    if x.dtype == dtype:
        return x
    if isinstance(x, Variable) and is_float(x._data.dtype):
        raise TypeError(
            f"{_who('embed_columns')}: x is a {x._data.dtype} tensor, the tables are {dtype}; "
            f"convert one, for example x.astype({str(dtype)!r}) or "
            f"model.{'double' if x._data.dtype == np.float64 else 'float'}()"
        )
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{_who('embed_columns')}: x must hold numbers, not {x.dtype}")
    return x.astype(dtype)
