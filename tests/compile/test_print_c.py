"""Kernels as C: their text, and what they compute, against the NumPy executor."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from chainrule.array.errors import ShapeError
from chainrule.compile.derivative import derive
from chainrule.compile.kernel import Kernel
from chainrule.compile.layout import Layouts
from chainrule.compile.lower import lower
from chainrule.compile.print_c import print_c
from chainrule.compile.trace import trace
from tests_kernels import (
    ADAM,
    ADAM_INTO,
    CROSS_ENTROPY,
    GELU,
    GELU_VJP,
    TYPES,
    batch_norm,
    gradient_of,
    layer_norm,
    log_softmax,
    loss_of,
    needs_compiler,
    printed,
    statistics,
)

F, D, L = (np.dtype(t) for t in (np.float32, np.float64, np.int64))
GELU_LOW = lower(GELU, [((5, 3), F), ((3,), F)])


def outputs(program, arrays, into=None):
    """Fresh memory for the outputs without a target, and the NumPy executor's values of all."""
    with np.errstate(all="ignore"):
        expected = [np.asarray(e) for e in Kernel(program)(*arrays)]
    fresh = [np.full(e.shape, 7, e.dtype) for k, e in enumerate(expected) if k not in (into or {})]
    return fresh, expected


def run(build, program, arrays, **options):
    """What a program gives as C and as NumPy."""
    text = printed(program, arrays)
    results, expected = outputs(program, arrays)
    rows, columns = space(program, arrays)
    build(text, **options)[0](rows, columns, *arrays, *results)
    return results, expected


def space(program, arrays):
    full = Layouts(lower(program, [(a.shape, a.dtype) for a in arrays])).full
    return math.prod(full[:-1]), full[-1]


def ulps(a, b, scale):
    """Distance in units in the last place of `scale`; patterns of NaN and infinity must agree."""
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite & ~np.isnan(b)], b[~finite & ~np.isnan(b)])
    unit = np.spacing(np.maximum(np.abs(scale), np.finfo(b.dtype).tiny)[finite].astype(b.dtype))
    return np.max(np.abs(a[finite] - b[finite]) / unit, initial=0)


