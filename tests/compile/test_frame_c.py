from __future__ import annotations

import numpy as np
import pytest

from chainrule.compile.frame_c import Frame
from chainrule.compile.lower import lower
from chainrule.compile.trace import trace

F, B, L = (np.dtype(t) for t in (np.float32, np.bool_, np.int64))


def frame(text, signature, into=None, names=None):
    names = names or text.__code__.co_varnames[1 : text.__code__.co_argcount]
    return Frame(lower(trace(text, names, "f"), signature), into or {}, None)


def test_operands():
    found = frame(
        lambda xp, x, k, m: (xp.where(m, x, 0.0), xp.sum(xp.one_hot(k, x)), x + 1.0),
        [((4, 3), F), ((4, 1), L), ((4, 3), B)],
        {2: 0},
    )
    assert [(o.name, o.layout, o.dtype, o.written) for o in found.operands] == [
        ("x", "full", F, True),
        ("k", "row", L, False),
        ("m", "full", B, False),
        ("out0", "full", F, True),
        ("out1", "scalar", L, True),
    ]
    assert found.out == ["out0", "out1", "x"]
    types = [(found.memory(o.dtype), found.type(o.dtype)) for o in found.operands[:3]]
    assert types == [("float", "float"), ("int64_t", "int64_t"), ("unsigned char", "int")]


def test_names():
    names = ["while", "cr_expf", "operand", "x", "x_", "out", "\u03bb", "j2"]
    found = frame(lambda xp, *a: a[0] + a[3], [((4, 3), F)] * 8, names=names)
    assert list(found.pointer.values()) == [
        "while1", "xcr_expf", "operand1", "x", "x_", "out", "_", "j2",
    ]  # fmt: skip
    assert found.out == ["out1"]
    assert found.element(found.low.inputs[3]) == "x_1"
    assert found.fresh("j2") == "j2_1"


def test_a_tile_serves_several_passes():
    def text(xp, x):
        for _ in range(3):
            x = xp.exp(x - xp.sum(x, axis=-1, keepdims=True))
        return xp.sum(x, axis=-1, keepdims=True), xp.sum(x, axis=0)

    found = frame(text, [((4, 3), F)])
    assert found.declared == [
        "float *tile = scratch;",
        "float *tile1 = (float *)((double *)scratch + width);",
        "double *out1_sum = (double *)scratch + 2 * width;",
    ]
    assert found.cleared == ["out1_sum[j] = 0;"]
    assert found.tiles == 3


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def test_rows_side_by_side():
    f = frame(softmax, [((4, 3), F)])
    side = f.beside()
    assert side.narrow == 48
    assert f.declared == [
        "float *tile = scratch;",
        "float *tile1 = (float *)((double *)scratch + width);",
    ]
    assert f.tiles == side.tiles == 2
    assert side.fresh("t") == f.fresh("t") == "t"  # one name in both loops
    assert frame(softmax, [((4, 3), np.dtype(np.float64))]).beside().narrow == 32
    tanh = frame(lambda xp, x, b: xp.tanh(x + b), [((4, 3), F), ((3,), F)]).beside()
    assert tanh.narrow == 32


def test_where_rows_one_by_one_are_as_good():
    full, column, wide = ((4, 3), F), ((3,), F), ((4, 3), np.dtype(np.float64))
    for text, signature in (
        (lambda xp, x, b: xp.maximum(x + b, 0.0), [full, column]),  # cheap
        (lambda xp, x, y: xp.tanh(x) + y, [full, full]),  # one long row
        (lambda xp, x, y: xp.sum(x * y, axis=-1), [full, full]),  # a single pass
        (lambda xp, x, y: xp.exp(x) + xp.sum(y, axis=-1, keepdims=True), [full, wide]),
    ):
        f = frame(text, signature)
        declared = list(f.declared)
        assert f.beside() is None
        assert f.declared == declared


def test_what_is_known_before_the_rows_is_shared():
    def text(xp, x, b):
        return xp.exp(x) * xp.tanh(b * b), xp.sum(x, axis=0)

    f = frame(text, [((4, 3), F), ((3,), F)])
    side = f.beside()
    (before,) = f.passes.tiled
    assert side.tile_of_value(before) == f.tile_of_value(before) == "tile"
    assert side.totals == f.totals


def test_types_that_c_lacks():
    with pytest.raises(NotImplementedError, match="an array of type float16"):
        frame(lambda xp, x, y: x + y, [((4, 3), F), ((), np.dtype(np.float16))]).memory(
            np.dtype(np.float16)
        )
    with pytest.raises(NotImplementedError, match="output 0 that cannot be written into y"):
        frame(lambda xp, x, y: x + y, [((4, 3), F), ((3,), F)], {0: 1})
    with pytest.raises(NotImplementedError, match="max of bool"):
        frame(lambda xp, x: xp.max(x > 0.0), [((4, 3), F)])
