"""``chainrule train``: from arrays to a model file, saying what happens on the way."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from chainrule import nn, optim
from chainrule._version import __version__
from chainrule.array import random
from chainrule.array.errors import DataError, FileFormatError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output, fingerprint, read_arrays
from chainrule.cli.measures import measure, report
from chainrule.cli.pipeline import Pipeline, Scaling, decide_task, read_classes, split_rows
from chainrule.cli.progress import Progress
from chainrule.cli.tables import bytes_text, field
from chainrule.data import as_array, check_targets, check_x, load_digits
from chainrule.ops.formula import FORMULAS
from chainrule.optim import lr_scheduler
from chainrule.serialize.container import read_container
from chainrule.train.callbacks import BestWeights, Callback, Checkpoint, EarlyStopping
from chainrule.train.history import History
from chainrule.train.trainer import Trainer

__all__ = ["DIGITS", "run"]

Array = npt.NDArray[Any]
Part = tuple[Array, Array]

#: The name of the data that come with the package.
DIGITS = "digits"
#: Peaks that suit standardised features and small dense nets; other optimizers keep their own.
_LEARNING_RATES = {"adamw": 0.01, "adam": 0.01}
_MANY_ROWS = 10_000


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    out: TextIO | None = None if a.quiet else sys.stderr if a.json else sys.stdout
    optimizer, schedule = _optimizer(a.optimizer, a.learning_rate, a.weight_decay, a.schedule)
    _check_activation(a.activation)
    output, replaces = _output(a)
    pipeline, parts, why = _prepare(a)
    _say(out, *_about_data(pipeline, why), "")

    options = {
        "optimizer": type(optimizer).__name__,
        "learning_rate": float(optimizer.defaults["lr"]),
        "weight_decay": float(optimizer.defaults["weight_decay"]),
        "schedule": a.schedule,
        "batch_size": a.batch_size or (32 if len(parts["train"][0]) < _MANY_ROWS else 128),
        "epochs": a.epochs,
        "patience": a.patience,
        "class_weight": a.class_weight,
        "seed": a.seed,
    }
    pipeline.about["training"] = options
    trainer = _trainer(a, pipeline, parts, optimizer, schedule, out)
    summary = pipeline.model.summary(pipeline.inputs.mean.shape)
    _say(out, summary, "", *_about_training(options), "")
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
        results["test"] = measure(pipeline, pipeline.outputs_of(x), y)
        title = f"{len(x)} rows, neither trained on nor chosen with"
        lines = [field("Test", title), "", *report(results["test"], classes=False), ""]
        _say(sys.stdout if a.quiet and not a.json else out, *lines)
    size = pipeline.save(output)
    word = ", in place of the one before" if replaces else ""
    _say(out, field("Saved", f"{output} ({bytes_text(size)}){word}"))
    _say(out, field("Next", _next_command(output, a.data)))
    if a.json:
        print(json.dumps(_as_json(pipeline, history, output), indent=2, allow_nan=False))
    if interrupted:
        print(f"chainrule: interrupted: the model so far is in {output}", file=sys.stderr)
        return 130
    return 0


# -- what was asked ---------------------------------------------------------------------------


def _optimizer(name: str, lr: float | None, decay: float | None, schedule: str) -> tuple[Any, Any]:
    options = {"lr": lr or _LEARNING_RATES.get(name.lower()), "weight_decay": decay}
    try:
        optimizer = optim.get(name, None, **{k: v for k, v in options.items() if v is not None})
    except (ValueError, TypeError) as error:
        raise UsageError(f"--optimizer: {error}") from error
    if schedule == "none":
        return optimizer, None
    try:
        lr_scheduler.check(schedule)
    except ValueError as error:
        raise UsageError(f"--schedule: {error}, or 'none'") from error
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


# -- data -------------------------------------------------------------------------------------


def _prepare(a: argparse.Namespace) -> tuple[Pipeline, dict[str, Part], str]:
    """Read, check, split, standardise; the network between; and why it is of its kind."""
    name = DIGITS if a.data is None else os.path.basename(a.data)
    x, y = load_digits() if a.data is None else read_arrays(a.data)
    x = check_x(x, "X", np.float64)
    if x.ndim < 2:
        raise DataError(f"X has shape {x.shape}; expected (rows, features): X.reshape(-1, 1) for one")
    task, why = decide_task(y, a.task)
    y = read_classes(y) if task == "classification" else check_targets(y, None, "y", dtype=np.float64)
    if task == "regression" and y.ndim > 2:
        raise DataError(f"y has shape {y.shape}; expected one or several numbers per row")

    fractions = {
        "validation": 0.0 if a.validation else a.validation_fraction,
        "test": 0.0 if a.test else a.test_fraction,
    }
    rows = split_rows(y, fractions, a.seed, task)
    if a.patience and not (a.validation or fractions["validation"]):
        raise UsageError("--patience needs validation data; give --validation-fraction or --validation")
    train = rows["train"]
    classes = np.unique(y) if task == "classification" else None
    if classes is not None and len(classes) < 2:
        raise DataError(f"every row of y is {classes[0]!s}; a classifier needs two classes or more")
    inputs = Scaling.of(x, train)
    targets = None if classes is not None else Scaling.of(y, train)
    random.seed(a.seed)
    hidden = a.hidden if a.hidden is not None else [128]
    model = _network(len(inputs.mean), hidden, a, classes, targets)
    pipeline = Pipeline(model, x.shape[1:], inputs, classes, targets, y.shape[1:], {})

    encoded = pipeline.encode(y)
    parts: dict[str, Part] = {k: (inputs.apply(x, r), encoded[r]) for k, r in rows.items()}
    for part, path in (("validation", a.validation), ("test", a.test)):
        if path:
            parts[part] = _further(pipeline, path)
    pipeline.about["data"] = {
        "name": name,
        "rows": len(x),
        "parts": {k: len(v[0]) for k, v in parts.items()},
        "fractions": fractions,
        "seed": a.seed,
        "fingerprint": fingerprint(x, y),
    }
    pipeline.about["versions"] = {
        "python": platform.python_version(), "numpy": np.__version__, "chainrule": __version__,
    }  # fmt: skip
    return pipeline, parts, why


def _further(pipeline: Pipeline, path: str) -> Part:
    """Validation or test data from a file of their own."""
    x, y = read_arrays(path)
    x = check_x(pipeline.check_rows(as_array(x, "X"), f"X of {path}"), f"X of {path}", np.float64)
    return pipeline.inputs.apply(x), pipeline.encode(y, f"y of {path}")


def _network(
    features: int,
    hidden: list[int],
    a: argparse.Namespace,
    classes: Array | None,
    targets: Scaling | None,
) -> nn.Module:
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Dense(features, width, activation=a.activation))
        if a.dropout:
            layers.append(nn.Dropout(a.dropout))
        features = width
    outputs = len(classes) if classes is not None else len(targets.mean) if targets else 1
    return nn.Sequential(*layers, nn.Dense(features, outputs))


# -- training ---------------------------------------------------------------------------------


def _trainer(
    a: argparse.Namespace,
    pipeline: Pipeline,
    parts: dict[str, Part],
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
        seed=a.seed,
    )


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
    features = len(pipeline.inputs.mean)
    shape = "" if len(pipeline.shape) == 1 else f" ({' × '.join(map(str, pipeline.shape))})"
    what = f"{data['name']}: {data['rows']:,} rows, {features:,} features{shape}"
    if data["name"] == DIGITS:
        what = f"digits, 8 × 8 images that come with chainrule: {data['rows']:,} rows, 64 features"
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
        field("Features", "standardised with mean and deviation of the training rows"),
    ]


def _about_training(options: dict[str, Any]) -> list[str]:
    schedule = "" if options["schedule"] == "none" else f" ({options['schedule']})"
    words = [
        options["optimizer"],
        f"learning rate {options['learning_rate']:g}{schedule}",
        f"weight decay {options['weight_decay']:g}",
        f"batches of {options['batch_size']}",
        f"seed {options['seed']}",
    ]
    if options["class_weight"]:
        words.append("balanced classes")
    if options["patience"]:
        words.append(f"patience {options['patience']}")
    return [field("Training", ", ".join(words))]


def _how_it_ended(history: History) -> str:
    how = {"epochs": "Trained", "interrupted": "Interrupted"}.get(
        history.stopped, f"Stopped ({history.stopped})"
    )
    text = f"{how} after {len(history.rows)} epochs, {history.seconds:.2f} s."
    if history.best_epoch is not None:
        value = history.rows[history.best_epoch].get("val_loss", math.nan)
        text += f" Kept epoch {history.best_epoch + 1}, the best by validation loss ({value:.4f})."
    return text


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
