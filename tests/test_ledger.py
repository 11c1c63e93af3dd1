"""Every row of the ledger has a home: an object and its tests, or a section that tells it."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Rows of each group. What came first may not be forgotten; a new group would be written here too.
ROWS = {
    "N": 13, "F": 15, "A": 21, "L": 20, "P": 8, "B": 25, "W": 9, "O": 18, "I": 6, "D": 5, "R": 9,
    "BN": 16, "M": 10, "G": 9, "RN": 7, "GR": 4, "LS": 6, "T": 9, "S": 8, "H": 9,
}  # fmt: skip


@pytest.fixture(scope="module")
def ledger() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ledger", ROOT / "scripts" / "ledger.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(ledger: ModuleType) -> tuple[dict[str, Any], dict[str, Any]]:
    groups, rows = ledger.load()
    return copy.deepcopy(groups), copy.deepcopy(rows)


def test_every_row_has_a_home(ledger: ModuleType, data: Any) -> None:
    """And no row of a group that is to be complete is open."""
    groups, rows = data
    assert {name: g["rows"] for name, g in groups.items()} == ROWS
    assert len(rows) == sum(ROWS.values()) == 227
    assert ledger.problems(groups, rows) == []


def test_the_page_is_what_the_script_writes(ledger: ModuleType, data: Any) -> None:
    """``python scripts/ledger.py --write`` after a change of docs/ledger.toml."""
    page = ledger.PAGE.read_text("utf-8")
    assert page == ledger.page(*data)
    ids = re.findall(r"^\| ([A-Z]+-\d\d) \|", page, re.M)
    assert sorted(ids) == sorted(data[1])
    for name in data[1]:  # each stands there once, and nowhere else
        assert len(re.findall(rf"\b{name}\b", page)) == 1


#: What is done to the ledger, and what is then said of it.
BROKEN: dict[str, tuple[Any, str]] = {
    "an object that is gone": (
        lambda rows: rows["A-05"].update(object="chainrule.ops.rectify"),
        "A-05: there is no chainrule.ops.rectify",
    ),
    "an object that does not know of it": (
        lambda rows: rows["A-05"].update(object="chainrule.ops.tanh"),
        "A-05: neither chainrule.ops.tanh nor its module names the row in a docstring",
    ),
    "no tests": (lambda rows: rows["A-05"].pop("tests"), "A-05: an object without tests"),
    "a test that is gone": (
        lambda rows: rows["A-05"].update(tests="ops/activation/test_table.py::test_nothing"),
        "A-05: tests/ops/activation/test_table.py has no test_nothing",
    ),
    "a helper as a test": (
        lambda rows: rows["B-01"].update(tests="autograd/test_backpropagation.py::by_hand"),
        "B-01: tests/autograd/test_backpropagation.py has no by_hand",
    ),
    "a file that is gone": (
        lambda rows: rows["A-05"].update(tests="ops/test_nothing.py::test_x"),
        "A-05: there is no tests/ops/test_nothing.py",
    ),
    "a test of something else": (
        lambda rows: rows["A-05"].update(tests="metrics/test_ratios.py::test_golden"),
        "A-05: tests/metrics/test_ratios.py names neither the row nor chainrule.ops.relu",
    ),
    "a section that is gone": (
        lambda rows: rows["N-01"].update(notation="nowhere"),
        "N-01: docs/notation.md has no heading #nowhere",
    ),
    "a section that does not name it": (
        lambda rows: rows["N-01"].update(notation="selectors"),
        "N-01: docs/notation.md#selectors does not name the row",
    ),
    "advice that is not given": (
        lambda rows: rows["O-17"].update(advice="when-to-stop"),
        "O-17: docs/advice.md#when-to-stop does not name the row",
    ),
    "a row left open": (
        lambda rows: rows.update({"W-01": {"what": "something"}}),
        "W-01 is open, and its group is to be complete",
    ),
    "a row left out": (lambda rows: rows.pop("W-01"), "W-01 is missing"),
    "a row too many": (
        lambda rows: rows.update({"W-10": {"what": "something"}}),
        "W-10 is no row of the ledger",
    ),
    "a row without words": (
        lambda rows: rows["W-01"].update(what=""),
        "W-01: 'what' says in a few words what the row is",
    ),
    "a misspelt key": (
        lambda rows: rows["W-01"].update(test="x"),
        "W-01: unknown key 'test'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_without_a_home_is_noticed(ledger: ModuleType, data: Any, case: str) -> None:
    groups, rows = data
    breaks, said = BROKEN[case]
    breaks(rows)
    found = ledger.problems(groups, rows)
    assert found[0].startswith(said)
    assert {line[:4] for line in found} == {said[:4]}  # and nothing of any other row


def test_ranges_of_rows_are_read(ledger: ModuleType) -> None:
    text = "Ledger B-01 to B-03, B-10,\n    L-09\n    to L-11 and GR-04 (errata E000-15, X-07)."
    assert ledger.named(text) >= {
        "B-01", "B-02", "B-03", "B-10", "L-09", "L-10", "L-11", "GR-04",
    }  # fmt: skip
    assert "B-04" not in ledger.named(text)


def test_the_command(ledger: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.main(["--check"]) == 0
    assert "227 rows have a home; 0 problems" in capsys.readouterr().out
