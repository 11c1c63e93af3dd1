"""The rows worth a look: where a model is most wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError

__all__ = ["worst"]


def worst(losses: ArrayLike, k: int = 10) -> NDArray[np.intp]:
    """The numbers of the `k` rows with the largest losses, the largest first.

    Arguments:
        losses: ``(n,)`` the error of each row, such as ``-log p(y)`` or ``|y - ŷ|``. Equal ones
            come in the order of the rows; an infinite one is the largest.
        k: how many; all of them where there are fewer.

    Raises:
        DataError: a loss is nan, or `losses` is no ``(n,)``.

    >>> worst([0.5, 3.0, 0.1, 3.0], 3)
    array([1, 3, 0])
    """
    values = np.asarray(losses, np.float64)
    if values.ndim != 1:
        raise DataError(f"losses: expected one number per row (n,), got shape {values.shape}")
    if np.isnan(values).any():
        raise DataError(f"losses: row {int(np.argmax(np.isnan(values)))} is nan")
    k = min(max(k, 0), len(values))
    if 0 < k < len(values):  # only those that may be among the first need sorting
        few = np.flatnonzero(values >= np.partition(values, -k)[-k])
        return few[np.argsort(-values[few], kind="stable")[:k]]
    return np.argsort(-values, kind="stable")[:k]
