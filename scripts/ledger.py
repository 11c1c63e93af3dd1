"""The ledger: where every formula, convention and piece of advice of the five notes has its home.

    python scripts/ledger.py           what is wrong with the ledger, and how much is done
    python scripts/ledger.py --write   write docs/ledger.md from docs/ledger.toml
    python scripts/ledger.py --check   exit with 1 if a row has no home, or the page is out of date

A row is one of these, by what docs/ledger.toml says of it:

    object      `object` is a public name whose docstring, or that of its module, names the row, and
                `tests` are functions that prove it, in files that name the object or the row
    convention  `notation` is a heading of docs/notation.md whose section names the row
    advice      `advice` is a heading of docs/advice.md whose section names the row
    open        none of these; allowed only in a group that is not in `complete`
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA, PAGE = ROOT / "docs" / "ledger.toml", ROOT / "docs" / "ledger.md"
ERRATA = ROOT / "docs" / "errata.toml"
PAGES = {"notation": ROOT / "docs" / "notation.md", "advice": ROOT / "docs" / "advice.md"}
KINDS = {"object": "object", "notation": "convention", "advice": "advice"}
KEYS = {"what", "object", "tests", "notation", "advice"}

HEAD = """\
# The ledger

<!-- written by scripts/ledger.py from ledger.toml; do not edit -->

