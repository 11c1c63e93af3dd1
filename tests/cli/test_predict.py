"""Predictions to a file and to the screen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr

from .conftest import SHORT, Run, blobs

X, Y = blobs(60, seed=5)


def test_classes_go_to_a_file(run: Run, model: Path) -> None:
    np.savez("new.npz", X=X)
    result = run("predict", model, "new.npz", "-o", "out.npy")
    assert (result.code, result.out) == (0, "")
    assert "out.npy: 60 classes (int64)" in result.err
    np.testing.assert_array_equal(np.load("out.npy"), Y)


def test_blocks_and_file_formats_do_not_matter(run: Run, model: Path) -> None:
    np.savez("new.npz", X=X)
    np.save("new.npy", X)
    np.save("fortran.npy", np.asfortranarray(X))
    results = {
        run("predict", model, file, "--batch-size", size).out
        for file in ("new.npz", "new.npy", "fortran.npy")
        for size in (7, 60, 1024)
    }
    assert results == {"".join(f"{label}\n" for label in Y)}


def test_python_and_the_command_line_agree_to_the_bit(run: Run, model: Path) -> None:
    np.savez("new.npz", X=X)
    assert run("predict", model, "new.npz", "--probabilities", "-o", "p.npy").code == 0
    logits = (
        cr.load(model)(X).detach().numpy()
    )  # the rows as they are: the model knows how to scale them
    np.testing.assert_array_equal(np.load("p.npy"), cr.ops.softmax(logits, axis=1))


def test_images_need_no_preparation_either(run: Run) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.random((60, 4, 4)) * 90 + 90 * y[:, None, None]).astype(np.uint8)
    np.savez("images.npz", X=x, y=y)
    assert run("train", "images.npz", *SHORT).code == 0
    model = cr.load("images.safetensors")
    wanted = model(x).detach().numpy()
    assert (wanted.argmax(axis=1) == y).all()
    np.testing.assert_array_equal(model(x.reshape(60, 16)).detach().numpy(), wanted)
    assert (
        run("predict", "images.safetensors", "images.npz", "--probabilities", "-o", "p.npy").code
        == 0
    )
    np.testing.assert_array_equal(np.load("p.npy"), cr.ops.softmax(wanted, axis=1))
    np.save("flat.npy", x.reshape(60, 16))  # another arrangement of the same numbers
    assert run("predict", "images.safetensors", "flat.npy", "-o", "flat_out.npy").code == 0
    np.testing.assert_array_equal(np.load("flat_out.npy"), y)


def test_names_of_classes(run: Run) -> None:
    names = np.array(["cat", "dog", "whale"])
    np.savez("animals.npz", X=X, y=names[Y])
    assert run("train", "animals.npz", *SHORT).code == 0
    np.save("new.npy", X[:4])
    assert run("predict", "animals.safetensors", "new.npy").out.split() == names[Y[:4]].tolist()
    assert run("predict", "animals.safetensors", "new.npy", "-o", "out.npy").code == 0
    assert np.load("out.npy", allow_pickle=False).tolist() == names[Y[:4]].tolist()


def test_probabilities(run: Run, model: Path) -> None:
    np.save("new.npy", X)
    assert run("predict", model, "new.npy", "--probabilities", "-o", "p.npy").code == 0
    p = np.load("p.npy")
    assert (p.shape, p.dtype) == ((60, 3), np.float32)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(p.argmax(axis=1), Y)
    printed = run("predict", model, "new.npy", "--probabilities").out.splitlines()
    np.testing.assert_allclose([[float(v) for v in r.split()] for r in printed], p, atol=1e-6)


def test_values_come_back_on_their_own_scale(run: Run) -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    y = 5e4 * x[:, 0] + 1e6
    np.savez("line.npz", X=x, y=y)
    assert run("train", "line.npz", "--epochs", 30, "--dropout", 0).code == 0
    assert run("predict", "line.safetensors", "line.npz", "-o", "out.npy").code == 0
    found = np.load("out.npy")
    assert found.shape == (200,)
    np.testing.assert_allclose(found, y, atol=5e3)
    result = run("predict", "line.safetensors", "line.npz", "--probabilities")
    assert (result.code, "needs a classifier" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (X[0], "X has shape (2,), that of one row; pass X[None]"),
        (X[:, :1], "the model was trained on rows of shape (2,), 2 features each"),
        (np.where(X > 8e3, np.nan, X), "non-finite"),
        (X.astype(str), "X"),
        (np.full((3, 2), 3e38), "row 0 of X is too far from the data the model was trained on"),
    ],
)
def test_rows_that_do_not_fit_leave_no_file(
    x: np.ndarray, text: str, run: Run, model: Path
) -> None:
    np.save("new.npy", x)
    before = sorted(os.listdir())
    result = run("predict", model, "new.npy", "-o", "out.npy")
    assert (result.code, result.out) == (2, "")
    assert text in result.err
    assert sorted(os.listdir()) == before


def test_an_output_is_not_replaced_unasked(run: Run, model: Path) -> None:
    np.save("new.npy", X)
    result = run("predict", model, "new.npy", "-o", "new.npy")
    assert (result.code, "exists" in result.err) == (2, True)
    result = run("predict", model, "new.npy", "-o", "out.csv")
    assert (result.code, "name it out.csv.npy" in result.err) == (2, True)
    assert run("predict", model, "new.npy", "-o", "out.npy").code == 0
    assert run("predict", model, "new.npy", "-o", "out.npy", "--force").code == 0
