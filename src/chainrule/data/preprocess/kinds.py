"""What kind of thing a column holds, recognised from its training rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule.array.errors import DataError
from chainrule.data.preprocess.values import (
    PAIRS,
    as_booleans,
    as_moments,
    as_numbers,
    as_text,
    clock_of,
    family_of,
    is_iso,
    refuse,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ASKABLE", "Column", "duplicates", "identifies", "recognise"]

#: The kinds that a person may name for a column.
ASKABLE = ("numeric", "boolean", "categorical", "ordinal", "datetime", "text", "identifier")

_MOSTLY = 0.9  # a column of text of which this share is numbers is a column of numbers gone wrong
_FEW = 20  # rows below which unique values say nothing
_NAME = re.compile(r"(^|[^a-z0-9])(id|ids|uuid|guid|index|idx|key|pk|rowid|unnamed: \d+)$")


@dataclass(frozen=True)
class Column:
    """What one column of a table is and what becomes of it.

    Attributes:
        name: as in the table.
        kind: "numeric", "boolean", "categorical", "ordinal", "datetime", "text", "constant",
            "duplicate" or "identifier".
        missing: rows without a value (null, NaN, and empty text).
        unique: different values, the missing not counted.
        example: the first value, as text.
        action: what is done with it, for people.
        note: what they should know about it; "" for nothing.
    """

    name: str
    kind: str
    missing: int
    unique: int
    example: str
    action: str
    note: str


def recognise(series: pl.Series, asked: str | None = None, ordered: bool = False) -> str:
    """The kind of a column that is neither constant nor missing altogether.

    - Numbers are numeric, 0 and 1 among them; text is too if all of it is numbers.
    - Booleans, and text of two words such as yes and no, are boolean.
    - Dates, times of day and durations are datetime, and so is text in ISO form.
    - A polars Enum, and a column whose order is given, is ordinal.
    - Other text is free text where most values differ and are long or of several words, else
      categorical. Integers are categories only if `asked` says so.

    Raises:
        DataError: for text of which at least 90 % (but not all) is numbers, naming the rest; for
            lists, structures, bytes and objects.

    >>> import polars as pl
    >>> recognise(pl.Series(["1.5", "2"])), recognise(pl.Series(["no", "YES"]))
    ('numeric', 'boolean')
    """
    import polars as pl

    if asked is not None:
        return asked
    if ordered or series.dtype == pl.Enum:
        return "ordinal"
    family = family_of(series)
    if family in ("numbers", "booleans"):
        return {"numbers": "numeric", "booleans": "boolean"}[family]
    if family in ("dates", "durations", "times"):
        return "datetime"
    if family != "text":
        raise DataError(
            f"column {series.name!r} has type {series.dtype}, of which no numbers can be made. "
            "Split it into plain columns, or leave it out (drop)."
        )
    text = series.cast(pl.String).str.strip_chars().drop_nulls()
    text = text.filter(text != "")
    if not len(text):
        return "categorical"
    # a few values decide for nearly every column, and all of them are looked at only if they agree
    head = text.head(1000)
    numbers = head.cast(pl.Float64, strict=False)
    if len(numbers) - numbers.null_count() >= 0.5 * len(head):
        numbers = text.cast(pl.Float64, strict=False)
        share = 1 - numbers.null_count() / len(numbers)
        if share == 1:
            return "numeric"
        if share >= _MOSTLY:
            every = series.cast(pl.String).str.strip_chars()
            wrong = every.cast(pl.Float64, strict=False).is_null() & every.is_not_null()
            wrong &= every != ""
            refuse(
                series,
                wrong.fill_null(False),
                f"that {'are no numbers' if wrong.sum() > 1 else 'is no number'} among {len(text)}",
                f"Correct or declare as missing what is none, or say that the column holds "
                f"categories: kinds={{{series.name!r}: 'categorical'}}.",
            )
    if is_iso(head) and is_iso(text):
        return "datetime"
    if head.n_unique() <= 6 and text.n_unique() <= 6:
        words = set(text.str.to_lowercase().unique())
        if any(words == pair for pair in PAIRS):
            return "boolean"
    spaces = text.str.count_matches(r"\s+").mean()
    length = text.str.len_chars().mean()
    wordy = float(spaces or 0) >= 2 or float(length or 0) >= 30  # type: ignore[arg-type]
    if wordy and float(spaces or 0) >= 0.5 and text.n_unique() > 0.5 * len(text):  # type: ignore[arg-type]
        return "text"
    return "categorical"


def identifies(series: pl.Series, kind: str, unique: int, present: int) -> str:
    """Why a column identifies rows rather than describing them; "" if it does not.

    Unique whole numbers or words are identifiers if the name says so (id, uuid, key, index, …),
    words of 20 rows or more under any name, and whole numbers that increase from row to row in
    steps of under 10 on average.
    """
    if unique < present or present < 2 or kind not in ("numeric", "categorical"):
        return ""
    whole = family_of(series) == "text" or series.dtype.is_integer()
    if whole and named_identifier(series.name):
        return "each row has its own, and the name says so"
    if present < _FEW:
        return ""
    if kind == "categorical":
        return "each row has its own"
    if series.dtype.is_integer() and present == len(series):
        first, last = int(series[0]), int(series[-1])
        if 0 < last - first <= 10 * len(series) and (series.diff().drop_nulls() > 0).all():
            return "whole numbers that increase from row to row"
    return ""


def named_identifier(name: str) -> bool:
    """Whether a column's name says that it identifies something.

    >>> [named_identifier(name) for name in ("customer_id", "rowID", "Id", "solid", "Unnamed: 0")]
    [True, True, True, False, True]
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return bool(_NAME.search(split))


