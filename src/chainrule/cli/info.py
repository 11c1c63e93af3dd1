"""``chainrule info``: what is installed and how fast it can run, or what a model file holds."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import warnings
from typing import Any

import numpy as np

from chainrule import nn
from chainrule._version import __version__
from chainrule.array.blas import advice, blas_info
from chainrule.cli.measures import report
from chainrule.cli.tables import bytes_text, field, number
from chainrule.compile import build, native
from chainrule.serialize.container import Container, read_container

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    if arguments.model is None:
        print(*_machine(), sep="\n")
    else:
        print(*_file(arguments.model), sep="\n")
    return 0


def _machine() -> list[str]:
    blas = blas_info()
    library = " ".join(str(blas[k]) for k in ("library", "version") if blas[k])
    cpus = f"{blas['cpus']} CPU" + ("" if blas["cpus"] == 1 else "s")
    lines = [
        field("chainrule", __version__),
        field("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        field("NumPy", np.__version__),
        field("BLAS", library or "unknown"),
        field("Kernel", f"{blas['kernel'] or 'unknown'}{_chosen(blas['coretype'])}"),
        field("Threads", f"{blas['threads'] or 'unknown'} for matrix products, {cpus}"),
        *_executor(),
    ]
    lines += [field("Advice" if k == 0 else "", text) for k, text in enumerate(advice())]
    return lines


def _executor() -> list[str]:
    """What runs formulas, C or NumPy, and why; where further kernels come from."""
    if not build.enabled():
        value = os.environ["CHAINRULE_NATIVE"]
        return [field("Executor", f"NumPy: CHAINRULE_NATIVE={value} turns native code off")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = build.runtime()
    compiler = build.find_compiler()
    name = "none (no cc, gcc or clang on the PATH, and none that CC names)"
    if compiler is not None:
        name = shlex.join([os.path.basename(compiler.command[0]), *compiler.command[1:]])
    if module is None:
        reason = "there is no C compiler, nor was there one at the installation"
        if compiler is not None:
            reason = "the headers of Python or of NumPy are absent, without which nothing compiles"
        reason = next((str(w.message) for w in caught), reason)
        return [field("Executor", f"NumPy: {reason}"), field("Compiler", name)]
    count = len(build.catalogue())
    shipped = f"{count} kernels" if count else "no kernels"
    lines = [field("Executor", f"C for {build.variants()[0]}; {shipped} came with the package")]
    if native.only_shipped():
        name += ", not used: CHAINRULE_NATIVE=shipped"
    elif compiler is None:
        name += ": other kernels run as NumPy"
    else:
        small = ", small operations too (CHAINRULE_NATIVE=always)" if native.always() else ""
        folder = build.cache_folder() or "a temporary folder"
        name += f" for other kernels{small}; they are kept in {folder}"
    return [*lines, field("Compiler", name)]


def _chosen(coretype: str | None) -> str:
    return f" (OPENBLAS_CORETYPE={coretype})" if coretype else ""


def _file(path: str) -> list[str]:
    from chainrule.serialize.model import load

    file = read_container(path)
    size = bytes_text(os.path.getsize(path))
    lines = [
        field("File", path),
        field(
            "Holds",
            f"a {file.kind}, {size}, written by chainrule {file.library_version} "
            f"(file format {file.format_version})",
        ),
    ]
    if file.kind == "checkpoint":
        lines += _checkpoint(file)
    user = file.metadata.get("user")
    about: dict[str, Any] = user if isinstance(user, dict) and "input_shape" in user else {}
    if about:
        lines += _about_table(path, about) if "preprocessor" in about else _about(about)
    if not isinstance(file.metadata.get("architecture"), dict):
        return [*lines, field("Model", "values alone; build the model and load into it")]
    lines += ["", *_layers(load(path), about.get("input_shape"))]
    if isinstance(about.get("metrics"), dict):
        lines += _results(about["metrics"])
    return lines


def _layers(model: Any, shape: Any) -> list[str]:
    """The table of layers; of equal networks of an ensemble that of the first."""
    if isinstance(model, nn.Ensemble) and len({str(member) for member in model}) == 1:
        total = sum(p.size for p in model.parameters())
        text = f"the mean of {len(model)} networks like this one, {total:,} parameters together"
        return [field("Ensemble", text), "", model[0].summary(shape)]
    return [model.summary(shape)]


def _about_table(path: str, about: dict[str, Any]) -> list[str]:
    """The task, the columns as they were in training, how the model came about."""
    from chainrule.cli.pipeline import Pipeline
    from chainrule.cli.report import Table
    from chainrule.cli.report import lines as drawn
    from chainrule.cli.results import column_plan

    pipeline = Pipeline.load(path)
    target, preprocessor = pipeline.target, pipeline.preprocessor
    assert target is not None
    assert preprocessor is not None
    task = f"{target.task}: predicts {', '.join(target.names)}"
    if target.classes is not None and target.task != "multilabel":
        names = [str(c) for c in target.classes]
        shown = names if len(names) <= 40 else [*names[:39], "…", names[-1]]
        task += f", one of {len(names)} classes: {', '.join(shown)}"
    lines = [field("Task", task)]
    ids = about.get("data", {}).get("ids")
    lines += [field("Id", f"{', '.join(ids)}, kept beside predictions")] if ids else []
    if about.get("decision"):
        weights = ", ".join(f"{w:.3g}" for w in about["decision"])
        text = f"the class with the largest probability times its weight: {weights}"
        lines.append(field("Decision", text))
    lines += _history(about)
    lines += ["", "The columns, as they were in the training rows", ""]
    lines += [line for b in column_plan(preprocessor.columns) for line in drawn(b)]
    if seen := about.get("data", {}).get("seen"):
        table = Table(["column", "values in training"], [[k, v] for k, v in seen.items()], "lw")
        lines += ["", *drawn(table)]
    return lines


def _checkpoint(file: Container) -> list[str]:
    state: dict[str, Any] = file.metadata.get("training", {})
    rows = state.get("history") or [{}]
    shown = ", ".join(f"{k} {number(v)}" for k, v in rows[-1].items() if k not in ("lr", "seconds"))
    return [
        field("State", f"after {state.get('epoch')} epochs, {state.get('step')} steps"),
        *([field("Last", shown)] if shown else []),
    ]


def _about(about: dict[str, Any]) -> list[str]:
    classes = about.get("classes")
    task = str(about["task"])
    if classes is not None:
        names = [str(c) for c in classes]
        shown = names if len(names) <= 40 else [*names[:39], "…", names[-1]]
        task += f", {len(names)} classes: {', '.join(shown)}"
    lines = [field("Task", task)]
    shape = " × ".join(map(str, about["input_shape"]))
    lines.append(
        field(
            "Input",
            f"rows of {shape} numbers as they are; the model standardises them itself",
        )
    )
    if isinstance(about.get("outputs"), dict):
        text = "standardised values; predict undoes that, with the mean and scale in this file"
        lines.append(field("Output", text))
    return [*lines, *_history(about)]


def _history(about: dict[str, Any]) -> list[str]:
    """The data, the training and the versions that a model came from."""
    lines = []
    data = about.get("data")
    if isinstance(data, dict):
        parts = ", ".join(f"{v:,} to {_VERBS.get(k, k)}" for k, v in data["parts"].items())
        lines.append(field("Trained on", f"{data['name']}, {data['rows']:,} rows: {parts}"))
    training = about.get("training")
    if isinstance(training, dict):
        best = training.get("best_epoch")
        words = [
            f"{k.replace('_', ' ')} {v}"
            for k, v in training.items()
            if v not in (None, 0) and k in _SHOWN
        ]
        trained = len(training.get("networks", ()))
        if 0 < trained < training["members"]:
            words.append(f"{trained} of the members trained in time")
        words.append(f"{training['epochs_done']} epochs" + (f", best {best}" if best else ""))
        lines.append(field("With", ", ".join(words)))
    versions = about.get("versions")
    if isinstance(versions, dict):
        lines.append(field("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return lines


_VERBS = {"train": "train", "validation": "validate", "test": "test"}
_SHOWN = (
    "members",
    "hidden",
    "activation",
    "dropout",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "batch_size",
    "seed",
)


def _results(results: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for part, values in results.items():
        if "metrics" in values:
            from chainrule.cli.report import lines as drawn
            from chainrule.cli.results import classes, measures

            lines += ["", f"On the {values['rows']:,} {part} rows"]
            for block in (*measures(values), *classes(values)):
                lines += ["", *drawn(block)]
        elif "rows" in values:
            lines += ["", f"On the {part} rows", *report(values, classes=False)]
        else:
            held = values.get("out_of_fold_rows")
            shown = ", ".join(
                f"{k} {number(v)}" for k, v in values.items() if k != "out_of_fold_rows"
            )
            rows = f"{held:,} rows held out in turn" if held else f"{part} rows"
            lines += ["", f"On the {rows}: {shown}"]
    return lines
