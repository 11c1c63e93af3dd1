"""Any table to the float32 matrix a network takes, the same way in training and ever after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, FileFormatError, nearest
from chainrule.data.preprocess.encoders import Categories, Encoder, Numbers
from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.kinds import (
    ASKABLE,
    Column,
    canonical,
    duplicates,
    identifies,
    named_identifier,
    recognise,
)
from chainrule.data.preprocess.leaks import leak
from chainrule.data.preprocess.moments import Moments
from chainrule.data.preprocess.scaling import SCALINGS
from chainrule.data.preprocess.stored import from_plain, to_plain
from chainrule.data.preprocess.values import text_of
from chainrule.data.preprocess.words import Words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TablePreprocessor", "describe_columns"]

_ENCODERS: dict[str, Any] = {
    **dict.fromkeys(["numeric", "boolean", "ordinal"], Numbers),
    "categorical": Categories,
    "datetime": Moments,
    "text": Words,
}
_BLOCK = 1 << 22  # numbers of the matrix filled at a time, so that they stay in cache
_VERSION = 1


@dataclass
class _Options:
    scaling: str
    kinds: dict[str, str]
    drop: list[str]
    rare: int | None
    one_hot_up_to: int
    ordinal: dict[str, list[str]]

    def validate(self) -> None:
        if self.scaling not in SCALINGS:
            raise DataError(
                f"scaling={self.scaling!r} is unknown; {nearest(self.scaling, SCALINGS)}"
            )
        for name, kind in self.kinds.items():
            if kind not in ASKABLE:
                raise DataError(
                    f"column {name!r} cannot be of kind {kind!r}; {nearest(kind, ASKABLE)}"
                )
        if self.rare is not None and (not _is_count(self.rare) or self.rare < 1):
            raise DataError(f"rare={self.rare!r}; expected a number of rows, at least 1, or None.")
        if not _is_count(self.one_hot_up_to) or self.one_hot_up_to < 0:
            raise DataError(f"one_hot_up_to={self.one_hot_up_to!r}; expected 0 or more categories.")
        for name, order in self.ordinal.items():
            if len(set(order)) < len(order) or len(order) < 2:
                raise DataError(
                    f"the order of column {name!r} must list two or more different values, got "
                    f"{order}."
                )
            if self.kinds.get(name, "ordinal") != "ordinal":
                raise DataError(
                    f"column {name!r} is given an order and the kind {self.kinds[name]!r}; leave "
                    "one of them out."
                )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class TablePreprocessor:
    """Columns of a table recognised, cleaned, scaled and encoded; learnt from training rows only.

    What each kind of column becomes:

    - **numeric**: scaled; a missing value is the median, and a 0/1 feature says so if training
      had missing values.
    - **boolean** (also yes/no and the like): 0 or 1, missing as for numeric.
    - **ordinal**: the place in the order, scaled.
    - **categorical**: a 0/1 feature per category up to `one_hot_up_to` of them; beyond, a code
      for an embedding of width ``min(50, round(1.6 · cardinality^0.56))``. Rare categories share
      one place, unseen ones get it too; missing is a category of its own.
    - **datetime**: time since the training median, scaled; sine and cosine of year, week and day
      where they vary.
    - **text** (long and mostly different): the commonest 64 words as 0/1 features, and the length.
    - **constant**, **duplicate** and **identifier** columns are left out, with a word.

    Args:
        scaling: of numbers, ``"standard"`` (mean and deviation), ``"robust"`` (median and
            interquartile range, for heavy tails), ``"quantile"`` (ranks as normal scores, for any
            shape) or ``"none"``.
        kinds: the kind of some columns, where what would be recognised is wrong; also
            ``"identifier"`` to leave one out but keep it for the output.
        drop: columns to leave out.
        rare: a category with fewer training rows is rare. None for 1 row in 200, at least 2 and at
            most 10: enough rows to learn something, and no more than a small table can spare.
        one_hot_up_to: the most categories that get a feature each.
        ordinal: for columns with an order, their values from the lowest to the highest.

    Attributes:
        columns: a `Column` for each column of the table.
        warnings: what a person should look at: identifiers, leaks of the target.
        feature_names, sources: the name of each output feature, and the column it comes from.
        embeddings: cardinality and width for each of the last features, which hold codes.
        inputs: the columns that `transform` needs.
        identifiers: the columns left out because they identify rows.

    Raises:
        DataError: for options that are not there, at once.

    >>> import polars as pl
    >>> table = pl.DataFrame({"age": [31, None, 58], "smokes": ["no", "yes", "no"]})
    >>> prepare = TablePreprocessor().fit(table)
    >>> prepare.feature_names
    ['age', 'age is missing', 'smokes']
    >>> prepare.transform(table)
    array([[-1.,  0.,  0.],
           [ 0.,  1.,  1.],
           [ 1.,  0.,  0.]], dtype=float32)
    """

    def __init__(
        self,
        *,
        scaling: str = "standard",
        kinds: Mapping[str, str] | None = None,
        drop: Iterable[str] = (),
        rare: int | None = None,
        one_hot_up_to: int = 16,
        ordinal: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        orders = {k: [text_of(v) for v in order] for k, order in (ordinal or {}).items()}
        drop = [drop] if isinstance(drop, str) else list(drop)
        self._options = _Options(scaling, dict(kinds or {}), drop, rare, one_hot_up_to, orders)
        self._options.validate()
        self.columns: list[Column] = []
        self.warnings: list[str] = []
        self._encoders: list[Encoder] = []
        self._arrange()

    # -- fitting ------------------------------------------------------------------------------

    def fit(self, frame: Any, target: Any = None) -> TablePreprocessor:
        """Learn from training rows.

        Args:
            frame: a polars frame, or what `to_frame` makes one of (pandas, a dict, a 2-D array).
                It is not copied, nor changed.
            target: of the same rows, ``(n,)`` or ``(n, k)``; only to warn about columns that give
                it away. None for no such warnings.

        Raises:
            DataError: for no rows; for text among numbers and for ±inf, naming column and rows; for
                options that name columns which are not there; if no column is left to learn from.

        >>> TablePreprocessor().fit({"size": [1.0, 2.0, float("inf")]})
        Traceback (most recent call last):
        ...
        chainrule.array.errors.DataError: column 'size' has 1 value that is infinite (row 2: inf)...
        """
        self._learn(to_frame(frame), target)
        if not self._encoders:
            raise DataError(
                "no column is left to learn from: "
                + ("; ".join(f"{c.name!r} {c.action}" for c in self.columns) or "there is none")
                + ". Keep one by naming its kind, such as kinds={'x': 'numeric'}."
            )
        return self

    def _learn(self, frame: pl.DataFrame, target: Any) -> None:
        self._check_options(frame)
        if not len(frame):
            raise DataError("the table has no rows; expected at least one to learn from.")
        options = self._options
        rare = options.rare or max(2, min(10, round(len(frame) / 200)))
        names = [name for name in frame.columns if name not in options.drop]
        same = duplicates([frame[name] for name in names if name not in options.kinds])
        columns: list[Column] = []
        warnings: list[str] = []
        encoders: list[Encoder] = []
        for name in names:
            series = frame[name]
            kind, missing, unique, example, why = self._look(series, same, len(names))
            note, encoder = "", None
            if not why:
                encoder = self._encoder(series, kind, rare)
                if isinstance(encoder, Categories) and not encoder.categories:
                    why, encoder = f"each category has under {rare} rows", None
            if kind == "identifier":
                asked = options.kinds.get(name) == "identifier"
                if not asked:
                    warnings.append(
                        f"{name!r} identifies rows ({why}) and is left out; if it says something "
                        f"about them, name its kind, such as kinds={{{name!r}: 'categorical'}}"
                    )
            elif encoder and kind == "numeric" and unique < len(series) and named_identifier(name):
                note = f"a number used as a name? then kinds={{{name!r}: 'categorical'}}"
            if encoder and target is not None:
                how = leak(series, unique, target)
                if how:
                    note = f"gives the target away: {how}"
                    warnings.append(
                        f"{name!r} may give the target away: {how}. Will it be known when the "
                        f"model is used? If not, drop it"
                    )
            action = encoder.action() if encoder else f"left out: {why}"
            columns.append(Column(name, kind, missing, unique, example, action, note))
            if encoder:
                encoders.append(encoder)
        self.columns, self.warnings, self._encoders = columns, warnings, encoders
        self._arrange()

    def _look(
        self, series: pl.Series, same: Mapping[str, str], columns: int
    ) -> tuple[str, int, int, str, str]:
        """Kind, missing, unique, example, and why the column is left out ("" if it is not)."""
        options, name = self._options, series.name
        asked = options.kinds.get(name)
        empty = series.null_count() == len(series)
        if empty:
            return "constant", len(series), 0, "", "it has no values"
        kind = recognise(series, asked, name in options.ordinal)
        values = canonical(series, kind if kind != "identifier" else "")
        missing = values.null_count()
        unique = values.n_unique() - (missing > 0)
        first = values.is_not_null().arg_true().head(1)
        example = str(series[int(first[0])]) if len(first) else ""
        example = example if len(example) <= 40 else example[:39] + "…"
        facts = (missing, unique, example)
        if not unique:
            return "constant", *facts, "it has no values"
        if unique == 1 and not missing:
            return "constant", *facts, f"it is always {example}"
        if asked == "identifier":
            return "identifier", *facts, "as asked"
        if name in same:
            return "duplicate", *facts, f"it is the same as {same[name]!r}"
        if asked is None and columns > 1:
            why = identifies(series, kind, unique, len(series) - missing)
            if why:
                return "identifier", *facts, why
        return kind, *facts, ""

    def _encoder(self, series: pl.Series, kind: str, rare: int) -> Encoder:
        options = self._options
        if kind == "categorical":
            return Categories.fit(series, rare, options.one_hot_up_to)
        if kind == "datetime":
            return Moments.fit(series, options.scaling)
        if kind == "text":
            return Words.fit(series, rare)
        order = options.ordinal.get(series.name)
        if kind == "ordinal" and order is None:
            if not hasattr(series.dtype, "categories"):
                raise DataError(
                    f"column {series.name!r} is said to be ordinal; give its order too, "
                    f"ordinal={{{series.name!r}: ['low', 'middle', 'high']}}."
                )
            order = list(series.dtype.categories)
        return Numbers.fit(series, kind, options.scaling, order if kind == "ordinal" else None)

    def _check_options(self, frame: pl.DataFrame) -> None:
        options = self._options
        for what, names in (
            ("kinds", options.kinds),
            ("ordinal", options.ordinal),
            ("drop", options.drop),
        ):
            for name in names:
                if name not in frame.columns:
                    raise DataError(
                        f"{what} names column {name!r}, which the table does not have; "
                        f"{nearest(name, frame.columns)}"
                    )

    def _arrange(self) -> None:
        """Features in the order of the columns, the codes of embeddings after all others."""
        plain = [e for e in self._encoders if e.embedding() is None]
        coded = [e for e in self._encoders if e.embedding() is not None]
        self._encoders = [*plain, *coded]
        self.feature_names = [name for e in self._encoders for name in e.names()]
        self.sources = [e.column for e in self._encoders for _ in e.names()]
        self.embeddings = [size for e in coded if (size := e.embedding())]
        used = {e.column for e in self._encoders}
        self.inputs = [column.name for column in self.columns if column.name in used]
        self.identifiers = [c.name for c in self.columns if c.kind == "identifier"]

    @property
    def width(self) -> int:
        """The number of features, codes among them."""
        return len(self.feature_names)

    # -- use ----------------------------------------------------------------------------------

    def transform(self, frame: Any, name: str = "the table") -> npt.NDArray[np.float32]:
        """The features of each row, in the order of the rows; always finite.

        Args:
            frame: with the columns `inputs` in any order; others are ignored.
            name: what messages call it.

        Returns:
            ``(rows, width)`` in float32. The last ``len(embeddings)`` columns hold category codes
            as whole numbers.

        Raises:
            DataError: for a column that is missing, or holds values of another kind than in
                training; numbers and dates written as text are read.
        """
        table = self._columns_of(frame, name)
        out = np.zeros((len(table), self.width), np.float32)
        step = max(1, _BLOCK // max(1, self.width))
        for start in range(0, len(table), step):
            block, part = table.slice(start, step), out[start : start + step]
            first = 0
            for encoder in self._encoders:
                last = first + len(encoder.names())
                try:
                    values = encoder.read(block[encoder.column])
                except DataError:
                    encoder.read(table[encoder.column])  # names the rows of the whole table
                    raise
                encoder.write(values, part[:, first:last])
                first = last
        return out

    def fit_transform(self, frame: Any, target: Any = None) -> npt.NDArray[np.float32]:
        """`fit`, then `transform` of the same rows."""
        table = to_frame(frame)
        return self.fit(table, target).transform(table)

    def check(self, frame: Any, name: str = "the table") -> list[str]:
        """What a person should know before a fitted preparation meets other rows.

        Returns:
            Notes: categories not seen in training and values missing or far off where training
            had none, each counted; columns that are ignored.

        Raises:
            DataError: as `transform` does.

        >>> prepare = TablePreprocessor().fit({"size": ["S", "M"] * 3})
        >>> prepare.check({"size": ["S", "XL"], "colour": ["red", "red"]})
        ["size: 1 row of categories not seen in training (1: 'XL'); counted as a rare category",
         "column 'colour' is not used"]
        """
        table = self._columns_of(frame, name)
        notes = [note for e in self._encoders for note in e.notes(e.read(table[e.column]))]
        known = {*self._options.drop, *(column.name for column in self.columns)}
        extra = [repr(column) for column in table.columns if column not in known]
        if extra:
            more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
            what = "columns" if len(extra) > 1 else "column"
            state = "are" if len(extra) > 1 else "is"
            notes.append(f"{what} {', '.join(extra[:5])}{more} {state} not used")
        return notes

    def _columns_of(self, frame: Any, name: str) -> pl.DataFrame:
        if not self._encoders:
            raise DataError("the preparation is not fitted; call fit with training rows first.")
        table = to_frame(frame, name)
        absent = [column for column in self.inputs if column not in table.columns]
        if absent:
            spare = [column for column in table.columns if column not in self.inputs]
            hint = nearest(absent[0], spare) if spare else "it has no other columns"
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            raise DataError(
                f"{name} lacks {'columns' if len(absent) > 1 else 'column'} "
                f"{', '.join(map(repr, absent[:5]))}{more}, which the model was trained on; "
                f"{hint}"
            )
        return table

    # -- files --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All of a fitted preparation, as plain JSON; numbers are kept exactly."""
        return {
            "version": _VERSION,
            "options": to_plain(self._options),
            "columns": to_plain(self.columns),
            "warnings": list(self.warnings),
            "encoders": to_plain(self._encoders),
        }

    @classmethod
    def from_json(cls, value: Any) -> TablePreprocessor:
        """The preparation that `to_json` wrote; it transforms to the same bits.

        Raises:
            FileFormatError: for anything else, naming the place.
        """
        what = "the preparation in the file"
        names = {"version", "options", "columns", "warnings", "encoders"}
        if not isinstance(value, dict) or set(value) != names:
            raise FileFormatError(f"{what} lacks fields, or is none; expected {sorted(names)}")
        if value["version"] != _VERSION:
            raise FileFormatError(
                f"{what} is of version {value['version']!r}; this chainrule reads {_VERSION}"
            )
        for field in ("columns", "warnings", "encoders"):
            if not isinstance(value[field], list):
                raise FileFormatError(f"{what}: {field} is no list")
        made = cls()
        made._options = from_plain(_Options, value["options"], f"{what}: options")
        made.columns = [from_plain(Column, c, f"{what}: column") for c in value["columns"]]
        if not all(isinstance(text, str) for text in value["warnings"]):
            raise FileFormatError(f"{what}: a warning is no text")
        made.warnings = list(value["warnings"])
        for k, plain in enumerate(value["encoders"]):
            kind = plain.get("kind") if isinstance(plain, dict) else None
            if not isinstance(kind, str) or kind not in _ENCODERS:
                raise FileFormatError(f"{what}: encoders[{k}] is of kind {kind!r}, which is none")
            made._encoders.append(from_plain(_ENCODERS[kind], plain, f"{what}: encoders[{k}]"))
        used = [encoder.column for encoder in made._encoders]
        if (
            not used
            or len(set(used)) < len(used)
            or not set(used) <= {c.name for c in made.columns}
        ):
            raise FileFormatError(f"{what}: columns and encoders do not belong together")
        made._arrange()
        return made


def describe_columns(
    frame: Any,
    *,
    exclude: Iterable[str] = (),
    kinds: Mapping[str, str] | None = None,
    **options: Any,
) -> list[Column]:
    """What each column of a table is and what a `TablePreprocessor` would do with it.

    Run over a whole table before it is split, it also finds what `TablePreprocessor.fit` refuses,
    with row numbers of the table.

    Args:
        frame: as for `TablePreprocessor.fit`.
        exclude: columns not to look at, such as the target.
        kinds: the kind of some columns.
        options: the other options of `TablePreprocessor`, such as ``ordinal``.

    >>> for column in describe_columns({"id": [7, 8, 9], "x": [0.5, None, 2.5]}):
    ...     print(column.name, column.kind, column.missing, column.action, sep=" | ")
    id | identifier | 0 | left out: each row has its own, and the name says so
    x | numeric | 1 | standardised; missing: the median 1.5 and a 0/1 column
    """
    prepare = TablePreprocessor(kinds=kinds, drop=exclude, **options)
    prepare._learn(to_frame(frame), None)
    return prepare.columns
