"""``chainrule check``: every operation, loss and layer proved on this machine, in a table.

With ``--exhaustive`` it is the primitives below them whose rounding errors are measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
from functools import partial
from pathlib import Path

import numpy as np

from chainrule._version import __version__
from chainrule.array.errors import MissingExtraError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.cli.tables import table
from chainrule.compile.build import variants
from chainrule.compile.exhaustive import (
    ROWS,
    Worst,
    c_functions,
    float32_errors,
    float64_errors,
)
from chainrule.diagnose.proof import CHECKS, Proof, prove, samples

__all__ = ["exhaustive", "proofs", "run"]

_KINDS = {
    "operation": "operations",
    "activation": "activations",
    "loss": "losses",
    "layer": "layers",
}


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out: 0 if everything passes, else 1."""
    if arguments.exhaustive:
        return exhaustive(arguments.only, arguments.write)
    if arguments.write:
        raise UsageError("--write is for --exhaustive; add it: check --exhaustive")
    return proofs(arguments.only)


def proofs(only: str | None = None) -> int:
    """Prove every operation, activation, loss and layer, and print a line for each: 0 if all hold.

    `only` is the name of one of them.
    """
    chosen = list(samples())
    if only is not None:
        names = sorted({s.name for _, s in chosen})
        chosen = [(kind, s) for kind, s in chosen if s.name == only]
        if not chosen:
            raise UsageError(f"nothing called {only!r} is proved; {nearest(only, names)}")
    print("Largest relative errors. Values: float32 against plain NumPy in float64.")
    print("Derivatives: float64 against differences along random directions.")
    print(f"Each line stands for some samples, each put through {len(CHECKS)} checks.\n")
    found: dict[tuple[str, str], list[Proof]] = {}
    for kind, sample in chosen:
        found.setdefault((kind, sample.name), []).append(prove(sample))
    cells, wrong = [], []
    for (kind, name), proved in found.items():
        worst = [max(getattr(p, e) for p in proved) for e in ("value", "first", "second")]
        failed = [p for p in proved if not p.passed]
        wrong += [f"{p.title}: {text}" for p in failed for text in p.wrong]
        numbers = [f"{e:.1e}" for e in worst]
        cells.append([kind, name, str(len(proved)), *numbers, "FAILED" if failed else ""])
    head = ["", "name", "samples", "value", "1st derivative", "2nd derivative", ""]
    print(*table(head, cells, left=2), sep="\n")
    if wrong:
        print("", *wrong, sep="\n")
    counts = {kind: sum(k == kind for k, _ in found) for kind in _KINDS}
    what = ", ".join(f"{n} {_KINDS[k] if n > 1 else k}" for k, n in counts.items() if n)
    failed_lines = sum(any(not p.passed for p in proved) for proved in found.values())
    print(f"\n{what}; {len(chosen)} samples, {len(chosen) * len(CHECKS):,} checks")
    print(f"{len(found) - failed_lines} passed, {failed_lines} failed")
    return 1 if failed_lines else 0


def exhaustive(only: str | None = None, write: str | None = None, stride: int = 1) -> int:
    """Measure the rounding errors of the primitives and print a line for each: 0 if all passed.

    `only` is the name of one of them, `write` a file in whose table the lines are replaced; with a
    `stride` only every so many-th float32 number is taken.
    """
    if only is not None and only not in ROWS:
        raise UsageError(f"no measured primitive {only!r}; {nearest(only, ROWS)}")
    if write is not None:
        _section(write)  # fail now rather than in half an hour
    executors = "C and NumPy" if c_functions("exp") else "NumPy alone: C needs a compiler"
    print(f"Largest errors in ulp ({executors}); float32 over all numbers", end="")
    print(f", but of {stride} only one" if stride > 1 else "", end=", float64 at samples.\n\n")
    head = ["primitive", "executor", "float32", "at", "above 1 ulp", "allowed"]
    head += ["float64", "at", "allowed"]
    form = "{:<9}  {:<8}  {:>7}  {:>12}  {:>11}  {:>7}  {:>7}  {:>12}  {:>7}  {}"
    print(form.format(*head, "").rstrip())
    rows, passed, reason = [], [], ""
    for name in [only] if only else ROWS:
        single = float32_errors(ROWS[name], stride, partial(_note, name))
        try:
            double: list[Worst | None] = [*float64_errors(ROWS[name])]
        except MissingExtraError as absent:
            double, reason = [None] * len(single), str(absent)
        for a, b in zip(single, double, strict=True):
            cells = [name, a.executor, *_cells(a), *(_cells(b, False) if b else ["–"] * 3)]
            passed.append(a.passed and (b is None or b.passed))
            print(form.format(*cells, "" if passed[-1] else "FAILED").rstrip(), flush=True)
            rows.append(cells)
    if reason:
        print(f"\nfloat64 was left out: {reason}")
    if write is not None:
        _write(write, head, rows)
    print(f"\n{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


def _cells(worst: Worst, counted: bool = True) -> list[str]:
    above = [f"{worst.above:,}"] if counted else []
    return [f"{worst.ulp:.3f}", f"{worst.at:.6g}", *above, f"{worst.bound:g}"]


def _note(name: str, share: float) -> None:
    """How far a measurement is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{name}: {share:4.0%}", end="\r" + " " * 20 + "\r" if share == 1 else "",
              file=sys.stderr, flush=True)  # fmt: skip


_BEGIN, _END = "<!-- exhaustive:begin -->", "<!-- exhaustive:end -->"


def _section(path: str) -> tuple[str, str, str]:
    """A page before, between and after its markers."""
    before, found, rest = Path(path).read_text("utf-8").partition(_BEGIN)
    between, closed, after = rest.partition(_END)
    if not (found and closed):
        raise UsageError(f"{path} has no lines {_BEGIN} and {_END} to write between")
    return before, between, after


def _write(path: str, head: list[str], rows: list[list[str]]) -> None:
    """Put the table between the page's markers; rows of primitives not measured now are kept."""
    before, between, after = _section(path)
    new = {row[0] for row in rows}
    old = [[cell.strip() for cell in line.split("|")[1:-1]] for line in between.splitlines()]
    rows = rows + [row for row in old if row and row[0] in ROWS and row[0] not in new]
    rows.sort(key=lambda row: [*ROWS].index(row[0]))  # stable: C stays before NumPy
    lines = [
        f"chainrule {__version__}, NumPy {np.__version__}, {platform.machine()}, "
        f"{variants()[0]}: `chainrule check --exhaustive`",
        "",
        f"| {' | '.join(head)} |",
        "|---|---|" + "--:|" * (len(head) - 2),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    text = "\n".join(lines)
    Path(path).write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", "utf-8")
