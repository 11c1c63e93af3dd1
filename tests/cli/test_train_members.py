"""Several networks whose mean predicts: who learns from what, what is said, what goes together."""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import trainings
from chainrule.serialize.container import read_container
from chainrule.serialize.model import read_metadata

from .conftest import Run

pl = pytest.importorskip("polars")

ROWS = 80
QUICK = ("--epochs", "3", "--hidden", "6", "--no-plots", "--scaling", "none")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.cli.assessment._FEWEST_RESAMPLES", 20)
    monkeypatch.setattr("chainrule.cli.assessment._DRAWN", 1)


def table(rows: int = ROWS, first: int = 0) -> Any:
    """A column that says which row it is, one to learn from, a target of each kind, a group and a
    time."""
    rng = np.random.default_rng(first)
    x = rng.normal(size=rows)
    return pl.DataFrame(
        {
            "row": np.arange(first, first + rows) / 1000,
            "x": x,
            "y": np.where(x + rng.normal(0, 0.3, rows) > 0, "b", "a"),
            "v": x * 3 + 5,
            "g": np.arange(rows) // 4,
            "t": np.arange(rows)[::-1].copy(),
        }
    )


@pytest.fixture
def data(run: Run) -> str:
    table().write_csv("t.csv")
    table(20, 1000).write_csv("v.csv")
    return "t.csv"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], set[int], Any]]:
    """The rows that each network learned from, those that stopped it, and its options."""
    seen: list[tuple[set[int], set[int], Any]] = []
    original = trainings.fit

    def numbers(part: Any) -> set[int]:
        return set() if part is None else {round(1000 * float(v)) for v in part[0][:, 0]}

    def fit(model: Any, train: Any, validation: Any, options: Any, **more: Any) -> Any:
        seen.append((numbers(train), numbers(validation), dict(options)))
        return original(model, train, validation, options, **more)

    monkeypatch.setattr(trainings, "fit", fit)
    return seen


def weights(path: str = "t.safetensors") -> str:
    tensors = read_container(path).tensors
    return hashlib.sha256(b"".join(tensors[k].tobytes() for k in sorted(tensors))).hexdigest()


