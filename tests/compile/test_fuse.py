"""Which steps run together: numbers of kernels, and that each computes what it stands for.

CHAINRULE_LONG=1 tries ten thousand random steps instead of a hundred and fifty.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.array.numerics import sum_to
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile import fuse, native
from chainrule.compile.expression import Expr
from chainrule.compile.fuse import Fusion, Group, is_leaf
from chainrule.compile.graph import Graph
from chainrule.compile.place import LIVE
from chainrule.compile.recorder import Recorder
from chainrule.compile.schedule import kind_of
from chainrule.compile.trace import trace
from tests_layout import Machine
from tests_programs import Script, scripts

nn, ops, optim = cr.nn, cr.ops, cr.optim
MANY = 10_000 if os.environ.get("CHAINRULE_LONG") else 150

R = np.random.default_rng(0)
X = R.normal(size=(32, 64)).astype(np.float32)
Y = R.integers(0, 10, 32)


# -- what graphs mean -----------------------------------------------------------------------------


def evaluate(e: Any, memo: dict[Any, Any], shapes: Any, dtypes: Any) -> Any:
    """The value of an expression, by NumPy, step by step."""
    stack = [e]
    while stack:
        x = stack[-1]
        waiting = [a for a in getattr(x, "args", ()) if isinstance(a, Expr) and a not in memo]
        if not isinstance(x, Expr) or x in memo:
            stack.pop()
        elif waiting:
            stack += waiting
        else:
            args = [memo[a] if isinstance(a, Expr) else a for a in x.args]
            with np.errstate(all="ignore"):
                value = _step(x.op, args, dict(x.attrs), shapes[x])
            dtype = dtypes[x] if isinstance(dtypes[x], np.dtype) else None
            memo[x] = np.broadcast_to(np.asarray(value, dtype), shapes[x])
            stack.pop()
    return memo[e] if isinstance(e, Expr) else e


def _step(op: str, args: Any, attrs: Any, shape: Any) -> Any:
    match op:
        case "region":
            flat = np.ravel(args[0])
            return flat[attrs["offset"] :][: int(np.prod(shape, dtype=int))].reshape(shape)
        case "reshape" | "squeeze" | "expand_dims":
            return np.reshape(args[0], shape)
        case "permute":
            return np.transpose(args[0], attrs["axes"])
        case "product":
            return args[0] @ args[1]
        case "slice":
            return args[0][tuple(slice(*s) for s in attrs["slices"])]
        case "place":
            out = np.zeros(shape, args[0].dtype)
            out[tuple(slice(*s) for s in attrs["slices"])] = args[0]
            return out
        case "concat":
            return np.concatenate(args, attrs["axis"])
        case "sum_to":
            return sum_to(args[0], shape)
        case "broadcast_to" | "full" | "cast" | "copy" | "count":
            return args[0]
        case "one_hot":
            form = [-1 if a == attrs["axis"] else 1 for a in range(len(shape))]
            return args[0] == np.arange(shape[attrs["axis"]]).reshape(form)
        case "sum" | "max":
            reduce = np.add.reduce if op == "sum" else np.maximum.reduce
            return reduce(args[0], axis=attrs["axis"], keepdims=attrs["keepdims"])
        case _:
            return PRIMITIVES[op].numpy(*args, **attrs)


def check(fusion: Fusion, given: dict[Any, Any]) -> None:
    """Every kernel has one space, reads what is there by then, and computes its outputs."""
    g, values = fusion.graph, dict(given)
    for e in fusion.steps:
        evaluate(e, values, g.shapes, g.dtypes)
    there = {e for e in fusion.steps if is_leaf(e)}
    for node in fusion.order:
        if not isinstance(node, Group):
            assert {a for a in node.args if isinstance(a, Expr)} <= there, node
            there.add(node)
            continue
        low = node.program
        assert low is not None
        assert set(node.operands) <= there, "a kernel reads what is not written yet"
        assert there.isdisjoint(node.outputs), "something is computed twice"
        for e in low.order():
            inner = [e, *(a for a in e.args if isinstance(a, Expr))]
            assert all(kind_of(low.shapes[a], node.space) for a in inner), (e, node.space)
        memo = {x: values[o] for x, o in zip(low.inputs, node.operands, strict=True)}
        for program, output in zip(low.outputs, node.outputs, strict=True):
            found = evaluate(program, memo, low.shapes, low.dtypes)
            np.testing.assert_array_equal(found, values[output])
        there.update(node.outputs)
    assert set(fusion.roots) <= there


# -- small graphs ---------------------------------------------------------------------------------


class Drawing:
    def __init__(self) -> None:
        self.graph, self.values = Graph(), {}

    def input(self, *shape: int, dtype: Any = np.float32, top: int = 0) -> Any:
        x = self.graph.input(f"x{len(self.values)}", shape, dtype)
        r = np.random.default_rng(len(self.values))
        self.values[x] = (
            r.integers(0, top, shape).astype(dtype) if top else r.normal(size=shape).astype(dtype)
        )
        return x

    def apply(self, text: Any, *xs: Any) -> Any:
        names = [f"a{k}" for k in range(len(xs))]
        kinds = [(self.graph.shapes[x], self.graph.dtypes[x]) for x in xs]
        results = self.graph.call(trace(text, names, text.__name__), xs, kinds)
        return results if len(results) > 1 else results[0]

    def fuse(self, *roots: Any) -> list[Group]:
        fusion = Fusion(self.graph, roots)
        check(fusion, self.values)
        return [n for n in fusion.order if isinstance(n, Group)]


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def scale(xp, x):
    return 2.0 * x


def total(xp, x):
    return xp.sum(x)


def column_sum(xp, x):
    return xp.sum(x, axis=0)


def add(xp, a, b):
    return a + b


def test_elementwise_steps_are_one_kernel():
    d = Drawing()
    x, b = d.input(4, 3), d.input(3)
    y = d.apply(add, x, b)
    (kernel,) = d.fuse(d.apply(scale, y), d.apply(add, d.apply(scale, y), x), y)
    assert kernel.space == (4, 3)
    assert len(kernel.outputs) == 3
    assert set(kernel.operands) == {x, b}


def test_softmax_and_the_sum_over_its_rows_are_one_kernel():
    d = Drawing()
    y = d.apply(softmax, d.input(5, 7))
    (kernel,) = d.fuse(y, d.apply(column_sum, y), d.apply(total, y))
    assert kernel.space == (5, 7)


def test_sums_over_the_rows_are_apart_where_a_kernel_is_worth_several_threads(monkeypatch):
    """Rows are reduced by one kernel, which rows cut; over rows sums another, which columns cut."""
    for least, kernels in ((5 * 7 + 1, 1), (5 * 7, 2)):
        monkeypatch.setattr(fuse, "_SHARED", least)
        d = Drawing()
        y = d.apply(softmax, d.input(5, 7))
        found = d.fuse(y, d.apply(column_sum, y), d.apply(column_sum, d.apply(scale, y)))
        assert len(found) == kernels
        assert all(k.space == (5, 7) for k in found)


def test_a_large_kernel_that_only_sums_over_the_rows_stays_one(monkeypatch):
    monkeypatch.setattr(fuse, "_SHARED", 1)
    d = Drawing()
    y = d.apply(add, d.input(5, 7), d.input(5, 7))
    (kernel,) = d.fuse(y, d.apply(column_sum, y))
    assert len(kernel.outputs) == 2


def test_what_needs_a_sum_over_the_rows_is_a_later_kernel():
    d = Drawing()
    x = d.input(5, 7)
    centred = d.apply(add, x, d.apply(scale, d.apply(column_sum, x)))
    first, second = d.fuse(centred)
    assert first.outputs[0] in [x, *(a for o in second.operands for a in o.args)]
    assert first.level < second.level


def test_cheap_values_are_computed_again_and_expensive_ones_stored():
    d = Drawing()
    x, w = d.input(6, 4), d.input(4, 6)
    cheap = d.apply(scale, x)
    late = d.apply(add, cheap, d.graph.product(d.graph.product(x, w), x))
    (kernel,) = d.fuse(late)
    assert x in kernel.operands
    assert cheap not in kernel.operands
    d = Drawing()
    x, w = d.input(6, 4), d.input(4, 6)
    dear = d.apply(softmax, x)
    late = d.apply(add, dear, d.graph.product(d.graph.product(dear, w), x))
    early, kernel = d.fuse(late)
    assert dear in early.outputs
    assert dear in kernel.operands


def test_two_spaces_are_two_kernels():
    d = Drawing()
    x, y = d.input(5, 7), d.input(3, 2)
    assert len(d.fuse(d.apply(scale, x), d.apply(scale, y))) == 2
    wide = d.input(5, 7, dtype=np.float64)
    assert len(d.fuse(d.apply(scale, x), d.apply(scale, wide))) == 2


def test_names_say_which_formulas():
    d = Drawing()
    x = d.input(5, 7)
    (kernel,) = d.fuse(d.apply(softmax, d.apply(add, x, d.input(7))))
    assert kernel.program is not None
    assert kernel.program.name == "softmax"
    assert kernel.formulas == ["add", "softmax"]
    (kernel,) = d.fuse(d.apply(add, x, x))
    assert kernel.program.name == "add"


def test_labels_and_booleans():
    d = Drawing()
    x, labels = d.input(5, 7), d.input(5, 1, dtype=np.int64, top=7)

    def picked(xp, x, y):
        return xp.sum(xp.where(xp.one_hot(y, x), x, 0.0), axis=-1, keepdims=True)

    (kernel,) = d.fuse(d.apply(picked, x, labels))
    assert set(kernel.operands) == {x, labels}


#: entries from which on a kernel is shared out: as it is, and so few that all are
shared = pytest.mark.parametrize("least", [fuse._SHARED, 1])


@shared
@settings(max_examples=MANY)
@given(scripts)
def test_random_steps(least: int, actions: Any) -> None:
    script = Script(actions)
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(script.arguments)]
    values = script.run(symbols, recorder)
    roots = [v.expr for v in values if hasattr(v, "expr")]
    roots += [e for pieces in recorder.written.values() for _, _, e in pieces]
    given = {s.expr: a for s, a in zip(symbols, script.arguments, strict=True)}
    for k, base in enumerate(recorder.bases):
        given[recorder._flat(k)] = base
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "_SHARED", least)
        check(Fusion(recorder.graph, roots), given)


@shared
@settings(max_examples=MANY)
@given(st.data())
def test_random_formulas(programs: Any, least: int, data: Any) -> None:
    trees = data.draw(st.lists(programs.any, min_size=1, max_size=3))
    graph = Graph()
    arrays = programs.arrays(dtype=np.float32)
    inputs = [graph.input(n, a.shape, a.dtype) for n, a in zip(programs.names, arrays, strict=True)]
    program = trace(programs.text(*trees), programs.names)
    outputs = graph.call(program, inputs, [(a.shape, a.dtype) for a in arrays])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "_SHARED", least)
        fusion = Fusion(graph, outputs)
    check(fusion, dict(zip(inputs, arrays, strict=True)))


# -- steps of training ----------------------------------------------------------------------------


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What gives the layout of a step, without compiling it."""
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    monkeypatch.setattr(native, "available", lambda: True)
    monkeypatch.setattr(native, "plan", lambda *a, **k: lambda *xs: NotImplemented)
    monkeypatch.setattr("chainrule.compile.kernel.native_plan", lambda *a: None)

    def of(step: Any, *args: Any) -> Any:
        captured = cr.capture(step)
        captured(*args)
        (program,) = captured.programs()
        Machine(program.replay.layout).run()
        return program.replay.layout

    return of


