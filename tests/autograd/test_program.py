"""Replays: they allocate nothing but their results, which never change afterwards."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.random import Stream, default_stream, use_stream

nn, ops, optim = cr.nn, cr.ops, cr.optim

R = np.random.default_rng(0)
X = R.normal(size=(256, 64)).astype(np.float32)
Y = R.integers(0, 10, 256)


def training() -> Any:
    model = nn.Sequential(nn.Dense(64, 100), nn.ReLU(), nn.Dropout(0.2), nn.Dense(100, 10))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        out = model(x)
        loss = ops.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        return loss, out

    return model, cr.capture(step)


def numpy_blocks() -> tuple[int, int]:
    """How many arrays NumPy holds, and their bytes."""
    gc.collect()
    domain = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([domain]).traces
    return len(traces), sum(t.size for t in traces)


@pytest.fixture
def traced() -> Any:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_a_replay_allocates_its_results_alone(executor: str, traced: Any) -> None:
    _, step = training()
    for _ in range(3):
        step(X, Y)
    if executor == "numpy":
        pytest.skip("NumPy's calls allocate what they return")
    count, size = numpy_blocks()
    results = [step(X, Y) for _ in range(20)]
    more, larger = numpy_blocks()
    kept = sum(r._data.nbytes for pair in results for r in pair)
    assert (more - count, larger - size) == (40, kept)
    result = step(X, Y)[1]._data.nbytes
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step(X, Y)
    # nothing else for a moment either: an array of the hidden layer has 102,400 bytes
    assert tracemalloc.get_traced_memory()[1] - before < result + 4096


def test_memory_does_not_grow(executor: str, traced: Any) -> None:
    _, step = training()
    x, y = X[:4], Y[:4]
    for _ in range(10):
        step(x, y)
    before = numpy_blocks(), tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        step(x, y)
    after = numpy_blocks(), tracemalloc.get_traced_memory()[0]
    assert after[0] == before[0]
    assert after[1] - before[1] < 20_000


def test_one_workspace_serves_every_run(executor: str) -> None:
    if executor == "numpy":
        pytest.skip("NumPy has none")
    step = cr.capture(lambda x: ops.softmax(ops.tanh(x @ x.T) @ x))
    for _ in range(50):
        step(cr.tensor(X[:16]))
    (program,) = step.programs()
    assert program.replay.run.frames == 1
    assert program.replay.run.workspace > 0


def test_nothing_is_kept_of_a_step_that_is_gone(executor: str) -> None:
    model, step = training()
    for _ in range(4):
        step(X, Y)
        with cr.no_grad():
            model(X)
    watched = [weakref.ref(o) for o in (model, step, *model.parameters())]
    del model, step
    gc.collect()
    assert [w() for w in watched] == [None] * 6


def test_results_are_nobody_elses_memory(executor: str) -> None:
    """Kept results are what they were after many more steps, and no two share memory."""
    model, step = training()
    kept = []
    for k in range(8):
        loss, out = step(X + k, Y)
        weights = [p.grad for p in model.parameters()]
        kept += [(t, t.numpy()) for t in (loss, out, *weights)]
    for t, values in kept:
        np.testing.assert_array_equal(t.numpy(), values)
    arrays = [t._data for t, _ in kept]
    live = [a for p in model.parameters() for a in (p._data, p._grad)]
    for i, a in enumerate(arrays):
        assert a.flags.owndata
        assert not any(np.may_share_memory(a, b) for b in (*arrays[:i], *live, X))


def test_arguments_and_parameters_returned_are_copies(executor: str) -> None:
    class Two(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(np.arange(6, dtype=np.float32).reshape(2, 3))

    model = Two()

    def step(x):
        t, w = cr.tensor(x), model.w
        old = w.detach()
        w.assign(w.detach() + 1.0)
        rows = ops.squeeze(ops.expand_dims(w, axis=0), axis=0)
        return x, t, t.reshape(-1), t.T, t[1:], old, w, w.detach(), w[1], rows, x[:1]

    step = cr.capture(step)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for k in range(5):
        results = step(x)
        for r in results:
            a = r._data if isinstance(r, cr.Tensor) else r
            assert not np.shares_memory(a, x)
            assert not np.shares_memory(a, model.w._data)
        np.testing.assert_array_equal(results[5].numpy(), np.arange(6).reshape(2, 3) + k)
        for n in (6, 7, 9):
            np.testing.assert_array_equal(results[n].detach().numpy(), results[5].numpy() + 1)
    assert step.reason is None


def test_a_borrowed_cotangent_is_copied(executor: str) -> None:
    """Where the gradient of a sum is the cotangent itself, the result is still no argument."""
    b = nn.Parameter(np.zeros((3, 2), np.float32))

    def step(x, g):
        b.grad = None
        (cr.tensor(x) + b).backward(cr.tensor(g))
        return b.grad

    step = cr.capture(step)
    x = np.ones((3, 2), np.float32)
    for _ in range(4):
        g = step(x, x)
        assert not np.shares_memory(g._data, x)
        assert not np.shares_memory(g._data, b._grad)


def test_gradients_of_plain_tensors_are_fresh(executor: str) -> None:
    w = cr.tensor(np.ones(3, np.float32), requires_grad=True)

    def step(x):
        w.grad = None
        (w * cr.tensor(x)).sum().backward()

    step = cr.capture(step)
    grads = []
    for k in range(5):
        step(np.full(3, k, np.float32))
        grads.append(w.grad)
    assert [g.numpy()[0] for g in grads] == [0, 1, 2, 3, 4]


Pair = namedtuple("Pair", "loss extra")


def test_the_structure_of_a_result_is_kept():
    @cr.capture
    def step(x):
        t = cr.tensor(x)
        return {
            "pair": Pair(t.sum(), (1, "a", None)),
            "list": [x, {"deep": t.mean()}],
            7: (),
            "module": nn,
        }

    eager = step.step(X)
    for _ in range(4):
        result = step(X)
        assert list(result) == list(eager)
        assert type(result["pair"]) is Pair
        assert result["pair"].extra == (1, "a", None)
        assert type(result["list"]) is list
        assert type(result["list"][0]) is np.ndarray
        assert isinstance(result["list"][1]["deep"], cr.Tensor)
        assert result[7] == ()
        assert result["module"] is nn
    assert step.reason is None


def test_a_replay_draws_from_the_stream_in_force(executor: str) -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    step = cr.capture(lambda x: model(cr.tensor(x)))
    x = np.ones((8, 8), np.float32)
    for seed in (1, 2, 1):
        eager, captured = [], []
        with use_stream(Stream(seed)) as stream:
            eager = [model(cr.tensor(x)).numpy() for _ in range(4)]
            drawn = stream.state()
        with use_stream(Stream(seed)) as stream:
            captured = [step(x).numpy() for _ in range(4)]
            assert stream.state() == drawn
        np.testing.assert_array_equal(eager, captured)
    counters = default_stream().state()["counters"]
    assert counters == {}


def test_the_comparison_takes_back_its_own_draws_only(executor: str) -> None:
    """Other threads may draw from the stream meanwhile."""
    model = nn.Sequential(nn.Dropout(0.5))
    stream = default_stream()

    def step(x):
        return model(cr.tensor(x))

    captured = cr.capture(step)
    run = cr.autograd.program.Program.try_out

    def meanwhile(program: Any, args: Any) -> Any:
        found = program.replay.run

        def and_draw(*arrays: Any) -> Any:
            stream.bits("another thread", 1)
            return found(*arrays)

        program.replay.run = and_draw
        try:
            return run(program, args)
        finally:
            program.replay.run = found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cr.autograd.program.Program, "try_out", meanwhile)
        for _ in range(4):
            captured(X)
    assert stream.state()["counters"]["another thread"] == 2


def test_versions_count_as_in_the_eager_step(executor: str) -> None:
    model, step = training()
    for k in range(6):
        step(X, Y)
        assert [p._version for p in model.parameters()] == [k + 1] * 4
