"""Splits: disjoint, complete, stratified, deterministic."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.data import folds, load_digits, split

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


# -- groups ---------------------------------------------------------------------------------------


@st.composite
def grouped(draw):
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    sizes = draw(st.lists(st.integers(1, 12), min_size=5, max_size=30))
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    y = rng.integers(0, draw(st.integers(1, 4)), len(groups))
    return y, groups, seed


@settings(max_examples=60, deadline=None)
@given(data=grouped(), fractions=shares, k=st.integers(2, 5))
def test_no_group_is_in_two_parts(data, fractions, k):
    y, groups, seed = data
    parts = split(y, fractions, seed=seed, groups=groups)
    assert is_partition(parts, len(y))
    assert all(len(part) and (np.diff(part) > 0).all() for part in parts)
    assert sum(len(np.unique(groups[part])) for part in parts) == len(np.unique(groups))
    again = split(y, fractions, seed=seed, groups=groups.astype(str).astype(object))
    assert len(again) == len(parts)
    pairs = folds(y, k, seed=seed, groups=groups)
    assert is_partition([valid for _, valid in pairs], len(y))
    for train, valid in pairs:
        assert is_partition([train, valid], len(y))
        assert not np.intersect1d(groups[train], groups[valid]).size


def test_groups_meet_shares_and_classes():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 4000)
    y = (rng.random(4000) < 0.02 + 0.3 * (groups % 10 == 0)).astype(int)  # rare, and clustered
    train, valid, test = split(y, (0.7, 0.1, 0.2), groups=groups)
    for part, share in ((train, 0.7), (valid, 0.1), (test, 0.2)):
        assert len(part) == pytest.approx(share * len(y), rel=0.02)
        assert abs(y[part].sum() - share * y.sum()) <= 2  # positive rows; some groups have 8


def test_one_huge_group_leaves_something_for_each_part():
    groups = np.array([0] * 98 + [1, 2])
    parts = split(100, (0.5, 0.3, 0.2), groups=groups)
    assert sorted(map(len, parts)) == [1, 1, 98]


# -- time -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 30), min_size=6, max_size=80).filter(lambda t: len(set(t)) > 5),
    fractions=shares,
    k=st.integers(2, 5),
)
def test_later_parts_are_later(times, fractions, k):
    t = np.array(times)
    parts = split(len(t), fractions, time=t)
    assert is_partition(parts, len(t))
    for before, after in pairwise(parts):
        assert t[before].max() < t[after].min()
    pairs = folds(np.zeros(len(t)), k, time=t.astype("datetime64[D]"))
    assert len(pairs) == k
    for i, (train, valid) in enumerate(pairs):
        assert t[train].max() < t[valid].min()
        if i:
            assert np.array_equal(train, np.union1d(*pairs[i - 1]))
    assert is_partition(pairs[-1], len(t))


def test_time_without_ties_meets_the_shares():
    t = np.random.default_rng(0).permutation(1000)
    parts = split(1000, (0.6, 0.2, 0.2), time=t)
    assert [len(p) for p in parts] == [600, 200, 200]
    assert (np.sort(t[parts[2]]) == np.arange(800, 1000)).all()


def test_dates_as_text_and_with_zones():
    days = ["2024-02-01", "2023-12-31 23:59", "2024-01-15T06:00:00+02:00", "2024-03-01"]
    train, test = split(4, (0.5, 0.5), time=days)
    assert (train.tolist(), test.tolist()) == ([1, 2], [0, 3])
    train, test = split(4, (0.5, 0.5), time=np.array(days[:2] * 2, "datetime64[s]"))
    assert (train.tolist(), test.tolist()) == ([1, 3], [0, 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": [1.0, np.nan, 3, np.nan]}, r"time has no value at rows 1, 3 \(counted from 0\)"),
        ({"time": ["2024-01-01", None, "", "x"]}, r"no value at row 1 \(c.*this row"),
        ({"time": ["2024-01-01", "1/2/24", "a", "b"]}, r"'1/2/24' at row 1 .*2024-03-31"),
        ({"time": [1, 1, 1, 1]}, r"1 different value.*too few for 2 parts"),
        ({"time": [1, 2, 3]}, r"time has shape \(3,\); expected \(4,\)"),
        ({"groups": ["a", None, "a", "b"]}, "groups has no value at row 1"),
        ({"groups": ["a"] * 4}, r"1 different value.*never cut"),
        ({"groups": np.array(["a", 1, 2, "b"], object)}, "groups mixes values of types int, str"),
        ({"groups": [1, 1, 2, 2], "time": [1, 2, 3, 4]}, "give one"),
    ],
)
def test_refused_groups_and_times(options, message):
    with pytest.raises(DataError, match=message):
        split(4, (0.5, 0.5), **options)


# -- folds ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(5, 20), min_size=1, max_size=4),
    k=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_folds_are_stratified(counts, k, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    pairs = folds(y, k, seed=seed)
    assert is_partition([valid for _, valid in pairs], len(y))
    for train, valid in pairs:
        assert is_partition([train, valid], len(y))
        held = np.bincount(y[valid], minlength=len(counts))
        assert (abs(held - np.array(counts) / k) < 1).all()
    assert all(
        np.array_equal(a, b)
        for one, two in zip(pairs, folds(y, k, seed=seed), strict=True)
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize(
    ("y", "k", "message"),
    [
        (9, 1, "2 or more, got 1"),
        (9, 2.0, "whole number"),
        (3, 5, "3 rows cannot fill 5 folds"),
        ([0, 0, 0, 1, 1], 3, r"class 1 has 2 row\(s\), too few for 3 folds. Merge"),
        ([0.0, np.nan, 1.0, 0.0], 2, "y has no value at row 1"),
    ],
)
def test_refused_folds(y, k, message):
    with pytest.raises(DataError, match=message):
        folds(y, k)
