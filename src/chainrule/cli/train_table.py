"""``chainrule train`` on a table: read, prepare, split, train, measure, and say all of it."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from chainrule._version import __version__
from chainrule.cli import train_report as words
from chainrule.cli.arguments import UsageError
from chainrule.cli.assessment import plain, primary
from chainrule.cli.compare import PEER, boosted, check_installed
from chainrule.cli.config import as_toml
from chainrule.cli.outcome import importance, judge, pictures
from chainrule.cli.progress import MemberProgress, Progress, how_it_ended, how_members_ended
from chainrule.cli.report import Fields, Note, Report
from chainrule.cli.results import importance as importance_blocks
from chainrule.cli.results import next_command, results
from chainrule.cli.runs import MARK, check_run_folder, model_output, run_folder, run_path
from chainrule.cli.tables import bytes_text, say
from chainrule.cli.tabular import (
    Fitted,
    Problem,
    Rows,
    fingerprint,
    read_problem,
    seen_values,
    typed_options,
)
from chainrule.cli.trainings import (
    METRIC,
    Clock,
    Trained,
    cross_validate,
    decision,
    members_of,
    network,
    search,
    settings,
    several,
    train_members,
    train_once,
)
from chainrule.train.callbacks import Callback, Checkpoint

__all__ = ["run"]

#: About so many epochs get a line.
_LINES = 20
_SUFFIXES = (".gz", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".ipc", ".npz")


@dataclass
class _Run:
    """One call of the command: what was asked, where things go, what was found so far."""

    a: argparse.Namespace
    out: TextIO | None
    output: str
    replaces: bool
    problem: Problem
    rows: dict[str, Rows]
    fitted: Fitted
    found: dict[str, Any]
    scores: Any = None  # of the test part

    @property
    def split_seed(self) -> int:
        seed: int = self.a.seed if self.a.split_seed is None else self.a.split_seed
        return seed


def run(a: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    out: TextIO | None = None if a.quiet else sys.stderr if a.json else sys.stdout
    _check(a)
    output, replaces = model_output(a, _stem(a.data))
    check_run_folder(run_path(output), a.force)
    with typed_options():
        problem = read_problem(a)
        seed = a.seed if a.split_seed is None else a.split_seed
        rows = problem.split(_fractions(a), seed)
        fitted = problem.fit_members(rows, members_of(a, problem, rows), seed)
        if fitted.folds is not None:
            rows = problem.pool(rows)
        r = _Run(a, out, output, replaces, problem, rows, fitted, {})
    report = Report(out)
    report.show(*words.about_data(problem, r.fitted, r.split_seed))
    report.show(*words.plan(problem, r.fitted))
    options = {**settings(a, r.fitted), "seed": a.seed}
    clock = Clock(a.time_limit)
    if a.search:
        options = _searched(r, report, options, clock)
    if a.cv:
        _cross_validated(r, report, options, clock)
    _, balance = decision(r.fitted, options)
    say(out, "")
    report.show(
        *words.about_training(r.fitted, network(r.fitted, options), options, balance, problem.time)
    )
    say(out, "")
    trained = _trained(r, report, options, clock)
    pipeline = trained.pipeline
    pipeline.about.update(_about(r, trained))
    pipeline.save(output)  # before it is measured: what comes now may be interrupted
    interrupted = trained.stopped == "interrupted"
    if not interrupted:
        try:
            _measured(r, report, trained)
        except KeyboardInterrupt:
            interrupted = True
    pipeline.about["metrics"] = {k: r.found[k] for k in ("validation", "test") if k in r.found}
    size = pipeline.save(output)
    word = ", in place of the one before" if replaces else ""
    saved = f"{output} ({bytes_text(size)}){word}; how it came about: {run_path(output)}"
    report.show(Fields([("Saved", saved)]), *next_command(_next_command(r)))
    _write_run(r, trained)  # at the end, for drawing takes a while
    if a.json:
        print(json.dumps(_as_json(r, trained), indent=2, allow_nan=False))
    if interrupted:
        print(f"chainrule: interrupted: the model so far is in {output}", file=sys.stderr)
        return 130
    return 0


# -- what was asked ---------------------------------------------------------------------------


def _check(a: argparse.Namespace) -> None:
    """Refuse what does not go together, before any work."""
    if not a.data:
        raise UsageError("--target needs a table: chainrule train data.csv --target COLUMN")
    for name in ("cv", "seeds", "search"):
        if getattr(a, name) and (a.resume or a.checkpoint):
            raise UsageError(
                f"--{name} trains several times, and a checkpoint is of one training; leave "
                "--checkpoint and --resume out"
            )
    if (a.members or 1) > 1:
        for name in ("seeds", "checkpoint", "resume"):
            if getattr(a, name):
                what = "keeps the best of several networks" if name == "seeds" else "is of one"
                raise UsageError(
                    f"--members {a.members} trains networks whose mean predicts, and --{name} "
                    f"{what}; give --members 1, or leave --{name} out"
                )
    if a.cv and (a.test or a.test_fraction):
        raise UsageError("--cv tests on every fold; leave --test and --test-fraction out")
    if a.compare:
        check_installed()


def _stem(data: list[str]) -> str:
    """The name for the files of a run, from that of the data."""
    name = Path(data[0]).name
    for end in _SUFFIXES:
        name = name.removesuffix(end)
    return "".join(c for c in name if c not in "*?[]").strip("-_. ") or "model"


def _fractions(a: argparse.Namespace) -> dict[str, float]:
    """The shares to split off, 0 for a part that comes in a file of its own."""

    def share(given: float | None, default: float, file: str | None) -> float:
        return 0.0 if file else default if given is None else given

    return {
        "validation": share(a.validation_fraction, 0.1, a.validation),
        "test": 0.0 if a.cv else share(a.test_fraction, 0.2, a.test),
    }


# -- trainings --------------------------------------------------------------------------------


def _searched(r: _Run, report: Report, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Better settings, found on folds of all rows but the test part."""
    known = [r.rows[k] for k in ("train", "validation") if k in r.rows]
    best: list[float] = []

    def tell(trial: Any) -> None:
        best.append(min([trial.score, *best[-1:]]))
        text = f"search {trial.number + 1} of {r.a.search}: loss {trial.score:.4f}"
        say(r.out, f"{text}, least so far {best[-1]:.4f}")

    say(r.out, "")
    trials = search(
        r.problem, np.sort(np.concatenate(known)), options, r.a.search, r.split_seed, clock, tell
    )
    if trials[0].error:
        raise UsageError(f"--search: no setting could be trained: {trials[0].error}")
    r.found["search"] = [
        plain({"number": t.number, "loss": t.score, "settings": t.settings, "error": t.error})
        for t in trials
    ]
    report.show(*words.search_table(r.found["search"]))
    return {**options, **trials[0].settings, "hidden": list(trials[0].settings["hidden"])}


