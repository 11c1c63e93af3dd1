"""A step length that satisfies the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chainrule.array.dtypes import Array

__all__ = ["Point", "cubic_minimum", "strong_wolfe"]


@dataclass(frozen=True, eq=False)
class Point:
    """Where a line search has been.

    Arguments:
        t: how far along the direction.
        value: the function there; infinite where it is not a number.
        gradient: its gradient.
        slope: the derivative along the direction.
    """

    t: float
    value: float
    gradient: Array
    slope: float


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where in [low, high] the cubic through two points with their slopes is least.

    The middle if it has no minimum, or no finite one.

    >>> import numpy as np
    >>> square = [Point(t, (t - 2) ** 2, np.empty(0), 2 * (t - 2)) for t in (0.0, 5.0)]
    >>> cubic_minimum(*square, 0.0, 5.0)
    2.0
    """
    if a.t > b.t:
        a, b = b, a
    width = b.t - a.t
    if width > 0 and math.isfinite(a.value) and math.isfinite(b.value):
        bend = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
        square = bend * bend - a.slope * b.slope  # infinite rather than an OverflowError
        if square >= 0:
            root = math.sqrt(square)
            whole = b.slope - a.slope + 2 * root
            if whole != 0:
                best = b.t - width * ((b.slope + root - bend) / whole)
                if math.isfinite(best):
                    return min(max(best, low), high)
    return (low + high) / 2.0


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    reach: float,
    tolerance: float = 1e-9,
    most: int = 25,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A point that is low enough and flat enough, by bracketing and zooming.

    The conditions on f(t) along the direction are
    ``f(t) <= f(0) + c1 t f'(0)`` and ``|f'(t)| <= c2 |f'(0)|``.

    Arguments:
        evaluate: the point at a t.
        start: the point at 0, with a slope below 0.
        t: the first length to try.
        reach: the largest entry of the direction: a bracket that moves no parameter by more than
            `tolerance` is not divided any further.
        tolerance: see above.
        most: evaluations after the first.
        c1, c2: the constants of the two conditions.

    Returns:
        the best point, which is `start` if none was lower, and the number of evaluations.

    A point where the function is infinite or not a number counts as too high.

    Where PyTorch differs: of the two ends of a bracket it takes the one with the smaller value for
    the better, also where that one fails the first condition, and may then end at a point that
    fails it.

    Reference: Nocedal & Wright, "Numerical optimization", 2006, algorithms 3.5 and 3.6, with cubic
    interpolation and safeguards as in minFunc (Schmidt 2005).
    """

    def too_high(point: Point) -> bool:
        return not point.value <= start.value + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, point, count = start, evaluate(t), 1
    while count <= most:  # lengthen until a minimum must lie between two points
        if too_high(point) or (count > 2 and point.value >= before.value):
            break
        if flat(point):
            return point, count
        if point.slope >= 0:
            break
        farther = (point.t + 0.01 * (point.t - before.t), point.t * 10)
        before, point = point, evaluate(cubic_minimum(before, point, *farther))
        count += 1
    else:
        return (start if start.value <= point.value else point), count

    # low satisfies the first condition and is the lower of the two that do, or the start
    rises = too_high(point) or point.value >= before.value
    low, high = (before, point) if rises else (point, before)
    stuck = False
    while count <= most and abs(high.t - low.t) * reach >= tolerance:
        left, right = min(low.t, high.t), max(low.t, high.t)
        t = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # hardly inside: the second time, go further in
            if stuck or t >= right or t <= left:
                t = right - margin if right - t < t - left else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = evaluate(t)
        count += 1
        if too_high(point) or point.value >= low.value:
            high = point
        else:
            if flat(point):
                return point, count
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
    return low, count