def special(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    small = np.finfo(dtype).tiny
    return np.array(
        [
            0.0, -0.0, tiny, -tiny, small, -small, 1e-20, 0.3, -0.3, 1, -1, 5, -5, 12, -12, 1e4,
            -1e4, np.inf, -np.inf, np.nan,
        ],
        dtype,
    )  # fmt: skip


# -- the text -------------------------------------------------------------------------------------


def test_the_text_of_an_optimizer():
    low = lower(ADAM, [((7,), F)] * 4 + [((), F)] * 5)
    text = print_c(low, ADAM_INTO)
    name, _, rest = text.source.partition("(")
    assert name == f"CR_EXPORT void {text.name}"
    assert text.name[:5] == "adam_"
    assert len(text.name) == 5 + 16
    assert (
        rest
        == """
    ptrdiff_t rows, ptrdiff_t columns,
    void *const *operand, const ptrdiff_t *step, void *scratch)
{
    float *p = operand[0];
    const float *g = operand[1];
    float *m = operand[2];
    float *v = operand[3];
    const float a = *(const float *)operand[4];
    const float c1 = *(const float *)operand[5];
    const float beta2 = *(const float *)operand[6];
    const float c2 = *(const float *)operand[7];
    const float eps = *(const float *)operand[8];
    for (ptrdiff_t i = 0; i < rows; i++) {
        #pragma omp simd
        for (ptrdiff_t j = 0; j < columns; j++) {
            const float p_ = p[j];
            const float g_ = g[j];
            const float m_ = m[j];
            const float v_ = v[j];
            const float m_new = m_ + c1 * (g_ - m_);
            const float v_new = beta2 * v_ + c2 * g_ * g_;
            p[j] = p_ - a * m_new / (sqrtf(v_new) + eps);
            m[j] = m_new;
            v[j] = v_new;
        }
        p += step[0], g += step[1], m += step[2], v += step[3];
    }
}
"""
    )
    assert text.flat
    assert text.tiles == 0
    assert [o.written for o in text.operands] == [True, False, True, True] + [False] * 5
    assert print_c(low, ADAM_INTO) == text
    assert print_c(low).name != text.name


def test_the_text_of_cross_entropy_with_its_gradient():
    text = print_c(lower(CROSS_ENTROPY, [((32, 10), F), ((32, 1), L)]))
    assert (
        "\n".join(text.body(32, 100))
        == """\
const float *x = operand[0];
const int64_t *labels = operand[1];
float *out0 = operand[2];
float *out1 = operand[3];
float *tile = scratch;
double total = 0;
for (ptrdiff_t i = 0; i < rows; i++) {
    const int labels_ = 0 <= *labels && *labels < columns ? (int)*labels : -1;
    const float max = cr_maxf(x, columns);
    const float t = fabsf(max) < INFINITY ? max : 0.0f;
    #pragma omp simd
    for (ptrdiff_t j = 0; j < columns; j++)
        tile[j] = cr_expf(x[j] - t);
    const float log = cr_logf((float)cr_sumf(tile, columns));
    #pragma omp simd
    for (ptrdiff_t j = 0; j < columns; j++) {
        const int hit = (int)j == labels_;
        const float t1 = x[j] - t - log;
        tile[j] = hit ? t1 : 0.0f;
        out1[j] = (cr_expf(t1) - (hit ? 1.0f : 0.0f)) / 32.0f;
    }
    const float t2 = -(float)cr_sumf(tile, columns);
    total += t2;
    x += step[0], labels += step[1], out1 += step[3];
}
*out0 = (float)total / 32.0f;"""
    )
    assert (
        "\n".join(text.body(32, 10)).replace("(int)labels[l * step[1]]", "LABEL")
        == """\
const float *x = operand[0];
const int64_t *labels = operand[1];
float *out0 = operand[2];
float *out1 = operand[3];
const ptrdiff_t width = 16 * columns;
float *tile = scratch;
double total = 0;
float *tile1 = (float *)((double *)scratch + width);
float *tile2 = (float *)((double *)scratch + 2 * width);
/* Sixteen at a time, side by side: entry j of row l stands in a tile at [16 * j + l]. */
for (ptrdiff_t i = 0; i < rows; i += 16) {
    int labels_[16];
    float max[16], t[16], log[16], t2[16];
    double sums[16], sums1[16];
    #pragma omp simd
    for (ptrdiff_t l = 0; l < 16; l++)
        labels_[l] = 0 <= labels[l * step[1]] && labels[l * step[1]] < columns ? LABEL : -1;
    cr_beside16f(x, step[0], columns, tile);
    cr_max16f(tile, columns, max);
    #pragma omp simd
    for (ptrdiff_t l = 0; l < 16; l++)
        t[l] = fabsf(max[l]) < INFINITY ? max[l] : 0.0f;
    for (ptrdiff_t j = 0; j < columns; j++) {
        #pragma omp simd
        for (ptrdiff_t l = 0; l < 16; l++)
            tile1[16 * j + l] = cr_expf(tile[16 * j + l] - t[l]);
    }
    cr_sum16f(tile1, columns, sums);
    #pragma omp simd
    for (ptrdiff_t l = 0; l < 16; l++)
        log[l] = cr_logf((float)sums[l]);
    for (ptrdiff_t j = 0; j < columns; j++) {
        #pragma omp simd
        for (ptrdiff_t l = 0; l < 16; l++) {
            const int hit = (int)j == labels_[l];
            const float t1 = tile[16 * j + l] - t[l] - log[l];
            tile1[16 * j + l] = hit ? t1 : 0.0f;
            tile2[16 * j + l] = (cr_expf(t1) - (hit ? 1.0f : 0.0f)) / 32.0f;
        }
    }
    cr_apart16f(tile2, columns, out1, step[3]);
    cr_sum16f(tile1, columns, sums1);
    #pragma omp simd
    for (ptrdiff_t l = 0; l < 16; l++)
        t2[l] = -(float)sums1[l];
    for (ptrdiff_t l = 0; l < 16; l++)
        total += t2[l];
    x += 16 * step[0], labels += 16 * step[1], out1 += 16 * step[3];
}
*out0 = (float)total / 32.0f;"""
    )
    both = text.body(40, 10)
    assert "for (; i + 16 <= rows; i += 16) {" in both
    assert "for (; i < rows; i++) {" in both
    for line in text.body(9, 10):
        assert "16" not in line or line == "const ptrdiff_t width = 16 * columns;"
    assert (text.tiles, text.scratch(47), text.scratch(48)) == (3, 48, 3)
    assert print_c(GELU_LOW).body(40, 32)[3:5] == [
        "for (ptrdiff_t i = 0; i < rows; i++) {", "    #pragma omp simd",
    ]  # fmt: skip
    assert [(o.name, o.layout, o.dtype) for o in text.operands] == [
        ("x", "full", F), ("labels", "row", L), ("out0", "scalar", F), ("out1", "full", F),
    ]  # fmt: skip
    assert not text.flat


def test_a_text_serves_every_number_of_rows_and_columns():
    a, b = (print_c(lower(GELU_VJP, [(s, F), (s[1:], F), (s, F)])) for s in [(5, 3), (64, 100)])
    assert a == b
    plain = print_c(GELU_LOW)
    assert not any("double" in line for line in plain.body(5, 3))
    assert "float" not in print_c(lower(GELU, [((5, 3), D), ((3,), D)])).source


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="float32 or float64, got float16"):
        print_c(lower(GELU, [((4, 3), np.dtype(np.float16)), ((3,), np.dtype(np.float16))]))
    low = lower(trace(lambda xp, x, y: (x + y, xp.sum(x)), ["x", "y"]), [((4, 3), F), ((), F)])
    with pytest.raises(NotImplementedError, match="output 1 that cannot be written into x"):
        print_c(low, {1: 0})


