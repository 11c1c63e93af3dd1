"""One column of a table as features: what is learnt from training rows, and its replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from chainrule.data.preprocess.scaling import Scaler
from chainrule.data.preprocess.values import (
    as_booleans,
    as_numbers,
    as_text,
    refuse,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Categories", "Encoder", "Numbers", "embedding_width"]

Out = npt.NDArray[np.float32]

_NAMED = 1000


class Encoder(Protocol):
    """What the classes of this file, and `Words`, have in common."""

    column: str
    kind: str

    def names(self) -> list[str]:
        """Of the features, in order."""

    def embedding(self) -> tuple[int, int] | None:
        """Cardinality and width, if the one feature is a code to be embedded."""

    def read(self, series: pl.Series) -> pl.Series:
        """The values in the form that `write` takes; raises DataError."""

    def write(self, values: pl.Series, out: Out) -> None:
        """Fill ``(n, features)``, which holds zeros."""

    def notes(self, values: pl.Series) -> list[str]:
        """What a person should know about the values of rows that are not the training rows."""

    def action(self) -> str:
        """What is done, for people."""


def embedding_width(cardinality: int) -> int:
    """``min(50, round(1.6 · cardinality^0.56))``, at least 2: a rule of thumb from fastai.

    >>> embedding_width(18), embedding_width(1000), embedding_width(10**6)
    (8, 50, 50)
    """
    width: int = round(1.6 * float(cardinality) ** 0.56)
    return max(2, min(50, width))


@dataclass
class Numbers:
    """A numeric, boolean or ordinal column: the scaled value, and whether it was missing.

    A missing value becomes `fill`, the median of training. A second feature says where values
    were missing, if any were in training; otherwise there was nothing to learn it from, and a value
    missing later is only filled. A column of one value and missing ones is the second feature
    alone.

    Attributes:
        kind: booleans count as 0 and 1 and are not scaled; an ordinal value counts as its place in
            `order`.
        varies: there is more than one value.
        indicator: values were missing in training.
    """

    column: str
    kind: str
    scaler: Scaler
    fill: float
    varies: bool
    indicator: bool
    order: list[str]

    @classmethod
    def fit(
        cls, series: pl.Series, kind: str, form: str, order: list[str] | None = None
    ) -> Numbers:
        new = cls(series.name, kind, Scaler("none"), 0.0, True, False, order or [])
        values = new.read(series)
        if kind == "ordinal":
            bad = values.is_null() & as_text(series).is_not_null()
            if bad.any():
                refuse(
                    series,
                    bad,
                    "that the given order lacks",
                    f"The order is {', '.join(map(repr, new.order))}; add what is missing in it.",
                )
        present = values.drop_nulls()
        array = present.to_numpy()
        middle = present.median()
        assert isinstance(middle, float)
        new.fill = middle if np.isfinite(middle) else float(np.sort(array)[len(array) // 2])
        if kind == "boolean":
            new.fill = float(middle >= 0.5)
        else:
            new.scaler = Scaler.fit(array, form)
        new.varies = bool(array.min() < array.max())
        new.indicator = len(present) < len(values)
        return new

    def read(self, series: pl.Series) -> pl.Series:
        import polars as pl

        if self.kind == "boolean":
            return as_booleans(series).cast(pl.Float64)
        if self.kind == "ordinal":
            return as_text(series).replace_strict(
                self.order, list(range(len(self.order))), default=None, return_dtype=pl.Float64
            )
        return as_numbers(series)

    def names(self) -> list[str]:
        return [self.column] * self.varies + [f"{self.column} is missing"] * self.indicator

    def embedding(self) -> None:
        return None

    def write(self, values: pl.Series, out: Out) -> None:
        if self.varies:
            out[:, 0] = self.scaler.apply(values.fill_null(self.fill).to_numpy())
        if self.indicator:
            out[:, -1] = values.is_null().to_numpy()

    def notes(self, values: pl.Series) -> list[str]:
        notes = []
        absent = values.null_count()
        if absent and not self.indicator:
            notes.append(
                f"{self.column}: {_rows(absent)} without a value, where training had none; taken "
                f"as {self.shown_fill()}"
                + (" (values outside the order among them)" if self.kind == "ordinal" else "")
            )
        if self.kind == "numeric" and self.varies:
            z = self.scaler.exact(values.drop_nulls().to_numpy())
            far = int((np.abs(z) > self.scaler.limit).sum())
            if far:
                notes.append(
                    f"{self.column}: {_rows(far)} more than {self.scaler.limit:g} deviations from "
                    "the training rows; taken as that far"
                )
        return notes

    def shown_fill(self) -> str:
        if self.kind == "ordinal":
            return f"the median {self.order[round(self.fill)]!r}"
        if self.kind == "boolean":
            return f"the more frequent {'yes' if self.fill else 'no'}"
        return f"the median {self.fill:g}"

    def action(self) -> str:
        way = {
            "standard": "standardised",
            "robust": "scaled by median and quartiles",
            "quantile": "to normal scores",
            "none": "as it is",
        }[self.scaler.form]
        if self.kind == "boolean":
            way = "0 or 1"
        elif self.kind == "ordinal":
            way = f"place in an order of {len(self.order)}, {way}"
        if not self.varies:
            return "0 or 1: whether missing"
        return way + (f"; missing: {self.shown_fill()} and a 0/1 column" if self.indicator else "")

    def validate(self) -> None:
        if self.kind not in ("numeric", "boolean", "ordinal"):
            raise ValueError(f"kind {self.kind!r} is not one of numbers")
        if (self.kind == "ordinal") != bool(self.order) or len(set(self.order)) < len(self.order):
            raise ValueError("the order does not belong to the kind, or names a value twice")
        if not self.varies and not self.indicator:
            raise ValueError("no feature is left of it")
        if self.kind == "ordinal" and not 0 <= self.fill < len(self.order):
            raise ValueError("the median is outside the order")


@dataclass
class Categories:
    """A categorical column: one 0/1 feature per category, or a code to be embedded.

    Categories of fewer than `rare` training rows share one place, which those not seen in training
    get too; missing values have a place of their own if training had any, and that of the rare
    ones otherwise. As 0/1 features, that shared place is there only if training had rare
    categories; without it, a row of an unseen category is 0 in all features. As a code it is 0.

    Attributes:
        merged: how many categories are rare.
        known_rare: their names, to tell them from new ones; none if there are over 1000.
    """

    column: str
    kind: str
    categories: list[str]
    merged: int
    known_rare: list[str]
    rare: int
    missing: bool
    embedded: bool

    @classmethod
    def fit(cls, series: pl.Series, rare: int, one_hot_up_to: int) -> Categories:
        text = as_text(series)
        counts = text.drop_nulls().value_counts(name="count")
        kept = counts.filter(counts["count"] >= rare)[series.name].sort().to_list()
        few = counts.filter(counts["count"] < rare)[series.name].sort()
        named = few.to_list() if len(few) <= _NAMED else []
        missing, embedded = text.null_count() > 0, len(kept) > one_hot_up_to
        return cls(series.name, "categorical", kept, len(few), named, rare, missing, embedded)

    def read(self, series: pl.Series) -> pl.Series:
        return as_text(series)

    def codes(self, text: pl.Series) -> npt.NDArray[np.intp]:
        """0 for rare and unseen, k for the k-th category, after them one for missing."""
        import polars as pl

        n = len(self.categories)
        codes = text.replace_strict(
            self.categories, list(range(1, n + 1)), default=0, return_dtype=pl.Int64
        ).fill_null(0)
        array: npt.NDArray[np.intp] = codes.to_numpy()
        return np.where(text.is_null().to_numpy(), n + 1, array) if self.missing else array

    def names(self) -> list[str]:
        if self.embedded:
            return [self.column]
        ends = ["(rare)"] * (self.merged > 0) + ["(missing)"] * self.missing
        return [f"{self.column}={value}" for value in [*self.categories, *ends]]

    def embedding(self) -> tuple[int, int] | None:
        if not self.embedded:
            return None
        cardinality = 1 + len(self.categories) + self.missing
        return cardinality, embedding_width(cardinality)

    def write(self, values: pl.Series, out: Out) -> None:
        codes = self.codes(values)
        if self.embedded:
            out[:, 0] = codes
            return
        n = len(self.categories)
        place = np.arange(-1, n + 1)  # of code k in the features
        place[0] = n if self.merged else -1
        place[-1] = n + (self.merged > 0)
        where = place[codes]
        rows = np.flatnonzero(where >= 0)
        out[rows, where[rows]] = 1.0

    def notes(self, values: pl.Series) -> list[str]:
        notes = []
        absent = values.null_count()
        if absent and not self.missing:
            notes.append(
                f"{self.column}: {_rows(absent)} without a value, where training had none; "
                "counted as a rare category"
            )
        new = values.filter((self.codes(values) == 0) & values.is_not_null().to_numpy())
        if self.known_rare and len(new):
            new = new.filter(~new.is_in(self.known_rare))
        if len(new):
            some = ", ".join(repr(v) for v in new.unique(maintain_order=True).head(3))
            more = ", …" if new.n_unique() > 3 else ""
            what = "rare or " if self.merged > len(self.known_rare) else ""
            notes.append(
                f"{self.column}: {_rows(len(new))} of categories {what}not seen in training "
                f"({new.n_unique()}: {some}{more}); counted as a rare category"
            )
        return notes

    def action(self) -> str:
        size = self.embedding()
        n = len(self.categories)
        what = f"{n} {'category' if n == 1 else 'categories'}"
        if self.merged:
            what += f" and {self.merged} of under {self.rare} rows as one"
        if self.missing:
            what += ", missing as one"
        return what + (
            f": embedding of width {size[1]}" if size else f": {len(self.names())} 0/1 columns"
        )

    def validate(self) -> None:
        if self.kind != "categorical" or not self.categories:
            raise ValueError("it has no categories")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category is there twice")
        if self.merged < len(self.known_rare) or self.rare < 1:
            raise ValueError("its counts do not belong together")


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"
