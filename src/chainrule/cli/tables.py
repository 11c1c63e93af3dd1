"""Plain text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

__all__ = ["bytes_text", "confusion", "field", "number", "pairs", "say", "table"]

WIDTH = 80
_INDENT = 11


def say(out: TextIO | None, *lines: str) -> None:
    """Print lines to `out` at once; None is nobody."""
    if out is not None:
        print(*lines, sep="\n", file=out, flush=True)


def field(name: str, text: str) -> str:
    """A line of the report: a name, and what it is, wrapped under itself.

    >>> print(field("Data", "digits"))
    Data       digits
    """
    lines, line = [], ""
    for word in text.split(" "):
        if line and _INDENT + len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return f"{name:<{_INDENT}}" + ("\n" + " " * _INDENT).join([*lines, line])


def number(value: Any) -> str:
    """Four decimals, or four digits where that says more; a dash for what is undefined.

    >>> number(0.97), number(12345.678), number(0.0000123), number(None), number(7)
    ('0.9700', '1.235e+04', '1.23e-05', '–', '7')
    """
    if value is None or value != value:
        return "–"
    if isinstance(value, int):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.2f}"
    return f"{value:.3e}" if abs(value) >= 1 else f"{value:.2e}"


def pairs(values: Iterable[tuple[str, Any]]) -> list[str]:
    """``name  value`` lines, the names as wide as a report's fields."""
    shown = [(name, number(value)) for name, value in values]
    width = max(len(name) for name, _ in shown) + 2
    right = max(len(text) for _, text in shown)
    return [f"{name:<{width}}{text:>{right}}" for name, text in shown]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Aligned columns; the first `left` of them to the left, the rest to the right.

    >>> print(*table(["class", "F1"], [["cat", "0.9"], ["whale", "0.75"]]), sep="\\n")
    class    F1
    cat     0.9
    whale  0.75
    """
    grid = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[k]) for row in grid) for k in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if k < left else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]


def confusion(matrix: Any, names: Sequence[str], width: int = WIDTH) -> list[str]:
    """The confusion matrix, or its largest errors where it would not fit.

    >>> print(*confusion([[5, 0], [1, 4]], ["cat", "dog"]), sep="\\n")
    Confusion matrix (rows: the true class, columns: the predicted one; · is 0)
    <BLANKLINE>
         cat dog
    cat    5   ·
    dog    1   4
    """
    rows = [[int(v) for v in row] for row in matrix]
    stub = min(20, max(map(len, names)))
    for longest in (16, 6):  # of a name above its column
        digits = max(len(str(v)) for row in rows for v in row)
        cell = max(digits, min(longest, max(map(len, names)))) + 1
        if stub + cell * len(names) <= width:
            break
    if stub + cell * len(names) <= width:
        lines = [" " * stub + "".join(f"{n[: cell - 1]:>{cell}}" for n in names)]
        lines += [
            f"{name[:stub]:<{stub}}" + "".join(f"{v or '·':>{cell}}" for v in row)
            for name, row in zip(names, rows, strict=True)
        ]
        title = "Confusion matrix (rows: the true class, columns: the predicted one; · is 0)"
        return [title, "", *lines]
    wrong = sorted(
        ((v, i, j) for i, row in enumerate(rows) for j, v in enumerate(row) if v and i != j),
        key=lambda e: (-e[0], e[1:]),
    )
    if not wrong:
        return [f"No row of the {len(names)} classes was taken for another."]
    shown = [[names[i], names[j], str(v)] for v, i, j in wrong[:10]]
    title = f"Most frequent confusions ({len(names)} classes)"
    return [title, "", *table(["true", "predicted", "rows"], shown, left=2)]


def bytes_text(size: int) -> str:
    """A size for people.

    >>> bytes_text(812), bytes_text(38_000), bytes_text(5_300_000)
    ('812 bytes', '38.0 kB', '5.3 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
