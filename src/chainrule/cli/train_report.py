"""What ``chainrule train`` says of a table: the data, the training, what several of them gave."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.cli.report import Block, Fields, Note, Table
from chainrule.cli.results import column_plan, decimals, fixed, warnings
from chainrule.cli.tables import number
from chainrule.cli.tabular import Fitted, Problem, for_command_line, listed
from chainrule.nn.module import Module

__all__ = [
    "about_data",
    "about_training",
    "folds_table",
    "plan",
    "search_table",
    "seeds_table",
    "spread",
]

_VERBS = {"train": "to train", "validation": "to choose the best weights", "test": "to test"}
_TASKS = {
    "binary": "classification, two classes",
    "multiclass": "classification",
    "multilabel": "several labels per row",
    "regression": "regression",
}


def about_data(problem: Problem, fitted: Fitted, split_seed: int) -> list[Block]:
    """The table, the task and why it is this one, the parts and how they were made."""
    frame, target = problem.frame, problem.target
    what = f"{problem.name}: {frame.height:,} rows, {frame.width:,} columns"
    task = f"{_TASKS[target.task]}: predict {listed(target.names)}; {target.why}"
    if target.classes and target.task != "multilabel":
        task += f" ({listed(map(str, target.classes))})"
    parts = ", ".join(f"{len(v[0]):,} {_VERBS[k]}" for k, v in fitted.parts.items())
    by = f"seed {split_seed}"
    if problem.group:
        by = f"whole groups of {problem.group}, {by}"
    elif problem.time:
        by = f"by {problem.time}: the earliest rows train, the latest test"
    elif problem.classifies:
        by = f"class by class, {by}"
    rows = [("Data", what), ("Task", task), ("Split", f"{parts} ({by})")]
    return [Fields(rows), *(Note(note) for note in problem.notes)]


def plan(problem: Problem, fitted: Fitted) -> list[Block]:
    """What is done with each column, and what may be wrong with them."""
    roles = [
        *((name, "the target") for name in problem.targets),
        *((name, "id, kept beside predictions") for name in problem.ids),
        *((name, "decides about the split") for name in (problem.group, problem.time) if name),
        *((name, "dropped") for name in problem.drop),
    ]
    blocks = column_plan(fitted.preprocessor.columns)
    others = [(name, role) for name, role in dict(reversed(roles)).items() if role != "the target"]
    if others:
        text = "; ".join(f"{name}: {role}" for name, role in reversed(others))
        blocks.append(Note(f"no inputs: {text}"))
    return [*blocks, *warnings([for_command_line(w) for w in fitted.preprocessor.warnings])]


def about_training(
    fitted: Fitted,
    model: Module,
    options: Mapping[str, Any],
    balance: str,
    time: str | None = None,
) -> list[Block]:
    """The network and the way it is trained, in two sentences.

    Arguments:
        balance: what is said of the classes.
        time: the column that the rows are split by.
    """
    widths = [str(fitted.preprocessor.width), *map(str, options["hidden"])]
    layers = " → ".join([*widths, str(fitted.target.outputs)])
    several = f"{fitted.members} of " if fitted.members > 1 else ""
    shape = f"{several}{layers} ({options['activation'] if options['hidden'] else 'linear'}"
    words = [shape]
    if options["dropout"] and options["hidden"]:
        words.append(f"dropout {options['dropout']:g}")
    if embeddings := fitted.preprocessor.embeddings:
        words.append(f"{len(embeddings)} embedded columns")
    count = sum(p.size for p in model.parameters())
    schedule = "" if options["schedule"] == "none" else f", {options['schedule']}"
    how = [
        f"{options['optimizer']} at {options['learning_rate']:g}{schedule}",
        f"weight decay {options['weight_decay']:g}",
        f"batches of {options['batch_size']}",
        f"up to {options['epochs']} epochs"
        if options["patience"]
        else f"{options['epochs']} epochs",
        f"seed {options['seed']}",
    ]
    if options["patience"]:
        how.insert(4, f"ends after {options['patience']} without improvement")
    each = " each" if several else ""
    rows = [
        ("Networks" if several else "Network", f"{', '.join(words)}): {count:,} parameters{each}"),
        ("Training", ", ".join(how)),
    ]
    if several:
        rows.insert(1, ("Together", _together(fitted, time)))
    if balance:
        rows.append(("Classes", balance))
    return [Fields(rows)]


def _together(fitted: Fitted, time: str | None) -> str:
    """What an ensemble is, and how to get a single network."""
    count = fitted.members
    if fitted.folds is not None:
        share = _SHARES.get(count, f"one of {count} parts")
        of = f"of the rows in the order of {time}" if time else "of the rows"
        how = f"each is stopped by {share} {of} and learns from the rest"
    elif "validation" in fitted.parts:
        how = "all learn from the same rows, from other first weights"
    else:
        how = "all learn from the same rows to the end, from other first weights"
    return f"the mean of the {count} predicts; {how} (--members 1: one network)"


_SHARES = {2: "its half", 3: "its third", 4: "its quarter", 5: "its fifth"}


# -- several trainings ------------------------------------------------------------------------


def spread(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and values of each measure over several assessments."""
    found: dict[str, Any] = {}
    for key, first in results[0]["metrics"].items():
        values = [r["metrics"][key]["value"] for r in results]
        known = [v for v in values if v is not None]
        found[key] = {
            "text": first["text"],
            "larger_is_better": first["larger_is_better"],
            "mean": float(np.mean(known)) if known else None,
            "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            "values": values,
        }
    return found


def folds_table(found: Mapping[str, Any], each: str) -> list[Block]:
    """Mean and spread of every measure, and its least and largest value."""
    rows = []
    for m in found.values():
        known = [v for v in m["values"] if v is not None]
        places = decimals(min(known, default=None), max(known, default=None), m["mean"])
        text = m["text"] if m["larger_is_better"] else f"{m['text']} ↓"
        low, high = min(known, default=None), max(known, default=None)
        rows.append([text, *(fixed(v, places) for v in (m["mean"], m["deviation"], low, high))])
    head = ["", "mean", "± deviation", "least", "largest"]
    return [Table(head, rows, "lrrrr", note=f"Over {each}. ↓: smaller is better.")]


def seeds_table(rows: Sequence[Mapping[str, Any]], measure: str) -> list[Block]:
    """A row per training from other first weights; the first is the one that is kept."""
    cells = [
        [str(r["seed"]), number(r["loss"]), number(r.get("test")), "kept" if k == 0 else ""]
        for k, r in enumerate(rows)
    ]
    title = "From several first weights, the best on the validation rows first"
    head = ["seed", "validation loss", f"test {measure}", ""]
    return [Table(head, cells, "rrrl", title=title)]


def search_table(trials: Sequence[Mapping[str, Any]], shown: int = 5) -> list[Block]:
    """The best settings that a search tried."""
    cells = [
        [
            "–" if t["loss"] is None else f"{t['loss']:.4f}",
            "×".join(map(str, t["settings"]["hidden"])) or "none",
            *(f"{t['settings'][k]:g}" for k in ("dropout", "learning_rate", "weight_decay")),
            "the first, untuned" if t["number"] == 0 else "",
        ]
        for t in trials[:shown]
    ]
    title = f"The best {len(cells)} of {len(trials)} settings, by validation loss over folds"
    head = ["loss", "hidden", "dropout", "rate", "decay", ""]
    return [Table(head, cells, "rrrrrl", title=title)]


def command(*words: str) -> str:
    """Words as a shell takes them.

    >>> command("chainrule", "predict", "my model")
    "chainrule predict 'my model'"
    """
    return shlex.join(words)
