"""The random stream: every draw is a function of (seed, path, step) and of nothing else.

The bits are those of the counter-based generator Philox 4x64-10 (Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011), exactly as numpy.random.Philox gives them:

    digest = blake2b(f"{seed}/{path}".encode(), digest_size=16)     two 64-bit words, little-endian
    words  = Philox(key=digest words, counter=[0, 0, 0, step]).random_raw(n)

The path names who draws ("model.2.dropout") and the step counts its draws, so a layer's masks do
not change when another layer is added, when threads interleave or when another executor runs. Each
step owns 2¹⁹² blocks of four words: streams of different steps cannot overlap.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import operator
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from numpy.random import Philox

__all__ = ["Stream", "default_stream", "seed", "use_stream"]

Shape = int | tuple[int, ...]


def _sort_words(words: NDArray[np.uint64], low: int) -> None:
    words.sort()


#: Sorts words in place whose bits below `low` increase already. Native code puts its own here,
#: which takes a fraction of the time for a million.
sort_words = _sort_words


class Stream:
    """A random stream keyed by (seed, path, step); see the module's docstring for the bits.

    Every drawing method takes the path of who draws, and an optional step. Without a step, the
    path's own counter is used and advanced by one; with it, the draw is repeatable and no counter
    moves. Counters are guarded by a lock: threads may share a stream, and as long as they draw
    under different paths the result does not depend on their order.

    Args:
        seed: any integer >= 0; None takes 63 bits of entropy from the operating system, which
            `.seed` then tells, so that any run can be repeated.

    Raises:
        TypeError: seed is not an integer (True and 1.0 are not).
        ValueError: seed is negative.

    >>> stream = Stream(0)
    >>> stream.uniform("layer", 3)
    array([0.3416124 , 0.5220995 , 0.36527783], dtype=float32)
    >>> stream.bernoulli("layer", (2, 4), p=0.5, step=0).shape
    (2, 4)
    """

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._seed = (
            int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else _checked_seed(seed)
        )
        self._counters: dict[str, int] = {}
        self._keys: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"Stream(seed={self._seed})"

    def __reduce__(self) -> Any:
        return _restored, (self.state(),)  # a lock cannot be copied

    @property
    def seed(self) -> int:
        """The seed in use, whether given or taken from the operating system."""
        return self._seed

    def state(self) -> dict[str, Any]:
        """The stream as a dict that JSON can hold: the seed and the next step of each path.

        >>> stream = Stream(7)
        >>> _ = stream.bits("a", 2)
        >>> stream.state()
        {'seed': 7, 'counters': {'a': 1}}
        """
        with self._lock:
            return {"seed": self._seed, "counters": dict(self._counters)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what state() gave: the draws that follow are the same, bit for bit.

        Raises:
            ValueError, TypeError: the dict is not one of state()'s.
        """
        if set(state) != {"seed", "counters"} or not isinstance(state["counters"], Mapping):
            raise ValueError(
                f"Stream.load_state: expected a dict with 'seed' and 'counters', as state() "
                f"gives it, got {state!r:.200}"
            )
        seed = _checked_seed(state["seed"])
        counters = {str(path): _checked_step(step) for path, step in state["counters"].items()}
        with self._lock:
            self._seed, self._counters, self._keys = seed, counters, {}

    def bits(self, path: str, n: int, *, step: int | None = None) -> NDArray[np.uint64]:
        """n random 64-bit words.

        >>> from numpy.random import Philox
        >>> import hashlib
        >>> key = np.frombuffer(hashlib.blake2b(b"0/a", digest_size=16).digest(), "<u8")
        >>> words = Philox(key=key, counter=[0, 0, 0, 5]).random_raw(3)
        >>> bool((Stream(0).bits("a", 3, step=5) == words).all())
        True
        """
        with self._lock:
            seed = self._seed
            if step is None:
                step = self._counters.get(path, 0)
                self._counters[path] = step + 1
        key = np.array(_key_words(seed, path), np.uint64)
        return _philox_words(key, _checked_step(step), n)

    def advance(self, paths: Sequence[str], keys: NDArray[np.uint64]) -> dict[str, int]:
        """Make one draw for each path, and say where in the stream it begins.

        Args:
            paths: who draws, one after the other.
            keys: ``(len(paths), 3)``; receives the two words of the key and the step.

        Returns:
            The steps as they were; `rewind` takes them back.
        """
        with self._lock:
            before = {path: self._counters.get(path, 0) for path in paths}
            for k, path in enumerate(paths):
                words = self._keys.get(path)
                if words is None:
                    words = self._keys[path] = _key_words(self._seed, path)
                step = self._counters.get(path, 0)
                self._counters[path] = step + 1
                keys[k] = (*words, step)
        return before

    def rewind(self, steps: Mapping[str, int]) -> None:
        """Take back the draws made since `advance` gave these steps."""
        with self._lock:
            self._counters.update(steps)

    def uniform(
        self,
        path: str,
        shape: Shape,
        dtype: DTypeLike = np.float32,
        low: float = 0.0,
        high: float = 1.0,
        *,
        step: int | None = None,
    ) -> NDArray[np.floating[Any]]:
        """Uniform on [low, high): low + (high - low)·u, u = m·2⁻²⁴ (float32) or m·2⁻⁵³ (float64).

        m is the top 24 bits of each 32-bit half of the words, low half first, or the top 53 bits of
        each word. The few values that would round up to high give the number just below it.

        Raises:
            TypeError: dtype is neither float32 nor float64.
            ValueError: low < high does not hold, or one of them is not finite.
        """
        real = _checked_dtype("uniform", dtype)
        if not (low < high and math.isfinite(high - low)):
            raise ValueError(f"uniform: expected finite low < high, got low={low}, high={high}")
        n = _size(shape)
        if real == np.float32:
            u = (self._halves(path, n, step) >> 8).astype(np.float32)
            u *= np.float32(2.0**-24)
        else:
            u = (self.bits(path, n, step=step) >> np.uint64(11)).astype(np.float64)
            u *= 2.0**-53
        if (low, high) != (0.0, 1.0):
            u *= high - low
            u += low
            top = real.type(high)
            np.minimum(u, np.nextafter(top, real.type(low)), out=u)
        return u.reshape(shape)

    def normal(
        self,
        path: str,
        shape: Shape,
        dtype: DTypeLike = np.float32,
        mean: float = 0.0,
        std: float = 1.0,
        *,
        step: int | None = None,
    ) -> NDArray[np.floating[Any]]:
        """Normal by Box and Muller's transform: mean + std·√(-2 ln u)·(cos 2πv | sin 2πv).

        n values take ⌈n/2⌉ pairs (u, v); the cosines fill the first half, the sines the second. In
        float32 a word makes a pair, u of its low and v of its high half; in float64 two words do. u
        is in (0, 1] with 32 or 53 bits, so values reach ±6.7 or ±8.6. The bits are the same
        everywhere; ln, cos and sin are NumPy's, whose last digit may differ between CPUs.

        Raises:
            TypeError: dtype is neither float32 nor float64.
            ValueError: std is negative or not finite.
        """
        real = _checked_dtype("normal", dtype)
        if not (std >= 0 and math.isfinite(std)):
            raise ValueError(f"normal: expected a finite std >= 0, got {std}")
        n = _size(shape)
        pairs = (n + 1) // 2
        u: NDArray[np.floating[Any]]
        v: NDArray[np.floating[Any]]
        if real == np.float32:
            halves = self._halves(path, 2 * pairs, step)
            u = halves[0::2].astype(np.float32)
            u *= np.float32(2.0**-32)
            u += np.float32(2.0**-33)
            v = (halves[1::2] >> 8).astype(np.float32)
            v *= np.float32(2 * math.pi * 2.0**-24)
        else:
            words = self.bits(path, 2 * pairs, step=step) >> np.uint64(11)
            u = words[0::2].astype(np.float64)
            u += 1
            u *= 2.0**-53
            v = words[1::2].astype(np.float64)
            v *= 2 * math.pi * 2.0**-53
        radius = np.sqrt(-2 * np.log(u))
        z = np.empty(2 * pairs, real)
        np.multiply(radius, np.cos(v), out=z[:pairs])
        np.multiply(radius, np.sin(v), out=z[pairs:])
        if std != 1.0:
            z *= std
        if mean != 0.0:
            z += mean
        return z[:n].reshape(shape)

    def bernoulli(
        self, path: str, shape: Shape, p: float, *, step: int | None = None
    ) -> NDArray[np.bool_]:
        """True with probability p: where a 32-bit half of the words is below p·2³², rounded.

        p = 0 and p = 1 are exact; between them p is met to within 2⁻³². (Dropout with rate r keeps
        where bernoulli(p=1-r) is true.) About 2 ns an element, nearly all of it Philox itself.

        Raises:
            ValueError: p is not in [0, 1].
        """
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"bernoulli: expected a probability 0 <= p <= 1, got {p}")
        halves = self._halves(path, _size(shape), step)
        if p == 1.0:
            return np.ones(shape, np.bool_)
        threshold = min(round(p * 2**32), 2**32 - 1)
        return (halves < np.uint32(threshold)).reshape(shape)

    def permutation(self, path: str, n: int, step: int | None = None) -> NDArray[np.intp]:
        """The numbers 0 … n-1 in random order, exactly reproducible on every machine.

        Each number gets a random word whose low bits are replaced by the number itself; the words
        are sorted. As no two are equal, the order does not depend on the sorting algorithm.

        Raises:
            ValueError: n is negative or above 2³².

        >>> Stream(0).permutation("epoch", 5)
        array([3, 2, 0, 4, 1])
        """
        if not 0 <= n <= 2**32:
            raise ValueError(f"permutation: expected 0 <= n <= 2**32, got {n}")
        mask = np.uint64((1 << max(n - 1, 0).bit_length()) - 1)
        keys = self.bits(path, n, step=step)
        keys &= ~mask
        keys |= np.arange(n, dtype=np.uint64)
        sort_words(keys, int(mask).bit_length())
        keys &= mask
        return keys.astype(np.intp)

    def _halves(self, path: str, n: int, step: int | None) -> NDArray[np.uint32]:
        """n 32-bit halves of the words, the low half of each word first."""
        words = self.bits(path, (n + 1) // 2, step=step)
        return words.astype("<u8", copy=False).view("<u4")[:n]


def _key_words(seed: int, path: str) -> tuple[int, int]:
    """The key of the generator: a digest of seed and path."""
    from hashlib import blake2b  # here, because it loads OpenSSL: 3 ms of every import

    digest = blake2b(f"{seed}/{path}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _restored(state: Mapping[str, Any]) -> Stream:
    stream = Stream(0)
    stream.load_state(state)
    return stream


_THREAD = threading.local()


def _philox_words(key: NDArray[np.uint64], step: int, n: int) -> NDArray[np.uint64]:
    """Philox(key=key, counter=[0, 0, 0, step]).random_raw(n).

    Each thread keeps one generator and rewrites its state, which takes 0.8 µs where making a new
    one takes 7 (it asks the operating system for entropy it will not use).
    """
    generator: Philox | None = getattr(_THREAD, "generator", None)
    if generator is None:
        from numpy.random import Philox  # here, because `import numpy` does not load numpy.random

        generator = _THREAD.generator = Philox(key=0)
        _THREAD.state = generator.state  # its buffer is empty, and a rewrite keeps it so
    state = _THREAD.state
    state["state"]["key"][:] = key
    state["state"]["counter"][:] = (0, 0, 0, step)
    generator.state = state
    return generator.random_raw(n)


def _size(shape: Shape) -> int:
    return math.prod(shape) if isinstance(shape, tuple) else operator.index(shape)


def _checked_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    real = np.dtype(dtype)
    if real not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected dtype float32 or float64, got {real}")
    return real


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer):
        raise TypeError(
            f"seed: expected an integer >= 0, got {seed!r} of type {type(seed).__name__}; "
            f"write seed(0), or seed(int(x)) for a number x"
        )
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}; try {abs(int(seed))}")
    return int(seed)


