"""docs/errata.md is what the script writes, and its list is complete."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: The two numbers of a measured line; "0" where an error is exactly that.
_NUMBERS = re.compile(r"^- measured: ([\w .+-]+?) → (\d(?:e[+-]\d+)?)\. ", re.MULTILINE)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("errata_page", ROOT / "scripts" / "errata.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_the_list_is_complete(script: ModuleType) -> None:
    entries, measured = script.data()["erratum"], script.measurements()
    states = {e["id"]: script.state(e, measured) for e in entries}
    assert len(states) == len(entries) == 134
    assert measured.keys() <= states.keys()
    assert [id for id, state in states.items() if state == "missing"] == []
    for entry in entries:
        assert entry["class"] in script.CLASSES, entry["id"]
        assert entry["rows"], entry["id"]
        assert (entry["id"] in measured) + ("words" in entry) + ("open" in entry) == 1, entry["id"]
        # a wrong or unsafe formula is never a matter of words
        assert not (entry["class"] in "WN" and "words" in entry), entry["id"]
        measurement = measured.get(entry["id"])
        if entry["class"] in "WN" and measurement and not measurement.missing:
            assert measurement()[0] is not None, f"{entry['id']}: nothing printed is measured"


def test_docstrings_name_errata_that_there_are(script: ModuleType) -> None:
    text = script.data()
    known = {entry["id"] for entry in text["erratum"] + text["convention"]}
    named = {
        id: path.name
        for path in (ROOT / "src").rglob("*.py")
        for id in re.findall(r"\b(?:E00\d|X|K)-\d\d\b", path.read_text("utf-8"))
    }
    assert len(named) > 20
    assert {id: where for id, where in named.items() if id not in known} == {}


def test_the_page_is_what_the_script_writes(script: ModuleType) -> None:
    for name in {name for m in script.measurements().values() for name in m.needs}:
        pytest.importorskip(name)
    stands, printed = (ROOT / "docs" / "errata.md").read_text("utf-8"), script.page()
    hint = "the page is out of date: python scripts/errata.py --write docs/errata.md"
    assert _NUMBERS.sub("", stands) == _NUMBERS.sub("", printed), hint
    pairs = zip(_numbers(stands), _numbers(printed), strict=True)
    for (id, old, old_library), (same, new, new_library) in pairs:
        assert id == same, hint
        if new[0].isdigit():
            # one digit may be rounded either way on another machine
            assert 0.5 <= float(old) / float(new) <= 2.0, f"{id}: {hint}"
        else:
            assert old == new, f"{id}: {hint}"
        # what is left to the library is rounding, which differs between machines
        within = script.measurements()[id].within
        assert max(float(old_library), float(new_library)) <= within, f"{id}: {hint}"


def _numbers(page: str) -> list[tuple[str, str, str]]:
    """Of every measured entry: id, the printed form's error, the library's."""
    found = []
    for entry in page.split("\n### ")[1:]:
        match = _NUMBERS.search(entry)
        if match:
            found.append((entry.split("\n", 1)[0], *match.groups()))
    return found
