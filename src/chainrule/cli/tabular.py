"""A table and what is asked of it: rows, targets, parts, and the arrays that a network takes."""

from __future__ import annotations

import argparse
import glob
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.data import folds, split
from chainrule.data.preprocess import TablePreprocessor, Target, describe_columns
from chainrule.data.reading import read_table, table_files
from chainrule.train.bagging import stretches

__all__ = [
    "Fitted",
    "Problem",
    "display_name",
    "fingerprint",
    "for_command_line",
    "listed",
    "read_problem",
    "seen_values",
    "source_of",
    "suggested_target",
    "typed_options",
    "with_targets",
]

Rows = npt.NDArray[np.intp]
#: Inputs and encoded targets of "train", "validation" and "test", where there are any.
Parts = dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]

_BLOCK = 1 << 17  # rows that are prepared at a time

#: Names that people give to the column they want to predict.
_USUAL = ("target", "label", "y", "class", "outcome", "response")


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in a sentence, the middle left out where they are many.

    >>> listed(["a", "b", "c", "d"], most=3)
    'a, b, … d'
    """
    names = [str(n) for n in names]
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, … {names[-1]}"


def for_command_line(text: str) -> str:
    """A message of the library, with options as they are typed.

    >>> for_command_line("name its kind, such as kinds={'zip': 'categorical'}")
    'name its kind, such as --kind zip=categorical'
    """
    text = re.sub(r"kinds=\{'([^']*)': '(\w+)'\}", r"--kind \1=\2", text)
    text = re.sub(r"ordinal=\{'([^']*)': \['low', .*?\]\}", r"--order \1=low,middle,high", text)
    return text.replace("stratify=False", "--task regression")


@contextmanager
def typed_options() -> Iterator[None]:
    """Errors of the library in the block name options as they are typed."""
    try:
        yield
    except DataError as error:
        text = for_command_line(str(error))
        if text == str(error):
            raise
        raise DataError(text) from error


def suggested_target(columns: Sequence[str]) -> str:
    """The column that is most likely meant: one with a usual name, else the last.

    >>> suggested_target(["Class", "size", "weight"])
    'Class'
    """
    for usual in _USUAL:
        for column in columns:
            if column.lower() == usual:
                return column
    return columns[-1]


@dataclass
class Fitted:
    """A preparation, fitted on the training rows, and the arrays it makes of every part.

    Attributes:
        members: how many networks are to be trained, for their mean to predict.
        folds: for each of them the places in "train" that it learns from and those that stop it;
            None where "validation" stops them, or nothing.
    """

    preprocessor: TablePreprocessor
    target: Target
    parts: Parts
    members: int = 1
    folds: list[tuple[Rows, Rows]] | None = None


@dataclass
class Problem:
    """The rows that have a target, and how to prepare and to split them.

    Attributes:
        frame: a polars frame.
        target: fitted on all rows, for the task and the classes alone.
        source: the frame as it was read, rows without a target among them.
        numbers: the place of each row among those of the source; None where all are kept.
        further, files: frames of their own for "validation" and "test", and their files.
        notes: what was done to the rows that a person must know.
    """

    name: str
    frame: Any
    source: Any
    targets: list[str]
    target: Target
    ids: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    group: str | None = None
    time: str | None = None
    numbers: Rows | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    scaling: str = "standard"
    orders: dict[str, list[str]] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def excluded(self) -> list[str]:
        """Columns that are no inputs."""
        others = [c for c in (self.group, self.time) if c is not None]
        return list(dict.fromkeys([*self.targets, *self.ids, *self.drop, *others]))

    @property
    def classifies(self) -> bool:
        return self.target.task in ("binary", "multiclass")

    def _how(self, rows: Rows | None = None) -> dict[str, Any]:
        """The arguments of `split` and `folds` for some of the rows."""

        def column(name: str | None) -> Any:
            if name is None:
                return None
            values = self.frame[name]
            if values.null_count():
                row = int(values.is_null().arg_max() or 0)
                raise DataError(
                    f"{self.name}: column {name!r} decides about the split and is empty in row "
                    f"{row + 1}; fill it, or remove the row"
                )
            array = values.to_numpy()
            return array if rows is None else array[rows]

        return {
            "groups": column(self.group),
            "time": column(self.time),
            "stratify": self.classifies and self.time is None,
        }

    def _labels(self, rows: Rows | None = None) -> Any:
        if not self.classifies:
            return self.frame.height if rows is None else len(rows)
        labels = self.target.encode(self.frame.select(self.targets))
        return labels if rows is None else labels[rows]

    def _check_classes(self, parts: int, called: str) -> None:
        """Every class needs a row in every part, unless groups or time decide."""
        if not self.classifies or self.group or self.time:
            return
        counts = np.bincount(self._labels(), minlength=self.target.outputs)
        rare = int(counts.argmin())
        if counts[rare] < parts:
            classes = self.target.classes or []
            rows = "1 row" if counts[rare] == 1 else f"{counts[rare]} rows"
            raise DataError(
                f"{self.name}: class {classes[rare]!r} of {self.targets[0]!r} has {rows}, and each "
                f"of the {parts} {called} needs one. Merge rare classes or remove their rows; if "
                f"{self.targets[0]!r} is a quantity, use --task regression"
            )

    def split(self, fractions: Mapping[str, float], seed: int) -> dict[str, Rows]:
        """Row numbers of "train", "validation" and "test"; a part of share 0 is left out."""
        wanted = {name: share for name, share in fractions.items() if share}
        rest = 1 - sum(wanted.values())
        if rest < 1e-9:
            raise UsageError("the fractions to validate and test on leave no rows to train on")
        if not wanted:
            return {"train": np.arange(self.frame.height)}
        shares = {"train": rest, **wanted}
        self._check_classes(len(shares), f"parts ({', '.join(shares)})")
        parts = split(self._labels(), list(shares.values()), seed=seed, **self._how())
        return dict(zip(shares, parts, strict=True))

    def split_of(self, rows: Rows, validation: float, seed: int) -> dict[str, Rows]:
        """Some of the rows as "train" and, unless its share is 0, "validation"."""
        if not validation:
            return {"train": rows}
        shares = (1 - validation, validation)
        train, held = split(self._labels(rows), shares, seed=seed, **self._how(rows))
        return {"train": rows[train], "validation": rows[held]}

    def frame_of(self, part: str, rows: Mapping[str, Rows]) -> Any:
        """The rows of a part, split off or from a file of their own."""
        return self.further[part] if part in self.further else self.frame[rows[part]]

    def numbers_of(self, part: str, rows: Mapping[str, Rows]) -> list[int]:
        """Where the rows of a part stand in their file, counted from 1 below the header."""
        if part in self.further:
            return list(range(1, self.further[part].height + 1))
        found = rows[part] if self.numbers is None else self.numbers[rows[part]]
        return [int(k) + 1 for k in found]

    def folds(self, k: int, seed: int, rows: Rows | None = None) -> list[tuple[Rows, Rows]]:
        """k pairs of row numbers, to train on and to measure on, of all rows or of `rows`."""
        self._check_classes(k, "folds")
        pairs = folds(self._labels(rows), k, seed=seed, **self._how(rows))
        return pairs if rows is None else [(rows[a], rows[b]) for a, b in pairs]

    def most_folds(self, rows: Rows) -> tuple[int, str]:
        """How many folds `rows` can be cut into, and of what there are no more."""
        if self.group:
            count = int(self.frame[self.group].gather(rows).n_unique())
            return count, f"{count} groups of {self.group!r} to learn from"
        if self.time:
            count = int(self.frame[self.time].gather(rows).n_unique())
            return count, f"{count} different values of {self.time!r} to learn from"
        if not self.classifies:
            return len(rows), f"{len(rows)} rows to learn from"
        counts = np.bincount(self._labels(rows))
        rare = int(np.where(counts, counts, counts.max()).argmin())
        name, count = (self.target.classes or [])[rare], int(counts[rare])
        return count, f"{count} rows of class {name!r} to learn from"

    def turns(self) -> bool:
        """Whether the networks of an ensemble can take turns in which rows stop them: where those
        of a file are to choose, they choose for all."""
        return "validation" not in self.further

    def pool(self, parts: Mapping[str, Rows]) -> dict[str, Rows]:
        """The parts with the rows of "validation" among those of "train"."""
        known = np.sort(np.concatenate([parts[k] for k in ("train", "validation") if k in parts]))
        return {"train": known, **{k: v for k, v in parts.items() if k == "test"}}

    def fit_members(
        self, parts: Mapping[str, Rows], members: int, seed: int, further: bool = True
    ) -> Fitted:
        """`fit` for so many networks. Where they can take turns, it is on all rows that some of
        them learn from, those of "validation" too, and with folds of these: fewer than `members` if
        there cannot be so many. A single network keeps to the parts."""
        if members > 1 and self.turns():
            pooled = self.pool(parts)
            known = pooled["train"]
            members = min(members, self.most_folds(known)[0])
            if members > 1:
                fitted = self.fit(pooled, further)
                how = self._how(known)
                if self.time:
                    fitted.folds = stretches(how["time"], members)
                else:
                    fitted.folds = folds(self._labels(known), members, seed=seed, **how)
                fitted.members = members
                return fitted
        fitted = self.fit(parts, further)
        fitted.members = max(members, 1)
        return fitted

    def fit(self, parts: Mapping[str, Rows], further: bool = True) -> Fitted:
        """The preparation fitted on the rows of "train" and on no others, applied to every part.

        Arguments:
            further: also prepare the rows that came in files of their own.
        """
        target = self.target
        frame = self.frame[parts["train"]]  # a copy, which does not outlive the fit
        if target.task == "regression":  # its mean and deviation are those of the training rows
            target = Target().fit(frame.select(self.targets), "regression")
        preprocessor = TablePreprocessor(
            scaling=self.scaling, kinds=self.kinds, drop=self.excluded, ordinal=self.orders
        )
        try:
            preprocessor.fit(frame, frame.select(self.targets))
            del frame
            found = {name: self._arrays(preprocessor, target, rows) for name, rows in parts.items()}
        except DataError:
            # the same over all rows of the file, for row numbers that can be looked up
            describe_columns(self.source, exclude=self.excluded, kinds=self.kinds)
            raise
        for name, table in self.further.items() if further else ():
            arrays = preprocessor.transform(table, self.files[name])
            found[name] = arrays, self._encoded(target, table)
        return Fitted(preprocessor, target, found)

    def _arrays(self, preprocessor: TablePreprocessor, target: Target, rows: Any) -> Any:
        """What the network takes of these rows, and targets; made block by block, so that a large
        table is not copied for it."""
        x = np.empty((len(rows), preprocessor.width), np.float32)
        targets = []
        for start in range(0, len(rows), _BLOCK):
            table = self.frame[rows[start : start + _BLOCK]]
            x[start : start + _BLOCK] = preprocessor.transform(table, self.name)
            targets.append(self._encoded(target, table))
        return x, np.concatenate(targets)

    def _encoded(self, target: Target, table: Any) -> Any:
        return target.encode(table.select(self.targets))


def read_problem(a: argparse.Namespace) -> Problem:
    """Read the tables, check every column that was named, and decide the task."""
    frame = read_table(source_of(a.data), delimiter=a.delimiter, encoding=a.encoding)
    name = display_name(a.data)
    if not a.target:
        guess = suggested_target(frame.columns)
        data = " ".join(a.data)
        raise UsageError(
            f"which column shall be predicted? {name} has {listed(frame.columns, 20)}. Perhaps: "
            f"chainrule train {data} --target {guess}"
        )
    targets = list(dict.fromkeys(a.target))
    kinds, orders = dict(a.kind or ()), dict(a.order or ())
    for option, names in (
        ("target", targets),
        ("id", a.id or ()),
        ("drop", a.drop or ()),
        ("group", [a.group] if a.group else ()),
        ("time", [a.time] if a.time else ()),
        ("kind", kinds),
        ("order", orders),
    ):
        for column in names:
            if column not in frame.columns:
                raise UsageError(
                    f"--{option}: {name} has no column {column!r}; {nearest(column, frame.columns)}"
                )
            if option != "target" and column in targets:
                raise UsageError(f"--{option}: {column!r} is the target")
    if a.group and a.time:
        raise UsageError("--group and --time both decide about the split; give one of them")
    notes: list[str] = []
    source = frame
    frame, numbers = with_targets(source, targets, name, notes)
    problem = Problem(
        name,
        frame,
        source,
        targets,
        Target().fit(frame.select(targets), a.task or "auto"),
        ids=list(a.id or ()),
        drop=list(a.drop or ()),
        group=a.group,
        time=a.time,
        numbers=numbers,
        kinds=kinds,
        orders=orders,
        scaling=a.scaling or "standard",
        notes=notes,
    )
    if set(frame.columns) <= set(problem.excluded):
        raise UsageError(f"{name}: no column is left to predict {listed(targets)} from")
    for part, path in (("validation", a.validation), ("test", a.test)):
        if path:
            table = read_table(path, delimiter=a.delimiter, encoding=a.encoding)
            for column in targets:
                if column not in table.columns:
                    raise DataError(
                        f"{path} has no column {column!r}, which is the target; "
                        f"{nearest(column, table.columns)}"
                    )
            problem.files[part] = path
            problem.further[part], _ = with_targets(table, targets, os.path.basename(path), notes)
    return problem


def source_of(data: Sequence[str]) -> Any:
    """What was typed as `read_table` takes it: one name may be a pattern."""
    return data[0] if len(data) == 1 else list(data)


def display_name(data: Sequence[str]) -> str:
    """The data in a sentence: the file's name, or how many files there are.

    >>> display_name(["a/b.csv"]), display_name(["a/b.csv", "a/c.csv"])
    ('b.csv', 'b.csv and 1 more')
    """
    files = table_files(source_of(data)) if any(glob.has_magic(d) for d in data) else list(data)
    first = os.path.basename(files[0])
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def seen_values(
    frame: Any, rows: Rows, preprocessor: TablePreprocessor, most: int = 8
) -> dict[str, str]:
    """What the inputs held in these rows, for people: a range, or the most frequent values."""
    found = {}
    kinds = {c.name: c.kind for c in preprocessor.columns}
    for name in preprocessor.inputs:
        series = frame[name].gather(rows).drop_nulls()
        ranged = series.dtype.is_numeric() or series.dtype.is_temporal()
        if kinds[name] in ("numeric", "datetime") and ranged:
            found[name] = f"{_short(series.min())} to {_short(series.max())}"
        elif kinds[name] == "text":
            found[name] = "text"
        else:
            counts = series.value_counts(sort=True, name="count").sort(
                ["count", name], descending=[True, False]
            )
            shown = [str(v) for v in counts[name].head(most)]
            more = f", … {len(counts) - most} more" if len(counts) > most else ""
            found[name] = ", ".join(shown) + more
    return found


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def fingerprint(data: Sequence[str]) -> str:
    """A checksum of the files, to notice that rows were trained on."""
    total = 0
    for path in table_files(source_of(data)):
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                total = zlib.crc32(piece, total)
    return f"{total:08x}"


def with_targets(
    frame: Any, targets: list[str], name: str, notes: list[str]
) -> tuple[Any, Rows | None]:
    """The rows where no target is missing, and their numbers unless these are all rows."""
    present = Target().present(frame.select(targets))
    if not present.any():
        raise DataError(
            f"{name}: every row of {listed(targets)} is empty; there is nothing to learn from"
        )
    if present.all():
        return frame, None
    missing = int((~present).sum())
    rows = "1 row" if missing == 1 else f"{missing:,} rows"
    notes.append(f"{name}: {rows} without {listed(targets)} left out")
    return frame.filter(present), np.flatnonzero(present)