# -- what it computes -----------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_every_primitive_at_every_special_value(build, dtype):
    def text(xp, a, b):
        return (
            a + b, a - b, a * b, a / b, -a, xp.abs(a), xp.sign(a), xp.floor(a), xp.sqrt(a),
            xp.exp(a), xp.expm1(a), xp.log(a), xp.log1p(a), xp.tanh(a), xp.sigmoid(a), xp.erf(a),
            xp.sin(a), xp.cos(a), xp.pow(a, b), xp.maximum(a, b), xp.minimum(a, b),
            xp.where(a < b, a, 0.0), a < b, a <= b, a > b, a >= b, xp.equal(a, b),
            xp.not_equal(a, b), xp.isnan(a), xp.isfinite(a), (a < b) & (b < 1.0),
            (a < b) | ~(b < 1.0), xp.where(a <= 0.0, 0.25 * a, a), xp.maximum(a, 0.0),
            xp.maximum(a, float("inf")), xp.minimum(1.0, a), xp.minimum(a, float("nan")),
            xp.lgamma(a), xp.polygamma(a, n=0), xp.polygamma(a, n=1), xp.polygamma(a, n=3),
        )  # fmt: skip

    program = trace(text, ["a", "b"], "everything")
    a, b = (x.ravel() for x in np.meshgrid(special(dtype), special(dtype)))
    results, expected = run(build, program, [a, b], level="-O3")
    normal = (a == 0) | (np.abs(a) >= np.finfo(dtype).tiny)
    for y, e, expression in zip(results, expected, program.outputs, strict=True):
        if e.dtype == np.bool_:
            np.testing.assert_array_equal(y, e, err_msg=str(expression))
            continue
        if expression.op == "polygamma":  # poles: of a subnormal number the sign may be lost
            y, e = y[normal], e[normal]
        bound = 32 if expression.op in ("lgamma", "polygamma") else 4
        assert ulps(y, e, e) <= bound, str(expression)
        if expression.op not in ("maximum", "minimum", "lgamma"):
            zero = e == 0
            np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(e[zero]), str(expression))


