from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chainrule.compile.beside_c import Beside
from chainrule.compile.compiler import variants
from chainrule.compile.derivative import derive
from chainrule.compile.frame_c import Frame
from chainrule.compile.lines_c import Lines
from chainrule.compile.lower import lower
from chainrule.compile.passes import BEFORE, ROWS
from chainrule.compile.print_c import print_c
from chainrule.compile.trace import trace
from tests_kernels import (
    TYPES,
    bias_gelu,
    cross_entropy,
    layer_norm,
    log_softmax,
    needs_compiler,
)

F, L, B = (np.dtype(t) for t in (np.float32, np.int64, np.bool_))


def beside(text, *signature, into=None):
    names = text.__code__.co_varnames[1 : text.__code__.co_argcount]
    frame = Frame(lower(trace(text, names, "f"), signature), into or {}, None)
    Lines(frame, (BEFORE, 0)).numbers()
    return frame.beside()


def rows(*lines):
    return ["#pragma omp simd", "for (ptrdiff_t l = 0; l < 16; l++) {", *lines, "}"]


def test_a_pass_over_rows_side_by_side():
    def softmax(xp, x, b):
        e = xp.exp(x + b - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True), xp.sum(e, axis=0)

    f = beside(softmax, ((40, 3), F), ((3,), F))
    assert Beside(f, (ROWS, 0)).numbers() == []
    assert Beside(f, (ROWS, 0)).columns() == ["cr_beside16f(x, step[0], columns, tile);"]
    assert Beside(f, (ROWS, 1)).numbers() == ["cr_max16f(tile, columns, max);"]
    assert Beside(f, (ROWS, 1)).columns() == [
        "for (ptrdiff_t j = 0; j < columns; j++) {",
        "    #pragma omp simd",
        "    for (ptrdiff_t l = 0; l < 16; l++)",
        "        tile1[16 * j + l] = cr_expf(tile[16 * j + l] + b[j] - max[l]);",
        "}",
        "for (ptrdiff_t j = 0; j < columns; j++) {",
        "    for (ptrdiff_t l = 0; l < 16; l++)",
        "        out1_sum[j] += tile1[16 * j + l];",
        "}",
    ]
    assert Beside(f, (ROWS, 2)).numbers() == [
        "cr_sum16f(tile1, columns, sums);",
        "#pragma omp simd",
        "for (ptrdiff_t l = 0; l < 16; l++)",
        "    sum[l] = (float)sums[l];",
    ]
    assert Beside(f, (ROWS, 2)).columns() == [
        "for (ptrdiff_t j = 0; j < columns; j++) {",
        "    #pragma omp simd",
        "    for (ptrdiff_t l = 0; l < 16; l++)",
        "        tile[16 * j + l] = tile1[16 * j + l] / sum[l];",
        "}",
        "cr_apart16f(tile, columns, out0, step[2]);",
    ]
    assert f.numbers == {"float": ["max[16]", "sum[16]"], "double": ["sums[16]"]}


def test_numbers_of_rows_and_what_is_no_number_of_the_type():
    def text(xp, x, r, k, m, c):
        hit = xp.one_hot(k, x)
        return xp.where(hit & m, xp.exp(x), r * c), r * 2.0, xp.sum(xp.exp(r)), xp.sum(m, axis=0)

    f = beside(text, ((40, 3), F), ((40, 1), F), ((40, 1), L), ((40, 3), B), ((3,), F))
    assert Beside(f, (ROWS, 0)).numbers() == [
        *rows(
            "    r_[l] = r[l * step[1]];",
            "    k_[l] = 0 <= k[l * step[2]] && k[l * step[2]] < columns "
            "? (int)k[l * step[2]] : -1;",
            "    e[l] = cr_expf(r_[l]);",
            "    out1[l * step[6]] = r_[l] * 2.0f;",
        ),
        "for (ptrdiff_t l = 0; l < 16; l++)",
        "    total += e[l];",
    ]
    lines = [line.strip() for line in Beside(f, (ROWS, 0)).columns()]
    assert lines[0] == "cr_beside16f(x, step[0], columns, tile);"
    assert "const int m_ = m[l * step[3] + j];" in lines
    assert "const float t = r_[l] * c[j];" in lines
    assert "tile2[16 * j + l] = ((int)j == k_[l]) & m_ ? e1 : t;" in lines
    assert "tile1[16 * j + l] = (float)m_;" in lines
    assert lines[-6:] == [
        "}",
        "cr_apart16f(tile2, columns, out0, step[5]);",
        "for (ptrdiff_t j = 0; j < columns; j++) {",
        "for (ptrdiff_t l = 0; l < 16; l++)",
        "out3_sum[j] += tile1[16 * j + l];",
        "}",
    ]
    assert f.numbers == {"float": ["r_[16]", "e[16]"], "int": ["k_[16]"]}


