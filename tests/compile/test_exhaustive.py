"""The measurement of errors: right about errors made on purpose, and passing where it should."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chainrule.array.errors import MissingExtraError
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile import exhaustive
from chainrule.compile.exhaustive import (
    ROWS,
    Row,
    Worst,
    c_functions,
    executors,
    float32_errors,
    float64_errors,
    judge,
)

nan, inf = np.nan, np.inf
STRIDE = 65537 * 3  # 21,845 numbers


def error(y, r):
    return judge(np.array([y], np.float32), np.array([r]))[0]


def test_an_error_is_counted_in_units_of_the_last_place():
    one = np.float32(1)
    assert error(one, 1.0) == 0
    assert error(np.nextafter(one, np.float32(2)), 1.0) == 1
    assert error(one, 1 + 2.0**-24) == 0.5
    assert error(one, 1 - 2.0**-25) == 0.5  # numbers lie twice as dense below 1
    assert error(np.float32(1e-45), 0.0) == 1  # between subnormal numbers
    assert error(0.0, 2.0**-150) == 0.5
    assert error(-(2.0**100) * 1.5, 2.0**100 * -1.25) == 2.0**21


def test_edges_are_right_or_infinitely_wrong():
    assert error(nan, nan) == error(inf, inf) == error(-inf, -inf) == 0
    assert error(nan, 1.0) == error(1.0, nan) == error(inf, -inf) == error(inf, nan) == inf
    assert error(1.0, inf) == inf
    assert error(inf, 1e39) == 0  # which float32 rounds to inf
    largest = float(np.finfo(np.float32).max)
    assert error(inf, largest) == 1
    assert error(largest, largest + 2.0**102) == 0.25
    assert error(0.0, 0.0) == 0
    assert error(-0.0, 0.0) == error(0.0, -1e-60) == inf


@pytest.mark.parametrize("name", ROWS)
def test_sampled_float32_passes(name):
    found = float32_errors(ROWS[name], STRIDE)
    assert [w.executor for w in found] == list(executors(name))
    for worst in found:
        assert worst.passed, worst
        assert worst.count == -(-(1 << 32) // STRIDE)


@pytest.mark.parametrize("name", ROWS)
def test_sampled_float64_passes(name):
    pytest.importorskip("mpmath")
    for worst in float64_errors(ROWS[name], 40):
        assert worst.passed, worst


def test_every_number_is_taken_once():
    blocks = list(exhaustive._blocks(0, 1 << 32, STRIDE))
    bits = np.concatenate(blocks).view(np.uint32)
    assert bits[0] == 0
    assert (np.diff(bits.astype(np.int64)) == STRIDE).all()
    assert bits[-1] >= (1 << 32) - STRIDE
    (block,) = exhaustive._blocks((1 << 32) - 3, 1 << 32, 1)
    assert block.view(np.uint32).tolist() == [2**32 - 3, 2**32 - 2, 2**32 - 1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.tanh(x) * np.float32(1 + 1e-6),
        lambda x: np.where(np.isnan(x), x.dtype.type(0), np.tanh(x)),
        lambda x: np.abs(np.tanh(x)),
        lambda x: np.where(np.abs(x) < 1e-38, x.dtype.type(0), np.tanh(x)),
    ],
    ids=["value", "nan", "sign", "subnormal"],
)
def test_each_mistake_is_seen(wrong, monkeypatch):
    monkeypatch.setattr(exhaustive, "executors", lambda name: {"C": wrong})
    (worst,) = float32_errors(ROWS["tanh"], STRIDE)
    assert not worst.passed


def test_a_float64_mistake_is_seen(monkeypatch):
    pytest.importorskip("mpmath")
    for wrong in (
        lambda x: np.tanh(x) * (1 + 2e-15),
        lambda x: np.where(np.isnan(x), 0.0, np.tanh(x)),
    ):
        monkeypatch.setattr(exhaustive, "executors", lambda name, wrong=wrong: {"C": wrong})
        (worst,) = float64_errors(ROWS["tanh"], 100)
        assert not worst.passed


def test_progress_and_merging():
    shares = []
    float32_errors(ROWS["sqrt"], STRIDE, shares.append)
    assert shares[-1] == 1
    a, b = Worst("f", "C", "float32", 2, 1.5, 3.0, 4, 10), Worst("f", "C", "float32", 2)
    b.merge(a)
    assert a == b
    assert b.passed
    b.add(np.array([5.0, 7.0]), np.array([0.5, 2.5]))
    assert (b.ulp, b.at, b.above, b.count) == (2.5, 7.0, 5, 12)
    assert not b.passed


def test_bounds_come_from_two_tables():
    row = Row("tanh", 2, 3)
    assert row.bound("C", "float32") == 2
    assert row.bound("C", "float64") == 3
    assert row.bound("NumPy", "float32") == PRIMITIVES["tanh"].ulp


def test_c_computes_in_the_dtype_of_its_input():
    f = c_functions("exp")
    if f is None:
        pytest.skip("no C compiler")
    for dtype in (np.float32, np.float64):
        y = f(np.array([[0.0, 1.0], [2.0, 3.0]], dtype).T)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, np.exp([[0.0, 2.0], [1.0, 3.0]]), rtol=1e-6)


def test_without_a_compiler_numpy_alone_is_measured(monkeypatch):
    monkeypatch.setattr(exhaustive, "_library", lambda: None)
    assert list(executors("exp")) == ["NumPy"]
    (worst,) = float32_errors(ROWS["lgamma"], STRIDE * 9)
    assert worst.passed


def test_without_mpmath_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpmath", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        float64_errors(ROWS["exp"], 1)
