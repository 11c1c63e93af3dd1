"""Free text as a small bag of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chainrule.data.preprocess.scaling import Scaler
from chainrule.data.preprocess.values import as_text

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Words"]

_WORDS = 64
_BLOCK = 65536  # rows whose words are held at a time


@dataclass
class Words:
    """A column of free text: one 0/1 feature for each of its commonest words, and its length.

    The words are the up to 64 that occur in the most training rows, but in no more than half of
    them and in at least `rare`: those in nearly every row say nothing, and those in very few cannot
    be learnt from. Case does not count; a word is a run of letters and digits. The length is the
    number of words, as log(1 + n), standardised. A missing text is an empty one.
    """

    column: str
    kind: str
    words: list[str]
    length: Scaler

    @classmethod
    def fit(cls, series: pl.Series, rare: int) -> Words:
        import polars as pl

        new = cls(series.name, "text", [], Scaler("none"))
        counts: pl.DataFrame | None = None
        lengths = np.empty(len(series))
        for start in range(0, len(series), _BLOCK):
            block = new.read(series.slice(start, _BLOCK))
            tokens = _tokens(block)
            lengths[start : start + len(block)] = _lengths(tokens, len(block))
            found = tokens.unique().group_by("word").agg(pl.len().cast(pl.Int64).alias("rows"))
            if counts is not None:
                found = pl.concat([counts, found]).group_by("word").agg(pl.col("rows").sum())
            counts = found
        assert counts is not None
        common = counts.filter(pl.col("rows").is_between(rare, len(series) // 2))
        common = common.sort(["rows", "word"], descending=[True, False]).head(_WORDS)
        new.words = sorted(common["word"].to_list())
        new.length = Scaler.fit(np.log1p(lengths), "standard")
        return new

    def read(self, series: pl.Series) -> pl.Series:
        return as_text(series)

    def names(self) -> list[str]:
        return [f"{self.column} has {word!r}" for word in self.words] + [f"{self.column} length"]

    def embedding(self) -> None:
        return None

    def write(self, values: pl.Series, out: npt.NDArray[np.float32]) -> None:
        import polars as pl

        tokens = _tokens(values)
        out[:, -1] = self.length.apply(np.log1p(_lengths(tokens, len(values))))
        known = tokens.with_columns(
            tokens["word"].replace_strict(
                self.words, list(range(len(self.words))), default=None, return_dtype=pl.Int64
            )
        ).drop_nulls()
        out[known["row"].to_numpy(), known["word"].to_numpy()] = 1.0

    def notes(self, values: pl.Series) -> list[str]:
        return []

    def action(self) -> str:
        return f"{len(self.words)} common words as 0/1 columns, and the length"

    def validate(self) -> None:
        if self.kind != "text" or len(set(self.words)) < len(self.words):
            raise ValueError("a word is there twice")


def _tokens(text: pl.Series) -> pl.DataFrame:
    """Row and word, in lower case, of every word."""
    import polars as pl

    lists = text.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    frame = pl.DataFrame({"row": pl.int_range(len(text), eager=True), "word": lists})
    return frame.explode("word").drop_nulls()


def _lengths(tokens: pl.DataFrame, rows: int) -> npt.NDArray[np.float64]:
    return np.bincount(tokens["row"].to_numpy(), minlength=rows).astype(np.float64)
