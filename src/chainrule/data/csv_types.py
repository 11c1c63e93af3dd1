"""What the text of a column means: numbers, truth values, dates, or text; over a whole file.

A column starts with the kinds its first value may be, the narrowest first. A block that the current
kind does not fit moves the column on to the next kind that fits it, never back. A column that moved
on is read once more if what came before was kept in a form that lost its text, so the type never
depends on where blocks are cut, nor on how many rows are looked at: it is all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chainrule.array.errors import DataError
from chainrule.data.csv_text import Block
from chainrule.data.table_files import load_polars

__all__ = [
    "MISSING",
    "Column",
    "held_kinds",
    "hold_block",
    "infer",
    "stray_values",
    "typed",
    "wanted",
]

#: The texts that mean that a value is missing.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")

_TRUE, _FALSE = ["True", "true", "TRUE"], ["False", "false", "FALSE"]
_CODE = r"^[+-]?0[0-9]"  # leading zeros: a zip code or the like, which a number would spoil
_LONG = r"^[+-]?[0-9]{19,}$"  # a whole number beyond 64 bits would lose its last digits
_COMMA = r"^[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+)(,[0-9]+)?([eE][+-]?[0-9]+)?$"
_CLEARLY_COMMA = r"^[+-]?(0|[0-9]{4,}|[0-9.]+\.[0-9]{3}),|,([0-9]{1,2}|[0-9]{4,})([eE].*)?$"

# kind of date: what its first value looks like, the formats tried in turn
_CLOCK = r"[T ]\d{1,2}:\d\d(:\d\d(\.\d+)?)?"
_DATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "year first": (r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    "year first, slashes": (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    "day first, dots": (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    "day first": (r"\d{1,2}/\d{1,2}/\d{4}", ("%d/%m/%Y",)),
    "month first": (r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y",)),
    "day, name of month": (
        r"\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{4}",
        ("%d-%b-%Y", "%d %b %Y", "%d %B %Y"),
    ),
    "name of month, day": (r"[A-Za-z]{3,9} \d{1,2}, \d{4}", ("%b %d, %Y", "%B %d, %Y")),
}
_TIMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "time, year first": (
        r"\d{4}-\d{1,2}-\d{1,2}" + _CLOCK,
        ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"),
    ),
    "time, year first, slashes": (
        r"\d{4}/\d{1,2}/\d{1,2}" + _CLOCK,
        ("%Y/%m/%d %H:%M:%S%.f", "%Y/%m/%d %H:%M"),
    ),
    "time, day first, dots": (
        r"\d{1,2}\.\d{1,2}\.\d{4}" + _CLOCK,
        ("%d.%m.%Y %H:%M:%S%.f", "%d.%m.%Y %H:%M"),
    ),
    "time, day first": (
        r"\d{1,2}/\d{1,2}/\d{4}" + _CLOCK,
        ("%d/%m/%Y %H:%M:%S%.f", "%d/%m/%Y %H:%M"),
    ),
    "time, month first": (
        r"\d{1,2}/\d{1,2}/\d{4}" + _CLOCK,
        ("%m/%d/%Y %H:%M:%S%.f", "%m/%d/%Y %H:%M"),
    ),
    "time with zone": (
        r"\d{4}-\d\d-\d\d" + _CLOCK + r"(Z|[+-]\d\d:?\d\d)",
        ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"),
    ),
}
_AMBIGUOUS = ("day first", "time, day first")  # unless some day is over 12


class Column:
    """How far a column's kind is known: the kinds left, the current one first."""

    def __init__(self, kinds: Sequence[str] = ()):
        self.kinds = list(kinds)  # empty until there is a value
        self.clear = False  # seen what rules out the other reading of an ambiguous form
        self.stale = False  # moved on from a kind whose values no longer have their text
        self.untidy = False  # has spaces around values or markers of missing ones

    @property
    def kind(self) -> str:
        return self.kinds[0] if self.kinds else "missing"

    def move_on(self, kind: str) -> None:
        self.stale |= self.kind != "integer" or kind == "text"
        self.kinds = self.kinds[self.kinds.index(kind) :]


