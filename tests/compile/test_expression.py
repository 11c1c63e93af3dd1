from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from chainrule.compile import expression
from chainrule.compile.expression import SYMBOLS as xp
from chainrule.compile.expression import Expr, Program, make, walk
from chainrule.compile.trace import symbol

x, y = symbol("x"), symbol("y")


def test_equal_expressions_are_one_object():
    assert xp.exp(x) + y is xp.exp(x) + y
    assert x + y is not y + x
    assert xp.sum(x, axis=0, keepdims=True) is not xp.sum(x, axis=1, keepdims=True)
    assert symbol("x") is x


def test_constants_of_other_types_are_other_expressions():
    assert x + 1 is not x + 1.0
    assert make("add", (x, 1)) is not make("add", (x, True))


def test_expressions_that_nobody_holds_are_forgotten():
    gc.collect()  # what earlier tests left behind
    before = len(expression._interned)
    e = xp.exp(xp.sin(xp.cos(symbol("an input of this test"))))
    assert len(expression._interned) == before + 4
    del e
    gc.collect()
    assert len(expression._interned) == before


def test_interning_in_many_threads():
    results = []

    def build():
        e = x
        for k in range(300):
            e = xp.sin(e + 0.123 * (k + 1))
        results.append(e)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    assert all(e is results[0] for e in results)


@pytest.mark.parametrize(
    ("made", "is_"),
    [
        (x * 1, x), (1.0 * x, x), (x / 1, x), (x**1, x), (+x, x), (xp.negative(-x), x),
        (-1 * x, -x), (x * -1.0, -x), (x**2, x * x), (x**3, x * x * x), (x**0.5, xp.sqrt(x)),
        (x**-1, 1.0 / x), (x**0, xp.ones_like(x)), (xp.where(x > 0, y, y), y),
        (xp.where(True, x, y), x), (xp.where(False, x, y), y), (xp.sum_to(x, x), x),
    ],
)  # fmt: skip
def test_simplifications_that_are_exact(made, is_):
    assert made is is_


@pytest.mark.parametrize("made", [x + 0.0, x * 0.0, x - x, x / x, 0.0 / x, xp.exp(x) * 0])
def test_nothing_that_nan_infinity_or_a_negative_zero_would_notice_is_simplified(made):
    assert isinstance(made, Expr)
    assert made.op in ("add", "multiply", "subtract", "divide")


def test_constants_fold():
    assert xp.exp(0.0) == 1.0
    assert type(xp.sqrt(4)) is float
    assert (xp.less(1, 2), type(xp.less(1, 2))) == (True, bool)
    assert xp.log(0.0) == -float("inf")  # no warning
    assert xp.polygamma(1.0, n=1) == pytest.approx(np.pi**2 / 6)
    assert xp.sum(2.0) == 2.0
    assert xp.broadcast_to(2.0, x).op == "broadcast_to"  # which has the shape of x


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: bool(x > 0), "xp.where"),
        (lambda: float(x), "must not read its values"),
        (lambda: int(x), "must not read its values"),
        (lambda: [1, 2][x], "must not read its values"),
        (lambda: len(x), r"x.shape\[0\]"),
        (lambda: list(x), "cannot iterate"),
        (lambda: x[0], "indexing cannot be traced"),
        (lambda: x.__setitem__(0, 1.0), "must not write into an array"),
        (lambda: x + np.float64(2), "constants must be Python numbers"),
        (lambda: np.float32(2) * x, "constants must be Python numbers"),
        (lambda: xp.maximum(x, np.zeros(3)), "got ndarray.*Arrays go in as arguments"),
        (lambda: np.exp(x), r"np.exp cannot be traced: .*xp.exp\(x\)"),
        (lambda: x + "1", "got str"),
        (lambda: x + None, "got NoneType"),
    ],
)
def test_what_cannot_be_symbolic_says_what_to_write(use, message):
    with pytest.raises(TypeError, match=message):
        use()


def test_an_unknown_primitive_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no primitive 'arctan'.*exp.*zeros_like"):
        xp.arctan(x)


def test_reductions_keep_their_axes_until_they_are_squeezed():
    e = xp.sum(x, axis=1)
    assert (e.op, e.args[0].op, dict(e.args[0].attrs)["keepdims"]) == ("squeeze", "sum", True)
    assert xp.sum(x).op == "sum"
    assert xp.max(x, axis=[0, 1], keepdims=True) is xp.max(x, axis=(0, 1), keepdims=True)


def test_walk_gives_arguments_before_uses_at_any_depth():
    e = x
    for k in range(20_000):
        e = e + float(k + 2)
    order = walk([e, y])
    assert order[0] is x
    assert order[-2:] == [e, y]
    assert len(order) == 20_002


def test_a_program_reads_as_a_list_of_steps():
    program = Program("f", (x, y), (xp.exp(x) * y, 2.0, x))
    assert str(program) == ("f(x, y)\n  t0 = exp(x)\n  t1 = multiply(t0, y)\n  return t1, 2.0, x")
    assert repr(xp.sum(x * 2.0)) == "sum(multiply(x, 2.0), axis=None, keepdims=False)"
