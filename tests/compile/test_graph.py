"""Graphs: programs joined, what is the same is one node, moves that do nothing are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.compile.expression import Expr, walk
from chainrule.compile.graph import Graph
from chainrule.compile.trace import trace

F, D, B = np.dtype(np.float32), np.dtype(np.float64), np.dtype(bool)


def call(g: Graph, text: Any, *xs: Any, name: str = "f") -> Any:
    names = [f"a{k}" for k in range(len(xs))]
    kinds = [(g.shapes[x], g.dtypes[x]) if isinstance(x, Expr) else type(x) for x in xs]
    results = g.call(trace(text, names, name), xs, kinds)
    return results if len(results) > 1 else results[0]


@pytest.fixture
def g() -> Graph:
    return Graph()


@pytest.fixture
def x(g: Graph) -> Expr:
    return g.input("x", (4, 3), F)


def test_what_is_computed_twice_is_one_node(g: Graph, x: Expr) -> None:
    a = call(g, lambda xp, x: xp.tanh(x) + 1.0, x)
    b = call(g, lambda xp, x: (xp.tanh(x), 1.0 + xp.tanh(x)), x)
    assert a is b[1] or a.args[0] is b[0]
    assert [e.op for e in walk([a, *b])].count("tanh") == 1
    assert g.product(x, g.permute(x, (1, 0))) is g.product(x, g.permute(x, (1, 0)))
    assert g.input("x", (4, 3), F) is x


def test_a_program_is_called_with_the_values_of_another(g: Graph, x: Expr) -> None:
    y = call(g, lambda xp, x: xp.exp(x), x, name="first")
    z = call(g, lambda xp, x, y: x * y, x, y, name="second")
    assert [e.op for e in walk([z])] == ["input", "exp", "multiply"]
    assert g.formulas[y] == "first"
    assert g.formulas[z] == "second"
    assert g.shapes[z] == (4, 3)
    assert g.dtypes[z] == F
    assert g.hints[y] == "a1"


def test_numbers_are_folded_in_the_type_of_the_step(g: Graph, x: Expr) -> None:
    third = call(g, lambda xp, x, a: (x * a, a / 3.0), x, 1.0)[1]
    assert third == np.float32(1) / np.float32(3)
    assert call(g, lambda xp, x, a: (x, xp.sqrt(a)), x, 2.0)[1] == np.sqrt(np.float32(2))
    wide = g.input("w", (2,), D)
    assert call(g, lambda xp, x, a: (x, a / 3.0), wide, 1.0)[1] == 1 / 3
    assert call(g, lambda xp, x, a: (x, a < 3.0), x, 1.0)[1] is True
    with np.errstate(all="raise"):
        assert np.isinf(call(g, lambda xp, x, a: (x, 1.0 / a), x, 0.0)[1])


def test_one_times_x_is_x(g: Graph, x: Expr) -> None:
    assert call(g, lambda xp, x: 1.0 * x, x) is x
    assert call(g, lambda xp, x: x / 1.0, x) is x
    assert call(g, lambda xp, x, s: x * s, x, 1.0) is x
    assert call(g, lambda xp, x: x + 0.0, x) is not x  # -0 + 0 is +0
    one = call(g, lambda xp, x: xp.ones_like(x), x)
    assert one.op == "full"
    assert one.args == (1.0,)


def test_a_size_is_an_operand(g: Graph, x: Expr) -> None:
    """So that one text serves every size."""
    mean = call(g, lambda xp, x: xp.mean(x), x)
    assert mean.op == "divide"
    count = mean.args[1]
    assert (count.op, count.args) == ("count", (12, "float32"))
    assert g.shapes[count] == ()


def test_regions_of_memory(g: Graph) -> None:
    flat = g.memory(0, 12, F)
    assert g.region(flat, 0, (12,)) is flat
    part = g.region(flat, 2, (4, 2))
    assert g.shapes[part] == (4, 2)
    assert g.region(g.reshape(part, (8,)), 3, (5,)) is g.region(flat, 5, (5,))
    assert g.reshape(g.reshape(part, (2, 4)), (4, 2)) is part


def test_reshape(g: Graph, x: Expr) -> None:
    assert g.reshape(x, (4, 3)) is x
    flat = g.reshape(x, (12,))
    assert g.reshape(g.reshape(flat, (2, 6)), (12,)) is flat
    assert g.reshape(flat, (4, 3)) is x
    full = g.full(2, (4, 3), F)
    assert g.reshape(full, (12,)) is g.full(2, (12,), F)


def test_permute(g: Graph, x: Expr) -> None:
    turned = g.permute(x, (1, 0))
    assert g.shapes[turned] == (3, 4)
    assert g.permute(turned, (1, 0)) is x
    assert g.permute(x, (0, 1)) is x
    column = g.input("c", (4, 1), F)
    assert g.permute(column, (1, 0)) is g.reshape(column, (1, 4))
    cube = g.input("q", (2, 3, 4), F)
    assert g.permute(g.permute(cube, (2, 0, 1)), (1, 2, 0)) is cube
    assert g.shapes[g.permute(cube, (2, 0, 1))] == (4, 2, 3)


def test_full_and_concat(g: Graph, x: Expr) -> None:
    assert g.full(3, (), F) == 3.0
    assert type(g.full(3, (), F)) is float
    assert g.full(True, (), B) is True
    assert g.concat([x], 0) is x
    joined = g.concat([x, g.input("y", (2, 3), F)], 0)
    assert g.shapes[joined] == (6, 3)
    assert g.shapes[g.concat([x, x], 1)] == (4, 6)


def test_booleans_and_labels_keep_their_type(g: Graph, x: Expr) -> None:
    labels = g.input("labels", (4, 1), np.int32)
    hit, chosen = call(
        g,
        lambda xp, x, y: (xp.one_hot(y, x), xp.sum(xp.where(xp.one_hot(y, x), x, 0.0))),
        x,
        labels,
    )
    assert g.dtypes[hit] == B
    assert g.dtypes[chosen] == F
    below = call(g, lambda xp, x: x < 1.0, x)
    assert g.dtypes[below] == B
    assert g.dtypes[call(g, lambda xp, x: xp.where(x < 1.0, 0.0, x), x)] == F


def test_casts(g: Graph) -> None:
    whole, wide = g.input("n", (3,), np.uint8), g.input("w", (3,), D)
    y = call(g, lambda xp, n, w: n * w, whole, wide)
    assert g.dtypes[y] == D
    narrow = g.input("f", (3,), F)
    z = call(g, lambda xp, f, n: f * n, narrow, whole)
    assert g.dtypes[z] == F
    same = g.add("cast", (narrow,), (), (3,), F)
    assert call(g, lambda xp, a: a + 1.0, same) is not None