def first_kinds(value: str, commas: bool) -> list[str]:
    """The kinds that a column may have whose first value this is, the narrowest first.

    >>> first_kinds("12", commas=False)
    ['integer', 'float', 'text']
    >>> first_kinds("03/04/2021", commas=False)
    ['day first', 'month first', 'text']
    """
    kinds = []
    if value in _TRUE or value in _FALSE:
        kinds = ["boolean"]
    elif re.fullmatch(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?|[+-]?(?i:inf(inity)?|nan)", value):
        kinds = ["integer", "float", "comma"] if commas else ["integer", "float"]
    for name, (pattern, _) in (_DATES | _TIMES).items():
        if re.fullmatch(pattern, value):
            kinds.append(name)
    return [*kinds, "text"]


def _expression(pl: Any, kind: str, text: Any, codes: bool = True) -> Any:
    """The values of a kind; null where the text is of another."""
    if kind == "text":
        return text
    if kind == "missing":
        return pl.lit(None, pl.Null)
    if kind == "boolean":
        true, false = text.is_in(_TRUE), text.is_in(_FALSE)
        return pl.when(true).then(True).when(false).then(False)
    if kind in ("integer", "float"):
        number = text.cast(pl.Int64 if kind == "integer" else pl.Float64, strict=False)
        if not codes:
            return number
        spoiled = text.str.contains(_CODE)
        if kind == "float":
            spoiled |= (text.str.len_bytes() >= 19) & text.str.contains(_LONG)
        return pl.when(~spoiled).then(number)
    if kind == "comma":
        plain = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        number = plain.cast(pl.Float64, strict=False)
        spoiled = text.str.contains(_CODE) if codes else pl.lit(False)
        return pl.when(text.str.contains(_COMMA) & ~spoiled).then(number)
    if kind in _DATES:
        tries = [text.str.to_date(form, strict=False) for form in _DATES[kind][1]]
    else:
        zone = "UTC" if kind == "time with zone" else None
        tries = [
            text.str.to_datetime(form, strict=False, time_unit="us", time_zone=zone)
            for form in _TIMES[kind][1]
        ]
    value = pl.coalesce(tries) if len(tries) > 1 else tries[0]
    return pl.when(value.dt.year().is_between(1000, 9999)).then(value)


def _tidy(text: Any) -> Any:
    """Without spaces around, and null where it says that the value is missing."""
    text = text.str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def _fits(values: Any, text: Any) -> bool:
    return bool(values.null_count() == text.null_count())


def _parse(frame: Any, columns: Mapping[str, Column], commas: bool) -> dict[str, Any]:
    """The values of a block, moving columns on to the kind that fits."""
    pl = load_polars()
    quick = [
        name
        for name in frame.columns
        if columns[name].kind not in ("text", "missing") and not columns[name].untidy
    ]
    parsed = frame.select(
        _expression(pl, columns[name].kind, pl.col(name)).alias(name) for name in quick
    )
    values = {}
    for name in frame.columns:
        column, text = columns[name], frame[name]
        if name in quick and _fits(parsed[name], text):
            found = parsed[name]
        else:
            text, before = _tidy(text), column.kind
            found = _move(pl, column, text, commas)
            column.untidy |= before == column.kind != "text"
        if found.dtype == pl.Float64:
            found = found.fill_nan(None)
        if not column.clear:
            column.clear = _is_clear(column.kind, found, text)
        values[name] = found
    return values


def _move(pl: Any, column: Column, text: Any, commas: bool) -> Any:
    fresh = not column.kinds
    if fresh:
        if text.null_count() == len(text):
            return pl.Series(text.name, [None] * len(text), dtype=pl.Null)
        column.kinds = first_kinds(text.drop_nulls()[0], commas)
    frame = text.to_frame()
    for kind in column.kinds:
        found = frame.select(_expression(pl, kind, pl.col(text.name)).alias(text.name)).to_series()
        if _fits(found, text):
            break
    if fresh:
        column.kinds = column.kinds[column.kinds.index(kind) :]
    elif kind != column.kind:
        column.move_on(kind)
    return found


def _is_clear(kind: str, values: Any, text: Any) -> bool:
    if kind in _AMBIGUOUS:
        return bool((values.dt.day() > 12).any())
    if kind == "comma":
        return bool(text.str.contains(_CLEARLY_COMMA).any())
    return False


def _settle(columns: Mapping[str, Column]) -> None:
    """Decide what is ambiguous to the last row: text, rather than a guess.

    1,234 is one number here and another there; 03/04/2021 too. A decimal comma in one column tells
    how the others are meant.
    """
    commas = any(column.kind == "comma" and column.clear for column in columns.values())
    for column in columns.values():
        unclear = column.kind in _AMBIGUOUS or (column.kind == "comma" and not commas)
        if unclear and not column.clear:
            column.move_on("text")


def infer(
    blocks: Callable[[Sequence[str]], Iterable[Block]],
    names: Sequence[str],
    *,
    commas: bool,
    keep: bool = True,
) -> tuple[dict[str, Column], dict[str, list[Any]]]:
    """The kinds of columns over all blocks, and their values, block by block.

    Args:
        blocks: gives the blocks of some columns, from the start, each time it is called.
        names: the columns.
        commas: whether a number may have a decimal comma; not where commas part the fields.
        keep: False for the kinds alone, with the memory of one block.
    """
    columns = {name: Column() for name in names}
    pieces: dict[str, list[Any]] = {name: [] for name in names}
    again = list(names)
    while again:
        for name in again:
            pieces[name] = []
            columns[name].stale = False
        for block in blocks(again):
            for name, values in _parse(block.frame, columns, commas).items():
                if keep:
                    pieces[name].append(values)
        _settle(columns)
        again = [name for name in names if columns[name].stale]
    return columns, pieces


def typed(
    blocks: Callable[[Sequence[str]], Iterable[Block]], names: Sequence[str], *, commas: bool
) -> Any:
    """All blocks as one frame, each column of the narrowest type that fits all its values."""
    pl = load_polars()
    columns, pieces = infer(blocks, names, commas=commas)
    whole = []
    for name in names:
        dtype = _dtype(pl, columns[name].kind)
        parts = [part if part.dtype == dtype else part.cast(dtype) for part in pieces.pop(name)]
        whole.append(pl.concat(parts, rechunk=False))  # in pieces, or memory would hold it twice
    return pl.DataFrame(whole)


def _dtype(pl: Any, kind: str) -> Any:
    if kind in _DATES:
        return pl.Date
    if kind in _TIMES:
        return pl.Datetime("us", "UTC" if kind == "time with zone" else None)
    numbers = {"integer": pl.Int64, "float": pl.Float64, "comma": pl.Float64}
    return numbers.get(kind, pl.Boolean if kind == "boolean" else pl.String)


def held_kinds(pl: Any, dtype: Any, commas: bool) -> list[str]:
    """The kinds whose values a column of this type can hold."""
    if dtype.is_integer():
        return ["integer"]
    if dtype.is_float() or dtype.is_decimal():
        return ["float", "comma"] if commas else ["float"]
    if dtype == pl.Boolean:
        return ["boolean"]
    unclear = {"day first", "month first", "time, day first", "time, month first"}
    if dtype == pl.Date:
        return [kind for kind in _DATES if kind not in unclear]
    if dtype == pl.Datetime:
        if dtype.time_zone:
            return ["time with zone"]
        return [k for k in (*_TIMES, *_DATES) if k not in unclear and k != "time with zone"]
    return ["text"]


def hold_block(
    block: Block, columns: Mapping[str, Column], schema: Mapping[str, Any], path: str
) -> Any:
    """A block with the types of a schema; a column that the schema lacks is what it seems to be.

    Raises:
        DataError: a value that does not fit; names line, column and value.
    """
    pl = load_polars()
    quick = [
        name
        for name in block.frame.columns
        if columns[name].kind in ("integer", "float") and not columns[name].untidy
    ]
    parsed = block.frame.select(
        _expression(pl, columns[name].kind, pl.col(name), codes=False).alias(name) for name in quick
    )
    whole = []
    for name in block.frame.columns:
        column, text = columns[name], block.frame[name]
        dtype = schema.get(name, _dtype(pl, column.kind))
        if name in parsed and parsed[name].dtype == dtype and _fits(parsed[name], text):
            whole.append(parsed[name].fill_nan(None) if dtype == pl.Float64 else parsed[name])
            continue
        text = _tidy(text)
        column.untidy = True
        furthest = -1
        for kind in column.kinds or ["text"]:
            found = text.to_frame().select(_expression(pl, kind, pl.col(name), codes=False))
            values = found.to_series().rename(name)
            if values.dtype == pl.Float64:
                nan = values.is_nan()
                values = values.cast(dtype, strict=False)
                fitting = values.is_not_null() | nan
                values = values.fill_nan(None) if values.dtype.is_float() else values
            else:
                values = values.cast(dtype, strict=False)
                fitting = values.is_not_null()
            wrong = (~fitting.fill_null(False) & text.is_not_null()).arg_true()
            if not len(wrong):
                column.kinds = column.kinds[column.kinds.index(kind) :] if column.kinds else []
                break
            furthest = max(furthest, wrong[0])  # of the kind that fits longest
        else:
            raise DataError(
                f"{path}, line {block.line(furthest)}, column {name!r}: {text[furthest]!r:.60} is "
                f"not {wanted(dtype)}, which this column holds; correct it, or leave it empty if "
                f"the value is missing"
            )
        whole.append(values)
    return pl.DataFrame(whole)


def wanted(dtype: Any) -> str:
    """A type in the words of an error."""
    pl = load_polars()
    if dtype.is_integer():
        return "a whole number"
    if dtype.is_numeric():
        return "a number"
    if dtype == pl.Boolean:
        return "True or False"
    if dtype.is_temporal():
        return "a date or time whose order is clear, such as 2021-04-30"
    return f"a value of type {dtype}"


def stray_values(series: Any, most: int | None = None) -> list[tuple[int, str]]:
    """The texts in a column of text that are no numbers: ``(row, text)``, rows counted from 0.

    For a column that was meant to be numeric: what keeps it from being so. Empty if all of it is
    numeric (or missing).

    Args:
        series: a polars Series.
        most: at most so many; None for all.

    >>> import polars
    >>> stray_values(polars.Series(["1.5", "2", None, "3 kg"]))
    [(3, '3 kg')]
    """
    pl = load_polars()
    if series.dtype != pl.String:
        return []
    text = _tidy(series)
    rows = (text.cast(pl.Float64, strict=False).is_null() & text.is_not_null()).arg_true()
    if most is not None:
        rows = rows.head(most)
    return list(zip(rows.to_list(), text.gather(rows).to_list(), strict=True))
