"""Tables from files: CSV in any form, Parquet, Arrow and ``.npz``, whole or in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.array.errors import DataError
from chainrule.data.columnar import column_names, hold_frame, read_columnar, scan_columnar
from chainrule.data.csv_text import Block, CsvFile
from chainrule.data.csv_types import (
    Column,
    held_kinds,
    hold_block,
    infer,
    stray_values,
    typed,
    wanted,
)
from chainrule.data.table_files import Source, check_columns, kind_of, load_polars, table_files

if TYPE_CHECKING:
    import polars

__all__ = ["read_table", "scan_table", "stray_values", "table_files"]


def read_table(
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    rows: int | None = None,
) -> polars.DataFrame:
    """A table as a polars frame.

    What a file is, its content says, not its name. Of a CSV file, the delimiter (comma, semicolon,
    tab, pipe, spaces) and the encoding (UTF-8, UTF-16 with its mark) are found out; it may be
    compressed with gzip; the first line names the columns. A column gets the narrowest type that
    fits all its values, over the whole file: Boolean (True, False), Int64, Float64, Date,
    Datetime, else String. What is not certain stays text: codes with leading zeros (``00123``),
    days and months that could be the other way round, a number with a comma that may be one of
    thousands. Spaces around a value do not count; a value that is empty, NA, N/A, NaN, nan, null,
    NULL, None or ? is missing (null). Blank lines are skipped.

    Args:
        source: a path, a pattern such as ``"part-*.csv"``, or a list of them. Several files are
            one table: they have the same columns, in any order, and are read in the order of
            `table_files`. An ``.npz`` has ``X`` (columns x0, x1, … or named by ``feature_names``)
            and ``y``, or one array per column.
        columns: only these, in this order.
        delimiter: of a CSV file, where what is found out is wrong.
        encoding: of a CSV file, such as ``"latin-1"``; Python's names.
        rows: only the first so many.

    Returns:
        The frame. Types of Parquet, Arrow and ``.npz`` files are widened to those above, and NaN in
        them is null.

    Raises:
        DataError: no such file; an empty one; lines with too many or too few fields, a quote left
            open (line); a header without names or with one twice; columns that are not there or
            differ between files. Each says how to put it right.
        FileFormatError: a file that is no table (Excel, a picture, …), damaged, or in another
            encoding (line and byte).
        MissingExtraError: polars is not installed.
        OSError: a file that cannot be opened.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "people.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("name;height;zip\\nAnn;1,68;01067\\nBob;NA;10115\\n")
    >>> read_table(path).rows()
    [('Ann', 1.68, '01067'), ('Bob', None, '10115')]
    """
    if rows is not None and rows < 1:
        raise DataError(f"rows is the number of rows to read, at least 1; got {rows}")
    pl = load_polars()
    frame: polars.DataFrame
    paths = table_files(source)
    kinds = [kind_of(path) for path in paths]
    names: list[str] | None = None if columns is None else _distinct(columns)
    if all(kind == "csv" for kind in kinds):
        files = [CsvFile(path, delimiter=delimiter, encoding=encoding) for path in paths]
        names = names or _common_names([(file.path, file.names) for file in files])
        frame = typed(_all_blocks(files, rows), names, commas=_commas(files))
        return frame
    if len(paths) > 1:
        there = [
            (path, _names(path, kind, delimiter, encoding))
            for path, kind in zip(paths, kinds, strict=True)
        ]
        names = names or _common_names(there)
    frames: list[Any] = []
    for path, kind in zip(paths, kinds, strict=True):
        left = None if rows is None else rows - sum(frame.height for frame in frames)
        if left == 0:
            break
        if kind == "csv":
            file = CsvFile(path, delimiter=delimiter, encoding=encoding)
            frame = typed(_all_blocks([file], left), names or file.names, commas=_commas([file]))
        else:
            frame = read_columnar(path, kind, names, left)
        if not frame.height:
            raise DataError(f"{path} has no rows; expected one row per sample")
        frames.append(frame)
    frame = pl.concat(_same_types(pl, paths, frames), rechunk=False)
    return frame


def scan_table(
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    schema: Mapping[str, Any] | None = None,
    block: int = 65536,
) -> Iterator[polars.DataFrame]:
    """The frame of `read_table` in blocks of rows, with the memory of a block.

    Args:
        source, columns, delimiter, encoding: as for `read_table`.
        schema: ``{name: polars type}`` that every block is held to, such as the schema of the
            training table. Columns not in it stay text (of a CSV file) or as they are; names that
            the file lacks are no error here. None finds the types out first, which reads a CSV
            file twice. Give Float64 where any number will do: a fraction does not fit Int64.
        block: the most rows of a block.

    Yields:
        Frames with the same columns and types. An ``.npz`` is read whole, then cut.

    Raises:
        DataError, FileFormatError: as `read_table`; and a value that does not fit the schema, with
            its line. The blocks before it have been given out by then.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "t.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("a,b\\n1,x\\n2,y\\n3,z\\n")
    >>> [frame.height for frame in scan_table(path, block=2)]
    [2, 1]
    """
    if block < 1:
        raise DataError(f"block is the most rows of a block, at least 1; got {block}")
    paths = table_files(source)
    kinds = [kind_of(path) for path in paths]
    there = [
        (path, _names(path, kind, delimiter, encoding))
        for path, kind in zip(paths, kinds, strict=True)
    ]
    names = _common_names(there) if columns is None else _distinct(columns)
    for path, known in there:
        check_columns(path, names, known)
    return _scan(paths, kinds, names, delimiter, encoding, schema, block)


def _scan(
    paths: Sequence[str],
    kinds: Sequence[str],
    names: list[str],
    delimiter: str | None,
    encoding: str | None,
    schema: Mapping[str, Any] | None,
    block: int,
) -> Iterator[Any]:
    pl = load_polars()
    files = {
        path: CsvFile(path, delimiter=delimiter, encoding=encoding)
        for path, kind in zip(paths, kinds, strict=True)
        if kind == "csv"
    }
    texts = _held_columns(pl, list(files.values()), names, schema)
    held: Mapping[str, Any] | None = schema
    for path, kind in zip(paths, kinds, strict=True):
        if path in files:
            for piece in files[path].blocks(names):
                whole = hold_block(piece, texts, schema or {}, path)
                held = held or whole.schema
                yield from whole.iter_slices(block)
            continue
        row = 0  # a file of text says itself that it has no rows
        for frame in scan_columnar(path, kind, names, block):
            held = held or frame.schema
            yield hold_frame(frame, held, path, row)
            row += frame.height
        if not row:
            raise DataError(f"{path} has no rows; expected one row per sample")


def _held_columns(
    pl: Any, files: Sequence[CsvFile], names: Sequence[str], schema: Mapping[str, Any] | None
) -> dict[str, Column]:
    """The kind of each column of text, read beforehand where a block alone would not tell it."""
    if not files:
        return {}
    commas = _commas(files)
    if schema is None:
        return infer(_all_blocks(files), names, commas=commas, keep=False)[0]
    kinds = {
        name: held_kinds(pl, schema[name], commas) if name in schema else ["text"] for name in names
    }
    unclear = [
        name
        for name in names
        if name in schema and (schema[name].is_temporal() or "comma" in kinds[name])
    ]
    if unclear:
        known = infer(_all_blocks(files), unclear, commas=commas, keep=False)[0]
        for name in unclear:
            dates = schema[name].is_temporal() and known[name].kind not in ("text", "missing")
            if dates or known[name].kind in kinds[name]:
                kinds[name] = [known[name].kind]
    return {name: Column(kinds[name]) for name in names}


def _all_blocks(
    files: Sequence[CsvFile], rows: int | None = None
) -> Callable[[Sequence[str]], Iterable[Block]]:
    def blocks(names: Sequence[str]) -> Iterator[Block]:
        left = rows
        for file in files:
            for block in file.blocks(names):
                if left is not None:
                    block.frame = block.frame.head(left)
                    left -= block.frame.height
                yield block
                if left == 0:
                    return

    return blocks


def _names(path: str, kind: str, delimiter: str | None, encoding: str | None) -> list[str]:
    if kind == "csv":
        return CsvFile(path, delimiter=delimiter, encoding=encoding).names
    return column_names(path, kind)


def _commas(files: Sequence[CsvFile]) -> bool:
    return all(file.delimiter != "," for file in files)


def _distinct(columns: Sequence[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise DataError(f"columns asked for twice: {twice}" if twice else "no column is asked for")
    return names


def _common_names(there: Sequence[tuple[str, list[str]]]) -> list[str]:
    """The columns of the first file, which all the others have too."""
    first, names = there[0]
    for path, others in there[1:]:
        missing = [name for name in names if name not in set(others)]
        extra = [name for name in others if name not in set(names)]
        if missing or extra:
            lacks = f" lacks {_quoted(missing)}" if missing else ""
            has = f" has {_quoted(extra)}, which {first} does not" if extra else ""
            raise DataError(
                f"{path}{lacks}{', and' if lacks and has else ''}{has}; several files are read as "
                f"one table if they have the same columns: rename them, or name the columns to read"
            )
    return names


def _quoted(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _same_types(pl: Any, paths: Sequence[str], frames: list[Any]) -> list[Any]:
    """Whole numbers beside others become Float64; text beside numbers is an error."""
    schema = dict(frames[0].schema)
    for i, (path, frame) in enumerate(zip(paths[1:], frames[1:], strict=False), 1):
        for name, dtype in frame.schema.items():
            before = schema[name]
            if before == dtype or frame[name].null_count() == frame.height:
                continue
            if before.is_numeric() and dtype.is_numeric():
                schema[name] = pl.Float64
            elif all(f[name].null_count() == f.height for f in frames[:i]):
                schema[name] = dtype
            else:
                raise DataError(
                    f"{path}, column {name!r}: values of type {dtype}, where {paths[0]} has "
                    f"{wanted(before)} ({before}); make them the same"
                )
    return [frame.cast(schema) for frame in frames]
