"""From the columns of a file to what a network takes, and back; kept with the model in its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, FileFormatError, ShapeError, nearest
from chainrule.autograd.context import no_grad
from chainrule.autograd.tape import Variable
from chainrule.data import as_array, check_targets, check_x, split
from chainrule.nn.module import Module
from chainrule.ops import softmax
from chainrule.ops.standardization import mean_and_deviation
from chainrule.serialize.model import load, read_metadata, save

if TYPE_CHECKING:
    from chainrule.data.preprocess import TablePreprocessor, Target

__all__ = ["Pipeline", "Scaling", "decide_task", "read_classes", "split_rows"]

Array = npt.NDArray[Any]

#: What the file of a model for tables repeats of its preparation, for those who read it alone.
_DERIVED = ("task", "input_shape", "classes", "outputs", "target_shape")

_KINDS = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats", "U": "text"}


@dataclass(frozen=True)
class Scaling:
    """Standardisation of the targets, ``(y - mean) / scale`` per column, in double precision."""

    mean: Array
    scale: Array

    @classmethod
    def of(cls, y: Array) -> Scaling:
        """Mean and standard deviation of the columns of ``(n, ...)``; a constant has scale 1.

        >>> Scaling.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
        Scaling(mean=array([2., 5.]), scale=array([1., 1.]))
        """
        return cls(*mean_and_deviation(y.reshape(len(y), -1), dtype=np.float64))

    def apply(self, y: Array) -> npt.NDArray[np.float32]:
        """Targets standardised, as float32 ``(n, columns)``."""
        with np.errstate(over="ignore"):
            z = (y.reshape(len(y), -1).astype(np.float64) - self.mean) / self.scale
            return z.astype(np.float32)

    def undo(self, z: Array) -> Array:
        """The way back, in double precision."""
        return z * self.scale + self.mean

    def to_json(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, list[float]]) -> Scaling:
        return cls(np.asarray(value["mean"], np.float64), np.asarray(value["scale"], np.float64))


def decide_task(y: Array, asked: str = "auto") -> tuple[str, str]:
    """("classification" or "regression", why).

    >>> decide_task(np.array([0, 1, 1]))
    ('classification', 'y holds integers')
    """
    if y.dtype.kind not in _KINDS and y.dtype.kind != "S":
        raise DataError(f"y has type {y.dtype}; expected integers or text (classes), or floats")
    held = f"y holds {_KINDS.get(y.dtype.kind, 'text')}"
    if asked == "regression" and y.dtype.kind in "US":
        raise DataError(f"{held}, and regression needs numbers; leave --task out to classify")
    if asked != "auto":
        return asked, f"--task says so; {held}"
    return ("regression" if y.dtype.kind == "f" else "classification"), held


def read_classes(y: Array, name: str = "y") -> Array:
    """Labels ``(n,)`` of integers, text or booleans; whole floats become integers."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        fix = f" (for one-hot rows: {name}.argmax(axis=1))" if y.ndim == 2 else ""
        raise DataError(f"{name} has shape {y.shape}; expected one label per row, (n,){fix}")
    if y.dtype.kind == "S":
        try:
            return np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name} holds bytes that are no UTF-8 text ({error})") from error
    if y.dtype.kind == "f":
        bad = ~np.isfinite(y) | (y != np.floor(y))
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"{name} holds {y[row]} at row {row}; classes are whole numbers or text. For "
                "values use --task regression"
            )
        return y.astype(np.int64)
    if y.dtype.kind not in "biuU":
        raise DataError(f"{name} has type {y.dtype}; expected one integer or text label per row")
    return y


