"""A table from the file to the model: what is said, what is written, and that it comes again."""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.serialize.container import read_container
from chainrule.serialize.model import read_metadata

from .conftest import Run

pl = pytest.importorskip("polars")

QUICK = ("--epochs", "4", "--hidden", "8", "--no-plots", "--members", "1")


@pytest.fixture
def flowers() -> str:
    """Three kinds that two of the columns tell apart; in the folder of `run`."""
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 3
    table = {
        "id": [f"f{k}" for k in range(90)],
        "length": kind + rng.normal(0, 0.2, 90),
        "colour": np.array(["red", "blue", "white"])[(kind + (rng.random(90) < 0.1)) % 3],
        "noise": rng.normal(0, 1, 90),
        "kind": np.array(["ash", "elm", "oak"])[kind],
    }
    pl.DataFrame(table).write_csv("flowers.csv")
    return "flowers.csv"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.cli.assessment._FEWEST_RESAMPLES", 20)
    monkeypatch.setattr("chainrule.cli.assessment._DRAWN", 1)


def digest(path: str) -> str:
    tensors = read_container(path).tensors
    return hashlib.sha256(b"".join(tensors[k].tobytes() for k in sorted(tensors))).hexdigest()


def test_everything_is_said(run: Run, flowers: str) -> None:
    result = run("train", flowers, "--target", "kind", "--id", "id", "--hidden", "16", "--no-plots")
    assert (result.code, result.err) == (0, "")
    said = " ".join(result.out.split())
    for text in (
        "flowers.csv: 90 rows, 5 columns",
        "predict kind; 'kind' holds text with 3 values (ash, elm, oak)",
        "72 to train, 18 to test (class by class, seed 0)",
        "the mean of the 5 predicts; each is stopped by its fifth of the rows",
        "The 72 rows held out, judged each by the network that had not seen it: loss",
        "column kind missing unique example what is done",
        "colour categorical",
        "id: id, kept beside predictions",
        "val accuracy",
        "5 of 5",
        "18 rows, neither trained on nor chosen with",
        "95% interval",
        "Baseline: always ash",
        "Confusion matrix",
        "Calibrated",
        "when a column is shuffled",
        "flowers.safetensors",
    ):
        assert text in said, text
    *_, last = result.out.splitlines()
    assert last.split(maxsplit=1) == [
        "Next",
        "chainrule predict flowers.safetensors flowers.csv -o flowers-predicted.csv",
    ]
    assert run(*last.split()[2:]).code == 0  # and the command that it names can be typed
    assert max(map(len, result.out.splitlines()[:-2])) <= 80
    assert (
        read_metadata("flowers.safetensors")["metrics"]["test"]["metrics"]["accuracy"]["value"]
        >= 0.8
    )
    rows = json.loads(Path("flowers-run/results.json").read_text())["metrics"]["test"]["worst"]
    assert all(r["id"] == f"f{r['row'] - 1}" for r in rows)


@pytest.mark.parametrize(
    "words",
    [
        ("-t", "kind", "--id", "id", "--group", "noise", "--scaling", "robust", "--lr", "0.02"),
        ("-t", "length", "--drop", "id", "--kind", "colour=text", "--seeds", "2", "--seed", "4"),
        ("-t", "kind", "--cv", "2", "--search", "1", "--split-seed", "5", "--dropout", "0.3"),
        ("-t", "length", "-t", "noise", "--order", "colour=blue,red,white", "--test-fraction", "0"),
    ],
)
def test_the_config_of_a_run_gives_the_same_model(
    words: tuple[str, ...], run: Run, flowers: str
) -> None:
    assert run("train", flowers, *words, *QUICK).code == 0
    before = digest("flowers.safetensors")
    path = Path("flowers-run", "config.toml")
    text = path.read_text()
    assert tomllib.loads(text)["hidden"]
    result = run("train", "--config", path)
    assert result.code == 0, result.err
    assert digest("flowers.safetensors") == before
    assert tomllib.loads(path.read_text()) == tomllib.loads(text)
    assert run("train", "--config", path, "--seed", "99").code == 0  # typed options win
    assert digest("flowers.safetensors") != before


