"""What people call a table (polars, pandas, Arrow, a dict, an array) as a polars frame."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, MissingExtraError
from chainrule.data.sources import column_names

if TYPE_CHECKING:
    import polars as pl

__all__ = ["to_frame"]


def to_frame(data: Any, name: str = "the table", column: str = "x") -> pl.DataFrame:
    """A polars frame over the same values.

    Args:
        data: a polars frame (returned as it is), lazy frame or series; a pandas or Arrow table;
            a dict of columns; a two-dimensional array, whose columns are called x0, x1, …; a
            one-dimensional array or list, a single column.
        name: what messages call it.
        column: the name of a single column that has none.

    Raises:
        MissingExtraError: polars is not installed.
        DataError: for anything that is no table, for columns of unequal length, for two columns of
            one name.

    >>> import numpy as np
    >>> to_frame(np.zeros((2, 3))).columns
    ['x0', 'x1', 'x2']
    """
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtraError(
            'tables need polars; install it with: pip install "chainrule[cli]"'
        ) from error
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    if isinstance(data, pl.Series):
        return (data if data.name else data.alias(column)).to_frame()
    if "numpy.ma" in sys.modules and isinstance(data, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(data)
        plain: npt.NDArray[Any] = data.data
        if hidden.any():
            plain = plain.astype(object)
            plain[hidden] = None
        data = plain
    try:
        if isinstance(data, Mapping):
            columns = {str(key): values for key, values in data.items()}
        elif hasattr(data, "__arrow_c_stream__") and not hasattr(data, "iloc"):
            return pl.DataFrame(data)
        elif (names := column_names(data)) is not None:
            if len(set(names)) < len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise DataError(f"{name} has two columns called {twice!r}; rename one of them.")
            columns = dict(zip(names, (data[key] for key in data.columns), strict=True))
        else:
            array = np.asarray(data)
            if array.ndim == 1:
                columns = {str(getattr(data, "name", None) or column): array}
            elif array.ndim == 2:
                columns = {f"{column}{k}": array[:, k] for k in range(array.shape[1])}
            else:
                raise DataError(
                    f"{name} has shape {array.shape}; expected rows and columns, two dimensions."
                )
        return pl.DataFrame([_series(key, values) for key, values in columns.items()])
    except DataError:
        raise
    except Exception as error:  # whatever a conversion raises, the reason is passed on
        raise DataError(
            f"{name} is a {type(data).__name__} and could not be turned into a table: {error}"
        ) from error


def _series(name: str, values: Any) -> pl.Series:
    import polars as pl

    if isinstance(values, pl.Series):
        return values.alias(name)
    array = values if isinstance(values, list | tuple | range) else np.asarray(values)
    if isinstance(array, np.ndarray) and array.dtype.kind == "O":
        array = [None if _absent(v) else v for v in array.tolist()]
    elif isinstance(array, np.ndarray) and array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if isinstance(array, np.ndarray) and array.dtype.kind in "bufimM":
        return pl.Series(name, np.ascontiguousarray(array))
    return pl.Series(name, list(array), strict=False)


def _absent(value: Any) -> bool:
    """None, NaN, and what pandas puts in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
