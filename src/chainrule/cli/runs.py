"""Where a training puts things: the model file, and beside it a folder that says how it came."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chainrule.array.errors import FileFormatError
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output
from chainrule.serialize.container import read_container

__all__ = ["MARK", "check_run_folder", "model_output", "run_folder", "run_path"]

#: How the file ``config.toml`` of a run folder begins, by which a folder is known as ours.
MARK = "# Written by chainrule train"


def model_output(a: argparse.Namespace, stem: str) -> tuple[str, bool]:
    """Where the model goes, and whether another one gives way; found out before the work."""
    if a.checkpoint:
        check_output(a.checkpoint, replace=True)
    if a.output:
        check_output(a.output, replace=a.force)
        return a.output, os.path.exists(a.output)
    output = f"{stem}.safetensors"
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


def run_path(model: str) -> str:
    """The run folder of a model file.

    >>> run_path("models/iris.safetensors")
    'models/iris-run'
    """
    return str(Path(model).with_suffix("")) + "-run"


def check_run_folder(path: str, force: bool) -> None:
    """Refuse, before the work, a place where something stands that is no run folder of ours."""
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path):
        raise UsageError(
            f"{path} is a file, and the folder of this run would have that name; name another "
            "model file with -o"
        )
    if not force and os.listdir(path) and not _ours(path):
        raise UsageError(
            f"{path} exists and is no run folder of chainrule; name another model file with -o, "
            "or --force to write into it"
        )


def _ours(path: str) -> bool:
    try:
        with open(os.path.join(path, "config.toml"), encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(MARK)
    except OSError:
        return False


@contextmanager
def run_folder(path: str) -> Iterator[str]:
    """A new folder to write into, which takes the place of `path` if the block ends well.

    What others put into the old folder moves over to the new one.
    """
    base, name = os.path.split(os.path.abspath(path))
    tag = f"{os.getpid()}-{os.urandom(4).hex()}"
    stage, old = (os.path.join(base, f".{name}.{tag}.{end}") for end in ("new", "old"))
    os.mkdir(stage)
    try:
        yield stage
        for folder, _, files in os.walk(path):  # before anything of the old one is moved
            for file in files:
                inner = os.path.relpath(os.path.join(folder, file), path)
                target = os.path.join(stage, inner)
                if not _written_by_us(inner) and not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(os.path.join(folder, file), target, follow_symlinks=False)
        if os.path.isdir(path):
            os.rename(path, old)
        try:
            os.rename(stage, path)
        except OSError:
            if os.path.isdir(old):
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if os.path.isdir(path):
            shutil.rmtree(old, ignore_errors=True)


def _written_by_us(inner: str) -> bool:
    head, _, _ = inner.partition(os.sep)
    return inner in ("config.toml", "results.json", "history.csv") or head == "plots"
