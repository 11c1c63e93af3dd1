"""``chainrule export``: a trained model, with all that stands before and after it, as ONNX."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.random import Stream
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output, read_rows
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.report import Fields, Report, Table, clean
from chainrule.cli.tables import bytes_text
from chainrule.interop.onnx import Exported, ExportError, export, feeds
from chainrule.interop.onnx.feeds import invented
from chainrule.nn.module import Module
from chainrule.nn.standardize import Standardize
from chainrule.serialize.container import read_container
from chainrule.serialize.model import load

__all__ = ["run"]

Array = npt.NDArray[Any]

#: Rows of data, or made up, that the file is compared on; columns shown in the example.
_MOST, _MADE, _SHOWN = 10_000, 32, 6


def run(a: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    path = a.output or f"{os.path.splitext(a.model)[0]}.onnx"
    if not path.lower().endswith(".onnx"):
        raise UsageError(f"-o {path}: the file is ONNX; name it {path}.onnx")
    check_output(path, replace=a.force)
    about = read_container(a.model).metadata.get("user")
    try:
        if isinstance(about, dict) and "input_shape" in about:
            pipeline = Pipeline.load(a.model)
            done, row, given = _pipeline(pipeline, path, a)
        else:
            if a.check:
                raise UsageError(f"--check: {a.model} does not say what a row looks like")
            model = load(a.model)
            done = export(model, path, opset=a.opset)
            row, given = _numbers_row(done), "rows of random numbers"
    except ExportError as error:
        raise UsageError(f"{a.model}: {error}") from error
    if a.json:
        print(json.dumps(_as_json(done)))
    else:
        _show(done, row, given)
    return 0


def _pipeline(p: Pipeline, path: str, a: argparse.Namespace) -> tuple[Exported, str, str]:
    """What was written, a row of input as Python, and what it was compared on."""
    more = {"trained_on": str(p.about.get("data", {}).get("name", ""))}
    if p.preprocessor is not None:
        example, given = None, "rows made up from what the preparation knows"
        if a.check:
            from chainrule.data.reading import read_table

            example, given = read_table(a.check).head(_MOST), f"rows of {a.check} and made-up ones"
        done = export(
            p.model, path, example, preprocessor=p.preprocessor, target=p.target,
            decision=p.about.get("decision"), opset=a.opset, metadata=more,
        )  # fmt: skip
        return done, _table_row(p), given
    given = "made-up rows like those of training"
    rows = _like_training(p.model, p.shape)
    if a.check:
        rows, given = p.check_rows(read_rows(a.check)[:_MOST]), f"rows of {a.check}"
    after: dict[str, Any] = {"classes": p.classes} if p.classes is not None else {}
    if p.outputs is not None:
        after = {"outputs": (p.outputs.mean, p.outputs.scale, p.target_shape)}
    if rows.dtype.kind != "f":
        rows = rows.astype(np.float32)
    done = export(p.model, path, rows, **after, opset=a.opset, metadata=more, input_names=["X"])
    return done, _numbers_row(done), given


def _like_training(model: Module, shape: tuple[int, ...]) -> Array:
    """Rows with the mean and deviation of the training rows, where the model knows them."""
    z = Stream(0).normal("export", (_MADE, int(np.prod(shape))))
    for layer in model.modules():
        if isinstance(layer, Standardize) and layer.mean.size == z.shape[1]:
            z = z * layer.scale.reshape(-1) + layer.mean.reshape(-1)
            break
    return z.reshape(_MADE, *shape)


def _numbers_row(done: Exported) -> str:
    port = done.inputs[0]
    sides = ", ".join("1" if isinstance(n, str) else str(n) for n in port.shape)
    return f'{{"{port.name}": numpy.zeros(({sides}), "{port.dtype}")}}'


def _table_row(p: Pipeline) -> str:
    """A row of the table as Python, the first columns of many."""
    assert p.preprocessor is not None
    parts = []
    for name, values in feeds(p.preprocessor, invented(p.preprocessor, 8)).items():
        one: Any = values[2:3].tolist()
        if values.dtype.kind == "f":
            one = [float(f"{v:.4g}") for v in one]
        kind = ", object" if values.dtype.kind == "O" else ""
        parts.append(f"{json.dumps(name, ensure_ascii=False)}: numpy.array({one!r}{kind})")
    left = len(parts) - _SHOWN
    if left > 0:
        parts = [*parts[:_SHOWN], f"…  # and {left} more"]
    return "{\n    " + ",\n    ".join(parts) + "\n}"


def _as_json(done: Exported) -> dict[str, Any]:
    return {
        "path": done.path,
        "opset": done.opset,
        "nodes": done.nodes,
        "bytes": done.size,
        "compared_rows": done.rows,
        "largest_difference": done.largest,
        "inputs": [_port(p) for p in done.inputs],
        "outputs": [_port(p) for p in done.outputs],
    }


def _port(port: Any) -> dict[str, Any]:
    return {"name": port.name, "type": port.dtype, "shape": list(port.shape), "is": port.says}


def _show(done: Exported, row: str, given: str) -> None:
    report = Report(sys.stdout)
    size = f"{bytes_text(done.size)}, {done.nodes} operators of opset {done.opset}"
    report.show(Fields([("Wrote", f"{done.path}: {size}")]))
    for head, last, ports in (("input", "takes", done.inputs), ("output", "gives", done.outputs)):
        rows = [[p.name, p.dtype, " × ".join(map(str, p.shape)) or "–", p.says] for p in ports]
        report.show(Table([head, "type", "shape", last], rows, "wffw"))
    compared = (
        f"onnxruntime gives what the model gives, on {done.rows:,} {given}; the largest "
        f"difference is {done.largest:.1e} of an output's size"
    )
    report.show(Fields([("Verified", compared)]))
    print("\nTo run it, in Python:\n")
    print("import numpy, onnxruntime")
    print(f"session = onnxruntime.InferenceSession({clean(done.path)!r})")
    print(f"print(session.run(None, {row}))")
