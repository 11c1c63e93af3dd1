"""Plans as native code: the addresses of kernels, and the object that runs a plan."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.compile import build
from chainrule.compile.place import Instruction, Layout
from chainrule.compile.print_c import CText

__all__ = [
    "GIVEN",
    "Unfinished",
    "always",
    "available",
    "collecting",
    "kernels",
    "matmul",
    "only_shipped",
    "plan",
    "prelude",
    "shipped",
    "texts_of",
]

_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_new_lock)
_known: dict[str, int] = {}
_LARGE = 1 << 16  # multiplications and entries from which a plan lets other threads run


#: While a catalogue is made: the texts of the kernels that would be built.
_collected: dict[str, str] | None = None


@contextlib.contextmanager
def collecting() -> Iterator[dict[str, str]]:
    """Inside the block no native code runs; the texts of all kernels it would need are collected,
    by name."""
    global _collected
    _collected = {}
    try:
        yield _collected
    finally:
        _collected = None


def available() -> bool:
    """Whether plans can run as native code here."""
    return _collected is not None or (build.enabled() and build.runtime() is not None)


@functools.cache
def prelude() -> str:
    """The C text that stands before every kernel."""
    return (build.NATIVE / "math.h").read_text("utf-8")


def kernels(texts: Iterable[CText]) -> dict[str, int] | None:
    """The address of every kernel, by name: shipped, loaded before, or built now; None if some
    cannot be had."""
    wanted = {t.name: t.source for t in texts}
    with _lock:
        if not _known:
            _known.update(_catalogue())
        missing = sorted(wanted.keys() - _known.keys())
        if missing:
            source = "\n".join([prelude(), *(wanted[name] for name in missing)])
            library = build.library(source, "kernels")
            if library is None:
                return None
            _known.update((name, library.address(name)) for name in missing)
    return {name: _known[name] for name in wanted}


def shipped(texts: Iterable[CText]) -> bool:
    """Whether the package came with all these kernels.

    What runs small arrays is decided by this alone, and not by what was built meanwhile: the bits
    of a result must not depend on what ran before it.
    """
    names = _catalogue()
    return all(t.name in names for t in texts)


@functools.cache
def _catalogue() -> dict[str, int]:
    return dict(build.catalogue())


def _first_product(a: Any, b: Any) -> Any:
    """Find out what multiplies here, and let it."""
    global _product
    native = build.runtime()
    _product = _numpy_product if native is None else native.product
    return _product(a, b)


def _numpy_product(a: Any, b: Any) -> Any:
    # OpenBLAS computes past the end of short rows, and what it finds there may raise the flag for
    # invalid values although every entry is finite
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


_product: Callable[[Any, Any], Any] = _first_product


def matmul(a: Any, b: Any) -> Any:
    """``numpy.matmul``, by the same code as the products of a plan where both are matrices."""
    try:
        return _product(a, b)
    except (TypeError, ValueError):  # no matrices of one floating type
        return _numpy_product(a, b)


def always() -> bool:
    """Whether every kernel is built, also for small arrays: CHAINRULE_NATIVE=always."""
    return _collected is not None or os.environ.get("CHAINRULE_NATIVE") == "always"


def only_shipped() -> bool:
    """Whether none is built, and those that the package came with run: CHAINRULE_NATIVE=shipped."""
    return os.environ.get("CHAINRULE_NATIVE") == "shipped"


def texts_of(layout: Layout) -> list[CText]:
    """The kernels of a layout."""
    return [i.text for i in layout.instructions if i.text is not None]


def plan(
    layout: Layout,
    name: str,
    arguments: Sequence[tuple[Any, Any, bool]],
    live: Sequence[Array],
    guards: Sequence[tuple[Any, Any, Any]] = (),
    keys: int = -1,
    spare: bool = False,
) -> Callable[..., Any] | None:
    """A callable that runs a layout; None where there is no native code for it.

    Arguments:
        arguments: (type, shape, whether it is written) of each argument.
        live: the live arrays, those that the layout added included.
        guards: (leaf, its type, classes) of labels, and (leaf, its type, (rows of each table,
            columns before)) of codes.
        keys: the number of the live array that holds the keys of random draws.
        spare: build no kernels where the work is small.
    """
    texts = texts_of(layout)
    if _collected is not None:
        _collected.update((t.name, t.source) for t in texts)
        return None
    native = build.runtime()
    if native is None:
        return None
    work = sum(_work(i) for i in layout.instructions)
    if not shipped(texts) and ((spare and work < _LARGE and not always()) or only_shipped()):
        return None
    addresses = kernels(texts)
    if addresses is None:
        return None
    instructions: list[tuple[Any, ...]] = []
    for leaf, dtype, classes in guards:
        if isinstance(classes, tuple):
            for j, rows in enumerate(classes[0]):
                at, (_, count, step) = layout._codes(
                    leaf, classes[1] + j if classes[1] >= 0 else -1
                )
                instructions.append(("codes", dtype.num, at, count, step, rows))
            continue
        count = int(np.prod(layout.graph.shapes[leaf], dtype=np.int64))
        instructions.append(("labels", dtype.num, layout.ref(leaf), count, classes))
    for i in layout.instructions:
        _append(instructions, i, addresses, keys)
    results = [(np.dtype(dtype).num, tuple(shape)) for _, shape, dtype in layout.results]
    return native.Plan(  # type: ignore[no-any-return]
        name,
        [(np.dtype(dtype).num, tuple(shape), written) for dtype, shape, written in arguments],
        list(live),
        layout.workspace,
        results,
        instructions,
        work > _LARGE,
    )


def _work(i: Instruction) -> int:
    if i.kind == "product":
        return int(i.details[2]) * int(i.details[3]) * int(i.details[4])
    if i.kind == "several":
        return sum(map(_work, i.details))
    if i.kind in ("gather", "scatter"):
        _, rows, columns, _, _, count, _, _ = i.details
        return int(columns) * (int(count) + (int(rows) if i.kind == "scatter" else 0))
    return int(i.details[0]) * int(i.details[1]) * 8 if i.kind == "kernel" else 0


def _append(
    instructions: list[tuple[Any, ...]], i: Instruction, addresses: dict[str, int], keys: int
) -> None:
    match i.kind:
        case "kernel":
            assert i.text is not None
            rows, columns, steps = i.details
            address = addresses[i.text.name]
            instructions.append(
                (
                    "kernel",
                    address,
                    rows,
                    columns,
                    list(i.refs),
                    list(steps),
                    i.text.scratch(columns),
                    i.text.along(rows)[0],
                    "".join(o.layout[0] for o in i.text.operands),
                    bytes(o.dtype.itemsize for o in i.text.operands),
                )
            )
        case "product":
            ta, tb, m, n, k, lda, ldb, ldc, dtype = i.details
            a, b, c = i.refs
            instructions.append(("product", dtype.num, ta, tb, m, n, k, a, lda, b, ldb, c, ldc))
        case "copy":
            size, shape, to, source = i.details
            instructions.append(("copy", size, tuple(shape), i.refs[0], to, i.refs[1], source))
        case "several":
            for part in i.details:
                _append(instructions, part, addresses, keys)
        case "gather" | "scatter":
            dtype, rows, columns, lead, kind, count, step, padding = i.details
            out, source, at = i.refs
            instructions.append(
                (
                    i.kind, dtype.num, rows, columns, lead, out, source, kind.num, at, count, step,
                    padding,
                )
            )  # fmt: skip
        case "random":
            k, p, shape = i.details
            count = int(np.prod(shape, dtype=np.int64))
            instructions.append(("random", i.refs[0], count, threshold(p), (1, keys, 24 * k)))
        case "finite":
            (dtype,) = i.details
            instructions.append(("python", check_finite, [(i.refs[0], dtype.num, (), (), False)]))
        case "host":
            (function, template, options), kinds = i.details
            views = [
                (ref, dtype.num, shape, _strides(shape, dtype.itemsize), k == len(kinds) - 1)
                for k, (ref, (dtype, shape)) in enumerate(zip(i.refs, kinds, strict=True))
            ]
            instructions.append(("python", _Host(function, template, options), views))


def threshold(p: float) -> int:
    """Halves below this are true with probability p, as `Stream.bernoulli` has it."""
    return min(round(p * 2**32), 2**32 - 1) if p < 1 else 2**32


def _strides(shape: Sequence[int], size: int) -> tuple[int, ...]:
    found = []
    for n in reversed(shape):
        found.append(size)
        size *= n
    return tuple(reversed(found))


def check_finite(x: Any) -> None:
    """Stop a run unless x, a number, is finite."""
    if not math.isfinite(x):
        raise Unfinished


class Unfinished(ArithmeticError):
    """A run stopped before any update: a number was not finite, or NumPy raised an error."""


#: Stands in the arguments of a call of NumPy for an array of the plan.
GIVEN = object()


class _Host:
    """A call of NumPy on memory of a plan."""

    def __init__(self, function: Any, template: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.function, self.template, self.options = function, template, options

    def __call__(self, *arrays: Any) -> None:
        *inputs, out = arrays
        given = iter(inputs)
        args = [next(given) if t is GIVEN else t for t in self.template]
        try:
            np.copyto(out, self.function(*args, **self.options))
        except Exception as error:  # the step itself raises it again
            raise Unfinished from error
