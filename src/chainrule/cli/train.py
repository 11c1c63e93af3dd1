"""``chainrule train``: from a table, or from arrays, to a model file."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from chainrule import nn, optim
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import is_table
from chainrule.cli.fitting import check_names, fit, optimizer, validation_results
from chainrule.cli.measures import measure, report
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.preparation import DIGITS, precision_note, prepare, with_defaults
from chainrule.cli.progress import Progress, how_it_ended
from chainrule.cli.runs import model_output
from chainrule.cli.tables import bytes_text, field, say
from chainrule.train.callbacks import Callback, Checkpoint
from chainrule.train.history import History

__all__ = ["run"]

#: A peak for Adam that suits small dense nets on up to 64 standardised features. With more it
#: falls as 1/√features: a step changes every weight of a neuron by about the rate, and so the
#: neuron's sum by the more, the more there are. Other optimizers keep their own.
_ADAM_RATE, _FEW_FEATURES = 0.01, 64
_MANY_ROWS = 10_000

#: Options that only a table has a meaning for; a target makes a table of any file.
_OF_TABLES = (
    "kind", "order", "drop", "id", "group", "time", "scaling", "label_smoothing", "members",
    "cv", "seeds", "search", "compare", "plots",
)  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    check_names(a.optimizer, a.schedule, a.activation)
    if is_table(a.data, bool(a.target)):
        from chainrule.cli import train_table

        return train_table.run(a)
    for name in _OF_TABLES:
        if getattr(a, name):
            option = name.replace("_", "-")
            raise UsageError(
                f"--{option} is for tables; name the column to predict with --target, as in "
                "chainrule train data.csv --target price"
            )
    return _train_arrays(with_defaults(a))


def _train_arrays(a: argparse.Namespace) -> int:
    out: TextIO | None = None if a.quiet else sys.stderr if a.json else sys.stdout
    output, replaces = model_output(a, Path(a.data[0]).stem if a.data else DIGITS)
    chosen = optimizer(vars(a))
    pipeline, parts, why = prepare(a)
    if note := precision_note(parts["train"][0]):
        print(f"chainrule: note: {note}", file=sys.stderr)
    if a.learning_rate is None and isinstance(chosen, optim.Adam):
        few = min(1.0, _FEW_FEATURES / math.prod(pipeline.shape))
        chosen.defaults["lr"] = _ADAM_RATE * math.sqrt(few)
    say(out, *_about_data(pipeline, why), "")

    options = {
        "optimizer": type(chosen).__name__,
        "learning_rate": float(chosen.defaults["lr"]),
        "weight_decay": float(chosen.defaults["weight_decay"]),
        "schedule": a.schedule,
        "batch_size": a.batch_size or (32 if len(parts["train"][0]) < _MANY_ROWS else 128),
        "epochs": a.epochs,
        "clip_norm": a.clip_norm or None,
        "patience": a.patience,
        "class_weight": a.class_weight,
        "seed": a.seed,
    }
    pipeline.about["training"] = options
    say(out, pipeline.model.summary(pipeline.shape), "", *_about_training(options), "")
    metric = "accuracy" if pipeline.classes is not None else "r2"
    columns = ["loss", metric]
    columns += ["val_loss", f"val_{metric}"] if "validation" in parts else []
    same = {k: options[k] for k in ("batch_size", "epochs", "seed")}
    same |= {"data": pipeline.about["data"]["fingerprint"], "inputs": list(pipeline.shape)}
    steps = -(-len(parts["train"][0]) // options["batch_size"])
    callbacks: list[Callback] = [Progress(out, columns, a.epochs, steps, same)]
    if a.checkpoint or a.resume:
        callbacks.insert(0, Checkpoint(a.checkpoint or a.resume))
    history = fit(
        pipeline.model,
        parts["train"],
        parts.get("validation"),
        {**options, "optimizer": a.optimizer, "time_limit": a.time_limit},
        loss="mse" if pipeline.classes is None else "cross_entropy",
        metrics=[metric],
        callbacks=callbacks,
        class_weight=a.class_weight,
        resume=a.resume,
    )
    interrupted = history.stopped == "interrupted"
    options["epochs_done"] = len(history.rows)
    options["best_epoch"] = None if history.best_epoch is None else history.best_epoch + 1
    say(out, "", field("Trained", how_it_ended(history)))

    found = validation_results(history)
    results = pipeline.about["metrics"] = {"validation": found} if found else {}
    if "test" in parts and not interrupted:
        x, y = parts["test"]
        results["test"] = measure(pipeline, np.concatenate(list(pipeline.scores(x))), y)
        title = f"{len(x):,} rows, neither trained on nor chosen with"
        lines = [field("Test", title), "", *report(results["test"], classes=False), ""]
        say(sys.stdout if a.quiet and not a.json else out, *lines)
    size = pipeline.save(output)
    word = ", in place of the one before" if replaces else ""
    say(out, field("Saved", f"{output} ({bytes_text(size)}){word}"))
    say(out, f"{'Next':<11}{_next_command(output, a.data)}")  # in one line, to be copied
    if a.json:
        print(json.dumps(_as_json(pipeline, history, output), indent=2, allow_nan=False))
    if interrupted:
        print(f"chainrule: interrupted: the model so far is in {output}", file=sys.stderr)
        return 130
    return 0


# -- words ------------------------------------------------------------------------------------


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


def _next_command(output: str, data: list[str]) -> str:
    if not data:
        return f"chainrule evaluate {shlex.quote(output)}"
    return f"chainrule predict {shlex.quote(output)} {shlex.quote(data[0])} -o predictions.npy"


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