Five sets of lecture notes on neural networks, here called note 000 to note 004, are what this
library set out to implement, whole. Every formula, convention and piece of advice in them is a row:
an **object** of the library with the tests that prove it, a **convention** told in
[the notation](notation.md), **advice** given in [words](advice.md), or still **open**. A test fails
when a row loses its home. What a note has wrong is told in [the errata](errata.md), and measured by
tests of its own.
"""

Row = dict[str, Any]


def load() -> tuple[dict[str, Any], dict[str, Row]]:
    """(the groups, the rows) of docs/ledger.toml."""
    data = tomllib.loads(DATA.read_text("utf-8"))
    return data["groups"], data["rows"]


def expected(groups: dict[str, Any]) -> list[str]:
    """The ids of all rows: each group counts from 1."""
    return [f"{name}-{k:02}" for name, g in groups.items() for k in range(1, g["rows"] + 1)]


def kind(row: Row) -> str:
    return next((word for key, word in KINDS.items() if key in row), "open")


def as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def named(text: str) -> set[str]:
    """The ids in a text, ranges such as "B-01 to B-03" included."""
    found = set(re.findall(r"\b[A-Z]{1,2}-\d{2}\b", text))
    for group, first, last in re.findall(r"\b([A-Z]{1,2})-(\d{2})\s+to\s+\1-(\d{2})\b", text):
        found |= {f"{group}-{k:02}" for k in range(int(first), int(last) + 1)}
    return found


@cache
def resolve(path: str) -> tuple[Any, str]:
    """(the object of a dotted name, its docstrings and that of the module it stands in)."""
    parts = path.split(".")
    value: Any = importlib.import_module(parts[0])
    for k, part in enumerate(parts[1:], 2):
        if not hasattr(value, part):  # a module that nobody has imported yet
            importlib.import_module(".".join(parts[:k]))
        value = getattr(value, part)
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return value, f"{value.__doc__ or ''}\n{(module.__doc__ if module else '') or ''}"


@cache
def functions(file: str) -> frozenset[str]:
    """The tests of a file, those of its classes as Class::test."""
    found = set()
    for node in ast.parse((ROOT / "tests" / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
    return frozenset(found)


@cache
def words(file: str) -> frozenset[str]:
    """The words of a test file and of the tables in tests/ that it imports, and the rows named."""
    text = (ROOT / "tests" / file).read_text("utf-8")
    for table in re.findall(r"^from (tests_\w+) import", text, re.M):
        text += (ROOT / "tests" / f"{table}.py").read_text("utf-8")
    return frozenset(re.findall(r"\w+", text)) | named(text)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def sections(page: Path) -> dict[str, str]:
    """Anchor -> text, for every heading of a page; a section ends at the next heading."""
    parts = re.split(r"^#+ (.*)$", page.read_text("utf-8"), flags=re.M)
    return {slug(title): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def of_row(name: str, row: Row) -> Iterator[str]:
    """What is wrong with a row."""
    for key in row.keys() - KEYS:
        yield f"{name}: unknown key {key!r}"
    if not row.get("what"):
        yield f"{name}: 'what' says in a few words what the row is"
    objects, tests = as_list(row.get("object")), as_list(row.get("tests"))
    texts = []
    for path in objects:
        try:
            texts.append(resolve(path)[1])
        except (ModuleNotFoundError, AttributeError) as missing:
            yield f"{name}: there is no {path} ({missing})"
    if texts and not any(name in named(text) for text in texts):
        yield f"{name}: neither {' nor '.join(objects)} nor its module names the row in a docstring"
    if objects and not tests:
        yield f"{name}: an object without tests"
    for test in tests:
        file, _, function = test.partition("::")
        if not (ROOT / "tests" / file).is_file():
            yield f"{name}: there is no tests/{file}"
        elif function not in functions(file) or not function.split("::")[-1].startswith("test_"):
            yield f"{name}: tests/{file} has no {function}"
        elif objects and words(file).isdisjoint([name, *(o.split(".")[-1] for o in objects)]):
            yield f"{name}: tests/{file} names neither the row nor {' nor '.join(objects)}"
    for key, page in PAGES.items():
        if key in row:
            section = sections(page).get(row[key])
            if section is None:
                yield f"{name}: docs/{page.name} has no heading #{row[key]}"
            elif name not in named(section):
                yield f"{name}: docs/{page.name}#{row[key]} does not name the row"


def problems(groups: dict[str, Any], rows: dict[str, Row]) -> list[str]:
    """Everything that is wrong with the ledger; empty if every row has the home it should have."""
    ids = expected(groups)
    found = [f"{name} is no row of the ledger" for name in rows if name not in ids]
    found += [f"{name} is missing" for name in ids if name not in rows]
    for name in ids:
        if name in rows:
            found += of_row(name, rows[name])
            if kind(rows[name]) == "open" and groups[name.partition("-")[0]].get("complete"):
                found.append(f"{name} is open, and its group is to be complete")
    return found


@cache
def errata() -> dict[str, list[str]]:
    """The errata of each row that has some."""
    found: dict[str, list[str]] = {}
    for erratum in tomllib.loads(ERRATA.read_text("utf-8"))["erratum"]:
        for name in erratum["rows"]:
            found.setdefault(name, []).append(erratum["id"])
    return found


def home(row: Row) -> str:
    """What a row is in the library, as a table shows it."""
    parts = [f"`{path}`" for path in as_list(row.get("object"))]
    for key, page in PAGES.items():
        if key in row:
            parts.append(f"[{page.stem}]({page.name}#{row[key]})")
    return "<br>".join(parts)


def page(groups: dict[str, Any], rows: dict[str, Row]) -> str:
    """docs/ledger.md."""
    counts: Counter[tuple[str, str]] = Counter()
    for name in expected(groups):
        counts[name.partition("-")[0], kind(rows[name])] += 1
    words = [*KINDS.values(), "open"]
    lines = [
        *HEAD.splitlines(),
        "",
        f"| group | | rows | {' | '.join(words)} |",
        f"|---|---|---|{'---|' * len(words)}",
    ]
    for group, g in groups.items():
        cells = [str(counts[group, word] or "") for word in words]
        anchor = slug(f"{group} {g['title']}")
        lines.append(f"| {group} | [{g['title']}](#{anchor}) | {g['rows']} | {' | '.join(cells)} |")
    totals = [str(sum(n for (_, w), n in counts.items() if w == word)) for word in words]
    lines.append(f"| | all | {sum(g['rows'] for g in groups.values())} | {' | '.join(totals)} |")
    for group, g in groups.items():
        lines += [
            "",
            f"## {group} {g['title']}",
            "",
            "| row | what | kind | where | proved by | errata |",
        ]
        lines.append("|---|---|---|---|---|---|")
        for name in expected({group: g}):
            row = rows[name]
            tests = "<br>".join(f"`tests/{test}`" for test in as_list(row.get("tests")))
            slips = " ".join(f"[{id}](errata.md#{id.lower()})" for id in errata().get(name, ()))
            cells = [name, row["what"], kind(row), home(row), tests, slips]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write docs/ledger.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 if anything is wrong")
    args = parser.parse_args(arguments)
    groups, rows = load()
    found = problems(groups, rows)
    missing = [name for name in expected(groups) if name not in rows]
    if args.write and not missing:
        PAGE.write_text(page(groups, rows), "utf-8")
    if not missing and (not PAGE.exists() or PAGE.read_text("utf-8") != page(groups, rows)):
        found.append("docs/ledger.md is not what docs/ledger.toml says: run with --write")
    print(*found, sep="\n", end="\n" if found else "")
    done = sum(kind(row) != "open" for row in rows.values())
    print(f"{done} of {len(expected(groups))} rows have a home; {len(found)} problems")
    return int(args.check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
