"""What can be had without looking at the inputs: the score that a model must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError

__all__ = ["best_constant"]


def best_constant(task: str, y: ArrayLike, classes: int | None = None) -> NDArray[np.float64]:
    """(K,) the one prediction for every row that does best on these targets.

    For classes their shares, of which the largest is the majority class: no constant has a better
    accuracy, log loss or Brier score. For numbers their mean, which no constant beats in squared
    error. Take the training targets, and measure on others.

    Arguments:
        task: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        y: ``(n,)`` class numbers; ``(n, K)`` 0 and 1; or ``(n,)`` or ``(n, K)`` numbers.
        classes: how many classes there are, where `y` may lack the last of them.

    Raises:
        DataError: there are no rows, or a target is not finite.

    >>> best_constant("binary", [0, 0, 0, 1])
    array([0.75, 0.25])
    >>> best_constant("regression", [1.0, 2.0, 6.0])
    array([3.])
    """
    targets = np.asarray(y)
    if len(targets) == 0:
        raise DataError("a baseline needs at least one row of targets")
    if not np.isfinite(targets).all():
        row = int(np.argwhere(~np.isfinite(targets))[0][0])
        raise DataError(f"a baseline needs finite targets; row {row} is {targets[row]}")
    if task in ("binary", "multiclass"):
        counts = np.bincount(targets.astype(np.int64), minlength=classes or 2)
        return np.asarray(counts / len(targets))
    return np.asarray(targets.reshape(len(targets), -1).mean(axis=0, dtype=np.float64))
