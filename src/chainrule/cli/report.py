"""What a command shows to people: blocks of content, drawn for a terminal or as plain lines.

The content is stated once, as `Title`, `Fields`, `Table`, `Matrix`, `Note` and `Command`. On a
terminal rich draws it, as wide as the window; elsewhere it is aligned lines without a single
escape code. `chainrule.cli.results` makes blocks of what was found.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from chainrule.cli import tables

__all__ = [
    "Block",
    "Command",
    "Fields",
    "Matrix",
    "Note",
    "Report",
    "Table",
    "Title",
    "bar",
    "clean",
    "columns_of",
    "shorten",
    "sparkline",
]

_NARROWEST, _PLAIN, _WIDEST = 60, 80, 120
_GAP = 2
#: How columns give way, to which width: what is wrapped loses nothing, what is shortened does.
_GIVE_WAY = (("w", 36), ("l", 16), ("w", 22), ("l", 10), ("w", 12), ("l", 5))
_ASCII = str.maketrans(
    dict.fromkeys("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁", "#") | {"–": "-", "…": "~", "·": ".", "↓": "v", "×": "x",
     "²": "2", "±": "~", "−": "-", "─": "-", "━": "-", "’": "'", "∞": "inf"}
)  # fmt: skip


@dataclass(frozen=True)
class Title:
    """A heading, and what it is about in a few words."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Fields:
    """Names and what they are, a line each, wrapped under themselves."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    `align` has a letter per column: "l" text, shortened where the window is narrow; "w" text that
    is wrapped instead; "f" text that stays; "r" numbers; "b" bars.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    counts: Sequence[Sequence[int]]
    names: Sequence[str]


@dataclass(frozen=True)
class Note:
    """A sentence to know; `warning` for what may be wrong."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Command:
    """A command to copy: in one line however long it is."""

    name: str
    text: str


Block = Title | Fields | Table | Matrix | Note | Command


class Report:
    """Draws blocks to a stream.

    Arguments:
        out: where to; None for nowhere.
        width: columns of text; None is the terminal's, between 60 and 120, and 80 elsewhere.
        fancy: use rich; None means on a terminal that can do more than plain text, where rich is
            installed. The variable NO_COLOR leaves bold and dim, TERM=dumb nothing.

    >>> import sys
    >>> report = Report(sys.stdout, fancy=False)
    >>> report.show(Title("Test", "3 rows"), Table(["class", "F1"], [["cat", "0.9"]], "lr"))
    Test       3 rows
    <BLANKLINE>
    class   F1
    cat    0.9
    """

    def __init__(
        self, out: TextIO | None, *, width: int | None = None, fancy: bool | None = None
    ) -> None:
        self.out = out
        terminal = out is not None and out.isatty()
        if fancy is None:
            fancy = terminal and os.environ.get("TERM", "") not in ("dumb", "unknown")
        self.width = width or (_terminal_width() if terminal else _PLAIN)
        self.console = _console(out, self.width) if fancy and out is not None else None
        self._last: Block | None = None

    def show(self, *blocks: Block) -> None:
        """Draw the blocks below what was drawn before."""
        for block in blocks:
            if self.out is None:
                return
            apart = isinstance(self._last, Table | Matrix) or (
                self._last is not None and isinstance(block, Title | Table | Matrix)
            )
            self._last = block
            if self.console is not None:
                from chainrule.cli import fancy

                if apart:
                    self.console.print()
                fancy.draw(self.console, block)
                continue
            text = "\n".join([*[""] * apart, *lines(block, self.width)])
            print(_encodable(text, self.out), file=self.out, flush=True)


def lines(block: Block, width: int = _PLAIN) -> list[str]:
    """A block as plain lines.

    >>> lines(Note("the target is rare", warning=True))
    ['Warning    the target is rare']
    """
    if isinstance(block, Title):
        return tables.field(block.text, clean(block.detail)).split("\n")
    if isinstance(block, Fields):
        return [line for n, text in block.rows for line in tables.field(n, clean(text)).split("\n")]
    if isinstance(block, Note):
        head = "Warning" if block.warning else "Note"
        return tables.field(head, clean(block.text)).split("\n")
    if isinstance(block, Command):
        return [f"{block.name:<11}{block.text}"]
    if isinstance(block, Matrix):
        title, *rest = tables.confusion(block.counts, [clean(n) for n in block.names], width)
        return [*wrap(title, width), *rest]
    found = [block.title, ""] if block.title else []
    found += _table_lines(block, width)
    if block.note:
        found += ["", *wrap(block.note, width)]
    return found


