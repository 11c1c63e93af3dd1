"""What cannot be captured, and what errors leave behind."""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import itertools
import random
import time
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError, ShapeError, StaleGraphError
from chainrule.array.random import default_stream
from chainrule.compile.symbolic import CaptureError
from tests_steps import assert_equal_to_eager, difference, run, state_of

nn, ops, optim = cr.nn, cr.ops, cr.optim

R = np.random.default_rng(0)
X = R.normal(size=(12, 6)).astype(np.float32)
Y = R.integers(0, 4, 12)


def net(*layers: Any, depth: int = 1) -> Any:
    hidden = [m for _ in range(depth - 1) for m in (nn.Dense(5, 5), nn.Tanh())]
    return nn.Sequential(nn.Dense(6, 5), nn.Tanh(), *hidden, *layers, nn.Dense(5, 4))


def adam(parameters: Any) -> Any:
    return optim.Adam(parameters, lr=0.01)


def step_of(model: Any, optimizer: Any) -> Any:
    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


# -- what cannot be captured ----------------------------------------------------------------------


def line_of(function: Any) -> str:
    """``file:line`` of the line marked with ``# here``."""
    lines, first = inspect.getsourcelines(inspect.unwrap(function))
    (k,) = [k for k, line in enumerate(lines) if "# here" in line]
    return f"{inspect.getsourcefile(function)}:{first + k}"


def item(x, model):
    loss = model(x).sum()
    return loss * loss.item()  # here


def to_numpy(x, model):
    out = model(x)
    return np.linalg.norm(out.detach().numpy())  # here


def branch(x, model):
    loss = model(x).mean()
    if loss > 0:  # here
        return loss
    return -loss


def truth_of_an_array(x, model):
    return model(x) if (x > 0).all() else model(-x)  # here


def as_float(x, model):
    return model(x) * float(x[0, 0])  # here


def loop(x, model):
    return sum(model(row[None]).sum() for row in x)  # here


def written_into(x, model):
    x = x.copy()
    x[0] = 0.0  # here
    return model(x)


def foreign_function(x, model):
    return model(x * np.linalg.norm(x))  # here


def method_of_an_array(x, model):
    return model(x - x.mean(axis=0))  # here


def mask(x, model):
    out = model(x)
    return out[out.detach()._data > 0].sum()  # here


def labels_made_inside(x, model):
    return ops.cross_entropy(model(x), (x[:, 0] > 0).astype(np.int64))  # here


def value_of_a_parameter(x, model):
    return model(x) * float(model[0].weight.detach().numpy()[0, 0])  # here


def drawn(x, model):
    noise = default_stream().normal("noise", x.shape, std=1e-5)  # here
    return model(x + noise)


def norm_of_another_order(x, model):
    model.zero_grad()
    model(x).sum().backward()
    return cr.tensor(optim.clip_grad_norm(model.parameters(), 1.0, norm_type=1))  # here


REFUSED = [
    item, to_numpy, branch, truth_of_an_array, as_float, loop, written_into, foreign_function,
    method_of_an_array, mask, labels_made_inside, value_of_a_parameter, drawn,
    norm_of_another_order,
]  # fmt: skip


@pytest.mark.parametrize("f", REFUSED, ids=lambda f: f.__name__)
def test_what_needs_a_value_names_the_line_and_runs_eagerly(f: Any, executor: str) -> None:
    def make() -> Any:
        model = net()
        return [model], functools.partial(f, model=model), [(X,)] * 4

    with pytest.warns(RuntimeWarning, match="cannot be captured and runs eagerly") as caught:
        step = assert_equal_to_eager(make, captured=False)
    assert len(caught) == 1, [str(w.message) for w in caught]
    assert line_of(f) in str(caught[0].message)
    assert line_of(f) in step.reason
    assert caught[0].filename.endswith("tests_steps.py")  # the line that called the step
    assert list(step.programs()) == []


def test_an_ignored_label_among_the_classes_runs_eagerly(executor: str) -> None:
    def make() -> Any:
        model = net()
        return [model], lambda x, y: ops.cross_entropy(model(x), y, ignore_index=2), [(X, Y)] * 4

    with pytest.warns(RuntimeWarning, match="ignore_index 2"):
        assert_equal_to_eager(make, captured=False)


