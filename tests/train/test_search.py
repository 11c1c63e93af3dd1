"""Random search: what is drawn, what is kept, what failure and time do."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError, NonFiniteError
from chainrule.train import search as module
from chainrule.train.search import draws, search

BASE = {
    "hidden": (128, 128),
    "dropout": 0.1,
    "learning_rate": 0.004,
    "weight_decay": 0.1,
    "epochs": 50,
}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), rate=st.floats(1e-4, 0.1), decay=st.floats(0, 1))
def test_draws_stay_in_their_ranges(seed, rate, decay):
    base = BASE | {"learning_rate": rate, "weight_decay": decay}
    drawn = list(islice(draws(seed, base), 12))
    assert drawn == list(islice(draws(seed, base), 12))
    assert drawn[0] == base
    for s in drawn[1:]:
        assert s.keys() == base.keys()
        assert s["epochs"] == 50
        assert 1 <= len(s["hidden"]) <= 3
        assert len(set(s["hidden"])) == 1
        assert 32 <= s["hidden"][0] <= 256
        assert 0 <= s["dropout"] <= 0.5
        assert rate / 5.3 <= s["learning_rate"] <= rate * 5.3  # two digits
        assert 0 < s["weight_decay"] <= 11


def test_every_choice_comes_up_and_the_base_is_left_alone():
    base = dict(BASE)
    drawn = list(islice(draws(0, base), 300))
    assert base == BASE
    assert {len(s["hidden"]) for s in drawn} == {1, 2, 3}
    assert {s["hidden"][0] for s in drawn} == {32, 64, 128, 256}
    assert {s["dropout"] for s in drawn} == {0.0, 0.1, 0.2, 0.3, 0.5}
    rates = np.log([s["learning_rate"] / 0.004 for s in drawn])
    assert abs(rates.mean()) < 0.15
    assert rates.max() > 1.4
    assert rates.min() < -1.4


def test_what_the_base_lacks_is_not_varied():
    assert set(list(islice(draws(0, {"dropout": 0.2}), 2))[1]) == {"dropout"}


def test_the_best_comes_first_and_ties_go_to_the_earlier():
    seen = []

    def evaluate(s):
        seen.append(s)
        return round(abs(math.log(s["learning_rate"] / 0.01)))

    trials = search(evaluate, BASE, draws=30, seed=3)
    assert seen == list(islice(draws(3, BASE), 30))
    assert [(t.score, t.number) for t in trials] == sorted((t.score, t.number) for t in trials)
    assert sorted(t.number for t in trials) == list(range(30))
    assert trials[0].score < abs(math.log(0.004 / 0.01))


def test_failures_are_kept_and_come_last():
    told = []

    def evaluate(s):
        if s["learning_rate"] > 0.004:
            raise NonFiniteError("the loss became nan at step 3")
        if s["dropout"] == 0.5:
            return math.nan
        s["hidden"] = "an evaluation that writes into its settings changes no record"
        return s["learning_rate"]

    trials = search(evaluate, BASE, draws=30, on_trial=told.append)
    failed = [t for t in trials if t.error]
    assert trials[-len(failed) :] == failed
    assert {t.error for t in failed} == {"the loss became nan at step 3", "the loss is nan"}
    assert all(math.isinf(t.score) for t in failed)
    assert [t.number for t in told] == list(range(30))
    assert all(isinstance(t.settings["hidden"], tuple) for t in trials)


def test_other_errors_end_the_search():
    def evaluate(_):
        raise DataError("no rows")

    with pytest.raises(DataError, match="no rows"):
        search(evaluate, BASE)


def test_the_time_limit_lets_the_first_trial_run(monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 1.0))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    assert len(search(lambda s: 1.0, BASE, draws=50, time_limit=0.5)) == 1
    assert len(search(lambda s: 1.0, BASE, draws=50, time_limit=6.5)) == 3  # two looks a trial


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "1 or more, got 0"),
        ({"draws": 2.0}, "whole"),
        ({"time_limit": 0}, "positive"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search(lambda s: 1.0, BASE, **options)
