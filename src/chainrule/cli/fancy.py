"""Blocks of a report drawn by rich, for a terminal. Few inks: bold, dim, and one colour each for
headings, warnings and errors."""

from __future__ import annotations

from typing import Any

from chainrule.cli import report

__all__ = ["draw"]

_HEADING, _WARNING, _WRONG, _BAR = "bold cyan", "yellow", "red", "cyan"
_INDENT = 11


def draw(console: Any, block: report.Block) -> None:
    """Print a block to a rich console.

    >>> import io
    >>> from rich.console import Console
    >>> console = Console(file=io.StringIO(), width=60)
    >>> draw(console, report.Title("Test", "3 rows"))
    >>> console.file.getvalue()
    'Test       3 rows\\n'
    """
    from rich.text import Text

    if isinstance(block, report.Title):
        _field(console, block.text, block.detail, _HEADING)
    elif isinstance(block, report.Fields):
        for name, text in block.rows:
            _field(console, name, text, _HEADING)
    elif isinstance(block, report.Note):
        _field(
            console,
            "Warning" if block.warning else "Note",
            block.text,
            _WARNING if block.warning else "dim",
        )
    elif isinstance(block, report.Command):
        line = Text.assemble((f"{block.name:<{_INDENT}}", _HEADING), (block.text, "bold"))
        console.print(line, soft_wrap=True)
    elif isinstance(block, report.Matrix):
        _matrix(console, block)
    else:
        _table(console, block)


def _field(console: Any, name: str, detail: str, style: str) -> None:
    from rich.text import Text

    width = max(console.width - _INDENT, 20)
    for k, line in enumerate(report.wrap(report.clean(detail), width)):
        head = (f"{name:<{_INDENT}}" if k == 0 else " " * _INDENT, style)
        console.print(Text.assemble(head, line), soft_wrap=True)


def _table(console: Any, block: report.Table) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [[report.clean(cell) for cell in row] for row in block.rows]
    widths = report.fitted([block.head, *rows], block.align, console.width)
    table = Table(
        box=box.SIMPLE_HEAD,  # one column between cells is its own, so a padding of one makes two
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for head, align, width in zip(block.head, block.align, widths, strict=True):
        table.add_column(
            Text(head),
            justify="right" if align == "r" else "left",
            width=width,
            no_wrap=align != "w",
            overflow="fold" if align == "w" else "ellipsis",
            style=_BAR if align == "b" else None,
        )
    for row in rows:
        table.add_row(
            *[
                Text(report.shorten(cell, w) if a == "l" else cell)
                for cell, w, a in zip(row, widths, block.align, strict=True)
            ]
        )
    if block.title:
        console.print(Text(block.title, "bold"), soft_wrap=True)
        console.print()
    console.print(table)
    if block.note:
        console.print()
        for line in report.wrap(report.clean(block.note), console.width):
            console.print(Text(line, "dim"), soft_wrap=True)


def _matrix(console: Any, block: report.Matrix) -> None:
    """The plain lines, with the right ones in bold and the wrong ones in red."""
    from rich.text import Text

    found = report.lines(block, console.width)
    size = len(block.names)
    titles = found.index("") if "" in found else len(found)
    is_grid = len(found) == titles + 2 + size
    for k, line in enumerate(found):
        text = Text(line, "bold" if k < titles else "")
        true = k - titles - 2
        if is_grid and true >= 0:
            cells = line.rsplit(maxsplit=size)[-size:]
            at = len(line)
            for column in range(size - 1, -1, -1):
                start = line.rindex(cells[column], 0, at)
                if column == true:
                    text.stylize("bold", start, at)
                elif cells[column] == "·":
                    text.stylize("dim", start, at)
                else:
                    text.stylize(_WRONG, start, at)
                at = start
        console.print(text, soft_wrap=True)
