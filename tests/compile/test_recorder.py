"""What a recorder notes: live memory by its address, updates of parts of it, and draws."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.compile.kernel import Kernel
from chainrule.compile.recorder import Recorder
from chainrule.compile.sequence import Steps
from chainrule.compile.symbolic import CaptureError, Symbolic
from chainrule.compile.trace import trace
from tests_layout import Machine, layout_of

DOUBLE = Kernel(trace(lambda xp, a: 2.0 * a, ["a"], "double"))


@pytest.fixture
def r() -> Recorder:
    return Recorder()


def test_views_of_one_array_are_parts_of_one_base(r: Recorder) -> None:
    flat = np.arange(24, dtype=np.float32)
    a, b = flat[:12].reshape(4, 3), flat[12:]
    x, y, z = r.of(a), r.of(b), r.of(a[1])
    assert len(r.bases) == 1
    assert x.expr.args[0] is y.expr.args[0] is z.expr.args[0]
    assert dict(z.expr.attrs) == {"offset": 3, "shape": (3,)}
    assert (x.shape, y.shape, z.shape) == ((4, 3), (12,), (3,))
    assert r.of(flat).expr.op == "memory"
    assert r.of(x) is x
    assert r.of(1.5) == 1.5
    assert isinstance(r.of(np.float32(2)), Symbolic)


def test_layouts_of_live_memory(r: Recorder) -> None:
    a = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert r.of(a.T).expr.op == "permute"
    assert r.of(a[:, ::2]).expr.op == "strided"
    assert r.of(a[::-1]).expr.op == "strided"
    f = np.asfortranarray(a)
    assert r.of(f).expr.op == "permute"
    assert np.shares_memory(r.bases[1], f)
    other = np.zeros(6, np.float32)
    assert r.of(other[::2]).expr.op == "strided"
    whole = np.broadcast_to(np.float32(3), (2, 2))
    assert r.of(whole).shape == (2, 2)


def test_arrays_of_different_types_or_owners_that_share_memory(r: Recorder) -> None:
    a = np.zeros(8, np.float32)
    r.of(a)
    with pytest.raises(CaptureError, match="shares memory with another one"):
        r.of(a.view(np.int32))
    buffer = bytearray(64)
    first, second = np.frombuffer(buffer, np.float32, 4), np.frombuffer(buffer, np.float32)
    r.of(first)
    with pytest.raises(CaptureError, match="shares memory with another one"):
        r.of(second)
    r.of(np.frombuffer(buffer, np.float32, 4))  # the same once more
    r.of(np.zeros((0, 3), np.float32))
    r.of(np.zeros((0, 3), np.float32))


def test_an_update_in_place_of_a_scattered_part(r: Recorder) -> None:
    a = np.zeros((4, 3), np.float32)
    x = r.argument(np.zeros((4, 2), np.float32), "x")
    with pytest.raises(CaptureError, match="not contiguous is updated"):
        np.copyto(a[:, :2], x)
    np.copyto(a[:2], x[:2, :1] * np.ones(3, np.float32))
    with pytest.raises(CaptureError, match="a scattered part of an array that was updated is read"):
        r.of(a[:, ::2])
    with pytest.raises(CaptureError, match="one of another shape"):
        r.write(a[2:], x)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12), st.integers(0, 2)), max_size=12))
def test_memory_holds_what_was_written_last(actions: Any) -> None:
    """Reads and updates of overlapping parts, against NumPy; and by native instructions."""
    base = np.arange(12, dtype=np.float32)
    real = base.copy()
    r = Recorder()
    x = r.argument(np.arange(100, 112, dtype=np.float32), "x")
    given_x = np.arange(100, 112, dtype=np.float32)
    results, expected = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.compile.kernel.native_plan", lambda *a: None)
        for start, size, kind in actions:
            stop = min(start + size, 12)
            if kind == 0:
                results.append(r.of(base[start:stop]).copy())
                expected.append(real[start:stop].copy())
            elif kind == 1:
                np.copyto(base[start:stop], x[: stop - start])
                real[start:stop] = given_x[: stop - start]
            else:
                r.put(base[start:stop], DOUBLE(r.of(base[start:stop]))[0])
                real[start:stop] *= 2
        results.append(r.of(base))
        expected.append(real)
        pieces = sorted((a, b) for parts in r.written.values() for a, b, _ in parts)
        assert all(b <= c for (_, b), (c, _) in itertools.pairwise(pieces))
        found = Steps(r, results, "f").function(given_x)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(base, real)
    try:
        layout = layout_of(r, results)
    except NotImplementedError:
        return
    Machine(layout).run()


def test_a_written_value_is_cast_to_the_memorys_type(r: Recorder) -> None:
    a = np.zeros(3, np.float32)
    x = r.argument(np.ones(3), "x")
    r.put(a, x)
    assert r.of(a).dtype == np.float32
    r.put(a, 2.0)
    assert r.of(a).expr.op == "full"


def test_kernels_update_live_arrays_and_symbols(r: Recorder) -> None:
    update = Kernel(trace(lambda xp, p, g: (p - g, g * 2.0), ["p", "g"], "u"), into={0: 0, 1: 1})
    p, x = np.ones(3, np.float32), r.argument(np.ones(3, np.float32), "x")
    g = x * 3.0
    before = g.copy()
    first, second = r.kernel(update, [p, g])
    assert first is p
    assert second is g
    assert g.expr is not before.expr
    assert r.of(p).expr.op == "subtract"
    with pytest.raises(CaptureError, match="an argument is written into"):
        r.kernel(update, [p, x])


def test_slices_and_what_undoes_them(r: Recorder) -> None:
    x = r.argument(np.ones((4, 6), np.float32), "x")
    for index in (
        (slice(1, 3),),
        (slice(None), slice(1, 6, 2)),
        (2,),
        (Ellipsis, -1),
        (1, slice(2)),
    ):
        part = x[index]
        back = r.put_at(lambda *a: None, part, index if len(index) > 1 else index[0], (4, 6))
        assert back.shape == (4, 6)
        assert back.expr.op == "place"
    assert x[::-1].expr.op == "host"
    assert x[:, None].expr.op == "host"
    assert x[()].shape == (4, 6)
    assert x[...].expr is x.expr
    with pytest.raises(CaptureError, match="whose values come later"):
        x[x > 0]
    with pytest.raises(IndexError):
        x[9]


def test_labels_must_be_given(r: Recorder) -> None:
    y = r.argument(np.zeros(4, np.int32), "y")
    r.labels(y.astype(np.int64), 3)
    r.labels(r.of(np.zeros(4, np.int64)), 3)
    assert len(r.guards) == 2
    with pytest.raises(CaptureError, match="labels are computed in the step"):
        r.labels(y + 1, 3)


def test_codes_are_looked_at_as_early_as_can_be(r: Recorder) -> None:
    table = r.argument(np.ones((3, 2), np.float32), "table")
    y = r.argument(np.zeros(4, np.int32), "y")
    given, made = y.astype(np.int64).reshape(2, 2), r.of(np.zeros(4, np.int64))
    for codes, check in ((given, False), (made, True)):
        r.codes(codes, [3])
        rows = r.gather(codes, [table])
        assert rows.shape == (*codes.shape, 2)
        back = r.scatter(rows, codes, column=-1, first=0, shape=(3, 2), padding=-1)
        for e in (rows.expr, back.expr):
            assert dict(e.attrs)["check"] is check
    assert len(r.guards) == 1
    x = r.argument(np.ones((4, 3), np.float32), "x")
    both = r.gather(x, [table, table], 1)
    assert (both.shape, both.dtype) == ((4, 5), np.float32)


def test_numbers_that_must_be_finite(r: Recorder) -> None:
    x = r.argument(np.ones(4, np.float32), "x")
    r.finite(np.sum(x))
    r.finite(r.constant(1.0, (), np.float32))  # known already
    assert len(r.checks) == 1
    with pytest.raises(CaptureError, match="must be finite is not"):
        r.finite(r.constant(np.inf, (), np.float32))


def test_products_that_are_no_matrices_are_numpys(r: Recorder) -> None:
    x = r.argument(np.ones((4, 3), np.float32), "x")
    assert (x @ x.T).expr.op == "product"
    assert (x @ np.ones(3, np.float32)).expr.op == "host"
    assert (x @ np.ones((3, 2))).expr.op == "host"
    assert np.matmul(np.ones((2, 4, 4), np.float32), x).shape == (2, 4, 3)