def split_rows(y: Array, fractions: dict[str, float], seed: int, task: str) -> dict[str, Array]:
    """Row numbers of the parts "train", "validation" and "test"; a part of share 0 is left out.

    Each class is split by itself. The same arguments give the same parts, so that a model file
    can name the rows it was not trained on.

    >>> y, shares = np.array([0, 1] * 10), {"validation": 0.0, "test": 0.2}
    >>> parts = split_rows(y, shares, 0, "classification")
    >>> {name: len(rows) for name, rows in parts.items()}
    {'train': 16, 'test': 4}
    """
    wanted = {name: share for name, share in fractions.items() if share}
    rest = 1 - sum(wanted.values())
    if rest < 1e-9:
        raise DataError("the fractions to validate and test on leave no rows to train on")
    if not wanted:
        return {"train": np.arange(len(y))}
    shares = {"train": rest, **wanted}
    stratify = task == "classification"
    rows = split(y if stratify else len(y), list(shares.values()), seed=seed, stratify=stratify)
    return dict(zip(shares, rows, strict=True))


@dataclass
class Pipeline:
    """A model with what stands before and after it.

    Attributes:
        model: from rows of X as they are, ``(n, *shape)``, to logits or standardised values. Its
            first layers flatten and standardise, so it computes the same wherever it is loaded.
        shape: of one row of X, such as ``(28, 28)``.
        classes: the class of each logit, sorted; None for regression.
        outputs: the standardisation of the target, for regression.
        target_shape: of one target; ``()`` for a column of numbers.
        preprocessor, target: for a model of tables, what makes rows of numbers of a table, and
            targets of its columns, and back; None for a model of arrays.
        about: everything else the file tells: data, options, metrics, versions.
    """

    model: Module
    shape: tuple[int, ...]
    classes: Array | None
    outputs: Scaling | None
    target_shape: tuple[int, ...]
    about: dict[str, Any]
    preprocessor: TablePreprocessor | None = None
    target: Target | None = None

    @classmethod
    def of_table(
        cls, model: Module, preprocessor: TablePreprocessor, target: Target, about: dict[str, Any]
    ) -> Pipeline:
        """The pipeline of a model for tables."""
        one = target.task in ("binary", "multiclass") and target.classes is not None
        classes = np.asarray(target.classes) if one else None
        shape = (preprocessor.width,)
        return cls(model, shape, classes, None, (), about, preprocessor, target)

    @property
    def task(self) -> str:
        if self.target is not None and self.target.task == "multilabel":
            return "multilabel"
        return "regression" if self.classes is None else "classification"

    # -- files --------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        """What goes into the file beside the model."""
        table = {}
        if self.preprocessor is not None and self.target is not None:
            table = {"preprocessor": self.preprocessor.to_json(), "target": self.target.to_json()}
        return {
            **self.about,
            **table,
            "task": self.task,
            "input_shape": list(self.shape),
            "classes": None if self.classes is None else self.classes.tolist(),
            "outputs": None if self.outputs is None else self.outputs.to_json(),
            "target_shape": list(self.target_shape),
        }

    def save(self, path: str) -> int:
        """Write the model with everything; the size of the file."""
        save(self.model, path, self.metadata())
        return os.path.getsize(path)

    @classmethod
    def load(cls, path: str) -> Pipeline:
        """Read what ``chainrule train`` wrote.

        Raises:
            FileFormatError: for a file that is damaged or foreign, or holds a model without
                preprocessing, as `chainrule.save` writes it.
        """
        about = read_metadata(path)
        if "preprocessor" in about:
            from chainrule.data.preprocess import TablePreprocessor, Target

            about = {k: v for k, v in about.items() if k not in _DERIVED}
            try:
                preprocessor = TablePreprocessor.from_json(about.pop("preprocessor"))
                target = Target.from_json(about.pop("target"))
            except (KeyError, TypeError, FileFormatError) as error:
                raise FileFormatError(f"{path}: its preparation of tables: {error}") from error
            return cls.of_table(load(path), preprocessor, target, about)
        try:
            classes, outputs = about.pop("classes"), about.pop("outputs")
            return cls(
                load(path),
                tuple(about.pop("input_shape")),
                None if classes is None else np.asarray(classes),
                None if outputs is None else Scaling.from_json(outputs),
                tuple(about.pop("target_shape")),
                about,
            )
        except (KeyError, TypeError) as error:
            raise FileFormatError(
                f"{path} holds a model, but not what stands before and after it ({error}): it was "
                "not written by chainrule train. Use it from Python, with chainrule.load"
            ) from error

    # -- use ----------------------------------------------------------------------------------

    def check_rows(self, x: Array, name: str = "X") -> Array:
        """X with numbers of the shape the model was trained on."""
        x = as_array(x, name)
        if x.shape[1:] == self.shape:
            return x
        size = int(np.prod(self.shape))
        if x.ndim >= 2 and int(np.prod(x.shape[1:])) == size:
            return x.reshape(len(x), *self.shape)  # the same numbers in another arrangement
        if x.shape == self.shape:
            raise ShapeError(f"{name} has shape {x.shape}, that of one row; pass {name}[None]")
        raise ShapeError(
            f"{name} has shape {x.shape}; the model was trained on rows of shape {self.shape}, "
            f"{size} features each"
        )

    def encode(self, y: Array, name: str = "y") -> Array:
        """Targets as the model's loss takes them: class numbers, or standardised values."""
        if self.outputs is not None:
            y = check_targets(y, self.target_shape, name)
            return self.outputs.apply(y)
        assert self.classes is not None
        labels = read_classes(y, name)
        if (labels.dtype.kind == "U") != (self.classes.dtype.kind == "U"):
            raise DataError(
                f"{name} holds {_KINDS[labels.dtype.kind]}, the model's classes are "
                f"{_KINDS[self.classes.dtype.kind]} ({self.listed_classes()})"
            )
        codes = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        unknown = self.classes[codes] != labels
        if unknown.any():
            row = int(unknown.argmax())
            label = labels[row].item()
            hint = nearest(label, self.classes.tolist()) if isinstance(label, str) else ""
            hint = hint if hint.startswith("did") else f"it knows {self.listed_classes()}"
            raise DataError(
                f"{name} holds class {label!r} at row {row}, which the model does not know; {hint}"
            )
        return codes

    def listed_classes(self) -> str:
        """The number of classes and their names, the middle left out where they are many."""
        names = [str(c) for c in (self.classes if self.classes is not None else ())]
        shown = names if len(names) <= 12 else [*names[:10], "…", names[-1]]
        return f"{len(names)} classes: {', '.join(shown)}"

    def table_scores(self, frame: Any, batch_size: int = 1024, name: str = "the table") -> Array:
        """Scores of the rows of a table, which has the columns the model was trained on."""
        assert self.preprocessor is not None
        x = self.preprocessor.transform(frame)
        return np.concatenate(list(self.scores(x, batch_size, name)))

    def decide_table(self, scores: Array) -> Any:
        """Predictions as a polars frame, from scores of rows of a table."""
        assert self.target is not None
        weights = self.about.get("decision")
        return self.target.decode(scores if weights is None else scores + np.log(weights))

    def scores(self, x: Array, batch_size: int = 1024, name: str = "X") -> Iterator[Array]:
        """Logits or standardised values, block by block; x may be a memory map."""
        if self.preprocessor is None:
            x = self.check_rows(x, name)
        for start in range(0, len(x), batch_size):
            block = check_x(np.asarray(x[start : start + batch_size]), name)
            with no_grad(), np.errstate(all="ignore"):
                out = self.model(block)
            raw: Array = out._data if isinstance(out, Variable) else np.asarray(out)
            bad = ~np.isfinite(raw).all(axis=1)
            if bad.any():
                raise DataError(
                    f"row {start + int(bad.argmax())} of {name} is too far from the data the model "
                    "was trained on: what the model makes of it is beyond the range of float32"
                )
            yield raw

    def decide(self, scores: Array) -> Array:
        """Classes by name, or values on their own scale, from a block of scores."""
        if self.classes is not None:
            chosen: Array = self.classes[scores.argmax(axis=1)]
            return chosen
        assert self.outputs is not None
        return self.outputs.undo(scores).reshape(len(scores), *self.target_shape)

    def probabilities(self, scores: Array) -> Array:
        """``softmax`` of the logits."""
        p: Array = softmax(scores, axis=1)
        return p
