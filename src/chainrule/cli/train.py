"""``chainrule train``: from arrays to a model file, saying what happens on the way."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from chainrule import nn, optim
from chainrule.array.blas import set_threads
from chainrule.array.errors import FileFormatError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output
from chainrule.cli.measures import measure, report
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.preparation import DIGITS, Parts, precision_note, prepare
from chainrule.cli.progress import Progress
from chainrule.cli.tables import bytes_text, field
from chainrule.nn.module import Module
from chainrule.ops.formula import FORMULAS
from chainrule.optim import lr_scheduler
from chainrule.serialize.container import read_container
from chainrule.train.callbacks import BestWeights, Callback, Checkpoint, EarlyStopping
from chainrule.train.history import History
from chainrule.train.trainer import Trainer

__all__ = ["run"]

#: A peak for Adam that suits small dense nets on up to 64 standardised features. With more it
#: falls as 1/√features: a step changes every weight of a neuron by about the rate, and so the
#: neuron's sum by the more, the more there are. Other optimizers keep their own.
_ADAM_RATE, _FEW_FEATURES = 0.01, 64
_MANY_ROWS = 10_000
#: Multiplications in the largest product of a step below which a second BLAS thread only costs:
#: 2^18 take as long on two as on one, and twice as long where the other core is busy.
_FEW_PRODUCTS = 2**20


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    out: TextIO | None = None if a.quiet else sys.stderr if a.json else sys.stdout
    optimizer, schedule = _optimizer(a.optimizer, a.learning_rate, a.weight_decay, a.schedule)
    _check_activation(a.activation)
    output, replaces = _output(a)
    pipeline, parts, why = prepare(a)
    if note := precision_note(parts["train"][0]):
        print(f"chainrule: note: {note}", file=sys.stderr)
    if a.learning_rate is None and isinstance(optimizer, optim.Adam):
        few = min(1.0, _FEW_FEATURES / math.prod(pipeline.shape))
        optimizer.defaults["lr"] = _ADAM_RATE * math.sqrt(few)
    _say(out, *_about_data(pipeline, why), "")

    options = {
        "optimizer": type(optimizer).__name__,
        "learning_rate": float(optimizer.defaults["lr"]),
        "weight_decay": float(optimizer.defaults["weight_decay"]),
        "schedule": a.schedule,
        "batch_size": a.batch_size or (32 if len(parts["train"][0]) < _MANY_ROWS else 128),
        "epochs": a.epochs,
        "clip_norm": a.clip_norm,
        "patience": a.patience,
        "class_weight": a.class_weight,
        "seed": a.seed,
    }
    pipeline.about["training"] = options
    trainer = _trainer(a, pipeline, parts, optimizer, schedule, out)
    summary = pipeline.model.summary(pipeline.shape)
    _say(out, summary, "", *_about_training(options), "")
    with _threads(pipeline.model, options["batch_size"]):
        history = trainer.fit(
            parts["train"],
            epochs=a.epochs,
            batch_size=options["batch_size"],
            validation_data=parts.get("validation"),
            class_weight=a.class_weight,
            resume=a.resume,
            verbose=False,
        )
    interrupted = history.stopped == "interrupted"
    options["epochs_done"] = len(history.rows)
    options["best_epoch"] = None if history.best_epoch is None else history.best_epoch + 1
    _say(out, "", _how_it_ended(history))

    results = pipeline.about["metrics"] = _validation_results(history)
    if "test" in parts and not interrupted:
        x, y = parts["test"]
        results["test"] = measure(pipeline, np.concatenate(list(pipeline.scores(x))), y)
        title = f"{len(x):,} rows, neither trained on nor chosen with"
        lines = [field("Test", title), "", *report(results["test"], classes=False), ""]
        _say(sys.stdout if a.quiet and not a.json else out, *lines)
    size = pipeline.save(output)
    word = ", in place of the one before" if replaces else ""
    _say(out, field("Saved", f"{output} ({bytes_text(size)}){word}"))
    _say(out, f"{'Next':<11}{_next_command(output, a.data)}")  # in one line, to be copied
    if a.json:
        print(json.dumps(_as_json(pipeline, history, output), indent=2, allow_nan=False))
    if interrupted:
        print(f"chainrule: interrupted: the model so far is in {output}", file=sys.stderr)
        return 130
    return 0


# -- what was asked ---------------------------------------------------------------------------


def _optimizer(name: str, lr: float | None, decay: float | None, schedule: str) -> tuple[Any, Any]:
    options = {"lr": lr, "weight_decay": decay}
    try:
        optimizer = optim.get(name, None, **{k: v for k, v in options.items() if v is not None})
    except (ValueError, TypeError) as error:
        raise UsageError(f"--optimizer: {error}") from error
    if schedule == "none":
        return optimizer, None
    try:
        lr_scheduler.check(schedule)
    except ValueError as error:
        raise UsageError(f"--schedule: {error} (or 'none')") from error
    return optimizer, schedule


def _check_activation(name: str) -> None:
    known = [n for n, f in FORMULAS.items() if len(f.arrays) == 1]
    if name not in known:
        raise UsageError(f"--activation: no activation {name!r}; {nearest(name, known)}")


def _output(a: argparse.Namespace) -> tuple[str, bool]:
    """Where the model goes, and whether another one gives way; found out before the work."""
    if a.checkpoint:
        check_output(a.checkpoint, replace=True)
    if a.output:
        check_output(a.output, replace=a.force)
        return a.output, os.path.exists(a.output)
    output = f"{Path(a.data).stem if a.data else DIGITS}.safetensors"
    exists = os.path.exists(output)
    if exists and not a.force and os.path.isfile(output):
        try:  # the default name gives way to a newer run, and to nothing else
            ours = read_container(output).kind == "model"
        except FileFormatError:
            ours = False
        if not ours:
            raise UsageError(
                f"{output} exists and is no model of chainrule; name another file with -o, or "
                "--force to replace it"
            )
    check_output(output, replace=True)
    return output, exists


# -- training ---------------------------------------------------------------------------------


def _trainer(
    a: argparse.Namespace,
    pipeline: Pipeline,
    parts: Parts,
    optimizer: Any,
    schedule: Any,
    out: TextIO | None,
) -> Trainer:
    metric = "accuracy" if pipeline.classes is not None else "r2"
    columns = ["loss", metric]
    callbacks: list[Callback] = []
    if "validation" in parts:
        columns += ["val_loss", f"val_{metric}"]
        callbacks.append(EarlyStopping(patience=a.patience) if a.patience else BestWeights())
    if a.checkpoint or a.resume:
        callbacks.append(Checkpoint(a.checkpoint or a.resume))
    options = pipeline.about["training"]
    steps = -(-len(parts["train"][0]) // options["batch_size"])
    same = {k: options[k] for k in ("batch_size", "epochs", "seed")}
    run = {"data": pipeline.about["data"]["fingerprint"], "inputs": list(pipeline.shape), **same}
    callbacks.append(Progress(out, columns, a.epochs, steps, run))
    return Trainer(
        pipeline.model,
        loss="mse" if pipeline.classes is None else "cross_entropy",
        optimizer=optimizer,
        metrics=[metric],
        callbacks=callbacks,
        schedule=schedule,
        clip_norm=a.clip_norm,
        seed=a.seed,
    )


@contextmanager
def _threads(model: Module, batch_size: int) -> Iterator[None]:
    """One BLAS thread in the block where the products are small; the choice depends on shapes."""
    if batch_size * max(p.size for p in model.parameters()) >= _FEW_PRODUCTS:
        yield
        return
    before = set_threads(1)
    try:
        yield
    finally:
        if before is not None:
            set_threads(before)


def _validation_results(history: History) -> dict[str, Any]:
    """The validation results of the weights that were kept."""
    if not history.rows:
        return {}
    row = history.rows[-1 if history.best_epoch is None else history.best_epoch]
    found = {k[4:]: v for k, v in row.items() if k.startswith("val_") and math.isfinite(v)}
    return {"validation": found} if found else {}


# -- words ------------------------------------------------------------------------------------


def _say(out: TextIO | None, *lines: str) -> None:
    if out is not None:
        print(*lines, sep="\n", file=out, flush=True)


def _about_data(pipeline: Pipeline, why: str) -> list[str]:
    data = pipeline.about["data"]
    features = math.prod(pipeline.shape)
    shape = "" if len(pipeline.shape) == 1 else f" ({' × '.join(map(str, pipeline.shape))})"
    what = f"{data['name']}: {data['rows']:,} rows, {features:,} features{shape}"
    if data["name"] == DIGITS:
        what = f"digits, {data['rows']:,} images of 8 × 8 that come with chainrule: 64 features"
    parts = data["parts"]
    verbs = {"train": "to train", "validation": "to choose the best weights", "test": "to test"}
    split = ", ".join(f"{parts[k]:,} {verb}" for k, verb in verbs.items() if k in parts)
    by = "class by class, " if pipeline.classes is not None else ""
    task = f"{pipeline.task}, because {why}"
    if pipeline.classes is not None:
        task += f"; {pipeline.listed_classes()}"
    return [
        field("Data", what),
        field("Task", task),
        field("Split", f"{split} ({by}seed {data['seed']})"),
        field("Features", f"standardised by the model itself, {_how_scaled(pipeline)}"),
    ]


def _how_scaled(pipeline: Pipeline) -> str:
    scale = next(m for m in pipeline.model.modules() if isinstance(m, nn.Standardize)).scale
    if len(scale) > 1 and (scale == scale[0]).all():
        return "with one deviation for all, that of the training rows"
    return "each with the mean and deviation of the training rows"


def _about_training(options: dict[str, Any]) -> list[str]:
    schedule = "" if options["schedule"] == "none" else f" ({options['schedule']})"
    words = [
        options["optimizer"],
        f"learning rate {options['learning_rate']:g}{schedule}",
        f"weight decay {options['weight_decay']:g}",
        f"batches of {options['batch_size']}",
        f"seed {options['seed']}",
    ]
    if options["clip_norm"]:
        words.append(f"gradients clipped to norm {options['clip_norm']:g}")
    if options["class_weight"]:
        words.append("balanced classes")
    if options["patience"]:
        words.append(f"patience {options['patience']}")
    return [field("Training", ", ".join(words))]


def _how_it_ended(history: History) -> str:
    how = "" if history.stopped == "epochs" else f", {history.stopped}"
    text = f"{len(history.rows)} epochs in {history.seconds:.2f} s{how}."
    if history.best_epoch is not None:
        value = history.rows[history.best_epoch].get("val_loss", math.nan)
        text += f" Kept epoch {history.best_epoch + 1}, the best by validation loss, {value:.4f}."
    return field("Trained", text)


def _next_command(output: str, data: str | None) -> str:
    if data is None:
        return f"chainrule evaluate {shlex.quote(output)}"
    return f"chainrule predict {shlex.quote(output)} {shlex.quote(data)} -o predictions.npy"


def _as_json(pipeline: Pipeline, history: History, output: str) -> dict[str, Any]:
    about = pipeline.about
    rows = [{k: v if math.isfinite(v) else None for k, v in row.items()} for row in history.rows]
    return {
        "task": pipeline.task,
        "classes": None if pipeline.classes is None else pipeline.classes.tolist(),
        "data": about["data"],
        "training": {**about["training"], "stopped": history.stopped, "seconds": history.seconds},
        "parameters": sum(p.size for p in pipeline.model.parameters()),
        "history": rows,
        "metrics": about["metrics"],
        "model": output,
    }
