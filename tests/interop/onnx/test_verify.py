"""The comparison itself: what it lets pass, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.interop.onnx.verify import Port, Runner, difference
from chainrule.interop.onnx.writer import ExportError, Writer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_the_difference_is_relative_to_the_largest_entry() -> None:
    a, b = np.array([100.0, 0.0]), np.array([100.0, 1e-8])
    assert difference([a], [b], ["y"]) == pytest.approx(1e-10)
    assert difference([b * 1e-3], [a * 1e-3], ["y"]) == pytest.approx(1e-11)
    assert difference([np.array([np.inf, np.nan])], [np.array([np.inf, np.nan])], ["y"]) == 0
    assert difference([b * 1e-3], [a * 1e-3], ["y"], 1, 1e-300) == pytest.approx(1e-10)
    assert difference([np.zeros((0, 3))], [np.zeros((0, 3))], ["y"]) == 0


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        ([1.0, 2.0], [1.0], r"\(2,\), the model gives float64 \(1,\)"),
        ([1.0, 2.0], [1, 2], r"is float64 .* gives int64"),
        ([1.0, np.nan], [1.0, 2.0], r"NaN where the model's is not"),
        ([1.0, 2.0], [1.0, 2.1], r"differs from what the model gives by 4\.8e-02"),
        ([1.0, np.inf], [1.0, 2.0], r"differs from what the model gives by inf"),
        (["a", "b"], ["a", "c"], r"'y' differs"),
    ],
)
def test_what_is_refused(found: Any, expected: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        difference([np.array(found)], [np.array(expected)], ["y"])


def test_text_is_compared_whatever_holds_it() -> None:
    assert difference([np.array(["a"], object)], [np.array(["a"])], ["y"]) == 0


def test_errors_of_the_runtime_are_short() -> None:
    with pytest.raises(ExportError, match=r"onnxruntime .* does not take what was written"):
        Runner(b"no model")
    w = Writer(17)
    x = w.input("x", np.int64, ["rows"])
    w.output(w.node("Gather", w.ints(1, 2), x), "y", np.int64, ["rows"])
    run = Runner(w.model("m", {}, "1").SerializeToString())
    with pytest.raises(ExportError, match=r"onnxruntime fails in the exported model: .*indices"):
        run({"x": np.array([5])})


def test_a_port_shows_its_shape() -> None:
    assert str(Port("y", "float64", ("rows",))) == "y: float64 (rows,)"
    assert str(Port("y", "float64", ())) == "y: float64 ()"