def test_a_reduction_of_what_is_the_same_in_all_rows():
    def text(xp, x, c):
        top = xp.max(xp.broadcast_to(c, x), axis=-1, keepdims=True)
        return xp.exp(x) * top, xp.sum(xp.broadcast_to(c, x), axis=0)

    f = beside(text, ((40, 3), F), ((3,), F))
    assert "    max[l] = cr_maxf(c, columns);" in Beside(f, (ROWS, 0)).numbers()
    assert Beside(f, (ROWS, 0)).columns()[-2] == "        out1_sum[j] += c[j];"


def one_by_one(text):
    """The same kernel, which never takes sixteen rows at a time."""
    source = text.source.replace(f"; columns < {text.narrow} &&", "; 0 &&")
    assert source != text.source
    return replace(text, name=f"{text.name}_", source=source.replace(text.name, f"{text.name}_"))


def everything(xp, x, y, r, c, m, k):
    log_p = log_softmax(xp, x + c)
    chosen = xp.where(xp.one_hot(k, x) & m, log_p, r)
    return (
        x, log_p * r, xp.sum(chosen, axis=-1, keepdims=True), xp.sum(xp.exp(y)), r * 2.0,
        xp.sum(m, axis=0), xp.max(y, axis=0), xp.max(x), xp.max(y, axis=-1), m, c + 0.0 * x,
        xp.sum(xp.tanh(r)), xp.sum(m, axis=-1), xp.sum(log_p - y, axis=0), xp.exp(chosen),
    )  # fmt: skip


def kernels(dtype):
    """Texts with a loop over sixteen rows: all kinds of values, also in place; usual formulas."""
    kinds = {"x": (5, 3), "y": (5, 3), "z": (5, 3), "g": (5, 3), "r": (5, 1), "k": (5, 1)}
    types = {"k": np.int64, "labels": np.int64, "m": np.bool_}
    kinds |= {"m": (5, 3), "labels": (5, 1)}
    for text in (everything, cross_entropy, log_softmax, layer_norm, bias_gelu):
        names = text.__code__.co_varnames[1 : text.__code__.co_argcount]
        programs = [trace(text, names)]
        if not {*names} & {*types}:
            programs.append(derive(programs[0], (True,) * len(names)).program)
        for program in programs:
            inputs = [str(x) for x in program.inputs]
            signature = [(kinds.get(n, (3,)), np.dtype(types.get(n, dtype))) for n in inputs]
            low = lower(program, signature)
            yield print_c(low)
            if text is everything:
                yield print_c(low, {1: 1, 4: 2})
                yield print_c(low, {0: 1, 1: 0})


def operand(r, o, rows, columns):
    """Random values, also odd ones, for an operand."""
    shapes = {"full": (rows, columns), "row": (rows, 1), "column": (columns,), "scalar": ()}
    a = np.asarray(r.normal(0, 2, shapes[o.layout]))
    if o.dtype.kind != "f":
        return np.array(abs(a) * (1 if o.dtype == np.bool_ else columns), o.dtype)
    if r.random() < 0.5:
        odd = r.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40], a.shape)
        a = np.where(r.random(a.shape) < 0.1, odd, a)
    return np.array(a, o.dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_each_row_gets_the_bits_that_it_gets_alone(build, dtype):
    texts = list(kernels(dtype))
    best = variants()[0]
    machine = () if best == "plain" else (f"-march={best}",)
    both = build(*texts, *map(one_by_one, texts), level="-O2", machine=machine)
    r = np.random.default_rng(9)
    for beside, alone in zip(both[: len(texts)], both[len(texts) :], strict=True):
        for columns in (1, 2, 3, 4, 7, 10, 15, 16, 17, 20, 31, 32, 47, 48):
            given = [operand(r, o, 41, columns) for o in beside.text.operands]
            again = [a.copy() for a in given]
            beside(41, columns, *given)
            alone(41, columns, *again)
            for o, a, b in zip(beside.text.operands, given, again, strict=True):
                unknown = (a != a) & (b != b)  # whatever the sign of NaN
                a, b = (np.where(unknown, 0, c) for c in (a, b))
                assert a.tobytes() == b.tobytes(), (beside.text.name, columns, o)
