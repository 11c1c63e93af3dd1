"""What follows a network equals `Target.decode`, `Target.probabilities` and the pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.data.preprocess import Target
from chainrule.interop.onnx.heads import of_classes, of_target, of_values

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((6, 3)).astype(np.float32)

TARGETS: dict[str, Any] = {
    "text": pl.DataFrame({"y": ["u", "v", "w"] * 9}),
    "integers": pl.DataFrame({"y": [3, 1, 7] * 9}, schema={"y": pl.Int16}),
    "booleans": pl.DataFrame({"y": [True, False] * 9}),
    "labels": pl.DataFrame({"a": [0, 1] * 9, "b": [True, False] * 9}),
    "values": pl.DataFrame({"a": RNG.standard_normal(9) * 50 + 7, "b": RNG.standard_normal(9)}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_outputs_of_a_target(name: str) -> None:
    target = Target().fit(TARGETS[name])
    scores = SCORES[:, : target.outputs]
    head = of_target(target)
    found = [np.asarray(a) for a in head.compute(scores)]
    decoded = target.decode(scores)
    assert head.names[: len(target.names)] == [f"predicted_{n}" for n in target.names]
    assert len(found) == len(head.names) == len(head.says)
    for output, a in zip(head.names, found, strict=True):
        if output in head.labels:
            a = head.labels[output][a]
        if output == "probabilities":
            np.testing.assert_allclose(a, target.probabilities(scores).to_numpy(), rtol=1e-14)
        else:
            expected = decoded[output.removeprefix("predicted_")].to_numpy()
            np.testing.assert_array_equal(a, expected)
            assert a.dtype == expected.dtype


def test_weights_of_classes_move_the_decision_and_not_the_probabilities() -> None:
    target = Target().fit(TARGETS["text"])
    weights = [1.0, 5.0, 0.2]
    chosen, p = of_target(target, weights).compute(SCORES)
    np.testing.assert_array_equal(chosen, (p * weights).argmax(axis=1))
    assert (chosen != p.argmax(axis=1)).any()


def test_classes_and_values_of_arrays() -> None:
    head = of_classes(np.array(["u", "v", "w"]))
    chosen, p = head.compute(SCORES)
    np.testing.assert_array_equal(chosen, SCORES.argmax(axis=1))
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert head.says == ["the class", "of u, v, w"]
    (found,) = of_values([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], (3, 1)).compute(SCORES)
    assert found.shape == (6, 3, 1)
    np.testing.assert_array_equal(
        found[:, :, 0], SCORES.astype(float) * [2.0, 3.0, 4.0] + [1.0, 2.0, 3.0]
    )


def test_many_classes_are_shortened() -> None:
    assert of_classes(range(100)).says[1] == "of 0, 1, 2, 3, 4, 5, … 99"


def test_the_size_that_matters_is_the_deviation_of_a_value() -> None:
    target = Target().fit(pl.DataFrame({"a": [1e-9, 3e-9], "b": [10.0, 30.0]}), "regression")
    assert of_target(target).size == pytest.approx(1e-9)
    assert of_values([0.0], [25.0], ()).size == 25.0
    assert of_classes([0, 1]).size == 1.0
