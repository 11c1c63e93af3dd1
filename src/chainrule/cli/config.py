"""Options in a TOML file: what ``--config`` reads, and what a run folder keeps."""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from chainrule.array.errors import DataError, FileFormatError, nearest

__all__ = ["as_toml", "read_config"]

#: Options about this one call, which a file neither holds nor sets.
_OF_THE_CALL = ("help", "debug", "config", "force", "quiet", "json", "checkpoint", "resume")


def read_config(path: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options in a TOML file, checked as those typed are, by the names `parser` stores them by.

    A key is an option without its dashes in front: ``learning_rate = 0.01`` (or
    ``learning-rate``), ``hidden = [64, 32]``, ``target = "price"``, ``compare = true``.

    Raises:
        FileFormatError: if it is no TOML, with the line.
        DataError: for an unknown key, with the nearest, or a value that the option does not take.
    """
    with open(path, "rb") as file:
        try:
            found = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileFormatError(f"{path} is no TOML file: {error}") from error
    actions = _actions(parser)
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in actions:
            raise DataError(f"{path}: there is no option {key!r}; {nearest(name, actions)}")
        try:
            values[actions[name].dest] = _value(actions[name], value)
        except (argparse.ArgumentTypeError, TypeError) as error:
            raise DataError(f"{path}: {key} = {json.dumps(value, default=str)}: {error}") from error
    return values


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options by every name a file may use."""
    actions: dict[str, argparse.Action] = {}
    for action in parser._actions:
        if action.dest not in _OF_THE_CALL:
            actions[action.dest] = action
            for option in action.option_strings:
                if option.startswith("--") and not option.startswith("--no-"):
                    actions[option[2:].replace("-", "_")] = action
    return actions


def _value(action: argparse.Action, value: Any) -> Any:
    """A value of a file as the option's own reader takes it."""
    if isinstance(action, argparse._StoreTrueAction | argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise TypeError("expected true or false")
        return value
    if isinstance(value, Mapping):
        raise TypeError("expected a value, not a table")
    several = action.nargs == "*" or type(action).__name__ == "Each"
    if several:
        return [_word(action, v) for v in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):  # hidden = [64, 32]
        return _word(action, ",".join(map(str, value)))
    return _word(action, value)


def _word(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, bool | list | Mapping):
        raise TypeError(f"expected {'text' if action.type is None else 'one value'}")
    text = str(value)
    return text if action.type is None else action.type(text)  # type: ignore[operator]


def as_toml(options: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Options as a TOML text; those that are None are left out.

    >>> print(as_toml({"target": ["price"], "epochs": 20, "group": None}, ["An example."]), end="")
    # An example.
    <BLANKLINE>
    target = ["price"]
    epochs = 20
    """
    lines = [f"{key} = {_literal(value)}" for key, value in options.items() if value is not None]
    return "\n".join([*(f"# {c}".rstrip() for c in comments), "", *lines, ""])


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        assert math.isfinite(value)
        return repr(value)
    if isinstance(
        value, str
    ):  # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(_literal(v) for v in value)}]"
