"""fit, evaluate, predict: what they accept, what they refuse, and that they are deterministic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError, NonFiniteError, ShapeError
from tests_common import blobs, net


def test_learns_and_evaluates():
    x, y = blobs()
    trainer = cr.Trainer(net(), optimizer=cr.optim.Adam(lr=0.01), seed=0)
    history = trainer.fit((x, y), epochs=15, validation_data=blobs(seed=5))
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_accuracy"][-1] > 0.9
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"}
    measured = trainer.evaluate(blobs(seed=5))
    assert measured["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-6)
    out = trainer.predict(x)
    assert out.shape == (240, 3)
    assert out.dtype == np.float32
    assert cr.metrics.accuracy_score(y, out.argmax(1)) == trainer.evaluate((x, y))["accuracy"]
    assert not trainer.model.training


def test_same_seed_same_bits():
    x, y = blobs()
    runs = []
    for _ in range(2):
        trainer = cr.Trainer(net(p=0.3), seed=3)
        trainer.fit((x, y), epochs=3)
        runs.append(trainer.model.state_dict())
    for name, a in runs[0].items():
        np.testing.assert_array_equal(a, runs[1][name])


def test_float64_model_trains_in_float64():
    x, y = blobs()
    trainer = cr.Trainer(net().double(), seed=0)
    trainer.fit((x.astype(np.float64), y), epochs=1)
    assert trainer.predict(x).dtype == np.float64


class Stored:
    """A re-iterable of batches."""

    def __init__(self, x: Any, y: Any, size: int) -> None:
        self.parts = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]

    def __iter__(self) -> Any:
        return iter(self.parts)


def test_every_source_gives_the_same_result(tmp_path: Any) -> None:
    x, y = blobs()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    results = []
    for source in (
        (x, y),
        (mapped, y),
        cr.data.Batches((x, y), batch_size=32),
        Stored(x, y, 32),
        lambda: iter(Stored(x, y, 32)),
    ):
        trainer = cr.Trainer(net(), seed=0)
        trainer.fit(source, epochs=2, batch_size=32, shuffle=False)
        results.append(trainer.model.state_dict()["0.weight"])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_uint8_is_cast_by_batch():
    x = np.random.default_rng(0).integers(0, 255, (60, 4)).astype(np.uint8)
    trainer = cr.Trainer(net(), seed=0)
    trainer.fit((x, np.arange(60) % 3), epochs=1)
    assert trainer.model.dtype == np.float32


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_accumulation_is_the_joint_batch(accumulate: int) -> None:
    """k batches of 8 per update equal batches of 8k, weights and ragged end included."""
    x, y = blobs(100)
    w = np.random.default_rng(0).uniform(0, 2, 100).astype(np.float32)
    states = []
    for batch, acc in ((8, accumulate), (8 * accumulate, 1)):
        trainer = cr.Trainer(net().double(), optimizer=cr.optim.SGD(lr=0.1), accumulate=acc, seed=0)
        trainer.fit((x, y), epochs=2, batch_size=batch, shuffle=False, sample_weight=w)
        states.append(trainer.model.state_dict())
    for name, a in states[0].items():
        np.testing.assert_allclose(a, states[1][name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_weight_k_is_k_copies(loss: str) -> None:
    x, y = blobs(30)
    target: Any = y if loss == "cross_entropy" else np.eye(3)[y]
    w = (np.arange(30) % 3).astype(np.float32)
    copies = np.repeat(np.arange(30), w.astype(int))
    a = cr.Trainer(net().double(), loss=loss, metrics=[], optimizer=cr.optim.SGD(lr=0.1), seed=0)
    a.fit((x, target), epochs=3, batch_size=30, shuffle=False, sample_weight=w)
    b = cr.Trainer(net().double(), loss=loss, metrics=[], optimizer=cr.optim.SGD(lr=0.1), seed=0)
    b.fit((x[copies], target[copies]), epochs=3, batch_size=1000, shuffle=False)
    for name, v in a.model.state_dict().items():
        np.testing.assert_allclose(v, b.model.state_dict()[name], rtol=1e-9, atol=1e-12)
    assert a.history["loss"][-1] == pytest.approx(b.history["loss"][-1], rel=1e-9)


def test_class_weight_is_a_sample_weight():
    x, y = blobs(90)
    y = np.where(np.arange(90) < 60, 0, y)
    states = []
    weights = cr.data.class_weights(y, 3, "balanced")
    for kw in (
        {"class_weight": "balanced"},
        {"sample_weight": weights[y]},
        {"class_weight": dict(enumerate(weights))},
    ):
        trainer = cr.Trainer(net().double(), optimizer=cr.optim.SGD(lr=0.1), seed=0)
        trainer.fit((x, y), epochs=2, **kw)
        states.append(trainer.model.state_dict()["0.weight"])
    np.testing.assert_allclose(states[0], states[1], rtol=1e-12)
    np.testing.assert_array_equal(states[0], states[2])


def test_losses_and_heads():
    x, y = blobs(90)
    binary = (y == 0).astype(np.float32)
    for loss, target, out in (
        ("binary_cross_entropy_with_logits", binary, 1),
        ("mse", binary, 1),
        ("huber", np.eye(3)[y], 3),
        ("l1", np.eye(3)[y], 3),
        ("cross_entropy", np.eye(3)[y], 3),
    ):
        trainer = cr.Trainer(
            net(sizes=(4, 16, out)), loss=loss, metrics=[], optimizer=cr.optim.Adam(lr=0.01), seed=0
        )
        h = trainer.fit((x, target), epochs=8)
        assert h["loss"][-1] < h["loss"][0], loss


def test_custom_loss_metric_and_regularizer():
    x, y = blobs()

    def squared_hinge(output: Any, target: Any) -> Any:
        sign = cr.tensor(np.eye(3, dtype=np.float32)[target] * 2 - 1)
        return (cr.ops.maximum(1 - output * sign, 0.0) ** 2).sum(axis=1)

    def hits(y_true: Any, output: Any) -> float:
        return float((output.argmax(1) == y_true).mean())

    def penalty(model: Any) -> Any:
        return sum((0.01 * (p * p).sum() for p in model.parameters()), 0.0)

    trainer = cr.Trainer(
        net(),
        loss=squared_hinge,
        metrics=[hits],
        regularizers=[penalty],
        seed=0,
        optimizer=cr.optim.Adam(lr=0.01),
    )
    h = trainer.fit((x, y), epochs=10, sample_weight=None)
    assert h["hits"][-1] > 0.9
    plain = cr.Trainer(
        net(), loss=squared_hinge, metrics=[hits], seed=0, optimizer=cr.optim.Adam(lr=0.01)
    )
    plain.fit((x, y), epochs=10)
    size = lambda m: sum(float((v**2).sum()) for v in m.state_dict().values())  # noqa: E731
    assert size(trainer.model) < size(plain.model)


def test_schedule_and_clipping_change_the_run():
    x, y = blobs()
    trainer = cr.Trainer(
        net(), optimizer=cr.optim.SGD(lr=0.1), schedule="cosine", clip_norm=0.1, seed=0
    )
    h = trainer.fit((x, y), epochs=4)
    assert h["lr"][0] > h["lr"][-1]
    one = cr.Trainer(
        net(), optimizer=cr.optim.AdamW(lr=0.01), schedule="one_cycle", clip_value=0.5, seed=0
    )
    rates = one.fit((x, y), epochs=4)["lr"]
    assert max(rates) <= 0.01 + 1e-12


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": "nan"}, DataError, "row 5, column 2"),
        ({"x": "inf"}, DataError, "inf"),
        ({"y": "range"}, DataError, "7"),
        ({"y": "fraction"}, DataError, "0.5"),
        ({"y": "single"}, DataError, "class"),
        ({"y": "short"}, DataError, "60 rows .* 59"),
        ({"x": "empty"}, DataError, "no rows|empty|has no"),
        ({"x": "wide"}, ShapeError, r"model\.0 Dense\(4 -> 16\)"),
        ({"x": "strings"}, DataError, "x"),
    ],
)
def test_bad_data_is_refused_before_the_first_step(
    change: dict[str, str], error: Any, words: str
) -> None:
    x, y = blobs(60)
    y = y.astype(float)
    match change:
        case {"x": "nan"}:
            x[5, 2] = np.nan
        case {"x": "inf"}:
            x[5, 2] = np.inf
        case {"y": "range"}:
            y[3] = 7
        case {"y": "fraction"}:
            y[3] = 0.5
        case {"y": "single"}:
            y[:] = 1
        case {"y": "short"}:
            y = y[:-1]
        case {"x": "empty"}:
            x, y = x[:0], y[:0]
        case {"x": "wide"}:
            x = np.ones((60, 5), np.float32)
        case {"x": "strings"}:
            x = np.array([["a"] * 4] * 60)
    model = net()
    before = model.state_dict()
    with pytest.raises(error, match=words):
        cr.Trainer(model, seed=0).fit((x, y), epochs=1)
    for name, v in model.state_dict().items():
        np.testing.assert_array_equal(v, before[name])


def test_unknown_names_show_the_nearest():
    model = net()
    with pytest.raises(ValueError, match="cross_entropy"):
        cr.Trainer(model, loss="crossentropy")
    with pytest.raises(ValueError, match="accuracy"):
        cr.Trainer(model, metrics=["acuracy"])
    with pytest.raises(ValueError, match="adamw"):
        cr.Trainer(model, optimizer="adanw")
    with pytest.raises(ValueError, match="cosine"):
        cr.Trainer(model, schedule="cosin")


def test_non_finite_loss_names_step_and_layer():
    x, y = blobs()
    x = x * 1e20
    trainer = cr.Trainer(net(), optimizer=cr.optim.SGD(lr=1e20), seed=0)
    with pytest.raises(NonFiniteError, match=r"step \d+ .*(model\.\d|parameter).*learning rate"):
        trainer.fit((x, y), epochs=50)


def test_non_finite_restores_the_best_weights():
    x, y = blobs()
    calls = {"n": 0}

    def explode(output: Any, target: Any) -> Any:
        calls["n"] += 1
        loss = cr.ops.cross_entropy(output, target)
        return loss * float("nan") if calls["n"] > 20 else loss

    best = cr.callbacks.BestWeights("loss")
    trainer = cr.Trainer(net(), loss=explode, callbacks=[best], metrics=[], seed=0)
    with pytest.raises(NonFiniteError):
        trainer.fit((x, y), epochs=10)
    assert best.best_epoch is not None
    assert best._weights is not None
    for name, v in trainer.model.state_dict().items():
        np.testing.assert_array_equal(v, best._weights[name])


def test_quiet_without_a_terminal(capfd: Any) -> None:
    trainer = cr.Trainer(net(), seed=0)
    trainer.fit(blobs(), epochs=2)
    assert capfd.readouterr() == ("", "")
    trainer.fit(blobs(), epochs=2, verbose=True)
    err = capfd.readouterr().err
    assert err.count("epoch ") == 2


def test_ctrl_c_finishes_the_step_and_says_so():
    code = """
    import os, signal, numpy as np, chainrule as cr
    cr.seed(0)
    x = np.random.default_rng(0).normal(size=(400, 4)).astype("f"); y = np.arange(400) % 3
    class Press(cr.callbacks.Callback):
        def on_step_end(self, trainer, step, loss):
            if step == 40: os.kill(os.getpid(), signal.SIGINT)
    best = cr.callbacks.BestWeights("loss")
    t = cr.Trainer(cr.nn.Sequential(cr.nn.Dense(4, 3)), callbacks=[Press(), best], seed=0)
    h = t.fit((x, y), epochs=1000)
    assert h.stopped == "interrupted" and t.step in (40, 41), (h.stopped, t.step)
    assert all((v == best._weights[k]).all() for k, v in t.model.state_dict().items())
    print("ok", h.best_epoch)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("ok")
    assert out.stderr.startswith("interrupted after step")  # not a terminal: this line alone
    assert "best weights" in out.stderr


