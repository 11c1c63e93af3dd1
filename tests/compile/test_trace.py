from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule.compile.trace import TraceError, symbol, trace


def test_a_trace_is_the_text():
    program = trace(lambda xp, a, b, c=2.0: (a * b + c, a), ["a", "b"], "f", c=3.0)
    assert str(program) == ("f(a, b)\n  t0 = multiply(a, b)\n  t1 = add(t0, 3.0)\n  return t1, a")
    assert program.inputs == (symbol("a"), symbol("b"))


def test_the_name_is_that_of_the_function():
    def swish(xp, x):
        return x * xp.sigmoid(x)

    assert trace(swish, ["x"]).name == "swish"


def branch(xp, x):
    return x if x > 0 else -x


def chained(xp, x):
    return xp.where(0 < x < 1, x, 0.0)


def loop(xp, x):
    return sum(row for row in x)


def indexed(xp, x):
    return x[0]


def reads(xp, x):
    return math.exp(x)


def scalar(xp, x):
    return x * np.sqrt(2)


def array(xp, x):
    return x * np.ones(3)


def in_place(xp, x):
    x[0] = 1.0
    return x


def numpy(xp, x):
    return np.tanh(x)


def nothing(xp, x):
    x + 1.0


def unknown(xp, x):
    return xp.arctan2(x, x)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (branch, "formula branch: a formula must not branch on its values.*xp.where"),
        (chained, "formula chained: .*chained comparisons cannot be traced.*&"),
        (loop, "formula loop: a formula cannot iterate over its values"),
        (indexed, "formula indexed: indexing cannot be traced"),
        (in_place, "formula in_place: a formula must not write into an array"),
        (reads, r"formula reads: a formula must not read its values: float\(\)"),
        (scalar, "formula scalar: .*float64; a formula's constants must be Python numbers"),
        (array, "formula array: .*ndarray.*Arrays go in as arguments"),
        (numpy, r"formula numpy: np.tanh cannot be traced: .*xp.tanh\(x\)"),
        (nothing, "formula nothing returned NoneType; it must return an array expression"),
        (unknown, "formula unknown: xp has no primitive 'arctan2'"),
    ],
)
def test_what_cannot_be_traced_names_the_formula_and_what_to_write(text, message):
    with pytest.raises(TraceError, match=message):
        trace(text, ["x"])
    assert issubclass(TraceError, TypeError)


def test_a_text_with_other_arguments_is_an_error_of_its_own():
    with pytest.raises(TraceError, match=r"formula f: .*argument"):
        trace(lambda xp, x: x, ["x", "y"], "f")
