"""From a data file to parts: nothing of validation and test reaches training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.cli.arguments import parser
from chainrule.cli.preparation import prepare

from .conftest import blobs


def test_the_scaling_knows_the_training_rows_alone(tmp_path: Path) -> None:
    x, y = blobs()
    path = tmp_path / "d.npz"
    np.savez(path, X=x, y=y)
    words = ["train", str(path), "--hidden", "4", "--seed", "3"]
    pipeline, parts, why = prepare(parser().parse_args(words))
    assert why == "y holds integers"
    train, labels = parts["train"]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-6)
    assert np.abs(parts["test"][0].mean(axis=0)).max() > 1e-3
    # every row is in one part, and its label went with it
    back = {tuple(np.round(r, 6)): k for r, k in zip(pipeline.inputs.apply(x), y, strict=True)}
    for rows, codes in parts.values():
        assert [back.pop(tuple(np.round(r, 6))) for r in rows] == codes.tolist()
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
