"""Permutation importance against what is known of a made-up score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.array.errors import DataError
from chainrule.diagnose import Importance, permutation_importance

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 4))
Y = 2 * X[:, 0] + X[:, 1] + X[:, 2]
COLUMNS = {"unused": [3], "pair": [1, 2], "strong": [0]}


def score(x: Any, rows: Any) -> float:
    return -float(((x[:, :3] @ [2.0, 1, 1] - Y[rows]) ** 2).mean())


def test_a_linear_model_has_its_known_importances() -> None:
    before = X.copy()
    found = permutation_importance(score, X, COLUMNS)
    assert [f.column for f in found] == ["strong", "pair", "unused"]
    # shuffling b·x adds 2 b² var(x) to the squared error
    assert found[0].mean == pytest.approx(8 * X[:, 0].var(), rel=0.1)
    assert found[1].mean == pytest.approx(2 * (X[:, 1] + X[:, 2]).var(), rel=0.1)
    assert found[2] == Importance("unused", 0.0, 0.0)
    assert 0 < found[0].spread < 1
    assert (before == X).all()


def test_the_features_of_a_column_move_together() -> None:
    codes = np.arange(300) % 3
    x = np.eye(3)[codes]

    def is_one_hot(x: Any, rows: Any) -> float:
        return float((x.sum(axis=1) == 1).mean())

    (found,) = permutation_importance(is_one_hot, x, {"category": [0, 1, 2]})
    assert found.mean == 0
    apart = permutation_importance(is_one_hot, x, {"a": [0], "b": [1], "c": [2]})
    assert apart[0].mean > 0.3


def test_draws_depend_on_the_seed_and_the_name_alone() -> None:
    found = permutation_importance(score, X, COLUMNS, repeats=2)
    assert found == permutation_importance(score, X, dict(reversed(COLUMNS.items())), repeats=2)
    assert found[0] in permutation_importance(score, X, {"strong": [0]}, repeats=2)
    assert found != permutation_importance(score, X, COLUMNS, repeats=2, seed=1)


def test_of_many_rows_some_are_taken_with_their_targets() -> None:
    sizes = set()

    def counted(x: Any, rows: Any) -> float:
        sizes.add(len(x))
        return score(x, rows)

    found = permutation_importance(counted, X, COLUMNS, rows=500)
    assert sizes == {500}
    assert found[0].mean == pytest.approx(8, rel=0.25)
    assert found[2].mean == 0


def test_errors() -> None:
    with pytest.raises(DataError, match="'a' has feature 4, but x has 4"):
        permutation_importance(score, X, {"a": [4]})
    with pytest.raises(DataError, match="got 0 rows"):
        permutation_importance(score, X[:0], COLUMNS)
    with pytest.raises(DataError, match="repeats=0"):
        permutation_importance(score, X, COLUMNS, repeats=0)
