from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.namespace import NUMPY
from chainrule.compile.derivative import derive
from chainrule.compile.expression import walk
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace


def run(program, arrays):
    with np.errstate(all="ignore"):
        return Kernel(program)(*arrays)


def vjp(program, arrays, gs, wanted=None):
    """The derived cotangents, and the arguments the derivative was given."""
    d = derive(program, wanted or (True,) * len(arrays))
    of = {"x": arrays, "y": run(program, arrays), "g": gs}
    given_ = [of[role][k] for role, k in d.sources]
    return d, given_, run(d.program, given_)


def assert_slope(program, arrays, gs, cotangents, seed=0, h=1e-5):
    """<cotangents, v> is the slope of <g, f(x + t v)> at t = 0, by differences of fourth order."""
    r = np.random.default_rng(seed)
    vs = [r.normal(size=np.shape(a)) for a in arrays]

    def at(t):
        moved = [a + t * v for a, v in zip(arrays, vs, strict=True)]
        return sum(float(np.sum(g * y)) for g, y in zip(gs, run(program, moved), strict=True))

    differences = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    slopes = [float(np.sum(c * v)) for c, v in zip(cotangents, vs, strict=True)]
    size = sum(map(abs, slopes)) + abs(at(0)) + 1.0
    assert abs(sum(slopes) - differences) < 1e-7 * size


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_programs_to_the_second_order(programs, data):
    trees = data.draw(st.lists(programs.smooth, min_size=1, max_size=2))
    program = trace(programs.text(*trees), programs.names)
    arrays = programs.arrays(rows=3, columns=2)
    r = np.random.default_rng(1)
    gs = [r.normal(size=y.shape) for y in run(program, arrays)]
    first, given_, cotangents = vjp(program, arrays, gs)
    for c, a in zip(cotangents, arrays, strict=True):
        assert c.shape == a.shape
        assert c.dtype == np.float64
    assert_slope(program, arrays, gs, cotangents)
    hs = [r.normal(size=c.shape) for c in cotangents]
    _, _, second = vjp(first.program, given_, hs)
    assert_slope(first.program, given_, hs, second)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_programs_with_kinks(programs, data):
    program = trace(programs.text(data.draw(programs.any)), programs.names)
    arrays = programs.arrays(rows=3, columns=2, seed=5)
    ys = run(program, arrays)
    ones = [np.ones_like(y) for y in ys]
    _, _, cotangents = vjp(program, arrays, ones)
    _, _, doubled = vjp(program, arrays, [2 * g for g in ones])
    for a, b in zip(cotangents, doubled, strict=True):
        np.testing.assert_allclose(2 * a, b, rtol=1e-12)  # linear in the cotangent
    if not {e.op for e in walk(program.outputs)} & {"stop_gradient"}:
        assert_slope(program, arrays, ones, cotangents, h=1e-6)


def test_an_output_is_read_and_not_computed_again():
    d = derive(trace(lambda xp, x: xp.exp(x), ["x"], "exp"), (True,))
    assert str(d.program) == "exp_vjp(y, g)\n  t0 = multiply(g, y)\n  return t0"
    assert d.sources == (("y", 0), ("g", 0))


def test_only_what_is_wanted_is_computed():
    program = trace(lambda xp, a, b: xp.exp(a) * xp.sin(b), ["a", "b"])
    d = derive(program, (True, False))
    assert len(d.program.outputs) == 1
    assert "cos" not in {e.op for e in walk(d.program.outputs)}


def test_an_input_that_nothing_reads_gets_zeros_of_its_shape():
    program = trace(lambda xp, a, b: (xp.exp(a), xp.floor(b)), ["a", "b"])
    _, _, (da, db) = vjp(program, [np.zeros(2), np.ones((3, 4))], [np.ones(2), np.ones((3, 4))])
    np.testing.assert_array_equal(da, np.ones(2))
    np.testing.assert_array_equal(db, np.zeros((3, 4)))


def test_names_of_cotangents_give_way_to_names_of_inputs():
    program = trace(lambda xp, y, g: xp.exp(y * g), ["y", "g"])
    d = derive(program, (True, True))
    assert [str(i) for i in d.program.inputs] == ["y", "g", "y_", "g_"]
    _, _, (dy, dg) = vjp(program, [np.array(2.0), np.array(3.0)], [np.array(1.0)])
    np.testing.assert_allclose([dy, dg], [3 * np.exp(6), 2 * np.exp(6)])


def test_a_broadcast_input_gets_the_sum():
    program = trace(lambda xp, x, b: x * b, ["x", "b"])
    x, g = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    for b in (np.ones(3), np.ones((1, 3)), np.ones((2, 1)), np.ones(())):
        _, _, (_, db) = vjp(program, [x, b], [g])
        assert db.shape == b.shape
        axes = tuple(i for i in range(2) if (1, 1, *b.shape)[-2:][i] == 1)
        np.testing.assert_array_equal(db.ravel(), np.sum(x, axis=axes).ravel())


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis, keepdims):
    def text(xp, x):
        return (
            xp.sum(x * x, axis=axis, keepdims=keepdims),
            xp.mean(xp.sin(x), axis=axis, keepdims=keepdims),
            xp.max(x, axis=axis, keepdims=keepdims),
        )

    x = np.random.default_rng(0).normal(size=(3, 4))
    program = trace(text, ["x"])
    gs = [np.full(np.shape(y), k + 1.0) for k, y in enumerate(text(NUMPY, x))]
    _, _, cotangents = vjp(program, [x], gs)
    assert_slope(program, [x], gs, cotangents)


def test_ties_share_and_a_stopped_gradient_is_zero():
    x = np.array([1.0, 1.0, 0.0])
    (dx,) = vjp(trace(lambda xp, x: xp.max(x), ["x"]), [x], [np.array(1.0)])[2]
    np.testing.assert_array_equal(dx, [0.5, 0.5, 0.0])
    program = trace(lambda xp, a, b: xp.maximum(a, b), ["a", "b"])
    da, db = vjp(program, [np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])], [np.ones(3)])[2]
    np.testing.assert_array_equal(da, [0.5, 0.0, 1.0])
    np.testing.assert_array_equal(db, [0.5, 1.0, 0.0])
    (dx,) = vjp(trace(lambda xp, x: x * xp.stop_gradient(x), ["x"]), [x], [np.ones(3)])[2]
    np.testing.assert_array_equal(dx, x)


class Rule:
    """A formula's own derivative, wrong on purpose, so that its use shows."""

    @staticmethod
    def override_vjp(args, y, g):
        return (100.0 * g * args[0],)


def test_the_own_derivative_of_a_formula_is_used_at_every_order():
    from chainrule.compile.expression import make

    def text(xp, x):
        s = x * 2.0
        return make("call", (xp.sin(s), s), (("formula", Rule),))

    program = trace(text, ["x"])
    x = np.array([0.5])
    first, given_, (dx,) = vjp(program, [x], [np.ones(1)])
    np.testing.assert_allclose(dx, 2 * 100 * 2 * x)
    k = next(i for i, (role, _) in enumerate(first.sources) if role == "x")
    second = vjp(first.program, given_, [np.ones(1)])[2]
    np.testing.assert_allclose(second[k], 400.0)
