from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.compile import schedule as scheduler
from chainrule.compile.kernel import Kernel
from chainrule.compile.schedule import kind_of, schedule
from chainrule.compile.trace import trace

F32 = np.dtype(np.float32)


def of(program, *shapes, **options):
    return schedule(program, [(s, F32) for s in shapes], **options)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((4, 3), "full"), ((4, 1), "row"), ((3,), "column"), ((1, 3), "column"),
        ((1, 1, 3), "column"), ((), "scalar"), ((1, 1), "scalar"), ((4,), None), ((2, 3), None),
        ((4, 2), None),
    ],
)  # fmt: skip
def test_how_an_array_lies_in_rows_and_columns(shape, kind):
    assert kind_of(shape, (4, 3)) == kind


def test_a_buffer_is_used_again_only_when_nothing_reads_it():
    def text(xp, x):
        a = xp.exp(x)
        b = xp.sin(a)
        return xp.cos(b) + a

    s = of(trace(text, ["x"]), (4, 3))
    ops = {step.expr.op: step for step in s.steps}
    assert ops["exp"].out is None
    assert ops["sin"].out is None  # a is read later
    assert ops["cos"].out is ops["sin"].expr
    assert ops["add"].out is not None


def test_a_view_keeps_the_memory_it_shows():
    def text(xp, x):
        a = xp.sum(xp.exp(x), axis=1, keepdims=True)  # (4, 1)
        flat = xp.squeeze(a, axis=1)
        return xp.sin(xp.tanh(xp.max(x, axis=1, keepdims=True))), flat

    x = np.arange(12.0).reshape(4, 3) / 10
    k = Kernel(trace(text, ["x"]))
    np.testing.assert_allclose(k(x)[1], np.exp(x).sum(1))

    def reused(xp, x):
        a = xp.exp(x)  # (4, 1), whose memory the squeezed result still shows
        return xp.squeeze(a, axis=1), xp.sin(xp.cos(x))

    x = np.arange(4.0).reshape(4, 1)
    a, b = Kernel(trace(reused, ["x"]))(x)
    np.testing.assert_array_equal(a, np.exp(x)[:, 0])
    np.testing.assert_array_equal(b, np.sin(np.cos(x)))


