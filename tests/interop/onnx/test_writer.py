"""The writer: names, sharing, what is dropped, and what onnx says of the result."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chainrule.array.errors import MissingExtraError
from chainrule.interop.onnx.verify import Runner
from chainrule.interop.onnx.writer import ExportError, Writer, onnx_library

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

F4 = np.float32


def test_equal_nodes_and_constants_are_written_once() -> None:
    w = Writer(17)
    x = w.input("x", F4, ["rows"])
    a = w.node("Add", x, w.number(2.0, F4))
    assert w.node("Add", x, w.number(2.0, F4)) == a
    assert w.number(2.0, np.float64) != w.number(2.0, F4)
    assert w.constant(np.zeros((2, 1))) != w.constant(np.zeros((1, 2)))
    assert len(w.nodes) == 1


def test_what_no_output_needs_is_dropped() -> None:
    w = Writer(17)
    x = w.input("x", F4, ["rows"])
    w.node("Mul", x, w.constant(np.arange(5, dtype=F4), "unused"))
    w.output(w.node("Neg", x), "y", F4, ["rows"])
    model = w.model("m", {"task": "none"}, "1")
    assert [n.op_type for n in model.graph.node] == ["Neg", "Identity"]
    assert not model.graph.initializer
    assert {p.key: p.value for p in model.metadata_props} == {"task": "none"}
    assert model.producer_name == "chainrule"
    found = Runner(model.SerializeToString())({"x": np.array([1.0, -2.0], F4)})
    assert found[0].tolist() == [-1.0, 2.0]


def test_the_file_says_the_oldest_version_that_reads_it() -> None:
    w = Writer(15)
    w.output(w.input("x", F4, ["rows"]), "y", F4, ["rows"])
    model = w.model("m", {}, "1")
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 15)]


def test_text_constants_and_lookups() -> None:
    w = Writer(17)
    x = w.input("x", np.int64, ["rows"])
    labels = w.constant(np.array(["é", ""], object), "classes")
    w.output(w.node("Gather", labels, x), "y", str, ["rows"])
    found = Runner(w.model("m", {}, "1").SerializeToString())({"x": np.array([1, 0])})
    assert found[0].tolist() == ["", "é"]


@pytest.mark.parametrize("opset", [17, 18])
def test_the_maximum_along_axes_is_written_for_old_and_new_versions(opset: int) -> None:
    w = Writer(opset)
    x = w.input("x", F4, ["rows", 3])
    w.output(w.maximum_along(x, [1], False), "y", F4, ["rows"])
    found = Runner(w.model("m", {}, "1").SerializeToString())({"x": np.eye(2, 3, dtype=F4)})
    assert found[0].tolist() == [1.0, 1.0]


def test_two_things_of_one_name_are_refused() -> None:
    w = Writer(17)
    x = w.input("x", F4, ["rows"])
    with pytest.raises(ExportError, match=r"two inputs are called 'x'"):
        w.input("x", F4, ["rows"])
    with pytest.raises(ExportError, match=r"'x' is the name of an output and of something else"):
        w.output(x, "x", F4, ["rows"])


@pytest.mark.parametrize("opset", [14, 99])
def test_an_opset_that_is_not_there_is_refused(opset: int) -> None:
    with pytest.raises(ExportError, match=rf"opset {opset} cannot be written; expected 15 to"):
        Writer(opset)


def test_what_onnx_does_not_accept_is_said() -> None:
    w = Writer(17)
    x = w.input("x", F4, ["rows"])
    w.output(w.node("Foo", x), "y", F4, ["rows"])
    with pytest.raises(ExportError, match=r"onnx does not accept what was written: .*Foo"):
        w.model("m", {}, "1")


def test_over_two_gigabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.interop.onnx.writer._MOST_BYTES", 100)
    w = Writer(17)
    w.constant(np.zeros(10))
    with pytest.raises(ExportError, match=r"over 2 GB .* model.float\(\)"):
        w.constant(np.zeros(11))


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "chainrule\[onnx\]"'):
        onnx_library()
