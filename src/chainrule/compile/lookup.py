"""Rows of tables at codes, and back to the tables: as NumPy does it, eagerly and in replays.

A code is the number of a row. Codes are integers of any shape, or whole floats in the last columns
of a matrix whose first `kept` columns are numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.compile.native import Unfinished

__all__ = ["codes_of", "first_bad", "gather", "scatter"]


def codes_of(x: Array, kept: int = -1) -> Array:
    """The codes in x: x itself, or with `kept` >= 0 the columns from there on."""
    return x if kept < 0 else x[:, kept:]


def first_bad(codes: Array, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """Where the first code stands that is no whole number from 0 to the size of its table - 1.

    One size is that of all; several are those of the columns.

    >>> first_bad(np.array([[0.0, 1.0], [2.0, 0.5]]), [3, 3])
    (1, 1)
    """
    if not codes.size:
        return None
    # two fast passes in the usual case
    if codes.dtype.kind in "iu" and codes.min() >= 0 and codes.max() < min(sizes):
        return None
    with np.errstate(invalid="ignore"):
        top = sizes[0] if len(sizes) == 1 else np.asarray(sizes)
        good = (codes >= 0) & (codes < top) & (codes == np.floor(codes))
    return None if good.all() else tuple(int(i) for i in np.argwhere(~good)[0])


def gather(x: Array, *tables: Array, kept: int = -1, check: bool = False) -> Array:
    """``table[x]``; with `kept` >= 0 the first columns of x, then for each further column the rows
    of its table. With `check`, in a replay, it stops at a code that has no row.

    >>> gather(np.array([2, 0]), np.array([[0.0], [1.0], [2.0]]))
    array([[2.],
           [0.]])
    """
    if check:
        _stop_at_bad(codes_of(x, kept), [len(t) for t in tables])
    if kept < 0:
        rows: Array = tables[0][x if x.dtype.kind in "iu" else x.astype(np.int64)]
        return rows
    codes = x[:, kept:].astype(np.int64)
    return np.concatenate([x[:, :kept], *(t[codes[:, j]] for j, t in enumerate(tables))], axis=1)


def _stop_at_bad(codes: Array, sizes: Sequence[int]) -> None:
    if first_bad(codes, sizes) is not None:
        raise Unfinished


def scatter(
    g: Array,
    x: Array,
    *,
    column: int,
    first: int,
    shape: tuple[int, int],
    padding: int,
    check: bool = False,
) -> Array:
    """The adjoint of `gather`: for each row of a table the sum of the rows of g at its code.

    Added in double and row after row, so that the bits depend on nothing else.

    Arguments:
        g: ``(..., width)``, of which the columns from `first` on are of this table.
        x: the codes; with `column` >= 0 that column of it.
        shape: that of the table, ``(rows, columns)``.
        padding: the row that stays zero; none if negative.
        check: stop at a code that has no row, in a replay.

    >>> scatter(np.ones((3, 1)), np.array([2, 0, 2]), column=-1, first=0, shape=(3, 1), padding=-1)
    array([[1.],
           [0.],
           [2.]])
    """
    rows, columns = shape
    codes = (x if column < 0 else x[:, column]).reshape(-1)
    if check:
        _stop_at_bad(codes, [rows])
    codes = codes.astype(np.int64)
    terms = g.reshape(len(codes), g.shape[-1])[:, first : first + columns].astype(np.float64)
    used: Any = slice(None)
    if rows > 4 * len(codes):  # sums for the rows that occur, so that a large table costs no more
        used, codes = np.unique(codes, return_inverse=True)
        sums = np.zeros((len(used), columns))
    else:
        sums = np.zeros(shape)
    # flat, because add.at is fast for one axis only
    np.add.at(
        sums.reshape(-1), (codes[:, None] * columns + np.arange(columns)).ravel(), terms.ravel()
    )
    out = np.zeros(shape, g.dtype)
    with np.errstate(over="ignore"):  # infinite in the type of g, as any sum in it
        out[used] = sums
    if padding >= 0:
        out[padding] = 0
    return out
