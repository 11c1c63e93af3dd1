"""How the text of an option becomes a value."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from chainrule.cli.arguments import parser
from chainrule.cli.options import character, kind, order, seconds, widths


def parsed(*words: str) -> argparse.Namespace:
    found: argparse.Namespace = parser().parse_args(["train", *words])
    return found


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (seconds, "90", 90), (seconds, "1.5 m", 90), (seconds, "2h", 7200), (seconds, ".5s", 0.5),
        (kind, "a=b=text", ("a=b", "text")), (order, "size=S, M", ("size", ["S", "M"])),
        (character, "\\t", "\t"), (character, "semicolon", ";"), (widths, " ", []),
    ],
)  # fmt: skip
def test_what_is_understood(read: Any, text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (seconds, "0", "expected a time such as"), (seconds, "soon", "got 'soon'"),
        (seconds, "9" * 400, "expected a time"), (seconds, "-3", "expected a time"),
        (kind, "zip", "COLUMN=KIND"), (kind, "zip=catgorical", "did you mean 'categorical'"),
        (kind, "=text", "COLUMN=KIND"), (order, "size=S", "such as size=S,M,L"),
        (order, "size=S,S", "such as"), (character, ";;", "one character"), (character, '"', "one"),
        (widths, "8,²", "such as 256,128"),
    ],
)  # fmt: skip
def test_what_is_not(read: Any, text: str, says: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=says):
        read(text)


def test_what_is_given_several_times_adds_up() -> None:
    a = parsed("t.csv", "--target", "a", "-t", "b", "--kind", "c=text", "--kind", "d=numeric")
    assert a.target == ["a", "b"]
    assert a.kind == [("c", "text"), ("d", "numeric")]
    assert (a.data, a.search, a.plots) == (["t.csv"], None, None)
    assert parsed("t.csv", "--search").search == 20
    assert parsed("t.csv", "--search", "3", "--no-plots").plots is False
