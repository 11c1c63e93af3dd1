"""The loops of the runtime: copies, random bits, and matrix products in every layout."""

from __future__ import annotations

import ctypes
import mmap
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

from chainrule.array import numerics, random
from chainrule.array.random import Stream
from chainrule.compile import build, lookup

NATIVE = build.runtime()
pytestmark = pytest.mark.skipif(NATIVE is None, reason="there is no native runtime here")

F4 = np.dtype("f4").num


def plan(
    instructions: list[Any],
    arguments: Any = (),
    fixed: Any = (),
    workspace: int = 0,
    results: Any = (),
    release: bool = False,
    name: str = "test",
) -> Any:
    assert NATIVE is not None
    return NATIVE.Plan(
        name, list(arguments), list(fixed), workspace, list(results), instructions, release
    )


@pytest.mark.parametrize("item", [1, 2, 4, 8, 16, 3])
def test_copy_of_any_axes(item: int) -> None:
    dtype = np.dtype(f"V{item}")
    raw = np.random.default_rng(0).integers(0, 256, 2 * 17 * 18 * 4 * item, dtype="u1")
    whole = raw.view(dtype).reshape(2, 17, 18, 4)
    base = np.frombuffer(raw, "u1")
    for source in (
        whole,
        whole[1:2, 2:3, 3:4, 1:2],
        whole.transpose(3, 1, 0, 2),
        whole[:, ::-1, ::2, 1:3],
        whole[0, :, :, 0].T,
        whole[:1].swapaxes(1, 2),
        np.broadcast_to(whole[0, 0, :, 0], (5, 18)),
        whole[:, :0],
    ):
        target = np.zeros(source.shape[::-1], dtype).T  # strides that increase
        start = source.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        # of an empty array NumPy is free to point anywhere
        dst, src = (1, 1, 0), (1, 0, start if source.size else 0)
        move = ("copy", item, source.shape, dst, target.strides, src, source.strides)
        p = plan([move], fixed=[base, target.T.view("u1") if target.size else target.T])
        assert p() == ()
        np.testing.assert_array_equal(target, source)


def test_random_equals_the_stream() -> None:
    for n in (0, 1, 2, 7, 8, 9, 127, 128, 129, 1001):
        for p in (0.0, 2.0**-32, 0.2, 0.5, 1 - 2.0**-32, 1.0):
            stream = Stream(3)
            key = np.array([*digest(3, "a"), 0], "u8")
            out = np.full(n + 1, 7, "u1")
            threshold = 2**32 if p == 1.0 else min(round(p * 2**32), 2**32 - 1)
            run = plan([("random", (1, 0, 0), n, threshold, (1, 1, 0))], fixed=[out, key])
            for step in (0, 1, 2**64 - 1):
                key[2] = step
                run()
                expected = stream.bernoulli("a", n, p, step=step)
                np.testing.assert_array_equal(out[:n].astype(bool), expected)
                assert out[n] == 7


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_rows_of_tables_and_back(dtype: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    number = np.dtype(dtype).num
    for n, rows, columns in ((40, 7, 3), (40, 100, 16), (3, 1, 1), (0, 2, 2), (5, 3, 0)):
        table = rng.normal(size=(rows, columns)).astype(dtype)
        x = np.zeros((n, 3), kind)
        x[:, 1] = rng.integers(0, rows, n)
        wide = rng.normal(size=(n, columns + 4)).astype(dtype)
        wide[:1, 2:3] = -0.0
        back, g = np.full((rows, columns), 9, dtype), wide.copy()
        item, width, at = table.itemsize, columns + 4, (1, 0, x.itemsize)
        codes = (x.dtype.num, at, n, x.strides[0])
        for padding in (-1, 0):
            p = plan(
                [
                    ("codes", *codes, rows),
                    ("gather", number, rows, columns, width, (1, 2, 2 * item), (1, 1, 0), *codes,
                     -1),
                    ("scatter", number, rows, columns, width, (1, 3, 0), (1, 4, 2 * item), *codes,
                     padding),
                ],
                fixed=[x, table, wide, back, g],
            )  # fmt: skip
            before = wide.copy()
            assert p() == ()
            before[:, 2 : 2 + columns] = lookup.gather(x[:, 1].astype(int), table)
            assert wide.tobytes() == before.tobytes()
            wanted = lookup.scatter(g, x, column=1, first=2, shape=(rows, columns), padding=padding)
            assert back.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", ["u1", "i1", "u4", "i8", "u8", "f4", "f8"])
def test_codes_without_a_row(kind: str) -> None:
    bad = {
        "u": [3, 255], "i": [3, -1, 127], "f": [3, -1, 0.5, np.nan, np.inf, -np.inf, 1e30, 2**32],
    }[kind[0]]  # fmt: skip
    if kind == "u8":
        bad = [3, 2**63, 2**64 - 1]
    table, out = np.ones((3, 2), "f4"), np.zeros((2, 2), "f4")
    for value in bad:
        x = np.array([0, value], kind)
        codes = (x.dtype.num, (1, 0, 0), 2, x.itemsize)
        for instruction in (
            ("codes", *codes, 3),
            ("gather", F4, 3, 2, 2, (1, 2, 0), (1, 1, 0), *codes, -1),
            ("scatter", F4, 3, 2, 2, (1, 1, 0), (1, 2, 0), *codes, -1),
        ):
            assert plan([instruction], fixed=[x, table, out])() is NotImplemented
        x[1] = 2
        assert plan([("codes", *codes, 3)], fixed=[x])() == ()


def digest(seed: int, path: str) -> Any:
    return np.frombuffer(blake2b(f"{seed}/{path}".encode(), digest_size=16).digest(), "<u8")


def test_words_are_sorted_by_their_upper_bits() -> None:
    assert NATIVE is not None
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 1000, 70_000):
        for low in (0, 1, 20, 31, 42, 43, 63):
            words = rng.integers(0, 2**64, n, dtype="u8")
            words >>= np.uint64(low)
            words <<= np.uint64(low)
            words |= np.minimum(np.arange(n, dtype="u8"), np.uint64(2**low - 1))
            expected = np.sort(words)
            NATIVE.sort_words(words, low)
            np.testing.assert_array_equal(words, expected)
    for wrong in (np.zeros(4), np.zeros((2, 2), "u8"), np.zeros(4, "u8")[::2], np.zeros(4, ">u8")):
        with pytest.raises(ValueError, match="expected a row of uint64"):
            NATIVE.sort_words(wrong, 0)
    with pytest.raises(ValueError, match="a bit from 0 to 63"):
        NATIVE.sort_words(np.zeros(4, "u8"), 64)


