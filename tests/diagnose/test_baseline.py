"""The best constant prediction: no other does better."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import metrics
from chainrule.array.errors import DataError
from chainrule.diagnose import best_constant


def test_no_constant_is_better() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 50)
    best = best_constant("multiclass", y)

    def loss(p: np.ndarray) -> float:
        return metrics.log_loss(y, np.tile(p, (50, 1)))

    for _ in range(20):
        assert loss(best) < loss(rng.dirichlet(np.ones(3)))
    t = rng.normal(size=50)
    mean = best_constant("regression", t)
    assert mean == pytest.approx(t.mean())
    assert metrics.r2_score(t, np.repeat(mean, 50)) == pytest.approx(0)


def test_forms() -> None:
    assert best_constant("binary", [0, 0]).tolist() == [1.0, 0.0]
    assert best_constant("multiclass", [0, 1], 4).tolist() == [0.5, 0.5, 0, 0]
    assert best_constant("multilabel", [[0, 1], [1, 1]]).tolist() == [0.5, 1.0]
    assert best_constant("regression", [[0.0, 1.0], [2.0, 5.0]]).tolist() == [1.0, 3.0]
    big = np.full(3, 16_777_217.0, np.float32)
    assert best_constant("regression", big)[0] == big[0]


def test_errors() -> None:
    with pytest.raises(DataError, match="at least one row"):
        best_constant("binary", [])
    with pytest.raises(DataError, match="row 1 is nan"):
        best_constant("regression", [0.0, np.nan])
