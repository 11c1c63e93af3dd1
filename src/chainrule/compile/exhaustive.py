"""The error of every unary primitive, measured: float32 at all 2^32 numbers, float64 at samples.

An error is counted in units in the last place (ulp) of the exact result: the distance between two
neighbouring numbers there, and between subnormal ones below the smallest normal number. What a
float32 result is compared with is the same function in float64, computed by NumPy, whose own error
is a hundred-millionth of that unit. float64 results are compared with mpmath.

Both executors are measured: C, which compiles ``native/math.h`` with the flags that kernels are
compiled with, and NumPy. A NaN, an infinity or the sign of a zero in the wrong place is an error of
infinitely many ulp.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import MissingExtraError
from chainrule.array.primitives import PRIMITIVES

__all__ = ["ROWS", "Row", "Worst", "c_functions", "float32_errors", "float64_errors", "judge"]

Function = Callable[[Array], Array]

_BLOCK = 1 << 15  # small enough for the cache, large enough to be away from Python for a while
_CHUNK = 1 << 23  # what a thread takes at a time
_SCREENED = 1 << 18  # float64 samples of which the worst go to mpmath
_FINEST = 60  # as many of these


@dataclass(frozen=True)
class Row:
    """A primitive: its name, C's bounds in ulp, where samples are taken, where the bounds hold."""

    name: str
    float32: float
    float64: float
    spans: tuple[tuple[float, float], ...] = ((-3.0, 3.0), (-40.0, 40.0))
    least: float = -np.inf

    def bound(self, executor: str, dtype: str) -> float:
        """In ulp. NumPy's is the one stated in the table of primitives."""
        if executor == "NumPy":
            return PRIMITIVES[self.name].ulp
        return self.float32 if dtype == "float32" else self.float64


#: Every unary primitive that is not exact, and sqrt.
ROWS = {
    row.name: row
    for row in (
        Row("sqrt", 0.5, 0.5, ((0.0, 4.0),)),
        Row("exp", 2, 2, ((-3.0, 3.0), (-745.0, 709.0))),
        Row("expm1", 2, 3),
        Row("log", 2, 2, ((0.5, 2.0), (0.0, 100.0))),
        Row("log1p", 2, 2, ((-0.9, 2.0), (0.0, 100.0))),
        Row("sin", 2, 2, ((-7.0, 7.0), (-1e6, 1e6))),
        Row("cos", 2, 2, ((-7.0, 7.0), (-1e6, 1e6))),
        Row("tanh", 2, 3, ((-2.0, 2.0), (-20.0, 20.0))),
        Row("sigmoid", 2, 3, ((-3.0, 3.0), (-745.0, 40.0))),
        Row("erf", 2, 2, ((-6.0, 6.0),)),
        Row("lgamma", 4, 4, ((-0.5, 4.0), (0.0, 100.0)), least=-0.5),
    )
}


@dataclass
class Worst:
    """What was found for one primitive, executor and dtype.

    Attributes:
        primitive, executor, dtype: of what.
        bound: the error that is allowed.
        ulp: the largest error, at the input `at`.
        above: at how many of the `count` inputs the error was above one ulp.
    """

    primitive: str
    executor: str
    dtype: str
    bound: float
    ulp: float = 0.0
    at: float = 0.0
    above: int = 0
    count: int = 0

    @property
    def passed(self) -> bool:
        """Whether the largest error is within the bound (a thousandth is the measurement's own)."""
        return self.ulp <= self.bound + 1e-3

    def add(self, x: Array, errors: Array) -> None:
        """Take in the errors at further inputs."""
        k = int(errors.argmax())
        if errors[k] > self.ulp:
            self.ulp, self.at = float(errors[k]), float(x[k])
        self.above += int(np.count_nonzero(errors > 1))
        self.count += errors.size

    def merge(self, other: Worst) -> None:
        """Take in what another found."""
        if other.ulp > self.ulp:
            self.ulp, self.at = other.ulp, other.at
        self.above += other.above
        self.count += other.count


# -- the C executor -------------------------------------------------------------------------------

_OWN = {"sqrt": "sqrt", "abs": "fabs", "floor": "floor"}  # C's own; all others begin with cr_

_LOOP = """
CR_EXPORT void {name}_{dtype}(const {c} *x, {c} *y, ptrdiff_t n) {{
#pragma omp simd
  for (ptrdiff_t i = 0; i < n; i++) y[i] = {call}(x[i]);
}}
"""


