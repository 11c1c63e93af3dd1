"""Columns that give the target away: what will not be known when the model is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.kinds import as_plain
from chainrule.data.preprocess.values import family_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["leak"]

_ROWS = 20  # below this, chance alone gives what looks like a leak
_PER_VALUE = 5  # rows for each different value of a column that seems to decide the target
_CORRELATION = 0.999


def leak(series: pl.Series, unique: int, target: Any) -> str:
    """How a column gives a target away; "" if it does not.

    - It equals the target, or |correlation| with a target of numbers is over 0.999.
    - Its value decides that of the target in every row, with at least 5 rows for each of its
      values on average, and 5 that differ from the most frequent target.

    Args:
        series: the column.
        unique: how many different values it has.
        target: ``(n,)`` or ``(n, k)`` of any kind; every column of it is looked at.

    >>> import polars as pl
    >>> leak(pl.Series("outcome", ["lived", "died"] * 10), 2, [1, 0] * 10)
    'each of its 2 values has one value of the target'
    """
    for other in to_frame(target, "the target", "y"):
        present = series.is_not_null() & other.is_not_null()
        if len(other) != len(series) or int(present.sum()) < _ROWS or other.n_unique() < 2:
            continue
        a, b = as_plain(series), as_plain(other)
        if not present.all():
            a, b = a.filter(present), b.filter(present)
        if a.equals(b, check_names=False):
            return "it equals the target"
        numbers = ("numbers", "booleans")
        if family_of(series) in numbers and family_of(other) in numbers:
            correlation = _correlation(a.to_numpy(), b.to_numpy())
            if abs(correlation) > _CORRELATION:
                return f"its correlation with the target is {correlation:.6f}"
        if 1 < unique <= len(a) // _PER_VALUE and _decides(a, b):
            return f"each of its {unique} values has one value of the target"
    return ""


def _decides(a: pl.Series, b: pl.Series) -> bool:
    import polars as pl

    most = b.value_counts(name="count")["count"].max()
    if not isinstance(most, int) or len(b) - most < _PER_VALUE:
        return False
    # a thousand rows tell most columns apart already
    for part in (slice(0, 1000), slice(None)):
        pairs = pl.DataFrame({"a": a[part], "b": b[part]})
        if pairs.n_unique() > pairs["a"].n_unique():
            return False
    return True


def _correlation(a: Any, b: Any) -> float:
    here = np.isfinite(a) & np.isfinite(b)
    a, b = a[here], b[here]
    if len(a) < _ROWS:
        return 0.0
    with np.errstate(all="ignore"):
        a, b = (v / max(float(np.abs(v).max()), 1e-300) for v in (a, b))
        a, b = a - a.mean(), b - b.mean()
        value = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    return value if np.isfinite(value) else 0.0
