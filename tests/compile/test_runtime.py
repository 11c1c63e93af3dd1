"""Plans: every instruction over every kind of memory, what is refused, and what is freed."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from chainrule.compile import build

NATIVE = build.runtime()
pytestmark = pytest.mark.skipif(NATIVE is None, reason="there is no native runtime here")

BOOL, I4, I8, F4, F8 = (np.dtype(t).num for t in ("?", "i4", "i8", "f4", "f8"))

#: Kernels to call: add two operands into a third; count runs in scratch; wait for others.
SOURCE = """
#include <stddef.h>
#define EXPORT __attribute__((visibility("default")))
typedef ptrdiff_t N;
EXPORT void add(N rows, N columns, void *const *p, const N *step, void *scratch) {
    for (N i = 0; i < rows; i++)
        for (N j = 0; j < columns; j++)
            ((float *)p[2])[i * step[2] + j] =
                ((float *)p[0])[i * step[0] + j] + ((float *)p[1])[i * step[1]];
}
EXPORT void add_through_scratch(N rows, N columns, void *const *p, const N *step, void *scratch) {
    float *tile = scratch;
    for (N i = 0; i < rows; i++) {
        for (N j = 0; j < columns; j++)
            tile[j] = ((float *)p[0])[i * step[0] + j] + ((float *)p[1])[i * step[1] + j];
        for (N j = 0; j < columns; j++)
            ((float *)p[2])[i * step[2] + j] = (size_t)scratch % 64 ? -1 : tile[j];
    }
}
EXPORT volatile int inside = 0;
EXPORT void meet(N rows, N columns, void *const *p, const N *step, void *scratch) {
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    for (long i = 0; i < 2000000000L && inside < 2; i++)
        ;
    ((float *)p[0])[0] = inside >= 2;
}
"""


@pytest.fixture(scope="module")
def kernels() -> build.Library:
    library = build.library(SOURCE, "test-runtime")
    if library is None:
        pytest.skip("there is no C compiler")
    return library


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


def copy(shape: Any, dst: Any, to: Any, src: Any, from_: Any, item: int = 4) -> Any:
    return ("copy", item, shape, dst, to, src, from_)


def identity(dtype: Any, shape: tuple[int, ...], written: bool = False) -> Any:
    """A plan that returns a copy of its argument."""
    a = np.empty(shape, dtype)
    code = a.dtype.num
    move = copy(shape, (3, 0, 0), a.strides, (0, 0, 0), a.strides, a.itemsize)
    return plan([move], [(code, shape, written)], results=[(code, shape)])


# -- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8"])
def test_arrays_of_the_declared_type_and_shape_are_taken(dtype: str) -> None:
    p = identity(dtype, (3, 4))
    a = np.arange(12).reshape(3, 4).astype(dtype)
    (copied,) = p(a)
    assert copied.dtype == a.dtype
    assert copied is not a
    np.testing.assert_array_equal(copied, a)
    assert identity(dtype, ())(a[1, 1])[0] == a[1, 1]  # a NumPy number for a scalar
    assert identity(dtype, ())(np.array(a[1, 1]))[0] == a[1, 1]
    assert p(a[:2]) is NotImplemented
    assert p(a.reshape(4, 3)) is NotImplemented
    assert p(a.reshape(3, 4, 1)) is NotImplemented
    other = "f8" if dtype != "f8" else "f4"
    assert p(a.astype(other)) is NotImplemented
    if a.itemsize > 1:
        assert p(a.astype(a.dtype.newbyteorder())) is NotImplemented
    assert p([[1]]) is p(None) is p(1.0) is NotImplemented


def test_the_two_names_of_one_integer_type_are_one() -> None:
    a = np.arange(3, dtype="i8")
    for code in "lq":
        if np.dtype(code).itemsize == 8:
            assert identity("i8", (3,))(a.astype(code))[0].tolist() == [0, 1, 2]


def test_what_is_not_contiguous_or_aligned_is_copied_unless_written() -> None:
    base = np.arange(24, dtype="f4").reshape(4, 6)
    bytes_ = np.zeros(49, "u1")
    odd = bytes_[1:].view("f4").reshape(3, 4)
    odd[:] = base[:3, :4]
    frozen = base[:3, :4].copy()
    frozen.flags.writeable = False
    for a in (base[:3, :4], base[:3, ::-1][:, :4], np.asfortranarray(base[:3, :4]), odd):
        np.testing.assert_array_equal(identity("f4", (3, 4))(a)[0], a)
        assert identity("f4", (3, 4), written=True)(a) is NotImplemented
    np.testing.assert_array_equal(identity("f4", (3, 4))(frozen)[0], frozen)
    assert identity("f4", (3, 4), written=True)(frozen) is NotImplemented
    memmap = np.ndarray.__new__(np.memmap, (3, 4), "f4")  # a subclass counts as its memory
    memmap[:] = 2
    assert (identity("f4", (3, 4))(memmap)[0] == 2).all()


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        ("f4", 1.5, 1.5),
        ("f4", 7, 7.0),
        ("f4", True, 1.0),
        ("f4", np.float64(0.1), np.float32(0.1)),
        ("f4", 1e300, np.inf),
        ("f8", 1.5, 1.5),
        ("f8", -1.0, -1.0),
        ("f8", 2**70, 2.0**70),
        ("f8", float("nan"), np.nan),
        ("f8", 10**400, NotImplemented),
        ("f8", "1", NotImplemented),
        ("f8", 1j, NotImplemented),
        ("f8", np.float32(1), NotImplemented),
        ("i8", -5, -5),
        ("i8", -1, -1),
        ("i8", 2**63, NotImplemented),
        ("i8", 1.0, NotImplemented),
        ("i4", 2**31 - 1, 2**31 - 1),
        ("i4", -(2**31), -(2**31)),
        ("i4", 2**31, NotImplemented),
        ("u1", 255, 255),
        ("u1", 256, NotImplemented),
        ("u1", -1, NotImplemented),
        ("?", True, True),
        ("?", False, False),
        ("?", np.True_, True),
        ("?", 1, NotImplemented),
        ("f2", 1.0, NotImplemented),
    ],
)
def test_numbers_for_scalars(dtype: str, given: Any, expected: Any) -> None:
    answer = identity(dtype, ())(given)
    if expected is NotImplemented:
        assert answer is NotImplemented
    else:
        np.testing.assert_array_equal(answer[0], expected)
        assert answer[0].dtype == np.dtype(dtype)
        assert answer[0].shape == ()
    assert identity(dtype, (), written=True)(given) is NotImplemented


def test_the_number_of_arguments() -> None:
    p = identity("f4", ())
    with pytest.raises(TypeError, match=r"test takes 1 arguments by position, got 0"):
        p()
    with pytest.raises(TypeError, match="got 2"):
        p(1.0, 2.0)
    with pytest.raises(TypeError, match="keywords"):
        p(x=1.0)
    with pytest.raises(TypeError, match="keywords"):
        p.__call__(1.0, x=1.0)
    assert p.__call__(1.0)[0] == p(*[1.0])[0] == 1.0
    assert repr(p) == "<plan test: 1 instructions, 1 arguments, 1 results>"


# -- instructions and the four spaces -------------------------------------------------------------


def test_kernel_over_every_space(kernels: build.Library) -> None:
    add = kernels.address("add")
    rng = np.random.default_rng(0)
    a, column = rng.normal(size=(3, 5)).astype("f4"), rng.normal(size=(3, 1)).astype("f4")
    fixed = rng.normal(size=(3, 9)).astype("f4")
    target = np.zeros((3, 5), "f4")
    p = plan(
        [
            ("kernel", add, 3, 5, [(0, 0, 0), (0, 1, 0), (2, 0, 64)], [5, 1, 5], 0),
            ("kernel", add, 3, 5, [(2, 0, 64), (0, 1, 0), (3, 0, 0)], [5, 1, 5], 0),
            ("kernel", add, 3, 5, [(1, 0, 8), (0, 2, 0), (0, 3, 0)], [9, 0, 5], 0),
        ],
        [(F4, (3, 5), False), (F4, (3, 1), False), (F4, (), False), (F4, (3, 5), True)],
        [fixed],
        64 + 60,
        [(F4, (3, 5))],
    )
    (result,) = p(a, column, 0.5, target)
    np.testing.assert_array_equal(result, a + column + column)
    np.testing.assert_array_equal(target, fixed[:, 2:7] + np.float32(0.5))
    fixed[:] = 1  # memory that is read at each run
    p(a, column, 0.5, target)
    assert (target == 1.5).all()


def test_scratch_is_large_enough_and_aligned(kernels: build.Library) -> None:
    n = 1000
    add = kernels.address("add_through_scratch")
    a = np.arange(2 * n, dtype="f4").reshape(2, n)
    refs = [(0, 0, 0), (0, 0, 0), (3, 0, 0)]
    p = plan(
        [("kernel", add, 2, n, refs, [n, n, n], 3)], [(F4, a.shape, False)], results=[(F4, a.shape)]
    )
    assert p.scratch == 3 * 8 * 1008
    np.testing.assert_array_equal(p(a)[0], a + a)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_labels_guard_before_anything_is_written(dtype: str) -> None:
    code = np.dtype(dtype).num
    target = np.zeros(3, "f4")
    p = plan(
        [
            ("labels", code, (0, 0, 0), 9, 10),
            copy((3,), (0, 1, 0), (4,), (0, 2, 0), (4,)),
        ],
        [(code, (9,), False), (F4, (3,), True), (F4, (3,), False)],
    )
    labels, ones = np.arange(9).astype(dtype), np.ones(3, "f4")
    assert p(labels, target, ones) == ()
    assert target.tolist() == [1, 1, 1]
    for wrong in (10, 100, -1):
        if np.can_cast(np.min_scalar_type(wrong), dtype):
            labels[8] = wrong
            assert p(labels, target, 2 * ones) is NotImplemented
    labels[8] = 9
    assert target.tolist() == [1, 1, 1]
    assert p(labels, target, 2 * ones) == ()
    assert p(labels, target, np.ones(3)) is NotImplemented
    assert target.tolist() == [2, 2, 2]


@pytest.mark.parametrize("release", [False, True])
def test_python_instruction_sees_all_memory(release: bool) -> None:
    seen: list[Any] = []

    def call(*arrays: Any) -> None:
        seen[:] = arrays
        arrays[4][...] = arrays[0].T + 1

    p = plan(
        [
            copy((2, 3), (2, 0, 0), (12, 4), (0, 0, 0), (12, 4)),
            (
                "python",
                call,
                [
                    ((0, 0, 0), F4, (2, 3), (12, 4), False),
                    ((1, 0, 4), F4, (2,), (-4,), True),
                    ((2, 0, 0), F4, (2, 3), (12, 4), True),
                    ((0, 1, 0), F8, (), (), False),
                    ((3, 0, 0), F4, (3, 2), (8, 4), True),
                ],
            ),
        ],
        [(F4, (2, 3), False), (F8, (), False)],
        [np.arange(2, dtype="f4")],
        24,
        [(F4, (3, 2))],
        release,
    )
    a = np.arange(6, dtype="f4").reshape(2, 3)
    (result,) = p(a, 2.5)
    np.testing.assert_array_equal(result, a.T + 1)
    assert seen[1].tolist() == [1, 0]
    np.testing.assert_array_equal(seen[2], a)
    assert seen[3] == 2.5
    assert [s.flags.writeable for s in seen] == [False, True, True, False, True]
    assert np.shares_memory(seen[0], a)
    kept = seen[2]
    del p, seen[:]
    gc.collect()
    np.testing.assert_array_equal(kept, a)  # the workspace lives while something looks at it


@pytest.mark.parametrize("release", [False, True])
def test_an_exception_of_a_python_instruction_comes_out(release: bool) -> None:
    fail = True

    def call() -> None:
        if fail:
            raise LookupError("here")

    p = plan([("python", call, [])], results=[(F4, (3,))], release=release)
    for _ in range(3):
        with pytest.raises(LookupError, match="here"):
            p()
    fail = False
    assert p()[0].shape == (3,)
    assert p.frames == 1


def test_a_plan_may_call_itself() -> None:
    depth = 0

    def call() -> None:
        nonlocal depth
        depth += 1
        if depth < 3:
            p()

    p = plan([("python", call, [])])
    p()
    assert (depth, p.frames) == (3, 3)


# -- what cannot be a plan ------------------------------------------------------------------------

V = ((0, 0, 0), F4, (2, 3), (12, 4), False)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (("what",), "no such instruction"),
        ((), "no such instruction"),
        (5, "no such instruction"),
        (("kernel",), "item 4 is no list"),
        (("kernel", 0, 1, 1, [], [], 0), "its address is 0"),
        (("kernel", 9, -1, 1, [], [], 0), "a size is negative"),
        (("kernel", 9, 1, 1, [(0, 0, 0)], [], 0), "1 refs, but 0 steps"),
        (("kernel", 9, 1, 1, [(0, 0, 0)], [-1], 0), "a step is negative"),
        (("kernel", 9, 1, 1, [(4, 0, 0)], [0], 0), "no space 4"),
        (("kernel", 9, 1, 1, [(0, 2, 0)], [0], 0), "no argument 2, there are 2"),
        (("kernel", 9, 1, 1, [(1, -1, 0)], [0], 0), "no fixed -1"),
        (("kernel", 9, 1, 1, [(2, 1, 0)], [0], 0), "no workspace 1"),
        (("kernel", 9, 1, 1, [(3, 1, 0)], [0], 0), "no result 1"),
        (("kernel", 9, 1, 1, [(0, 0, -4)], [0], 0), "argument 0 has 0 to 24"),
        (("kernel", 9, 1, 1, [(0, 0, 24)], [0], 0), "argument 0 has 0 to 24"),
        (("kernel", 9, 2, 1, [(0, 0, 0)], [6], 0), "argument 0 has 0 to 24"),
        (("kernel", 9, 2**62, 1, [(0, 0, 0)], [6], 0), "an operand is too large"),
        (("kernel", 9, 1, 2**62, [], [], 9), "scratch is too large"),
        (("kernel", 9, 1, 1, [(0, 0)], [0], 0), r"expected a ref \(space, index, offset\)"),
        (("kernel", "a", 1, 1, [], [], 0), "not as they should be"),
        (("product", I4, 0, 0, 1, 1, 1, (0, 0, 0), 1, (0, 0, 0), 1, (0, 1, 0), 1), "type number"),
        (("product", F4, 0, 0, 2, 1, 3, (0, 0, 0), 2, (0, 0, 0), 1, (0, 1, 0), 1), "row is longer"),
        (("product", F4, 0, 0, 2, 3, 3, (0, 0, 0), 3, (0, 0, 0), 3, (0, 1, 0), 3), "b: from byte"),
        (("product", F4, 0, 0, 2, 2, 3, (0, 0, 0), 3, (0, 0, 0), 2, (0, 1, 8), 2), "c: from byte"),
        (("product", F4, 0, 0, 1, 1, 1, (0, 0, 2), 1, (0, 0, 0), 1, (0, 1, 0), 1), "not aligned"),
        (
            ("product", F4, 0, 0, 1, 1, 1, (0, 0, 0), 1, (0, 0, 0), 1, (0, 0, 0), 1),
            "not be written",
        ),
        (("product", F4, 0, 0, -1, 1, 1, (0, 0, 0), 1, (0, 0, 0), 1, (0, 1, 0), 1), "negative"),
        (copy((2, 3), (0, 0, 0), (12, 4), (0, 1, 0), (8, 4)), "may not be written"),
        (copy((2, 3), (1, 0, 0), (12, 4), (0, 1, 0), (8, 4)), "fixed 0 may not be written"),
        (copy((2, 3), (0, 1, 0), (12, 4), (0, 0, 0), (12, 4)), "argument 1 has 0 to 16"),
        (copy((2, 2), (0, 1, 0), (8, 4), (0, 0, 0), (-12, 4)), "argument 0 has 0 to 24"),
        (copy((2, 2), (0, 1, 0), (8, 0), (0, 0, 0), (12, 4)), "the target has a stride of 0"),
        (copy((2, 2), (0, 1, 0), (8, 4), (0, 0, 0), (11, 4)), "not a multiple of 4"),
        (copy((2, -2), (0, 1, 0), (8, 4), (0, 0, 0), (12, 4)), "a size is negative"),
        (copy((2, 2), (0, 1, 0), (8,), (0, 0, 0), (12, 4)), "expected 2 strides"),
        (copy((1,) * 65, (0, 1, 0), (0,) * 65, (0, 0, 0), (0,) * 65), "more than"),
        (copy((2**62, 4), (0, 1, 0), (8, 4), (0, 0, 0), (12, 4)), "strides reach too far"),
        (copy((1,), (0, 1, 0), (0,), (0, 0, 0), (0,), item=0), "an item of 0 bytes"),
        (("random", (0, 1, 0), 17, 5, (2, 0, 0)), "argument 1 has 0 to 16"),
        (("random", (0, 1, 0), 16, 5, (2, 0, 20)), "the key"),
        (("random", (0, 1, 0), 16, 2**32 + 1, (2, 0, 0)), "threshold"),
        (("labels", F4, (0, 0, 0), 6, 10), "no integer type"),
        (("labels", I4, (0, 0, 0), -1, 10), "negative"),
        (("codes", F4, (0, 0, 0), 6, 4, -1), "negative"),
        (("codes", F4, (0, 0, 0), 6, 4, 9), "guards come before"),
        (("gather", I4, 1, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "type number"),
        (("gather", F4, 3, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 3, 4, -1), "the target"),
        (("gather", F4, 4, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "the source"),
        (("gather", F4, 3, 2, 1, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "row is longer"),
        (("gather", F4, 3, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 24, -1), "codes: from"),
        (("gather", F4, 3, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 3, -1), "at a step of 3"),
        (("gather", F4, 3, 2, 2, (0, 0, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "not be written"),
        (("gather", F4, -1, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "negative"),
        (("gather", F4, 1, 2**61, 2**61, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 1, 4, -1), "longer"),
        (("scatter", F4, 2, 2, 2, (0, 1, 0), (0, 0, 0), BOOL, (0, 0, 0), 2, 4, -1), "no integer"),
        (("scatter", F4, 3, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 2, 4, -1), "the target"),
        (("scatter", F4, 2, 2, 2, (0, 1, 0), (0, 0, 0), F4, (0, 0, 0), 4, 4, -1), "the source"),
        (("python", 5, []), "cannot be called"),
        (("python", print), "item 2 is no list"),
        (("python", print, [5]), "python: expected"),
        (("python", print, [(*V[:2], (3, 3), *V[3:])]), "argument 0 has 0 to 24"),
        (("python", print, [(*V[:4], True)]), "may not be written"),
        (("python", print, [(*V[:3], (4,), False)]), "expected 2 strides"),
        (("python", print, [(V[0], np.dtype("O").num, *V[2:])]), "type number"),
    ],
    ids=str,
)
def test_a_wrong_instruction_is_refused_when_the_plan_is_made(
    instruction: Any, message: str
) -> None:
    frozen = np.zeros((2, 3), "f4")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=rf"test, instruction 1: .*{message}"):
        plan(
            [copy((1,), (0, 1, 0), (4,), (0, 0, 0), (4,)), instruction],
            [(F4, (2, 3), False), (F4, (2, 2), True)],
            [frozen],
            40,
            [(F4, ())],
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arguments": [(F4, (-1,), False)]}, "a size is negative"),
        ({"arguments": [(F4, (2**40, 2**40), False)]}, "too large"),
        ({"arguments": [(np.dtype("O").num, (), False)]}, "type number"),
        ({"results": [(np.dtype("c8").num, ())]}, "type number"),
        ({"fixed": [5]}, "fixed: expected arrays, got 5"),
        ({"workspace": -1}, "workspace: -1 bytes"),
        ({"instructions": [("labels", I4, (2, 0, 0), 3, 9)], "workspace": 8}, "has 0 to 8"),
        ({"instructions": [copy((), (2, 0, 0), (), (2, 0, 0), ()), ("labels", I4, (2, 0, 0), 1, 1)],
          "workspace": 8}, "guards come before"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(changed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**{"instructions": [], **changed})


def test_declarations_of_the_wrong_kind() -> None:
    for changed in ({"arguments": [5]}, {"arguments": [(F4,)]}, {"results": [("a", ())]}):
        with pytest.raises(TypeError):
            plan([], **changed)  # type: ignore[arg-type]


# -- threads, processes and memory ----------------------------------------------------------------


def test_threads_run_one_plan_at_once(kernels: build.Library) -> None:
    ctypes.c_int.in_dll(kernels._handle, "inside").value = 0
    p = plan(
        [("kernel", kernels.address("meet"), 1, 1, [(3, 0, 0)], [0], 0)],
        results=[(F4, ())],
        release=True,
    )
    met: list[float] = []
    threads = [threading.Thread(target=lambda: met.append(float(p()[0]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [1.0, 1.0]  # each was inside while the other was: the GIL is released
    assert p.frames == 2


def test_threads_do_not_share_a_workspace() -> None:
    n = 4096
    p = plan(
        [
            copy((n,), (2, 0, 0), (4,), (0, 0, 0), (4,)),
            ("python", lambda a: None, [((2, 0, 0), F4, (n,), (4,), False)]),
            copy((n,), (3, 0, 0), (4,), (2, 0, 0), (4,)),
        ],
        [(F4, (n,), False)],
        workspace=4 * n,
        results=[(F4, (n,))],
        release=True,
    )
    wrong: list[int] = []

    def work(seed: int) -> None:
        a = np.full(n, seed, "f4")
        wrong.extend(seed for _ in range(200) if not np.array_equal(p(a)[0], a))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= p.frames <= 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_its_parents_plan() -> None:
    a = np.random.default_rng(0).normal(size=(64, 64)).astype("f4")
    product = ("product", F4, 0, 1, 64, 64, 64, (0, 0, 0), 64, (0, 0, 0), 64, (3, 0, 0), 64)
    p = plan([product], [(F4, (64, 64), False)], results=[(F4, (64, 64))], release=True)
    expected = p(a)[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(p(a)[0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_references_are_returned() -> None:
    target, fixed = np.zeros(4, "f4"), np.ones(4, "f4")
    argument, labels = np.ones(4, "f4"), np.zeros(2, "i4")
    call = lambda *arrays: None  # noqa: E731
    declared = [(F4, (4,), False), (I4, (2,), False), (F4, (), False), (F4, (4,), True)]
    instructions = [
        ("labels", I4, (0, 1, 0), 2, 5),
        copy((4,), (3, 0, 0), (4,), (0, 0, 0), (4,)),
        ("python", call, [((s, 0, 0), F4, (4,), (4,), False) for s in range(4)]),
    ]
    p = plan(instructions, declared, [fixed], 16, [(F4, (4,))])
    descr = np.dtype("f4")
    watched = [argument, labels, target, fixed, call, p, descr, NotImplemented, instructions]
    bad_labels, strided = labels - 1, np.ones(8, "f4")[::2]

    def counts() -> list[int]:
        return [sys.getrefcount(o) for o in watched]

    def runs() -> None:
        for _ in range(1000):
            p(argument, labels, 0.5, target)
            p(strided, labels, 0.5, target)
            p(argument, bad_labels, 0.5, target)
            p(argument, labels, 0.5, strided)
            p(argument, labels, None, target)

    runs()
    before = counts()
    runs()
    assert counts() == before


def test_memory_does_not_grow() -> None:
    resource = pytest.importorskip("resource", reason="no resource module")
    n = 50_000

    def make(wrong: bool) -> Any:
        a = np.empty(n, "f4")
        last = copy((n + wrong,), (3, 0, 0), (4,), (2, 0, 0), (4,))
        return plan(
            [copy((n,), (2, 0, 0), (4,), (0, 0, 0), (4,)), ("python", len, []), last][:: 2],
            [(F4, (n,), False)], [a], 4 * n, [(F4, (n,))],
        )  # fmt: skip

    a = np.ones(2 * n, "f4")[::2]

    def rounds() -> None:
        for _ in range(300):
            p = make(False)
            p(a)
            p(a)
            with pytest.raises(ValueError, match="result 0 has"):
                make(True)

    rounds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 30_000  # 300 leaked arrays would be 60 MB (ru_maxrss counts KiB)


def test_a_plan_in_a_cycle_is_collected() -> None:
    class Owner:
        plan: Any

        def call(self) -> None: ...

    owner = Owner()
    owner.plan = plan([("python", owner.call, [])])
    owner.plan()
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_a_fixed_array_is_kept_alive_and_followed() -> None:
    fixed = np.arange(3, dtype="f4")
    p = plan([copy((3,), (3, 0, 0), (4,), (1, 0, 0), (4,))], fixed=[fixed], results=[(F4, (3,))])
    fixed += 1
    del fixed
    gc.collect()
    assert p()[0].tolist() == [1, 2, 3]
    assert p()[0].tolist() == [1, 2, 3]
    assert p.frames == 1
