"""Dates, times of day and durations as features: time passed, and places in cycles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.data.preprocess.encoders import Numbers
from chainrule.data.preprocess.scaling import Scaler
from chainrule.data.preprocess.values import as_moments, clock_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Moments"]

_DAY = 86_400_000_000  # in microseconds


@dataclass
class Moments:
    """A date-time column: the time since the training median, scaled, and cycles where they vary.

    A cycle is the sine and cosine of a place in the year (where training spans over 90 days), the
    week, and the day. Dates and clock times are those of `zone`, if the column has one. A missing
    value is the median and stands at the middle (0, 0) of each cycle.
    """

    column: str
    kind: str
    family: str
    zone: str
    elapsed: Numbers
    cycles: list[str]

    @classmethod
    def fit(cls, series: pl.Series, form: str) -> Moments:
        import polars as pl

        family, zone = clock_of(series)
        new = cls(series.name, "datetime", family, zone, _no_numbers(series.name), [])
        micros = new.read(series)
        new.elapsed = Numbers.fit(micros.cast(pl.Float64) / 1e6, "numeric", form)
        present = micros.drop_nulls()
        for cycle in {"dates": ("year", "week", "day"), "times": ("day",)}.get(family, ()):
            places = _place(present, cycle)
            if np.ptp(places) > 0 and (cycle != "year" or np.ptp(present.to_numpy()) > 90 * _DAY):
                new.cycles.append(cycle)
        return new

    def read(self, series: pl.Series) -> pl.Series:
        return as_moments(series, self.family, self.zone)

    def names(self) -> list[str]:
        cycles = [f"{self.column} {f} of {c}" for c in self.cycles for f in ("sin", "cos")]
        return self.elapsed.names() + cycles

    def embedding(self) -> None:
        return None

    def write(self, values: pl.Series, out: npt.NDArray[np.float32]) -> None:
        import polars as pl

        first = len(self.elapsed.names())
        self.elapsed.write(values.cast(pl.Float64) / 1e6, out[:, :first])
        here = values.is_not_null().to_numpy()
        filled = values.fill_null(0)
        for k, cycle in enumerate(self.cycles):
            angle = 2 * np.pi * _place(filled, cycle)
            out[:, first + 2 * k] = np.sin(angle) * here
            out[:, first + 2 * k + 1] = np.cos(angle) * here

    def notes(self, values: pl.Series) -> list[str]:
        import polars as pl

        notes = self.elapsed.notes(values.cast(pl.Float64) / 1e6)
        return [note.replace(self.elapsed.shown_fill(), "the median") for note in notes]

    def action(self) -> str:
        parts = ["time since the median, scaled"] if self.elapsed.varies else []
        if self.cycles:
            parts.append(f"cycle of {', '.join(self.cycles)}")
        if self.elapsed.indicator:
            parts.append("0/1 column for missing")
        return "; ".join(parts)

    def validate(self) -> None:
        if self.kind != "datetime" or self.family not in ("dates", "durations", "times"):
            raise ValueError(f"{self.family!r} is no family of moments")
        allowed = {"dates": ("year", "week", "day"), "times": ("day",)}.get(self.family, ())
        if not set(self.cycles) <= set(allowed) or len(set(self.cycles)) < len(self.cycles):
            raise ValueError("its cycles do not belong to it")
        if self.elapsed.kind != "numeric":
            raise ValueError("elapsed time is numeric")


def _no_numbers(name: str) -> Numbers:
    return Numbers(name, "numeric", Scaler("none"), 0.0, True, False, [])


def _place(micros: pl.Series, cycle: str) -> Any:
    """The place in a cycle, from 0 up to 1, of microseconds since 1970 or midnight."""
    import polars as pl

    if cycle == "year":
        when = micros.cast(pl.Datetime("us"))
        array: Any = when.dt.ordinal_day().to_numpy()
        return (array - 1) / 365.25
    array = micros.to_numpy()
    if cycle == "week":
        return ((array // _DAY + 3) % 7) / 7  # 1 January 1970 was a Thursday
    return (array % _DAY) / _DAY
