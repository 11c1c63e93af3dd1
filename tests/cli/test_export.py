"""``chainrule export``: the file gives what ``chainrule predict`` gives, from raw columns."""

from __future__ import annotations

import csv
import datetime
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

FAST = ("--epochs", "2", "--hidden", "8", "--quiet", "--seed", "1")
ROWS = 160


def write_table(path: Path, seed: int = 0, new: bool = False) -> None:
    """Every kind of column, a target of each task, and with `new` values not seen in training."""
    rng = np.random.default_rng(seed)
    head = [
        "age", "income", "member", "city", "shop", "size", "since", "note",
        "kind", "yes", "price", "a", "b",
    ]  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for k in range(ROWS):
            day = datetime.date(2015, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 3000)))
            city = rng.choice(["Bern", "Rome", "Oslo"])
            row: list[Any] = [
                int(rng.integers(18, 90)), round(float(rng.lognormal(8, 2)), 2),
                rng.choice(["yes", "no"]), city, f"s{rng.integers(0, 30)}",
                rng.choice(["S", "M", "L"]), day.isoformat(),
                " ".join(rng.choice(["red", "Blue,", "green!", "tall", "old"], 6)) + f" no. {k}",
            ]  # fmt: skip
            if new and k % 7 == 0:
                row[3], row[4], row[1] = "Paris", "s99", 1e12
            row = [v if j == 5 or rng.random() > 0.08 else "" for j, v in enumerate(row)]
            row += [
                rng.choice(["u", "v", "wé"]), rng.choice(["no", "yes"]),
                round(float(rng.normal(100, 30)), 3), rng.integers(0, 2), rng.integers(0, 2),
            ]  # fmt: skip
            writer.writerow(row)


