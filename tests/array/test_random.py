"""The random stream: its bits, its independence, its distributions, its state."""

from __future__ import annotations

import hashlib
import json
import math
import threading

import numpy as np
import pytest
from numpy.random import Philox

from chainrule.array import random
from chainrule.array.random import Stream, default_stream, use_stream


def key(seed: int, path: str) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}/{path}".encode(), digest_size=16).digest()
    return np.array([int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)], np.uint64)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1001])
@pytest.mark.parametrize("step", [0, 1, 2**40, 2**64 - 1])
def test_bits_are_those_of_numpy_philox(n: int, step: int) -> None:
    counter = np.array([0, 0, 0, step], np.uint64)
    expected = Philox(key=key(12, "model.2"), counter=counter).random_raw(n)
    words = Stream(12).bits("model.2", n, step=step)
    assert words.dtype == np.uint64
    np.testing.assert_array_equal(words, expected)


def test_golden_values() -> None:
    """Committed: these may never change, or saved runs could not be repeated."""
    stream = Stream(0)
    assert stream.bits("a", 3, step=5).tolist() == [
        12434059390013541045,
        301111042266665522,
        2507178462470677478,
    ]
    np.testing.assert_array_equal(
        stream.uniform("layer", 3, step=0), np.float32([0.3416124, 0.5220995, 0.36527783])
    )
    assert stream.permutation("epoch", 5, step=0).tolist() == [3, 2, 0, 4, 1]
    np.testing.assert_allclose(
        stream.normal("w", 3, np.float64, step=1), [1.29659473, -0.89966675, 0.87926508], rtol=1e-7
    )


def test_uniform_is_numpys_mapping_of_the_same_bits() -> None:
    for dtype in (np.float32, np.float64):
        generator = np.random.Generator(Philox(key=key(3, "u"), counter=[0, 0, 0, 7]))
        expected = generator.random((11, 13), dtype)
        np.testing.assert_array_equal(Stream(3).uniform("u", (11, 13), dtype, step=7), expected)


def test_seed_path_and_step_each_change_the_draw() -> None:
    draws = [
        Stream(seed).bits(path, 64, step=step)
        for seed in (0, 1, 10**30)
        for path in ("a", "b", "1/a", "")
        for step in (0, 1)
    ]
    words = np.concatenate(draws)
    assert np.unique(words).size == words.size


def test_counters_advance_per_path_and_explicit_steps_do_not() -> None:
    stream = Stream(5)
    a0, b0 = stream.bits("a", 4), stream.bits("b", 4)
    a1 = stream.bits("a", 4)
    np.testing.assert_array_equal(a0, Stream(5).bits("a", 4, step=0))
    np.testing.assert_array_equal(a1, Stream(5).bits("a", 4, step=1))
    np.testing.assert_array_equal(b0, Stream(5).bits("b", 4))
    stream.bits("a", 4, step=99)
    stream.bernoulli("c", 3, 0.0)
    stream.bernoulli("c", 3, 1.0)
    assert stream.state() == {"seed": 5, "counters": {"a": 2, "b": 1, "c": 2}}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_distribution(dtype: type) -> None:
    n = 200_000
    u = Stream(1).uniform("u", n, dtype)
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1
    # The Kolmogorov-Smirnov distance: 1.95/√n is exceeded once in a thousand seeds.
    rank = np.arange(n) / n
    assert np.abs(np.sort(u.astype(np.float64)) - rank).max() < 1.95 / math.sqrt(n)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / math.sqrt(n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_distribution(dtype: type) -> None:
    n = 200_001
    z = Stream(2).normal("z", n, dtype)
    assert z.dtype == dtype
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z.astype(np.float64) ** 4).mean() - 3) < 4 * math.sqrt(96 / n)
    phi = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.sort(z).tolist()])
    assert np.abs(phi - np.arange(n) / n).max() < 1.95 / math.sqrt(n)
    half = (n + 1) // 2  # the cosines and the sines of the same pairs
    assert abs(np.corrcoef(z[: half - 1], z[half:])[0, 1]) < 4 / math.sqrt(half)


