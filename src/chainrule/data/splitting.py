"""Rows split at random into parts: to train on, to choose with, to report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.array.random import Stream

__all__ = ["split"]

Indices = npt.NDArray[np.intp]


def split(
    y: Any, fractions: Sequence[float] = (0.8, 0.2), *, seed: int = 0, stratify: bool = True
) -> tuple[Indices, ...]:
    """Row numbers for each part; together the parts hold every row exactly once.

    With labels, each class is split by itself: a part's share of a class is rounded to one of the
    two nearest whole numbers of rows, so that rounding evens out over the classes, and is at least
    one row.

    Args:
        y: labels ``(n,)`` of any kind (numbers, text), or just the number of rows n, which are
            then split without regard to classes.
        fractions: the share of each part, positive and adding up to 1. ``(0.8, 0.2)`` is the
            common choice for training and test; ``(0.6, 0.2, 0.2)`` adds a validation part.
        seed: the same seed, ``y`` and ``fractions`` give the same parts.
        stratify: split each class by itself; False for real-valued targets.

    Returns:
        One array of row numbers per fraction, each in increasing order, so that a memory map is
        read forwards; shuffle while training.

    Raises:
        DataError: for fractions that are not positive or do not add up to 1, fewer rows than
            parts, a class with fewer rows than parts.

    >>> train, test = split([0, 0, 0, 0, 1, 1, 1, 1], (0.5, 0.5))
    >>> len(train), len(test)
    (4, 4)
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all():
        raise DataError(f"fractions must be positive numbers, one per part, got {fractions!r}.")
    if not math.isclose(shares.sum(), 1.0, rel_tol=1e-9):
        raise DataError(f"fractions must add up to 1, got {fractions!r}, sum {shares.sum():g}.")
    shares /= shares.sum()
    n, codes, classes = _classes(y, stratify)
    if n < len(shares):
        raise DataError(f"{n} rows cannot fill {len(shares)} parts.")
    order = Stream(seed).permutation("data/split", n)
    parts: list[list[Indices]] = [[] for _ in shares]
    owed = np.zeros(len(shares))  # how far each part is behind its exact share, over the classes
    by_class = order[np.argsort(codes[order], kind="stable")]
    bounds = np.cumsum(np.bincount(codes, minlength=len(classes)))
    for label, rows in zip(classes, np.split(by_class, bounds[:-1]), strict=True):
        if len(rows) < len(shares):
            raise DataError(
                f"class {label!r} has {len(rows)} row(s), too few for {len(shares)} parts. Merge "
                f"or leave out rare classes; for real-valued targets pass stratify=False."
            )
        counts = _share_out(len(rows), shares, owed)
        owed += len(rows) * shares - counts
        for part, piece in zip(parts, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


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
    classes, codes = np.unique(labels, return_inverse=True)
    return len(labels), codes, classes.tolist()


def _share_out(n: int, shares: npt.NDArray[np.float64], owed: npt.NDArray[np.float64]) -> Indices:
    """Whole counts that add up to n: the exact shares rounded down, the rest to those most owed."""
    exact = n * shares
    counts = np.floor(exact + 1e-9).astype(np.intp)  # 0.1 * 30 may come out below 3
    behind = exact - counts + owed
    counts[np.argsort(-behind, kind="stable")[: n - int(counts.sum())]] += 1
    while not counts.all():  # n is at least the number of parts, so there is one to take from
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts
