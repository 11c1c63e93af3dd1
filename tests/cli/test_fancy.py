"""The drawing for terminals: rich is given text, never markup."""

from __future__ import annotations

import io

import pytest

from chainrule.cli import fancy, report

console_of = pytest.importorskip("rich.console").Console


def drawn(block: report.Block, color: bool = False) -> str:
    out = io.StringIO()
    console = console_of(
        file=out, width=70, force_terminal=color, color_system="standard" if color else None
    )
    fancy.draw(console, block)
    return out.getvalue()


def test_data_is_no_markup() -> None:
    names = ["[bold]x[/bold]", "[/]", ":smile:"]
    table = report.Table(["[red]", "n"], [[name, "1"] for name in names], "lr")
    text = drawn(table)
    assert all(name in text for name in [*names, "[red]"])
    assert "[link=x]" in drawn(report.Note("[link=x]"))


def test_rows_are_aligned_as_in_plain_lines() -> None:
    table = report.Table(["class", "F1"], [["cat", "0.9"], ["whale", "0.75"]], "lr")
    head, _, *rows = drawn(table).splitlines()
    assert [head, *rows] == report.lines(table)


def test_the_right_and_the_wrong_in_a_matrix() -> None:
    text = drawn(report.Matrix([[5, 1], [0, 4]], ["cat", "dog"]), color=True)
    lines = text.splitlines()[-2:]
    assert "\x1b[1m5" in lines[0].replace("\x1b[1m  ", "\x1b[1m")
    assert "\x1b[31m" in lines[0]
    assert "\x1b[31m" not in lines[1]
    big = report.Matrix([[1] * 40] * 40, [f"class {k}" for k in range(40)])
    assert "Most frequent confusions" in drawn(big)
