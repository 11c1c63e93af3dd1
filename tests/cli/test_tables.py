"""Text for a terminal of 80 columns."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.cli.tables import bytes_text, confusion, field, number, pairs, table


def test_a_field_is_wrapped_under_itself() -> None:
    lines = field("Data", "word " * 40).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("Data       word")
    assert all(line.startswith(" " * 11 + "word") for line in lines[1:])
    assert field("Data", "x" * 200).split() == ["Data", "x" * 200]  # never broken inside a word


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (-0.5, "-0.5000"), (1234.5, "1234.50"), (1e9, "1.000e+09"),
     (2e-7, "2.00e-07"), (float("nan"), "–"), (None, "–"), (12, "12")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_columns_are_aligned() -> None:
    lines = table(["a", "b", "c"], [["long name", "x", "1"], ["s", "y", "1000"]], left=2)
    assert lines == ["a          b     c", "long name  x     1", "s          y  1000"]
    assert pairs([("one", 0.5), ("three", 100.0)]) == ["one    0.5000", "three  100.00"]


def test_a_matrix_of_twenty_classes_fits() -> None:
    lines = confusion(np.diag(np.full(20, 99)), [str(k) for k in range(20)])
    assert len(lines) == 2 + 21
    assert max(map(len, lines)) <= 80


def test_a_matrix_that_does_not_fit_shows_its_errors() -> None:
    names = [f"species {k}" for k in range(40)]
    matrix = np.diag(np.full(40, 9))
    assert confusion(matrix, names) == ["No row of the 40 classes was taken for another."]
    matrix[3, 5], matrix[8, 1] = 2, 4
    assert [line.split()[-1] for line in confusion(matrix, names)[3:]] == ["4", "2"]


def test_sizes() -> None:
    assert bytes_text(999) == "999 bytes"
    assert bytes_text(1000) == "1.0 kB"
