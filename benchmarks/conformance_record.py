"""What the tables of conformance share: cases that pass, fail or do not apply, and comparison."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: How far two values may be apart: relative, and absolute as a part of the largest value (or of 1).
TOLERANCE = {"float64": (1e-10, 1e-12), "float32": (1.3e-6, 1e-6)}


class NotApplicable(Exception):
    """Raised by a mapping for a case that asks for what chainrule does otherwise on purpose, with
    the reason."""


@dataclasses.dataclass
class Row:
    """One function, module or optimizer of a table: how its cases ended."""

    name: str  # as the table calls it
    ours: str  # as chainrule calls it
    passed: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    excluded: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def line(self) -> str:
        text = f"{self.name:44} {self.passed:5} pass {len(self.failures):4} fail"
        for reason, count in self.excluded.items():
            text += f"; {count} n/a: {reason}"
        return text

    def count(self, case: str, outcome: str | NotApplicable | None) -> None:
        """One case more: None if it passed, a reason, or what differs."""
        if isinstance(outcome, NotApplicable):
            self.excluded[str(outcome)] += 1
        elif outcome is None:
            self.passed += 1
        else:
            self.failures.append(f"{case}: {outcome}")


@dataclasses.dataclass
class Table:
    """Somebody's table of tests, and how chainrule did."""

    title: str
    about: str
    rows: list[Row] = dataclasses.field(default_factory=list)
    #: passed, failed and excluded, where a case counts in several rows
    total: tuple[int, int, Counter[str]] | None = None

    @property
    def passed(self) -> int:
        return self.total[0] if self.total else sum(r.passed for r in self.rows)

    @property
    def failed(self) -> int:
        return self.total[1] if self.total else sum(len(r.failures) for r in self.rows)

    @property
    def excluded(self) -> Counter[str]:
        if self.total:
            return self.total[2]
        return sum((r.excluded for r in self.rows), Counter())


def difference(
    ours: Any, theirs: Any, what: str, tolerance: tuple[float, float] | None = None
) -> str | None:
    """What tells two arrays apart: type, shape, or the largest difference; None if nothing does."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.dtype != theirs.dtype:
        return f"{what} is {ours.dtype}, theirs {theirs.dtype}"
    if ours.shape != theirs.shape:
        return f"{what} has shape {ours.shape}, theirs {theirs.shape}"
    if ours.dtype.kind != "f":
        return None if np.array_equal(ours, theirs) else f"{what} differs"
    rtol, part = tolerance or TOLERANCE[str(ours.dtype)]
    finite = np.abs(theirs[np.isfinite(theirs)])
    atol = part * max(1.0, float(finite.max()) if finite.size else 0.0)
    if np.allclose(ours, theirs, rtol, atol, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours.astype(np.float64) - theirs)
    gap = np.where(np.isclose(ours, theirs, rtol, atol, equal_nan=True), 0.0, gap)
    at = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
    place = f" at {tuple(map(int, at))}" if at else ""
    return f"{what} is {ours[at]!r}, theirs {theirs[at]!r}{place}"


def first(differences: Iterable[str | None]) -> str | None:
    return next((d for d in differences if d is not None), None)


def words(error: BaseException) -> str:
    """An error as one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
