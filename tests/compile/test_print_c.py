from __future__ import annotations

import ctypes
import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.compile.derivative import derive
from chainrule.compile.kernel import Kernel
from chainrule.compile.lower import lower
from chainrule.compile.print_c import print_c
from chainrule.compile.trace import trace

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=off"]
TYPES = [np.float32, np.float64]

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def bias_gelu(xp, z, b):
    x = z + b
    return 0.5 * x * (1.0 + xp.erf(x * math.sqrt(0.5)))


def adam(xp, p, g, m, v, lr, beta1, beta2, eps, c1, c2):
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * (g * g)
    return p - lr * (m / c1) / (xp.sqrt(v / c2) + eps), m, v


GELU = trace(bias_gelu, ["z", "b"])
GELU_VJP = derive(GELU, (True, True)).program
ADAM = trace(adam, ["p", "g", "m", "v", "lr", "beta1", "beta2", "eps", "c1", "c2"])
ADAM_INTO = {0: 0, 1: 2, 2: 3}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compile a text and give its function, called with arrays and their row strides."""
    folder = tmp_path_factory.mktemp("c")

    def make(source, name):
        path = folder / f"{name}{len(list(folder.iterdir()))}"
        path.with_suffix(".c").write_text(source)
        command = [COMPILER, "-Wall", "-Werror", "-Wno-unknown-pragmas", *FLAGS, "-shared", "-fPIC"]
        command += ["-o", f"{path}.so", f"{path}.c", "-lm"]
        subprocess.run(command, check=True)
        function = ctypes.CDLL(f"{path}.so")[name]
        function.restype = None

        def call(rows, columns, *arrays):
            arguments = [ctypes.c_ssize_t(rows), ctypes.c_ssize_t(columns)]
            for a in arrays:
                step = 0 if a.ndim < 2 or a.shape[0] == 1 else a.strides[0] // a.itemsize
                arguments += [ctypes.c_void_p(a.ctypes.data), ctypes.c_ssize_t(step)]
            function(*arguments)

        return call

    return make


def ulps(a, b, scale):
    """Distance in units in the last place of `scale`; patterns of NaN and infinity must agree."""
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_array_equal(np.isinf(a), np.isinf(b))
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite & ~np.isnan(b)], b[~finite & ~np.isnan(b)])
    unit = np.spacing(np.maximum(np.abs(scale), np.finfo(b.dtype).tiny)[finite].astype(b.dtype))
    return np.max(np.abs(a[finite] - b[finite]) / unit, initial=0)


def special(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    small = np.finfo(dtype).tiny
    return np.array(
        [
            0.0, -0.0, tiny, -tiny, small, -small, 1e-20, 1, -1, 5, -5, 12, -12, 1e4, -1e4,
            np.inf, -np.inf, np.nan,
        ],
        dtype,
    )  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_bias_gelu_is_the_numpy_executor(build, dtype):
    r = np.random.default_rng(0)
    values = special(dtype)
    z = r.normal(0, 3, (37, values.size)).astype(dtype)
    z[0] = values
    b = np.zeros(values.size, dtype)
    y = np.empty_like(z)
    build(print_c(GELU, [(5, 3), (3,)], dtype), "bias_gelu")(*z.shape, z, b, y)
    with np.errstate(invalid="ignore"):
        (expected,) = Kernel(GELU)(z, b)
    # 1 + erf(x) cancels below zero: there the units are those of x / 2
    assert ulps(y, expected, 0.5 * z) <= 3
    zero = expected == 0
    np.testing.assert_array_equal(y == 0, zero)
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(expected[zero]))
    assert y[0, 2] == expected[0, 2]  # a subnormal is not flushed
    b = r.normal(size=values.size).astype(dtype)
    build(print_c(GELU, [(5, 3), (3,)], dtype), "bias_gelu")(*z.shape, z, b, y)
    with np.errstate(invalid="ignore"):
        assert ulps(y, Kernel(GELU)(z, b)[0], 0.5 * (np.abs(z) + np.abs(b))) <= 3


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_the_derived_vjp_of_bias_gelu_adds_up_the_gradient_of_the_bias(build, dtype):
    r = np.random.default_rng(1)
    z, g = (r.normal(0, 2, (61, 19)).astype(dtype) for _ in range(2))
    b = r.normal(size=19).astype(dtype)
    source = print_c(GELU_VJP, [(5, 3), (3,), (5, 3)], dtype)
    assert "[j] += " in source
    dz, db = np.empty_like(z), np.full(19, 7, dtype)
    build(source, "bias_gelu_vjp")(*z.shape, z, b, g, dz, db)
    expected_z, expected_b = Kernel(GELU_VJP)(z, b, g)
    assert ulps(dz, expected_z, np.abs(g) * (1 + np.abs(z + b))) <= 4
    assert ulps(db, expected_b, np.abs(expected_z).sum(0)) <= 8
    # rows of a wider array: the row stride is an argument
    wide = np.zeros((61, 40), dtype)
    wide[:, :19] = z
    strided = np.empty_like(z)
    build(source, "bias_gelu_vjp")(*z.shape, wide[:, :19], b, g, strided, db)
    np.testing.assert_array_equal(strided, dz)


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_adam_in_place(build, dtype):
    r = np.random.default_rng(2)
    values = special(dtype)
    p, g, m = (np.concatenate([values, r.normal(size=1000).astype(dtype)]) for _ in range(3))
    v = np.concatenate([np.abs(values), r.uniform(size=1000).astype(dtype)])
    g[:18] = np.roll(values, 5)
    numbers = [np.array(c, dtype) for c in (1e-3, 0.9, 0.999, 1e-8, 0.19, 0.002)]
    with np.errstate(all="ignore"):
        expected = Kernel(ADAM)(p, g, m, v, *numbers)
    was = g.copy()
    source = print_c(ADAM, [(3,)] * 4 + [()] * 6, dtype, into=ADAM_INTO)
    assert "const float 1" not in source
    build(source, "adam")(1, p.size, p, g, m, v, *numbers)
    for a, e in zip((p, m, v), expected, strict=True):
        assert ulps(a, e, e) == 0  # nothing but + - * / and roots: the same bits
        np.testing.assert_array_equal(np.signbit(a[e == 0]), np.signbit(e[e == 0]))
    np.testing.assert_array_equal(g, was)


@needs_compiler
def test_loading_a_kernel_leaves_numpys_subnormals(build):
    build(print_c(GELU, [(5, 3), (3,)]), "bias_gelu")(
        1, 2, np.ones((1, 2), "f"), np.ones(2, "f"), np.ones((1, 2), "f")
    )
    assert np.float32(1e-40) * np.float32(0.5) > 0
    assert np.array([1e-40], np.float32)[0] / 2 != 0


@needs_compiler
@settings(max_examples=8, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("dtype", TYPES)
def test_random_programs(build, programs, data, dtype):
    text = programs.text(data.draw(programs.any))

    def full(xp, *inputs):
        return xp.broadcast_to(text(xp, *inputs), inputs[0])

    program = trace(full, programs.names, "random")
    arrays = programs.arrays(rows=7, columns=5, dtype=dtype)
    low = lower(program, [(a.shape, a.dtype) for a in arrays])
    if {e.op for e in low.order()} & {"sum", "max"}:
        with pytest.raises(NotImplementedError, match=r"the operation|an array of shape"):
            print_c(program, [a.shape for a in arrays], dtype)
        return
    source = print_c(program, [a.shape for a in arrays], dtype)
    y = np.empty((7, 5), dtype)
    build(source, "random")(7, 5, *arrays, y)
    with np.errstate(all="ignore"):
        (expected,) = Kernel(program)(*arrays)
    np.testing.assert_allclose(y, expected, rtol=2000 * np.finfo(dtype).eps, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_every_primitive_at_every_special_value(build, dtype):
    def text(xp, a, b):
        return (
            a + b, a - b, a * b, a / b, -a, xp.abs(a), xp.sign(a), xp.floor(a), xp.sqrt(a),
            xp.exp(a), xp.expm1(a), xp.log(a), xp.log1p(a), xp.tanh(a), xp.sigmoid(a), xp.erf(a),
            xp.maximum(a, b), xp.minimum(a, b), xp.where(a < b, a, 0.0), a < b, a <= b, a > b,
            a >= b, xp.equal(a, b), xp.not_equal(a, b), xp.isnan(a), xp.isfinite(a),
            (a < b) & (b < 1.0), (a < b) | ~(b < 1.0), xp.where(a <= 0.0, 0.25 * a, a),
            xp.maximum(a, float("inf")),
        )  # fmt: skip

    program = trace(text, ["a", "b"], "everything")
    values = special(dtype)
    a, b = (x.ravel() for x in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = Kernel(program)(a, b)
    outputs = [np.empty_like(e) for e in expected]
    build(print_c(program, [(4,), (4,)], dtype), "everything")(1, a.size, a, b, *outputs)
    for y, e, expression in zip(outputs, expected, program.outputs, strict=True):
        if e.dtype == np.bool_:
            np.testing.assert_array_equal(y, e, err_msg=str(expression))
        else:
            assert ulps(y, e, e) <= 4, str(expression)


def test_the_text():
    assert print_c(GELU_VJP, [(5, 3), (3,), (5, 3)]).startswith(
        "#include <math.h>\n"
        "#include <stddef.h>\n"
        "\n"
        "void bias_gelu_vjp(ptrdiff_t rows, ptrdiff_t columns,\n"
        "    const float *z, ptrdiff_t z_step,\n"
        "    const float *b, ptrdiff_t b_step,\n"
        "    const float *g, ptrdiff_t g_step,\n"
        "    float *out0, ptrdiff_t out0_step,\n"
        "    float *out1, ptrdiff_t out1_step)\n"
        "{\n"
        "    for (ptrdiff_t j = 0; j < columns; j++)\n"
        "        out1[j] = 0;\n"
        "    for (ptrdiff_t i = 0; i < rows; i++) {\n"
    )
    single, double = (print_c(GELU, [(5, 3), (3,)], t) for t in TYPES)
    assert "= erff(" in single
    assert "* 0.70710677f" in single
    assert "double" not in single
    assert "= erf(" in double
    assert "* 0.7071067811865476;" in double
    assert "float" not in double


@needs_compiler
def test_names_that_c_and_the_text_use(build):
    names = ["double", "expf", "out", "out_", "x_i", "x", "t0", "rows"]

    def text(xp, *a):
        return xp.exp(a[0]) + a[1] * a[2] - a[3] * a[4] + a[5] * a[6] * a[7]

    program = trace(text, names, "int")
    arrays = [np.full((2, 3), k + 1, np.float32) for k in range(8)]
    y = np.empty((2, 3), np.float32)
    build(print_c(program, [(2, 3)] * 8), "int_")(2, 3, *arrays, y)
    np.testing.assert_allclose(y, math.exp(1) + 2 * 3 - 4 * 5 + 6 * 7 * 8, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (lambda xp, x: xp.exp(x) / xp.sum(xp.exp(x), axis=-1, keepdims=True), "the operation sum"),
        (lambda xp, x: xp.sum(x), r"an output of shape \(\)"),
        (lambda xp, x: xp.polygamma(x, n=1), "the operation polygamma"),
        (lambda xp, x: xp.sum(x, axis=-1), r"shape \(4,\)"),
    ],
)
def test_programs_that_are_not_element_wise_are_refused(text, what):
    with pytest.raises(NotImplementedError, match=what):
        print_c(trace(text, ["x"]), [(4, 3)])


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="expected dtype float32 or float64, got float16"):
        print_c(GELU, [(4, 3), (3,)], np.float16)
