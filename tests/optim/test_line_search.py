"""The strong Wolfe conditions, and the cubic under them."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.optim.line_search import Point, cubic_minimum, strong_wolfe

EMPTY = np.empty(0)


def along(f: Any, slope: Any) -> Any:
    return lambda t: Point(t, f(t), EMPTY, slope(t))


@settings(max_examples=60)
@given(
    st.floats(0.05, 5.0), st.floats(-3.0, 3.0), st.floats(0.1, 3.0), st.floats(0.3, 3.0),
)  # fmt: skip
def test_the_cubic_is_found_exactly(a: float, b: float, left: float, width: float) -> None:
    """A cubic is its own interpolation: the minimum of a/3 t³ + b/2 t² - t is where it turns."""
    f = along(lambda t: a / 3 * t**3 + b / 2 * t**2 - t, lambda t: a * t * t + b * t - 1)
    root = (-b + math.sqrt(b * b + 4 * a)) / (2 * a)
    found = cubic_minimum(f(root - left), f(root + width), -1e9, 1e9)
    assert found == pytest.approx(root, rel=1e-6, abs=1e-6)
    assert found == cubic_minimum(f(root + width), f(root - left), -1e9, 1e9)
    assert cubic_minimum(f(root - left), f(root + width), root + 1, root + 2) == root + 1


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e308])
def test_the_middle_where_there_is_no_cubic(value: float) -> None:
    low, high = Point(0.0, 1.0, EMPTY, -1.0), Point(2.0, value, EMPTY, math.nan)
    assert cubic_minimum(low, high, 0.0, 2.0) == 1.0
    assert cubic_minimum(low, low, 0.0, 2.0) == 1.0
    flat = [Point(t, 1.0, EMPTY, 0.0) for t in (0.0, 2.0)]
    assert cubic_minimum(*flat, 0.0, 2.0) == 1.0


FUNCTIONS: list[tuple[Any, Any]] = [
    (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    (lambda t: (t - 3) ** 4, lambda t: 4 * (t - 3) ** 3),
    (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),  # Moré & Thuente 1
    (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
     lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),  # Moré & Thuente 2
    (lambda t: t - math.log(t + 0.1), lambda t: 1 - 1 / (t + 0.1)),
    (lambda t: math.cos(3 * t) - 0.1 * t, lambda t: -3 * math.sin(3 * t) - 0.1),
]  # fmt: skip


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("k", range(len(FUNCTIONS)))
def test_both_conditions_hold(k: int, first: float) -> None:
    f = along(*FUNCTIONS[k])
    start = f(0.0)
    point, count = strong_wolfe(f, start, first, 1.0, tolerance=1e-15, most=60)
    assert point.value <= start.value + 1e-4 * point.t * start.slope
    assert abs(point.slope) <= -0.9 * start.slope
    assert 1 <= count <= 60


def test_beyond_a_pole() -> None:
    def f(t: float) -> float:
        return -math.log(1 - t) - 2 * t if t < 1 else math.inf

    search = along(f, lambda t: 1 / (1 - t) - 2 if t < 1 else math.nan)
    point, _ = strong_wolfe(search, search(0.0), 50.0, 1.0, most=60)
    assert 0 < point.t < 1
    assert abs(point.slope) <= 0.9


def test_nothing_lower_gives_the_start() -> None:
    start = Point(0.0, 0.0, EMPTY, -1.0)
    up = along(lambda t: math.inf, lambda t: math.nan)
    point, count = strong_wolfe(up, start, 1.0, 1.0, most=10)
    assert point is start
    assert count == 11
    falls = along(lambda t: -t, lambda t: -1.0)  # for ever: as far as the evaluations reach
    point, count = strong_wolfe(falls, start, 1.0, 1.0, most=5)
    assert point.t > 100
    assert count == 6