def _tree(r, table, leaves, size):
    if size <= 1:
        return r.choice(leaves)
    name = r.choice(sorted(table))
    if table[name].__code__.co_argcount == 2:
        return name, _tree(r, table, leaves, size - 1)
    k = r.randint(1, size - 1)
    return name, _tree(r, table, leaves, k), _tree(r, table, leaves, size - k)


@needs_compiler
@pytest.mark.parametrize("derived", [False, True], ids=["value", "derivative"])
@pytest.mark.parametrize("dtype", TYPES)
def test_random_programs(build, programs, dtype, derived):
    """Programs of one to three trees with reductions, and their derivatives."""
    tables = programs.text.__globals__
    table = tables["SMOOTH" if derived else "ALL"]
    r = random.Random(7)
    cases = []
    for _ in range(60):
        trees = [_tree(r, table, programs.names, r.randint(2, 9)) for _ in range(r.randint(1, 3))]
        program = trace(programs.text(*trees), programs.names, "random")
        arrays = programs.arrays(rows=r.choice([7, 35]), columns=19, dtype=dtype)
        if derived:
            with np.errstate(all="ignore"):
                ys = Kernel(program)(*arrays)
            d = derive(program, (True,) * 5)
            given = {"x": arrays, "y": ys, "g": [np.asarray(np.cos(y)) for y in ys]}
            program = d.program
            arrays = [np.array(given[role][k]) for role, k in d.sources]
        try:
            text = printed(program, arrays)
        except NotImplementedError:  # rows that depend on a sum over the rows
            continue
        cases.append((text, program, arrays))
    assert len(cases) > 30
    for kernel, (_, program, arrays) in zip(build(*(c[0] for c in cases)), cases, strict=True):
        results, expected = outputs(program, arrays)
        kernel(*space(program, arrays), *arrays, *results)
        eps = float(np.finfo(dtype).eps)
        for y, e in zip(results, expected, strict=True):
            size = max(1.0, float(np.max(np.abs(e), initial=0)))
            np.testing.assert_allclose(
                y, e, rtol=5000 * eps, atol=5000 * eps * size, err_msg=str(program)
            )


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_formulas_against_numpy(build, dtype):
    r = np.random.default_rng(1)
    x, g = (r.normal(0, 2, (61, 19)).astype(dtype) for _ in range(2))
    x[0], x[1, 3] = special(dtype)[:19], np.inf
    a, b, c, d = (r.uniform(0.5, 2, 19).astype(dtype) for _ in range(4))
    labels = r.integers(0, 19, (61, 1))
    given = {"x": x, "y": x * 0.5, "z": x, "g": g, "labels": labels, "b": b}
    given |= {"gamma": a, "beta": b, "mean": c, "var": d, "running": a}
    norm = trace(layer_norm, ["x", "gamma", "beta"])
    programs = [
        GELU, GELU_VJP, CROSS_ENTROPY, norm, derive(norm, (True, True, True)).program,
        trace(batch_norm, ["x", "mean", "var", "gamma", "beta"]),
        trace(statistics, ["x", "running"]),
        trace(lambda xp, y, g: g - xp.exp(y) * xp.sum(g, axis=-1, keepdims=True), ["y", "g"]),
        trace(lambda xp, y, g: (g * y, xp.sum(g * y), xp.max(y), xp.max(y, axis=0)), ["y", "g"]),
    ]  # fmt: skip
    cases = [(p, [given[str(x)] for x in p.inputs]) for p in programs]
    texts = [printed(p, arrays) for p, arrays in cases]
    for kernel, (program, arrays) in zip(build(*texts, level="-O3"), cases, strict=True):
        results, expected = outputs(program, arrays)
        kernel(61, 19, *arrays, *results)
        for y, e in zip(results, expected, strict=True):
            size = np.max(np.abs(e[np.isfinite(e)]), initial=1.0)
            tolerance = 64 * float(np.finfo(dtype).eps)
            np.testing.assert_allclose(
                y, e, rtol=tolerance, atol=tolerance * size, err_msg=str(program)
            )


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_an_optimizer_in_place(build, dtype):
    r = np.random.default_rng(2)
    p, g, m = (np.concatenate([special(dtype), r.normal(size=1000).astype(dtype)]) for _ in "pgm")
    v = np.abs(m)
    g[:20] = np.roll(special(dtype), 5)
    numbers = [np.array(c, dtype) for c in (1e-3, 0.1, 0.999, 1e-3, 1e-8)]
    arrays = [p, g, m, v, *numbers]
    with np.errstate(all="ignore"):
        expected = Kernel(ADAM)(*arrays)
    was = g.copy()
    build(printed(ADAM, arrays, ADAM_INTO), level="-O3")[0](1, p.size, *arrays)
    for a, e in zip((p, m, v), expected, strict=True):
        assert ulps(a, e, e) == 0  # nothing but + - * / and roots: the same bits
        np.testing.assert_array_equal(np.signbit(a[e == 0]), np.signbit(e[e == 0]))
    np.testing.assert_array_equal(g, was)