def _cross_validated(r: _Run, report: Report, options: dict[str, Any], clock: Clock) -> None:
    found: list[dict[str, Any]] = []
    share = _fractions(r.a)["validation"]

    def measure(k: int, trained: Trained, rows: Rows) -> None:
        frame = r.problem.frame[rows]
        scores = trained.pipeline.table_scores(frame)
        found.append(judge(trained.pipeline, frame, scores, intervals=False))
        m = found[-1]["metrics"][primary(found[-1]["task"])]
        say(r.out, f"fold {k} of {r.a.cv}: {m['text']} {m['value']:.4g} on {len(rows):,} rows")

    say(r.out, "")
    cross_validate(r.problem, options, r.a.cv, share, r.split_seed, clock, measure)
    r.found["cross_validation"] = words.spread(found)
    each = f"{len(found)} folds, each tested on once by a model that had not seen it"
    report.show(*words.folds_table(r.found["cross_validation"], each))
    text = (
        "the model in the file is trained once more, on all rows; the figures above are those to "
        "expect of it"
    )
    report.show(Note(text))


def _trained(r: _Run, report: Report, options: dict[str, Any], clock: Clock) -> Trained:
    a = r.a
    if r.fitted.members > 1:
        return _members_trained(r, report, options, clock)
    if not a.seeds:
        callbacks = _callbacks(r, options)
        trained = train_once(r.fitted, options, callbacks, clock.share(1), a.resume)
        say(r.out, "")
        report.show(Fields([("Trained", how_it_ended(trained.history))]))
        return trained
    if "validation" not in r.fitted.parts:
        raise UsageError("--seeds keeps the best on validation rows; give --validation-fraction")

    def tell(k: int, trained: Trained) -> None:
        epochs = len(trained.history.rows)
        say(r.out, f"seed {trained.options['seed']}: {epochs} epochs, loss {trained.loss:.4f}")

    found = several(r.fitted, options, a.seeds, clock, tell)
    name = primary(r.fitted.target.task)
    rows: list[dict[str, Any]] = [{"seed": t.options["seed"], "loss": t.loss} for t in found]
    if "test" in r.fitted.parts:
        frame = r.problem.frame_of("test", r.rows)
        tests = [
            judge(t.pipeline, frame, t.pipeline.table_scores(frame), intervals=False) for t in found
        ]
        for row, test in zip(rows, tests, strict=True):
            row["test"] = test["metrics"][name]["value"]
        r.found["spread"] = words.spread(tests)
    r.found["seeds"] = plain(rows)
    text = "test " + name.replace("_", " ")
    report.show(*words.seeds_table(rows, text))
    if "spread" in r.found:
        each = f"{len(found)} trainings on the same rows"
        report.show(*words.folds_table(r.found["spread"], each))
    return found[0]


