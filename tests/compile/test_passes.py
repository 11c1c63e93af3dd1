from __future__ import annotations

import numpy as np

from chainrule.compile.layout import Layouts
from chainrule.compile.lower import lower
from chainrule.compile.passes import AFTER, BEFORE, ROWS, Passes, is_function
from chainrule.compile.trace import trace

F = np.dtype(np.float32)


def passes(text, *shapes, into=(), beside=False):
    names = text.__code__.co_varnames[1 : text.__code__.co_argcount]
    low = lower(trace(text, names, "f"), [(s, F) for s in shapes])
    targets = {k: low.inputs[j] for k, j in dict(into).items()}
    return Passes(Layouts(low, beside=beside), targets), low


def ops(values):
    return sorted(v.op for v in values)


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def test_an_expensive_value_is_kept_and_a_cheap_one_computed_again():
    found, _ = passes(softmax, (4, 3))
    assert ops(found.compute[ROWS, 0]) == ["exp", "subtract"]
    assert ops(found.compute[ROWS, 1]) == ["divide"]
    assert ops(found.reads[ROWS, 1]) == ["exp"]
    assert list(found.tiled.values()) == [(ROWS, 0)]

    found, _ = passes(lambda xp, x: (x + 1.0) * xp.sum(x + 1.0, axis=-1, keepdims=True), (4, 3))
    assert ops(found.compute[ROWS, 1]) == ["multiply"]  # the terms of a sum lie there anyway
    found, _ = passes(
        lambda xp, x: (x + 1.0) * xp.max((x + 1.0) * x, axis=-1, keepdims=True), (4, 3)
    )
    assert ops(found.compute[ROWS, 1]) == ["add", "multiply"]
    assert not found.tiled


def test_an_output_is_read_back():
    def text(xp, x):
        e = xp.exp(x)
        return e, e / xp.sum(e, axis=-1, keepdims=True)

    found, _ = passes(text, (4, 3))
    assert found.store == {0: (ROWS, 0), 1: (ROWS, 1)}
    assert ops(found.reads[ROWS, 1]) == ["exp"]
    assert not found.tiled


def test_an_input_is_written_after_its_last_use():
    def text(xp, x):
        return x + 1.0, x * xp.sum(x * x, axis=-1, keepdims=True)

    assert passes(text, (4, 3))[0].store == {0: (ROWS, 0), 1: (ROWS, 1)}
    assert passes(text, (4, 3), into={0: 0})[0].store == {0: (ROWS, 1), 1: (ROWS, 1)}


def test_what_depends_on_the_column_alone_leaves_the_loop_over_rows():
    def text(xp, x, var, b):
        return x / xp.sqrt(var) + (b + 1.0), xp.sum(x, axis=0) * xp.sqrt(var)

    found, _ = passes(text, (4, 3), (3,), (3,))
    assert ops(found.compute[BEFORE, 0]) == ["sqrt"]
    assert ops(found.compute[ROWS, 0]) == ["add", "add", "divide"]
    assert ops(found.compute[AFTER, 0]) == ["multiply"]
    assert ops(found.reads[AFTER, 0]) == ["sqrt"]


def test_shared_subexpressions_do_not_multiply_the_work():
    def text(xp, x, c):
        for _ in range(60):
            c = c * c + c
        return x + xp.tanh(c)

    found, _ = passes(text, (4, 3), (3,))
    assert len(found.compute[BEFORE, 0]) == 121


def test_rows_side_by_side_stand_in_tiles():
    def text(xp, x, y):
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e, e / xp.sum(e, axis=-1, keepdims=True) + y, xp.sum(x + y, axis=0)

    found, low = passes(text, (4, 3), (4, 3), beside=True)
    assert found.brought == {low.inputs[0]: (ROWS, 0), low.inputs[1]: (ROWS, 0)}
    assert found.last[low.inputs[0]] == (ROWS, 1)
    assert found.last[low.inputs[1]] == (ROWS, 2)
    assert ops(v for v, _ in found.terms) == ["add", "add", "exp", "input"]
    assert ops(found.tiled) == ["exp"]  # not read back from the output
    assert [found.is_apart(k) for k in range(3)] == [True, True, False]
    assert found.beside((ROWS, 0))
    assert not found.beside((AFTER, 0))
    alone, _ = passes(text, (4, 3), (4, 3))
    assert not alone.brought
    assert not alone.tiled


def test_functions_are_dear():
    low = lower(trace(lambda xp, x: xp.tanh(x) + 1.0, ["x"], "f"), [((4, 3), F)])
    assert [is_function(e) for e in low.order()] == [True, False]
