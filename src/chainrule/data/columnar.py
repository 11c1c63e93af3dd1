"""Tables in files that carry types: Parquet, Arrow and ``.npz``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from typing import Any

import numpy as np

from chainrule.array.errors import DataError, FileFormatError
from chainrule.data.csv_types import wanted
from chainrule.data.table_files import check_columns, guarded, load_polars

__all__ = ["column_names", "conform", "hold_frame", "read_columnar", "scan_columnar"]

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def column_names(path: str, kind: str) -> list[str]:
    """The names of the columns, from the head of the file."""
    pl = load_polars()
    if kind == "npz":
        return list(_npz(path, None))
    with guarded(path):
        if kind == "parquet":
            return list(pl.read_parquet_schema(escape(path)))  # or polars takes [1] for a pattern
        if kind == "arrow":
            return list(pl.read_ipc_schema(path))
        with open(path, "rb") as file:
            file.seek(-8, 2)
            if file.read() != _END_OF_STREAM:
                raise FileFormatError(f"{path} is cut off: its Arrow stream has no end")
        return list(pl.read_ipc_stream(path, n_rows=0).columns)


def read_columnar(path: str, kind: str, columns: Sequence[str] | None, rows: int | None) -> Any:
    """A frame of the columns asked for, with the types of `conform`."""
    pl = load_polars()
    if kind == "npz":
        arrays = _npz(path, columns)
        with guarded(path):
            frame = pl.DataFrame(arrays)
        return conform(frame if rows is None else frame.head(rows), path)
    names = _wanted(path, kind, columns)
    with guarded(path):
        if kind == "parquet":
            frame = pl.read_parquet(path, columns=names, n_rows=rows, glob=False)
        elif kind == "arrow":
            frame = pl.read_ipc(escape(path), columns=names, n_rows=rows)
        else:
            frame = pl.read_ipc_stream(path, columns=names, n_rows=rows)
        return conform(frame.select(names), path)


def _wanted(path: str, kind: str, columns: Sequence[str] | None) -> list[str]:
    names = column_names(path, kind)
    if columns is None:
        empty = [i for i, name in enumerate(names, 1) if not name.strip()]
        if empty:
            raise DataError(f"{path}: column {empty[0]} of {len(names)} has no name; give it one")
        if not names:
            raise DataError(f"{path} has no columns")
        return names
    check_columns(path, columns, names)
    return list(columns)


def scan_columnar(path: str, kind: str, columns: Sequence[str] | None, block: int) -> Iterator[Any]:
    """The same in blocks. An ``.npz`` and an Arrow stream are read whole; other files in parts."""
    pl = load_polars()
    if kind not in ("parquet", "arrow"):
        yield from read_columnar(path, kind, columns, None).iter_slices(block)
        return
    names = _wanted(path, kind, columns)
    start = 0
    while True:
        with guarded(path):
            scan = pl.scan_parquet if kind == "parquet" else pl.scan_ipc
            source = scan(escape(path))
            frame = source.select(names).slice(start, block).collect()
            frame = conform(frame, path)
        if not frame.height:
            return
        yield frame
        start += frame.height


def conform(frame: Any, path: str) -> Any:
    """The same few types as from CSV: Int64, Float64, Boolean, String, Date, Datetime; no NaN.

    Narrow numbers are widened, decimals and durations (in seconds) become Float64, categories
    become text. So a model trained on a CSV file takes a Parquet file of the same table.

    Raises:
        DataError: a column of lists, records or bytes; names it.
    """
    pl = load_polars()
    columns = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if dtype == pl.UInt64 and (frame[name].max() or 0) > 2**63 - 1:
            column = column.cast(pl.Float64)
        elif dtype.is_integer():
            column = column.cast(pl.Int64)
        elif dtype.is_float():
            column = column.cast(pl.Float64).fill_nan(None)
        elif dtype.is_decimal():
            column = column.cast(pl.Float64)
        elif dtype == pl.Duration:
            column = column.dt.total_microseconds().cast(pl.Float64) / 1e6
        elif dtype == pl.Datetime:
            column = column.dt.cast_time_unit("us")
            if dtype.time_zone:
                column = column.dt.convert_time_zone("UTC")
        elif dtype in (pl.Categorical, pl.Enum, pl.Time, pl.Null):
            column = column.cast(pl.String)
        elif dtype not in (pl.Boolean, pl.String, pl.Date):
            raise DataError(
                f"{path}, column {name!r}: values of type {dtype} are no numbers, text or dates; "
                f"leave the column out or write it as several columns"
            )
        columns.append(column.alias(name))
    return frame.select(columns)


def hold_frame(frame: Any, schema: Mapping[str, Any], path: str, first: int = 0) -> Any:
    """A frame with the types of a schema; columns that the schema lacks stay as they are.

    Raises:
        DataError: a value that does not fit; names row (counted from 0), column and value.
    """
    pl = load_polars()
    columns = []
    for name in frame.columns:
        values, dtype = frame[name], schema.get(name, frame[name].dtype)
        if values.dtype != dtype:
            with guarded(path):
                held = _cast(pl, values, dtype)
            wrong = (held.is_null() & values.is_not_null()).arg_true()
            if len(wrong):
                raise DataError(
                    f"{path}, row {first + wrong[0]} (counted from 0), column {name!r}: "
                    f"{values[wrong[0]]!r:.60} is not {wanted(dtype)}, which this column holds; "
                    f"correct it, or make it null if the value is missing"
                )
            values = held
        columns.append(values)
    return pl.DataFrame(columns)


def _cast(pl: Any, values: Any, dtype: Any) -> Any:
    """`values` as another type; null where that would change them."""
    if values.dtype.is_numeric() and (dtype == pl.Boolean or dtype.is_temporal()):
        return values.clear(len(values))
    if values.dtype.is_float() and dtype.is_integer():
        whole = values.cast(dtype, strict=False)
        return whole.set(whole.cast(values.dtype) != values, None)
    if values.dtype.is_temporal() and not (dtype.is_temporal() or dtype == pl.String):
        return values.clear(len(values))
    if values.dtype == pl.Boolean and dtype == pl.String:
        return values.cast(dtype).str.to_titlecase()  # True, as in a CSV file from Python
    return values.cast(dtype, strict=False)


def _npz(path: str, columns: Sequence[str] | None) -> dict[str, Any]:
    """The columns of an ``.npz``: those of ``X`` and ``y``, or one per array."""
    with guarded(path), np.load(path, allow_pickle=False) as archive:
        arrays = {}
        for name in archive.files:
            try:
                array = archive[name]
            except ValueError as error:
                if "bject arrays" not in str(error) and "allow_pickle" not in str(error):
                    raise
                raise DataError(
                    f"{path}: {name} holds Python objects; store numbers or text, for example "
                    f"numpy.savez(…, {name}={name}.astype(float)) or .astype(str)"
                ) from None
            arrays[name] = _readable(path, name, array)
    if not arrays:
        raise DataError(f"{path} holds no array; write numpy.savez('data.npz', X=X, y=y)")
    titles = arrays.pop("feature_names", None) if "X" in arrays else None
    found: dict[str, Any] = {}
    rows: dict[str, int] = {}
    for name, array in arrays.items():
        if array.ndim == 0 or not len(array):
            raise DataError(f"{path}: {name} has shape {array.shape}; expected a row per sample")
        rows[name] = len(array)
        flat = array.reshape(len(array), -1)
        if name == "X":
            labels = _titles(path, titles, flat.shape[1])
        elif array.ndim == 1:
            labels = [name]
        else:
            labels = [f"{name}{i}" for i in range(flat.shape[1])]
        for i, label in enumerate(labels):
            if label in found:
                raise DataError(f"{path}: {label!r} is the name of two columns; rename one")
            found[label] = np.ascontiguousarray(flat[:, i])
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {n}" for name, n in rows.items())
        raise DataError(f"{path}: arrays of different numbers of rows ({listed})")
    if columns is None:
        return found
    check_columns(path, columns, list(found))
    return {name: found[name] for name in columns}


def _readable(path: str, name: str, array: Any) -> Any:
    if array.dtype.kind in "biufUM":
        if array.dtype == np.longdouble or array.dtype == np.float16:
            return array.astype(np.float64)
        return array.astype("M8[us]") if array.dtype.kind == "M" else array
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    raise DataError(
        f"{path}: {name} has dtype {array.dtype}; expected numbers, text or dates (a table "
        f"with named fields goes into one array per column)"
    )


def _titles(path: str, titles: Any, width: int) -> list[str]:
    if titles is None:
        return [f"x{i}" for i in range(width)]
    if titles.shape != (width,):
        raise DataError(f"{path}: feature_names has shape {titles.shape}, X has {width} columns")
    return [str(title) for title in titles]