def test_buffers_are_shared_within_one_type_only():
    def text(xp, x, n):
        whole = xp.abs(n) + n  # int64
        return xp.exp(whole * x), whole

    x, n = np.ones(3, np.float32), np.arange(3)
    y, whole = Kernel(trace(text, ["x", "n"]))(x, n)
    assert (y.dtype, whole.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(y, np.exp([0, 2, 4]), rtol=1e-6)


def test_only_large_programs_run_in_blocks():
    program = trace(lambda xp, x: xp.exp(x), ["x"])
    assert of(program, (100, 100)).space is None
    space = of(program, (1000, 100)).space
    assert (space.rows, space.columns) == (100_000, 1)  # nothing but whole arrays: flat
    program = trace(lambda xp, x, b: xp.exp(x) + b, ["x", "b"])
    space = of(program, (1000, 100), (100,)).space
    assert (space.rows, space.columns, space.per_block) == (1000, 100, scheduler.BLOCK // 100)


@pytest.mark.parametrize(
    "text",
    [
        lambda xp, x: x - xp.mean(x, axis=0, keepdims=True),  # needs the rows twice
        lambda xp, x: x - xp.sum(x),
        lambda xp, x: xp.max(x, axis=0, keepdims=True) + 1.0,
        lambda xp, x: xp.sum(x, axis=-1) + 1.0,  # a shape that is neither row nor column
    ],
)
def test_programs_that_need_more_than_one_pass_stay_whole(text, monkeypatch):
    monkeypatch.setattr(scheduler, "BLOCK", 8)
    program = trace(text, ["x"])
    assert of(program, (40, 3)).space is None
    x = np.arange(120.0).reshape(40, 3)
    from chainrule.array.namespace import NUMPY

    np.testing.assert_allclose(Kernel(program)(x)[0], text(NUMPY, x))


# into: outputs in the memory of inputs


def adam(xp, p, g, m, v, lr, b1, b2, eps):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * (g * g)
    return p - lr * m / (xp.sqrt(v) + eps), m, v


ADAM = trace(adam, ["p", "g", "m", "v", "lr", "b1", "b2", "eps"])
INTO = {0: 0, 1: 2, 2: 3}


@pytest.mark.parametrize("block", [8, 32768])
@pytest.mark.parametrize("kind", [float, np.float32, lambda v: np.asarray(v, np.float32)])
def test_adam_in_place(monkeypatch, block, kind):
    monkeypatch.setattr(scheduler, "BLOCK", block)
    r = np.random.default_rng(0)
    p, g, m, v = (r.uniform(0.1, 1, 61).astype(np.float32) for _ in range(4))
    numbers = [kind(c) for c in (0.01, 0.9, 0.999, 1e-8)]
    fresh = Kernel(ADAM)(p, g, m, v, *numbers)
    was = g.copy()
    result = Kernel(ADAM, into=INTO)(p, g, m, v, *numbers)
    assert [a is b for a, b in zip(result, (p, m, v), strict=True)] == [True] * 3
    for a, b in zip(result, fresh, strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(g, was)


def test_adam_in_place_takes_no_memory_for_its_results():
    source = Kernel(ADAM, into=INTO).source(*[(100_000,)] * 4, *[()] * 4)
    for line in ("out=p_i)", "out=m_i)", "out=v_i)"):
        assert source.count(line) == 1
    assert "copyto" not in source
    assert "return p, m, v\n" in source
    source = Kernel(ADAM, into=INTO).source(*[(10,)] * 4, *[()] * 4)
    assert "copyto" not in source
    assert "out=p)" in source


@pytest.mark.parametrize("block", [8, 32768])
@pytest.mark.parametrize(
    ("text", "into"),
    [
        (lambda xp, a, b: (a + b, a - b), {0: 0, 1: 1}),  # a is read after its new value is known
        (lambda xp, a, b: (a - b, a + b), {0: 1, 1: 0}),
        (lambda xp, a, b: (b, a), {0: 0, 1: 1}),  # exchange
        (lambda xp, a, b: (b, a + 1.0), {0: 0}),
        (lambda xp, a, b: (a + b, a), {0: 0}),  # the old value is a result too
        (lambda xp, a, b: (a * b, a * b), {0: 0, 1: 1}),  # one value for two
        (lambda xp, a, b: (a * b, a * b, xp.sin(a * b)), {0: 0}),
        (lambda xp, a, b: (xp.ones_like(a), xp.zeros_like(b) + a), {0: 0, 1: 1}),
        (lambda xp, a, b: (a * 1.0, xp.lgamma(b * b + 1.0)), {0: 1, 1: 0}),
        (lambda xp, a, b: (xp.sigmoid(a), xp.erf(b)), {0: 0, 1: 1}),
        (lambda xp, a, b: (xp.where(a > b, a, 0.0), xp.where(a > b, 0.0, b)), {0: 1, 1: 0}),
        (lambda xp, a, b: (a / xp.sum(a * a, axis=-1, keepdims=True), a - b), {0: 0, 1: 1}),
    ],
)
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided"])
def test_every_output_comes_from_the_arguments_as_they_came(monkeypatch, block, text, into, layout):
    monkeypatch.setattr(scheduler, "BLOCK", block)
    program = trace(text, ["a", "b"])
    r = np.random.default_rng(4)

    def make():
        x = r.normal(
            size=(3, 17) if layout == "transposed" else (17, 6 if layout == "strided" else 3)
        )
        return x.T if layout == "transposed" else x[:, ::2] if layout == "strided" else x

    a, b = make(), make()
    expected = Kernel(program)(a, b)
    arrays = [a, b]
    was = [x.copy() for x in arrays]
    result = Kernel(program, into=into)(a, b)
    for k, y in enumerate(result):
        np.testing.assert_allclose(y, expected[k], rtol=1e-14)
        if k in into:
            assert y is arrays[into[k]]
        else:
            assert not any(np.may_share_memory(y, x) for x in arrays)
    for j, x in enumerate(arrays):
        if j not in into.values():
            np.testing.assert_array_equal(x, was[j])


@pytest.mark.parametrize("block", [8, 32768])
def test_a_small_output_into_a_small_input(monkeypatch, block):
    monkeypatch.setattr(scheduler, "BLOCK", block)

    def text(xp, x, b, n):
        return x - b, b + xp.sum_to(x, b), n + 1.0

    x, b, n = np.ones((20, 3)), np.arange(3.0), np.array(4.0)
    result = Kernel(trace(text, ["x", "b", "n"]), into={0: 0, 1: 1, 2: 2})(x, b, n)
    assert all(r is a for r, a in zip(result, (x, b, n), strict=True))
    np.testing.assert_array_equal(x, 1 - np.tile(np.arange(3.0), (20, 1)))
    np.testing.assert_array_equal(b, [20, 21, 22])
    assert n == 5


def test_an_output_that_does_not_fit_its_input_says_so():
    k = Kernel(trace(lambda xp, x, b: (x + b,), ["x", "b"], "f"), into={0: 1})
    with pytest.raises(
        ValueError, match=r"f: output 0 has shape \(2, 3\) .* b, which is of shape \(3,\)"
    ):
        k(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ValueError, match="b, which is a Python float"):
        k(np.ones(()), 1.0)
    with pytest.raises(ValueError, match="two outputs cannot go into one input"):
        Kernel(k.program, into={0: 0, 1: 0})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("block", [8, 32768])
def test_random_programs_in_place_and_with_donated_inputs(programs, data, block):
    trees = [data.draw(programs.any) for _ in range(2)]
    text = programs.text(*trees)

    def full(xp, *inputs):
        return tuple(xp.broadcast_to(y, inputs[0]) for y in text(xp, *inputs))

    program = trace(full, programs.names)
    arrays = programs.arrays(rows=11, columns=3)
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        expected = Kernel(program)(*arrays)
        patch.setattr(scheduler, "BLOCK", block)
        for order in itertools.permutations((0, 1)):
            copies = [a.copy() for a in arrays]
            into = dict(enumerate(order))
            result = Kernel(program, into=into)(*copies)
            for k, j in into.items():
                assert result[k] is copies[j]
                np.testing.assert_allclose(result[k], expected[k], rtol=1e-9, atol=1e-9)
        result = Kernel(program, donated=(0, 1))(*[a.copy() for a in arrays])
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
