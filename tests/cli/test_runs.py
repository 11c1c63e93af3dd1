"""Run folders: whole or not at all, and what others put there stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chainrule.cli.arguments import UsageError
from chainrule.cli.runs import MARK, check_run_folder, run_folder, run_path


def ours(path: Path) -> Path:
    (path / "plots").mkdir(parents=True)
    (path / "config.toml").write_text(f"{MARK}\n")
    (path / "plots" / "old.png").write_text("a picture of before")
    (path / "notes").mkdir()
    (path / "notes" / "mine.txt").write_text("precious")
    return path


def test_the_name_follows_the_model() -> None:
    assert run_path("a/b.c.safetensors") == os.path.join("a", "b.c-run")
    assert run_path("model") == "model-run"


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = ours(tmp_path / "x-run")
    with run_folder(str(folder)) as stage:
        (Path(stage) / "results.json").write_text("{}")
        assert (folder / "plots" / "old.png").exists()  # until the end
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert files == ["notes/mine.txt", "results.json"]
    assert os.listdir(tmp_path) == ["x-run"]


def test_a_run_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    folder = ours(tmp_path / "x-run")
    with pytest.raises(KeyboardInterrupt), run_folder(str(folder)) as stage:
        (Path(stage) / "results.json").write_text("{}")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["x-run"]
    assert sorted(os.listdir(folder)) == ["config.toml", "notes", "plots"]


def test_only_a_run_folder_of_ours_gives_way_unasked(tmp_path: Path) -> None:
    check_run_folder(str(tmp_path / "none"), False)
    check_run_folder(str(ours(tmp_path / "ours")), False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    check_run_folder(str(foreign), False)  # empty
    (foreign / "config.toml").write_text("epochs = 3\n")
    with pytest.raises(UsageError, match="is no run folder"):
        check_run_folder(str(foreign), False)
    check_run_folder(str(foreign), True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        check_run_folder(str(tmp_path / "file"), True)
