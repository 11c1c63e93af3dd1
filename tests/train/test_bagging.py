"""Bagging: who learns from which row, who judges it, and what ends it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError
from chainrule.train.bagging import Bagged, bagging, member_seed, shared, stretches
from chainrule.train.history import History

N = 23


def history(stopped: str = "epochs", epochs: int = 2) -> History:
    found = History([{"loss": 1.0, "val_loss": 1.0}] * epochs)
    found.stopped = stopped
    return found


class Constant(cr.nn.Module):
    """Says its number for every row."""

    def __init__(self, value: float) -> None:
        self.value = cr.nn.Parameter(np.array([value], np.float32))

    def forward(self, x: Any) -> Any:
        return cr.ops.add(cr.ops.multiply(x[:, :1], 0.0), self.value)


def run(ends: list[History | None], pairs: Any) -> tuple[Bagged, list[Any]]:
    """Bagging of networks that say 1, 2, 3, …; and what each was given."""
    x = np.arange(N, dtype=np.float32)[:, None]
    given: list[Any] = []

    def fit(k: int, train: Any, held: Any) -> Any:
        given.append((train[0][:, 0], None if held is None else held[0][:, 0]))
        end = ends[k]
        return None if end is None else (Constant(k + 1.0), end)

    return bagging(fit, (x, x), pairs), given


@pytest.mark.parametrize("groups", [None, np.arange(N) // 3])
@pytest.mark.parametrize("k", [2, 5])
def test_a_row_stops_one_network_and_teaches_the_others(k: int, groups: Any) -> None:
    pairs = cr.data.folds(N, k, stratify=False, groups=groups)
    found, given = run([history() for _ in range(k)], pairs)
    for train, held in given:
        assert not set(train) & set(held)
        assert len(train) + len(held) == N
        if groups is not None:
            assert not set(groups[train.astype(int)]) & set(groups[held.astype(int)])
    assert sorted(np.concatenate([held for _, held in given])) == list(range(N))
    assert found.judged.all()
    for number, (_, held) in enumerate(pairs):
        assert (found.scores[held] == number + 1).all()  # by the network that had not seen it
    assert len(found.model) == k  # type: ignore[arg-type]
    assert not found.model.training
    assert found.model(np.zeros((1, 1), np.float32)).item() == (k + 1) / 2


def test_rows_of_their_own_are_judged_by_the_mean() -> None:
    found, given = run([history() for _ in range(3)], shared(20, 3, 3))
    assert all(train.tolist() == list(range(20)) for train, _ in given)
    assert found.judged.tolist() == [False] * 20 + [True] * 3
    assert found.scores[20:].tolist() == [[2.0]] * 3
    found, given = run([history() for _ in range(2)], shared(N, 0, 2))
    assert not found.judged.any()
    assert [held for _, held in given] == [None, None]


def test_stretches_follow_each_other() -> None:
    time = np.array([5, 3, 3, 9, 1, 7, 8, 2, 6, 4])
    pairs = stretches(time, 3)
    assert sorted(k for _, stop in pairs for k in stop) == list(range(10))
    ends = [(time[stop].min(), time[stop].max()) for _, stop in pairs]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
    assert all(sorted([*learn, *stop]) == list(range(10)) for learn, stop in pairs)
    with pytest.raises(DataError, match="too few"):
        stretches([1, 1, 2, 2], 3)


def test_what_is_trained_is_kept_when_time_ends() -> None:
    pairs = cr.data.folds(N, 4, stratify=False)
    found, given = run([history(), history("early stopping"), None, history()], pairs)
    assert len(given) == 3
    assert (found.numbers, found.stopped) == ([0, 1], "time limit")
    assert found.judged.sum() == len(pairs[0][1]) + len(pairs[1][1])
    none, cut = history("time limit", 0), history("time limit")
    found, _ = run([none, history(), cut, history()], pairs)
    assert (found.numbers, found.stopped) == ([1, 3], "time limit")
    assert not found.judged[pairs[0][1]].any()
    for ends, kept in (([none, None], 0), ([cut, None], 0), ([none, cut], 1)):
        found, _ = run(ends, pairs[:2])
        assert (found.numbers, type(found.model)) == ([kept], Constant)


def test_ctrl_c_keeps_what_was_whole() -> None:
    pairs = cr.data.folds(N, 3, stratify=False)
    found, _ = run([history(), history("interrupted"), history()], pairs)
    assert (found.numbers, found.stopped) == ([0], "interrupted")
    found, _ = run([history("interrupted", 1), history(), history()], pairs)
    assert (found.numbers, found.stopped) == ([0], "interrupted")

    def pressed(k: int, train: Any, held: Any) -> Any:
        if k == 1:
            raise KeyboardInterrupt
        return Constant(1.0), history()

    x = np.zeros((N, 1), np.float32)
    found = bagging(pressed, (x, x), pairs)
    assert (found.numbers, found.stopped) == ([0], "interrupted")
    with pytest.raises(KeyboardInterrupt):
        bagging(lambda k, train, held: pressed(1, train, held), (x, x), pairs)


def test_pairs_that_leak_are_refused() -> None:
    x = np.zeros((4, 1), np.float32)
    with pytest.raises(ValueError, match="pair 1 learns from row 2 and holds it out"):
        bagging(lambda *_: None, (x, x), [([0, 1], [2]), ([1, 2], [2, 3])])
    with pytest.raises(ValueError, match="got none"):
        bagging(lambda *_: None, (x, x), [])


def test_neighbouring_seeds_share_no_member() -> None:
    seeds = [member_seed(s, k) for s in range(20) for k in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert [member_seed(s, 0) for s in range(3)] == [0, 1, 2]
