"""``chainrule train``: from arrays to a model file, with everything said on the way."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
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
from chainrule.cli.pipeline import Pipeline, Scaling, decide_task, read_classes
from chainrule.cli.progress import Progress
from chainrule.cli.tables import bytes_text, field
from chainrule.data import as_array, check_targets, check_x, load_digits, split
from chainrule.ops.formula import FORMULAS
from chainrule.optim import lr_scheduler
from chainrule.serialize.container import read_container
from chainrule.train.callbacks import BestWeights, Callback, Checkpoint, EarlyStopping
from chainrule.train.history import History
from chainrule.train.trainer import Trainer

__all__ = ["digits_part", "run"]

Array = npt.NDArray[Any]

_LEARNING_RATES = {"adamw": 0.01, "adam": 0.01}
_MANY_ROWS = 10_000  # from here on, larger batches
DIGITS = "digits"


@dataclass
class _Parts:
    """Standardised rows and encoded targets to train on, to choose with, to report."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array] | None


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    out: TextIO | None = None if a.quiet else sys.stderr if a.json else sys.stdout
    optimizer, schedule = _optimizer(a)
    output, replaces = _output(a)
    if a.checkpoint:
        check_output(a.checkpoint, replace=True)
    x, y = load_digits() if a.data is None else read_arrays(a.data)
    pipeline, parts, why = _prepare(a, x, y)
    _say(out, *_about_data(a, pipeline, why), "")
    model = pipeline.model
    _say(out, model.summary(pipeline.inputs.mean.shape), "")  # type: ignore[no-untyped-call, unused-ignore]

    trainer, batch_size = _trainer(a, pipeline, parts, optimizer, schedule, out)
    options = pipeline.about["training"]
    _say(out, *_about_training(options), "")
    history = trainer.fit(
        parts.train, epochs=a.epochs, batch_size=batch_size, validation_data=parts.validation,
        class_weight=a.class_weight, resume=a.resume, verbose=False,
    )  # fmt: skip
    interrupted = history.stopped == "interrupted"
    options |= {"epochs_done": len(history.rows), "stopped": history.stopped}
    options["best_epoch"] = None if history.best_epoch is None else history.best_epoch + 1
    _say(out, "", _how_it_ended(history, a.epochs))

    results: dict[str, Any] = {}
    if history.rows and (row := _kept(history)):
        results["validation"] = {k[4:]: v for k, v in row.items() if k.startswith("val_")}
    if parts.test is not None and not interrupted:
        results["test"] = measure(pipeline, _scores(pipeline, parts.test[0]), parts.test[1])
        title = f"{len(parts.test[0])} rows that were neither trained on nor chosen with"
        lines = ["", field("Test", title), "", *report(results["test"], classes=False)]
        _say(sys.stdout if a.quiet and not a.json else out, *lines)
    pipeline.about["metrics"] = _finite(results)
    size = pipeline.write(output)
    word = ", which replaces the one before" if replaces else ""
    next_line = f"chainrule evaluate {output}" if a.data is None else f"chainrule info {output}"
    if a.data is not None:
        next_line = f"chainrule predict {_quoted(output)} {_quoted(a.data)} -o predictions.npy"
    _say(out, "", field("Saved", f"{output} ({bytes_text(size)}){word}"), field("Next", next_line))
    if a.json:
        print(json.dumps(_json(pipeline, history, output), indent=2))
    if interrupted:
        print(f"chainrule: interrupted; the model so far is in {output}", file=sys.stderr)
        return 130
    return 0
