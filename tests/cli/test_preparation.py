"""From a data file to parts: nothing of validation and test reaches training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule import nn
from chainrule.cli.arguments import parser
from chainrule.cli.preparation import precision_note, prepare

from .conftest import blobs


def test_the_scaling_knows_the_training_rows_alone(tmp_path: Path) -> None:
    x, y = blobs()
    path = tmp_path / "d.npz"
    np.savez(path, X=x, y=y)
    words = ["train", str(path), "--hidden", "4", "--seed", "3"]
    pipeline, parts, why = prepare(parser().parse_args(words))
    assert why == "y holds integers"
    train, labels = parts["train"]
    first = next(pipeline.model.children())
    assert isinstance(first, nn.Standardize)
    np.testing.assert_allclose(first(train).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(first(train).std(axis=0), 1, rtol=1e-6)
    assert np.abs(first(parts["test"][0]).mean(axis=0)).max() > 1e-3
    # every row is in one part, as it was, and its label went with it
    back = {tuple(r): k for r, k in zip(x, y, strict=True)}
    for rows, codes in parts.values():
        assert [back.pop(tuple(r)) for r in rows] == codes.tolist()
    assert not back
    assert np.bincount(labels).tolist() == [21, 21, 21]


def test_the_first_weights_follow_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    x, y = blobs()
    np.savez(path, X=x, y=y)
    weights = []
    for seed in ("0", "0", "1"):
        pipeline, _, _ = prepare(parser().parse_args(["train", str(path), "--seed", seed]))
        weights.append(next(pipeline.model.parameters())._data)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_images_are_flattened_by_the_model(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    x = np.random.default_rng(0).integers(0, 256, (60, 4, 5), np.uint8)
    np.savez(path, X=x, y=np.arange(60) % 2)
    pipeline, parts, _ = prepare(parser().parse_args(["train", str(path), "--hidden", ""]))
    flatten, first, dense = pipeline.model.children()
    assert (repr(flatten), repr(first), repr(dense)) == (
        "Flatten()",
        "Standardize(20 features)",
        "Dense(20 -> 2)",
    )
    assert len(set(first.scale.tolist())) == 1  # pixels have one unit, and so one deviation
    rows = parts["train"][0]
    assert (rows.shape, rows.dtype) == ((42, 20), np.uint8)
    np.testing.assert_allclose(first(rows).var(axis=0).mean(), 1, rtol=1e-6)


def test_features_that_float32_cannot_tell_apart_are_named() -> None:
    x = np.random.default_rng(0).normal([0, 1e9, 1e3], 1, (50, 3))
    note = precision_note(x)
    assert note is not None
    assert note.startswith("feature 1 varies by")
    assert "subtract a constant" in note
    assert precision_note(x - [0, 1e9, 0]) is None
    assert precision_note(np.full((3, 2), 1e9)) is None  # constants lose nothing
    assert precision_note(x.astype(np.float32)) is None  # the file itself holds no more