@needs_compiler
def test_an_input_that_is_written_is_read_first(build):
    """Whatever the order of outputs and however many passes read it."""

    def softmax_and_more(xp, x, y, r, b, s):
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        p = e / xp.sum(e, axis=-1, keepdims=True)
        total = xp.sum(x)
        return x + y * r, p - x + b, r + xp.sum(x * y, axis=-1, keepdims=True), (
            b + xp.sum(x, axis=0)), s + total  # fmt: skip

    def swap(xp, x, y, r, b, s):
        return y, x, r * s, b * s, s + 1.0

    shapes = [(6, 21), (6, 21), (6, 1), (21,), ()]
    orders = [{0: 0, 1: 1, 2: 2, 3: 3, 4: 4}, {0: 1, 1: 0, 2: 2, 3: 3, 4: 4}, {1: 0, 3: 3}]
    cases = []
    for text in (softmax_and_more, swap):
        program = trace(text, ["x", "y", "r", "b", "s"])
        low = lower(program, [(s, F) for s in shapes])
        cases += [(program, into, print_c(low, into)) for into in orders]
    kernels = build(*(text for *_, text in cases))
    for (program, into, _), kernel in zip(cases, kernels, strict=True):
        r = np.random.default_rng(3)
        arrays = [np.asarray(r.normal(size=s), np.float32) for s in shapes]
        fresh, expected = outputs(program, arrays, into)
        kernel(6, 21, *arrays, *fresh)
        rest = iter(fresh)
        for k, e in enumerate(expected):
            y = arrays[into[k]] if k in into else next(rest)
            np.testing.assert_allclose(y, e, rtol=1e-5, atol=1e-5, err_msg=f"{into} {k}")


@needs_compiler
def test_rows_of_a_wider_array(build):
    r = np.random.default_rng(4)
    z, g = (r.normal(size=(9, 19)).astype("f") for _ in range(2))
    b = r.normal(size=19).astype("f")
    kernel = build(printed(GELU_VJP, [z, b, g]))[0]
    expected = np.empty_like(z), np.empty_like(b)
    kernel(9, 19, z, b, g, *expected)
    wide, out, db = np.zeros((9, 40), "f"), np.zeros((9, 30), "f"), np.empty_like(b)
    wide[:, 3:22] = z
    kernel(9, 19, wide[:, 3:22], b, g, out[:, :19], db)
    np.testing.assert_array_equal(out[:, :19], expected[0])
    np.testing.assert_array_equal(db, expected[1])
    assert not out[:, 19:].any()


