"""Rows in parts: to train on, to choose with, to report. At random, by groups, or by time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.array.random import Stream

__all__ = ["folds", "split"]

Indices = npt.NDArray[np.intp]
Shares = npt.NDArray[np.float64]


def split(
    y: Any,
    fractions: Sequence[float] = (0.8, 0.2),
    *,
    seed: int = 0,
    stratify: bool = True,
    groups: Any = None,
    time: Any = None,
) -> tuple[Indices, ...]:
    """Row numbers for each part; together the parts hold every row exactly once.

    With labels, each class is split by itself: a part's share of a class is rounded to one of the
    two nearest whole numbers of rows, so that rounding evens out over the classes, and is at least
    one row.

    With ``groups``, all rows of a group (a patient, a customer, a machine) go to the same part. The
    largest groups are placed first, each where it brings the parts closest to their shares of every
    class: the least ``Σ (rows - share · total)² / (share · total)`` over parts and classes. Shares
    are met as well as whole groups can; a class that only a few groups have may miss a part.

    With ``time``, the first part has the earliest rows and the last part the latest. Rows of the
    same time stay together, so a part may differ from its share by the rows of one time. Neither
    the seed nor the classes matter then.

    Args:
        y: labels ``(n,)`` of any kind (numbers, text), or just the number of rows n, which are
            then split without regard to classes.
        fractions: the share of each part, positive and adding up to 1. ``(0.8, 0.2)`` is the
            common choice for training and test; ``(0.6, 0.2, 0.2)`` adds a validation part.
        seed: the same seed, ``y`` and ``fractions`` give the same parts.
        stratify: split each class by itself; False for real-valued targets.
        groups: ``(n,)``, each row's group: numbers or text.
        time: ``(n,)``, each row's time: numbers, dates, or text such as ``2024-03-31 12:00``.

    Returns:
        One array of row numbers per fraction, each in increasing order, so that a memory map is
        read forwards; shuffle while training.

    Raises:
        DataError: for fractions that are not positive or do not add up to 1; fewer rows, groups or
            times than parts; a class with fewer rows than parts; a row without class, group or
            time, with its number; both ``groups`` and ``time``.

    >>> train, test = split([0, 0, 0, 0, 1, 1, 1, 1], (0.5, 0.5))
    >>> len(train), len(test)
    (4, 4)
    >>> split(6, (0.5, 0.5), groups=["a", "b", "a", "c", "c", "c"])
    (array([3, 4, 5]), array([0, 1, 2]))
    >>> split(6, (0.7, 0.3), time=[2021, 2024, 2022, 2023, 2023, 2020])
    (array([0, 2, 3, 4, 5]), array([1]))
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all():
        raise DataError(f"fractions must be positive numbers, one per part, got {fractions!r}.")
    if not math.isclose(shares.sum(), 1.0, rel_tol=1e-9):
        raise DataError(f"fractions must add up to 1, got {fractions!r}, sum {shares.sum():g}.")
    return _parts(y, shares / shares.sum(), seed, stratify, groups, time, "parts")