def kernels(layout: Any) -> list[Any]:
    return [i.node for i in layout.instructions if i.kind == "kernel"]


def test_the_usual_step_is_four_kernels(layout: Any) -> None:
    """Bias with activation; the loss with its gradient and that of the bias; the derivative of the
    activation with the gradient of its bias; the optimizer with weight decay."""
    model = nn.Sequential(nn.Dense(64, 100), nn.GELU(), nn.Dense(100, 10))
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    found = layout(step, X, Y)
    forward, loss, backward, update = kernels(found)
    assert forward.formulas[0] == "bias_gelu"
    assert forward.space == (32, 100)
    assert "cross_entropy" in loss.formulas
    assert "cross_entropy_vjp" in loss.formulas
    assert "bias_vjp" in loss.formulas
    assert loss.space == (32, 10)
    assert backward.space == (32, 100)
    assert len([o for o in backward.outputs if found.bytes(o) == 4 * 100]) == 1
    assert update.space == (64 * 100 + 100 + 100 * 10 + 10,)
    assert [i.kind for i in found.instructions if i.kind != "kernel"].count("product") == 5
    assert {i.kind for i in found.instructions} <= {"kernel", "product", "several"}


def test_clipping_and_weight_decay_are_part_of_the_one_pass_of_adam(layout: Any) -> None:
    model = nn.Sequential(nn.Dense(64, 100), nn.ReLU(), nn.Dense(100, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optim.clip_grad_value(model.parameters(), 0.5)
        optimizer.step()
        return loss

    found = layout(step, X, Y)
    size = 64 * 100 + 100 + 100 * 10 + 10
    flat = [n for n in kernels(found) if n.space == (size,)]
    assert len(flat) == 3  # the largest entry, the sum of squares, and the update
    update = flat[-1]
    assert {"clip_norm", "clip_value", "adam"} <= set(update.formulas)
    writes = [w for w in found.writes if found.bytes(w.target) == 4 * size]
    assert {found.at[found.root(w.value)][0] for w in writes} == {LIVE}
    assert all(w.value in update.outputs for w in writes if w.value.op != "concat")


def test_dropout_is_part_of_the_kernels_around_it(layout: Any) -> None:
    model = nn.Sequential(nn.Dense(64, 100), nn.ReLU(), nn.Dropout(0.2), nn.Dense(100, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    found = layout(step, X, Y)
    assert len(kernels(found)) == 4
    assert sum(i.kind == "random" for i in found.instructions) == 1


def test_tanh_is_computed_once(layout: Any) -> None:
    model = nn.Sequential(nn.Dense(64, 100), nn.Tanh(), nn.Dense(100, 10))
    found = layout(lambda x, y: ops.cross_entropy(model(x), y).backward(), X, Y)
    steps = [e.op for n in kernels(found) for e in n.program.order()]
    assert steps.count("tanh") == 1
