"""`fit` replays its steps: it equals the same loop by hand, and notices what callbacks change."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError, NonFiniteError
from chainrule.array.random import Stream, use_stream
from tests_common import blobs, net

nn, ops, optim = cr.nn, cr.ops, cr.optim


def same(a: Any, b: Any) -> None:
    assert a.keys() == b.keys()
    for name, v in a.items():
        np.testing.assert_array_equal(v, b[name], err_msg=name)


def checked(trainer: Any) -> list[int]:
    return [p.checked for p in trainer.captured.programs()]


def test_it_is_the_loop_by_hand(executor: str) -> None:
    """Dropout, clipping, weight decay, a schedule and a ragged last batch included."""
    x, y = blobs(110)
    trainer = cr.Trainer(
        net(p=0.3),
        optimizer=optim.AdamW(lr=0.01, weight_decay=0.1),
        clip_norm=0.5,
        clip_value=0.1,
        schedule=lambda optimizer: optim.lr_scheduler.StepLR(optimizer, 2, 0.5),
        regularizers=[lambda m: 1e-3 * (m[0].weight * m[0].weight).sum()],
        seed=5,
    )
    trainer.fit((x, y), epochs=5, batch_size=32, shuffle=False)
    assert trainer.captured.reason is None
    assert checked(trainer) == [2, 2]

    model = net(p=0.3)
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    with use_stream(Stream(5)):
        for _ in range(5):
            for i in range(0, 110, 32):
                loss = ops.cross_entropy(model(x[i : i + 32]), y[i : i + 32])
                loss = loss + 1e-3 * (model[0].weight * model[0].weight).sum()
                loss.backward()
                optim.clip_grad_value(model.parameters(), 0.1)
                optim.clip_grad_norm(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
    same(trainer.model.state_dict(), model.state_dict())
    same(trainer.optimizer.state_dict()["state"], optimizer.state_dict()["state"])
    assert trainer.optimizer.state_dict()["steps"] == optimizer.state_dict()["steps"]


@pytest.mark.parametrize(
    ("loss", "weighted"),
    [("cross_entropy", True), ("mse", True), ("binary_cross_entropy_with_logits", False)],
)
def test_it_equals_the_eager_steps(loss: str, weighted: bool, executor: str) -> None:
    x, y = blobs(100)
    target: Any = y if loss == "cross_entropy" else np.eye(3, dtype=np.float32)[y]
    w = np.random.default_rng(0).uniform(0, 2, 100).astype(np.float32) if weighted else None
    runs = []
    for captured in (True, False):
        trainer = cr.Trainer(net(p=0.2), loss=loss, metrics=[], seed=1)
        if not captured:
            trainer.captured = trainer._step
        history = trainer.fit((x, target), epochs=3, sample_weight=w)
        runs.append((trainer.model.state_dict(), history["loss"], trainer.predict(x)))
        if captured:
            assert trainer.captured.reason is None
    same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    np.testing.assert_array_equal(runs[0][2], runs[1][2])


def test_resume_in_the_middle_of_captured_steps(executor: str, tmp_path: Any) -> None:
    """The steps after a resume are captured anew, and give the same bits."""
    x, y = blobs(100)

    def trainer() -> Any:
        return cr.Trainer(net(p=0.3), optimizer=optim.Adam(lr=0.01), clip_norm=1.0, seed=2)

    whole = trainer()
    whole.fit((x, y), epochs=6, batch_size=16)
    first = trainer()
    first.fit((x, y), epochs=2, batch_size=16)
    first.save_checkpoint(tmp_path / "half.safetensors")
    second = trainer()
    second.fit((x, y), epochs=6, batch_size=16, resume=tmp_path / "half.safetensors")
    same(whole.model.state_dict(), second.model.state_dict())
    assert whole.history["loss"][2:] == second.history["loss"][-4:]


def _setting(name: str, value: Any) -> Any:
    def change(trainer: Any) -> None:
        setattr(trainer, name, value)

    return change


def _penalty(model: Any) -> Any:
    return 0.1 * sum((p * p).sum() for p in model.parameters())


def _model(trainer: Any) -> None:
    trainer.model = copy.deepcopy(trainer.model)
    trainer.optimizer = optim.SGD(trainer.model.parameters(), lr=0.05)


CHANGES = {
    "clip_norm": _setting("clip_norm", 1e-3),
    "clip_value": _setting("clip_value", 1e-3),
    "regularizers": lambda t: t.regularizers.append(_penalty),
    "loss": lambda t: setattr(t, "loss", cr.Trainer(net(), loss=_smooth).loss),
    "optimizer": lambda t: setattr(t, "optimizer", optim.Adam(t.model.parameters(), lr=0.05)),
    "lr": lambda t: t.optimizer.param_groups[0].update(lr=0.001),
    "weight decay": lambda t: t.optimizer.param_groups[0].update(weight_decay=0.1),
    "frozen layer": lambda t: t.model[0].freeze(),
    "model": _model,
}


def _smooth(output: Any, target: Any) -> Any:
    return ops.cross_entropy(output, target, label_smoothing=0.3)


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_callback_changes_holds_from_then_on(name: str) -> None:
    class Change(cr.callbacks.Callback):
        def on_epoch_start(self, trainer: Any, epoch: int) -> None:
            if epoch == 2:
                CHANGES[name](trainer)

    x, y = blobs(96)
    runs = []
    for captured in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHAINRULE_NATIVE", "0")
            trainer = cr.Trainer(
                net(), optimizer=optim.SGD(lr=0.1), callbacks=[Change()], metrics=[], seed=1
            )
            if not captured:
                trainer.captured = trainer._step
            trainer.fit((x, y), epochs=4)
            runs.append(trainer.model.state_dict())
    same(*runs)


# -- errors ---------------------------------------------------------------------------------------


class Poison(cr.callbacks.Callback):
    """Changes a batch of the data from some step on."""

    def __init__(self, step: int, change: Any) -> None:
        self.at, self.change = step, change

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        self.before = trainer.model.state_dict(), trainer.optimizer.state_dict()
        if step == self.at:
            self.change()


def _poisoned(change: Any, **options: Any) -> tuple[Any, Any, Any]:
    x, y = blobs(96)
    x, y = x.copy(), y.copy()

    class Live:
        def __iter__(self) -> Any:
            for i in range(0, 96, 32):
                yield x[i : i + 32], y[i : i + 32]

    poison = Poison(7, lambda: change(x, y))
    trainer = cr.Trainer(
        net(), optimizer=optim.Adam(lr=0.01), metrics=[], callbacks=[poison], seed=0, **options
    )
    return trainer, Live(), poison


def test_labels_out_of_range_at_a_later_step(executor: str) -> None:
    def change(x: Any, y: Any) -> None:
        y[70] = 7

    trainer, data, poison = _poisoned(change)
    with pytest.raises(DataError, match=r"7.*out of range|out of range.*7|label 7"):
        trainer.fit(data, epochs=5)
    assert trainer.step == 8
    same(trainer.model.state_dict(), poison.before[0])
    same(trainer.optimizer.state_dict()["state"], poison.before[1]["state"])


def test_a_loss_that_is_not_finite_at_a_later_step(executor: str) -> None:
    def change(x: Any, y: Any) -> None:
        x[70] = np.inf

    trainer, data, poison = _poisoned(change)
    with pytest.raises(NonFiniteError, match=r"the loss became (nan|inf) at step 9"):
        trainer.fit(data, epochs=5)
    assert trainer.step == 8
    same(trainer.model.state_dict(), poison.before[0])
    same(trainer.optimizer.state_dict()["state"], poison.before[1]["state"])
    assert trainer.optimizer.state_dict()["steps"] == poison.before[1]["steps"]


def test_a_gradient_that_is_not_finite_at_a_later_step(executor: str) -> None:
    """Its norm is looked at before anything is updated."""

    class Root(nn.Module):
        def forward(self, x):
            return ops.sqrt(x * x)  # finite at 0, and its slope is none

    def change(x: Any, y: Any) -> None:
        x[64:] = 0

    trainer, data, poison = _poisoned(change, clip_norm=1.0)
    trainer.model = nn.Sequential(nn.Dense(4, 3, bias=False), Root())
    trainer.optimizer = optim.Adam(trainer.model.parameters(), lr=0.01)
    with pytest.raises(NonFiniteError, match=r"the gradient became (nan|inf) at step 9"):
        trainer.fit(data, epochs=5)
    same(trainer.model.state_dict(), poison.before[0])
    assert trainer.captured.reason is None


def test_a_loss_that_is_ready_after_the_gradient_is(executor: str) -> None:
    """What the loss adds to its value alone may be computed last: the update waits for it."""

    def late(output: Any, target: Any) -> Any:
        v = output.detach()
        for _ in range(12):
            v = ops.cumsum(v, axis=0)
        return ops.cross_entropy(output, target) + 1e-20 * (1e20 * v).mean()

    x, y = blobs(96)
    trainer = cr.Trainer(nn.Sequential(nn.Dense(4, 3)), loss=late, metrics=[], seed=0)
    trainer.fit((x, y), epochs=4, batch_size=96)
    assert checked(trainer) == [2]
    before = trainer.model.state_dict()
    with pytest.raises(NonFiniteError):
        trainer.fit((1e8 * x, y), epochs=1, batch_size=96)
    same(trainer.model.state_dict(), before)


# -- copies and threads ---------------------------------------------------------------------------


def test_a_copied_trainer_trains_on_by_itself() -> None:
    x, y = blobs(96)
    trainer = cr.Trainer(net(p=0.2), seed=0)
    trainer.fit((x, y), epochs=2)
    other = copy.deepcopy(trainer)
    before = trainer.model.state_dict()
    other.fit((x, y), epochs=2)
    same(trainer.model.state_dict(), before)
    trainer.fit((x, y), epochs=2)
    same(trainer.model.state_dict(), other.model.state_dict())


def test_two_threads_train_two_models(executor: str) -> None:
    """As each does alone: streams, workspaces and recorders are a thread's own."""
    x, y = blobs(96)

    def train(seed: int) -> Any:
        trainer = cr.Trainer(net(seed, (4, 32, 3), p=0.2), optimizer=optim.Adam(lr=0.01), seed=seed)
        trainer.fit((x, y), epochs=6, batch_size=24)
        assert trainer.captured.reason is None
        return trainer.model.state_dict()

    alone = [train(seed) for seed in (0, 1)]
    start = threading.Barrier(2)
    found: dict[int, Any] = {}
    models = [net(seed, (4, 32, 3), p=0.2) for seed in (0, 1)]

    def together(seed: int) -> None:
        trainer = cr.Trainer(models[seed], optimizer=optim.Adam(lr=0.01), seed=seed)
        start.wait()
        trainer.fit((x, y), epochs=6, batch_size=24)
        found[seed] = trainer.model.state_dict()

    for _ in range(3):
        threads = [threading.Thread(target=together, args=(seed,)) for seed in (0, 1)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for seed in (0, 1):
            same(found[seed], alone[seed])
        models = [net(seed, (4, 32, 3), p=0.2) for seed in (0, 1)]
