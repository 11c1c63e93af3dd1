"""Dataclasses from JSON, checked against their annotations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from chainrule.array.errors import FileFormatError
from chainrule.data.preprocess.stored import from_plain, to_plain


@dataclass
class Inner:
    number: float
    count: int

    def validate(self) -> None:
        if self.count < 0:
            raise ValueError("negative count")


@dataclass
class Outer:
    name: str
    flag: bool
    parts: list[Inner]
    maybe: int | None
    named: dict[str, list[str]]


def plain() -> dict[str, Any]:
    value = Outer("a", True, [Inner(0.1 + 0.2, 3)], None, {"k": ["v"]})
    read: dict[str, Any] = json.loads(json.dumps(to_plain(value)))
    assert from_plain(Outer, read, "outer") == value
    return read


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["name"], 3, "outer.name holds 3, expected str"),
        (["flag"], 1, "outer.flag holds 1, expected bool"),
        (["parts"], {}, "outer.parts"),
        (["parts", 0], [], r"outer.parts\[0\] holds \[\], expected fields of Inner"),
        (["parts", 0, "count"], True, r"outer.parts\[0\].count holds True, expected int"),
        (["parts", 0, "count"], -1, r"outer.parts\[0\]: negative count"),
        (["parts", 0, "number"], float("inf"), "expected float"),
        (["parts", 0, "number"], 10**400, "expected float"),
        (["maybe"], "x", "outer.maybe"),
        (["named", "k"], ["v", 1], r"outer.named\['k'\]\[1\]"),
        (["other"], 1, "unknown field 'other'"),
    ],
)
def test_damage_is_named_by_place(path: list[Any], value: Any, message: str) -> None:
    whole = plain()
    part: Any = whole
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(FileFormatError, match=message):
        from_plain(Outer, whole, "outer")


def test_a_missing_field() -> None:
    whole = plain()
    del whole["flag"]
    with pytest.raises(FileFormatError, match="outer lacks 'flag'"):
        from_plain(Outer, whole, "outer")
