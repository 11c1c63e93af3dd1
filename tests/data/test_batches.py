"""Batches: the same rows whatever the source, orders that resume, constant memory, no aliasing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.data import Batch, Batches


def rows(n, d=3, dtype=np.float32):
    return np.arange(n * d).reshape(n, d).astype(dtype), np.arange(n)


def same(a: Batch, b: Batch) -> bool:
    return a.index == b.index and all(
        (p is None and q is None) or (p.dtype == q.dtype and np.array_equal(p, q))
        for p, q in ((a.x, b.x), (a.y, b.y), (a.weight, b.weight))
    )


def all_same(one, other) -> bool:
    return all(same(a, b) for a, b in zip(one, other, strict=True))


# --- what an epoch holds


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    size=st.integers(1, 25),
    shuffle=st.booleans(),
    weighted=st.booleans(),
    drop_last=st.booleans(),
    prefetch=st.integers(0, 2),
    epoch=st.integers(0, 5),
)
def test_every_row_once_with_its_target(n, size, shuffle, weighted, drop_last, prefetch, epoch):
    x, y = rows(n)
    if drop_last and n < size:
        return
    batches = Batches(
        (x, y),
        batch_size=size,
        shuffle=shuffle,
        sample_weight=y * 0.5 if weighted else None,
        drop_last=drop_last,
        prefetch=prefetch,
    )
    got = list(batches.epoch(epoch))
    assert len(got) == len(batches) == batches.n_batches
    assert [b.index for b in got] == list(range(len(got)))
    assert all(len(b) == size for b in got[:-1])
    labels = np.concatenate([b.y for b in got])
    kept = n - n % size if drop_last else n
    assert len(set(labels.tolist())) == len(labels) == kept
    assert np.array_equal(np.concatenate([b.x for b in got]), x[labels])
    for b in got:
        assert b.x.dtype == np.float32
        assert (b.weight is not None) == weighted
        if weighted:
            assert b.weight.dtype == np.float32
            assert np.array_equal(b.weight, b.y * np.float32(0.5))
    if not shuffle:
        assert np.array_equal(labels, np.arange(kept))


def test_orders_differ_between_epochs_and_seeds():
    x, y = rows(50)

    def order(seed, epoch):
        batches = Batches((x, y), shuffle=True, seed=seed, batch_size=7)
        return np.concatenate([b.y for b in batches.epoch(epoch)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 9),
    start=st.integers(0, 40),
    prefetch=st.integers(0, 2),
    kind=st.sampled_from(["arrays", "list", "nested"]),
)
def test_an_epoch_continues_in_its_middle(n, size, start, prefetch, kind):
    source = rows(n)
    inner = Batches(source, batch_size=size, shuffle=kind != "list", seed=5)
    if kind == "list":
        source = [(b.x, b.y) for b in inner.epoch(0)]
    make = {
        "arrays": lambda: Batches(source, batch_size=size, shuffle=True, prefetch=prefetch),
        "list": lambda: Batches(source, prefetch=prefetch),
        "nested": lambda: Batches(inner, prefetch=prefetch),
    }[kind]
    whole = list(make().epoch(3))
    if start > len(whole):
        with pytest.raises(DataError, match=f"start_batch={start} is beyond the {len(whole)}"):
            make().epoch(3, start)
        return
    assert all_same(make().epoch(3, start), whole[start:])


def test_a_given_stream_draws_the_order():
    class Reversing:
        calls = []

        def permutation(self, path, n, step=None):
            self.calls.append((path, n, step))
            return np.arange(n)[::-1]

    batches = Batches(rows(5), batch_size=2, shuffle=True)
    stream = Reversing()
    got = [b.y.tolist() for b in batches.epoch(4, stream=stream)]
    assert got == [[4, 3], [2, 1], [0]]
    assert [b.y.tolist() for b in Batches(batches).epoch(4, stream=stream)] == got
    assert stream.calls == [("data/shuffle", 5, 4)] * 2


def test_iterating_goes_from_epoch_to_epoch():
    batches = Batches(rows(30), shuffle=True, batch_size=30)
    passes = [next(iter(batches))[1].tolist() for _ in range(3)]
    expected = [next(batches.epoch(e)).y.tolist() for e in range(3)]
    assert passes == expected


def test_iterating_gives_what_there_is():
    x, y = rows(4)
    assert next(iter(Batches(x))).shape == (4, 3)
    assert len(next(iter(Batches((x, y))))) == 2
    assert len(next(iter(Batches((x, y, np.ones(4)))))) == 3
    unlabelled = next(iter(Batches(x, sample_weight=np.ones(4))))
    assert unlabelled[1] is None


# --- dtypes


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stored", [np.uint8, np.int64, np.bool_, np.float16, np.float64, ">f4"])
def test_cast_per_batch_only(stored, shuffle):
    x = (np.arange(60).reshape(10, 6) % 7).astype(stored)
    batches = Batches((x, x[:, 0]), shuffle=shuffle, batch_size=4)
    assert batches.x_dtype == x.dtype
    floating = x.dtype.kind == "f"
    for b in batches.epoch(0):
        assert b.x.dtype == np.float32
        assert b.y.dtype == (np.float32 if floating else x.dtype)
    for b in batches.epoch(0, dtype=np.float64, y_dtype=np.int64):
        assert (b.x.dtype, b.y.dtype) == (np.float64, np.int64)
        assert np.array_equal(b.x[:, 0], b.y)
    for b in batches.epoch(0, dtype=None):
        assert (b.x.dtype, b.y.dtype) == (x.dtype, x.dtype)


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_any_memory_layout(layout, shuffle):
    base = np.random.default_rng(0).random((40, 12))
    x = {
        "C": base,
        "F": np.asfortranarray(base),
        "strided": base[::2, 1::3],
        "reversed": base[::-1],
    }[layout]
    for b in Batches((x, np.arange(len(x))), shuffle=shuffle, batch_size=7).epoch(1):
        assert np.array_equal(b.x, x[b.y].astype(np.float32))


# --- memory


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stored", [np.uint8, np.float32])
def test_batches_that_are_kept_stay_as_they_were(shuffle, stored):
    x, y = rows(40, dtype=stored)
    kept = list(Batches((x, y), batch_size=8, shuffle=shuffle).epoch(0))
    assert all(np.array_equal(b.x, x[b.y]) for b in kept)
    for i, a in enumerate(kept):
        assert not any(np.shares_memory(a.x, b.x) for b in kept[i + 1 :])


def test_views_of_the_source_cannot_be_written():
    x, y = rows(4)
    batch = next(Batches((x, y)).epoch(0))
    assert np.shares_memory(batch.x, x)
    with pytest.raises(ValueError, match="read-only"):
        batch.x += 1
    assert x.flags.writeable


def test_a_transform_may_write_and_the_source_stays():
    x, y = rows(10)
    before = x.copy()

    def shift(x, y):
        x += 100
        return x, y

    for source in ((x, y), [(x, y)], lambda: iter([(x, y)]), Batches((x, y))):
        for _ in range(2):
            got = np.concatenate([b.x for b in Batches(source, transform=shift).epoch(0)])
            assert np.array_equal(got, before + 100)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_iterable_that_reuses_its_buffer(prefetch):
    def reusing():
        buffer = np.empty((2, 3), np.float32)
        for k in range(5):
            buffer[:] = k
            yield buffer

    kept = list(Batches(reusing, prefetch=prefetch).epoch(0))
    assert [b.x[0, 0] for b in kept] == [0, 1, 2, 3, 4]


CAPPED = """
import resource, sys
limit = 1 << 30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import numpy as np
from chainrule.array.errors import DataError
from chainrule.data import Batches, check_x

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("RssAnon"))

