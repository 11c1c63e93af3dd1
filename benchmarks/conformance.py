"""Other people's tables of tests, run as they are.

    python benchmarks/conformance.py --write docs/conformance.md

PyTorch's samples of its functions (OpInfo), its wrong inputs, its modules and its optimizers; the
optimizers of Keras; scikit-learn's own tests of its metrics. A case passes, fails, or does not
apply, and then says why. While you change something, a part is enough:

    python benchmarks/conformance.py --table functions --only einsum
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import conformance_sklearn
import harness
from conformance_record import TOLERANCE, Row, Table

Only = Callable[[str], bool]
Show = Callable[[Row], None]


def functions(only: Only, show: Show) -> Iterator[Table]:
    import conformance_torch

    return conformance_torch.tables(only, show)


def modules(only: Only, show: Show) -> Iterator[Table]:
    import conformance_modules

    return conformance_modules.tables(only, show)


def optimizers(only: Only, show: Show) -> Iterator[Table]:
    import conformance_optim

    return conformance_optim.tables(only, show)


def metrics(only: Only, show: Show) -> Iterator[Table]:
    table = Table(
        "scikit-learn's metrics",
        "The test modules that scikit-learn installs, run with chainrule's functions in place of "
        "its own: values, shapes, types of errors, categories of warnings. A case counts for every "
        "function that it calls, and once in the total.",
    )
    rows = conformance_sklearn.run()
    count = len(rows) - 1
    for found in rows:
        counts = (found["passed"], found["failed"], Counter(found["reasons"]))
        if found["function"] == "all cases":
            table.total = counts
        elif only(f"sklearn.metrics.{found['function']}"):
            row = Row(
                f"sklearn.metrics.{found['function']}",
                f"metrics.{found['function']}",
                counts[0],
                [f"{counts[1]} cases; run conformance_sklearn.py --verbose"] * counts[1],
                counts[2],
            )
            show(row)
            table.rows.append(row)
    if len(table.rows) < count:  # a part of them
        table.total = None
    yield table


TABLES: dict[str, Callable[[Only, Show], Iterator[Table]]] = {
    "functions": functions,
    "modules": modules,
    "optimizers": optimizers,
    "metrics": metrics,
}


def show(row: Row) -> None:
    print(row.line, flush=True)
    for failure in row.failures[:5]:
        print(f"    {failure}", flush=True)


def totals(tables: list[Table]) -> list[list[str]]:
    lines = [[t.title, str(t.passed), str(t.failed), str(sum(t.excluded.values()))] for t in tables]
    sums = [sum(int(line[k]) for line in lines) for k in (1, 2, 3)]
    return [*lines, ["**together**", *(f"**{n}**" for n in sums)]]


def grid(header: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] + [
        "---:" if h in ("pass", "fail", "n/a", "cases") else "---" for h in header[1:]
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])


def page(tables: list[Table]) -> str:
    peers = ("torch", "keras", "scikit-learn", "numpy")
    versions = ", ".join(f"{p} {harness.version(p)}" for p in peers if harness.version(p))
    rtol, part = TOLERANCE["float64"]
    rtol32, part32 = TOLERANCE["float32"]
    parts = [
        "# Conformance: other people's tests",
        "<!-- written by benchmarks/conformance.py --write docs/conformance.md -->",
        "PyTorch, Keras and scikit-learn are tested with large tables of inputs. Here chainrule "
        "takes these tests in their place. PyTorch's tables are private to it and change with it, "
        "so its version is pinned.",
        f"```sh\npython benchmarks/conformance.py --write docs/conformance.md\n```\n\n{versions}; "
        f"chainrule {harness.version('chainrule')}.",
        grid(["table", "pass", "fail", "n/a"], totals(tables)),
        "A case is not applicable (n/a) where chainrule does otherwise on purpose. Every reason "
        "stands under its table; most of these differences are explained in "
        "[Differences from PyTorch](differences.md).",
        f"**How close.** In float64 a number may differ by {rtol:g} of itself and {part:g} of the "
        f"largest of its array (or of 1); in float32 by {rtol32:g} and {part32:g}. Where PyTorch's "
        "float32 is the less exact of the two, its float64 at the same numbers decides. Type and "
        "shape must be equal. Gradients are compared by every differentiable input at once, with "
        "random cotangents; second derivatives where PyTorch has them and the inputs have no more "
        "than 600 numbers. Some derivatives are less exact in PyTorch, and may differ by more: by "
        "1e-7 that of `hardsigmoid` (its 1/6 is rounded to float32) and of `celu` (1/α), by 1e-8 "
        "those of `lgamma` and `digamma` and the second one of `binary_cross_entropy` (it adds "
        "1e-12 to a denominator). Optimizers may differ by 1e-9 after 150 steps.",
        "**What is not run.** Complex, half and integer types, other devices, `out=`, PyTorch's "
        "forward mode, its compilers; functions that chainrule does not have.",
    ]
    for t in tables:
        parts += [f"## {t.title}", t.about]
        head = ["theirs", "chainrule", "pass", "fail", "n/a"]
        lines = [
            [
                *(f"`{escaped(r.name)}`", f"`{r.ours}`", str(r.passed)),
                *(str(len(r.failures)), str(sum(r.excluded.values()))),
            ]
            for r in t.rows
        ]
        parts.append(grid(head, lines))
        if t.excluded:
            reasons = [[escaped(why), str(n)] for why, n in t.excluded.most_common()]
            parts.append(grid(["not applicable, because", "cases"], reasons))
    failures = [f"- `{r.name}`: {f}" for t in tables for r in t.rows for f in r.failures]
    parts += ["## Failures", "\n".join(failures) or "None."]
    return "\n\n".join(map(wrapped, parts)) + "\n"


def wrapped(text: str) -> str:
    """Prose in lines of 100 characters; code, tables and lists as they are."""
    whole = text.startswith(("|", "#", "-", "`", "<"))
    return text if whole else textwrap.fill(text, 100, break_long_words=False)


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", choices=TABLES, action="append", help="one table (or several)")
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        help="those with this in their name, or a pattern (or several)",
    )

    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args()
    if options.write and (options.table or options.only):
        parser.error("--write takes all tables, without --table and --only")

    def only(name: str) -> bool:
        return not options.only or any(
            wanted in name or fnmatch.fnmatch(name, wanted) for wanted in options.only
        )

    start = time.perf_counter()
    tables: list[Table] = []
    for name in options.table or TABLES:
        tables += TABLES[name](only, show)
    tables = [t for t in tables if t.rows]
    if not tables:
        parser.error(f"there is nothing called {' or '.join(options.only)}")
    print()
    for line in totals(tables):
        print(f"{line[0].strip('*'):40} {line[1].strip('*'):>6} pass {line[2].strip('*'):>5} fail "
              f"{line[3].strip('*'):>5} n/a")  # fmt: skip
    print(f"{time.perf_counter() - start:.0f} s")
    if options.write:
        options.write.write_text(page(tables), "utf-8")
    return int(any(t.failed for t in tables))


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        sys.exit(main())
