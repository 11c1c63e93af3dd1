"""Training from the command line: files, options, what is kept, and where it is put."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.serialize.model import load, read_metadata, save

from .conftest import SHORT, Run, blobs


def metrics(run: Run, *words: Any) -> dict[str, Any]:
    result = run("train", *words, "--json", "--quiet")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_a_data_file_is_learned_and_everything_is_said(run: Run, data: Path) -> None:
    result = run("train", data, *SHORT)
    assert (result.code, result.err) == (0, "")
    for text in (
        "blobs.npz: 90 rows, 2 features",
        "classification, because y holds integers; 3 classes: 0, 1, 2",
        "63 to train, 9 to choose the best weights, 18 to test (class by class, seed 0)",
        "standardised by the model itself, each with the mean and deviation of the training rows",
        "Standardize(2 features)",
        "Dense(2 -> 16, relu)",
        "AdamW, learning rate 0.01 (one_cycle)",
        "val accuracy",
        "accuracy              1.0000",
        "Confusion matrix",
        "blobs.safetensors",
        f"chainrule predict blobs.safetensors {data} -o predictions.npy",
    ):
        assert text in " ".join(result.out.split()) or text in result.out, text
    assert read_metadata("blobs.safetensors")["metrics"]["test"]["accuracy"] == 1


def test_the_same_seed_gives_the_same_file(run: Run, data: Path) -> None:
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("train", data, *SHORT, "--seed", seed, "-o", name).code == 0
        files.append(Path(name).read_bytes())
    assert files[0] == files[1] != files[2]


def test_text_labels_keep_their_names(run: Run, tmp_path: Path) -> None:
    x, y = blobs()
    for kind in ("U", "S"):
        np.savez("animals.npz", X=x, y=np.array(["cat", "dog", "emu"])[y].astype(kind))
        found = metrics(run, "animals.npz", *SHORT)
        assert found["classes"] == ["cat", "dog", "emu"]
        assert found["metrics"]["test"]["classes"][1]["class"] == "dog"
        assert found["metrics"]["test"]["accuracy"] == 1


def test_any_integers_are_classes(run: Run, tmp_path: Path) -> None:
    x, y = blobs()
    np.savez("years.npz", X=x, y=np.array([-5, 1990, 7])[y])
    assert metrics(run, "years.npz", *SHORT)["classes"] == [-5, 7, 1990]


def test_floats_are_values(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    y = 1e6 + 1e4 * (x[:, 0] - 2 * x[:, 1] * x[:, 2])
    np.savez("prices.npz", X=x, y=y)
    result = run("train", "prices.npz", "--epochs", "40", "--dropout", "0")
    assert "regression, because y holds floats" in result.out
    assert "R²" in result.out
    values = read_metadata("prices.safetensors")["metrics"]["test"]
    assert values["r2"] > 0.9
    assert values["rmse"] < 3000  # on the scale of y
    np.savez("both.npz", X=x, y=np.stack([y, -y], axis=1))
    assert metrics(run, "both.npz", *SHORT)["metrics"]["test"]["rows"] == 40


def test_the_task_can_be_said(run: Run, data: Path, tmp_path: Path) -> None:
    assert metrics(run, data, *SHORT, "--task", "regression")["task"] == "regression"
    x, y = blobs()
    np.savez("floats.npz", X=x, y=y.astype(float))
    assert metrics(run, "floats.npz", *SHORT, "--task", "classification")["classes"] == [0, 1, 2]
    np.savez("floats.npz", X=x, y=y + 0.5)
    result = run("train", "floats.npz", "--task", "classification")
    assert (result.code, "y holds 0.5 at row 0" in result.err) == (2, True)
    np.savez("text.npz", X=x, y=y.astype(str))
    result = run("train", "text.npz", "--task", "regression")
    assert (result.code, "regression needs numbers" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.ones(9), np.arange(9) % 2, "X has shape (9,); expected (rows, features)"),
        (np.full((9, 2), np.nan), np.arange(9) % 2, "X contains 18 non-finite values"),
        (np.array([["a"] * 2] * 9), np.arange(9) % 2, "X"),
        (np.full((9, 2), 1e300), np.arange(9) % 2, "X"),
        (np.ones((9, 2)), np.zeros(9, int), "every row of y is 0"),
        (np.ones((9, 2)), np.eye(9)[:, :3].astype(int), "for one-hot rows: y.argmax(axis=1)"),
        (np.ones((9, 2)), np.arange(9), "class 0 has 1 row(s), too few for 3 parts"),
        (np.ones((9, 2)), np.full(9, np.inf), "y contains 9 non-finite values"),
        (np.ones((9, 2)), np.ones((9, 2, 2)), "expected one or several numbers per row"),
        (np.ones((9, 2)), np.zeros(9, "M8[D]"), "y has type datetime64[D]"),
    ],
)
def test_data_that_cannot_be_learned(x: Any, y: Any, text: str, run: Run) -> None:
    np.savez("bad.npz", X=x, y=y)
    result = run("train", "bad.npz")
    assert (result.code, result.out) == (2, "")
    assert text in result.err
    assert os.listdir() == ["bad.npz"]


def test_validation_and_test_files_take_the_place_of_the_split(run: Run, data: Path) -> None:
    for name, seed in (("v", 1), ("t", 2)):
        x, y = blobs(30, seed)
        np.savez(f"{name}.npz", X=x, y=y)
    found = metrics(run, data, *SHORT, "--validation", "v.npz", "--test", "t.npz")
    assert found["data"]["parts"] == {"train": 90, "validation": 30, "test": 30}
    np.savez("t.npz", X=x, y=y + 1)
    result = run("train", data, "--test", "t.npz")
    assert result.code == 2
    assert "y of t.npz holds class 3 at row 2, which the model does not know" in result.err
    np.savez("t.npz", X=x[:, :1], y=y)
    result = run("train", data, "--test", "t.npz")
    assert "X of t.npz has shape (30, 1); the model was trained on rows of shape (2,)" in result.err


def test_parts_may_be_left_out(run: Run, data: Path) -> None:
    found = metrics(run, data, *SHORT, "--validation-fraction", 0, "--test-fraction", 0)
    assert found["data"]["parts"] == {"train": 90}
    assert found["metrics"] == {}
    assert "val_loss" not in found["history"][0]


def test_options_reach_the_training(run: Run, data: Path) -> None:
    found = metrics(
        run, data, "--hidden", "8,4", "--activation", "tanh", "--dropout", 0, "--optimizer", "sgd",
        "--lr", 0.05, "--weight-decay", 0.001, "--schedule", "none", "--epochs", 3,
        "--batch-size", 16, "--clip-norm", 1, "--class-weight", "balanced",
    )  # fmt: skip
    training = found["training"]
    expected = {
        "optimizer": "SGD", "learning_rate": 0.05, "weight_decay": 0.001, "schedule": "none",
        "epochs": 3, "batch_size": 16, "clip_norm": 1, "class_weight": "balanced",
    }  # fmt: skip
    assert {k: training[k] for k in expected} == expected
    assert [row["lr"] for row in found["history"]] == [0.05] * 3
    assert found["parameters"] == (2 + 1) * 8 + (8 + 1) * 4 + (4 + 1) * 3
    layers = list(load("blobs.safetensors").children())
    assert [layer.extra_repr() for layer in layers] == [
        "2 features", "2 -> 8, tanh", "8 -> 4, tanh", "4 -> 3",
    ]  # fmt: skip


def test_no_hidden_layer(run: Run, data: Path) -> None:
    assert metrics(run, data, "--hidden-sizes", "")["parameters"] == (2 + 1) * 3


def test_patience_stops_and_keeps_the_best(run: Run, data: Path) -> None:
    found = metrics(run, data, "--patience", 2, "--epochs", 60, "--lr", 0.3, "--schedule", "none")
    history = [row["val_loss"] for row in found["history"]]
    assert found["training"]["stopped"] == "early stopping"
    assert len(history) < 60
    best = found["training"]["best_epoch"]
    assert history[best - 1] == min(history) == found["metrics"]["validation"]["loss"]


def test_an_existing_file_is_replaced_only_where_that_is_meant(run: Run, data: Path) -> None:
    Path("mine.safetensors").write_text("precious")
    result = run("train", data, *SHORT, "-o", "mine.safetensors")
    assert result.code == 2
    assert "mine.safetensors exists; give another name, or --force" in result.err
    Path("blobs.safetensors").write_text("precious")
    result = run("train", data, *SHORT)
    assert (result.code, "is no model of chainrule" in result.err) == (2, True)
    assert Path("mine.safetensors").read_text() == "precious"
    assert Path("blobs.safetensors").read_text() == "precious"
    assert run("train", data, *SHORT, "-o", "mine.safetensors", "--force").code == 0
    assert run("train", data, *SHORT, "--force").code == 0
    assert "in place of the one before" in run("train", data, *SHORT).out  # an older run of ours


def test_quiet_and_json(run: Run, data: Path) -> None:
    result = run("train", data, *SHORT, "--quiet")
    assert result.out.startswith("Test ")
    assert "epoch" not in result.out + result.err
    result = run("train", data, *SHORT, "--json")
    assert len(json.loads(result.out)["history"]) == 12
    assert "epoch" in result.err


def test_a_resumed_run_ends_in_the_same_file(run: Run, data: Path) -> None:
    assert run("train", data, *SHORT, "-o", "whole", "--checkpoint", "c.safetensors").code == 0
    kept: list[bytes] = []

    def stop(path: Path) -> None:
        kept.append(path.read_bytes())

    # a run that is cut off after its fifth epoch leaves the checkpoint of that epoch
    from chainrule.train import callbacks

    original = callbacks.Checkpoint._write

    def write(self: Any, trainer: Any) -> None:
        original(self, trainer)
        if trainer.epoch == 5:
            stop(Path("d.safetensors"))

    callbacks.Checkpoint._write = write  # type: ignore[method-assign]
    try:
        assert run("train", data, *SHORT, "-o", "cut", "--checkpoint", "d.safetensors").code == 0
    finally:
        callbacks.Checkpoint._write = original  # type: ignore[method-assign]
    Path("d.safetensors").write_bytes(kept[0])
    result = run("train", data, *SHORT, "-o", "again", "--resume", "d.safetensors")
    assert result.code == 0
    assert "5 epochs are in the checkpoint" in result.out
    assert Path("again").read_bytes() == Path("whole").read_bytes()


def test_a_checkpoint_holds_the_whole_model(run: Run, data: Path) -> None:
    words = (*SHORT, "--validation-fraction", 0, "--checkpoint", "c.safetensors")
    assert run("train", data, *words).code == 0
    x, _ = blobs()
    found = [load(f"{name}.safetensors")(x).detach().numpy() for name in ("c", "blobs")]
    np.testing.assert_array_equal(*found)


def test_what_float32_loses_is_said(run: Run) -> None:
    x, y = blobs()
    np.savez("far.npz", X=x * [1, 0] + [0, 1e12] + y[:, None] * [0, 1.0], y=y)
    result = run("train", "far.npz", *SHORT)
    assert result.code == 0
    assert "note: feature 1 varies by 2 about 1e+12, which float32 hardly" in result.err


def test_a_checkpoint_of_another_run_is_refused(run: Run, data: Path) -> None:
    assert run("train", data, *SHORT, "--checkpoint", "c.safetensors").code == 0
    for words, text in (
        (["--seed", "1"], "its seed was 0, here it is 1"),
        (["--epochs", "30"], "its epochs was 12, here it is 30"),
        (["--optimizer", "sgd"], "optimizer AdamW, this trainer has SGD"),
        (["--patience", "3"], "callbacks"),
        (["--hidden", "5"], "does not fit"),
    ):
        result = run("train", data, *SHORT, *words, "--resume", "c.safetensors")
        assert result.code == 2, text
        assert text in result.err
    result = run("train", data, *SHORT, "--resume", "none.safetensors")
    assert (result.code, "none.safetensors: No such file" in result.err) == (2, True)


def test_a_loss_that_explodes_is_a_failure(run: Run, data: Path) -> None:
    result = run("train", data, "--lr", "1e30", "--schedule", "none", "--validation-fraction", 0)
    assert result.code == 1
    assert "the loss became" in result.err
    assert "Try a smaller learning rate" in result.err
    assert not Path("blobs.safetensors").exists()


def test_images_are_scaled_by_one_number(run: Run) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.random((60, 4, 4)) * 90 + 90 * y[:, None, None]).astype(np.uint8)
    np.savez("images.npz", X=x, y=y)
    result = run("train", "images.npz", *SHORT)
    assert "16 features (4 × 4)" in result.out
    assert "with one deviation for all" in " ".join(result.out.split())
    scale = load("images.safetensors").state_dict()["1.scale"]
    assert scale.shape == (16,)
    assert len(set(scale.tolist())) == 1


def test_a_model_of_the_library_under_the_default_name_gives_way(run: Run, data: Path) -> None:
    from chainrule import nn

    save(nn.Dense(2, 2), "blobs.safetensors")
    assert run("train", data, *SHORT).code == 0
