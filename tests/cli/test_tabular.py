"""A table in parts: nothing of validation and test reaches what is fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.array.errors import DataError
from chainrule.cli.arguments import UsageError, parser
from chainrule.cli.files import is_table
from chainrule.cli.tabular import (
    Problem,
    display_name,
    fingerprint,
    for_command_line,
    read_problem,
    suggested_target,
)

pl = pytest.importorskip("polars")


def problem(folder: Path, table: dict[str, Any], *words: str) -> Problem:
    path = folder / "t.csv"
    pl.DataFrame(table).write_csv(path)
    return read_problem(parser().parse_args(["train", str(path), *words]))


def people(rows: int = 200) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "name": [f"n{k}" for k in range(rows)],
        "age": [None if k % 9 == 4 else float(v) for k, v in enumerate(rng.normal(40, 9, rows))],
        "town": rng.choice(["x", "y", "z"], rows).tolist(),
        "day": np.arange(rows).tolist(),
        "clinic": (np.arange(rows) % 23).tolist(),
        "pay": rng.normal(0, 1, rows).tolist(),
        "ill": (rng.random(rows) < 0.3).astype(int).tolist(),
    }


@pytest.mark.parametrize("target", ["ill", "pay"])
def test_no_row_of_another_part_reaches_the_training(target: str, tmp_path: Path) -> None:
    table = people()
    words = ("--target", target, "--id", "name")
    before = problem(tmp_path, table, *words)
    rows = before.split({"validation": 0.1, "test": 0.2}, seed=3)
    found = before.fit(rows)
    # whatever the other rows hold, what was fitted is the same, and so are the training arrays
    for k in (*rows["validation"], *rows["test"]):
        table["age"][k] = 1e6
        table["town"][k] = "elsewhere"
        table["pay"][k] = 1e6 if target == "pay" else table["pay"][k] * 1e6
    after = problem(tmp_path, table, *words).fit(rows)
    assert json.dumps(found.preprocessor.to_json()) == json.dumps(after.preprocessor.to_json())
    assert found.target.to_json() == after.target.to_json()
    for a, b in zip(found.parts["train"], after.parts["train"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(found.parts["test"][0], after.parts["test"][0])


def test_parts_hold_every_row_once_and_classes_alike(tmp_path: Path) -> None:
    p = problem(tmp_path, people(), "--target", "ill")
    rows = p.split({"validation": 0.1, "test": 0.2}, seed=0)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(200))
    shares = [p.frame["ill"].to_numpy()[r].mean() for r in rows.values()]
    assert max(shares) - min(shares) < 0.03
    again = p.split({"validation": 0.1, "test": 0.2}, seed=0)
    assert all(np.array_equal(rows[k], again[k]) for k in rows)
    assert not np.array_equal(rows["test"], p.split({"validation": 0.1, "test": 0.2}, 1)["test"])


def test_groups_stay_together_and_time_goes_on(tmp_path: Path) -> None:
    p = problem(tmp_path, people(), "--target", "ill", "--group", "clinic")
    parts = [set(p.frame["clinic"].to_numpy()[r]) for r in p.split({"test": 0.3}, 0).values()]
    assert not parts[0] & parts[1]
    inner, outer = p.folds(3, 0)[0]
    assert not set(p.frame["clinic"].to_numpy()[inner]) & set(p.frame["clinic"].to_numpy()[outer])
    assert "clinic" not in p.fit({"train": np.arange(200)}).preprocessor.inputs
    p = problem(tmp_path, people(), "--target", "ill", "--time", "day")
    rows = p.split({"validation": 0.1, "test": 0.2}, 0)
    assert rows["train"].max() < rows["validation"].min() <= rows["validation"].max()
    assert rows["validation"].max() < rows["test"].min()
    table = {**people(), "day": [None, *range(199)]}
    with pytest.raises(DataError, match="'day' decides about the split and is empty in row 1"):
        problem(tmp_path, table, "--target", "ill", "--time", "day").split({"test": 0.5}, 0)


def test_folds_of_some_rows_stay_among_them(tmp_path: Path) -> None:
    p = problem(tmp_path, people(), "--target", "ill")
    rows = p.split({"test": 0.4}, 0)["train"]
    for inner, outer in p.folds(3, 0, rows):
        assert set(inner) | set(outer) == set(rows)
        assert not set(inner) & set(outer)
        halves = p.split_of(inner, 0.25, 0)
        assert sorted(np.concatenate(list(halves.values()))) == sorted(inner)


def test_rows_without_a_target_are_left_out_aloud(tmp_path: Path) -> None:
    table = people(60)
    table["pay"][5] = table["pay"][17] = None
    p = problem(tmp_path, table, "--target", "pay")
    assert p.frame.height == 58
    assert p.notes == ["t.csv: 2 rows without pay left out"]
    assert p.numbers_of("test", {"test": np.array([0, 5, 57])}) == [1, 7, 60]  # as in the file


def test_a_wrong_value_is_named_with_its_row_in_the_file(tmp_path: Path) -> None:
    table = people(60)
    table["pay"][2] = None
    table["age"][40] = float("inf")
    for seed in range(3):
        p = problem(tmp_path, table, "--target", "pay")
        with pytest.raises(DataError, match=r"'age' has 1 value that is infinite \(row 40"):
            p.fit(p.split({"test": 0.5}, seed))


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("--target", "pay"), "160 rows to learn from"),
        (("--target", "town"), "rows of class"),
        (("--target", "ill", "--group", "clinic"), "groups of 'clinic' to learn from"),
        (("--target", "ill", "--time", "day"), "160 different values of 'day' to learn from"),
    ],
)
def test_networks_take_turns(words: tuple[str, ...], most: str, tmp_path: Path) -> None:
    p = problem(tmp_path, people(), *words)
    assert p.turns()
    parts = p.split({"validation": 0.1, "test": 0.2}, 0)
    known = np.sort(np.concatenate([parts["train"], parts["validation"]]))
    assert np.array_equal(p.pool(parts)["train"], known)
    count, why = p.most_folds(known)
    assert most in why
    assert why.startswith(str(count))
    found = p.fit_members(parts, 4, 0)
    assert found.members == 4
    assert set(found.parts) == {"train", "test"}
    assert found.folds is not None
    for learn, stop in found.folds:
        assert sorted([*learn, *stop]) == list(range(len(known)))
        if p.group:
            groups = people()["clinic"]
            assert not {groups[known[k]] for k in learn} & {groups[known[k]] for k in stop}
        if p.time:
            assert np.ptp(known[stop]) == len(stop) - 1
    assert sorted(k for _, stop in found.folds for k in stop) == list(range(len(known)))
    again = p.fit({"train": known, "test": parts["test"]})
    assert np.array_equal(found.parts["train"][0], again.parts["train"][0])
    one = p.fit_members(parts, 1, 0)
    assert (one.members, one.folds, set(one.parts)) == (1, None, {"train", "validation", "test"})
    few = p.fit_members(parts, 10_000, 0) if p.group else None
    assert few is None or few.members == count


def test_rows_of_a_file_choose_for_all_networks(tmp_path: Path) -> None:
    pl.DataFrame(people(30)).write_csv(tmp_path / "v.csv")
    p = problem(tmp_path, people(), "--target", "ill", "--validation", str(tmp_path / "v.csv"))
    assert not p.turns()
    found = p.fit_members(p.split({"test": 0.2}, 0), 5, 0)
    assert (found.members, found.folds) == (5, None)
    assert "validation" in found.parts


def test_files_of_their_own(tmp_path: Path) -> None:
    pl.DataFrame(people(30)).write_csv(tmp_path / "v.csv")
    p = problem(tmp_path, people(), "--target", "ill", "--validation", str(tmp_path / "v.csv"))
    found = p.fit(p.split({"test": 0.2}, 0))
    assert {k: len(v[1]) for k, v in found.parts.items()} == {
        "train": 160, "test": 40, "validation": 30,
    }  # fmt: skip
    assert "validation" not in p.fit({"train": np.arange(9)}, further=False).parts
    pl.DataFrame({**people(30), "ill": [7] * 30}).write_csv(tmp_path / "v.csv")
    with pytest.raises(DataError, match="7"):
        problem(tmp_path, people(), "--target", "ill", "--test", str(tmp_path / "v.csv")).fit(
            {"train": np.arange(99)}
        )


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--target ill$"):
        problem(tmp_path, people())
    assert suggested_target(["LABEL", "x"]) == "LABEL"
    assert suggested_target(["target", "y"]) == "target"


def test_what_is_a_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.ones(3))
    (tmp_path / "a.csv").write_text("x\n1\n")
    arrays, csv = str(tmp_path / "a.npz"), str(tmp_path / "a.csv")
    assert [is_table([p], False) for p in (arrays, csv, "none.npz", "none.csv")] == [
        False, True, False, True,
    ]  # fmt: skip
    assert is_table([arrays], True)
    assert not is_table([], False)
    assert display_name([csv]) == "a.csv"
    assert display_name([str(tmp_path / "*.csv")]) == "a.csv"
    assert fingerprint([csv]) != fingerprint([csv, arrays])


def test_messages_name_options_as_typed() -> None:
    assert for_command_line("is there; kinds={'a b': 'text'}") == "is there; --kind a b=text"
    text = "give its order too, ordinal={'s': ['low', 'middle', 'high']}."
    assert for_command_line(text) == "give its order too, --order s=low,middle,high."
