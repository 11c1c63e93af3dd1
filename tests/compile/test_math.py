"""`native/math.h`, the mathematics that every kernel begins with, compiled and compared."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np
import pytest

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile import build
from chainrule.compile.build import NATIVE, Library, variants
from chainrule.compile.exhaustive import judge

nan, inf = np.nan, np.inf

#: name -> largest error in ulp: float32, float64
UNARY = {
    "exp": (1.1, 1.1), "expm1": (2, 3), "log": (1, 1), "log1p": (1.5, 1.5), "sin": (1, 1),
    "cos": (1, 1), "tanh": (1.2, 3), "sigmoid": (2, 2), "erf": (1.4, 1.6), "lgamma": (1, 4),
    "sign": (0, 0),
}  # fmt: skip
BINARY = ("pow", "maximum", "minimum")
C = {"float32": "float", "float64": "double"}

_TEXT = """
CR_EXPORT void {name}_{dtype}(const {c} *x, const {c} *z, {c} *y, ptrdiff_t n, int k) {{
  (void)z;
  (void)k;
#pragma omp simd
  for (ptrdiff_t i = 0; i < n; i++) y[i] = {call};
}}
"""
_REDUCTIONS = """
CR_EXPORT double sum_{dtype}(const {c} *x, ptrdiff_t n) {{ return cr_sum{f}(x, n); }}
CR_EXPORT {c} max_{dtype}(const {c} *x, ptrdiff_t n) {{ return cr_max{f}(x, n); }}
CR_EXPORT void sixteen_{dtype}(const {c} *x, ptrdiff_t step, ptrdiff_t n, {c} *tile, double *sum,
                               {c} *max, {c} *y) {{
  cr_beside16{f}(x, step, n, tile);
  cr_sum16{f}(tile, n, sum);
  cr_max16{f}(tile, n, max);
  cr_apart16{f}(tile, n, y, step);
}}
"""


def text():
    s = (NATIVE / "math.h").read_text("utf-8")
    for dtype, c in C.items():
        f = "f" if c == "float" else ""
        calls = {name: f"cr_{name}{f}(x[i])" for name in UNARY}
        calls |= {name: f"cr_{name}{f}(x[i], z[i])" for name in BINARY}
        calls["polygamma"] = f"cr_polygamma{f}(x[i], k)"
        for name, call in calls.items():
            s += _TEXT.format(name=name, dtype=dtype, c=c, call=call)
        s += _REDUCTIONS.format(dtype=dtype, c=c, f=f)
    return s


class Functions:
    def __init__(self, library):
        self.library = library

    def __call__(self, name, x, z=None, k=0):
        """A primitive on arrays; `k` is the order of polygamma."""
        x, z = np.broadcast_arrays(x, x if z is None else z)
        x, z = np.ascontiguousarray(x), np.ascontiguousarray(z)
        y = np.empty_like(x)
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_ssize_t, ctypes.c_int)
        f = kind(self.library.address(f"{name}_{x.dtype}"))
        f(x.ctypes.data, z.ctypes.data, y.ctypes.data, x.size, k)
        return y

    def reduce(self, name, x):
        single = ctypes.c_float if x.dtype == np.float32 else ctypes.c_double
        result = ctypes.c_double if name == "sum" else single
        kind = ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_ssize_t)
        return kind(self.library.address(f"{name}_{x.dtype}"))(x.ctypes.data, x.size)


@pytest.fixture(scope="module", params=variants())
def c(request, tmp_path_factory):
    """The functions, compiled for each kind of machine code that runs here."""
    compiler = build.find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("math") / f"{request.param}.so"
    build.compile_c(compiler, text(), path, request.param, ("-Wall", "-Wextra", "-Werror"))
    return Functions(Library(path))


@cache
def floats(dtype):
    """All exponents with a few random mantissas, whole numbers, and everything near 0 and 1."""
    rng = np.random.default_rng(0)
    bits, word = (23, np.uint32) if dtype == "float32" else (52, np.uint64)
    exponents = np.arange(1 << (np.dtype(dtype).itemsize * 8 - bits), dtype=word)
    exponents = np.repeat(exponents, 64 if bits == 23 else 8)
    mantissas = rng.integers(0, 1 << bits, exponents.size, dtype=word)
    mantissas[::8] = 0
    patterns = ((exponents << word(bits)) | mantissas).view(dtype)
    spans = [rng.uniform(low, high, 20000) for low, high in ((-3, 3), (-110, 95), (-1e4, 1e4))]
    near = 1 + np.arange(-50, 50) * np.finfo(dtype).eps
    whole = np.arange(-1100.0, 1100.0)
    rest = np.concatenate([*spans, near, -near, whole]).astype(dtype)
    return np.concatenate([patterns, rest])


def special(dtype):
    info = np.finfo(dtype)
    x = [0.0, info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, info.eps, 0.5, 1.0]
    x += [1.5, 2.0, 3.0, 8.5, 40.0, 88.5, 100.0, 709.5, 1e4, 10000.5, 2.0**23 + 1, 2.0**24, 2.0**53]
    return np.array([*x, info.max, inf, nan, *(-v for v in x), -info.max, -inf], dtype)


def same_pattern(y, expected):
    """NaN, infinities, zeros and signs in the same places."""
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    y, expected = y[~np.isnan(y)], expected[~np.isnan(expected)]
    np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
    np.testing.assert_array_equal(y == 0, expected == 0)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))


@pytest.mark.parametrize("dtype", C)
@pytest.mark.parametrize("name", UNARY)
def test_special_values_are_those_of_numpys_executor(c, name, dtype):
    x = special(dtype)
    with np.errstate(all="ignore"):
        same_pattern(c(name, x), PRIMITIVES[name].numpy(x))


@pytest.mark.parametrize("dtype", C)
def test_special_values_of_two_arguments(c, dtype):
    a, b = (v.ravel() for v in np.meshgrid(special(dtype), special(dtype)))
    with np.errstate(all="ignore"):
        same_pattern(c("pow", a, b), np.power(a.astype(float), b.astype(float)).astype(dtype))
    for name in ("maximum", "minimum"):
        np.testing.assert_array_equal(c(name, a, b), PRIMITIVES[name].numpy(a, b))


@pytest.mark.parametrize("name", UNARY)
def test_float32_is_within_its_bound(c, name):
    x = floats("float32")
    with np.errstate(all="ignore"):
        errors = judge(c(name, x), PRIMITIVES[name].numpy(x.astype(np.float64)))
    if name == "lgamma":  # float64 loses digits at its zeros below
        errors = errors[~(x <= -0.5)]
    assert errors.max() <= UNARY[name][0] + 1e-3


def test_a_float32_power_is_almost_correctly_rounded(c):
    rng = np.random.default_rng(1)
    a = np.exp(rng.uniform(-80, 80, 50000)).astype(np.float32)
    b = (rng.uniform(-100, 100, a.size) / np.log(a.astype(float))).astype(np.float32)
    a, b = np.append(a, -a[:9000]), np.append(b, np.round(b[:9000]))
    with np.errstate(all="ignore"):
        assert judge(c("pow", a, b), np.power(a.astype(float), b.astype(float))).max() <= 0.51


@pytest.mark.parametrize("name", UNARY)
def test_float64_is_close_to_numpys(c, name):
    """Both are within a few ulp of the exact result, so of each other."""
    x = floats("float64")
    if name == "lgamma":
        x = x[x > -0.5]
    with np.errstate(all="ignore"):
        y, r = c(name, x), PRIMITIVES[name].numpy(x)
        distance = np.abs(y - r) / np.spacing(np.abs(r))
    distance[(y == r) | (np.isnan(y) & np.isnan(r))] = 0
    assert distance.max() <= UNARY[name][1] + PRIMITIVES[name].ulp
    same_pattern(y, r)


#: f(x) to 17 digits, for machines without mpmath.
GOLDEN = {
    "exp": [(-745.0, 5e-324), (-1.5, 0.22313016014842982), (1.0, 2.718281828459045)],
    "expm1": [(1e-10, 1.00000000005e-10), (0.5, 0.6487212707001282), (-3.0, -0.950212931632136)],
    "log": [(5e-324, -744.4400719213812), (0.75, -0.2876820724517809), (10.0, 2.302585092994046)],
    "log1p": [(1e-10, 9.9999999995e-11), (-0.5, -0.6931471805599453), (3.0, 1.3862943611198906)],
    "sin": [(0.5, 0.479425538604203), (1e22, -0.8522008497671888)],
    "cos": [(0.5, 0.8775825618903728), (1e22, 0.5232147853951389)],
    "tanh": [(1e-10, 1e-10), (0.5, 0.46211715726000973), (-2.0, -0.9640275800758169)],
    "sigmoid": [(-740.0, 4.2e-322), (-1.0, 0.2689414213699951), (2.0, 0.8807970779778824)],
    "erf": [(0.5, 0.5204998778130465), (-1.5, -0.9661051464753108), (3.0, 0.9999779095030014)],
    "lgamma": [(0.5, 0.5723649429247001), (4.0, 1.791759469228055), (100.0, 359.1342053695754)],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_float64_gives_known_values(c, name):
    x, expected = np.array(GOLDEN[name]).T
    assert (np.abs(c(name, x) - expected) <= 3 * np.spacing(np.abs(expected))).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 20])
def test_polygamma_is_numpys(c, n):
    rng = np.random.default_rng(2)
    x = np.concatenate([np.exp(rng.uniform(-20, 20, 500)), rng.uniform(-9, 9, 500)])
    tiny = [5e-324, -5e-324, 1e-310, -1e-310]  # beside the pole, where cot is infinite
    edges = np.array([0.0, -0.0, -1.0, -2.0, inf, -inf, nan, *tiny])
    with np.errstate(all="ignore"):
        same_pattern(c("polygamma", edges, k=n), PRIMITIVES["polygamma"].numpy(edges, n))
        expected = PRIMITIVES["polygamma"].numpy(x, n)
    # around its zeros only the absolute error of digamma is small
    np.testing.assert_allclose(c("polygamma", x, k=n), expected, rtol=1e-13, atol=1e-14)
    single = c("polygamma", x.astype(np.float32), k=n)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, PRIMITIVES["polygamma"].numpy(x.astype(np.float32), n), 2e-7)


def test_polygamma_of_the_highest_order(c):
    x = np.array([-2.5, -2.4, 2.5, 30.0])  # at the first the derivative of cot is 0
    expected = PRIMITIVES["polygamma"].numpy(x, 170)
    np.testing.assert_allclose(c("polygamma", x, k=170), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", C)
@pytest.mark.parametrize("name", [*UNARY, "pow"])
def test_bits_do_not_depend_on_the_place_in_a_vector(c, name, dtype):
    x = np.random.default_rng(3).normal(0, 5, 67).astype(dtype)
    y = c(name, x, x[::-1])
    singly = [c(name, x[i : i + 1], x[::-1][i : i + 1])[0] for i in range(x.size)]
    np.testing.assert_array_equal(y, singly)


def test_bits_do_not_depend_on_the_width_of_a_vector(tmp_path):
    fused = [v for v in variants() if v in ("x86-64-v4", "x86-64-v3")]
    if len(fused) < 2 or build.find_compiler() is None:
        pytest.skip("needs a compiler and a CPU with vectors of two widths")
    found = []
    for variant in fused:
        path = tmp_path / f"{variant}.so"
        build.compile_c(build.find_compiler(), text(), path, variant)
        found.append(Functions(Library(path)))
    for dtype in C:
        x = floats(dtype)
        for name in (*UNARY, "pow"):
            wide, narrow = (f(name, x, x[::-1]) for f in found)
            np.testing.assert_array_equal(wide, narrow)


@pytest.mark.parametrize("dtype", C)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 16, 19, 31, 64, 1000])
def test_reductions(c, n, dtype):
    x = np.random.default_rng(n).normal(size=n).astype(dtype)
    total = c.reduce("sum", x)
    assert abs(total - math.fsum(x)) <= 1e-16 * (n + 1) * np.abs(x).sum(dtype=np.float64)
    assert c.reduce("max", x) == max(x, default=-inf)
    for k in range(0, n, 5):
        y = x.copy()
        y[k] = nan
        assert math.isnan(c.reduce("max", y))
        assert math.isnan(c.reduce("sum", y))
        y[k] = inf
        assert c.reduce("max", y) == c.reduce("sum", y) == inf
    if n:
        assert c.reduce("max", np.full(n, -inf, dtype)) == -inf
        zeros = np.full(n, -0.0, dtype)
        assert math.copysign(1, c.reduce("max", zeros)) == -1
        zeros[n // 2] = 0.0
        assert math.copysign(1, c.reduce("max", zeros)) == 1


@pytest.mark.parametrize("dtype", C)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 10, 15, 16, 17, 31, 32, 50])
def test_sixteen_rows_side_by_side(c, n, dtype):
    r = np.random.default_rng(n)
    x = np.full((16, n + 3), 7, dtype)  # rows of a wider array
    x[:, :n] = r.normal(size=(16, n)) * 10.0 ** r.integers(-9, 9, (16, n))
    if n > 1:
        odd = [0.0, -0.0, inf, -inf, nan, -nan, 1e-45]
        x[4:, :n] = np.where(r.random((12, n)) < 0.4, r.choice(odd, (12, n)), x[4:, :n])
        x[0, :n], x[1, :n], x[2, :n] = -0.0, r.choice([0.0, -0.0], n), -inf
        x[3, :n] = -np.abs(x[3, :n])
    tile, y = np.full((n + 1, 16), 5, dtype), np.full_like(x, 9)
    sums, largest = np.empty(16), np.empty(16, dtype)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_ssize_t] * 2, *[ctypes.c_void_p] * 4)
    kind(c.library.address(f"sixteen_{dtype}"))(
        x.ctypes.data, n + 3, n, *(a.ctypes.data for a in (tile, sums, largest, y))
    )
    np.testing.assert_array_equal(tile[:n], x[:, :n].T)
    np.testing.assert_array_equal(y[:, :n], x[:, :n])
    assert (tile[n] == 5).all()  # nothing beyond
    assert (y[:, n:] == 9).all()
    for k in range(16):
        row = np.ascontiguousarray(x[k, :n])
        for one, many in ((c.reduce("sum", row), sums[k]), (c.reduce("max", row), largest[k])):
            np.testing.assert_array_equal(one, many)
            assert np.isnan(many) or np.signbit(one) == np.signbit(many)


def test_a_sum_of_float32_is_taken_in_float64(c):
    x = np.array([1e8, 1.0, -1e8] * 11, np.float32)
    assert c.reduce("sum", x) == 11


def test_numpys_subnormal_numbers_are_left_alone(c):
    tiny = np.array([1e-40], np.float32)
    assert c("exp", np.array([-100.0], np.float32))[0] > 0
    assert (tiny * np.float32(0.5))[0] > 0
    assert (np.array([5e-324]) * 1.0)[0] > 0
