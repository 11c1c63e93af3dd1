"""Tables that cannot be used: one line names the place and the fix; nothing is half-written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

pl = pytest.importorskip("polars")

QUICK = ("--epochs", "2", "--hidden", "4", "--no-plots", "--members", "1")
ROWS = [(k % 7, "ab"[k % 2], round(k * 0.5 % 3, 2), ["no", "yes"][k % 2]) for k in range(40)]


def text(rows: Any = ROWS, head: str = "x,kind,z,y") -> str:
    return "\n".join([head, *(",".join(map(str, r)) for r in rows)]) + "\n"


def column(values: Any, name: str = "y") -> str:
    """A table of a column that says nothing, and another."""
    return text([(k % 5, v) for k, v in enumerate(values)], f"x,{name}")


CASES: dict[str, tuple[str | bytes, tuple[str, ...], tuple[str, ...]]] = {
    "empty file": ("", ("-t", "y"), ("t.csv", "empty")),
    "header only": ("x,y\n", ("-t", "y"), ("t.csv", "no rows")),
    "a line too long": (text() + "1,a\n", ("-t", "y"), ("t.csv", "line 42")),
    "an open quote": ('x,y\n1,"a\n' * 3, ("-t", "y"), ("t.csv", "quote")),
    "binary junk": (bytes(range(256)) * 9, ("-t", "y"), ("t.csv",)),
    "wrong encoding": (
        "x,y\n1,é\n".encode("latin-1") * 9, ("-t", "y", "--encoding", "utf-8"), ("t.csv", "byte"),
    ),
    "unknown encoding": (text(), ("-t", "y", "--encoding", "utf-99"), ("utf-99",)),
    "a column twice": (text(head="x,x,z,y"), ("-t", "y"), ("'x'",)),
    "no such target": (text(), ("-t", "yy"), ("no column 'yy'", "did you mean 'y'")),
    "no target": (text(), (), ("x, kind, z, y", "--target y")),
    "no such group": (text(), ("-t", "y", "--group", "king"), ("--group", "did you mean 'kind'")),
    "no such kind": (text(), ("-t", "y", "--kind", "zz=text"), ("--kind", "no column 'zz'")),
    "target as id": (text(), ("-t", "y", "--id", "y"), ("--id", "is the target")),
    "nothing left": (text(), ("-t", "y", *sum([("--drop", c) for c in ("x", "kind", "z")], ())),
                     ("no column is left",)),
    "group and time": (text(), ("-t", "y", "--group", "x", "--time", "z"), ("--group and --time",)),
    "all targets missing": (column([""] * 20), ("-t", "y"), ("every row of y is empty",)),
    "a single class": (column(["a"] * 20), ("-t", "y"), ("y", "'a'")),
    "a single value": (column([1.5] * 20), ("-t", "y"), ("y", "1.5")),
    "a class per row": (column([f"name {k}" for k in range(40)]), ("-t", "y"), ("y", "40")),
    "a class with one row": (column([*"aabb" * 8, "c"]), ("-t", "y"), ("'c'", "one row")),
    "text among numbers": (
        column([*range(60), "many"]), ("-t", "x", "--kind", "y=numeric"), ("'y'", "many", "60"),
    ),
    "text in a target of numbers": (
        column([*range(60), "many"]), ("-t", "y", "--task", "regression"), ("'y'", "many", "60"),
    ),
    "infinite input": (column([*range(30), "inf", *range(30)]), ("-t", "x"), ("'y'", "inf", "30")),
    "infinite target": (
        column([*(k + 0.5 for k in range(30)), "-inf"]), ("-t", "y"), ("'y'", "inf", "30"),
    ),
    "too few rows": (column("abab"), ("-t", "y"), ("'a'", "2 rows", "parts")),
    "too few rows of values": (column([0.5, 1.5]), ("-t", "y"), ("2 rows cannot fill 3 parts",)),
    "no rows to train on": (text(), ("-t", "y", "--test-fraction", "0.95"), ("no rows to train",)),
    "no such file": (text(), ("-t", "y", "--test", "none.csv"), ("none.csv",)),
    "a test file without the target": (text(), ("-t", "y", "--test", "u.csv"), ("u.csv", "'y'")),
    "weights of values": (
        text(), ("-t", "z", "--task", "regression", "--class-weight", "balanced"),
        ("--class-weight",),
    ),
    "patience without validation": (
        text(), ("-t", "y", "--patience", "3", "--validation-fraction", "0"), ("--patience",),
    ),
    "seeds without validation": (
        text(), ("-t", "y", "--seeds", "2", "--validation-fraction", "0"), ("--seeds",),
    ),
    "folds and a test part": (text(), ("-t", "y", "--cv", "3", "--test", "t.csv"), ("--cv",)),
    "more folds than rows": (text(), ("-t", "y", "--cv", "30"), ("'no'", "20 rows", "folds")),
    "a checkpoint of several": (
        text(), ("-t", "y", "--seeds", "2", "--checkpoint", "c"), ("--seeds",),
    ),
    "an order that lacks a value": (text(), ("-t", "y", "--order", "kind=a,c"), ("'kind'", "'b'")),
    "ordinal without order": (text(), ("-t", "y", "--kind", "kind=ordinal"), ("--order kind=",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_table_that_cannot_be_learned_from(case: str, run: Run) -> None:
    content, words, says = CASES[case]
    data = content if isinstance(content, bytes) else content.encode()
    Path("t.csv").write_bytes(data)
    Path("u.csv").write_text("x\n1\n2\n")
    result = run("train", "t.csv", *words, *QUICK)
    assert result.code == 2, result
    assert result.err.count("\n") == 1
    for part in says:
        assert part in result.err, result.err
    assert sorted(os.listdir()) == ["t.csv", "u.csv"]


@pytest.fixture
def trained(run: Run) -> Run:
    Path("t.csv").write_text(text())
    assert run("train", "t.csv", "-t", "y", *QUICK).code == 0
    return run


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("x,kind\n1,a\n", "lacks column 'z'"),
        ("x,kinds,z\n1,a,2\n", "did you mean 'kinds'"),
        ("x,kind,z\nmany,a,2\n", "'x'"),
        ("x,kind,z\n1,a,inf\n", "'z'"),
        ("x,kind,z\n", "no rows"),
        ("", "empty"),
    ],
)
def test_rows_that_cannot_be_predicted(table: str, says: str, trained: Run) -> None:
    Path("new.csv").write_text(table)
    before = sorted(os.listdir())
    for words in (("-o", "out.csv"), ("-o", "out.parquet"), ("-o", "out.npy"), ()):
        result = trained("predict", "t.safetensors", "new.csv", *words)
        assert (result.code, result.out) == (2, ""), result
        assert says in result.err
        assert result.err.count("\n") == 1
        assert sorted(os.listdir()) == before
    assert trained("evaluate", "t.safetensors", "new.csv").code == 2


def test_categories_that_were_not_seen_are_counted(trained: Run) -> None:
    Path("new.csv").write_text("x,kind,z,colour\n1,new,2,red\n2,a,,red\n")
    result = trained("predict", "t.safetensors", "new.csv")
    assert result.code == 0
    assert len(result.out.splitlines()) == 3
    assert "kind: 1 row of categories not seen in training (1: 'new')" in result.err
    assert "z: 1 row without a value" in result.err
    assert "'colour' is not used" in result.err


def test_what_stands_in_the_way_stays(trained: Run) -> None:
    Path("mine").write_text("precious")
    Path("mine-run").mkdir()
    Path("mine-run", "thesis.txt").write_text("precious")
    Path("t-run", "notes.txt").write_text("precious")
    for words, says in (
        (("train", "t.csv", "-t", "y", *QUICK, "-o", "mine"), "mine exists"),
        (("train", "t.csv", "-t", "y", *QUICK, "-o", "mine.safetensors"), "is no run folder"),
        (("train", "t.csv", "-t", "y", *QUICK, "-o", "none/m"), "no folder none"),
        (("predict", "t.safetensors", "t.csv", "-o", "t.csv", "--force"), "is the table that is"),
        (("predict", "t.safetensors", "t.csv", "-o", "mine.xls"), "written as .csv"),
        (("predict", "t.safetensors", "t.csv", "--keep", "id"), "knows no id column"),
        (("evaluate", "t.safetensors"), "give a table"),
    ):
        result = trained(*words)
        assert result.code == 2, result
        assert says in result.err
    assert trained("train", "t.csv", "-t", "y", *QUICK).code == 0  # an older run of ours
    for path in ("mine", "mine-run/thesis.txt", "t-run/notes.txt"):
        assert Path(path).read_text() == "precious"
    assert Path("t.csv").read_text() == text()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(trained: Run) -> None:
    Path("locked").mkdir(mode=0o500)
    for words in (("train", "t.csv", "-t", "y", *QUICK), ("predict", "t.safetensors", "t.csv")):
        result = trained(*words, "-o", "locked/m.csv")
        assert (result.code, "no permission" in result.err) == (2, True)


def test_no_space(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setattr("os.fsync", full)
    for words in (("train", "t.csv", "-t", "y", *QUICK, "--seed", "5"),
                  ("predict", "t.safetensors", "t.csv", "-o", "p.csv"),
                  ("predict", "t.safetensors", "t.csv", "-o", "p.parquet")):  # fmt: skip
        result = trained(*words)
        assert (result.code, "No space left" in result.err) == (1, True), result
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before


def test_ctrl_c_while_measuring_keeps_the_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_text(text())

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("chainrule.cli.train_table.judge", stop)
        result = run("train", "t.csv", "-t", "y", *QUICK)
    assert result.code == 130
    assert "the model so far is in t.safetensors" in result.err
    assert run("evaluate", "t.safetensors", "t.csv").code == 0


def test_files_that_differ(run: Run) -> None:
    Path("a.csv").write_text(text())
    Path("b.csv").write_text(text(head="x,kind,w,y"))
    result = run("train", "a.csv", "b.csv", "-t", "y", *QUICK)
    assert (result.code, "b.csv lacks 'z'" in result.err) == (2, True)
    result = run("train", "c*.csv", "-t", "y")
    assert (result.code, "c*.csv" in result.err) == (2, True)


def test_a_model_that_was_changed_is_refused(trained: Run) -> None:
    from chainrule.serialize.container import read_container, write_container

    file = read_container("t.safetensors")
    user = file.metadata["user"]
    for wrong in ({}, {"version": 99}, {**user["preprocessor"], "encoders": [{"kind": "evil"}]}):
        changed = {**file.metadata, "user": {**user, "preprocessor": wrong}}
        write_container("bad.safetensors", file.tensors, changed, kind="model")
        for command in (("predict", "bad.safetensors", "t.csv"), ("info", "bad.safetensors")):
            result = trained(*command)
            assert (result.code, "bad.safetensors" in result.err) == (2, True)


def test_a_model_of_arrays_needs_arrays(run: Run, model: Path, data: Path) -> None:
    Path("t.csv").write_text(text())
    result = run("predict", model, "t.csv")
    assert (result.code, "not an .npz file" in result.err) == (2, True)
    result = run("predict", model, data, "--keep", "all")
    assert (result.code, "one of arrays" in result.err) == (2, True)
    assert run("evaluate", model, data, data).code == 2
    result = run("train", data, "--cv", "3")
    assert (result.code, "--cv is for tables" in result.err) == (2, True)
