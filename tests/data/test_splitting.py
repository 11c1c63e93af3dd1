"""Splits: disjoint, complete, stratified, deterministic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.data import load_digits, split

shares = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(
    lambda parts: tuple(p / sum(parts) for p in parts)
)


def is_partition(parts, n):
    return np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(4, 40), min_size=1, max_size=6),
    fractions=shares,
    seed=st.integers(0, 2**32),
)
def test_stratified(counts, fractions, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split(y, fractions, seed=seed)
    assert is_partition(parts, len(y))
    for k, count in enumerate(counts):
        exact = count * np.array(fractions)
        got = np.array([(y[part] == k).sum() for part in parts])
        assert got.min() >= 1
        if exact.min() >= 1:  # otherwise the rule of one row for each part moves the others
            assert (abs(got - exact) < 1 + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 300), fractions=shares, seed=st.integers(0, 99))
def test_by_count(n, fractions, seed):
    parts = split(n, fractions, seed=seed)
    assert is_partition(parts, n)
    assert all(len(part) >= 1 and (np.diff(part) > 0).all() for part in parts)


def test_rounding_evens_out_over_the_classes():
    y = np.repeat(np.arange(100), 5)
    half, other = split(y, (0.5, 0.5))
    assert (len(half), len(other)) == (250, 250)


def test_deterministic_and_seeded():
    _, y = load_digits()
    first, again, other = (split(y, (0.6, 0.2, 0.2), seed=s) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_parts_are_drawn_over_the_whole_range():
    train, test = split(1000, (0.5, 0.5))
    assert abs(train.mean() - 500) < 40
    assert abs(test.mean() - 500) < 40


def test_text_labels():
    train, test = split(["cat", "dog"] * 5, (0.8, 0.2))
    assert (len(train), len(test)) == (8, 2)
    assert (test % 2).sum() == 1


def test_real_targets_without_strata():
    y = np.linspace(0, 1, 50)
    assert is_partition(split(y, (0.8, 0.2), stratify=False), 50)
    assert is_partition(split(np.zeros((50, 3)), (0.8, 0.2), stratify=False), 50)
    with pytest.raises(DataError, match=r"stratify=False"):
        split(y, (0.8, 0.2))


@pytest.mark.parametrize(
    ("y", "fractions", "message"),
    [
        (10, (0.8, 0.3), r"add up to 1.*1\.1"),
        (10, (1.2, -0.2), "positive"),
        (10, (), "positive"),
        (10, (0.5, float("nan")), "positive"),
        (0, (0.5, 0.5), "at least one row"),
        ([], (0.5, 0.5), "empty"),
        (2, (0.4, 0.3, 0.3), "2 rows cannot fill 3 parts"),
        ([0, 0, 0, 7], (0.5, 0.5), r"class 7 has 1 row\(s\), too few for 2 parts"),
        (np.zeros((3, 2)), (0.5, 0.5), r"shape \(3, 2\)"),
    ],
)
def test_refused(y, fractions, message):
    with pytest.raises(DataError, match=message):
        split(y, fractions)
