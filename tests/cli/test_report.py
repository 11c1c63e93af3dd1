"""Blocks as plain lines, and what reaches a stream."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.cli import report
from chainrule.cli.report import Command, Fields, Matrix, Note, Report, Table, Title, columns_of

BLOCKS: list[Any] = [
    Title("Test", "3 rows"),
    Fields([("Data", "word " * 40), ("Task", "x")]),
    Table(
        ["name", "does", "rows"],
        [["n" * 50, "many words " * 20, "1,000"], ["猫の種類", "b", "2"]],
        "lwr",
        title="A table",
        note="a note " * 20,
    ),
    Matrix([[5, 1], [0, 4]], ["cat", "dog"]),
    Note("look out", warning=True),
    Command("Next", "chainrule predict " + "x" * 100),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("terminal", [False, True])
def test_everything_fits(monkeypatch: pytest.MonkeyPatch, width: int, terminal: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal() if terminal else io.StringIO()
    Report(out, width=width).show(*BLOCKS)
    text = out.getvalue()
    assert ("\x1b[" in text) == terminal
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    limit = width if terminal else max(width, 80)  # plain fields are wrapped at 80
    assert all(columns_of(line.rstrip()) <= limit for line in lines if not line.startswith("Next"))
    assert lines[-1] == "Next       chainrule predict " + "x" * 100  # in one line, to be copied
    (row,) = [line for line in lines if line.startswith("猫の種類")]
    assert row.rstrip().endswith("2")
    for words in ("Test       3 rows", "A table", "look out", "1,000"):
        assert any(words in line for line in lines)


def test_blocks_stand_apart() -> None:
    out = io.StringIO()
    r = Report(out)
    r.show(Title("A", "a"), Fields([("B", "b")]), Table(["h"], [["1"]], "r"), Note("n"), Note("m"))
    assert out.getvalue().splitlines() == [
        "A          a", "B          b", "", "h", "1", "", "Note       n", "Note       m",
    ]  # fmt: skip


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_can_nothing(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    out = Terminal()
    Report(out).show(*BLOCKS)
    assert "\x1b" not in out.getvalue()


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    Report(out).show(*BLOCKS)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", out.getvalue())


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, width in (("20", 60), ("100", 100), ("300", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        assert Report(Terminal()).width == width
    assert Report(io.StringIO()).width == 80


def test_nowhere() -> None:
    Report(None).show(*BLOCKS)


def test_a_stream_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Report(out).show(Note("R² ↓ is 0 – 1"), Table(["", ""], [["naïve", report.bar(0.3, 4)]], "lb"))
    assert raw.getvalue().decode("ascii").splitlines()[0] == "Note       R2 v is 0 - 1"
    assert "na?ve  ##" in raw.getvalue().decode("ascii")


@given(st.text(max_size=40), st.integers(1, 20))
def test_texts_from_data_are_harmless_and_fit(text: str, width: int) -> None:
    clean = report.clean(text)
    assert clean.isprintable()
    assert columns_of(report.shorten(clean, width)) <= max(width, 1)
    assert all(columns_of(line) <= max(width, 2) for line in report.wrap(clean, width))
    assert "".join(report.wrap(clean, width)).replace(" ", "") == "".join(clean.split())


def test_bars() -> None:
    assert [report.bar(s, 2) for s in (0, 1, 2, 0.5, 1 / 16)] == ["", "██", "██", "█", "▏"]
    assert len(report.sparkline(range(1000))) == 40
    assert report.sparkline([]) == ""
    assert report.sparkline([float("nan"), 1, 8]) == "▁█"


def test_columns_give_way_in_turn() -> None:
    grid = [["x" * 30, "y" * 60, "1" * 10]]
    assert report.fitted(grid, "lwr", 200) == [30, 60, 10]
    assert report.fitted(grid, "lwr", 90) == [30, 46, 10]
    assert report.fitted(grid, "lwr", 70) == [20, 36, 10]
    assert sum(report.fitted(grid, "lwr", 50)) == 46
    assert report.fitted(grid, "rrr", 50) == [30, 60, 10]  # numbers are never cut
