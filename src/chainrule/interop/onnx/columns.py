"""The preparation of a table's columns, as it was fitted, as ONNX operators.

One input for each column, and the same float32 features as `TablePreprocessor.transform` gives:
arithmetic is in float64 as there, and only what is compared as text is looked up.

=====================  =====================================================================
column                 input
=====================  =====================================================================
numeric                float64 ``(rows,)``, NaN where it is missing
boolean                text ``(rows,)``: yes/no, true/false, y/n, t/f, on/off, 1/0 in lower
                       case, upper case or capitalised; anything else is missing
categorical, ordinal   text ``(rows,)``, whole numbers without a point; empty is missing
datetime               int64 ``(rows,)``: microseconds since 1970 (of a duration: its length, of
                       a time of day: since midnight), NumPy's NaT where it is missing
text                   text ``(rows, words)``: the words in lower case, then empty ones
=====================  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.preprocess import TablePreprocessor
from chainrule.data.preprocess.encoders import Categories, Numbers
from chainrule.data.preprocess.moments import Moments
from chainrule.data.preprocess.scaling import Scaler
from chainrule.data.preprocess.values import WORDS
from chainrule.data.preprocess.words import Words
from chainrule.interop.onnx.writer import ExportError, Writer

__all__ = ["NAT", "Column", "columns_of", "write_columns"]

F4, F8, I8 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
#: A missing moment, as NumPy's NaT is seen as an integer.
NAT = int(np.iinfo(np.int64).min)
_DAY = 86_400_000_000  # in microseconds
_TINY = 1e-30


@dataclass(frozen=True)
class Column:
    """What stands for a column of the table.

    Attributes:
        name: of the column and of the input.
        encoder: what was learnt from it.
        dtype, shape: of the input.
        takes: what to give, for people.
    """

    name: str
    encoder: Any
    dtype: Any
    shape: tuple[str, ...]
    takes: str


def columns_of(preprocessor: TablePreprocessor) -> list[Column]:
    """The inputs of a preparation, in the order of the table.

    Raises:
        ExportError: for a column without a name.
    """
    found = []
    encoders = {e.column: e for e in preprocessor._encoders}
    for name in preprocessor.inputs:
        if not name:
            raise ExportError("a column has no name, which an input needs; name it and train anew")
        e: Any = encoders[name]
        one = ("rows",)
        if isinstance(e, Words):
            shape = ("rows", f"words of {name}")
            found.append(Column(name, e, str, shape, "its words in lower case, then ''"))
        elif isinstance(e, Moments):
            what = {"dates": "microseconds since 1970", "durations": "microseconds"}
            takes = what.get(e.family, "microseconds since midnight")
            takes += f" on the clock of {e.zone}" if e.zone else ""
            found.append(Column(name, e, I8, one, f"{takes}; missing: NaT"))
        elif isinstance(e, Categories):
            found.append(Column(name, e, str, one, "a category as text; missing: ''"))
        elif e.kind == "ordinal":
            takes = f"{e.order[0]!r} … {e.order[-1]!r}; missing: ''"
            found.append(Column(name, e, str, one, takes))
        elif e.kind == "boolean":
            found.append(Column(name, e, str, one, "'yes', 'no', 'true', '1' …; missing: ''"))
        else:
            found.append(Column(name, e, F8, one, "a number; missing: NaN"))
    return found


def write_columns(w: Writer, preprocessor: TablePreprocessor, columns: list[Column]) -> str:
    """Write inputs and features; the value of all features, ``(rows, width)`` in float32."""
    for column in columns:
        w.input(column.name, column.dtype, column.shape)
    parts = []
    for encoder in preprocessor._encoders:
        e: Any = encoder
        w.scope = f"column {e.column}"
        parts += _WRITERS[type(e)](w, e, e.column)
    w.scope = "columns"
    return w.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


# -- pieces ---------------------------------------------------------------------------------------


def _column(w: Writer, value: str) -> str:
    """``(rows,)`` as one feature ``(rows, 1)`` in float32."""
    return w.node("Unsqueeze", w.cast(value, F4), w.ints(1))


def _lookup(w: Writer, x: str, keys: list[str], values: Any, default: float) -> str:
    """The number that stands for a text: int64, or float32 for floats."""
    numbers = np.asarray(values)
    kind = "int64s" if numbers.dtype.kind == "i" else "floats"
    more: dict[str, Any] = {f"values_{kind}": numbers.tolist()}
    more["default_int64" if kind == "int64s" else "default_float"] = default
    return w.node("LabelEncoder", x, domain="ai.onnx.ml", keys_strings=keys, **more)


def _scaled(w: Writer, s: Scaler, x: str) -> str:
    """As `Scaler.apply` computes it, up to the cast to float32."""
    if s.unit != 1.0:
        x = w.node("Div", x, w.number(s.unit, F8))
    if s.form == "quantile":
        z = _interpolated(w, s, x)
    else:
        factor = 1.0
        if 0 < abs(s.centre) < _TINY:  # onnxruntime takes it for the 0 that it is in float32
            factor = math.ldexp(1.0, -math.frexp(s.scale)[1])
            x = w.node("Mul", x, w.number(factor, F8))
        z = w.node("Sub", x, w.number(s.centre * factor, F8))
        z = w.node("Div", z, w.number(s.scale * factor, F8))
    low, high = w.number(-s.limit, F8), w.number(s.limit, F8)
    return w.node("Min", w.node("Max", z, low), high)


def _interpolated(w: Writer, s: Scaler, x: str) -> str:
    """``numpy.interp(x, knots, scores)``: the line between the two knots around x."""
    knots, scores = np.asarray(s.knots), np.asarray(s.scores)
    if len(knots) == 1:
        zero = w.node("Mul", x, w.number(0.0, F8))
        return w.node("Add", zero, w.number(scores[0], F8))
    slopes = np.diff(scores) / np.diff(knots)
    wide = w.node("Unsqueeze", x, w.ints(1))
    below = w.node("LessOrEqual", w.constant(knots[None], "knots"), wide)
    count = w.node("ReduceSum", w.cast(below, I8), w.ints(1), keepdims=0)
    place = w.node("Sub", count, w.constant(np.int64(1)))
    place = w.node("Max", place, w.constant(np.int64(0)))
    place = w.node("Min", place, w.constant(np.int64(len(slopes) - 1)))
    start, height, slope = (
        w.node("Gather", w.constant(values, name), place)
        for values, name in ((knots, "knots"), (scores, "scores"), (slopes, "slopes"))
    )
    line = w.node("Add", w.node("Mul", slope, w.node("Sub", x, start)), height)
    line = w.node("Where", w.node("Less", x, w.number(knots[0], F8)), w.number(scores[0], F8), line)
    beyond = w.node("GreaterOrEqual", x, w.number(knots[-1], F8))
    return w.node("Where", beyond, w.number(scores[-1], F8), line)


def _filled(w: Writer, e: Numbers, x: str, absent: str) -> list[str]:
    """The features of numbers of which `absent` says where there are none."""
    parts = []
    if e.varies:
        value = w.node("Where", absent, w.number(e.fill, F8), x)
        parts.append(_column(w, _scaled(w, e.scaler, value)))
    return parts + ([_column(w, absent)] if e.indicator else [])


# -- kinds of columns -----------------------------------------------------------------------------


def _numbers(w: Writer, e: Numbers, x: str) -> list[str]:
    if e.kind == "boolean":
        known: dict[str, float] = {}
        for word, value in {**WORDS, "1": True, "0": False}.items():
            known |= dict.fromkeys([word, word.upper(), word.capitalize()], float(value))
        x = w.cast(_lookup(w, x, list(known), list(known.values()), -1.0), F8)
    elif e.kind == "ordinal":
        places = [float(k) for k in range(len(e.order))]
        x = w.cast(_lookup(w, x, e.order, places, -1.0), F8)
    else:
        return _filled(w, e, x, w.node("Not", w.node("Equal", x, x)))
    return _filled(w, e, x, w.node("Less", x, w.number(0.0, F8)))


def _categories(w: Writer, e: Categories, x: str) -> list[str]:
    n, texts = len(e.categories), [*e.categories, ""]
    missing = n + 1 if e.missing else 0
    codes = np.array([*range(1, n + 1), missing])
    if e.embedded:
        return [_column(w, _lookup(w, x, texts, codes, 0))]
    places = np.arange(-1, n + 1)  # of code k in the features, as the encoder has it
    places[0] = n if e.merged else -1
    places[-1] = n + (e.merged > 0)
    place = _lookup(w, x, texts, places[codes], int(places[0]))
    wide = w.node("Unsqueeze", place, w.ints(1))
    hot = w.node("Equal", wide, w.constant(np.arange(len(e.names()))[None]))
    return [w.cast(hot, F4)]


def _words(w: Writer, e: Words, x: str) -> list[str]:
    places = _lookup(w, x, e.words, np.arange(len(e.words)), -1) if e.words else None
    parts = []
    if places is not None:
        wide = w.node("Unsqueeze", places, w.ints(2))  # (rows, words, 1)
        equal = w.node("Equal", wide, w.constant(np.arange(len(e.words))[None, None]))
        count = w.node("ReduceSum", w.cast(equal, I8), w.ints(1), keepdims=0)
        parts.append(w.cast(w.node("Greater", count, w.constant(np.int64(0))), F4))
    filled = _lookup(w, x, [""], np.array([0]), 1)
    length = w.cast(w.node("ReduceSum", filled, w.ints(1), keepdims=0), F8)
    log = w.node("Log", w.node("Add", length, w.number(1.0, F8)))
    return [*parts, _column(w, _scaled(w, e.length, log))]


def _moments(w: Writer, e: Moments, x: str) -> list[str]:
    absent = w.node("Equal", x, w.constant(np.int64(NAT)))
    seconds = w.node("Div", w.cast(x, F8), w.number(1e6, F8))
    parts = _filled(w, e.elapsed, seconds, absent)
    here = w.cast(w.node("Not", absent), F8)
    filled = w.node("Where", absent, w.constant(np.int64(0)), x)
    for cycle in e.cycles:
        angle = w.node("Mul", w.number(2 * np.pi, F8), _place(w, filled, cycle))
        parts += [_column(w, w.node("Mul", w.node(f, angle), here)) for f in ("Sin", "Cos")]
    return parts


def _whole(w: Writer, op: str, a: str, b: int) -> str:
    return w.node(op, a, w.constant(np.int64(b)))


def _floor_divided(w: Writer, a: str, b: int) -> tuple[str, str]:
    """Quotient and remainder as Python has them; Div of ONNX cuts towards zero."""
    rest = _whole(w, "Mod", a, b)
    return _whole(w, "Div", w.node("Sub", a, rest), b), rest


def _place(w: Writer, micros: str, cycle: str) -> str:
    """The place in a cycle, from 0 up to 1, of microseconds."""
    days, within = _floor_divided(w, micros, _DAY)
    if cycle == "day":
        return w.node("Div", w.cast(within, F8), w.number(float(_DAY), F8))
    if cycle == "week":
        weekday = _whole(w, "Mod", _whole(w, "Add", days, 3), 7)
        return w.node("Div", w.cast(weekday, F8), w.number(7.0, F8))
    return w.node("Div", w.cast(_day_of_year(w, days), F8), w.number(365.25, F8))


def _day_of_year(w: Writer, days: str) -> str:
    """Days since 1 January, of days since 1970 in the Gregorian calendar.

    Years are counted from 1 March, so that the leap day is the last of one, and in periods of 400,
    which all have 146097 days.
    """
    _, day = _floor_divided(w, _whole(w, "Add", days, 719468), 146097)  # since 1 March 0000
    # the year within the period: every day counts but the leap days before it
    leaps = w.node("Sub", _whole(w, "Div", day, 1460), _whole(w, "Div", day, 36524))
    leaps = w.node("Add", leaps, _whole(w, "Div", day, 146096))
    year = _whole(w, "Div", w.node("Sub", day, leaps), 365)
    before = w.node("Add", _whole(w, "Mul", year, 365), _whole(w, "Div", year, 4))
    before = w.node("Sub", before, _whole(w, "Div", year, 100))
    since = w.node("Sub", day, before)  # 1 March
    zero = w.constant(np.int64(0))
    fourth, hundredth, four_hundredth = (
        w.node("Equal", _whole(w, "Mod", year, k), zero) for k in (4, 100, 400)
    )
    leap = w.node("Or", w.node("And", fourth, w.node("Not", hundredth)), four_hundredth)
    spring = w.node("Add", _whole(w, "Add", since, 59), w.cast(leap, I8))
    winter = _whole(w, "Sub", since, 306)
    late = w.node("GreaterOrEqual", since, w.constant(np.int64(306)))
    return w.node("Where", late, winter, spring)


_WRITERS: dict[type, Callable[[Writer, Any, str], list[str]]] = {
    Numbers: _numbers,
    Categories: _categories,
    Words: _words,
    Moments: _moments,
}
