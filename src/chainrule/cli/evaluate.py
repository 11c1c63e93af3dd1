"""``chainrule evaluate``: how good a saved model is on data with known targets."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

import numpy as np

from chainrule.cli.arguments import UsageError
from chainrule.cli.files import fingerprint, read_arrays
from chainrule.cli.measures import measure, report
from chainrule.cli.pipeline import Pipeline, split_rows
from chainrule.cli.preparation import DIGITS
from chainrule.cli.tables import field
from chainrule.data import check_lengths, load_digits

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    pipeline = Pipeline.load(a.model)
    if pipeline.preprocessor is not None:
        from chainrule.cli import evaluate_table

        return evaluate_table.run(a, pipeline)
    if len(a.data) > 1:
        raise UsageError("the model is one of arrays; give one .npz with X and y")
    seen = pipeline.about.get("data", {})
    x, y, what = _digits(seen, pipeline) if not a.data else (*read_arrays(a.data[0]), a.data[0])
    scores = np.concatenate(list(pipeline.scores(x)))
    targets = pipeline.encode(y)
    check_lengths(X=scores, y=targets)
    values = measure(pipeline, scores, targets)
    if a.data and fingerprint(x, y) == seen.get("fingerprint"):
        print(
            f"chainrule: note: these are the rows the model was trained on, its "
            f"{seen['parts']['train']:,} training rows among them: the results flatter it",
            file=sys.stderr,
        )
    if a.json:
        print(json.dumps({"model": a.model, "data": what, **values}, indent=2, allow_nan=False))
        return 0
    kind = f"{pipeline.task}, {math.prod(pipeline.shape):,} features"
    print(field("Model", f"{a.model}: {kind}"))
    print(field("Data", f"{what}: {len(targets):,} rows"))
    print("", *report(values), sep="\n")
    return 0


def _digits(seen: dict[str, Any], pipeline: Pipeline) -> tuple[Any, Any, str]:
    """The test part of the digits, as it was split off when the model was trained."""
    if seen.get("name") != DIGITS:
        raise UsageError(
            "give the data to evaluate on, an .npz with X and y; the model was trained on "
            f"{seen.get('name', 'data it does not name')}"
        )
    x, y = load_digits()
    if fingerprint(x, y) != seen.get("fingerprint"):
        raise UsageError(
            f"the model was trained on a file called {DIGITS}, not on the digits that "
            "come with chainrule; give the data to evaluate on"
        )
    rows = split_rows(y, seen["fractions"], seen["seed"], pipeline.task).get("test")
    if rows is None:
        raise UsageError("the model was trained without a test part; give the data to evaluate on")
    return x[rows], y[rows], "digits, the part for testing"