@needs_compiler
def test_the_bits_do_not_depend_on_what_is_fused(build):
    r = np.random.default_rng(5)
    x = r.normal(0, 3, (37, 23)).astype("f")
    labels = r.integers(0, 23, (37, 1))
    parts = [
        trace(log_softmax, ["x"]), trace(loss_of, ["log_p", "labels"]),
        trace(gradient_of, ["log_p", "labels"]), CROSS_ENTROPY,
        trace(lambda xp, log_p: (xp.exp(log_p), xp.sum(log_p), xp.sum(log_p, axis=0)), ["log_p"]),
        trace(lambda xp, x: (xp.sum(log_softmax(xp, x)), xp.sum(log_softmax(xp, x), axis=0)), "x"),
        trace(lambda xp, r: xp.sum(r), ["r"]),
        trace(lambda xp, x: (xp.sum(x, axis=1, keepdims=True),
                             xp.sum(xp.sum(x, axis=1, keepdims=True))), ["x"]),
    ]  # fmt: skip
    like = {"x": x, "log_p": x, "labels": labels, "r": x[:, :1]}
    kernels = build(*(printed(p, [like[str(i)] for i in p.inputs]) for p in parts), level="-O3")
    softmax, loss, gradient, both, after, sums, add, rows = kernels

    def f(*shape):
        return np.empty(shape, np.float32)

    log_p, a, b, c, d = f(37, 23), f(), f(37, 23), f(), f(37, 23)
    softmax(37, 23, x, log_p)
    loss(37, 23, log_p, labels, a)
    gradient(37, 23, log_p, labels, b)
    both(37, 23, x, labels, c, d)
    assert a == c
    np.testing.assert_array_equal(b, d)
    total, column, one, another = f(), f(23), f(), f(23)
    after(37, 23, log_p, f(37, 23), total, column)
    sums(37, 23, x, one, another)
    assert total == one
    np.testing.assert_array_equal(column, another)
    row = f(37, 1)
    rows(37, 23, x, row, total)
    add(37, 1, row, one)
    assert total == one


@needs_compiler
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "int8", "uint64"])
def test_labels(build, kind):
    program = trace(lambda xp, x, k: (xp.one_hot(k, x), xp.where(xp.one_hot(k, x), x, 0.0)), "xk")
    x = np.arange(1, 22, dtype="f").reshape(7, 3)
    top = np.iinfo(kind).max
    labels = np.array([[0], [1], [2], [3], [100], [top], [top if kind[0] == "u" else -1]], kind)
    hit, chosen = run(build, program, [x, labels])[0]
    np.testing.assert_array_equal(hit[:3], np.eye(3, dtype=bool))
    assert not hit[3:].any()
    np.testing.assert_array_equal(chosen, np.where(hit, x, 0))
    one = trace(lambda xp, x, k: xp.one_hot(k, x), "xk")
    result, expected = run(build, one, [x[:1], labels[1:2]])
    np.testing.assert_array_equal(result[0], expected[0])


