"""Which input columns a model uses: how much worse it gets when one of them is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError
from chainrule.array.random import Stream

__all__ = ["Importance", "permutation_importance"]


class Importance(NamedTuple):
    """The drop in score when a column is shuffled: its mean and standard deviation over repeats.

    >>> Importance("age", 0.25, 0.03).mean
    0.25
    """

    column: str
    mean: float
    spread: float


def permutation_importance(
    score: Callable[[npt.NDArray[Any], npt.NDArray[np.intp]], float],
    x: npt.NDArray[Any],
    columns: Mapping[str, Sequence[int]],
    *,
    repeats: int = 5,
    seed: int = 0,
    rows: int = 10_000,
) -> list[Importance]:
    """The drop in score when the values of one column are shuffled among the rows (Breiman 2001).

    It is the model that is asked, not the world: of two columns that say the same, each alone may
    look unimportant. Use rows that the model was not trained on.

    Arguments:
        score: called as ``score(x, rows)`` with a changed copy of some rows and their numbers in
            `x`, so that it can look up their targets; larger is better (give a loss with a minus).
        x: ``(n, …)`` what the model takes. It is not changed.
        columns: for each input column the features made of it, as positions along axis 1. They
            are shuffled together, for a category with the values of another is none.
        repeats: shufflings of each column.
        seed: the same seed gives the same shufflings, whatever other columns are there.
        rows: of more rows than this, so many are taken at random.

    Returns:
        One `Importance` per column, the largest first.

    Raises:
        DataError: no rows, no repeats, or features that `x` does not have.

    >>> x = np.array([[0.0, 5.0], [1.0, 5.0], [0.0, 5.0], [1.0, 5.0]])
    >>> def accuracy(x, rows):
    ...     return float((x[:, 0] == rows % 2).mean())
    >>> for found in permutation_importance(accuracy, x, {"parity": [0], "constant": [1]}):
    ...     print(f"{found.column}: {found.mean:.1f}")
    parity: 0.3
    constant: 0.0
    """
    if len(x) == 0 or repeats < 1 or rows < 1:
        raise DataError(
            f"expected at least one row and one repeat, got {len(x)} rows, repeats={repeats}, "
            f"rows={rows}"
        )
    for name, features in columns.items():
        outside = [f for f in features if not 0 <= f < x.shape[1]]
        if outside:
            raise DataError(f"column {name!r} has feature {outside[0]}, but x has {x.shape[1]}")
    stream = Stream(seed)
    chosen = np.arange(len(x))
    if len(x) > rows:
        chosen = np.sort(stream.permutation("diagnose/importance", len(x))[:rows])
    changed = x[chosen]  # a copy, whose columns are changed and put back one after the other
    whole = float(score(changed, chosen))
    found = []
    for name, features in columns.items():
        at = np.asarray(features, np.intp)
        kept = changed[:, at].copy()
        drops = []
        for repeat in range(repeats):
            order = stream.permutation(f"diagnose/importance/{name}", len(chosen), step=repeat)
            changed[:, at] = kept[order]
            drops.append(whole - float(score(changed, chosen)))
        changed[:, at] = kept
        found.append(Importance(name, float(np.mean(drops)), float(np.std(drops))))
    return sorted(found, key=lambda each: -each.mean)
