"""What reaches the loop: checked arrays, weights per class, shapes of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError
from chainrule.train import losses
from chainrule.train.preparation import output_shape, prepare
from tests_common import blobs, net


def ready(data: Any, model: Any = None, loss: str = "cross_entropy", **kw: Any) -> Any:
    return prepare(data, model or net(), losses.get(loss), batch_size=16, **kw)


def test_output_shape_leaves_the_mode_alone():
    model = net(p=0.5)
    assert output_shape(model, np.ones((5, 4), np.uint8)) == (3,)
    assert model.training


def test_weights_per_class_follow_labels_and_probabilities():
    x, y = blobs(30)
    w = {0: 1.0, 1: 2.0, 2: 5.0}
    for target in (y, np.eye(3, dtype=np.float32)[y]):
        p = ready((x, target), class_weight=w)
        batch = next(p.epoch(0))
        np.testing.assert_array_equal(p.weight(batch), np.array([1, 2, 5], np.float32)[y[:16]])
    both = ready((x, y, np.full(30, 2.0)), class_weight=w)
    np.testing.assert_array_equal(
        both.weight(next(both.epoch(0))), np.array([2, 4, 10], np.float32)[y[:16]]
    )
    binary = ready(
        (x, (y > 0).astype(int)),
        net(sizes=(4, 8, 1)),
        "binary_cross_entropy_with_logits",
        class_weight={1: 3.0},
    )
    np.testing.assert_array_equal(binary.weight(next(binary.epoch(0))), np.where(y[:16] > 0, 3, 1))


@pytest.mark.parametrize("weights", [{0: 1.0, 2: 5.0}, [1.0, 1.0, 5.0]])
def test_weights_per_class_of_batches(weights: Any) -> None:
    x, y = blobs(30)
    for target in (y, np.eye(3)[y]):
        for data in ([(x, target)], cr.data.Batches((x, target), batch_size=30)):
            p = ready(data, net().double(), class_weight=weights)
            found = p.weight(next(p.epoch(0)))
            np.testing.assert_array_equal(found, np.array([1, 1, 5])[y])
            assert found.dtype == np.float64
    p = ready([(x, y)], class_weight=[1.0, 2.0])
    first = int(np.argmax(y == 2))
    with pytest.raises(DataError, match=f"label 2 at row {first}, .* class 0 to 1"):
        p.weight(next(p.epoch(0)))


def test_targets_take_the_shape_of_the_output():
    x, y = blobs(30)
    p = ready((x, y.astype(float)), net(sizes=(4, 8, 1)), "mse")
    assert next(p.epoch(0)).y.shape == (16, 1)
    assert next(p.epoch(0)).y.dtype == np.float32


@pytest.mark.parametrize(
    ("data", "kw", "words"),
    [
        ("x", {}, r"\(x, y\)"),
        ("four", {}, "tuple of 4"),
        ("twice", {"sample_weight": np.ones(30)}, "twice"),
        ("batches", {"class_weight": "balanced"}, "batches"),
        ("batches", {"class_weight": {0: -1.0}}, "class_weight is -1.0 for class 0"),
        ("batches", {"class_weight": {"cat": 1.0}}, "'cat'"),
        ("batches", {"class_weight": 2.0}, "one weight per class"),
        ("Batches", {"sample_weight": np.ones(30)}, r"Batches\(\(x, y\), sample_weight"),
        ("negative", {}, "sample_weight"),
    ],
)
def test_refusals(data: str, kw: Any, words: str) -> None:
    x, y = blobs(30)
    sources: dict[str, Any] = {
        "x": x,
        "four": (x, y, y, y),
        "twice": (x, y, np.ones(30)),
        "batches": [(x, y)],
        "Batches": cr.data.Batches((x, y)),
        "negative": (x, y, -np.ones(30)),
    }
    with pytest.raises(DataError, match=words):
        ready(sources[data], **kw)


def test_heads_that_do_not_fit_the_loss():
    x, y = blobs(30)
    with pytest.raises(DataError, match="single output"):
        ready((x, y), net(sizes=(4, 8, 1)))
    with pytest.raises(DataError, match="range"):
        ready((x, y * 1.0), net(sizes=(4, 8, 1)), "binary_cross_entropy_with_logits")
    with pytest.raises(DataError, match="class_weight needs classes"):
        ready((x, y * 1.0), net(sizes=(4, 8, 1)), "mse", class_weight="balanced")


def test_validation_arguments_are_named():
    x, y = blobs(30)
    x[3, 1] = np.nan
    with pytest.raises(DataError, match=r"validation x .* row 3, column 1"):
        ready((x, y), name="validation")
    assert cr.nn.Identity  # the façade is loaded


def test_probabilities_add_up_to_one():
    x, y = blobs(30)
    several = np.eye(3)[y]
    several[7] = 1.0
    with pytest.raises(DataError, match=r"y adds up to 3 at row 7.*with_logits"):
        ready((x, several))
    with pytest.raises(DataError, match="y is None"):
        ready((x, None))


def test_binary_targets_of_one_class_and_weights_of_the_validation():
    x, y = blobs(30)
    one = net(sizes=(4, 8, 1))
    for loss in ("bce", "bce_with_logits"):
        with pytest.raises(DataError, match="all 30 labels of y are 1"):
            ready((x, np.ones(30)), one, loss, training=True)
        ready((x, np.full(30, 0.5)), one, loss, training=True)  # a probability is no class
        ready((x, np.ones(30)), one, loss)
    with pytest.raises(DataError, match="validation sample_weight holds -1"):
        ready((x, y, np.full(30, -1.0)), name="validation")
