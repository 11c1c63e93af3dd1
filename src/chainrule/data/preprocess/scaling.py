"""Numbers of any magnitude brought to the scale that networks train on: one column at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.ops.standardization import mean_and_deviation

__all__ = ["SCALINGS", "Scaler"]

Array = npt.NDArray[Any]

SCALINGS = ("standard", "robust", "quantile", "none")

#: Where scaled values end. In training a standardised value is at most √rows, so this meets what
#: a damaged file holds, and what would carry a network beyond the range of float32.
LIMIT = 1e4
_LARGEST = float(np.finfo(np.float32).max)
_KNOTS = 1000
_QUARTILES = 1.3489795003921634  # the interquartile range of a standard normal


@dataclass(frozen=True)
class Scaler:
    """``z = (x / unit - centre) / scale``, or the normal score that `knots` give ``x / unit``.

    Attributes:
        form: one of `SCALINGS`: ``"standard"``, mean and standard deviation; ``"robust"``, median
            and interquartile range / 1.349 (which of a normal is its standard deviation; where it
            is 0, the standard deviation); ``"quantile"``, the rank among the training rows as a
            standard normal value, linear between up to 1000 knots and constant beyond the last;
            ``"none"``, the numbers as they are.
        unit: a power of 2, other than 1 where the largest magnitude is over 1e100 or under 1e-100:
            dividing by it is exact, and the squares stay in range.
        centre, scale: of ``x / unit``. What rounding leaves of a constant has scale 1.
        knots, scores: increasing, for ``"quantile"``.
    """

    form: str
    unit: float = 1.0
    centre: float = 0.0
    scale: float = 1.0
    knots: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @classmethod
    def fit(cls, values: Array, form: str = "standard") -> Scaler:
        """Statistics of finite float64 ``(n,)`` with n at least 1.

        >>> Scaler.fit(np.array([1.0, 3.0])).apply(np.array([1.0, 2.0, 3.0]))
        array([-1.,  0.,  1.], dtype=float32)
        """
        if form == "none":
            return cls(form)
        largest = max(abs(float(values.max())), abs(float(values.min())))
        extreme = largest > 0 and not 1e-100 < largest < 1e100
        # at most 2**1022, so that the unit itself is a finite number
        unit = math.ldexp(1.0, min(math.frexp(largest)[1], 1022)) if extreme else 1.0
        if extreme:
            values = values / unit
        if form == "quantile":
            knots, scores = _normal_scores(np.sort(values))
            return cls(form, unit, knots=knots, scores=scores)
        mean, deviation = mean_and_deviation(values, dtype=np.float64)
        centre, scale = float(mean), float(deviation)
        if form == "robust":
            low, centre, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
            spread = (high - low) / _QUARTILES
            scale = spread if spread > 8 * np.finfo(np.float64).eps * abs(centre) else scale
        return cls(form, unit, centre, scale)

    @property
    def limit(self) -> float:
        """The largest magnitude that `apply` gives; what lies beyond it is clipped to it."""
        return _LARGEST if self.form == "none" else LIMIT

    def exact(self, x: Array) -> npt.NDArray[np.float64]:
        """Scaled, in double precision and not clipped."""
        with np.errstate(over="ignore"):  # what lies beyond float64 is clipped like all that is far
            if self.unit != 1.0:
                x = x / self.unit
            if self.form == "quantile":
                return np.interp(x, self.knots, self.scores)
            z: npt.NDArray[np.float64] = x - self.centre
            z /= self.scale
        return z

    def apply(self, x: Array) -> npt.NDArray[np.float32]:
        """Scaled, as float32 within ±`limit`, from finite float64."""
        z = self.exact(x)
        return np.clip(z, -self.limit, self.limit, out=z).astype(np.float32)

    def undo(self, z: Array) -> npt.NDArray[np.float64]:
        """The way back of the linear forms, in double precision."""
        with np.errstate(over="ignore"):
            return (np.asarray(z, np.float64) * self.scale + self.centre) * self.unit

    def validate(self) -> None:
        """Raise ValueError for what `fit` cannot have made."""
        if self.form not in SCALINGS:
            raise ValueError(f"scaling {self.form!r} is unknown")
        if self.unit <= 0 or self.scale <= 0:
            raise ValueError("unit and scale must be positive")
        if len(self.knots) != len(self.scores) or bool(self.knots) != (self.form == "quantile"):
            raise ValueError("knots and scores do not belong together")
        if (np.diff(self.knots) <= 0).any() or (np.diff(self.scores) < 0).any():
            raise ValueError("knots and scores must increase")


def _normal_scores(ordered: Array) -> tuple[list[float], list[float]]:
    """Up to `_KNOTS` quantiles, ties merged, and the normal value at the middle of their ranks."""
    n = len(ordered)
    position = np.linspace(0, n - 1, min(n, _KNOTS))
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, n - 1)
    values = ordered[low] + (ordered[high] - ordered[low]) * (position - low)
    values = np.maximum.accumulate(values)
    # closer than this the slope between two knots would overflow
    start = np.flatnonzero(np.diff(values, prepend=-np.inf) > 1e-290)
    count = np.diff(np.append(start, len(values)))
    middle = np.add.reduceat(position, start) / count
    normal = NormalDist()
    scores = [normal.inv_cdf(float(p)) for p in (middle + 0.5) / n]
    return values[start].tolist(), scores