def duplicates(columns: list[pl.Series]) -> dict[str, str]:
    """Each column that holds the same values as an earlier one, with the name of that one.

    >>> import polars as pl
    >>> duplicates([pl.Series("a", [1, 2]), pl.Series("b", [1.0, 2.0]), pl.Series("c", [1, 3])])
    {'b': 'a'}
    """
    groups: dict[object, list[pl.Series]] = {}
    for series in columns:
        if not family_of(series):  # lists and the like, which `recognise` refuses
            continue
        some = series.gather_every(max(1, len(series) // 256))
        key = (family_of(series), tuple(as_plain(some).to_list()))
        groups.setdefault(key, []).append(series)
    found: dict[str, str] = {}
    for group in groups.values():
        kept: dict[object, list[pl.Series]] = {}
        for series in group if len(group) > 1 else ():
            plain = as_plain(series)
            # two columns of one sum of hashes are compared; all others differ for certain
            likely = kept.setdefault(plain.hash().sum(), [])
            same = next((k for k in likely if as_plain(k).equals(plain, check_names=False)), None)
            if same is None:
                likely.append(series)
            else:
                found[series.name] = same.name
    order = [series.name for series in columns]
    return {name: found[name] for name in order if name in found}


def as_plain(series: pl.Series) -> pl.Series:
    """Values to compare columns by: numbers and booleans as Float64, categories as text."""
    import polars as pl

    family = family_of(series)
    if family in ("numbers", "booleans"):
        return series.cast(pl.Float64).fill_nan(None)
    return series.cast(pl.String) if family == "text" else series


def canonical(series: pl.Series, kind: str) -> pl.Series:
    """The column as numbers, booleans, text or moments, for counting; other kinds as they are."""
    if kind == "datetime":
        return as_moments(series, *clock_of(series))
    if kind == "numeric":
        fix = (
            "Correct or declare as missing what is none, or say that the column holds categories: "
            f"kinds={{{series.name!r}: 'categorical'}}."
        )
        return as_numbers(series, fix)
    if kind == "boolean":
        return as_booleans(series)
    return as_text(series) if kind in ("categorical", "ordinal", "text") else series
