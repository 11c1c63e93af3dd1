"""docs/tables.md is true: its commands run, and it names every option."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli.arguments import parser

from .conftest import Run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text("utf-8")
QUICK = ("--epochs", "2", "--hidden", "4", "--no-plots")


def test_its_commands_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("polars")
    monkeypatch.setattr("chainrule.cli.assessment._FEWEST_RESAMPLES", 20)
    monkeypatch.setattr("chainrule.cli.assessment._DRAWN", 1)
    monkeypatch.setattr("chainrule.cli.train_table.boosted", lambda fitted, x, seed: x[:, :1])
    monkeypatch.setattr("chainrule.cli.train_table.check_installed", lambda: None)
    made = re.search(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert made
    exec(made[1], {})
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines() if line[:9] == "chainrule"]
    assert len(commands) > 10
    for line in commands:
        words: list[Any] = shlex.split(line)[1:]
        result = run(*words, *(QUICK if words[0] == "train" else ()))
        assert result.code == 0, (line, result.err)


def test_it_names_every_option() -> None:
    train = parser().parse_args(["train"]).parser
    table = PAGE[PAGE.index("## Options of train") :]
    for action in train._actions:
        names = [o for o in action.option_strings if o.startswith("--")]
        if action.dest not in ("help", "debug"):
            assert any(f"`{n}" in table for n in names) or not names, names