def driver() -> str:
    """A C text with one function for each row and dtype: ``exp_float32(x, y, n)``."""
    from chainrule.compile.build import NATIVE

    text = (NATIVE / "math.h").read_text("utf-8")
    for name in ROWS:
        call = _OWN.get(name, f"cr_{name}")
        text += _LOOP.format(name=name, dtype="float32", c="float", call=f"{call}f")
        text += _LOOP.format(name=name, dtype="float64", c="double", call=call)
    return text


@functools.cache
def _library() -> Any | None:
    from chainrule.compile import build

    return build.library(driver(), "exhaustive")


def c_functions(name: str) -> Function | None:
    """A primitive of the C executor on arrays of float32 or float64; None without a compiler.

    >>> exp = c_functions("exp")
    >>> exp is None or exp(np.zeros(2, np.float32)).tolist() == [1.0, 1.0]
    True
    """
    found = _library()
    if found is None:
        return None
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)
    of = {
        np.dtype(dtype): kind(found.address(f"{name}_{dtype}")) for dtype in ("float32", "float64")
    }

    def call(x: Array) -> Array:
        x = np.ascontiguousarray(x)
        y = np.empty_like(x)
        of[x.dtype](x.ctypes.data, y.ctypes.data, x.size)
        return y

    return call


def executors(name: str) -> dict[str, Function]:
    """The executors at hand, by name."""
    native = c_functions(name)
    return ({"C": native} if native else {}) | {"NumPy": PRIMITIVES[name].numpy}


# -- float32 --------------------------------------------------------------------------------------


def judge(y: Array, r: Array) -> Array:
    """The error of each float32 in `y` in ulp, where the float64 in `r` is right.

    >>> judge(np.array([1.0, 2.0000002], np.float32), np.array([1.0, 2.0]))
    array([0., 1.])
    """
    value = y.astype(np.float64)
    # 2^(23 - e) for r in [2^e, 2^(e+1)): the exponent is mirrored in place, inside float32's range
    exponent = np.clip((r.view(np.int64) >> 52) & 0x7FF, 1023 - 126, 1023 + 127)
    with np.errstate(invalid="ignore"):
        errors: Array = np.abs(value - r) * ((2046 + 23 - exponent) << 52).view(np.float64)
    finite = np.isfinite(errors)
    if not finite.all():
        _judge_edges(errors, finite, y, r)
    errors[(y == 0) & (np.signbit(y) != np.signbit(r))] = np.inf
    return errors


