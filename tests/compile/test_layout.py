from __future__ import annotations

import numpy as np
import pytest

from chainrule.compile.layout import Layouts
from chainrule.compile.lower import lower
from chainrule.compile.trace import trace

F = np.dtype(np.float32)


def layouts(text, *shapes, space=None):
    names = text.__code__.co_varnames[1 : text.__code__.co_argcount]
    low = lower(trace(text, names, "f"), [(s, F) for s in shapes])
    return Layouts(low, space), low


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(4, 3), (4, 1), (3,), ()], ["full", "row", "column", "scalar"]),
        ([(2, 4, 3), (2, 4, 1), (1, 1, 3), (1,)], ["full", "row", "column", "scalar"]),
        ([(0, 3), (0, 1), (3,), ()], ["full", "row", "column", "scalar"]),
        ([(1, 3), (1, 1), (3,), ()], ["full", "scalar", "full", "scalar"]),
        ([(4, 1), (4, 1), (1,), ()], ["full", "full", "scalar", "scalar"]),
        ([(7,), (7,), (1,), ()], ["full", "full", "scalar", "scalar"]),
    ],
)
def test_inputs(shapes, expected):
    found, low = layouts(lambda xp, x, r, c, s: x + r + c + s, *shapes)
    assert [found.layout[x] for x in low.inputs] == expected
    assert found.layout[low.outputs[0]] == "full"
    assert found.full == (shapes[0] if len(shapes[0]) > 1 else (1, *shapes[0]))


def test_reductions_stages_and_levels():
    def text(xp, x, c):
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return (
            e / xp.sum(e, axis=-1, keepdims=True), xp.sum(x, axis=0) / 4.0, xp.sum(e), c * c,
            x + xp.sum(c),
        )  # fmt: skip

    found, _ = layouts(text, (4, 3), (3,))
    kinds = {
        (e.op, found.layout[e], found.reduces.get(e), found.stage[e], found.level[e])
        for e in found.order
    }
    assert kinds == {
        ("max", "row", "columns", "rows", 0),  # of an input: no pass is needed first
        ("subtract", "full", None, "rows", 0),
        ("exp", "full", None, "rows", 0),
        ("sum", "row", "columns", "rows", 1),
        ("divide", "full", None, "rows", 1),
        ("sum", "column", "rows", "after", 0),
        ("divide", "column", None, "after", 0),
        ("sum", "scalar", "all", "after", 0),
        ("multiply", "column", None, "after", 0),
        ("sum", "scalar", "columns", "before", 0),
        ("add", "full", None, "rows", 0),
    }


def test_a_single_row_reduces_to_a_row_number():
    found, low = layouts(lambda xp, x: x / xp.sum(x), (7,))
    total = low.outputs[0].args[1]
    assert found.layout[total] == "row"
    assert found.reduces[total] == "columns"


def test_steps_that_only_change_the_shape():
    def text(xp, x, r):
        return xp.expand_dims(r, axis=-1) * x, xp.squeeze(xp.sum(x, axis=-1, keepdims=True), axis=1)

    found, low = layouts(text, (3, 3), (3,))  # a vector that becomes a column of numbers per row
    assert found.layout[low.inputs[1]] == "row"
    assert found.base(low.outputs[1]).op == "sum"
    assert found.of(low.outputs[1]) == "row"


def test_a_given_space():
    found, low = layouts(lambda xp, r: r * 2.0, (4, 1), space=(4, 3))
    assert found.layout[low.outputs[0]] == "row"
    assert layouts(lambda xp, r: r * 2.0, (4, 1))[0].of(low.outputs[0]) == "full"


@pytest.mark.parametrize(
    ("text", "shapes", "what"),
    [
        (lambda xp, x: x - xp.max(x, axis=0), [(4, 3)], "rows that depend on a reduction"),
        (lambda xp, x: xp.sum(x, axis=1), [(4, 3, 2)], "some of the axes"),
        (lambda xp, x, y: x * y, [(4, 3, 2), (3, 2)], r"y, an array of shape \(3, 2\)"),
        (lambda xp, x: x * xp.sum(x, axis=1), [(3, 3)], "multiply, which gives"),
        (lambda xp, x: x + xp.expand_dims(xp.sum(x, axis=1), axis=0), [(3, 3)], "expand_dims"),
        (lambda xp, x, k: xp.one_hot(k, x, axis=0), [(3, 4), (1, 4)], "one_hot along an axis"),
    ],
)
def test_what_is_not_of_one_space(text, shapes, what):
    with pytest.raises(NotImplementedError, match=f"f cannot be printed as one C kernel.*{what}"):
        layouts(text, *shapes)


def test_rows_side_by_side_are_not_reduced_where_they_lie():
    low = lower(
        trace(lambda xp, x, c: xp.sum(x, axis=-1) * xp.sum(c), "xc", "f"), [((4, 3), F), ((3,), F)]
    )
    levels = []
    for beside in (False, True):
        found = Layouts(low, beside=beside)
        levels.append([found.level[e] for e in found.order if e.op == "sum"])
        assert found.is_operand(low.inputs[0]) != beside
        assert found.is_operand(low.inputs[1])
    assert levels == [[0, 0], [1, 0]]