def _members_trained(r: _Run, report: Report, options: dict[str, Any], clock: Clock) -> Trained:
    """The networks of an ensemble, and a line for each."""

    def progress(k: int, rows: int) -> list[Callback]:
        metric = METRIC.get(r.fitted.target.task)
        columns = ["loss"]
        if "validation" in r.fitted.parts or r.fitted.folds is not None:
            columns += ["val_loss", *([f"val_{metric}"] if metric else [])]
        steps = -(-rows // options["batch_size"])
        return [MemberProgress(r.out, columns, options["epochs"], steps, k + 1, count)]

    count, turns = r.fitted.members, r.fitted.folds is not None
    trained = train_members(r.fitted, options, progress, clock.share(1))
    judged = trained.judged or {}
    say(r.out, "")
    how = how_members_ended(trained.histories, count, trained.stopped, judged, turns)
    report.show(Fields([("Trained", how)]))
    return trained


def _callbacks(r: _Run, options: dict[str, Any]) -> list[Callback]:
    parts, metric = r.fitted.parts, METRIC.get(r.fitted.target.task)
    columns = ["loss", *([metric] if metric else [])]
    if "validation" in parts:
        columns += [f"val_{c}" for c in columns]
    steps = -(-len(parts["train"][0]) // options["batch_size"])
    same: dict[str, Any] = {k: options[k] for k in ("batch_size", "epochs", "seed")}
    same["features"] = r.fitted.preprocessor.feature_names
    same["rows"] = len(parts["train"][0])
    progress = Progress(r.out, columns, options["epochs"], steps, same, _LINES)
    file = r.a.checkpoint or r.a.resume
    return [*([Checkpoint(file)] if file else []), progress]


# -- what came of it --------------------------------------------------------------------------


def _measured(r: _Run, report: Report, trained: Trained) -> None:
    """Measure the model on the test part, which nothing has looked at so far."""
    pipeline, parts = trained.pipeline, r.fitted.parts
    if trained.validation:
        r.found["validation"] = dict(trained.validation)
        if trained.judged is not None and r.fitted.folds is not None:
            r.found["validation"]["out_of_fold_rows"] = int(trained.judged["rows"])
    if "test" not in parts:
        return
    if r.a.quiet and not r.a.json:
        report = Report(sys.stdout)
    x, y = parts["test"]
    scores = r.scores = np.concatenate(list(pipeline.scores(x, 4096)))
    peers = {PEER: boosted(r.fitted, x, r.a.seed)} if r.a.compare else None
    frame = r.problem.frame_of("test", r.rows)
    numbers = r.problem.numbers_of("test", r.rows)
    found = r.found["test"] = judge(pipeline, frame, scores, rows=numbers, peers=peers)
    report.show(*results(found, "Test", f"{len(x):,} rows, neither trained on nor chosen with"))
    r.found["importance"] = importance(pipeline, x, y)
    if not r.a.quiet:
        measure = "squared error" if found["task"] == "regression" else "log loss"
        report.show(*importance_blocks(r.found["importance"], measure))


def _about(r: _Run, trained: Trained) -> dict[str, Any]:
    """What the model file tells about where the model comes from."""
    problem = r.problem
    return {
        "data": {
            "name": problem.name,
            "rows": problem.frame.height,
            "parts": {k: len(v[0]) for k, v in r.fitted.parts.items()},
            "fractions": _fractions(r.a),
            "seed": r.split_seed,
            "fingerprint": fingerprint(r.a.data),
            "seen": seen_values(problem.frame, r.rows["train"], r.fitted.preprocessor),
            "ids": problem.ids,
            "group": problem.group,
            "time": problem.time,
        },
        "training": {
            **trained.options,
            **_epochs(trained),
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "chainrule": __version__,
        },
    }


def _epochs(trained: Trained) -> dict[str, Any]:
    """How long the network trained and which weights were kept; for several a list of these."""
    each = [
        {
            "network": k + 1,
            "epochs_done": len(h.rows),
            "best_epoch": None if h.best_epoch is None else h.best_epoch + 1,
            "stopped": h.stopped,
            "seed": h.seed,
        }
        for k, h in zip(trained.numbers, trained.histories, strict=True)
    ]
    if trained.options["members"] == 1:
        return {k: each[0][k] for k in ("epochs_done", "best_epoch")}
    return {
        "epochs_done": sum(e["epochs_done"] for e in each),
        "best_epoch": None,
        "networks": each,
    }


def _history_rows(trained: Trained) -> list[dict[str, float]]:
    """The epochs; those of several networks one after the other, each with its number."""
    if trained.options["members"] == 1:
        return trained.history.rows
    pairs = zip(trained.numbers, trained.histories, strict=True)
    return [{"network": k + 1, "epoch": i + 1, **row}
            for k, h in pairs for i, row in enumerate(h.rows)]  # fmt: skip


def _resolved(r: _Run, trained: Trained) -> dict[str, Any]:
    """Every option, such that the same command with them gives the same model."""
    a, problem, fractions = r.a, r.problem, _fractions(r.a)
    return {
        "data": a.data,
        "target": problem.targets,
        "task": problem.target.task,
        "kind": [f"{c}={k}" for c, k in problem.kinds.items()] or None,
        "order": [f"{c}={','.join(v)}" for c, v in problem.orders.items()] or None,
        "drop": problem.drop or None,
        "id": problem.ids or None,
        "scaling": problem.scaling,
        "delimiter": a.delimiter,
        "encoding": a.encoding,
        "validation": a.validation,
        "test": a.test,
        "validation_fraction": None if a.validation else fractions["validation"],
        "test_fraction": None if a.test or a.cv else fractions["test"],
        "group": problem.group,
        "time": problem.time,
        "split_seed": r.split_seed,
        "members": trained.options["members"],
        **{k: trained.options[k] for k in _TRAINING},
        "clip_norm": trained.options["clip_norm"] or 0,
        "time_limit": a.time_limit,
        "cv": a.cv,
        "compare": a.compare,
        "plots": a.plots,
        "output": a.output,
    }


_TRAINING = (
    "seed", "hidden", "activation", "dropout", "optimizer", "learning_rate", "weight_decay",
    "schedule", "batch_size", "epochs", "patience", "label_smoothing", "class_weight",
)  # fmt: skip


def _comments(r: _Run) -> list[str]:
    folder = run_path(r.output)
    lines = [
        f"{MARK[2:]} {__version__}. The same model again, bit for bit:",
        f"  {words.command('chainrule', 'train', '--config', os.path.join(folder, 'config.toml'))}",
    ]
    if "search" in r.found:
        lines.append(f"The settings are the best of {len(r.found['search'])} that --search tried.")
    if "seeds" in r.found:
        lines.append(f"The seed is the best of {len(r.found['seeds'])}, by validation loss.")
    if r.a.time_limit:
        lines.append("With a time limit, a slower machine ends earlier, with another model.")
    return lines


def _write_run(r: _Run, trained: Trained) -> None:
    history = io.StringIO(newline="")
    rows = _history_rows(trained)
    names = list(dict.fromkeys(["epoch", *(name for row in rows for name in row)]))
    if "network" in names:  # of several
        names = ["network", *(n for n in names if n != "network")]
    table = csv.writer(history, lineterminator="\n")
    table.writerow(names)
    table.writerows(
        [row[n] if math.isfinite(row.get(n, math.nan)) else "" for n in names]
        for row in ({"epoch": k + 1, **row} for k, row in enumerate(rows))
    )
    figures = _figures(r, trained)
    with run_folder(run_path(r.output)) as stage:
        files = {
            "config.toml": as_toml(_resolved(r, trained), _comments(r)),
            "results.json": json.dumps(_as_json(r, trained), indent=2, allow_nan=False) + "\n",
            "history.csv": history.getvalue(),
        }
        for name, text in files.items():
            with open(os.path.join(stage, name), "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        if figures:
            from chainrule.diagnose import plots

            folder = os.path.join(stage, "plots")
            os.mkdir(folder)
            plots.save(figures, folder, _write)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _figures(r: _Run, trained: Trained) -> dict[str, Any]:
    """Pictures, where they are wanted and matplotlib is there; those of a test need its rows."""
    if r.a.plots is False or (r.a.plots is None and find_spec("matplotlib") is None):
        return {}
    if "test" not in r.found:
        from chainrule.diagnose import plots

        return {"losses": plots.losses(_curves(trained))} if trained.history.rows else {}
    frame = r.problem.frame_of("test", r.rows)
    return pictures(trained.pipeline, frame, r.scores, _curves(trained), r.found["importance"])


def _curves(trained: Trained) -> Any:
    """What there is to draw of the training: a history, or those of several networks."""
    return trained.history if len(trained.histories) == 1 else trained.histories


def _next_command(r: _Run) -> str:
    output = f"{_stem(r.a.data)}-predicted.csv"
    return words.command("chainrule", "predict", r.output, *r.a.data, "-o", output)


def _as_json(r: _Run, trained: Trained) -> dict[str, Any]:
    about, target = trained.pipeline.about, r.fitted.target
    columns: Mapping[str, Any] = r.fitted.preprocessor.to_json()["columns"]
    metrics = {k: r.found[k] for k in ("validation", "test") if k in r.found}
    others = {k: v for k, v in r.found.items() if k not in metrics}
    found: dict[str, Any] = plain(
        {
            "task": target.task,
            "why": r.problem.target.why,
            "targets": target.names,
            "classes": target.classes,
            "data": about["data"],
            "columns": columns,
            "warnings": r.fitted.preprocessor.warnings,
            "training": {
                **about["training"],
                "stopped": trained.stopped,
                "seconds": sum(h.seconds for h in trained.histories),
            },
            "parameters": sum(p.size for p in trained.pipeline.model.parameters()),
            "history": _history_rows(trained),
            "metrics": metrics,
            **others,
            "versions": about["versions"],
            "model": r.output,
            "run": run_path(r.output),
        }
    )
    return found