def test_scale_and_location() -> None:
    stream = Stream(3)
    z, scaled = (
        stream.normal("z", (5, 3), step=0),
        stream.normal("z", (5, 3), step=0, mean=4, std=2),
    )
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, 4 + 2 * z, rtol=1e-6)
    assert np.all(stream.normal("z", 9, mean=4, std=0) == 4)
    u = stream.uniform("u", (5, 3), step=0)
    moved = stream.uniform("u", (5, 3), step=0, low=-3, high=2)
    np.testing.assert_allclose(moved, -3 + 5 * u, rtol=1e-5, atol=1e-6)
    assert moved.dtype == np.float32
    # Rounding would give `high` for half of these: the interval is half-open nevertheless.
    low, high = 1.0, float(np.nextafter(np.float32(1), np.float32(2)))
    assert np.all(stream.uniform("u", 1000, low=low, high=high) == 1)


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.1, 0.5, 0.9, 1.0])
def test_bernoulli_frequency(p: float) -> None:
    n = 200_000
    mask = Stream(4).bernoulli("m", (n // 100, 100), p)
    assert mask.dtype == np.bool_
    assert mask.shape == (n // 100, 100)
    assert abs(mask.mean() - p) <= 4 * math.sqrt(p * (1 - p) / n)


def test_bernoulli_compares_the_halves_with_p() -> None:
    stream = Stream(4)
    words = stream.bits("m", 3, step=0).tolist()
    halves = [half for w in words for half in (w & 0xFFFFFFFF, w >> 32)]
    for p in (0.1, 0.5, 0.77, 1e-300, 1 - 1e-16):
        expected = [half < min(round(p * 2**32), 2**32 - 1) for half in halves][:5]
        assert stream.bernoulli("m", 5, p, step=0).tolist() == expected


def test_permutation() -> None:
    stream = Stream(6)
    for n in (0, 1, 2, 3, 64, 65, 1000):
        order = stream.permutation("p", n)
        assert order.dtype == np.intp
        assert sorted(order.tolist()) == list(range(n))
    counts = np.zeros((4, 4))
    for step in range(4000):
        counts[np.arange(4), stream.permutation("p", 4, step=step)] += 1
    assert np.abs(counts - 1000).max() < 4.5 * math.sqrt(4000 * 3 / 16)


@pytest.mark.parametrize("shape", [(), 0, 7, (0, 3), (2, 3, 1)])
def test_shapes(shape: int | tuple[int, ...]) -> None:
    stream = Stream(0)
    expected = np.empty(shape).shape
    assert stream.uniform("s", shape).shape == expected
    assert stream.normal("s", shape, np.float64).shape == expected
    assert stream.bernoulli("s", shape, 0.3).shape == expected
    assert stream.bernoulli("s", shape, 1.0).shape == expected


def test_state_round_trip_through_json() -> None:
    stream = Stream(2**63 + 11)
    stream.normal("a", 3)
    stream.uniform("b.weight", 5)
    saved = json.loads(json.dumps(stream.state()))
    expected = [stream.bits("a", 9), stream.bits("b.weight", 9), stream.bits("new", 9)]
    other = Stream(0)
    other.load_state(saved)
    got = [other.bits("a", 9), other.bits("b.weight", 9), other.bits("new", 9)]
    np.testing.assert_array_equal(got, expected)


def test_state_is_refused_whole() -> None:
    stream = Stream(1)
    for bad in ({}, {"seed": 1}, {"seed": 1, "counters": 3}, {"seed": -1, "counters": {}},
                {"seed": 2, "counters": {"a": -1}}):  # fmt: skip
        with pytest.raises(ValueError):
            stream.load_state(bad)
    assert stream.state() == {"seed": 1, "counters": {}}


def test_threads_share_a_stream() -> None:
    """Eight draws of each path, whatever thread takes which: the same set of draws."""
    stream = Stream(9)
    drawn: list[list[tuple[int, ...]]] = [[], []]
    barrier = threading.Barrier(2)

    def work(slot: int) -> None:
        barrier.wait()
        for _ in range(400):
            drawn[slot].append(tuple(stream.bits("shared", 3).tolist()))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {tuple(Stream(9).bits("shared", 3, step=s).tolist()) for s in range(800)}
    assert set(drawn[0]) | set(drawn[1]) == expected
    assert stream.state()["counters"] == {"shared": 800}


def test_entropy_seeds_differ_and_can_be_repeated() -> None:
    a, b = Stream(), Stream()
    assert a.seed != b.seed
    np.testing.assert_array_equal(a.bits("x", 5), Stream(a.seed).bits("x", 5))


def test_default_stream_and_override() -> None:
    with use_stream(Stream(1)) as stream:
        assert default_stream() is stream
        with use_stream(Stream(2)) as inner:
            assert default_stream() is inner
        assert default_stream() is stream
        seen: list[Stream] = []
        thread = threading.Thread(target=lambda: seen.append(default_stream()))
        thread.start()
        thread.join()
        assert seen[0] is not stream
    assert default_stream() is seen[0]


def test_seed_restarts_the_global_stream() -> None:
    before = default_stream().state()
    try:
        random.seed(np.int64(41))
        first = [default_stream().bits("a", 4), default_stream().bits("a", 4)]
        random.seed(41)
        again = [default_stream().bits("a", 4), default_stream().bits("a", 4)]
        np.testing.assert_array_equal(first, again)
        assert default_stream().seed == 41
    finally:
        default_stream().load_state(before)


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, np.float32(2)])
def test_seed_wants_an_integer(bad: object) -> None:
    with pytest.raises(TypeError, match=r"expected an integer >= 0, got .*int\(x\)"):
        random.seed(bad)  # type: ignore[arg-type]


def test_errors() -> None:
    stream = Stream(0)
    with pytest.raises(ValueError, match="got -1"):
        random.seed(-1)
    with pytest.raises(ValueError, match="got -3"):
        Stream(-3)
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="0 <= p <= 1"):
            stream.bernoulli("m", 3, p)
    for dtype in (np.float16, np.int64, complex):
        with pytest.raises(TypeError, match="float32 or float64"):
            stream.uniform("u", 3, dtype)
        with pytest.raises(TypeError, match="float32 or float64"):
            stream.normal("u", 3, dtype)
    for low, high in ((1, 1), (2, 1), (0, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match="low < high"):
            stream.uniform("u", 3, low=low, high=high)
    for std in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="std >= 0"):
            stream.normal("u", 3, std=std)
    for step in (-1, 2**64):
        with pytest.raises(ValueError, match="step"):
            stream.bits("u", 3, step=step)
    with pytest.raises(ValueError, match="0 <= n"):
        stream.permutation("p", -1)
    assert stream.state()["counters"] == {}, "a refused draw takes no step"


