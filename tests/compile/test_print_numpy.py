from __future__ import annotations

import gc
import linecache
import sys
import traceback

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.namespace import NUMPY
from chainrule.compile import print_numpy as printer
from chainrule.compile import schedule as scheduler
from chainrule.compile.derivative import derive
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace


@pytest.fixture
def blocks_of_8(monkeypatch):
    monkeypatch.setattr(scheduler, "BLOCK", 8)


def close(a, b, eps):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    scale = np.max(np.abs(b), initial=1.0, where=np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=eps, atol=eps * scale)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize(("dtype", "eps"), [(np.float64, 1e-11), (np.float32, 2e-3)])
def test_random_programs_whole_and_in_blocks_are_the_plain_text(programs, data, dtype, eps):
    trees = data.draw(st.lists(programs.any, min_size=1, max_size=3))
    text = programs.text(*trees)
    program = trace(text, programs.names)
    arrays = programs.arrays(rows=11, columns=3, dtype=dtype)
    before = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        plain = text(NUMPY, *arrays)
        plain = plain if isinstance(plain, tuple) else (plain,)
        with pytest.MonkeyPatch.context() as patch:
            whole = Kernel(program)(*arrays)
            patch.setattr(scheduler, "BLOCK", 8)
            blocked = Kernel(program)(*arrays)
    for p, w, b in zip(plain, whole, blocked, strict=True):
        close(w, p, eps)
        close(b, p, eps)
        assert w is not b
    for a, was in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, was)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_derivatives_in_blocks_are_those_on_whole_arrays(programs, data):
    program = trace(programs.text(data.draw(programs.any)), programs.names)
    d = derive(program, (True,) * 5)
    arrays = programs.arrays(rows=11, columns=3)
    with np.errstate(all="ignore"):
        ys = Kernel(program)(*arrays)
        of = {"x": arrays, "y": ys, "g": [np.ones_like(y) for y in ys]}
        given = [of[role][k] for role, k in d.sources]
        whole = Kernel(d.program)(*given)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scheduler, "BLOCK", 8)
            blocked = Kernel(d.program)(*given)
    for a, b in zip(blocked, whole, strict=True):
        close(a, b, 1e-10)


