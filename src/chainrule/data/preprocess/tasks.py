"""The task that target columns set, and why; and the targets that set none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.data.preprocess.values import as_numbers, as_text, family_of, filled, refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["INTEGERS", "TASKS", "Decision", "decide"]

TASKS = ("auto", "classification", "regression", "binary", "multiclass", "multilabel")

INTEGERS = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}

_MOST_CLASSES = 20  # whole numbers of more values than this are measured, not named
_ROWS_EACH = 5  # and so are those of which each value has fewer rows than this on average
_LISTED = 8


@dataclass
class Decision:
    """The task, why, the classes (or None), the type of each column, the values of a regression."""

    task: str
    why: str
    classes: list[Any] | None
    dtypes: list[str]
    values: list[npt.NDArray[np.float64]] = field(default_factory=list)


@dataclass
class _Look:
    """One target column without its missing rows.

    `held` is what it holds, for people; `numbers` are its values if they are numbers; `whole` says
    that they are whole.
    """

    name: str
    series: pl.Series
    original: pl.Series
    held: str
    numbers: pl.Series | None
    whole: bool
    unique: int

    @property
    def binary(self) -> bool:
        """Only 0 and 1, or booleans."""
        return self.numbers is not None and bool(self.numbers.is_in([0.0, 1.0]).all())


def decide(table: pl.DataFrame, asked: str) -> Decision:
    """The task of target columns, of `TASKS` the one asked for or what the values suggest.

    >>> import polars as pl
    >>> decide(pl.DataFrame({"grade": [1, 2, 3] * 10}), "auto").why
    "'grade' holds whole numbers with 3 values, 10 rows each on average"
    """
    if not table.width:
        raise DataError("there is no target column; expected at least one.")
    here = np.ones(len(table), np.bool_)
    for series in table:
        here &= filled(series)
    if not here.any():
        listed = ", ".join(repr(name) for name in table.columns)
        what = "all targets are missing" if len(table) else "there are no rows"
        raise DataError(f"{what} in {listed}; expected rows to learn from.")
    looks = [_look(series, here, asked) for series in table]
    if asked == "multilabel":
        return _multilabel(looks, "asked for")
    if len(looks) > 1:
        return _several(looks, asked)
    look = looks[0]
    if asked == "regression":
        return _regression(looks, f"asked for; {look.held}")
    if asked == "auto":
        why = _values_not_classes(look)
        if why:
            return _regression(looks, why)
    return _classes(look, asked)


def _look(series: pl.Series, here: npt.NDArray[np.bool_], asked: str) -> _Look:
    import polars as pl

    name, family = series.name, family_of(series)
    if family not in ("numbers", "booleans", "text"):
        raise DataError(
            f"the target {name!r} has type {series.dtype}; expected numbers, text or booleans. "
            "Convert it first, a date to days or seconds for example."
        )
    numbers: pl.Series | None = None
    held = {"numbers": "numbers", "booleans": "booleans"}.get(family, "text")
    classes = asked in ("classification", "binary", "multiclass")
    if family != "text":
        numbers = as_numbers(series)  # raises for ±inf, naming rows of the whole table
    elif not classes:
        text = series.cast(pl.String).str.strip_chars()
        parsed = text.cast(pl.Float64, strict=False)
        good = parsed.is_not_null().sum() / int(here.sum())
        if good >= 0.9 or asked == "regression":
            fix = (
                "Regression needs numbers; correct these, leave the rows out, or leave --task out "
                "to classify."
                if asked == "regression"
                else "Correct these, leave the rows out, or say that they are classes: "
                "task classification."
            )
            numbers = as_numbers(series, fix)
    present = series.filter(pl.Series(here))
    whole = False
    if numbers is not None:
        numbers = numbers.filter(pl.Series(here))
        whole = bool((numbers == numbers.floor()).all())
        if family != "booleans":
            held = "whole numbers" if whole else "numbers"
    counted = present if numbers is None else numbers
    return _Look(
        name, present, series, f"{name!r} holds {held}", numbers, whole, counted.n_unique()
    )


def _values_not_classes(look: _Look) -> str:
    """Why a single column is a regression; "" if it is a classification."""
    if look.numbers is None or family_of(look.series) == "booleans":
        return ""
    if not look.whole:
        return f"{look.held} that are not whole"
    rows = len(look.numbers)
    if look.unique <= 2 or (look.unique <= _MOST_CLASSES and look.unique * _ROWS_EACH <= rows):
        return ""
    return f"{look.held} with {look.unique} different values in {rows} rows"


def _regression(looks: list[_Look], why: str) -> Decision:
    values = []
    for look in looks:
        assert look.numbers is not None
        if look.unique < 2:
            raise DataError(
                f"the target {look.name!r} is {look.numbers[0]:g} in all {len(look.numbers)} rows; "
                "there is nothing to learn. Choose another target."
            )
        values.append(look.numbers.to_numpy())
    return Decision("regression", why, None, ["Float64"] * len(looks), values)


def _classes(look: _Look, asked: str) -> Decision:
    classes, dtype = _labels(look)
    rows, name = len(look.series), look.name
    n = len(classes)
    if n < 2:
        raise DataError(
            f"the target {name!r} has a single class, {classes[0]!r}, in all {rows} rows; a "
            "classifier needs at least two. Choose another target, or add rows."
        )
    counts = as_text(look.series).value_counts(name="count", sort=True)
    if n > max(2, 0.5 * rows) and rows >= 10:
        advice = (
            "it looks like an identifier or free text; choose another target"
            if look.numbers is None and family_of(look.series) == "text"
            else "it looks like a value to predict (task regression) or an identifier"
        )
        raise DataError(
            f"the target {name!r} has {n} classes in {rows} rows, nearly one per row: {advice}."
        )
    single = counts.filter(counts["count"] == 1)[name].sort().to_list()
    if single:
        some = ", ".join(repr(value) for value in single[:5]) + (", …" * (len(single) > 5))
        what = f"class {some} has" if len(single) == 1 else f"{len(single)} classes ({some}) have"
        raise DataError(
            f"the target {name!r}: {what} one row, too few to train on and to check. Merge rare "
            "classes into one, add rows, or leave these rows out."
        )
    if asked == "binary" and n != 2:
        raise DataError(
            f"task binary needs two classes; the target {name!r} has {n} "
            f"({', '.join(repr(c) for c in classes[:_LISTED])}{', …' * (n > _LISTED)})."
        )
    why = f"{look.held} with {n} values"
    if asked != "auto":
        why = f"asked for; {why}"
    elif look.whole and n > 2:
        why += f", {rows // n} rows each on average"
    task = asked if asked in ("binary", "multiclass") else "binary" if n == 2 else "multiclass"
    return Decision(task, why, classes, [dtype])


def _labels(look: _Look) -> tuple[list[Any], str]:
    """The different values, sorted, in the type of the data; whole floats as integers."""
    import polars as pl

    series = look.series
    family = family_of(series)
    if family == "text" and look.numbers is None:
        series = series.cast(pl.String)
    elif family != "booleans" and not series.dtype.is_integer():
        if not look.whole:
            assert look.numbers is not None
            every = as_numbers(look.original)
            refuse(
                look.original,
                (every != every.floor()).fill_null(False),
                "that are not whole",
                "Classes are whole numbers or text; for values use task regression.",
            )
        numbers = as_numbers(series)
        if bool((numbers.abs() >= 2.0**53).any()):
            raise DataError(
                f"the target {look.name!r} holds floats too large to tell classes apart; give "
                "them as integers or text."
            )
        series = numbers.cast(pl.Int64)
    elif family == "numbers" and str(series.dtype) not in INTEGERS:
        raise DataError(
            f"the target {look.name!r} has type {series.dtype}; expected integers of up to 64 bits."
        )
    return sorted(series.unique().to_list()), str(series.dtype)


def _multilabel(looks: list[_Look], why: str) -> Decision:
    for look in looks:
        if not look.binary:
            raise DataError(
                f"task multilabel needs 0 and 1, or booleans, in every target; {look.held}, such "
                f"as {look.series[0]!r}."
            )
        if look.unique < 2:
            raise DataError(
                f"the target {look.name!r} is {look.series[0]} in all {len(look.series)} rows: a "
                "single class. Leave this column out of the targets."
            )
    booleans = all(family_of(look.series) == "booleans" for look in looks)
    dtypes = [_labels(look)[1] for look in looks]
    return Decision("multilabel", why, [False, True] if booleans else [0, 1], dtypes)


def _several(looks: list[_Look], asked: str) -> Decision:
    listed = ", ".join(look.held for look in looks[:_LISTED]) + ", …" * (len(looks) > _LISTED)
    binary = [look.binary for look in looks]
    if asked == "regression" or (
        asked == "auto" and not any(binary) and all(look.numbers is not None for look in looks)
    ):
        several = "several columns of numbers"
        return _regression(looks, f"asked for; {several}" if asked != "auto" else several)
    if asked in ("auto", "classification") and all(binary):
        why = "several columns of 0 and 1" if asked == "auto" else "asked for; columns of 0 and 1"
        return _multilabel(looks, why)
    raise DataError(
        f"{len(looks)} targets do not go together under task {asked}: {listed}. Several targets "
        "are all numbers (task regression) or all 0 and 1 (task multilabel); train others singly."
    )
