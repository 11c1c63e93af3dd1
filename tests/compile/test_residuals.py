from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.compile.derivative import derive
from chainrule.compile.expression import walk
from chainrule.compile.kernel import Kernel
from chainrule.compile.residuals import plan
from chainrule.compile.trace import trace


def both_ways(program, arrays):
    """The cotangents with residuals kept, and those with everything computed again."""
    wanted = (True,) * len(arrays)
    p, d = plan(program, wanted), derive(program, wanted)
    with np.errstate(all="ignore"):
        ys = Kernel(program)(*arrays)
        gs = [np.full_like(y, 0.5) for y in ys]
        again = {"x": arrays, "y": ys, "g": gs}
        expected = Kernel(d.program)(*[again[role][k] for role, k in d.sources])
        if p is None:
            return expected, expected, p
        results = Kernel(p.forward)(*arrays)
        count = len(results) - p.residuals
        for r, y in zip(results[:count], ys, strict=True):
            np.testing.assert_array_equal(r, y)
        kept = {**again, "r": results[count:]}
        return Kernel(p.backward)(*[kept[role][k] for role, k in p.sources]), expected, p


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_cotangents_are_the_same(programs, data):
    program = trace(programs.text(data.draw(programs.any)), programs.names)
    results, expected, _ = both_ways(program, programs.arrays(rows=4, columns=3))
    for r, e in zip(results, expected, strict=True):
        np.testing.assert_array_equal(r, e)


def test_the_expensive_values_are_kept_and_the_cheap_ones_are_not():
    program = trace(lambda xp, z, b: (z + b) * xp.erf(z + b), ["z", "b"])
    results, _, p = both_ways(program, [np.ones((2, 3)), np.ones(3)])
    assert len(results) == 2
    assert p.residuals == 1
    backward = {e.op for e in walk(p.backward.outputs)}
    assert "erf" not in backward
    assert {"add", "exp"} <= backward  # the sum again; exp(-x²), which the forward has not


def test_nothing_is_kept_where_nothing_is_saved():
    assert plan(trace(lambda xp, x: x * x + 1.0, ["x"]), [True]) is None
    assert plan(trace(lambda xp, x: xp.exp(x), ["x"]), [True]) is None  # its output serves


@pytest.mark.parametrize("names", [["r0", "r1"], ["r", "r_0"], ["y", "g"]])
def test_inputs_of_any_name(names):
    program = trace(lambda xp, a, b: a * xp.sigmoid(a) * xp.tanh(b), names)
    r = np.random.default_rng(0)
    results, expected, p = both_ways(program, [r.normal(size=3), r.normal(size=3)])
    assert p.residuals == 2
    for a, e in zip(results, expected, strict=True):
        np.testing.assert_array_equal(a, e)