TARGETS = {"y": ("-t", "y", "--drop", "v"), "v": ("-t", "v", "--drop", "y")}
SPLIT_BY = {
    "rows": ("--drop", "g", "--drop", "t"),
    "groups": ("--group", "g", "--drop", "t"),
    "time": ("--time", "t", "--drop", "g"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("by", SPLIT_BY)
def test_each_row_stops_one_network_and_teaches_the_others(
    by: str, target: str, run: Run, data: str, fits: list[Any]
) -> None:
    words = (*TARGETS[target], *SPLIT_BY[by], *QUICK, "--json", "--quiet")
    found = json.loads(run("train", data, *words).out)
    assert len(fits) == 5
    known = set.union(*(learned for learned, _, _ in fits))
    assert found["data"]["parts"] == {"train": len(known), "test": ROWS - len(known)}
    for learned, stopped, _ in fits:
        assert not learned & stopped
        assert learned | stopped == known
        if by == "groups":
            assert not {k // 4 for k in learned} & {k // 4 for k in stopped}
        if by == "time":  # which runs backwards: a stretch of it, and all before the test part
            assert max(stopped) - min(stopped) == len(stopped) - 1
            assert min(known) == ROWS - len(known)
    assert sum(len(stopped) for _, stopped, _ in fits) == len(known)
    tested = {r["row"] - 1 for r in found["metrics"]["test"]["worst"]}
    assert not tested & known
    assert found["metrics"]["validation"]["out_of_fold_rows"] == len(known)
    if target == "v":  # the scale of the target is that of all rows that some network learned from
        values = table()["v"].to_numpy()[sorted(known)]
        kept = read_metadata("t.safetensors")["target"]
        assert f"{values.mean():.6f}" in {f"{v:.6f}" for v in _numbers(kept)}


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)
    elif isinstance(value, float):
        yield value


def test_rows_of_a_file_stop_all_networks(run: Run, data: str, fits: list[Any]) -> None:
    words = (*SPLIT_BY["rows"], "--validation", "v.csv", *QUICK, "--members", "3", "--json")
    result = run("train", data, *TARGETS["y"], *words)
    found = json.loads(result.out)
    assert len(fits) == 3
    assert all(f[:2] == fits[0][:2] for f in fits)
    assert fits[0][1] == set(range(1000, 1020))
    assert not fits[0][0] & fits[0][1]
    assert len({f[2]["seed"] for f in fits}) == 3
    assert found["data"]["parts"]["validation"] == 20
    assert "judged by their mean" in " ".join(result.err.split())
    # the figures are those of the mean, as a person would compute them
    judged = json.loads(run("evaluate", "t.safetensors", "v.csv", "--json").out)["metrics"]
    mine = found["metrics"]["validation"]
    assert mine["accuracy"] == pytest.approx(judged["accuracy"]["value"], abs=1e-6)
    assert mine["loss"] == pytest.approx(judged["log_loss"]["value"], abs=1e-5)


def test_the_same_command_gives_the_same_bits(run: Run, data: str) -> None:
    words = ("train", data, *TARGETS["y"], *QUICK, "--quiet")
    assert run(*words).code == 0
    before, config = weights(), Path("t-run", "config.toml")
    assert tomllib.loads(config.read_text())["members"] == 5
    assert run(*words).code == 0
    assert weights() == before
    assert run("train", "--config", config, "--quiet").code == 0
    assert weights() == before
    assert run("train", "--config", config, "--members", "1", "--quiet").code == 0
    assert type(cr.load("t.safetensors")) is cr.nn.Sequential
    assert run(*words, "--members", "2").code == 0
    assert len(cr.load("t.safetensors")) == 2


def test_one_network_is_what_it_always_was(run: Run, data: str, fits: list[Any]) -> None:
    words = ("train", data, *TARGETS["y"], *SPLIT_BY["rows"], *QUICK, "--members", "1", "--json")
    result = run(*words)
    ((learned, stopped, options),) = fits
    assert (len(learned), len(stopped), options["seed"]) == (56, 8, 0)
    found = json.loads(result.out)
    assert found["data"]["parts"] == {"train": 56, "validation": 8, "test": 16}
    assert "network" not in found["history"][0]
    assert "networks" not in found["training"]
    assert "56 to train, 8 to choose the best weights" in " ".join(result.err.split())


def test_every_network_is_told_of(run: Run, data: str) -> None:
    result = run("train", data, *TARGETS["y"], *QUICK, "--members", "3", "--json")
    found, metadata = json.loads(result.out), read_metadata("t.safetensors")
    each = found["training"]["networks"]
    assert [n["network"] for n in each] == [1, 2, 3]
    assert found["training"]["epochs_done"] == sum(n["epochs_done"] for n in each) == 9
    assert metadata["training"]["members"] == 3
    assert metadata["metrics"]["validation"] == found["metrics"]["validation"]
    with open("t-run/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["network"], r["epoch"]) for r in rows[:4]] == [
        ("1", "1"), ("1", "2"), ("1", "3"), ("2", "1"),
    ]  # fmt: skip
    assert len(rows) == len(found["history"]) == 9
    said = run("info", "t.safetensors").out
    assert "the mean of 3 networks like this one" in " ".join(said.split())
    assert "members 3" in " ".join(said.split())
    assert "rows held out in turn: loss" in said
    lines = result.err.splitlines()
    assert [line.split()[:3] for line in lines if " of 3 " in line[:9]] == [
        [str(k), "of", "3"] for k in (1, 2, 3)
    ]


def test_rare_classes_make_fewer_networks(run: Run) -> None:
    frame = pl.DataFrame({"x": np.arange(60.0), "y": ["r"] * 4 + ["a", "b"] * 28})
    frame.write_csv("t.csv")
    found = json.loads(run("train", "t.csv", "-t", "y", *QUICK, "--json", "--quiet").out)
    assert found["training"]["members"] == 3  # one of the four is in the test part
    result = run("train", "t.csv", "-t", "y", *QUICK, "--members", "5")
    assert result.code == 2
    assert "3 rows of class 'r' to learn from; use --members 3" in result.err
    frame = pl.DataFrame({"x": np.arange(40.0), "y": ["r"] * 3 + ["a"] * 37})
    frame.write_csv("t.csv")
    found = json.loads(run("train", "t.csv", "-t", "y", *QUICK, "--json", "--quiet").out)
    assert found["training"]["members"] == 2


@pytest.mark.parametrize(
    "words", [("--seeds", "2"), ("--checkpoint", "c.safetensors"), ("--resume", "c.safetensors")]
)
def test_what_means_one_network(words: tuple[str, str], run: Run, data: str) -> None:
    command = ("train", data, *TARGETS["y"], *QUICK, *words)
    result = run(*command, "--members", "4")
    assert result.code == 2
    assert f"give --members 1, or leave {words[0]} out" in result.err
    if words[0] != "--resume":
        assert run(*command).code == 0
        assert read_metadata("t.safetensors")["training"]["members"] == 1


def test_arrays_take_one_network(run: Run) -> None:
    result = run("train", "--members", "3")
    assert result.code == 2
    assert "--members is for tables" in result.err


def test_folds_are_tested_by_ensembles(run: Run, data: str, fits: list[Any]) -> None:
    words = ("train", data, *TARGETS["y"], *SPLIT_BY["rows"], *QUICK, "--members", "2")
    assert run(*words, "--cv", "3").code == 0
    assert len(fits) == 3 * 2 + 2
    for a, b in ((0, 1), (2, 3), (4, 5)):  # the two of a fold share its rows, and no others
        assert fits[a][0] == fits[b][1]
        assert fits[a][1] == fits[b][0]
        assert ROWS - 30 <= len(fits[a][0] | fits[a][1]) <= ROWS - 24
    assert fits[6][0] | fits[6][1] == set(range(ROWS))


def test_a_search_is_of_single_networks(run: Run, data: str, fits: list[Any]) -> None:
    words = ("train", data, *TARGETS["y"], *SPLIT_BY["rows"], *QUICK, "--members", "2", "--json")
    found = json.loads(run(*words, "--search", "2").out)
    assert len(fits) == 2 * trainings.SEARCH_FOLDS + 2
    known = fits[-1][0] | fits[-1][1]
    assert all(a | b == known for a, b, _ in fits)  # and no row of the test part
    assert fits[-1][2]["hidden"] == found["search"][0]["settings"]["hidden"]


def test_a_time_limit_is_of_all_networks(run: Run, data: str) -> None:
    long = ("--epochs", 10**6, "--patience", 0, "--time-limit", 0.15)
    result = run("train", data, *TARGETS["y"], *QUICK, *long, "--json")
    found = json.loads(result.out)
    assert found["training"]["stopped"] == "time limit"
    assert len(found["training"]["networks"]) == 1  # the first took all of it
    assert found["training"]["seconds"] < 2
    assert "1 of 5 networks" in " ".join(result.err.split())
    assert type(cr.load("t.safetensors")) is cr.nn.Sequential
    assert "1 of the members trained in time" in " ".join(run("info", "t.safetensors").out.split())


def test_ctrl_c_keeps_the_networks_that_are_whole(
    run: Run, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = trainings.fit, []

    def fit(*args: Any, **more: Any) -> Any:
        calls.append(1)
        history = original(*args, **more)
        if len(calls) == 3:
            history.stopped = "interrupted"
        return history

    monkeypatch.setattr(trainings, "fit", fit)
    result = run("train", data, *TARGETS["y"], *QUICK)
    assert result.code == 130
    assert "2 of 5 networks" in " ".join(result.out.split())
    assert len(cr.load("t.safetensors")) == 2
    assert run("predict", "t.safetensors", data, "-o", "p.csv").code == 0