# -- text -----------------------------------------------------------------------------------------


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for an accent.

    >>> columns_of("naïve"), columns_of("猫"), columns_of("e\\u0301")
    (5, 2, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def clean(text: Any) -> str:
    """A text from somebody's data for one line: no control character reaches the terminal.

    >>> clean("a\\x1b[31m b\\tc")
    'a·[31m b c'
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else " " if c.isspace() else "·" for c in line)


def shorten(text: str, width: int) -> str:
    """A text of at most so many columns, the end replaced by an ellipsis.

    >>> shorten("a long class name", 8), shorten("short", 8)
    ('a long…', 'short')
    """
    if columns_of(text) <= width:
        return text
    kept, used = "", 0
    for c in text:
        used += columns_of(c)
        if used > width - 1:
            break
        kept += c
    return kept.rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    """The words of a text in lines of at most so many columns; a longer word is broken.

    >>> wrap("one two three", 8)
    ['one two', 'three']
    """
    found: list[str] = []
    line = ""
    for word in text.split():
        if line and columns_of(line) + 1 + columns_of(word) <= width:
            line += f" {word}"
            continue
        if line:
            found.append(line)
        while columns_of(word) > width:
            piece = word[:1]
            while piece != word and columns_of(piece + word[len(piece)]) <= width:
                piece += word[len(piece)]
            found.append(piece)
            word = word[len(piece) :]
        line = word
    return [*found, line]


def bar(share: float, width: int = 20) -> str:
    """A bar of blocks, to an eighth of a column; nothing for what is not above 0.

    >>> bar(0.5, 4), bar(0.28, 4), bar(-1.0, 4)
    ('██', '█▏', '')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


def sparkline(values: Iterable[float], width: int = 40) -> str:
    """A curve in one line of text: the mean of each piece of the values, in eight heights.

    >>> sparkline([3, 2, 1, 1]), sparkline([1, 1])
    ('█▅▁▁', '▁▁')
    """
    given = [float(v) for v in values if v == v and abs(v) != float("inf")]
    n = min(width, len(given))
    means = []
    for k in range(n):
        piece = given[k * len(given) // n : (k + 1) * len(given) // n]
        means.append(sum(piece) / len(piece))
    low = min(means, default=0.0)
    span = max(means, default=0.0) - low
    heights = [int((v - low) / span * 7 + 0.5) if span > 0 else 0 for v in means]
    return "".join("▁▂▃▄▅▆▇█"[h] for h in heights)


# -- tables ---------------------------------------------------------------------------------------


def _table_lines(block: Table, width: int) -> list[str]:
    head = list(block.head)
    rows = [[clean(cell) for cell in row] for row in block.rows]
    widths = fitted([head, *rows], block.align, width)
    found = []
    for row in [head, *rows]:
        cells = [
            wrap(cell, w) if a == "w" else [shorten(cell, w) if a == "l" else cell]
            for cell, w, a in zip(row, widths, block.align, strict=True)
        ]
        for k in range(max(map(len, cells))):
            parts = [
                _padded(c[k] if k < len(c) else "", w, a)
                for c, w, a in zip(cells, widths, block.align, strict=True)
            ]
            found.append((" " * _GAP).join(parts).rstrip())
    return found


def fitted(grid: Sequence[Sequence[str]], align: str, width: int, gap: int = _GAP) -> list[int]:
    """The widths of columns: as wide as their cells, the texts less where the window is narrow.

    >>> fitted([["name", "does"], ["x" * 30, "y" * 90]], "lw", 80)
    [30, 48]
    """
    widths = [max((columns_of(row[k]) for row in grid), default=0) for k in range(len(align))]
    over = sum(widths) + gap * (len(widths) - 1) - width
    for letter, least in _GIVE_WAY:
        while over > 0:
            texts = [k for k, a in enumerate(align) if a == letter and widths[k] > least]
            if not texts:
                break
            widths[max(texts, key=lambda k: (widths[k], k))] -= 1
            over -= 1
    return widths


def _padded(text: str, width: int, align: str) -> str:
    space = " " * (width - columns_of(text))
    return space + text if align == "r" else text + space


# -- the stream -----------------------------------------------------------------------------------


def _terminal_width() -> int:
    return min(max(shutil.get_terminal_size((_PLAIN, 24)).columns, _NARROWEST), _WIDEST)


def _console(out: TextIO, width: int) -> Any:
    try:
        from rich.console import Console
    except ImportError:  # the extra "cli"; plain lines say the same
        return None
    return Console(
        file=out, width=width, highlight=False, markup=False, emoji=False, force_terminal=True
    )


def _encodable(text: str, out: TextIO) -> str:
    """The text as the stream can write it: where it cannot, plain signs in place of fine ones."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    except LookupError:
        pass
    return text
