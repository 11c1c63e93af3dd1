"""Sums without rounding: against Fraction, in any order, over the whole range of float64."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.metrics import _exact
from chainrule.metrics._exact import UNIT, join, quotient, rounded, tally, units

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.tuples(st.integers(0, 2), NUMBERS), max_size=12), seed=st.integers(0, 99))
def test_a_tally_is_the_sum_of_fractions(values: Any, seed: int):
    codes = np.array([c for c, _ in values], np.int64)
    numbers = np.array([v for _, v in values], np.float64)
    if not len(values):
        return
    whole = tally(codes, numbers, 3)
    for code in range(3):
        true = sum((Fraction(v) for c, v in values if c == code), Fraction(0))
        assert Fraction(whole[code], 2**UNIT) == true
    order = np.random.default_rng(seed).permutation(len(values))
    assert (tally(codes[order], numbers[order], 3) == whole).all()
    cut = seed % len(values)
    if cut:
        parts = [tally(codes[rows], numbers[rows], 3) for rows in (slice(cut), slice(cut, None))]
        assert (join(*parts) == whole).all()


def test_rounding_is_that_of_fsum():
    rng = np.random.default_rng(0)
    for scale in (1e-320, 1.0, 1e300):
        v = rng.normal(size=1000) * scale * 10.0 ** rng.integers(-5, 5, 1000)
        assert rounded(tally(np.zeros(1000, np.int64), v, 1))[0] == math.fsum(v)
    cancel = np.array([1e308, 1.0, -1e308, 5e-324])
    assert rounded(tally(np.zeros(4, np.int64), cancel, 1))[0] == 1.0


def test_integers_stay_integers_and_join_units():
    whole = tally(np.array([0, 1, 1]), np.array([2, 3, 4]), 3)
    assert whole.dtype == np.int64
    assert rounded(whole) is whole
    both = join(whole, tally(np.array([2, 1]), np.array([0.5, 0.25]), 3))
    assert rounded(both).tolist() == [2, 7.25, 0.5]
    assert (units(whole) == whole.astype(object) * 2**UNIT).all()


def test_many_codes_and_exponents():
    codes = np.arange(100_000)
    v = np.ldexp(1.0, -(codes % 2000) + 900)
    assert (rounded(tally(codes, v, len(codes))) == v).all()


def test_batches_longer_than_the_halves_allow(monkeypatch: pytest.MonkeyPatch):
    v = np.random.default_rng(1).normal(size=1000)
    codes = np.zeros(1000, np.int64)
    whole = tally(codes, v, 1)
    monkeypatch.setattr(_exact, "_MOST", 64)
    assert tally(codes, v, 1)[0] == whole[0]


def test_quotients_overflow_to_infinity():
    assert quotient(10**400, 1) == math.inf
    assert quotient(-(10**400), 1) == -math.inf
    assert quotient(10**400, 3 * 10**400) == 1 / 3
