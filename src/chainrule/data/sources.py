"""What people hand over as data, turned into NumPy arrays or into passes over batches.

Tables and tensors of other packages are recognised by what they can do (``__array__``,
``to_numpy``, ``__dlpack__``), so none of those packages is imported. Arrays keep their dtype and,
for ndarrays and memory maps, their memory: nothing here reads a memory map.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError

__all__ = [
    "Array",
    "as_array",
    "check_reiterable",
    "column_names",
    "is_arrays",
    "open_pass",
    "place",
    "unpack",
]

Array: TypeAlias = npt.NDArray[Any]

_TABLES = ("__array__", "to_numpy", "__dlpack__", "toarray")  # what tables and tensors offer
_ENCODE = (
    "Encode categories as numbers first (classes, codes = numpy.unique(values, "
    "return_inverse=True)), or leave them out"
)


def as_array(data: Any, name: str = "x") -> Array:
    """An array of booleans, integers or floats from anything that holds such a table.

    Args:
        data: an ndarray or ``np.memmap`` (returned without a copy, whatever its dtype); a pandas,
            polars or Arrow table or column, a tensor of any package on the CPU (converted, tables
            into row-major order, so that rows are gathered fast); a list or tuple of numbers.
        name: what error messages call it.

    Returns:
        The array. A converted table whose columns mix booleans, integers and floats is float64.

    Raises:
        DataError: for text, objects, dates, complex numbers and records (naming the first row and
            column), for masked or missing entries, for sparse matrices, for anything else that is
            not a table of numbers.

    >>> as_array([[1, 2], [3, 4]]).shape
    (2, 2)
    >>> as_array(["cat", "dog"], "y")
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: y has dtype <U3; row 0 holds 'cat', not a number. Encode ...
    """
    if "numpy.ma" in sys.modules and isinstance(data, np.ma.MaskedArray):  # it takes 10 ms to load
        if np.ma.is_masked(data):
            masked = int(np.ma.getmaskarray(data).sum())
            raise DataError(
                f"{name} is a masked array with {masked} masked entries, and what lies under a "
                f"mask is no data. Fill them first: {name}.filled(value)."
            )
        data = data.data
    if isinstance(data, np.ndarray):
        array = np.asarray(data)  # a plain view of a memory map slices faster than the map itself
    else:
        array = _convert(data, name)
    kind = array.dtype.kind
    if kind == "O" and not isinstance(data, np.ndarray):
        array = _numbers(array, name, column_names(data))
    elif kind in "OUST":
        _refuse(array, name, column_names(data))
    elif kind == "c":
        raise DataError(
            f"{name} has complex dtype {array.dtype}; networks here take real numbers. Pass the "
            f"real and imaginary parts as two columns."
        )
    elif kind not in "biuf":
        raise DataError(
            f"{name} has dtype {array.dtype}; expected booleans, integers or floats. Convert "
            f"dates to numbers, and records to plain columns, first."
        )
    return array


def _convert(data: Any, name: str) -> Array:
    """Through the first conversion that the object offers, in the order that loses least."""
    if hasattr(data, "toarray"):
        raise DataError(f"{name} is a sparse matrix; pass the dense array {name}.toarray().")
    try:
        if hasattr(data, "__array__") or isinstance(data, list | tuple | range | numbers.Number):
            array = np.asarray(data)
        elif hasattr(data, "to_numpy"):
            array = np.asarray(data.to_numpy())
        elif hasattr(data, "__dlpack__"):
            array = np.from_dlpack(data)
        else:
            raise TypeError("it is no array, table or list of numbers")
    except Exception as error:  # whatever another package raises, the reason is passed on
        raise DataError(
            f"{name} is a {type(data).__name__} and could not be turned into an array: {error}"
        ) from error
    return np.ascontiguousarray(array) if array.ndim else array


def _numbers(array: Array, name: str, columns: list[str] | None) -> Array:
    """Float64 from a converted table of objects, if every one of them is a real number."""
    if not all(_is_number(value) for value in array.flat):
        _refuse(array, name, columns)
    return array.astype(np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def _refuse(array: Array, name: str, columns: list[str] | None) -> NoReturn:
    """Raise for an array of text or objects, naming the first entry that is no number."""
    for index in np.ndindex(array.shape):
        value: object = array[index]
        if _is_number(value):
            continue
        shown = repr(value.item() if isinstance(value, np.generic) else value)
        text = isinstance(value, str | bytes)
        fix = _ENCODE if text else "Fill or remove missing values, and convert objects to numbers"
        raise DataError(
            f"{name} has dtype {array.dtype.str if array.dtype.kind != 'O' else 'object'}; "
            f"{place(index, columns)} holds {shown}, not a number. {fix}."
        )
    raise DataError(
        f"{name} has dtype {array.dtype}, expected booleans, integers or floats. All its values "
        f"are numbers: pass {name}.astype(float)."
    )


def column_names(data: Any) -> list[str] | None:
    """The names of a table's columns (pandas, polars, Arrow), or None.

    >>> column_names(np.zeros((2, 3)))
    """
    names = getattr(data, "column_names", getattr(data, "columns", None))
    return None if names is None else [str(column) for column in names]


def place(index: tuple[int, ...], columns: list[str] | None = None) -> str:
    """An index in words: the row, then the column, with its name where known.

    >>> place((17, 1), ["age", "city"]), place((3,)), place((0, 2, 5))
    ("row 17, column 1 ('city')", 'row 3', 'row 0, position (2, 5)')
    """
    row, *rest = (int(i) for i in index)
    if not rest:
        return f"row {row}"
    if len(rest) > 1:
        return f"row {row}, position {tuple(rest)}"
    label = f" ({columns[rest[0]]!r})" if columns and rest[0] < len(columns) else ""
    return f"row {row}, column {rest[0]}{label}"


def is_arrays(source: Any) -> bool:
    """Whether a source is one data set, ``x`` or a tuple of arrays, rather than batches.

    A list of numbers, or of rows of numbers, is ``x``; any other list holds batches.

    >>> is_arrays((np.zeros(3), np.zeros(3))), is_arrays([np.zeros(3)])
    (True, False)
    """
    first = source[0] if isinstance(source, list) and source else None
    first = first[0] if isinstance(first, list) and first else first
    return (
        isinstance(source, tuple)
        or isinstance(first, numbers.Number)
        or any(hasattr(source, a) for a in _TABLES)
    )


def check_reiterable(source: Any) -> None:
    """Refuse what cannot be gone through once per epoch, without starting to go through it.

    Raises:
        DataError: for an iterator, which can be read once only, and for what is neither iterable
            nor a function.

    >>> check_reiterable(iter([1, 2]))
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: the data is a list_iterator, which can be read only once...
    """
    if hasattr(source, "__next__"):
        raise DataError(
            f"the data is a {type(source).__name__}, which can be read only once, and training "
            f"reads it once per epoch. Pass a list of batches, an object whose __iter__ starts "
            f"over, or the function that makes the iterator (without calling it)."
        )
    if isinstance(source, str | bytes | dict | set) or not (
        hasattr(source, "__iter__") or callable(source)
    ):
        raise DataError(
            f"expected data as x, (x, y), (x, y, sample_weight) or a re-iterable of batches, got "
            f"{type(source).__name__}."
        )


def open_pass(source: Any) -> Iterator[Any]:
    """One pass over a re-iterable of batches: ``iter(source)``, or of what ``source()`` returns.

    >>> list(open_pass(lambda: iter([1, 2])))
    [1, 2]
    """
    check_reiterable(source)
    if hasattr(source, "__iter__"):
        return iter(source)
    made = source()
    if not hasattr(made, "__iter__"):
        raise DataError(
            f"the function given as data must return an iterator over batches; it returned "
            f"{type(made).__name__}."
        )
    return iter(made)


def unpack(item: Any, where: str) -> tuple[Array, Array | None, Array | None]:
    """``(x, y, weight)`` arrays from ``x``, ``(x, y)`` or ``(x, y, weight)``; None for absent ones.

    Args:
        item: a tuple or list of one to three arrays, or one array.
        where: put before the names in messages, such as ``"batch 3: "``.

    Raises:
        DataError: for another number of parts, for an array without rows, for lengths that differ.

    >>> unpack(([[1.0], [2.0]], [0, 1]), "")[1]
    array([0, 1])
    """
    parts = list(item) if isinstance(item, tuple | list) else [item]
    if not 1 <= len(parts) <= 3:
        raise DataError(
            f"{where}expected x, (x, y) or (x, y, sample_weight), got {len(parts)} parts. A list "
            f"means batches, a tuple the arrays of one data set."
        )
    names = ("x", "y", "sample_weight")
    arrays = [
        None if part is None else as_array(part, where + name)
        for part, name in zip(parts, names, strict=False)
    ] + [None] * (3 - len(parts))
    x, y, weight = arrays
    if x is None:
        raise DataError(f"{where}x is None; expected an array of samples.")
    for array, name in zip(arrays, names, strict=True):
        if array is None:
            continue
        if array.ndim == 0:
            raise DataError(
                f"{where}{name} is the single value {array}; expected an array with one row per "
                f"sample. Give a data set of Python lists as a tuple, (x, y), or numpy.asarray(x)."
            )
        if len(array) != len(x):
            raise DataError(
                f"{where}x has {len(x)} rows but {name} has {len(array)}; every sample needs one."
            )
    if len(x) == 0:
        raise DataError(f"{where}x has no rows (shape {x.shape}).")
    return x, y, weight
