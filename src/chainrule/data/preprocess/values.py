"""The values of a column in one form per kind: numbers, booleans, text, moments.

What a column holds when a model is used need not be of the type it had in training: a file may
give numbers as text, or a category as an integer. These functions read every form that means the
same, value by value, and name the rows of those that do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "as_booleans",
    "as_moments",
    "as_numbers",
    "as_text",
    "clock_of",
    "family_of",
    "filled",
    "refuse",
    "text_of",
]

WORDS = {
    **dict.fromkeys(["yes", "y", "true", "t", "on"], True),
    **dict.fromkeys(["no", "n", "false", "f", "off"], False),
}
PAIRS = [{"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"}, {"on", "off"}]

#: Years 1 to 9999 in microseconds since 1970, the range in which calendars agree.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"
_SHOWN = 5


def refuse(series: pl.Series, bad: pl.Series, what: str, fix: str) -> NoReturn:
    """Raise a `DataError` naming column, up to five rows and values, their number, and the fix."""
    rows = bad.arg_true()
    some = rows.head(_SHOWN)
    listed = ", ".join(f"row {row}: {_short(series[int(row)])}" for row in some)
    more = ", …" if len(rows) > _SHOWN else ""
    values = "value" if len(rows) == 1 else "values"
    raise DataError(
        f"column {series.name!r} has {len(rows)} {values} {what} ({listed}{more}). {fix}"
    )


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:38] + "…" + text[-1]


def as_numbers(series: pl.Series, fix: str = "") -> pl.Series:
    """Float64 with nulls for what is missing, NaN among it; text where it is a number.

    Raises:
        DataError: for text that is no number, for other types, for ±inf.

    >>> import polars as pl
    >>> as_numbers(pl.Series("x", ["1", None, "2.5"])).to_list()
    [1.0, None, 2.5]
    """
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Null or dtype.is_numeric() or dtype == pl.Boolean:
        numbers = series.cast(pl.Float64)
    elif family_of(series) == "text":
        text = series.cast(pl.String).str.strip_chars()
        numbers = text.cast(pl.Float64, strict=False)
        bad = numbers.is_null() & text.is_not_null() & (text != "")
        if bad.any():
            refuse(
                series,
                bad,
                "that are no numbers" if bad.sum() > 1 else "that is no number",
                fix
                or "The column held numbers in training; correct these values, or leave them "
                "empty if they are missing.",
            )
    else:
        _wrong_type(series, "numbers")
    infinite = numbers.is_infinite()
    if infinite.any():
        refuse(
            series,
            infinite.fill_null(False),
            "that are infinite" if infinite.sum() > 1 else "that is infinite",
            "Correct them, or leave them empty if they are missing.",
        )
    return numbers.fill_nan(None)


def as_booleans(series: pl.Series) -> pl.Series:
    """Boolean; from yes/no, y/n, true/false, t/f, on/off in any case, and from 0 and 1.

    >>> import polars as pl
    >>> as_booleans(pl.Series("x", ["Yes", "no", None])).to_list()
    [True, False, None]
    """
    import polars as pl

    if series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Boolean)
    text = as_text(series).str.strip_chars().str.to_lowercase()
    known = {**WORDS, "1": True, "0": False}
    values = text.replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Boolean
    )
    bad = values.is_null() & text.is_not_null() & (text != "")
    if bad.any():
        refuse(series, bad, "other than yes and no", "Expected yes/no, true/false or 1/0.")
    return values


def as_text(series: pl.Series) -> pl.Series:
    """String, one for each value whatever its type: 3, 3.0 and "3" are the same category.

    Empty text is missing, as it is in a file.

    >>> import polars as pl
    >>> as_text(pl.Series("x", [3.0, 2.5, None])).to_list()
    ['3', '2.5', None]
    """
    import polars as pl

    dtype = series.dtype
    if dtype.is_float():
        numbers = series.cast(pl.Float64).fill_nan(None)
        whole = (numbers == numbers.floor()) & (numbers.abs() < 2.0**53)
        # where() on the text, because a number that is not whole has no integer to cast to
        integers = numbers.cast(pl.Int64, strict=False).cast(pl.String)
        return integers.zip_with(whole.fill_null(False), numbers.cast(pl.String))
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        _wrong_type(series, "text or numbers")
    text = series.cast(pl.String)
    empty = (text == "").fill_null(False)
    return text.set(empty, None) if empty.any() else text


def text_of(value: Any) -> str:
    """One value as `as_text` writes it.

    >>> text_of(3.0), text_of(True), text_of("a")
    ('3', 'true', 'a')
    """
    import polars as pl

    if isinstance(value, str):
        return value
    text = as_text(pl.Series([value], strict=False))[0]
    return "" if text is None else str(text)


def family_of(series: pl.Series) -> str:
    """ "numbers", "booleans", "text", "dates", "durations", "times", "nothing" or "" (others)."""
    import polars as pl

    dtype = series.dtype
    if dtype.is_numeric():
        return "numbers"
    if dtype in (pl.Date, pl.Datetime):
        return "dates"
    single = {
        pl.Boolean: "booleans",
        pl.Duration: "durations",
        pl.Time: "times",
        pl.Null: "nothing",
    }
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return next((word for known, word in single.items() if dtype == known), "")


def clock_of(series: pl.Series) -> tuple[str, str]:
    """What `as_moments` takes a column of moments for: its family and time zone."""
    family = family_of(series)
    zone = str(getattr(series.dtype, "time_zone", None) or "")
    return (family if family in ("durations", "times") else "dates"), zone


def filled(series: pl.Series) -> npt.NDArray[np.bool_]:
    """``(n,)``: where a column has a value: neither null nor NaN nor empty text."""
    import polars as pl

    mask = series.is_not_null()
    if series.dtype.is_float():
        mask &= series.is_not_nan().fill_null(False)
    elif family_of(series) == "text":
        mask &= (series.cast(pl.String) != "").fill_null(False)
    array: npt.NDArray[np.bool_] = mask.to_numpy()
    return array


def as_moments(series: pl.Series, family: str = "dates", zone: str = "") -> pl.Series:
    """Int64 microseconds: since 1970 on the clock of `zone`, of a duration, or since midnight.

    Text is read in ISO form, ``2024-03-01`` or ``2024-03-01 12:30:00``.

    >>> import polars as pl
    >>> as_moments(pl.Series("x", ["1970-01-02", None])).to_list()
    [86400000000, None]
    """
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Null:
        return series.cast(pl.Int64)
    if family == "dates" and family_of(series) == "text":
        return _parse_dates(series)
    if family_of(series) != family:
        _wrong_type(series, {"times": "times of day"}.get(family, family))
    if family == "times":
        return series.to_physical() // 1000
    if isinstance(dtype, pl.Datetime) and (dtype.time_zone or "") != zone:
        if not (dtype.time_zone and zone):
            now, then = (f"time zone {z}" if z else "no time zone" for z in (dtype.time_zone, zone))
            raise DataError(
                f"column {series.name!r} has {now}, and had {then} in training. Convert it to what "
                "it was."
            )
        try:
            series = series.dt.convert_time_zone(zone)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"column {series.name!r} has no time zone {zone!r}: {error}") from error
    if isinstance(dtype, pl.Datetime) and zone:
        series = series.dt.replace_time_zone(None)
    if dtype == pl.Date:
        micros = series.to_physical().cast(pl.Int64) * 86_400_000_000
    else:
        unit = dtype.time_unit  # type: ignore[attr-defined]
        ticks = series.to_physical()
        if unit == "ms":
            bad = (ticks.abs() > 2**53).fill_null(False)
            if bad.any():
                refuse(
                    series.to_physical(),
                    bad,
                    "outside the calendar",
                    "Correct them, or leave them empty.",
                )
        micros = ticks * 1000 if unit == "ms" else ticks // 1000 if unit == "ns" else ticks
    if family == "dates":
        bad = ((micros < _FIRST) | (micros > _LAST)).fill_null(False)
        if bad.any():
            refuse(
                series.to_physical(),
                bad,
                "outside the years 1 to 9999",
                "Correct them, or leave them empty.",
            )
    return micros


def is_iso(text: pl.Series) -> bool:
    """Whether all of a text column, but what is missing, looks like ISO dates."""
    return bool(text.str.contains(_ISO).all())


def _parse_dates(series: pl.Series) -> pl.Series:
    import polars as pl

    text = series.cast(pl.String).str.strip_chars()
    text = text.str.replace("T", " ", literal=True)
    # each length of ISO text has a format of its own
    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    clock = text.str.slice(11)
    filled = pl.select(
        pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    ).to_series()
    time = filled.str.to_time("%H:%M:%S%.f", strict=False)
    micros = (
        day.to_physical()
        + pl.select(
            pl.when(clock == "").then(pl.lit(0, pl.Int64)).otherwise(time.to_physical() // 1000)
        ).to_series()
    )
    micros = micros.alias(series.name)
    wrong = ~text.str.contains(_ISO) | micros.is_null()
    bad = (wrong & (text != "")).fill_null(False)
    if bad.any():
        refuse(series, bad, "that are no dates", "Expected 2024-03-01 or 2024-03-01 12:30:00.")
    return pl.select(pl.when(bad | (text == "")).then(None).otherwise(micros)).to_series()


def _wrong_type(series: pl.Series, wanted: str) -> NoReturn:
    raise DataError(
        f"column {series.name!r} has type {series.dtype}; expected {wanted}. Convert it, or leave "
        "it out."
    )