def test_ignored_labels_run_eagerly_as_long_as_there_are_some(executor: str) -> None:
    ignored = Y.copy()
    ignored[3] = -100

    def make() -> Any:
        model = net()
        optimizer = adam(model.parameters())
        batches = [(X, Y)] * 3 + [(X, ignored)] * 2 + [(X, Y)] * 2
        return [model, optimizer], step_of(model, optimizer), batches

    assert_equal_to_eager(make)


def _random_of_numpy(x: Any) -> Any:
    return cr.tensor(x) + np.random.normal(size=x.shape).astype(np.float32)  # noqa: NPY002


def _random_of_python(x: Any) -> Any:
    return cr.tensor(x) * random.random()


def _clock(x: Any) -> Any:
    return cr.tensor(x), time.perf_counter()


def _of_any_length(x: Any) -> Any:
    return [cr.tensor(x)] * next(_LENGTHS)


_LENGTHS = itertools.cycle([1, 2, 3])


@pytest.mark.parametrize("f", [_random_of_numpy, _random_of_python, _clock, _of_any_length])
def test_what_changes_unseen_is_found_by_the_comparison(f: Any, executor: str) -> None:
    step = cr.capture(f)
    with pytest.warns(RuntimeWarning, match="a replay did not compute what the step computes"):
        results = [step(X) for _ in range(3)]
    assert list(step.programs()) == []
    assert step.reason is not None
    if f is _of_any_length:
        assert [len(r) for r in results] != [len(results[0])] * 3
    else:
        last = [r[1] if isinstance(r, tuple) else float(r.numpy()[0, 0]) for r in results]
        assert len(set(last)) == 3


def test_what_a_step_changes_in_python_is_said_by_name_and_changes_once():
    count, total, window = 0, [], collections.deque(maxlen=2)
    table: dict[str, Any] = {"seen": {1, 2}}

    def counting(x):
        nonlocal count
        count += 1
        return cr.tensor(x) * count

    def appending(x):
        total.append(x)
        return cr.tensor(x)

    def rolling(x):
        window.append(x[0, 0])
        return cr.tensor(x)

    def noting(x):
        table["seen"].add(len(table["seen"]) + 1)
        table["new"] = x
        return cr.tensor(x)

    for f, name in (
        (counting, "count"), (appending, "total"), (rolling, "window"), (noting, "table")
    ):  # fmt: skip
        step = cr.capture(f)
        with pytest.warns(RuntimeWarning, match=f"it changes {name}, which a replay would not"):
            step(X)
        for _ in range(4):
            step(X)
    assert count == 5
    assert len(total) == 5
    assert table["seen"] == {1, 2, 3, 4, 5, 6, 7}
    assert all(type(x) is np.ndarray for x in (*total, table["new"]))
    assert list(window) == [X[0, 0]] * 2


_CALLS = 0


def test_a_global_that_a_step_changes():
    def step(x):
        global _CALLS
        _CALLS += 1
        return cr.tensor(x)

    captured = cr.capture(step)
    with pytest.warns(RuntimeWarning, match="it changes _CALLS"):
        captured(X)
    assert _CALLS == 1


def test_a_number_that_somebody_else_changes_at_every_call():
    scale = {"now": 1.0}
    step = cr.capture(lambda x: cr.tensor(x) * scale["now"])

    def calls() -> None:
        for k in range(8):
            scale["now"] = k + 1.0
            assert step(X).numpy()[0, 0] == X[0, 0] * np.float32(k + 1)

    with pytest.warns(RuntimeWarning, match="scale changes at every call"):
        calls()


class Remembers(nn.Module):
    """Does in forward what a replay would not."""

    def __init__(self):
        self.calls, self.seen, self.setting = 0, [], {"scale": 2.0}

    def forward(self, x):
        self.calls += 1
        self.last = x
        self.seen.append(x)
        return self.setting["scale"] * x


def test_attributes_changed_in_forward():
    model = Remembers()
    step = cr.capture(lambda x: model(cr.tensor(x)))
    with pytest.warns(RuntimeWarning, match="it changes attributes of a module"):
        step(X)
    for n in range(2, 5):
        step(X)
        assert model.calls == len(model.seen) == n
    assert all(isinstance(t._data, np.ndarray) for t in (model.last, *model.seen))


def test_an_attribute_changed_in_place_between_calls():
    class Scaled(nn.Module):
        def __init__(self):
            self.setting = {"deep": [2.0]}

        def forward(self, x):
            return self.setting["deep"][0] * x

    model = Scaled()
    step = cr.capture(lambda x: model(cr.tensor(x)))
    for k in range(9):
        if k % 3 == 0:
            model.setting["deep"][0] = k + 1.0
        np.testing.assert_array_equal(step(X).numpy(), (k - k % 3 + 1) * X)
    assert step.reason is None