def test_larger_than_memory_trains_in_constant_memory(tmp_path: Any) -> None:
    """1.2 GB of memory-mapped float32 under a 1 GB cap on data, and a re-iterable beside it."""
    code = f"""
    import resource, numpy as np, chainrule as cr
    cap = 1 << 30
    resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
    n, d = 300_000, 1000
    x = np.memmap({str(tmp_path / "x.dat")!r}, np.float32, "w+", shape=(n, d))  # sparse: zeros
    del x
    x = np.memmap({str(tmp_path / "x.dat")!r}, np.float32, "r", shape=(n, d))
    y = np.arange(n) % 2
    cr.seed(0)
    t = cr.Trainer(cr.nn.Sequential(cr.nn.Dense(d, 2)), seed=0)
    t.fit((x, y), epochs=1, batch_size=4096)
    class Stream:
        def __iter__(self):
            for i in range(0, n // 4, 8192):
                yield x[i:i + 8192], y[i:i + 8192]
    t.fit(Stream(), epochs=1)
    anon = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
    print("anonymous", anon)
    assert anon < 400_000, anon
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr[-800:]


def test_two_models_in_two_threads():
    import threading

    x, y = blobs()

    def run(store: dict[int, Any], k: int, model: Any) -> None:
        trainer = cr.Trainer(model, seed=1)
        trainer.fit((x, y), epochs=4)
        store[k] = model.state_dict()

    alone: dict[int, Any] = {}
    run(alone, 0, net(p=0.2))
    together: dict[int, Any] = {}
    models = [net(p=0.2) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(together, k, m)) for k, m in enumerate(models)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(2):
        for name, v in alone[0].items():
            np.testing.assert_array_equal(v, together[k][name])


def test_no_float64_in_a_float32_run(monkeypatch: Any) -> None:
    """Every result of every kernel, every gradient and every state of a float32 step is float32."""
    from chainrule.compile.kernel import Kernel

    seen: set[str] = set()
    original = Kernel.__call__

    def spy(self: Any, *arrays: Any) -> Any:
        outputs = original(self, *arrays)
        seen.update(
            str(a.dtype)
            for a in (*arrays, *outputs)
            if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        )
        return outputs

    monkeypatch.setattr(Kernel, "__call__", spy)
    x, y = blobs()
    trainer = cr.Trainer(
        net(p=0.2), optimizer=cr.optim.AdamW(lr=0.01), schedule="one_cycle", clip_norm=1.0, seed=0
    )
    trainer.fit(
        (x.astype(np.float64), y), epochs=2, class_weight="balanced", validation_data=(x, y)
    )
    assert seen == {"float32"}
    assert trainer.predict(x.astype(np.float64)).dtype == np.float32


def test_ctrl_c_during_the_validation_ends_with_that_epoch():
    class Impatient(cr.callbacks.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    trainer = cr.Trainer(net(), callbacks=[Impatient()], seed=0)
    history = trainer.fit(blobs(64), epochs=3, batch_size=16)
    assert (history.stopped, trainer.epoch, trainer.step) == ("interrupted", 1, 4)
    assert trainer.fit(blobs(64), epochs=1).stopped == "epochs"  # it was the last one


def test_a_second_ctrl_c_and_an_error_are_in_the_history():
    class Insist(cr.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    trainer = cr.Trainer(net(), callbacks=[Insist()], seed=0)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(blobs(64), epochs=3)
    assert (trainer.history.stopped, trainer.model.training) == ("interrupted", False)
    broken = cr.Trainer(net(), optimizer=cr.optim.SGD(lr=1e30), seed=0)
    with pytest.raises(NonFiniteError):
        broken.fit(blobs(64), epochs=3)
    assert broken.history.stopped == "error"


def test_gradients_left_over_do_not_count():
    x, y = blobs(64)
    runs = []
    for before in (False, True):
        model = net()
        trainer = cr.Trainer(model, seed=0)
        if before:
            cr.ops.cross_entropy(model(x), y).backward()
        trainer.fit((x, y), epochs=1)
        runs.append(model.state_dict())
    for name, a in runs[0].items():
        np.testing.assert_array_equal(a, runs[1][name])


def test_an_optimizer_that_leaves_the_model_untrained_is_refused():
    data = blobs(64)
    other = cr.optim.Adam(net().parameters())
    with pytest.raises(ValueError, match="none of the model's parameters"):
        cr.Trainer(net(), optimizer=other).fit(data)
    model = net()
    trainer = cr.Trainer(model, optimizer=cr.optim.Adam(lr=1e-3))
    model[3] = cr.nn.Dense(16, 3)
    with pytest.raises(ValueError, match=r"does not hold 3\.weight, 3\.bias"):
        trainer.fit(data)
    chosen = cr.Trainer(model, optimizer=cr.optim.Adam(model[3].parameters()), seed=0)
    before = model.state_dict()
    chosen.fit(data, epochs=1)
    changed = {k for k, v in model.state_dict().items() if not np.array_equal(v, before[k])}
    assert changed == {"3.weight", "3.bias"}
    for p in model.parameters():
        p.requires_grad = False
    with pytest.raises(ValueError, match="no parameter of the model requires a gradient"):
        cr.Trainer(model).fit(data)


def test_predict_takes_lists_of_rows_and_refuses_a_lone_row():
    x, _ = blobs(8)
    trainer = cr.Trainer(net())
    np.testing.assert_allclose(trainer.predict(x.tolist()), trainer.predict(x), rtol=1e-6)
    for lone in (x[0], [x[0], x[1]]):
        with pytest.raises(ShapeError, match=r"shape \(3,\) for 4 samples.*pass x\[None\]"):
            trainer.predict(lone)


def test_predict_lets_nan_through_for_any_number_of_rows():
    x = np.ones((6, 4), np.float32)
    x[4, 1] = np.nan
    trainer = cr.Trainer(net())
    for batch_size in (2, 6, 100):
        bad = np.isnan(trainer.predict(x, batch_size=batch_size)).all(axis=1)
        np.testing.assert_array_equal(bad, np.arange(6) == 4)


def test_what_a_model_returns():
    class Odd(cr.nn.Module):
        def __init__(self, give: Any) -> None:
            self.dense, self.give = cr.nn.Dense(4, 3), give

        def forward(self, x: Any) -> Any:
            return self.give(self.dense(x))

    for give, words in (
        (lambda y: (y, 1), "returned tuple; expected one tensor"),
        (lambda y: None, "returned NoneType; expected one tensor"),
        (lambda y: y.detach().numpy(), "returned ndarray, not a tensor"),
    ):
        with pytest.raises(TypeError, match=words):
            cr.Trainer(Odd(give)).fit(blobs(16))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": "accuracy"}, "metrics is a list"),
        ({"callbacks": cr.callbacks.EarlyStopping()}, "callbacks is a list"),
        ({"callbacks": [cr.callbacks.EarlyStopping]}, r"write EarlyStopping\(…\)"),
        ({"schedule": 3}, "schedule must be a name or a function"),
        ({"clip_norm": "1"}, "clip_norm must be a positive number, got '1'"),
        ({"accumulate": 1.5}, "accumulate.*whole number, 1 or more, not 1.5"),
        ({"model": cr.nn.ReLU}, "made already; got <class"),
    ],
)
def test_options_of_another_kind(options: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        cr.Trainer(**{"model": net(), **options})


def test_epochs_and_data_given_as_two_arguments():
    x, y = blobs(16)
    trainer = cr.Trainer(net())
    with pytest.raises(ValueError, match=r"not ndarray; data is one tuple: fit\(\(x, y\)\)"):
        trainer.fit(x, y)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        trainer.fit((x, y), epochs=-1)
    assert len(trainer.fit((x, y), epochs=np.int64(2)).rows) == 2
    with pytest.raises(DataError, match="given as a tuple"):
        trainer.fit([x, y])
    with pytest.raises(NonFiniteError, match=r"step \d+.*because the input holds nan"):
        trainer.fit([(x * np.nan, y)])
