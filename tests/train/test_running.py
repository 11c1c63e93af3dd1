from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.train.running import Evaluating, Running


def test_the_mean_is_weighted() -> None:
    running = Running()
    running.add(1.0, 3.0)
    running.add(5.0, 1.0)
    assert running.mean() == 2.0
    assert running.last == 5.0
    with pytest.raises(cr.DataError, match="nothing to measure"):
        Running().mean()


def test_outputs_are_joined_and_forgotten() -> None:
    running = Running()
    for k in range(2):
        running.output = np.full((2, 3), k)
        running.keep(np.array([k, k]), None)
    assert running.rows == 4
    y, output, weight = running.kept()
    assert y.tolist() == [0, 0, 1, 1]
    assert output[:, 0].tolist() == [0, 0, 1, 1]
    assert weight is None
    assert running.kept() == (None, None, None)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_comes_back(training: bool) -> None:
    model = cr.nn.Dropout(0.5).train(training)
    with Evaluating(model):
        assert not model.training
    assert model.training is training