def inputs(path: Path) -> dict[str, Any]:
    """The columns as docs/export.md says, with nothing of chainrule."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    given: dict[str, Any] = {}
    for name in ("age", "income"):
        given[name] = np.array([float(v or "nan") for v in columns[name]])
    for name in ("member", "city", "shop", "size"):
        given[name] = np.array(columns[name], object)
    given["since"] = np.array(columns["since"], "datetime64[us]").astype(np.int64)
    words = [re.findall(r"[^\W_]+", text.lower()) for text in columns["note"]]
    longest = max(map(len, words))
    given["note"] = np.array([w + [""] * (longest - len(w)) for w in words], object)
    return given


TASKS = {
    "multiclass": ["--target", "kind"],
    "binary": ["--target", "yes"],
    "regression": ["--target", "price"],
    "multilabel": ["--target", "a", "--target", "b"],
}
OPTIONS = [
    "--order", "size=S,M,L", "--kind", "note=text", "--kind", "shop=categorical",
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_file_gives_what_predict_gives_from_raw_columns(
    task: str, run: Any, tmp_path: Path
) -> None:
    write_table(tmp_path / "train.csv")
    write_table(tmp_path / "new.csv", 1, new=True)
    targets = [name for names in TASKS.values() for name in names[1::2]]
    own = TASKS[task][1::2]
    drops = [w for name in targets if name not in own for w in ("--drop", name)]
    scaling = ["--scaling", {"binary": "quantile", "regression": "robust"}.get(task, "standard")]
    words = [*TASKS[task], *drops, *OPTIONS, *scaling, *FAST, "-o", "m.safetensors"]
    words += ["--members", "3" if task == "multiclass" else "1"]
    assert run("train", "train.csv", *words).code == 0
    done = run("export", "m.safetensors")
    assert (done.code, done.err) == (0, "")
    more = [] if task == "regression" else ["--probabilities"]
    assert run("predict", "m.safetensors", "new.csv", *more, "-o", "p.parquet").code == 0
    import polars as pl

    predicted = pl.read_parquet(tmp_path / "p.parquet")
    session = ort.InferenceSession(tmp_path / "m.onnx")
    given = {i.name: inputs(tmp_path / "new.csv")[i.name] for i in session.get_inputs()}
    assert len(given) == 8
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(None, given), strict=True))
    assert names == [f"predicted_{n}" for n in own] + ["probabilities"] * bool(more)
    for name in own:
        expected = predicted[f"predicted_{name}"].to_numpy()
        if task == "regression":
            np.testing.assert_allclose(found[f"predicted_{name}"], expected, rtol=1e-5)
        else:
            assert found[f"predicted_{name}"].tolist() == expected.tolist()
    if more:
        columns = [c for c in predicted.columns if "=" in c]
        np.testing.assert_allclose(
            found["probabilities"], predicted.select(columns).to_numpy(), rtol=1e-4, atol=1e-6
        )


def test_a_model_of_arrays_and_what_is_said(run: Any, model: Path) -> None:
    done = run("export", model, "-o", "blobs.onnx")
    assert done.code == 0
    assert re.search(r"Wrote +blobs\.onnx: [\d.]+ kB, \d+ operators of opset 17", done.out)
    assert re.search(r"^X +float32 +rows × 2", done.out, re.MULTILINE)
    assert re.search(r"^probabilities +float32 +rows × 3 +of 0, 1, 2", done.out, re.MULTILINE)
    assert re.search(r"the\s+largest\s+difference\s+is\s+\d\.\de-\d\d", done.out)
    # what is printed runs
    code = done.out.partition("in Python:")[2]
    exec(code.replace("print(", "result = ("), scope := {})
    assert scope["result"][1].shape == (1, 3)
    x = np.load(model.with_suffix(".npz"))["X"]
    chosen, p = scope["session"].run(None, {"X": x.astype(np.float32)})
    assert run("predict", model, model.with_suffix(".npz"), "-o", "y.npy").code == 0
    assert chosen.tolist() == np.load("y.npy").tolist()
    assert p.dtype == np.float32


def test_values_of_arrays_come_on_their_own_scale(run: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "d.npz", X=x, y=np.stack([x[:, 0] * 1000, x[:, 1] + 50], axis=1))
    assert run("train", "d.npz", *FAST[:4], "--quiet", "-o", "r.safetensors").code == 0
    done = run("export", "r.safetensors", "--check", "d.npz", "--json")
    found = json.loads(done.out)
    assert found["compared_rows"] == 60 + 1 + 5 + 300
    assert found["largest_difference"] < 1e-6
    assert found["outputs"] == [
        {"name": "prediction", "type": "float64", "shape": ["rows", 2], "is": "the value"}
    ]
    assert run("predict", "r.safetensors", "d.npz", "-o", "y.npy").code == 0
    session = ort.InferenceSession(tmp_path / "r.onnx")
    (values,) = session.run(None, {"X": x.astype(np.float32)})
    np.testing.assert_allclose(values, np.load("y.npy"), rtol=1e-5, atol=1e-3)


def test_what_is_printed_for_a_table_runs(run: Any, tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv")
    targets = ["--target", "kind", "--drop", "yes", "--drop", "note", "--drop", "b", "--drop", "a"]
    assert (
        run("train", "train.csv", *targets, *FAST, "--members", "1", "-o", "m.safetensors").code
        == 0
    )
    done = run("export", "m.safetensors", "--check", "train.csv")
    assert done.code == 0
    assert "rows of train.csv and made-up ones" in " ".join(done.out.split())
    assert "…  # and 2 more" in done.out
    props = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert (props["trained_on"], props["task"]) == ("train.csv", "multiclass")


def test_a_model_that_cr_save_wrote(run: Any, tmp_path: Path) -> None:
    cr.save(cr.nn.Sequential(cr.nn.Dense(3, 2)), tmp_path / "plain.safetensors")
    done = run("export", "plain.safetensors")
    assert done.code == 0
    assert re.search(r"^x +float32 +rows × 3", done.out, re.MULTILINE)
    assert run("export", "plain.safetensors", "--check", "x.npy", "--force").code == 2
    cr.save(cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Dense(3, 2)), tmp_path / "flat.safetensors")
    refused = run("export", "flat.safetensors")
    assert refused.code == 2
    assert "the shape of a row is not known" in refused.err


def test_nothing_is_overwritten_unasked(run: Any, model: Path) -> None:
    assert run("export", model, "-o", "m.onnx").code == 0
    again = run("export", model, "-o", "m.onnx")
    assert (again.code, again.out) == (2, "")
    assert "m.onnx exists; give another name, or --force to replace it" in again.err
    assert run("export", model, "-o", "m.onnx", "--force", "--opset", "21").code == 0
    assert onnx.load("m.onnx").opset_import[0].version == 21


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "m.bin"), r"-o m\.bin: the file is ONNX; name it m\.bin\.onnx"),
        (("-o", "no/m.onnx"), r"there is no folder no"),
        (("--opset", "14"), r"15"),
        (("--opset", "99"), r"opset 99 cannot be written; expected 15 to"),
        (("--check", "gone.npy"), r"gone\.npy: No such file"),
    ],
)
def test_misuse(words: Any, message: str, run: Any, model: Path) -> None:
    done = run("export", model, *words)
    assert done.code == 2
    assert re.search(message, done.err)
    assert not list(Path().glob("*.onnx"))


def test_files_that_are_no_models(run: Any, tmp_path: Path) -> None:
    assert run("export", "gone.safetensors").code == 2
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    done = run("export", "junk.safetensors")
    assert done.code == 2
    assert "junk.safetensors" in done.err


def test_without_the_extra(run: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = run("export", model, "-o", "m.onnx")
    assert done.code == 2
    assert 'pip install "chainrule[onnx]"' in done.err
    assert not Path("m.onnx").exists()
