"""Work shared out over the threads of the runtime: large products, large kernels, random bits."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array import blas
from chainrule.array.random import Stream
from chainrule.compile import build

NATIVE = build.runtime()
pytestmark = pytest.mark.skipif(NATIVE is None, reason="there is no native runtime here")

#: Large enough to be shared out, with edges everywhere: of tiles, panels, blocks and slices.
LARGE = [
    (128, 512, 784), (127, 513, 401), (130, 33, 400), (14, 300, 700), (15, 290, 799), (8, 500, 801),
    (600, 2, 1000), (300, 17, 250), (1000, 40, 31), (2000, 700, 1), (2, 400, 1300), (70, 257, 97),
    (60, 2100, 300), (45, 1100, 450), (901, 300, 64), (128, 10, 256), (10, 256, 128), (64, 70, 80),
    (300, 70, 64), (61, 96, 300), (56, 70, 1024), (60, 1024, 300), (5, 700, 801), (1, 1500, 900),
    (9000, 1, 301), (1, 300, 5000), (257, 1, 5001),
]  # fmt: skip


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = blas.set_threads(n)
    if before is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS here, and one thread runs")
    try:
        yield
    finally:
        blas.set_threads(before)


def matrices(m: int, n: int, k: int, dtype: str) -> Iterator[tuple[Any, Any]]:
    rng = np.random.default_rng(m + n + k)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            yield left, right


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_large_products_are_exact_on_any_number_of_threads(shape: Any, dtype: str) -> None:
    assert NATIVE is not None
    m, n, k = shape
    for a, b in matrices(m, n, k, dtype):
        exact = a.astype("f8") @ b.astype("f8")
        bound = (k + 1) * np.finfo(dtype).eps * (np.abs(a).astype("f8") @ np.abs(b).astype("f8"))
        found = []
        for number in (1, 2, 3, 8):
            with threads(number):
                wide = np.full((m, n + 3), 7, dtype)
                assert NATIVE.product(a, b, wide[:, 2:-1]) is not None
                assert (wide[:, :2] == 7).all()
                assert (wide[:, -1] == 7).all()
                found.append(wide[:, 2:-1])
                assert (np.abs(found[-1] - exact) <= bound).all()
        assert all(f.tobytes() == found[0].tobytes() for f in found)


def test_bits_of_an_entry_depend_on_its_row_and_column_alone() -> None:
    assert NATIVE is not None
    a, b = next(matrices(300, 700, 600, "f4"))
    whole = NATIVE.product(a, b)
    for rows, columns in ((slice(0, 37), slice(0, 700)), (slice(5, 300), slice(3, 260))):
        part = NATIVE.product(np.ascontiguousarray(a[rows]), np.ascontiguousarray(b[:, columns]))
        assert part.tobytes() == whole[rows, columns].tobytes()


def test_what_is_not_finite_stays_in_its_row_and_column() -> None:
    assert NATIVE is not None
    for special in (np.nan, np.inf):
        a, b = np.ones((100, 300), "f4"), np.ones((90, 300), "f4")
        b[89, 299], a[99, 0] = special, special
        c = NATIVE.product(a, b.T, np.full((100, 90), np.nan, "f4"))
        assert (c[:-1, :-1] == 300).all()
        np.testing.assert_array_equal(c[-1], np.full(90, special))
        np.testing.assert_array_equal(c[:, -1], np.full(100, special))


def test_large_products_read_no_memory_beyond_a_matrix() -> None:
    assert NATIVE is not None
    if not hasattr(ctypes.CDLL(None), "mprotect"):
        pytest.skip("there is no mprotect")
    page = mmap.PAGESIZE
    for rows, columns in ((75, 200), (200, 75), (90, 129), (130, 31)):
        size = 4 * rows * columns
        pages = -(-size // page)
        memory = mmap.mmap(-1, (pages + 1) * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        end = ctypes.c_void_p(address + pages * page)
        assert ctypes.CDLL(None).mprotect(end, page, 0) == 0
        a = np.frombuffer(memory, "f4", rows * columns, pages * page - size).reshape(rows, columns)
        a[:] = 1
        for left, right in (
            (a, np.ones((columns, 140), "f4")),
            (a.T, np.ones((rows, 140), "f4")),
            (np.ones((140, rows), "f4"), a),
            (np.ones((140, columns), "f4"), a.T),
        ):
            assert (NATIVE.product(left, right) == left.shape[1]).all()


def shapes_of_kernels() -> list[Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 300)).astype("f4")
    w, row = rng.normal(size=300).astype("f4"), rng.normal(size=(500, 1)).astype("f4")
    ops = cr.ops
    return [
        lambda: ops.gelu(x),  # one long row
        lambda: ops.gelu(x[:, :299]),
        lambda: x[:499] * ops.tanh(row[:499]),
        lambda: ops.softmax(x, axis=1),  # rows apart
        lambda: ops.softmax(x[:, :20].repeat(20, 0), axis=1),  # sixteen rows at a time
        lambda: ops.sum(ops.exp(x), axis=0),  # columns apart
        lambda: ops.sum(x * w),  # neither
        lambda: cr.value_and_grad(lambda v: ops.mean(ops.silu(v * w) ** 2))(x)[1],
        lambda: cr.grad(lambda v: ops.sum(ops.gelu(x * v)))(w),
    ]


def test_large_kernels_have_the_same_bits_on_any_number_of_threads() -> None:
    for compute in shapes_of_kernels():
        found = []
        for number in (1, 2, 5):
            with threads(number):
                found.append(np.asarray(compute()).tobytes())
        assert found[1] == found[0]
        assert found[2] == found[0]


def net(width: int) -> Any:
    return cr.nn.Sequential(
        cr.nn.Dense(60, width), cr.nn.GELU(), cr.nn.Dropout(0.3), cr.nn.Dense(width, 7)
    )


def trained(steps: int = 3) -> bytes:
    """A captured step of a net whose products, kernels and random bits are shared out."""
    cr.seed(0)
    model = net(400)
    optimizer = cr.optim.AdamW(model.parameters(), lr=1e-2)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 60)).astype("f4"), rng.integers(0, 7, 160)

    @cr.capture
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = cr.ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(steps):
        step(x, y)
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def test_training_has_the_same_bits_on_any_number_of_threads() -> None:
    with threads(1):
        one = trained()
    for number in (2, 6):
        with threads(number):
            assert trained() == one


def test_many_random_bits_are_those_of_the_stream() -> None:
    assert NATIVE is not None
    n, out = 200_001, np.zeros(200_001, "u1")
    key = np.frombuffer(blake2b(b"3/a", digest_size=16).digest(), "<u8")  # of seed 3, layer a
    instruction = ("random", (1, 0, 0), n, round(0.4 * 2**32), (1, 1, 0))
    fixed = [out, np.array([*key, 0], "u8")]
    run = NATIVE.Plan("bits", [], fixed, 0, [], [instruction], False)
    expected = Stream(3).bernoulli("a", n, 0.4, step=0)
    for number in (1, 3):
        with threads(number):
            out[:] = 9
            run()
        np.testing.assert_array_equal(out.astype(bool), expected)


def test_several_callers_at_once_get_right_answers() -> None:
    assert NATIVE is not None
    pairs = [next(matrices(100 + i, 200, 300, "f4")) for i in range(4)]
    expected = [NATIVE.product(a, b).tobytes() for a, b in pairs]
    wrong: list[int] = []

    def work(i: int) -> None:
        a, b = pairs[i]
        wrong.extend(i for _ in range(60) if NATIVE.product(a, b).tobytes() != expected[i])

    callers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    assert NATIVE is not None
    a, b = next(matrices(200, 300, 400, "f4"))
    stop = threading.Event()

    def keep_the_pool_busy() -> None:
        while not stop.is_set():
            NATIVE.product(a, b)

    with threads(2):
        expected = NATIVE.product(a, b).tobytes()
        other = threading.Thread(target=keep_the_pool_busy)
        other.start()
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    same = all(NATIVE.product(a, b).tobytes() == expected for _ in range(5))
                    os._exit(0 if same else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            other.join()