def _judge_edges(errors: Array, finite: Array, y: Array, r: Array) -> None:
    """Write the errors at the places where the result or what is right is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        equal = (r.astype(np.float32) == y) | (np.isnan(y) & np.isnan(r))
        np.copyto(errors, 0, where=equal & ~finite)
        at = np.flatnonzero(~(finite | equal))
        if at.size:
            # an infinite y counts as 2^128, the number that would be next
            beyond = np.abs(np.copysign(2.0**128, y[at].astype(np.float64)) - r[at]) / 2.0**104
            errors[at] = np.where(np.isinf(y[at]) & np.isfinite(r[at]), beyond, np.inf)


def _blocks(start: int, stop: int, stride: int) -> Iterator[Array]:
    """The floats whose bits, read as integers, are start, start + stride and so on."""
    for k in range(start, stop, _BLOCK * stride):
        bits = np.arange(k, min(k + _BLOCK * stride, stop), stride, dtype=np.int64)
        yield bits.astype(np.uint32).view(np.float32)


def float32_errors(
    row: Row, stride: int = 1, progress: Callable[[float], None] = lambda share: None
) -> list[Worst]:
    """The errors of both executors over all float32 numbers, or over every `stride`-th.

    Args:
        row: of `ROWS`.
        stride: 1 for all; an odd one reaches all exponents.
        progress: called now and then with the share that is done.
    """
    found = {
        executor: (f, Worst(row.name, executor, "float32", row.bound(executor, "float32")))
        for executor, f in executors(row.name).items()
    }
    references = _references(row.name, found)

    def chunk(start: int) -> list[Worst]:
        part = [Worst(w.primitive, w.executor, w.dtype, w.bound) for _, w in found.values()]
        with np.errstate(all="ignore"):
            for x in _blocks(start, min(start + _CHUNK * stride, 1 << 32), stride):
                wide = x.astype(np.float64)
                right: dict[Function, Array] = {}
                for (f, _), reference, worst in zip(found.values(), references, part, strict=True):
                    if reference not in right:
                        right[reference] = reference(wide)
                    errors = judge(f(x), right[reference])
                    if row.least > -np.inf:
                        errors[(x < row.least) & np.isfinite(errors)] = 0
                    worst.add(x, errors)
        return part

    starts = range(0, 1 << 32, _CHUNK * stride)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for k, part in enumerate(pool.map(chunk, starts), 1):
            for (_, worst), more in zip(found.values(), part, strict=True):
                worst.merge(more)
            progress(k / len(starts))
    return [worst for _, worst in found.values()]


def _references(name: str, found: Iterable[str]) -> list[Function]:
    """What each executor is compared with: float64 NumPy. A float32 lgamma is a rounded float64 one
    in both, so there each is compared with the other."""
    plain: Function = PRIMITIVES[name].numpy
    if name != "lgamma":
        return [plain for _ in found]
    native = c_functions(name) or plain
    return [plain if executor == "C" else native for executor in found]


# -- float64 --------------------------------------------------------------------------------------


def _exact(mp: Any, name: str) -> Callable[[Any], Any]:
    if name == "sigmoid":
        return lambda x: 1 / (1 + mp.exp(-x))
    if name == "lgamma":
        return lambda x: mp.loggamma(x).real if x > 0 else mp.log(abs(mp.gamma(x)))
    return getattr(mp, {"abs": "fabs"}.get(name, name))  # type: ignore[no-any-return]


def samples(row: Row, count: int, seed: int = 0) -> Array:
    """`count` random bit patterns, so all exponents, as many numbers in each span, edges."""
    rng = np.random.default_rng(seed)
    info = np.finfo(np.float64)
    ends = np.array([0.0, info.smallest_subnormal, info.tiny, 1.0, info.max, np.inf, np.nan])
    bits = rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)
    spans = [rng.uniform(low, high, count) for low, high in row.spans]
    return np.concatenate([bits, ends, -ends, *spans])


def _screened(name: str, x: Array, y: Array, count: int) -> Array:
    """Where the error is largest, judged with the 80-bit long double of x86 where there is one."""
    if np.finfo(np.longdouble).nmant < 63 or name in ("erf", "lgamma"):
        return np.arange(min(8 * count, x.size))
    with np.errstate(all="ignore"):
        right = PRIMITIVES[name].numpy(x.astype(np.longdouble))
        errors = np.abs(y - right) / np.spacing(np.abs(right.astype(np.float64)))
    errors[~np.isfinite(errors)] = 0
    return np.argsort(errors)[-count:]


def float64_errors(row: Row, count: int = 300) -> list[Worst]:
    """The float64 errors of both executors against mpmath.

    `count` random bit patterns and as many numbers in each usual range are checked, and the worst
    of a quarter of a million more, which the 80-bit long double of x86 finds where there is one.

    Raises:
        MissingExtraError: mpmath is not installed.
    """
    try:
        mpmath = import_module("mpmath")
    except ImportError:
        raise MissingExtraError(
            "the errors of float64 are measured against mpmath; "
            'install it with pip install "chainrule[oracle]", or pip install mpmath'
        ) from None
    mp = mpmath.mp.clone()
    mp.dps = 40  # digits
    exact = _exact(mp, row.name)
    few, many = samples(row, count), samples(row, _SCREENED // 3, seed=1)
    found = []
    for executor, f in executors(row.name).items():
        with np.errstate(all="ignore"):
            worst = _screened(row.name, many, f(many), _FINEST)
            x = np.concatenate([few, many[worst]])
            y, pattern = f(x), PRIMITIVES[row.name].numpy(x)
        errors = np.array(
            [
                0.0 if values[0] < row.least else _ulp64(mp, exact, *values)
                for values in zip(x.tolist(), y.tolist(), pattern.tolist(), strict=True)
            ]
        )
        bound = row.bound(executor, "float64")
        found.append(Worst(row.name, executor, "float64", bound))
        found[-1].add(x, errors)
    return found


def _ulp64(mp: Any, exact: Callable[[Any], Any], x: float, y: float, pattern: float) -> float:
    """The error of y in ulp. `pattern`, NumPy's result, says where NaN and infinity belong."""
    if pattern != pattern or np.isinf(x) or x == 0:
        return 0.0 if y == pattern or (y != y and pattern != pattern) else np.inf
    right = exact(mp.mpf(x))
    if abs(right) >= mp.ldexp(1, 1024) or np.isinf(y):
        top = mp.ldexp(1, 1024) * (1 - mp.ldexp(1, -54))
        return 0.0 if np.isinf(y) and (abs(right) >= top) and (y > 0) == (right > 0) else np.inf
    if right == 0:
        return 0.0 if y == 0 else np.inf
    return float(abs(mp.mpf(y) - right) / mp.ldexp(1, max(mp.mag(right), -1021) - 53))
