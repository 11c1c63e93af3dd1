"""onnxruntime: predictions of the net written as an ONNX graph."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cases import Case, Job, fastest, predicting


def network(case: Case) -> Any:
    nodes, constants, value = [], [], "x"
    layers = case.layers()
    for k, (W, b) in enumerate(layers):
        constants += [numpy_helper.from_array(W, f"W{k}"), numpy_helper.from_array(b, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [f"z{k}"], transB=1))
        value = f"z{k}"
        if k < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"h{k}"]))
            value = f"h{k}"
    if case.classes:
        nodes.append(helper.make_node("Softmax", [value], ["y"], axis=1))
        value = "y"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n])
        for name, n in (("x", case.sizes[0]), (value, case.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def build(case: Case, mode: str) -> Job:
    serialized, row = network(case).SerializeToString(), case.row()
    jobs = []
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(serialized, options, ["CPUExecutionProvider"])
        names = [session.get_outputs()[0].name]
        jobs.append(predicting(lambda x, s=session, names=names: s.run(names, {"x": x})[0], row))
    return fastest(jobs)