def test_permutations_are_the_same_without_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    native = [Stream(7).permutation("a", n) for n in (1, 5, 4096, 100_000)]
    monkeypatch.setattr(random, "sort_words", random._sort_words)
    for order in native:
        np.testing.assert_array_equal(Stream(7).permutation("a", len(order)), order)
        np.testing.assert_array_equal(np.sort(order), np.arange(len(order)))


def test_the_largest_number_read_as_unsigned() -> None:
    assert NATIVE is not None
    for words in ([3], [0, 9, 2], [5, -1], [-(2**63), 2**63 - 1], range(1000)):
        a = np.array(words, np.int64)
        for form in (a, a[::-1], a.reshape(1, -1), np.repeat(a, 2)[::2], a[:1].reshape(())):
            assert NATIVE.largest(form) == numerics._largest(np.array(form))
    for wrong in (
        np.zeros(3),
        np.zeros(3, np.uint64),
        np.zeros(3, np.int32),
        np.zeros(0, int),
        [1],
    ):
        with pytest.raises(ValueError, match="expected entries of int64"):
            NATIVE.largest(wrong)


# -- products -------------------------------------------------------------------------------------

SHAPES = [
    (0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1), (1, 64, 20), (1, 64, 64), (1, 1, 64),
    (1, 3, 5), (1, 9, 8), (1, 8, 9), (1, 5, 7), (1, 300, 700), (5, 1, 7), (2, 17, 24), (7, 16, 5),
    (32, 100, 64), (32, 10, 100), (10, 100, 32), (64, 128, 127), (130, 33, 65), (128, 10, 256),
    (9, 130, 31),
]  # fmt: skip


def laid_out(a: Any, how: str) -> Any:
    """The same numbers in another layout."""
    if how == "C":
        return np.ascontiguousarray(a)
    if how == "F":
        return np.asfortranarray(a)
    wide = np.full((a.shape[0], a.shape[1] + 3), np.nan, a.dtype)
    view = wide[:, 1 : 1 + a.shape[1]] if how == "rows" else np.repeat(a, 2, 1)[:, ::2]
    view[...] = a
    return view


