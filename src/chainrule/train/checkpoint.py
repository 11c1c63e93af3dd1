"""Checkpoints: everything that training is, in one file that cannot run code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chainrule.array.errors import FileFormatError
from chainrule.nn.regularizers import Regularizer
from chainrule.serialize.container import read_container, write_container
from chainrule.serialize.model import architecture_of
from chainrule.train.callbacks import Averaging, Callback

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

__all__ = ["read", "write"]


def write(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write the state of `trainer`; see `Trainer.save_checkpoint`.

    The weights are those that training goes on with, also where the model holds averages of them
    at the moment.
    """
    averages = [c.average for c in trainer.callbacks if isinstance(c, Averaging) and c.average]
    applied = [a for a in averages if a.applied]
    for a in applied:
        a.restore()
    try:
        _write(trainer, path)
    finally:
        for a in applied:
            a.apply()


def _write(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    running = trainer._running
    arrays: dict[str, Any] = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    optimizer = trainer.optimizer.state_dict()
    arrays.update((f"optimizer.{k}", v) for k, v in optimizer["state"].items())
    callbacks = []
    for k, c in enumerate(_with_state(trainer)):
        values, own = c.state()
        callbacks.append({"class": type(c).__name__, "values": values})
        arrays.update((f"callback.{k}.{name}", v) for name, v in own.items())
    for k, r in enumerate(_regularizers(trainer)):
        arrays.update((f"regularizer.{k}.{name}", v) for name, v in r.state().items())
    kept = running._kept
    for name, column in zip(("y", "output", "weight"), zip(*kept, strict=True), strict=False):
        if column[0] is not None:
            import numpy as np

            arrays[f"metrics.{name}"] = np.concatenate(column)
    metadata = {
        "architecture": architecture_of(trainer.model),
        "training": {
            "epoch": trainer.epoch,
            "first_epoch": trainer._first_epoch,
            "step": trainer.step,
            "batch": running.batch,
            "running": [running.loss, running.weight, running.last],
            "history": trainer.history.rows,
            "seconds": trainer.history.seconds,
            "stream": trainer.stream.state(),
            "optimizer": {k: v for k, v in optimizer.items() if k != "state"},
            "optimizer_class": type(trainer.optimizer).__name__,
            "schedule": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
            "callbacks": callbacks,
            "regularizers": [type(r).__name__ for r in _regularizers(trainer)],
            "accumulate": trainer.accumulate,
            "layout": trainer.layout,
            "loss": trainer.loss.name,
        },
    }
    write_container(path, arrays, metadata, kind="checkpoint")


def read(trainer: Trainer, path: str | os.PathLike[str]) -> int:
    """Put `trainer` back where the file left it; the batch of the epoch to go on from.

    Raises:
        FileFormatError: if the file is damaged or belongs to another training set-up; nothing is
            changed then.
    """
    file = read_container(path, kind="checkpoint")
    state = file.metadata.get("training")
    if not isinstance(state, dict):
        raise FileFormatError(f"{os.fspath(path)}: a checkpoint without training state")
    _check(trainer, state, path)
    parts: dict[str, dict[str, Any]] = {}
    for name, a in file.tensors.items():
        room, _, rest = name.partition(".")
        parts.setdefault(room, {})[rest] = a
    try:
        trainer.model.load_state_dict(parts.get("model", {}))
    except (KeyError, ValueError) as error:
        raise FileFormatError(f"{os.fspath(path)}: {error.args[0]}") from error
    trainer.optimizer.load_state_dict({**state["optimizer"], "state": parts.get("optimizer", {})})
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(state["schedule"])
    trainer.stream.load_state(state["stream"])
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer._first_epoch = state["first_epoch"]
    trainer.history.rows = [dict(row) for row in state["history"]]
    trainer.history.seed = trainer.stream.seed
    trainer.history.seconds = state["seconds"]
    running = trainer._running
    running.loss, running.weight, running.last = state["running"]
    running.batch = state["batch"]
    kept = parts.get("metrics", {})
    if "output" in kept:
        running._kept = [(kept.get("y"), kept["output"], kept.get("weight"))]
        running.rows = len(kept["output"])
    trainer.partial = running.batch > 0
    for k, (c, saved) in enumerate(zip(_with_state(trainer), state["callbacks"], strict=True)):
        c.load_state(saved["values"], _numbered(parts.get("callback", {}), k))
    for k, r in enumerate(_regularizers(trainer)):
        r.load_state(_numbered(parts.get("regularizer", {}), k))
    return running.batch


def _with_state(trainer: Trainer) -> list[Callback]:
    """The callbacks that keep something. The others may differ when a run is resumed."""
    return [c for c in trainer.callbacks if type(c).state is not Callback.state]


def _regularizers(trainer: Trainer) -> list[Regularizer]:
    """The regularizers that keep something."""
    return [
        r
        for r in trainer.regularizers
        if isinstance(r, Regularizer) and type(r).state is not Regularizer.state
    ]


def _numbered(arrays: dict[str, Any], k: int) -> dict[str, Any]:
    """The arrays of number k, by their own names."""
    return {n.removeprefix(f"{k}."): a for n, a in arrays.items() if n.startswith(f"{k}.")}


def _check(trainer: Trainer, state: dict[str, Any], path: Any) -> None:
    wanted = [type(c).__name__ for c in _with_state(trainer)]
    saved = [c["class"] for c in state["callbacks"]]
    for what, now, then in (
        ("optimizer", type(trainer.optimizer).__name__, state["optimizer_class"]),
        ("callbacks", wanted, saved),
        (
            "regularizers",
            [type(r).__name__ for r in _regularizers(trainer)],
            state.get("regularizers", []),
        ),
        ("loss", trainer.loss.name, state["loss"]),
        ("accumulate", trainer.accumulate, state["accumulate"]),
        ("schedule", trainer.scheduler is not None, state["schedule"] is not None),
        # the same rows in the same batches, or its place in the epoch means nothing
        ("data of", trainer.layout, state["layout"]),
    ):
        if now != then:
            raise FileFormatError(
                f"{os.fspath(path)}: the checkpoint was written with {what} {then}, this trainer "
                f"has {now}; resume "
                "with the same set-up"
            )