try:  # the limit is in force: nobody can read this file as a whole
    np.empty(1_500_000_000, np.uint8)
    sys.exit("the limit is not in force")
except MemoryError:
    pass

start = anonymous()
x = np.memmap(sys.argv[1], np.float32, "r", shape=(250_000, 1500))
y = np.arange(250_000)
peak = 0
for shuffle in (False, True):
    for prefetch in (0, 2):
        batches = Batches((x, y), batch_size=64, shuffle=shuffle, prefetch=prefetch)
        assert len(batches) == 3907
        for batch in batches.epoch(0):
            assert batch.x.shape == (64, 1500) and not batch.x.any()
            peak = max(peak, anonymous())
            if batch.index == 100:
                break
try:
    check_x(x)
    sys.exit("the NaN was not found")
except DataError as error:
    message = str(error)
peak = max(peak, anonymous())
print(peak - start, message)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_file_larger_than_memory(tmp_path):
    """1.5 GB, sparse, under a limit of 1 GB: batches and the check, within some megabytes."""
    path = tmp_path / "x.f32"
    with open(path, "wb") as file:
        file.truncate(250_000 * 1500 * 4)
        file.seek((249_990 * 1500 + 7) * 4)
        file.write(np.float32(np.nan).tobytes())
    run = subprocess.run(
        [sys.executable, "-c", CAPPED, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    megabytes, message = run.stdout.split(maxsplit=1)
    assert int(megabytes) < 64
    assert "contains 1 non-finite value; the first is nan at row 249990, column 7" in message


# --- batches from elsewhere


def test_forms_of_batches():
    x, y = rows(4)
    w = np.ones(4)
    for item, parts in ((x, 1), ((x, y), 2), ([x, y], 2), ((x, y, w), 3), ((x.tolist(), y), 2)):
        (batch,) = Batches([item]).epoch(0)
        assert batch.x.dtype == np.float32
        assert [batch.x is None, batch.y is None, batch.weight is None].count(False) == parts


def test_sources_that_start_over():
    x, y = rows(4)

    class Reader:
        def __iter__(self):
            yield x, y
            yield x + 4, y

    for source in (Reader(), lambda: iter(Reader()), list(Reader())):
        batches = Batches(source)
        first, second = list(batches.epoch(0)), list(batches.epoch(1))
        assert len(first) == 2
        assert all_same(first, second)


def test_lengths_known_and_unknown():
    x, y = rows(4)
    assert len(Batches([(x, y)] * 3)) == 3
    unknown = Batches(lambda: iter([(x, y)]))
    assert unknown.n_batches is None
    assert unknown.n_samples is None
    with pytest.raises(TypeError, match="not known"):
        len(unknown)
    outer = Batches(Batches((x, y), batch_size=3))
    assert (outer.n_samples, outer.n_batches, outer.x_shape, outer.y_shape) == (4, 2, (3,), ())


def test_one_shot_iterators_are_refused_at_once():
    with pytest.raises(DataError, match=r"generator, which can be read only once.*list of batches"):
        Batches(x for x in [np.zeros((2, 2))])


def test_the_same_iterator_twice_is_noticed():
    once = iter([np.zeros((2, 2))])
    batches = Batches(lambda: once)
    assert len(list(batches.epoch(0))) == 1
    with pytest.raises(DataError, match=r"gave no batch.*make a new one"):
        list(batches.epoch(1))


def test_continuing_at_the_end_of_a_stream_gives_nothing():
    batches = Batches(lambda: iter([np.zeros((2, 2))]))
    assert list(batches.epoch(0, start_batch=1)) == []


def test_a_bad_batch_is_named():
    batches = Batches([np.zeros((2, 2)), (np.zeros((2, 2)), np.zeros(3))])
    with pytest.raises(
        DataError, match="batch 1: x has 2 rows but y has 3; every sample needs one"
    ):
        list(batches.epoch(0))


# --- transform


def test_transform_sees_the_cast_batch_and_is_cast_again():
    seen = []

    def scale(x):
        seen.append(x.dtype)
        return x.astype(np.float64) / 255

    x = np.full((3, 2), 255, np.uint8)
    (batch,) = Batches(x, transform=scale).epoch(0)
    assert seen == [np.float32]
    assert batch.x.dtype == np.float32
    assert (batch.x == 1).all()


def test_transform_passes_weights_through():
    x, y = rows(6)
    batches = Batches((x, y, y * 2.0), batch_size=4, transform=lambda x, y: (-x, y + 1))
    for b in batches.epoch(0):
        assert np.array_equal(b.x[:, 0], -3 * (b.y - 1))
        assert np.array_equal(b.weight, 2 * (b.y - 1))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda x, y: x, r"must return \(x, y\) as a tuple; batch 0 gave ndarray"),
        (lambda x, y: (x[:1], y), "transformed batch 0: x has 1 rows but y has 4"),
        (lambda x, y: None, "batch 0 gave NoneType"),
    ],
)
def test_transform_with_a_wrong_result(transform, message):
    with pytest.raises(DataError, match=message):
        next(Batches(rows(4), transform=transform).epoch(0))