def normalized(xp, x, w, b):
    """Softmax-like: row reductions, a column operand, three outputs in three layouts."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    y = w * (e / xp.sum(e, axis=-1, keepdims=True)) + b
    return y, xp.sum_to(y, b), xp.mean(y * y)


@pytest.mark.parametrize("shape", [(37, 3), (5, 7, 3), (36, 1), (1, 36, 2), (9, 4)])
def test_blocks_of_any_shape(blocks_of_8, shape):
    r = np.random.default_rng(1)
    x, w, b = r.normal(size=shape), r.normal(size=shape[-1]), r.normal(size=(1, shape[-1]))
    program = trace(normalized, ["x", "w", "b"])
    k = Kernel(program)
    y, column, mean = k(x, w, b)
    e = np.exp(x - x.max(-1, keepdims=True))
    expected = w * (e / e.sum(-1, keepdims=True)) + b
    close(y, expected.reshape(y.shape), 1e-14)
    close(column, expected.reshape(-1, shape[-1]).sum(0).reshape(b.shape), 1e-14)
    close(mean, (expected**2).mean(), 1e-14)


def test_a_large_program_runs_in_blocks_and_keeps_its_small_steps_outside(blocks_of_8):
    program = trace(normalized, ["x", "w", "b"])
    source = Kernel(program).source((37, 3), (3,), (3,), dtype=np.float64)
    assert source == (
        "def normalized(x, w, b):\n"
        "    rows, columns, block = 37, 3, 2\n"
        "    x_rows = x.reshape(-1, columns)\n"
        "    out0 = empty((37, 3), float64)\n"
        "    out0_rows = out0.reshape(-1, columns)\n"
        "    t1 = empty((block, columns), float64)\n"
        "    t3 = zeros((3,), float64)\n"
        "    t4 = zeros((), float64)\n"
        "    for i in blocks(0, rows, block):\n"
        "        if rows - i < block:\n"
        "            t1 = t1[:rows - i]\n"
        "        x_i = x_rows[i:i + block]\n"
        "        out0_i = out0_rows[i:i + block]\n"
        "        t0 = max(x_i, axis=1, keepdims=True)\n"
        "        subtract(x_i, t0, out=t1)\n"
        "        exp(t1, out=t1)\n"
        "        t2 = sum(t1, axis=1, keepdims=True)\n"
        "        divide(t1, t2, out=t1)\n"
        "        multiply(w, t1, out=t1)\n"
        "        add(t1, b, out=out0_i)\n"
        "        t3 += sum(out0_i, axis=0)\n"
        "        multiply(out0_i, out0_i, out=t1)\n"
        "        t4 += sum(t1, axis=None)\n"
        "    t5 = divide(t4, 111)\n"
        "    return out0, t3, asarray(t5)\n"
    )


def test_the_whole_text_reads_like_the_formula():
    program = trace(lambda xp, x, b: xp.tanh(x + b) * 2.0, ["x", "b"], "scaled tanh")
    assert Kernel(program).source((4, 3), (3,)) == (
        "def scaled_tanh(x, b):\n"
        "    t0 = add(x, b)\n"
        "    tanh(t0, out=t0)\n"
        "    multiply(t0, 2.0, out=t0)\n"
        "    return t0,\n"
    )


@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed", "fortran"])
def test_arrays_that_are_not_contiguous(blocks_of_8, layout):
    r = np.random.default_rng(2)
    x = {
        "transposed": r.normal(size=(3, 20)).T,
        "strided": r.normal(size=(40, 6))[::2, ::2],
        "reversed": r.normal(size=(20, 3))[::-1, ::-1],
        "fortran": np.asfortranarray(r.normal(size=(20, 3))),
    }[layout]
    k = Kernel(trace(lambda xp, x, b: (xp.sin(x) + b, x > b), ["x", "b"]))
    b = np.arange(6.0)[::2] - 2
    y, test = k(x, b)
    np.testing.assert_allclose(y, np.sin(x) + b, rtol=1e-15)
    np.testing.assert_array_equal(test, x > b)
    assert test.dtype == np.bool_


def test_an_output_that_is_a_test_and_used_as_one(blocks_of_8):
    def text(xp, x):
        positive = x > 0.0
        return positive, xp.where(positive, x, -1.0), (positive & (x < 1.0)) * x

    x = np.linspace(-2, 2, 33, dtype=np.float32)
    test, where, product = Kernel(trace(text, ["x"]))(x)
    np.testing.assert_array_equal(test, x > 0)
    np.testing.assert_array_equal(where, np.where(x > 0, x, np.float32(-1)))
    np.testing.assert_array_equal(product, ((x > 0) & (x < 1)) * x)
    assert (test.dtype, where.dtype, product.dtype) == (np.bool_, np.float32, np.float32)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0), ()])
def test_arrays_without_elements_and_without_axes(shape):
    k = Kernel(trace(lambda xp, x: (xp.exp(x), xp.sum(x), x <= 0.0), ["x"]))
    y, total, test = k(np.ones(shape, np.float32))
    assert y.shape == test.shape == shape
    assert total.shape == ()
    assert (y.dtype, total.dtype, test.dtype) == (np.float32, np.float32, np.bool_)
    assert total == np.ones(shape).sum()


def test_constant_outputs_have_the_type_of_the_program():
    k = Kernel(trace(lambda xp, x: (1.5, 2, x + 1.0), ["x"]))
    a, b, _ = k(np.ones(2, np.float32))
    assert (a.dtype, b.dtype) == (np.float32, np.float32)
    assert (a, b) == (1.5, 2)
    assert type(a) is type(b) is np.ndarray


def test_labels_beside_float32_leave_it_float32(blocks_of_8):
    def loss(xp, x, labels):
        picked = xp.sum(xp.where(xp.one_hot(labels, x), x, 0.0), axis=-1, keepdims=True)
        return xp.mean(xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True)) - picked)

    r = np.random.default_rng(3)
    x = r.normal(size=(30, 4)).astype(np.float32)
    labels = r.integers(0, 4, size=(30, 1))
    k = Kernel(trace(loss, ["x", "labels"]))
    (value,) = k(x, labels)
    expected = (np.log(np.exp(x).sum(-1)) - x[np.arange(30), labels[:, 0]]).mean()
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=1e-6)


class _Watched:
    """Printed text with every result that a called function gives reported."""

    def __init__(self, monkeypatch):
        self.dtypes: set[np.dtype] = set()
        watched = {name: self.watch(f) for name, f in printer.GLOBALS.items() if callable(f)}
        monkeypatch.setattr(printer, "GLOBALS", printer.GLOBALS | watched)

    def watch(self, f):
        if isinstance(f, type):
            return f

        def call(*args, **kwargs):
            result = f(*args, **kwargs)
            if isinstance(result, np.ndarray | np.generic):
                self.dtypes.add(result.dtype)
            return result

        return call


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("block", [8, 32768])
def test_no_temporary_of_a_float32_program_is_float64(programs, data, block):
    program = trace(programs.text(data.draw(programs.any)), programs.names)
    d = derive(program, (True,) * 5)
    *arrays, scale = programs.arrays(rows=11, columns=3, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(scheduler, "BLOCK", block)
        watched = _Watched(patch)
        for s in (scale, np.float64(scale), float(scale), np.array(scale, np.float64), 2):
            ys = Kernel(program)(*arrays, s)
            given_ = {"x": [*arrays, s], "y": ys, "g": [np.ones_like(y) for y in ys]}
            Kernel(d.program)(*[given_[role][k] for role, k in d.sources])
            assert np.dtype(np.float64) not in watched.dtypes, (s, watched.dtypes)
            # a number that meets no array stays what it is: whole
            assert all(y.dtype == np.float32 or (type(s) is int and y.ndim == 0) for y in ys)


def test_texts_that_numpy_would_widen_stay_float32_when_compiled(monkeypatch):
    def text(xp, x, n):
        on = xp.where(x > 0.0, 1.0, 0.0)
        half = (x > 0.0) * 0.5
        share = xp.mean(x > 0.0)
        return on * half + share * x + (1 - n) * x + 0.1 / x.shape[0]

    watched = _Watched(monkeypatch)
    x = np.linspace(-1, 1, 6, dtype=np.float32)
    (y,) = Kernel(trace(text, ["x", "n"]))(x, 0.25)
    expected = (x > 0) * 0.5 + 0.5 * x + 0.75 * x + 0.1 / 6
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert np.dtype(np.float64) not in watched.dtypes


def test_names_that_python_numpy_or_the_text_uses():
    def text(xp, exp, t0, block, rows):
        return xp.exp(exp) + xp.sin(t0) + block * rows

    k = Kernel(trace(text, ["exp", "t0", "block", "rows"], "lambda"))
    source = k.source((2,), (2,), (2,), (2,))
    assert source.startswith("def lambda_(exp_, t0, block_, rows_):\n    t1 = exp(exp_)\n")
    np.testing.assert_allclose(k(*np.eye(4))[0], np.exp([1, 0, 0, 0]) + np.sin([0, 1, 0, 0]))


def test_infinite_constants():
    k = Kernel(
        trace(
            lambda xp, x: xp.minimum(x, float("inf")) + xp.where(x < -float("inf"), 1.0, x), ["x"]
        )
    )
    np.testing.assert_array_equal(k(np.ones(3))[0], [2.0, 2.0, 2.0])


def test_a_traceback_shows_the_printed_text_which_goes_with_its_function():
    k = Kernel(trace(lambda xp, x, y: x + y, ["x", "y"], "sum_of_two"))
    source = k.source((2,), (2,))
    f = printer.compile_numpy(source, "sum_of_two")
    name = f.__code__.co_filename
    try:
        f(np.ones(2), np.ones(3))
    except ValueError:
        assert "t0 = add(x, y)" in "".join(traceback.format_exception(*sys.exc_info()))
    assert name in linecache.cache
    del f
    sys.last_exc = None
    gc.collect()
    assert name in linecache.cache  # which may be in the middle of a walk through all it holds
    printer.compile_numpy("def g(x):\n    return x\n", "g")
    assert name not in linecache.cache


def test_a_function_that_goes_while_tracebacks_are_made_harms_nothing(monkeypatch):
    functions = []

    class Walked(dict):
        def keys(self):
            found = list(super().keys())
            functions.clear()  # the collector runs now
            gc.collect()
            return found

    monkeypatch.setattr(linecache, "cache", Walked(linecache.cache))
    functions += [printer.compile_numpy("def f(x):\n    return x\n", "f") for _ in range(3)]
    linecache.checkcache()
    assert not functions