def folds(
    y: Any,
    k: int = 5,
    *,
    seed: int = 0,
    stratify: bool = True,
    groups: Any = None,
    time: Any = None,
) -> list[tuple[Indices, Indices]]:
    """k pairs (training rows, validation rows) for cross-validation.

    Every row is in the validation part of exactly one pair, and in the training part of the others.
    With ``time`` the window grows instead: the rows are cut into k + 1 stretches of time, and pair
    i trains on the first i and validates on the one after them, so that what is predicted is always
    later than what was learned from.

    Args:
        y, seed, stratify, groups, time: as in :func:`split`.
        k: the number of pairs, 2 or more. 5 is the common choice: each model sees four fifths.

    Raises:
        DataError: as :func:`split`, with k parts (with ``time`` k + 1).

    >>> [(train.tolist(), valid.tolist()) for train, valid in folds(4, 2)]
    [([0, 3], [1, 2]), ([1, 2], [0, 3])]
    >>> [(train.tolist(), valid.tolist()) for train, valid in folds(3, 2, time=[30, 10, 20])]
    [([1], [2]), ([1, 2], [0])]
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 2:
        raise DataError(f"k must be a whole number of folds, 2 or more, got {k!r}.")
    count = int(k) + (time is not None)
    shares = np.full(count, 1.0 / count)
    parts = _parts(y, shares, seed, stratify, groups, time, "folds" if time is None else "windows")
    joined = [np.sort(np.concatenate(parts[:i])) for i in range(1, count)]
    if time is not None:
        return list(zip(joined, parts[1:], strict=True))
    rest = [np.sort(np.concatenate(parts[:i] + parts[i + 1 :])) for i in range(count)]
    return list(zip(rest, parts, strict=True))


def _parts(
    y: Any, shares: Shares, seed: int, stratify: bool, groups: Any, time: Any, called: str
) -> tuple[Indices, ...]:
    if groups is not None and time is not None:
        raise DataError(
            "groups and time are two ways to split; give one. A group may span the whole of time."
        )
    n, codes, classes = _classes(y, stratify and time is None)
    if n < len(shares):
        raise DataError(f"{n} rows cannot fill {len(shares)} {called}.")
    if time is not None:
        return _by_time(_times(time, n), shares, called)
    if groups is not None:
        members, names = _coded(_column(groups, n, "groups"), "groups")
        if len(names) < len(shares):
            raise DataError(
                f"groups has {len(names)} different value(s), too few for {len(shares)} {called}: "
                f"a group is never cut. Choose a column with more groups, or fewer {called}."
            )
        return _by_group(members, codes, shares, seed)
    order = Stream(seed).permutation("data/split", n)
    parts: list[list[Indices]] = [[] for _ in shares]
    owed = np.zeros(len(shares))  # how far each part is behind its exact share, over the classes
    by_class = order[np.argsort(codes[order], kind="stable")]
    bounds = np.cumsum(np.bincount(codes, minlength=len(classes)))
    for label, rows in zip(classes, np.split(by_class, bounds[:-1]), strict=True):
        if len(rows) < len(shares):
            raise DataError(
                f"class {label!r} has {len(rows)} row(s), too few for {len(shares)} {called}. "
                f"Merge or leave out rare classes; for real-valued targets pass stratify=False."
            )
        counts = _share_out(len(rows), shares, owed)
        owed += len(rows) * shares - counts
        for part, piece in zip(parts, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _by_group(members: Indices, codes: Indices, shares: Shares, seed: int) -> tuple[Indices, ...]:
    """Whole groups, the largest first, each to the part it fits best; none stays empty."""
    n_groups = int(members.max()) + 1
    sizes = np.bincount(members, minlength=n_groups)
    order = Stream(seed).permutation("data/split", n_groups)  # decides among equals
    order = order[np.argsort(-sizes[order], kind="stable")]
    # a group's classes and their rows, in a stretch of two long arrays
    pairs, counts = np.unique(members * (codes.max() + 1) + codes, return_counts=True)
    group_of, class_of = np.divmod(pairs, codes.max() + 1)
    start = np.searchsorted(group_of, np.arange(n_groups + 1))
    wanted = shares[:, None] * np.bincount(codes)
    missing = wanted.copy()
    part_of = np.empty(n_groups, np.intp)
    empty = np.ones(len(shares), bool)
    for left, group in zip(range(n_groups, 0, -1), order, strict=True):
        here = slice(start[group], start[group + 1])
        kinds, rows = class_of[here], counts[here]
        # what placing it in each part adds to Σ (rows - wanted)² / wanted
        added = ((rows - 2.0 * missing[:, kinds]) * rows / wanted[:, kinds]).sum(axis=1)
        if left == np.count_nonzero(empty):  # each of the rest must open a part
            added[~empty] = np.inf
        part = int(added.argmin())
        part_of[group], empty[part] = part, False
        missing[part, kinds] -= rows
    return tuple(np.flatnonzero(part_of[members] == part) for part in range(len(shares)))


def _by_time(times: npt.NDArray[Any], shares: Shares, called: str) -> tuple[Indices, ...]:
    """Stretches of time: each cut is the one between two times that is closest to its share."""
    different, codes, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(different) < len(shares):
        raise DataError(
            f"time has {len(different)} different value(s), too few for {len(shares)} {called}: "
            f"rows of the same time stay together. Give a finer time, or fewer {called}."
        )
    ends = np.cumsum(counts)
    cuts = [0]
    for k, share in enumerate(np.cumsum(shares)[:-1], start=1):
        first, last = cuts[-1] + 1, len(different) - (len(shares) - k)  # leave some for the others
        near = np.abs(ends[first - 1 : last] - share * len(times))
        cuts.append(first + int(near.argmin()))
    part_of = np.searchsorted(cuts, codes, side="right") - 1
    return tuple(np.flatnonzero(part_of == part) for part in range(len(shares)))


def _classes(y: Any, stratify: bool) -> tuple[int, Indices, list[Any]]:
    """The number of rows, each row's class number, and the classes; a single one for a count."""
    if isinstance(y, int | np.integer) and not isinstance(y, bool):
        if y < 1:
            raise DataError(f"expected at least one row to split, got {y}.")
        return int(y), np.zeros(int(y), np.intp), ["all"]
    labels = np.asarray(y)
    if labels.ndim != 1 and (stratify or labels.ndim == 0):
        raise DataError(
            f"y has shape {labels.shape}; expected (n,) labels, or the number of rows. Without "
            f"labels pass len(x), or stratify=False."
        )
    if not len(labels):
        raise DataError("y is empty; expected at least one row to split.")
    if not stratify:
        return len(labels), np.zeros(len(labels), np.intp), ["all"]
    codes, classes = _coded(_column(labels, len(labels), "y"), "y")
    return len(labels), codes, classes.tolist()


