from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule.compile.frame_c import Frame
from chainrule.compile.lines_c import Lines, indented, loop
from chainrule.compile.lower import lower
from chainrule.compile.passes import AFTER, BEFORE, ROWS
from chainrule.compile.trace import trace

F, L, B = (np.dtype(t) for t in (np.float32, np.int64, np.bool_))


def frame(text, *signature):
    names = text.__code__.co_varnames[1 : text.__code__.co_argcount]
    return Frame(lower(trace(text, names, "f"), signature), {}, None)


def test_blocks():
    assert loop(["x;"]) == ["for (ptrdiff_t j = 0; j < columns; j++)", "    x;"]
    assert loop(["x;", "y;"])[-2:] == ["    y;", "}"]
    assert indented("if (a) {", ["b;"]) == ["if (a) {", "    b;", "}"]


def test_numbers_and_columns():
    def text(xp, x, s, k):
        total = xp.sum(x * x, axis=-1, keepdims=True)
        hit = xp.one_hot(k, x)
        return xp.where(hit, x / total, xp.exp(-s)), xp.sum(total), xp.sqrt(xp.sum(x, axis=0))

    f = frame(text, ((4, 3), F), ((), F), ((4, 1), L))
    assert Lines(f, (BEFORE, 0)).numbers() == ["const float e = cr_expf(-s);"]
    assert Lines(f, (ROWS, 0)).numbers() == [
        "const int k_ = 0 <= *k && *k < columns ? (int)*k : -1;"
    ]
    assert Lines(f, (ROWS, 0)).columns() == [
        "#pragma omp simd",
        "for (ptrdiff_t j = 0; j < columns; j++) {",
        "    const float x_ = x[j];",
        "    tile[j] = x_ * x_;",
        "    total1[j] += x_;",
        "}",
    ]
    assert Lines(f, (ROWS, 1)).numbers() == [
        "const float sum = (float)cr_sumf(tile, columns);", "total += sum;",
    ]  # fmt: skip
    assert Lines(f, (ROWS, 1)).columns()[2:-1] == [
        "    const float t = x[j] / sum;",
        "    out0[j] = (int)j == k_ ? t : e;",
    ]
    assert Lines(f, (AFTER, 0)).numbers() == ["*out1 = (float)total;"]
    assert Lines(f, (AFTER, 0)).columns()[-1] == "    out2[j] = sqrtf((float)total1[j]);"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lambda xp, x, m: xp.where(m, x, 1.0), "m_ ? x_ : 1.0f"),
        (lambda xp, x, m: m * x, "(float)m_ * x[j]"),
        (lambda xp, x, m: ~m | (x > 0), "(!m_) | (x[j] > 0.0f)"),
        (lambda xp, x, m: xp.where(x, x, 0.0), "x_ != 0 ? x_ : 0.0f"),
        (
            lambda xp, x, m: xp.where(m, xp.exp(x), xp.where(x < 0.0, 2.0, x)),
            "m_ ? e : x_ < 0.0f ? 2.0f : x_",
        ),
        (lambda xp, x, m: xp.maximum(m, x > 1.0), "m_ | (x[j] > 1.0f)"),
        (lambda xp, x, m: xp.isfinite(x), "fabsf(x[j]) < INFINITY"),
        (lambda xp, x, m: xp.isnan(m), "0"),
        (lambda xp, x, m: x - (x * 0.1 - 1.0), "x_ - (x_ * 0.1f - 1.0f)"),
    ],
)
def test_expressions(text, expected):
    f = frame(text, ((4, 3), F), ((4, 3), B))
    lines = [line.strip() for line in Lines(f, (ROWS, 0)).columns()]
    assert f"out[j] = {expected};" in lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lambda xp, x, y: x - (y - x), "x_ - (y[j] - x_)"),
        (lambda xp, x, y: (x - y) - 1.0, "x[j] - y[j] - 1.0f"),
        (lambda xp, x, y: x / (y * 2.0), "x[j] / (y[j] * 2.0f)"),
        (lambda xp, x, y: x + -1.0, "x[j] - 1.0f"),
        (lambda xp, x, y: x * -2.0, "x[j] * (-2.0f)"),
        (lambda xp, x, y: -x * -y, "-x[j] * (-y[j])"),
        (lambda xp, x, y: 1e-8 + x * 0.1, "1e-08f + x[j] * 0.1f"),
        (lambda xp, x, y: xp.where(x <= 0.0, 0.0, x), "x_ < 0.0f ? 0.0f : x_"),
        (lambda xp, x, y: xp.where(x <= 0.0, 0.1 * y, y), "x[j] <= 0.0f ? 0.1f * y_ : y_"),
        (lambda xp, x, y: xp.maximum(x, y), "cr_maximumf(x[j], y[j])"),
        (lambda xp, x, y: xp.minimum(x, math.inf), "x_ > INFINITY ? INFINITY : x_"),
        (lambda xp, x, y: x + math.nan, "x[j] + NAN"),
        (lambda xp, x, y: xp.polygamma(x, n=2), "cr_polygammaf(x[j], 2)"),
        (lambda xp, x, y: (x < y) & ~xp.isnan(x), "(x_ < y[j]) & (!(x_ != x_))"),
        (lambda xp, x, y: xp.abs(xp.floor(x)), "fabsf(floorf(x[j]))"),
    ],
)
def test_precedence_and_constants(text, expected):
    f = Frame(lower(trace(text, ["x", "y"], "f"), [((4, 3), F)] * 2), {}, None)
    lines = [line.strip() for line in Lines(f, (ROWS, 0)).columns()]
    assert f"out[j] = {expected};" in lines


def test_long_expressions_are_cut_into_lines():
    def text(xp, x):
        for k in range(40):
            x = x * (0.5 + k) + 1.0
        return x

    assert max(map(len, Lines(frame(text, ((4, 3), F)), (ROWS, 0)).columns())) < 84


def test_sums_of_integers_are_exact():
    f = frame(lambda xp, k: (xp.sum(k, axis=-1), xp.sum(k)), ((4, 3), L))
    lines = Lines(f, (ROWS, 0)).columns()
    assert f.declared[0] == "double *tile = scratch;"
    assert lines[-2] == "    tile[j] = (double)k_;"
    assert Lines(f, (ROWS, 1)).numbers() == [
        "total += cr_sum(tile, columns);", "*out0 = (int64_t)cr_sum(tile, columns);",
    ]  # fmt: skip
    assert Lines(f, (AFTER, 0)).numbers() == ["*out1 = (int64_t)total;"]


def test_what_c_has_no_operation_for():
    for text in (lambda xp, k: xp.abs(k), lambda xp, k: xp.max(k, axis=-1)):
        f = frame(text, ((4, 3), L))
        with pytest.raises(NotImplementedError, match="of int64"):
            for n in range(2):
                Lines(f, (ROWS, n)).numbers()
                Lines(f, (ROWS, n)).columns()