@pytest.fixture(params=["blas", "numpy"])
def native(request: pytest.FixtureRequest) -> Any:
    """The runtime with NumPy's BLAS, and without, when numpy.matmul multiplies."""
    assert NATIVE is not None
    addresses = build.cblas_addresses()
    if request.param == "numpy":
        NATIVE.set_blas(0, 0, 32, 0)
    elif addresses is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS here")
    yield NATIVE
    if addresses is not None:
        NATIVE.set_blas(*addresses)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(native: Any, shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    bound = (k + 1) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))
    for left in ("C", "F", "rows", "steps"):
        for right in ("C", "F", "rows", "steps"):
            x, y = laid_out(a, left), laid_out(b, right)
            c = native.product(x, y)
            assert c.dtype == a.dtype
            assert (np.abs(c - exact) <= bound).all(), (left, right)
            for out in (np.full((m, n), np.nan, dtype), laid_out(c * np.nan, "rows")):
                assert native.product(x, y, out) is out
                np.testing.assert_array_equal(out, c)
            np.testing.assert_array_equal(native.product(x, y), c)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product_as_an_instruction_has_the_same_bits(
    native: Any, shape: tuple[int, int, int], dtype: str
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(1)
    code, item = np.dtype(dtype).num, np.dtype(dtype).itemsize
    for ta in (False, True):
        for tb in (False, True):
            a = rng.normal(size=(k, m) if ta else (m, k)).astype(dtype)
            b = rng.normal(size=(n, k) if tb else (k, n)).astype(dtype)
            lda, ldb = max(1, a.shape[1]), max(1, b.shape[1])
            wide = np.full((m, n + 2), 7, dtype)
            p = plan(
                [
                    (
                        "product",
                        code,
                        ta,
                        tb,
                        m,
                        n,
                        k,
                        (0, 0, 0),
                        lda,
                        (0, 1, 0),
                        ldb,
                        (1, 0, item),
                        n + 2,
                    )
                ],
                [(code, a.shape, False), (code, b.shape, False)],
                [wide],
                release=ta,
            )
            assert p(a, b) == ()
            expected = native.product(a.T if ta else a, b.T if tb else b)
            if 1 not in shape:  # a matrix of one row or column has two layouts
                np.testing.assert_array_equal(wide[:, 1 : n + 1], expected)
            np.testing.assert_allclose(wide[:, 1 : n + 1], expected, rtol=1e-3, atol=1e-4)
            assert (wide[:, [0, n + 1]] == 7).all()


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 20, 30), (4, 20, 20), (40, 50, 60)], ids=str)
def test_products_of_what_is_not_finite(native: Any, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    for special in (np.nan, np.inf, -np.inf):
        for at in (0, k // 2, k - 1):
            a, b = np.ones((m, k), "f4"), np.ones((n, k), "f4")
            b[n - 1, at] = special
            out = np.full((m, n), np.nan, "f4")  # what was there before is not read
            native.product(a, b.T, out)
            assert np.isfinite(out[:, :-1]).all()
            np.testing.assert_array_equal(out[:, -1], np.full(m, special + k))
            a[0, at] = 0.0
            with np.errstate(invalid="ignore"):
                assert np.isnan(native.product(a, b.T)[0, -1])


def test_product_reads_no_memory_beyond_a_matrix() -> None:
    # the rows before a page that cannot be read
    assert NATIVE is not None
    if not hasattr(ctypes.CDLL(None), "mprotect"):
        pytest.skip("there is no mprotect")
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + page), page, 0) == 0
    for n, k in ((9, 20), (8, 9), (3, 15), (64, 10)):
        raw = np.frombuffer(memory, "f4", n * k, page - 4 * n * k)
        raw[:] = 1
        b = raw.reshape(n, k)
        assert (NATIVE.product(np.ones((1, k), "f4"), b.T) == k).all()
        assert (NATIVE.product(np.ones((70, k), "f4"), b.T) == k).all()
    for m, k, n in ((17, 60, 300), (16, 64, 300), (15, 68, 300)):
        raw = np.frombuffer(memory, "f4", m * k, page - 4 * m * k)
        raw[:] = 1
        for a in (raw.reshape(m, k), raw.reshape(k, m).T):
            assert (NATIVE.product(a, np.ones((k, n), "f4")) == k).all()
            assert (NATIVE.product(np.ones((n, k), "f4"), a.T) == k).all()


def test_product_refuses() -> None:
    assert NATIVE is not None
    a = np.ones((2, 3), "f4")
    for wrong in (np.ones((3, 2)), np.ones((3, 2), "i4"), np.ones((3, 2), ">f4")):
        with pytest.raises(TypeError, match="float32 or float64 on both sides"):
            NATIVE.product(a, wrong)
    with pytest.raises(TypeError, match="float32 or float64"):
        NATIVE.product(a.astype("f2"), a.T.astype("f2"))
    with pytest.raises(ValueError, match=r"\(m, k\) and \(k, n\)"):
        NATIVE.product(a, a)
    with pytest.raises(ValueError, match=r"\(m, k\) and \(k, n\)"):
        NATIVE.product(a, np.ones(3, "f4"))
    for out in (np.ones((2, 3), "f4"), np.ones((2, 2)), [0]):
        with pytest.raises(ValueError, match=r"out of shape \(2, 2\)"):
            NATIVE.product(a, a.T, out)
    square = np.arange(9, dtype="f4").reshape(3, 3)
    expected = square @ square
    assert NATIVE.product(square, square, out=square) is square  # the target among the operands
    np.testing.assert_array_equal(square, expected)
    for arguments in ((1, 0, 64, 1), (1, 1, 16, 1), ("a", 1, 64, 1), (1, 1, 64, "a")):
        with pytest.raises((ValueError, TypeError)):
            NATIVE.set_blas(*arguments)