def test_a_step_may_set_the_mode_of_its_model(executor: str) -> None:
    def make() -> Any:
        model = net(nn.Dropout(0.5))
        optimizer = adam(model.parameters())

        def step(x, y):
            model.train()
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        def batches() -> Any:
            for k in range(40):
                if k % 4 == 0:  # a measurement after each epoch
                    model.eval()
                yield X, Y

        return [model, optimizer], step, batches()

    step = assert_equal_to_eager(make)
    assert len(list(step.programs())) == 1


def test_a_hook_runs_at_every_call():
    model, seen = net(), []
    step = cr.capture(lambda x: model(x))
    for _ in range(4):
        step(X)
    assert len(list(step.programs())) == 1
    hook = model[1].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    with pytest.warns(RuntimeWarning, match="Tanh has a hook"):
        step(X)
    seen.clear()
    for _ in range(3):
        step(X)
    assert seen == [(12, 5)] * 3
    hook.remove()
    assert step(X).shape == (12, 4)
    assert len(seen) == 3


def test_two_optimizers_of_the_same_parameters_run_eagerly(executor: str) -> None:
    def make() -> Any:
        model = net()
        first, second = adam(model.parameters()), optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            first.zero_grad()
            loss = ops.cross_entropy(model(x), y)
            loss.backward()
            first.step()
            second.step()
            return loss

        return [model, first, second], step, [(X, Y)] * 8

    with pytest.warns(
        RuntimeWarning, match="SGD gathers its parameters anew, at every call|Adam gathers"
    ):
        assert_equal_to_eager(make, captured=False)


def test_arguments_it_does_not_take():
    step = cr.capture(lambda pair: cr.tensor(pair[0]) * 2.0)
    with pytest.warns(RuntimeWarning, match="argument 1 is a tuple that holds arrays"):
        step((X, Y))
    for k in range(40):  # said once, whatever comes
        assert step((X + k, Y)).numpy()[0, 0] == (X + k)[0, 0] * 2

    step = cr.capture(lambda t: (t * 2.0).sum())
    t = cr.tensor(X, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="an argument requires a gradient"):
        step(t).backward()
    assert t.grad.numpy()[0, 0] == 2

    step = cr.capture(lambda x, scale=1.0: cr.tensor(x) * scale)
    assert step(X, scale=3.0).numpy()[0, 0] == X[0, 0] * 3  # by name: eagerly


def test_a_result_with_tensors_hidden_in_it_is_the_eager_one():
    @dataclasses.dataclass
    class Both:
        loss: Any

    for kind in (Both, SimpleNamespace):
        step = cr.capture(lambda x, kind=kind: kind(loss=cr.tensor(x).sum()))
        with pytest.warns(RuntimeWarning, match="a replay did not compute"):
            results = [step(X) for _ in range(3)]
        assert all(r.loss.item() == pytest.approx(float(X.sum()), rel=1e-4) for r in results)


def test_a_captured_step_cannot_be_copied():
    step = cr.capture(lambda x: x)
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        step.__reduce__()
    assert cr.capture(net).__name__ == "net"


def test_a_symbol_must_not_leave_its_step():
    class Holder:
        __slots__ = ("kept",)

    holder = Holder()

    def leaking(x):
        if not hasattr(holder, "kept"):
            holder.kept = x
        return cr.tensor(x)

    with pytest.warns(RuntimeWarning, match="it changes holder"):
        cr.capture(leaking)(X)
    with pytest.raises(CaptureError, match="needs a value"):
        float(holder.kept)


# -- errors ---------------------------------------------------------------------------------------


def _failing(model: Any, optimizer: Any) -> Any:
    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_a_label_out_of_range_at_a_later_call(executor: str) -> None:
    model = net(nn.Dropout(0.5))
    optimizer = adam(model.parameters())
    step = cr.capture(_failing(model, optimizer))
    for _ in range(4):
        step(X, Y)
    bad = Y.copy()
    for label in (4, -1, 2**40):
        bad[5] = label
        before = state_of([model, optimizer])
        draws = default_stream().state()["counters"].copy()
        with pytest.raises(DataError, match=rf"label {label} at row 5 is out of range"):
            step(X, bad)
        after = state_of([model, optimizer])
        changed = difference(before, after)
        assert all(k == "stream" or k.endswith(".grad") for k in changed), changed
        assert sum(default_stream().state()["counters"].values()) == sum(draws.values()) + 1
    step(X, Y)
    assert step.reason is None
    assert len(list(step.programs())) == 1