def test_machines_and_people_get_the_same(run: Run, flowers: str) -> None:
    result = run("train", flowers, "-t", "kind", "--id", "id", *QUICK, "--json", "--quiet")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found == json.loads(Path("flowers-run/results.json").read_text())
    assert (found["task"], found["classes"]) == ("multiclass", ["ash", "elm", "oak"])
    assert len(found["history"]) == 4
    assert {c["column"] for c in found["importance"]} == {"length", "colour", "noise"}
    with open("flowers-run/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["loss"]) for r in rows] == [r["loss"] for r in found["history"]]
    quiet = run("train", flowers, "-t", "kind", "--id", "id", *QUICK, "--quiet")
    assert quiet.out.startswith("Test ")
    assert "epoch" not in quiet.out


def test_folds_seeds_and_a_search_tell_their_spread(run: Run, flowers: str) -> None:
    words = (flowers, "-t", "kind", "--id", "id", *QUICK, "--json")
    result = run("train", *words, "--cv", "3")
    found = json.loads(result.out)
    values = found["cross_validation"]["accuracy"]
    assert len(values["values"]) == 3
    assert values["mean"] == pytest.approx(np.mean(values["values"]))
    assert values["deviation"] == pytest.approx(np.std(values["values"], ddof=1))
    assert found["data"]["parts"] == {"train": 81, "validation": 9}
    assert "fold 3 of 3: accuracy" in result.err
    assert "trained once more, on all rows" in " ".join(result.err.split())
    found = json.loads(run("train", *words, "--seeds", "3").out)
    assert [s["loss"] for s in found["seeds"]] == sorted(s["loss"] for s in found["seeds"])
    assert found["training"]["seed"] == found["seeds"][0]["seed"]
    assert len(found["spread"]["accuracy"]["values"]) == 3
    # the test figures of the seed that was kept are those of the model
    kept = found["seeds"][0]["test"]
    assert found["metrics"]["test"]["metrics"]["accuracy"]["value"] == kept
    found = json.loads(run("train", *words, "--search", "2").out)
    best = min(found["search"], key=lambda t: t["loss"])
    assert found["training"]["hidden"] == best["settings"]["hidden"]


def test_a_resumed_table_ends_in_the_same_bits(run: Run, flowers: str) -> None:
    words = ("train", flowers, "-t", "kind", "--id", "id", *QUICK, "--patience", "0")
    assert run(*words, "--checkpoint", "c.safetensors").code == 0
    before = digest("flowers.safetensors")
    result = run(*words, "--resume", "c.safetensors")
    assert result.code == 0, result.err
    assert digest("flowers.safetensors") == before
    result = run(*words, "--resume", "c.safetensors", "--drop", "noise")
    assert (result.code, "does not fit" in result.err) == (2, True), result.err


def test_other_forms_of_a_table(run: Run, flowers: str) -> None:
    frame = pl.read_csv(flowers)
    frame.write_parquet("flowers.parquet")
    frame[:50].write_csv("part-1.csv", separator=";")
    frame[50:].write_csv("part-2.csv", separator=";")
    found = {}
    for name, data in (("a", [flowers]), ("b", ["flowers.parquet"]), ("c", ["part-*.csv"])):
        words = ("-t", "kind", "--id", "id", *QUICK, "-o", f"{name}.safetensors")
        assert run("train", *data, *words).code == 0
        found[name] = digest(f"{name}.safetensors")
    assert found["a"] == found["b"] == found["c"]
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez("arrays.npz", X=x, y=(x[:, 0] > 0).astype(int))
    assert run("train", "arrays.npz", "--target", "y", *QUICK).code == 0
    assert "x2" in run("info", "arrays.safetensors").out


def test_pictures_are_drawn_where_matplotlib_is(run: Run, flowers: str) -> None:
    pytest.importorskip("matplotlib")
    words = ("train", flowers, "-t", "kind", "--id", "id", "--epochs", "2", "--hidden", "4")
    words += ("--members", "2")
    assert run(*words).code == 0
    names = sorted(p.name for p in Path("flowers-run/plots").iterdir())
    assert names == ["calibration.png", "confusion.png", "importance.png", "losses.png"]
    assert Path("flowers-run/plots/losses.png").read_bytes().startswith(b"\x89PNG")
    assert run(*words, "--no-plots").code == 0
    assert not Path("flowers-run/plots").exists()


def test_a_time_limit_ends_the_training(run: Run, flowers: str) -> None:
    words: tuple[Any, ...] = ("train", flowers, "-t", "kind", "--id", "id", "--no-plots", "--json")
    result = run(*words, "--epochs", 10**6, "--patience", 0, "--time-limit", 0.1)
    assert json.loads(result.out)["training"]["stopped"] == "time limit"
