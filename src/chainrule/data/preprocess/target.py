"""What a table is to predict: the task it sets, targets as numbers, and predictions back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, FileFormatError, nearest
from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.scaling import Scaler
from chainrule.data.preprocess.stored import from_plain, to_plain
from chainrule.data.preprocess.tasks import INTEGERS, TASKS, decide
from chainrule.data.preprocess.values import (
    as_booleans,
    as_numbers,
    as_text,
    family_of,
    filled,
    refuse,
    text_of,
)
from chainrule.ops import sigmoid, softmax

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Target"]

_LOSSES = {
    "binary": "cross_entropy",
    "multiclass": "cross_entropy",
    "multilabel": "binary_cross_entropy_with_logits",
    "regression": "mse",
}


@dataclass
class _Stored:
    task: str
    why: str
    names: list[str]
    classes: list[bool] | list[int] | list[str] | None
    dtypes: list[str]
    scalers: list[Scaler]

    def validate(self) -> None:
        if self.task not in _LOSSES or not self.names or len(self.dtypes) != len(self.names):
            raise ValueError("task, names and types do not belong together")
        if len(self.scalers) != (len(self.names) if self.task == "regression" else 0):
            raise ValueError("a regression has one scaler for each target")
        if any(scaler.form != "standard" for scaler in self.scalers):
            raise ValueError("targets are standardised")
        if (self.classes is None) != (self.task == "regression"):
            raise ValueError("classes and task do not belong together")
        if self.classes is not None and (
            len(set(self.classes)) < 2 or len(set(self.classes)) < len(self.classes)
        ):
            raise ValueError("two or more different classes are needed")
        if self.task in ("binary", "multilabel") and len(self.classes or ()) != 2:
            raise ValueError("binary and multilabel tasks have two classes")
        if self.task in ("binary", "multiclass") and len(self.names) != 1:
            raise ValueError("there is one target column for classes")
        if not set(self.dtypes) <= _DTYPES:
            raise ValueError("a type is unknown")


_DTYPES = {"Boolean", "String", "Float64"} | INTEGERS


class Target:
    """One or several target columns: the task, and the way to what a loss takes and back.

    The task is decided from the values (`fit` with ``task="auto"``) and `why` says from which:

    - text and booleans are classes; whole numbers are classes if there are two, or at most 20 with
      5 rows each on average; other numbers are values (regression);
    - several columns of 0 and 1 are labels of which a row may have several (multilabel); several
      of numbers are several outputs of one regression.

    Attributes:
        task: "binary" (two classes, two logits), "multiclass", "multilabel" or "regression".
        why: the reason, a clause to be said aloud.
        names: of the target columns.
        classes: sorted, as in the data: integers, text or booleans; of each column for multilabel;
            None for regression.
        outputs: how many numbers the network gives for a row.
        loss: what `Trainer` calls the loss.

    >>> target = Target().fit({"kind": ["cat", "dog", "dog", "cat"]})
    >>> target.task, target.why, target.encode({"kind": ["dog", "cat"]})
    ('binary', "'kind' holds text with 2 values", array([1, 0]))
    """

    task: str
    why: str
    names: list[str]
    classes: list[Any] | None

    def __init__(self) -> None:
        self.names = []
        self.classes = None
        self._dtypes: list[str] = []
        self._scalers: list[Scaler] = []

    def fit(self, frame: Any, task: str = "auto") -> Target:
        """Decide the task; learn classes, or mean and deviation, from rows that have all targets.

        Args:
            frame: the target columns, and no others: a polars frame or series, or what `to_frame`
                makes one of. A single column without a name is called y.
            task: "auto", or what the person says it is: "classification", "regression", "binary",
                "multiclass" or "multilabel".

        Raises:
            DataError: for no row with a target, a single class or value, a class with one row,
                classes nearly as many as rows, text or ±inf among numbers (which rows), columns
                that do not go together, a task that does not fit.
        """
        if task not in TASKS:
            raise DataError(f"task={task!r} is unknown; {nearest(task, TASKS)}")
        table = to_frame(frame, "the target", "y")
        decision = decide(table, task)
        self.task, self.why, self.names = decision.task, decision.why, list(table.columns)
        self.classes = decision.classes
        self._dtypes = decision.dtypes
        self._scalers = [Scaler.fit(values, "standard") for values in decision.values]
        return self

    def present(self, frame: Any) -> npt.NDArray[np.bool_]:
        """``(n,)``: the rows in which no target is missing (null, NaN or empty text).

        >>> Target().present({"y": [1.5, None, 2.0]})
        array([ True, False,  True])
        """
        table = to_frame(frame, "the target", "y")
        names = [name for name in self.names if name in table.columns] or table.columns
        mask = np.ones(len(table), np.bool_)
        for name in names:
            mask &= filled(table[name])
        return mask

    @property
    def outputs(self) -> int:
        """Numbers that the network gives for a row: one per class, label or value."""
        if self.task in ("binary", "multiclass"):
            assert self.classes is not None
            return len(self.classes)
        return len(self.names)

    @property
    def loss(self) -> str:
        """The loss of the task, by the name that `Trainer` knows."""
        return _LOSSES[self.task]

    # -- to numbers ---------------------------------------------------------------------------

    def encode(self, frame: Any, name: str = "the table") -> npt.NDArray[Any]:
        """What the loss takes, one row for each of the frame.

        Returns:
            Class numbers ``(n,)`` int64 for binary and multiclass; 0 and 1 ``(n, k)`` float32 for
            multilabel; standardised values ``(n, k)`` float32 for regression.

        Raises:
            DataError: for a column that is not there, a missing value (leave such rows out with
                `present`), a class not seen in training, text or ±inf among numbers: which rows.
        """
        table = to_frame(frame, name, self.names[0] if len(self.names) == 1 else "y")
        for column in self.names:
            if column not in table.columns:
                raise DataError(
                    f"{name} lacks the target {column!r}; {nearest(column, table.columns)}"
                )
            absent = ~filled(table[column])
            if absent.any():
                import polars as pl

                refuse(
                    table[column],
                    pl.Series(absent),
                    "missing",
                    "A target is needed here; leave these rows out.",
                )
        if self.task == "regression":
            return self._standardised(table)
        if self.task == "multilabel":
            labels = [as_booleans(table[column]).to_numpy() for column in self.names]
            return np.stack(labels, axis=1).astype(np.float32)
        return self._codes(table[self.names[0]])

    def _codes(self, series: pl.Series) -> npt.NDArray[np.int64]:
        import polars as pl

        assert self.classes is not None
        if isinstance(self.classes[0], bool) and family_of(series) == "text":
            series = as_booleans(series)
        keys = [text_of(value) for value in self.classes]
        codes = as_text(series).replace_strict(
            keys, list(range(len(keys))), default=None, return_dtype=pl.Int64
        )
        unknown = codes.is_null()
        if unknown.any():
            value = as_text(series).filter(unknown)[0]
            hint = nearest(value, keys)
            shown = f"{len(keys)} classes: {', '.join(keys[:10])}" + (", …" * (len(keys) > 10))
            refuse(
                series,
                unknown,
                "not known to the model",
                f"{hint.capitalize()} " if hint.startswith("did") else f"It knows {shown}.",
            )
        array: npt.NDArray[np.int64] = codes.to_numpy()
        return array

    def _standardised(self, table: pl.DataFrame) -> npt.NDArray[np.float32]:
        import polars as pl

        out = np.empty((len(table), len(self.names)), np.float32)
        for k, (column, scaler) in enumerate(zip(self.names, self._scalers, strict=True)):
            fix = "Regression needs numbers; correct these, or leave the rows out."
            z = scaler.exact(as_numbers(table[column], fix).to_numpy())
            with np.errstate(over="ignore"):
                out[:, k] = z
            far = ~np.isfinite(out[:, k])
            if far.any():
                refuse(
                    table[column],
                    pl.Series(far),
                    "too far from the training rows for float32",
                    "Correct them, or leave these rows out.",
                )
        return out

    # -- and back -----------------------------------------------------------------------------

    def decode(self, scores: Any) -> pl.DataFrame:
        """Predictions from what the network gives, under the names of the targets.

        Args:
            scores: ``(n, outputs)``: logits, or standardised values.

        Returns:
            The class of the largest logit in the type of the data; whether a label's logit is over
            0; values on their own scale in float64.

        Raises:
            DataError: for scores of another shape or not finite, naming the row.

        >>> target = Target().fit({"price": [100.5, 200.5, 300.5]})
        >>> target.decode(target.encode({"price": [100.5]}))["price"].round(3).to_list()
        [100.5]
        """
        import polars as pl

        scores = self._scores(scores)
        if self.task == "regression":
            columns = []
            for k, (name, scaler) in enumerate(zip(self.names, self._scalers, strict=True)):
                values = scaler.undo(scores[:, k])
                if not np.isfinite(values).all():
                    raise DataError(
                        f"what the model gives for row {int((~np.isfinite(values)).argmax())} is "
                        f"beyond the range of numbers of {name!r}; the row is too far from the "
                        "training rows."
                    )
                columns.append(pl.Series(name, values))
            return pl.DataFrame(columns)
        assert self.classes is not None
        if self.task == "multilabel":
            return pl.DataFrame(
                [
                    pl.Series(name, scores[:, k] > 0).cast(_dtype(kind))
                    for k, (name, kind) in enumerate(zip(self.names, self._dtypes, strict=True))
                ]
            )
        known = pl.Series(self.names[0], self.classes, dtype=_dtype(self._dtypes[0]))
        return known.gather(scores.argmax(axis=1)).to_frame()

    def probabilities(self, scores: Any) -> pl.DataFrame:
        """The probability of each class, in float64.

        For binary and multiclass the softmax of the logits, one column ``name=class`` per class;
        a row adds up to 1. For multilabel the sigmoid of each, the probability of 1 (or True).

        Raises:
            DataError: for a regression, and as `decode` does.

        >>> target = Target().fit({"kind": ["cat", "dog"] * 2})
        >>> target.probabilities([[0.0, 0.0]]).to_dict(as_series=False)
        {'kind=cat': [0.5], 'kind=dog': [0.5]}
        """
        import polars as pl

        scores = self._scores(scores)
        if self.classes is None:
            raise DataError("a regression predicts values; it has no probabilities.")
        if self.task == "multilabel":
            p = sigmoid(scores)
            labels = [f"{name}={self.classes[1]}" for name in self.names]
        else:
            p = softmax(scores, axis=1)
            labels = [f"{self.names[0]}={value}" for value in self.classes]
        return pl.DataFrame([pl.Series(label, p[:, k]) for k, label in enumerate(labels)])

    def _scores(self, scores: Any) -> npt.NDArray[np.float64]:
        array = np.asarray(scores)
        if array.ndim != 2 or array.shape[1] != self.outputs or array.dtype.kind not in "biuf":
            raise DataError(
                f"scores have shape {array.shape}; expected (n, {self.outputs}) for this target."
            )
        bad = ~np.isfinite(array).all(axis=1)
        if bad.any():
            raise DataError(f"what the model gives for row {int(bad.argmax())} is not finite.")
        return array.astype(np.float64)

    # -- files --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All of a fitted target, as plain JSON; numbers are kept exactly."""
        stored = _Stored(self.task, self.why, self.names, self.classes, self._dtypes, self._scalers)
        plain: dict[str, Any] = to_plain(stored)
        return plain

    @classmethod
    def from_json(cls, value: Any) -> Target:
        """The target that `to_json` wrote.

        Raises:
            FileFormatError: for anything else, naming the place.
        """
        stored = from_plain(_Stored, value, "the target in the file")
        made = cls()
        made.task, made.why, made.names = stored.task, stored.why, stored.names
        made.classes, made._dtypes = stored.classes, stored.dtypes
        made._scalers = stored.scalers
        if made.classes is not None:
            if made.task == "multilabel":
                if made.classes not in ([False, True], [0, 1]) or "String" in made._dtypes:
                    raise FileFormatError("the target in the file: labels are 0 and 1")
            else:
                _check_types(made.classes, made._dtypes)
        return made


def _dtype(name: str) -> Any:
    import polars as pl

    known = {str(d): d for d in (pl.Boolean, pl.String, pl.Float64)}
    integers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    return {**known, **{str(d): d for d in integers}}[name]


def _check_types(classes: Iterable[Any], dtypes: Iterable[str]) -> None:
    """Raise FileFormatError where a class is not of the type that `decode` gives it."""
    for name in dtypes:
        bits = int(name.lstrip("UInt") or 0) if name in INTEGERS else 0
        low, high = (0, 2**bits) if name[0] == "U" else (-(2 ** max(bits - 1, 0)), 2 ** (bits - 1))
        for value in classes:
            fits = {"Boolean": type(value) is bool, "String": type(value) is str}
            if bits:
                good = type(value) is int and low <= value < high
            else:
                good = fits.get(name, False)
            if not good:
                raise FileFormatError(f"the target in the file: class {value!r} is no {name}")