def test_a_stream_can_be_copied_and_pickled():
    import copy
    import pickle

    stream = Stream(3)
    stream.bits("a", 2)
    for other in (copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        assert other.state() == stream.state()
    twin = copy.deepcopy(stream)
    np.testing.assert_array_equal(twin.bits("a", 4), stream.bits("a", 4))


def test_advance_makes_the_draws_of_a_replay():
    """It gives the key and step of each draw, in order, and moves the counters as draws do."""
    stream, twin = Stream(3), Stream(3)
    stream.bits("b", 1)
    twin.bits("b", 1)
    keys = np.zeros((4, 3), np.uint64)
    paths = ["a", "b", "a", "a"]
    before = stream.advance(paths, keys)
    assert before == {"a": 0, "b": 1}
    for path, (low, high, step) in zip(paths, keys, strict=True):
        words = Philox(key=np.array([low, high]), counter=[0, 0, 0, int(step)]).random_raw(5)
        np.testing.assert_array_equal(twin.bits(path, 5), words)
    assert stream.state() == twin.state()
    stream.load_state({"seed": 4, "counters": {"a": 7}})  # another seed, other keys
    stream.advance(["a"], keys[:1])
    np.testing.assert_array_equal(keys[0], [*key(4, "a"), 7])


def test_rewind_takes_draws_back():
    stream = Stream(0)
    stream.bits("a", 1)
    keys = np.zeros((3, 3), np.uint64)
    before = stream.advance(["a", "a", "b"], keys)
    stream.bits("c", 1)
    stream.rewind(before)
    assert stream.state()["counters"] == {"a": 1, "b": 0, "c": 1}
    again = np.zeros_like(keys)
    stream.advance(["a", "a", "b"], again)
    np.testing.assert_array_equal(again, keys)
    assert stream.advance([], keys[:0]) == {}


def test_two_threads_advance_one_path():
    """No step is given twice."""
    stream, found = Stream(0), []

    def work():
        keys = np.zeros((2, 3), np.uint64)
        for _ in range(500):
            stream.advance(["a", "a"], keys)
            found.extend(keys[:, 2].tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(found) == list(range(4000))
