"""Rows of a table as the inputs of an exported file, and rows made up from a preparation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.random import Stream
from chainrule.data.preprocess import TablePreprocessor
from chainrule.data.preprocess.encoders import Categories, Numbers
from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.moments import Moments
from chainrule.data.preprocess.values import as_moments, as_numbers, as_text
from chainrule.data.preprocess.words import Words, _tokens
from chainrule.interop.onnx.columns import NAT, columns_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["feeds", "invented"]

Array = npt.NDArray[Any]


def feeds(preprocessor: TablePreprocessor, frame: Any) -> dict[str, Array]:
    """Rows of a table as the inputs that a file made by `export` takes.

    Arguments:
        preprocessor: the preparation of the model.
        frame: with the columns ``preprocessor.inputs``, as `TablePreprocessor.transform` takes it.

    Returns:
        For each column an array, to be given to ``InferenceSession.run``. docs/export.md says how
        to make them without chainrule.

    Raises:
        DataError: for values of another kind than in training.

    >>> import chainrule as cr
    >>> table = {"size": [1.5, None, 3.0], "kind": ["a", "b", "a"]}
    >>> prepare = cr.data.TablePreprocessor().fit(table)
    >>> cr.onnx.feeds(prepare, table)
    {'size': array([1.5, nan, 3. ]), 'kind': array(['a', 'b', 'a'], dtype=object)}
    """
    table = to_frame(frame)
    return {c.name: _feed(c.encoder, table[c.name]) for c in columns_of(preprocessor)}


def _feed(encoder: Any, series: pl.Series) -> Array:
    if isinstance(encoder, Words):
        return _words(as_text(series))
    if isinstance(encoder, Moments):
        return as_moments(series, encoder.family, encoder.zone).fill_null(NAT).to_numpy()
    if isinstance(encoder, Numbers) and encoder.kind == "numeric":
        return as_numbers(series).fill_null(float("nan")).to_numpy()
    text = as_text(series).fill_null("")
    if isinstance(encoder, Numbers) and encoder.kind == "boolean":
        text = text.str.strip_chars()
    return text.to_numpy().astype(object)


def _words(text: pl.Series) -> Array:
    """``(rows, words)``: the words of each row, then empty ones."""
    tokens = _tokens(text)
    rows, words = tokens["row"].to_numpy(), tokens["word"].to_list()
    counts = np.bincount(rows, minlength=len(text))
    out = np.full((len(text), max(1, int(counts.max(initial=0)))), "", object)
    first = np.cumsum(counts) - counts
    for k, (row, word) in enumerate(zip(rows, words, strict=True)):
        out[row, k - first[row]] = word
    return out


def invented(preprocessor: TablePreprocessor, rows: int) -> pl.DataFrame:
    """Rows as training had them, about, and with what is missing, rare, new and far off."""
    import polars as pl

    stream = Stream(0)
    series = []
    for c in columns_of(preprocessor):
        u = stream.uniform(f"export/{c.name}", (rows,), np.float64)
        series.append(pl.Series(c.name, _values(c.encoder, u, rows)))
    return pl.DataFrame(series)


def _values(e: Any, u: Array, rows: int) -> Any:
    """Values for a column from uniform numbers; the first one is missing."""
    if isinstance(e, Categories):
        return _chosen([*e.categories, *e.known_rare[:2], "something new"], u)
    if isinstance(e, Words):
        words = [*e.words, "unheard", "of"]
        some = [
            " ".join(words[(k * 7 + j) % len(words)] for j in range(k % 9)) for k in range(rows)
        ]
        return [None, *some[1:]]
    if isinstance(e, Moments):
        s = _spread(e.elapsed, u)
        if e.family == "times":
            micros = (u * 86_400e6).astype(np.int64)
            return _moment_series(micros, "times")
        return _moment_series((s * 1e6).astype(np.int64), e.family, e.zone)
    if e.kind == "boolean":
        return _chosen(["yes", "no"], u)
    if e.kind == "ordinal":
        return _chosen(e.order, u)
    return [None, *_spread(e, u)[1:].tolist()]


def _chosen(values: list[str], u: Array) -> list[str | None]:
    picked = [values[int(v * len(values))] for v in u]
    return [None, *picked[1:]]


def _spread(e: Numbers, u: Array) -> Array:
    """Numbers around those of training, the last one far away."""
    s = e.scaler
    if s.form == "quantile":
        z = np.interp(u, np.linspace(0, 1, len(s.knots)), s.knots)
        z[-1] = s.knots[-1] + 10.0 * (abs(s.knots[-1]) + 1.0)
        return np.asarray(z * s.unit)
    z = np.where(u < 0.5, -1.0, 1.0) * np.sqrt(-2.0 * np.log(np.abs(2 * u - 1) * 0.99 + 0.01))
    z[-1] = 50.0
    return np.asarray((z * s.scale + s.centre) * s.unit)


def _moment_series(micros: Array, family: str, zone: str = "") -> Any:
    import polars as pl

    if family == "dates":
        low, high = -62_135_596_800_000_000, 253_402_300_799_999_999
        series = pl.Series(np.clip(micros, low, high)).cast(pl.Datetime("us"))
        if zone:
            series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    elif family == "durations":
        series = pl.Series(micros).cast(pl.Duration("us"))
    else:
        series = pl.Series(micros * 1000).cast(pl.Time)
    return pl.concat([series.head(1).clear().extend_constant(None, 1), series.slice(1)])