def _coded(values: npt.NDArray[Any], name: str) -> tuple[Indices, npt.NDArray[Any]]:
    """Each row's number, and what the numbers stand for, in order."""
    try:
        different, codes = np.unique(values, return_inverse=True)
    except TypeError:
        kinds = sorted({type(v).__name__ for v in values.tolist()})
        raise DataError(
            f"{name} mixes values of types {', '.join(kinds)}, which have no order; make them one "
            f"type, such as text."
        ) from None
    return codes, different


def _column(values: Any, n: int, name: str) -> npt.NDArray[Any]:
    """One value for each of n rows, none missing."""
    column = np.asarray(values)
    if column.shape != (n,):
        raise DataError(f"{name} has shape {column.shape}; expected ({n},), one value per row.")
    missing = np.zeros(n, bool)
    if column.dtype.kind in "fcmM":
        missing = np.isnan(column) if column.dtype.kind in "fc" else np.isnat(column)
    elif column.dtype.kind == "O":
        missing = np.fromiter((v is None or v != v for v in column), bool, n)
    if missing.any():
        rows = np.flatnonzero(missing)
        shown = ", ".join(map(str, rows[:5]))
        more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        raise DataError(
            f"{name} has no value at row{'s' if len(rows) > 1 else ''} {shown}{more} (counted from "
            f"0). Fill in or leave out {'these rows' if len(rows) > 1 else 'this row'}."
        )
    return column


def _times(time: Any, n: int) -> npt.NDArray[Any]:
    """Times that have an order; text is read as ISO 8601 dates."""
    times = _column(time, n, "time")
    if times.dtype.kind in "biufmM":
        return times
    try:
        with warnings.catch_warnings():  # NumPy warns that it turns zones into UTC, as is wanted
            warnings.simplefilter("ignore", UserWarning)
            return times.astype("datetime64[us]")
    except (ValueError, TypeError, OverflowError):
        row = next((i for i, v in enumerate(times.tolist()) if not _is_date(v)), 0)
        raise DataError(
            f"time has {times.tolist()[row]!r} at row {row} (counted from 0), which is neither a "
            f"number nor a date such as 2024-03-31 or 2024-03-31 12:00. Convert the column first."
        ) from None


def _is_date(value: Any) -> bool:
    try:
        np.datetime64(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _share_out(n: int, shares: Shares, owed: Shares) -> Indices:
    """Whole counts that add up to n: the exact shares rounded down, the rest to those most owed."""
    exact = n * shares
    counts = np.floor(exact + 1e-9).astype(np.intp)  # 0.1 * 30 may come out below 3
    behind = exact - counts + owed
    counts[np.argsort(-behind, kind="stable")[: n - int(counts.sum())]] += 1
    while not counts.all():  # n is at least the number of parts, so there is one to take from
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts
