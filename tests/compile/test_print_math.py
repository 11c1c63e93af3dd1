"""Equations in MathML: well formed, brackets where they are needed, and the same as the program."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule.compile.derivative import derive
from chainrule.compile.print_math import equations
from chainrule.compile.trace import trace
from chainrule.ops.formula import FORMULAS


def shown(text, *names):
    """What a reader sees, without the marks for the browser."""
    program = trace(text, names or ["x"], "f")
    return [read(line) for line in equations(program)]


def read(line):
    """The characters of an equation; fractions, powers, roots and cases in a line."""

    def walk(e):
        inner = [walk(c) for c in e]
        match e.tag:
            case "mfrac":
                return f"({inner[0]})/({inner[1]})"
            case "msup":
                return f"{inner[0]}^({inner[1]})"
            case "msub":
                return f"{inner[0]}_{inner[1]}"
            case "msqrt":
                return f"sqrt({''.join(inner)})"
            case "munder":
                return f"{inner[0]}[{inner[1]}]"
            case "mtable":
                return "{" + "; ".join(inner) + "}"
        return (e.text or "") + "".join(inner)

    return re.sub(r"[\u2061\u2062]", "", walk(ElementTree.fromstring(line))).replace("\xa0", " ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lambda xp, x: x * xp.sigmoid(x), "y=xσ(x)"),
        (lambda xp, x: 2.0 * x + 3.0, "y=2x+3"),
        (lambda xp, x: x * 0.5, "y=x·0.5"),
        (lambda xp, x: (x + 1.0) * (x - 1.0), "y=(x+1)(x−1)"),
        (lambda xp, x: 1.0 - (2.0 - x), "y=1−(2−x)"),
        (lambda xp, x: -(x + 1.0), "y=−(x+1)"),
        (lambda xp, x: -x * x, "y=−xx"),
        (lambda xp, x: x + -2.0, "y=x−2"),
        (lambda xp, x: (x + 1.0) ** 2, "y=(x+1)^(2)"),
        (lambda xp, x: x**3, "y=x^(3)"),
        (lambda xp, x: xp.exp(-x) / (1.0 + x), "y=(e^(−x))/(1+x)"),
        (lambda xp, x: xp.sqrt(x) * math.sqrt(2 / math.pi), "y=sqrt(x)sqrt((2)/(π))"),
        (lambda xp, x: xp.abs(x) + xp.floor(x), "y=|x|+⌊x⌋"),
        (lambda xp, x: 1e-8 * x, "y=1·10^(−8)x"),
        (lambda xp, x: xp.lgamma(x) + xp.digamma(x), "y=logΓ(x)+ψ(x)"),
        (lambda xp, x: xp.sum(x, axis=-1), "y=∑[axis −1]x"),
        (lambda xp, x: xp.mean(x), "y=(∑x)/(n)"),
        (
            lambda xp, x: xp.where(x <= 0.0, 0.0, xp.where(x < 6.0, x, 6.0)),
            "y={0where x≤0; xwhere x<6; 6elsewhere}",
        ),
    ],
)
def test_equations(text, says):
    assert shown(text) == [says]


def test_a_value_used_twice_gets_a_letter():
    assert shown(lambda xp, x: xp.tanh(x + 1.0) * (1.0 - xp.tanh(x + 1.0))) == [
        "t=tanh(x+1)",
        "y=t(1−t)",
    ]


def test_a_letter_is_never_that_of_an_input():
    lines = shown(lambda xp, t, u: xp.exp(t * u) + 1.0 / xp.exp(t * u), "t", "u")
    assert lines == ["v=e^(tu)", "y=v+(1)/(v)"]


def test_an_output_that_another_one_reads_goes_by_its_name():
    def update(xp, p, g, v, lr, beta2):
        v = beta2 * v + g * g
        return p - lr * v, v

    program = trace(update, ["p", "g", "v", "lr", "beta2"], "update")
    assert [read(e) for e in equations(program, ("p_new", "v_new"))] == [
        "v_new=β_2v+g^(2)",
        "p_new=p−lrv_new",
    ]


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_every_formula_and_derivative_is_well_formed(name):
    f = FORMULAS[name]
    program = f.trace()
    for p in (program, derive(program, (True,) * len(f.arrays)).program):
        lines = equations(p)
        assert all(ElementTree.fromstring(line).tag == "math" for line in lines)
        assert "object at" not in "".join(lines)
        assert not re.search(r"--|−−|\(\)", "".join(map(read, lines)))


def evaluate(lines, **values):
    """Run what was printed as Python."""
    names = {
        "σ": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "max": np.maximum, "min": np.minimum,
        "log": np.log, "lnp": np.log1p, "sqrt": np.sqrt, "e": math.e,
        "sin": np.sin, "cos": np.cos, "π": math.pi, "abs": np.abs, **values,
    }  # fmt: skip
    for line in lines:
        left, _, right = read(line).replace("−", "-").partition("=")
        code = right.replace("·", "*").replace("^", "**").replace("log1p", "lnp")
        code = re.sub(r"\|([^|]+)\|", r"abs(\1)", code)
        letters = sorted([n for n in names if len(n) == 1] + [left], key=len, reverse=True)
        # products without a sign: x(…), )(…), 2x, xσ(…)
        code = re.sub(r"(\d|\))(?=[a-zσπ(])", r"\1*", code)
        code = re.sub(rf"\b([{''.join(set(letters) - {'σ', 'e'})}])(?=[a-zσ(])", r"\1*", code)
        names[left] = eval(code, {"__builtins__": {}}, names)
    return names["y"]


@pytest.mark.parametrize(
    "text",
    [
        lambda xp, x: x * xp.sigmoid(x) - 0.3 * x,
        lambda xp, x: (x + 1.0) * xp.tanh(x - 2.0) / (1.0 + x * x),
        lambda xp, x: xp.exp(-(x * x)) / 2.0 - (1.0 - (x - 3.0)),
        lambda xp, x: -(x - 1.0) * 2.0 - xp.sqrt(1.0 + xp.abs(x)) ** 3,
        lambda xp, x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0.0),
    ],
)
def test_what_is_printed_is_what_is_computed(text):
    x = np.linspace(-3, 3, 13)
    from chainrule.array.namespace import NUMPY

    printed = evaluate(equations(trace(text, ["x"], "f")), x=x)
    np.testing.assert_allclose(printed, text(NUMPY, x), rtol=1e-13)