# --- prefetch


def test_errors_arrive_in_their_turn():
    def transform(x, y):
        if y[0] == 4:
            raise OSError("disk")
        return x, y

    stream = Batches(rows(8), batch_size=2, transform=transform, prefetch=3).epoch(0)
    assert [next(stream).index, next(stream).index] == [0, 1]
    with pytest.raises(OSError, match="disk"):
        next(stream)


def test_no_thread_stays():
    before = threading.active_count()
    batches = Batches(rows(100), batch_size=2, prefetch=2, shuffle=True)
    for b in batches.epoch(0):
        if b.index == 3:
            break
    for _ in zip(batches, range(3), strict=False):
        pass
    next(Batches(batches, prefetch=1, transform=lambda x, y: (x, y)).epoch(0))
    assert list(batches.epoch(0))
    del b, _
    assert threading.active_count() == before


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, r"batch_size must be .* got 2\.5"),
        ({"prefetch": -1}, "prefetch must be an integer of at least 0"),
        ({"batch_size": 9, "drop_last": True}, "no batch: 4 rows are fewer than batch_size=9"),
        ({"sample_weight": [1.0, 2.0]}, "x has 4 rows but sample_weight has 2"),
    ],
)
def test_options_refused(options, message):
    with pytest.raises(DataError, match=message):
        Batches(rows(4), **options)


@pytest.mark.parametrize("option", ["shuffle", "drop_last", "sample_weight"])
def test_batches_cannot_be_rearranged(option):
    for source in ([np.zeros((2, 2))], Batches(rows(4))):
        with pytest.raises(DataError, match=f"{option} needs arrays"):
            Batches(source, **{option: True})


def test_weights_given_twice():
    x, y = rows(4)
    with pytest.raises(DataError, match="sample_weight came twice"):
        Batches((x, y, y), sample_weight=y)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0.5, 0)])
def test_epoch_and_start_are_counts(epoch, start):
    with pytest.raises(DataError, match="integer of at least 0"):
        Batches(rows(4)).epoch(epoch, start)


def test_empty_sources():
    with pytest.raises(DataError, match="no rows"):
        Batches(np.zeros((0, 3)))
    with pytest.raises(DataError, match="empty list"):
        Batches([])


def test_repr_says_what_it_holds():
    text = repr(Batches(rows(5), 2))
    assert "n_samples=5" in text
    assert "x_shape=(3,)" in text
    assert repr(Batches(lambda: iter([]))) == "Batches(n_batches=None)"
