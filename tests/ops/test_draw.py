"""Random operands: keyed by who draws, and drawn anew at each replay."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.ops import draw


def test_uniform_numbers_have_the_type_of_what_they_are_for():
    cr.seed(0)
    for like, dtype in (
        (np.zeros((2, 3), np.float32), np.float32),
        (cr.tensor(np.zeros((2, 3))), np.float64),
        ([[1, 2, 3], [4, 5, 6]], np.float32),
    ):
        u = draw.uniform("x", like, 2.0, 3.0)
        assert u.dtype == dtype
        assert u.shape == (2, 3)
        assert ((u >= 2) & (u < 3)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_captured_step_draws_what_the_eager_one_draws(dtype, executor):
    """Of both kinds, in order and under one name; the stream moves on as far."""

    class Both(cr.nn.Module):
        def forward(self, x):
            a = ops.rrelu(x, training=True)
            b = ops.dropout(x, 0.5)
            return a, b, ops.rrelu(ops.dropout(a, 0.25), 0.5, 0.75, training=True)

    layer = Both()
    arrays = [-np.ones((3, 5, 7), dtype)]
    captured = cr.capture(lambda x: layer(cr.tensor(x)))
    cr.seed(3)
    eager = [[t.numpy() for t in layer(cr.tensor(*arrays))] for _ in range(5)]
    drawn = cr.array.random.default_stream().state()
    cr.seed(3)
    for expected in eager:
        for a, b in zip(captured(*arrays), expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
            assert a.dtype == dtype
    assert captured.reason is None
    assert cr.array.random.default_stream().state() == drawn
    assert len(np.unique([e[0][0, 0, 0] for e in eager])) == 5


def test_a_captured_step_shows_where_it_draws(executor, capsys):
    step = cr.capture(lambda x: ops.rrelu(cr.tensor(x), training=True))
    for _ in range(3):
        step(-np.ones(4, np.float32))
    assert step.reason is None
    cr.show(step)
    assert "uniform(" in capsys.readouterr().out
