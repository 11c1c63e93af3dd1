"""What a captured step notices between its calls, and what it takes as arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd import capture
from tests_steps import assert_equal_to_eager, difference, state_of

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


# -- how a replay is judged -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "agree"),
    [(1e-5, True), (0.5, False), (np.nan, False)],
    ids=["rounding", "wrong", "NaN"],
)
def test_updates_are_judged_by_what_they_move(off: float, agree: bool) -> None:
    before = [np.zeros(100), np.zeros(8), np.arange(3)]
    eager = [R.normal(size=100), 1e-9 * R.normal(size=8), np.arange(3) + 1]
    replay = [eager[0] * (1 + off), eager[1], eager[2]]
    assert capture._same_updates(eager, replay, before) is agree
    # what is nothing but rounding beside the rest may be any other rounding
    replay = [eager[0], 1e-9 * R.normal(size=8), eager[2]]
    assert capture._same_updates(eager, replay, before)
    assert not capture._same_updates(eager[1:], replay[1:], before[1:])
    # and whole numbers are what they are
    assert not capture._same_updates(eager, [*eager[:2], np.arange(3)], before)


# -- changes between calls ------------------------------------------------------------------------


class Changing:
    """A step whose surroundings `act(call, model, optimizer)` changes before each call."""

    def __init__(self, act: Any, calls: int = 9, build: Any = net, optimizer: Any = adam) -> None:
        self.act, self.calls, self.build, self.optimizer = act, calls, build, optimizer

    def __call__(self) -> Any:
        model = self.build()
        optimizer = self.optimizer(model.parameters())

        def batches() -> Any:
            for k in range(self.calls):
                self.act(k, model, optimizer)
                yield X.astype(model.dtype), Y

        return [model, optimizer], step_of(model, optimizer), batches()


def options(**changed: Any) -> Any:
    """Options that change before the fifth call."""

    def act(k: int, model: Any, optimizer: Any) -> None:
        if k == 4:
            optimizer.param_groups[0].update(changed)

    return act


def scheduled(k: int, model: Any, optimizer: Any) -> None:
    if k == 0:
        optimizer.scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    else:
        optimizer.scheduler.step()


def at(call: int, change: Any) -> Any:
    return lambda k, model, optimizer: change(model, optimizer) if k == call else None


def replaced(model: Any, optimizer: Any) -> None:
    model[2] = nn.Dense(5, 4)
    optimizer.add_param_group({"params": model[2].parameters()})


def loaded(k: int, model: Any, optimizer: Any) -> None:
    if k == 2:
        optimizer.kept = optimizer.state_dict(), model.state_dict()
    if k == 5:
        optimizer.load_state_dict(optimizer.kept[0])
        model.load_state_dict(optimizer.kept[1])


def unfrozen_little_by_little(k: int, model: Any, optimizer: Any) -> None:
    parameters = list(model.parameters())
    if k % 4 == 0:
        for n, p in enumerate(parameters):
            p.requires_grad = n >= len(parameters) - 1 - k // 4


def dropping() -> Any:
    return net(nn.Dropout(0.4))


#: name -> (what makes the step, how many programs it takes)
CHANGES: dict[str, Any] = {
    "lr": (Changing(lambda k, m, o: o.param_groups[0].update(lr=0.1 / (k + 1))), 1),
    "scheduler": (Changing(scheduled), 1),
    "betas": (Changing(options(betas=(0.8, 0.9), eps=1e-3)), 1),
    "weight decay": (Changing(options(weight_decay=0.1)), 2),
    "maximize": (Changing(options(maximize=True)), 2),
    "load_state_dict": (Changing(loaded), 2),
    "assign": (Changing(at(4, lambda m, o: m[0].bias.assign(np.ones(5)))), 1),
    "double": (Changing(lambda k, m, o: m.double() if k == 3 else m.float() if k == 6 else 0), 3),
    "replaced layer": (Changing(at(4, replaced)), 2),
    "removed bias": (Changing(at(4, lambda m, o: setattr(m[2], "bias", None))), 2),
    "added layer": (Changing(at(4, lambda m, o: m.append(nn.Softplus()))), 2),
    "train and eval": (Changing(lambda k, m, o: m.train(k % 6 < 3), 12, dropping), 2),
    "frozen": (Changing(lambda k, m, o: m[0].requires_grad_(k not in (3, 4, 5)), 10), 3),
    "gradient by hand": (Changing(at(4, lambda m, o: setattr(m[0].bias, "grad", np.ones(5)))), 1),
    "frozen often": (Changing(lambda k, m, o: m[0].requires_grad_(k // 4 % 2 == 0), 40), 4),
    "unfrozen bit by bit": (Changing(unfrozen_little_by_little, 32, lambda: net(depth=3)), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_calls(name: str, executor: str) -> None:
    make, programs = CHANGES[name]
    step = assert_equal_to_eager(make)
    assert len(list(step.programs())) == programs


def test_an_array_of_another_layout_of_bytes_runs_eagerly(executor: str) -> None:
    batch = (X.astype(">f4"), Y.astype(">i8"))

    def make() -> Any:
        model = net()
        optimizer = adam(model.parameters())
        return [model, optimizer], step_of(model, optimizer), [batch] * 4

    assert_equal_to_eager(make, captured=False)


def test_two_steps_with_one_optimizer(executor: str) -> None:
    """Two tasks share a trunk: the parameters of the heads have step counts of their own."""

    def run(capture: Any) -> Any:
        cr.seed(0)
        trunk, one, two = nn.Dense(6, 5), nn.Dense(5, 4), nn.Dense(5, 4)
        optimizer = adam([p for m in (trunk, one, two) for p in m.parameters()])

        def task(head: Any) -> Any:
            def step(x, y):
                optimizer.zero_grad()
                loss = ops.cross_entropy(head(ops.tanh(trunk(x))), y)
                loss.backward()
                optimizer.step()
                return loss

            return capture(step)

        first, second = task(one), task(two)
        for k in range(24):
            (second if k % 4 == 3 else first)(X, Y)
            yield state_of([trunk, one, two, optimizer]), (first, second)

    calls = list(run(cr.capture))
    steps = calls[-1][1]
    for (eager, _), (captured, _) in zip(run(lambda f: f), calls, strict=True):
        assert difference(eager, captured) == []
    assert [s.reason for s in steps] == [None, None]
    assert all(len(list(s.programs())) <= 3 for s in steps)


def test_numbers_are_part_of_the_signature():
    @cr.capture
    def step(x, scale, flag, names):
        return (cr.tensor(x) * scale, flag) if names == ["a"] else (cr.tensor(x) - scale, flag)

    for _ in range(3):
        for scale in (2.0, 3, np.float32(4), -1.0):
            for flag in (True, 1, "yes", None):
                value, same = step(X, scale, flag, ["a"])
                np.testing.assert_array_equal(value.numpy(), X * np.float32(scale))
                assert same is flag
    assert len(list(step.programs())) == 16
    names = ["a"]
    assert step(X, 2.0, None, names)[0].numpy()[0, 0] == X[0, 0] * 2
    names[0] = "b"  # changed in place
    assert step(X, 2.0, None, names)[0].numpy()[0, 0] == X[0, 0] - 2


def test_many_signatures_run_eagerly_from_some_number_on():
    step = cr.capture(lambda x: cr.tensor(x) * 2.0)
    for _ in range(2):
        for n in range(40):
            assert step(X[:1].repeat(n + 1, 0)).shape == (n + 1, 6)
    assert len(list(step.programs())) == 32


def test_gradients_on_or_off_are_two_programs():
    model = net()
    step = cr.capture(lambda x: model(x))
    for _ in range(3):
        a = step(X)
        with cr.no_grad():
            b = step(X)
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(list(step.programs())) == 2


def test_a_dictionary_changed_in_place_is_seen():
    setting = {"scale": 1.0, "deep": [{"power": 2}]}

    @cr.capture
    def step(x):
        return setting["scale"] * cr.tensor(x) ** setting["deep"][0]["power"]

    for k in range(3):
        assert step(X).shape == X.shape
        setting["scale"] = k + 2.0
    setting["deep"][0]["power"] = 3
    np.testing.assert_allclose(step(X).numpy(), 4 * X**3, rtol=1e-5)
    assert step.reason is None
