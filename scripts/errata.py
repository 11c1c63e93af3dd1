"""The errata of the source notes as a page: what was printed, what is right, and both measured.

    python scripts/errata.py                           # prints the page
    python scripts/errata.py --write docs/errata.md    # writes it

The words come from ``docs/errata.toml``, the numbers from the measurements in ``tests/errata/``. It
needs what the tests need: PyTorch and mpmath are references of some.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT / "tests") not in sys.path:
    sys.path.insert(0, str(ROOT / "tests"))

from errata.measured import SHAPE, Measurement, gathered  # noqa: E402

MODULES = ("layers", "activations", "losses", "optimizers", "training")

CLASSES = {
    "W": "wrong",
    "A": "incomplete or ambiguous",
    "N": "numerically unsafe",
    "C": "convention or contradiction",
    "T": "typing or wording",
}

INTRODUCTION = """\
# Errata of the notes

The library began with five notes on neural networks, called note 000 to note 004 here. This page
lists every mistake, gap, contradiction and unsafe formula found in them: {total}. Of those,
{measured} are measured and are tests: the printed form must fail, the library's must not.

How to read an entry: its class and place, and the rows of the ledger it belongs to; the formula as
printed; what is the matter with it; the right form with its source; what PyTorch and Keras do; and
the errors measured, of the printed form → of the library's function. These are the largest absolute
differences from the reference named (relative where it says so), in float64. For a convention, the
first is the difference between two customs, not a mistake. What is left of the second is the
reference's: central differences are good to about 10⁻⁹, random draws to about 10⁻³.

| class | | errata | measured | wording only | of layers to come |
|---|---|---|---|---|---|
{counts}

The numbers are written by

```sh
python scripts/errata.py --write docs/errata.md
```

from [errata.toml](errata.toml) and the measurements in [tests/errata](../tests/errata).
"""

KERAS = """\
## What Keras does

Conventions found in Keras 3.15, where they bear on the entries above.

| | |
|---|---|
{rows}
"""


def data() -> dict[str, Any]:
    """``docs/errata.toml``."""
    return tomllib.loads((ROOT / "docs" / "errata.toml").read_text("utf-8"))


def measurements() -> dict[str, Measurement]:
    """All that is measured, by id."""
    return gathered([importlib.import_module(f"errata.{name}") for name in MODULES])


@functools.cache
def groups() -> dict[str, str]:
    """Where a group of ledger rows stands: ``O`` -> ``ledger.md#o-optimizers``."""
    ledger = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    headings = re.findall(r"^## (([A-Z]+) .*)$", ledger, re.MULTILINE)
    return {
        group: "ledger.md#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading, group in headings
    }


def state(entry: dict[str, Any], measured: dict[str, Measurement]) -> str:
    """``measured``, ``words``, ``open``, or ``missing``: still to be measured."""
    if entry["id"] in measured:
        return "measured"
    return next((key for key in ("words", "open") if entry.get(key)), "missing")


def number(x: float) -> str:
    """One digit, which does not change from machine to machine, but for rounding errors."""
    return "0" if x == 0 else f"{x:.0e}"


def result(measurement: Measurement) -> str:
    """Both errors and what was compared."""
    printed, library = measurement()
    if printed is None:
        first = "not printed"
    elif isinstance(printed, str):
        assert printed == SHAPE
        first = "another shape"
    else:
        first = "not a number" if math.isnan(printed) else number(printed)
    return f"{first} → {number(library)}. {measurement.about}"


def blocks(entry: dict[str, Any], measured: dict[str, Measurement]) -> Iterator[str]:
    yield f"### {entry['id']}\n"
    rows = ", ".join(f"[{row}]({groups()[row.partition('-')[0]]})" for row in entry["rows"])
    yield f"**{CLASSES[entry['class']].capitalize()}** · {entry['place']} · ledger {rows}\n"
    yield f"- printed: {entry['printed']}"
    yield f"- but: {entry['why']}"
    yield f"- right: {entry['right']}"
    if "mainstream" in entry:
        yield f"- elsewhere: {entry['mainstream']}"
    match state(entry, measured):
        case "measured":
            yield f"- measured: {result(measured[entry['id']])}"
        case "words":
            yield "- a matter of words: nothing to measure"
        case "open":
            yield f"- open: it belongs to {entry['open']}, which the library does not have yet"
        case "missing":
            yield "- not measured yet"
    yield ""


def counts(entries: list[dict[str, Any]], measured: dict[str, Measurement]) -> Iterator[str]:
    for letter, meaning in CLASSES.items():
        states = [state(e, measured) for e in entries if e["class"] == letter]
        numbers = [len(states), *(states.count(s) for s in ("measured", "words", "open"))]
        yield f"| {letter} | {meaning} | " + " | ".join(map(str, numbers)) + " |"


def page() -> str:
    """The whole page."""
    text, measured = data(), measurements()
    entries = text["erratum"]
    lines = [
        INTRODUCTION.format(
            total=len(entries),
            measured=sum(state(e, measured) == "measured" for e in entries),
            counts="\n".join(counts(entries, measured)),
        )
    ]
    for note, title in text["notes"].items():
        lines.append(f"## Note {note}: {title}\n")
        for entry in entries:
            if entry["id"].startswith(f"E{note}-"):
                lines += blocks(entry, measured)
    lines.append("## Between the notes\n")
    for entry in entries:
        if entry["id"].startswith("X-"):
            lines += blocks(entry, measured)
    rows = "\n".join(f"| {c['id']} | {c['says']} |" for c in text["convention"])
    lines.append(KERAS.format(rows=rows))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page to this file")
    file = parser.parse_args().write
    absent = {name for measurement in measurements().values() for name in measurement.missing}
    if absent:
        sys.exit(f"to measure the errata, install what they are compared with: {sorted(absent)}")
    if file:
        file.write_text(page(), "utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
