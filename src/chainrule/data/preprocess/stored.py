"""Dataclasses to plain JSON and back, every value checked against its annotation."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from chainrule.array.errors import FileFormatError

__all__ = ["from_plain", "to_plain"]

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dicts, lists, text, numbers, booleans and None: what JSON can say.

    Floats stay as they are, and Python writes them so that they are read back exactly.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    return value


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """A dataclass from what `to_plain` made of it; its ``validate`` is called, if it has one.

    Args:
        kind: the dataclass. Its fields are annotated with str, int, float, bool, None, lists,
            dicts with text as keys, unions of these, and other dataclasses.
        value: from a file, so it may be anything.
        where: what messages call it.

    Raises:
        FileFormatError: for a missing or unknown field, a value of another type, a number that is
            not finite, and whatever ``validate`` objects to (as a ValueError).

    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: float
    >>> from_plain(Point, {"x": 0.5}, "point")
    Point(x=0.5)
    >>> from_plain(Point, {"x": "0.5"}, "point")
    Traceback (most recent call last):
    ...
    chainrule.array.errors.FileFormatError: point.x holds '0.5', expected float
    """
    if not isinstance(value, dict):
        raise FileFormatError(f"{where} holds {_shown(value)}, expected fields of {kind.__name__}")
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in [*names, *value]:
        if name not in value or name not in names:
            state = "lacks" if name not in value else "has an unknown field"
            raise FileFormatError(
                f"{where} {state} {name!r}; the file is damaged, or of another version"
            )
    made = kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})
    if hasattr(made, "validate"):
        try:
            made.validate()
        except ValueError as error:
            raise FileFormatError(f"{where}: {error}") from error
    return made


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        for option in inner:
            try:
                return _read(option, value, where)
            except FileFormatError:
                continue
    elif origin is list and isinstance(value, list):
        return [_read(inner[0], v, f"{where}[{k}]") for k, v in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return {k: _read(inner[1], v, f"{where}[{k!r}]") for k, v in value.items()}
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    elif hint is type(None) and value is None:
        return None
    elif hint is float and type(value) in (int, float) and _finite(value):
        return float(value)
    elif hint in (str, int, bool) and type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise FileFormatError(f"{where} holds {_shown(value)}, expected {name}")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