def _checked_step(step: object) -> int:
    number = operator.index(step)  # type: ignore[arg-type]
    if not 0 <= number < 2**64:
        raise ValueError(f"step: expected an integer from 0 to 2**64 - 1, got {number}")
    return number


_GLOBAL = Stream()
_CURRENT: contextvars.ContextVar[Stream | None] = contextvars.ContextVar("stream", default=None)


def default_stream() -> Stream:
    """The stream that layers and initializers draw from: use_stream's if one is in force, else the
    process-wide one.

    >>> default_stream() is default_stream()
    True
    """
    return _CURRENT.get() or _GLOBAL


@contextlib.contextmanager
def use_stream(stream: Stream) -> Iterator[Stream]:
    """Within the block (and its thread or task), default_stream() is this stream.

    >>> with use_stream(Stream(3)):
    ...     default_stream().seed
    3
    """
    token = _CURRENT.set(stream)
    try:
        yield stream
    finally:
        _CURRENT.reset(token)


def seed(n: int) -> None:
    """Seed the process-wide stream and restart its counters: what follows is repeatable.

    A stream in force by use_stream is not touched.

    Args:
        n: any integer >= 0.

    Raises:
        TypeError: n is not an integer (True and 1.0 are not).
        ValueError: n is negative.

    >>> seed(0)
    >>> a = default_stream().normal("w", 2)
    >>> seed(0)
    >>> bool((default_stream().normal("w", 2) == a).all())
    True
    """
    _GLOBAL.load_state({"seed": n, "counters": {}})