def test_a_probability_out_of_range_at_a_later_call(executor: str) -> None:
    step = cr.capture(lambda p, t: ops.binary_cross_entropy(p, t))
    p = np.full((3, 2), 0.25, np.float32)
    for _ in range(4):
        step(p, p)
    with pytest.raises(DataError, match=r"the largest here is 1\.5"):
        step(p * 6, p)
    assert np.isnan(step(p * np.float32(np.nan), p).item())


def test_an_index_out_of_range_at_a_later_call(executor: str) -> None:
    def make() -> Any:
        table = nn.Parameter(np.arange(12, dtype=np.float32).reshape(4, 3))
        optimizer = adam([table])

        def step(index):
            optimizer.zero_grad()
            loss = (table[index] ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return table, optimizer, cr.capture(step)

    table, optimizer, step = make()
    for _ in range(4):
        step(np.array([0, 2, 2]))
    before = table.detach().numpy(), optimizer.state_dict()
    with pytest.raises(IndexError, match="out of bounds"):
        step(np.array([0, 4, 2]))
    np.testing.assert_array_equal(table.detach().numpy(), before[0])
    assert optimizer.state_dict()["steps"] == before[1]["steps"]
    step(np.array([0, 2, 2]))
    assert optimizer.state_dict()["steps"] == [5]


def test_errors_of_the_step_come_out_as_themselves(executor: str) -> None:
    model = net()
    optimizer = adam(model.parameters())
    step = cr.capture(_failing(model, optimizer))
    with (
        pytest.warns(RuntimeWarning, match=r"ShapeError while it ran on symbols: .*expected x"),
        pytest.raises(ShapeError, match=r"model.0 Dense\(6 -> 5\).*expected x"),
    ):
        step(X[:, :3], Y)
    with pytest.raises(ShapeError, match="expected x"):
        step(X[:, :3], Y)
    for _ in range(4):
        step(X, Y)
    assert len(list(step.programs())) == 1

    def raising(x):
        raise KeyError("mine")

    with pytest.warns(RuntimeWarning, match="KeyError while it ran"), pytest.raises(KeyError):
        cr.capture(raising)(X)
    assert cr.autograd.context.state.recorder is None

    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cr.capture(interrupted)(X)
    assert cr.autograd.context.state.recorder is None


def test_a_graph_from_before_a_replay_is_stale(executor: str) -> None:
    model = net()
    optimizer = adam(model.parameters())
    step = cr.capture(_failing(model, optimizer))
    for _ in range(4):
        loss = model(X).sum()
        step(X, Y)
        with pytest.raises(StaleGraphError, match="was updated after the forward pass"):
            loss.backward()
    optimizer.zero_grad()

    def twice(x):
        loss = model(x).sum()
        loss.backward()
        loss.backward()

    step = cr.capture(twice)
    with pytest.warns(RuntimeWarning, match="StaleGraphError"), pytest.raises(StaleGraphError):
        step(X)
    for p in model.parameters():
        assert isinstance(p._data, np.ndarray)
        assert isinstance(p._grad, np.ndarray)


def test_state_is_whole_after_what_could_not_be_captured(executor: str) -> None:
    """The half of a step that ran on symbols leaves nothing behind."""
    model = net(nn.Dropout(0.5))
    optimizer = adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    captured = cr.capture(step)
    before = state_of([model, optimizer])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert captured._captured((X, Y)) is None
    assert difference(before, state_of([model, optimizer])) == []
    versions = [p._version for p in model.parameters()]
    assert versions == [0] * 4


def test_the_first_call_counts_once(executor: str) -> None:
    """A step that is captured while it is compared updates once, draws once, counts once."""

    def make() -> Any:
        model = net(nn.Dropout(0.5))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return [model, optimizer], step_of(model, optimizer), [(X, Y)]

    ((_, eager, _),) = run(make)
    ((_, captured, _),) = run(make, cr.capture)
    assert difference(eager, captured) == []


def test_results_are_off_the_tape():
    model = net()
    step = cr.capture(lambda x: model(x))
    for _ in range(4):
        assert not step(X).requires_grad
