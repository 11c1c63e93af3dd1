"""``chainrule evaluate`` on a table: the preparation of the training replayed, its report."""

from __future__ import annotations

import argparse
import json
import sys

from chainrule.array.errors import DataError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.cli.outcome import judge
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.report import Fields, Report
from chainrule.cli.results import results
from chainrule.cli.tabular import (
    display_name,
    fingerprint,
    for_command_line,
    listed,
    source_of,
    with_targets,
)
from chainrule.data.reading import read_table

__all__ = ["run"]


def run(a: argparse.Namespace, pipeline: Pipeline) -> int:
    """Carry the command out; the exit code."""
    assert pipeline.target is not None
    assert pipeline.preprocessor is not None
    seen = pipeline.about.get("data", {})
    if not a.data:
        raise UsageError(
            "give a table to evaluate on, with the columns of the one the model was trained on, "
            f"{seen.get('name', 'which it does not name')}"
        )
    frame = read_table(source_of(a.data), delimiter=a.delimiter, encoding=a.encoding)
    name, targets = display_name(a.data), pipeline.target.names
    for column in targets:
        if column not in frame.columns:
            raise DataError(
                f"{name} has no column {column!r}, which the model predicts; evaluating needs the "
                f"truth. {nearest(column, frame.columns)}"
            )
    notes: list[str] = []
    frame, numbers = with_targets(frame, targets, name, notes)
    known = {*targets, *seen.get("ids", ())}
    inputs = frame.drop([c for c in known if c not in pipeline.preprocessor.inputs])
    notes += [for_command_line(n) for n in pipeline.preprocessor.check(inputs, name)]
    if fingerprint(a.data) == seen.get("fingerprint"):
        notes.append(
            f"these are the rows the model was trained on, its {seen['parts']['train']:,} training "
            "rows among them: the results flatter it"
        )
    rows = range(frame.height) if numbers is None else numbers
    scores = pipeline.table_scores(frame, 4096, name)
    found = judge(pipeline, frame, scores, rows=[int(k) + 1 for k in rows])
    for note in notes:
        print(f"chainrule: note: {note}", file=sys.stderr)
    if a.json:
        print(json.dumps({"model": a.model, "data": name, **found}, indent=2, allow_nan=False))
        return 0
    report = Report(sys.stdout)
    report.show(Fields([("Model", f"{a.model}: {pipeline.target.task} of {listed(targets)}")]))
    report.show(*results(found, "Data", f"{name}: {frame.height:,} rows"))
    return 0
