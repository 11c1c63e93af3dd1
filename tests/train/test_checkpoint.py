"""Resume equals the uninterrupted run, bit for bit, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import FileFormatError
from tests_common import blobs, net


class Stop(cr.callbacks.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        if step == self.step:
            trainer.stop = "test"


def trainer(path: Any, stop: int, *, every_steps: int = 0, accumulate: int = 1) -> Any:
    return cr.Trainer(
        net(p=0.3),
        optimizer=cr.optim.AdamW(lr=0.01),
        schedule="one_cycle",
        callbacks=[
            cr.callbacks.EarlyStopping(patience=50),
            cr.callbacks.Checkpoint(path, every_steps=every_steps),
            Stop(stop),
        ],
        clip_norm=1.0,
        accumulate=accumulate,
        seed=7,
    )


def same(a: Any, b: Any) -> None:
    for name, v in a.model.state_dict().items():
        np.testing.assert_array_equal(v, b.model.state_dict()[name])
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert drop(a.history.rows) == drop(b.history.rows)
    assert a.history.best_epoch == b.history.best_epoch


@pytest.mark.parametrize(("every_steps", "accumulate"), [(0, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("stop", [1, 9, 16, 23])
def test_resume_is_the_uninterrupted_run(
    tmp_path: Any, every_steps: int, accumulate: int, stop: int
) -> None:
    data, valid = blobs(), blobs(seed=5)
    kw: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 30,
        "validation_data": valid,
        "sample_weight": np.linspace(0.1, 1, 240),
    }
    options = {"every_steps": every_steps, "accumulate": accumulate}
    whole = trainer(tmp_path / "whole.ckpt", -1, **options)
    whole.fit(data, **kw)
    path = tmp_path / "part.ckpt"
    part = trainer(path, stop, **options)
    part.fit(data, **kw)
    again = trainer(path, -1, **options)
    again.fit(data, resume=True, **kw)
    same(whole, again)


@pytest.mark.parametrize(("every_steps", "stop"), [(0, 9), (1, 9), (3, 12), (1, 24)])
def test_resume_with_averages_and_regularizers(tmp_path: Any, every_steps: int, stop: int) -> None:
    """The averages, and the vectors that follow the singular ones, go on bit for bit."""

    def averaging(path: Any, stop: int) -> Any:
        return cr.Trainer(
            net(p=0.3),
            optimizer=cr.optim.Adam(lr=0.01),
            regularizers=[
                cr.regularizers.SpectralNorm(0.05, method="power"),
                cr.regularizers.MaxNorm(0.8),
                cr.regularizers.L1(0.001, proximal=True),
            ],
            callbacks=[
                cr.callbacks.EarlyStopping(patience=50),
                cr.callbacks.TargetReached("val_loss", 0.0),
                cr.callbacks.Checkpoint(path, every_steps=every_steps),
                Stop(stop),
                cr.callbacks.EMA(0.9, warmup=True),
            ],
            metrics=[],
            seed=7,
        )

    kw: dict[str, Any] = {"epochs": 4, "batch_size": 30, "validation_data": blobs(seed=5)}
    whole = averaging(tmp_path / "whole.ckpt", -1)
    whole.fit(blobs(), **kw)
    part = averaging(tmp_path / "part.ckpt", stop)
    part.fit(blobs(), **kw)
    again = averaging(tmp_path / "part.ckpt", -1)
    again.fit(blobs(), resume=True, **kw)
    same(whole, again)
    # what the file holds as the model is what training went on with, not the averages
    if every_steps == 1:
        first = averaging(tmp_path / "first.ckpt", 8)
        first.fit(blobs(), **{**kw, "epochs": 1})
        model = cr.load(tmp_path / "first.ckpt")
        average = first.model.state_dict()["0.weight"]
        assert not np.array_equal(model.state_dict()["0.weight"], average)
    other = averaging(tmp_path / "part.ckpt", -1)
    other.regularizers = other.regularizers[1:]
    with pytest.raises(
        FileFormatError, match=r"regularizers \['SpectralNorm'\], this trainer has \[\]"
    ):
        other.fit(blobs(), resume=True, **kw)


def test_a_checkpoint_that_a_callback_writes_while_the_averages_are_measured(tmp_path: Any) -> None:
    class Save(cr.callbacks.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            before = trainer.model.state_dict()
            trainer.save_checkpoint(tmp_path / f"{epoch}.ckpt")
            np.testing.assert_array_equal(
                trainer.model.state_dict()["0.weight"], before["0.weight"]
            )

    def averaging() -> Any:
        return cr.Trainer(net(), callbacks=[Save(), cr.callbacks.EMA(0.9)], metrics=[], seed=7)

    whole = averaging()
    whole.fit(blobs(), epochs=3)
    again = averaging()
    again.fit(blobs(), epochs=3, resume=tmp_path / "1.ckpt")
    same(whole, again)


@pytest.mark.parametrize("stop", [9, 17])
def test_a_stopped_run_stops_at_the_same_epoch_when_it_was_interrupted(
    tmp_path: Any, stop: int
) -> None:
    def stopping(path: Any, at: int) -> Any:
        rules = [
            cr.callbacks.EarlyStopping(patience=2, min_delta=0.3, relative=True),
            cr.callbacks.TargetReached("val_loss", 1e-6),
        ]
        return cr.Trainer(
            net(),
            optimizer=cr.optim.Adam(lr=0.01),
            callbacks=[*rules, cr.callbacks.Checkpoint(path, every_steps=1), Stop(at)],
            seed=7,
        )

    kw: dict[str, Any] = {"epochs": 40, "batch_size": 30, "validation_data": blobs(seed=5)}
    whole = stopping(tmp_path / "whole.ckpt", -1)
    assert whole.fit(blobs(), **kw).stopped == "early stopping"
    assert 3 < len(whole.history.rows) < 40
    stopping(tmp_path / "part.ckpt", stop).fit(blobs(), **kw)
    again = stopping(tmp_path / "part.ckpt", -1)
    assert again.fit(blobs(), resume=True, **kw).stopped == "early stopping"
    same(whole, again)


def test_resume_without_the_callbacks_that_only_looked_on(tmp_path: Any) -> None:
    path = tmp_path / "a.ckpt"
    whole = trainer(path, -1)
    whole.fit(blobs(), epochs=3)
    trainer(path, 9, every_steps=9).fit(blobs(), epochs=3)
    went_on = trainer(path, -1)
    kept = went_on.callbacks[:1]
    went_on.callbacks = [cr.callbacks.LambdaCallback(), *kept]
    went_on.fit(blobs(), epochs=3, resume=path)
    same(whole, went_on)
    went_on.callbacks = []  # the best weights would be lost
    with pytest.raises(
        FileFormatError, match=r"callbacks \['EarlyStopping'\], this trainer has \[\]"
    ):
        went_on.fit(blobs(), epochs=3, resume=path)


def test_checkpoint_is_a_model_file(tmp_path: Any) -> None:
    t = trainer(tmp_path / "a.ckpt", -1)
    t.fit(blobs(), epochs=1)
    model = cr.load(tmp_path / "a.ckpt")
    np.testing.assert_array_equal(model.state_dict()["0.weight"], t.model.state_dict()["0.weight"])


def test_resume_from_nothing_and_from_another_set_up(tmp_path: Any) -> None:
    t = trainer(tmp_path / "a.ckpt", -1)
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        t.fit(blobs(), epochs=1, resume=tmp_path / "none.ckpt")
    t.fit(blobs(), epochs=1, resume=True)  # no file yet: a fresh start
    other = cr.Trainer(net(), optimizer="sgd", seed=0)
    before = other.model.state_dict()
    with pytest.raises(FileFormatError, match="AdamW"):
        other.fit(blobs(), epochs=2, resume=tmp_path / "a.ckpt")
    for name, v in other.model.state_dict().items():
        np.testing.assert_array_equal(v, before[name])


def test_kill_in_the_middle_of_writing(tmp_path: Any) -> None:
    """Killed again and again while it writes at every step, the run ends as if nothing had
    happened."""
    path = tmp_path / "k.ckpt"
    code = f"""
    import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})
    import numpy as np, chainrule as cr
    from tests_common import blobs, net
    cr.seed(0)
    t = cr.Trainer(net(sizes=(4, 400, 400, 3), p=0.2), optimizer=cr.optim.Adam(lr=1e-3), seed=1,
                   callbacks=[cr.callbacks.Checkpoint(sys.argv[1], every_steps=1)])
    print("go", flush=True)
    t.fit(blobs(), epochs=4, batch_size=60, resume=True)
    cr.save(t.model, sys.argv[1] + ".model")
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run([*run, str(tmp_path / "whole.ckpt")], capture_output=True).returncode == 0
    rng = np.random.default_rng(0)
    for _ in range(5):
        p = subprocess.Popen([*run, str(path)], stdout=subprocess.PIPE)
        assert p.stdout is not None
        p.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.12))
        p.send_signal(signal.SIGKILL)
        p.communicate()
    done = subprocess.run([*run, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    a, b = cr.load(str(path) + ".model"), cr.load(str(tmp_path / "whole.ckpt.model"))
    for name, v in a.state_dict().items():
        np.testing.assert_array_equal(v, b.state_dict()[name])
    assert not [f for f in os.listdir(tmp_path) if f.startswith(".")]


def test_resume_with_other_data_or_model_changes_nothing(tmp_path: Any) -> None:
    path = tmp_path / "run.safetensors"
    x, y = blobs(64)
    checkpoint = [cr.callbacks.Checkpoint(path, every_epochs=0, every_steps=3)]
    cr.Trainer(net(), callbacks=checkpoint, seed=0).fit((x, y), epochs=1, batch_size=16)
    for model, options, rows, words in (
        (net(), {"batch_size": 32}, 64, "'batch_size': 16.*'batch_size': 32"),
        (net(), {"batch_size": 16, "shuffle": False}, 64, "shuffle"),
        (net(), {"batch_size": 16}, 32, "'rows': 64.*'rows': 32"),
        (net(sizes=(4, 8, 3)), {"batch_size": 16}, 64, "run.safetensors: the state does not fit"),
    ):
        before = model.state_dict()
        trainer = cr.Trainer(model, callbacks=checkpoint, seed=0)
        with pytest.raises(FileFormatError, match=words):
            trainer.fit((x[:rows], y[:rows]), epochs=2, resume=path, **options)
        assert trainer.epoch == trainer.step == 0
        for name, a in model.state_dict().items():
            np.testing.assert_array_equal(a, before[name])
    other = cr.Trainer(net(), loss="nll_loss", callbacks=checkpoint, seed=0)
    with pytest.raises(FileFormatError, match="loss cross_entropy, this trainer has nll_loss"):
        other.fit((x, y), epochs=2, batch_size=16, resume=path)