@needs_compiler
@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0), (1, 1), (1, 5), (5, 1), (0,), (6,)])
def test_small_and_empty_spaces(build, shape):
    def sums(xp, x):
        return 2.0 * x, xp.sum(x), xp.sum(x, axis=-1, keepdims=True)

    def largest(xp, x):
        return xp.max(x), xp.max(x, axis=-1, keepdims=True)

    x = np.arange(1, math.prod(shape) + 1, dtype="f").reshape(shape)
    row = np.full((*shape[:-1], 1), 7, "f")
    program = trace(sums, ["x"])
    twice, total, rows = np.empty_like(x), np.array(7, "f"), row.copy()
    build(printed(program, [x]))[0](*space(program, [x]), x, twice, total, rows)
    np.testing.assert_array_equal(twice, 2 * x)
    assert total == x.sum()
    np.testing.assert_array_equal(rows, x.sum(-1, keepdims=True))
    program = trace(largest, ["x"])
    if x.size:
        top, tops = np.array(7, "f"), row.copy()
        build(printed(program, [x]))[0](*space(program, [x]), x, top, tops)
        assert top == x.max()
        np.testing.assert_array_equal(tops, x.max(-1, keepdims=True))
    else:
        with pytest.raises(ShapeError, match="there is no largest entry"):
            printed(program, [x])
    if len(shape) == 2:
        program = trace(lambda xp, x: xp.sum(x, axis=0), ["x"])
        (sums,), _ = run(build, program, [x])
        np.testing.assert_array_equal(sums, x.sum(0))


@needs_compiler
def test_booleans_integers_and_numbers(build):
    def text(xp, x, m, s, n):
        return (
            x * m, xp.where(m, x, s), m & (x > 0.0), xp.sum(m), xp.sum(x > 0.0, axis=0),
            xp.sum(m, axis=-1, keepdims=True), x * s, x + n, 0.5, xp.where(m, 1.0, 0.0),
            xp.equal(n, 3) | m, xp.broadcast_to(s, x), x, xp.maximum(m, x > 1.0),
        )  # fmt: skip

    program = trace(text, ["x", "m", "s", "n"])
    r = np.random.default_rng(6)
    x = r.normal(size=(5, 18)).astype("f")
    arrays = [x, r.random((5, 18)) < 0.5, np.array(0.1, np.float64), np.array(3)]
    results, expected = run(build, program, arrays, level="-O3")
    for y, e, o in zip(results, expected, program.outputs, strict=True):
        assert y.dtype == e.dtype
        np.testing.assert_array_equal(y, e, err_msg=str(o))


@needs_compiler
def test_arrays_of_more_axes(build):
    def text(xp, x, r, c, one):
        rows = xp.sum(x * r, axis=-1)
        return x * r + c * one, rows, xp.expand_dims(rows, axis=-1) - r, xp.sum(x, axis=(0, 1)), (
            xp.sum(x)), xp.sum_to(x, c), xp.sum_to(x, r)  # fmt: skip

    program = trace(text, ["x", "r", "c", "one"])
    r = np.random.default_rng(8)
    shapes = [(3, 2, 4), (3, 2, 1), (1, 1, 4), (1, 1, 1)]
    arrays = [r.normal(size=s) for s in shapes]
    for y, e in zip(*run(build, program, arrays), strict=True):
        np.testing.assert_allclose(y, e, rtol=1e-14, atol=1e-14)


@needs_compiler
def test_names_that_c_and_the_text_use(build):
    names = ["double", "cr_expf", "out", "out_", "x_", "x", "t", "rows", "operand", "step", "i"]
    names += ["j", "INFINITY", "scratch", "sqrtf", "tile", "total", "width", "\u03bb", "I", "log"]

    def text(xp, *a):
        total = xp.sum(xp.exp(a[0] / 100.0), axis=-1, keepdims=True)
        for x in a[1:]:
            total = total * 0.5 + x
        return total + xp.log(a[0]), xp.sum(a[5], axis=0), xp.sqrt(a[1])

    program = trace(text, names, "int")
    arrays = [np.full((2, 3), k + 1, np.float32) for k in range(len(names))]
    results, expected = run(build, program, arrays)
    for y, e in zip(results, expected, strict=True):
        np.testing.assert_allclose(y, e, rtol=1e-6)


@needs_compiler
def test_loading_a_kernel_leaves_numpys_subnormals(build):
    run(build, GELU, [np.ones((1, 2), "f"), np.ones(2, "f")])
    assert np.float32(1e-40) * np.float32(0.5) > 0
    assert np.array([1e-40], np.float32)[0] / 2 != 0
