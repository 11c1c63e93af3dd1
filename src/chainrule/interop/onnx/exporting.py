"""`export`: a model as an ONNX file, written once and compared with the model before it is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule._version import __version__
from chainrule.data.preprocess import TablePreprocessor, Target
from chainrule.interop.onnx.columns import columns_of, write_columns
from chainrule.interop.onnx.heads import Head, of_classes, of_target, of_values
from chainrule.interop.onnx.job import Job, array_job, table_job
from chainrule.interop.onnx.trace import Rows, evaluating, raw, trace_pair
from chainrule.interop.onnx.translate import Translator
from chainrule.interop.onnx.verify import Port, Runner, difference
from chainrule.interop.onnx.writer import ExportError, Writer
from chainrule.nn.module import Module
from chainrule.serialize.atomic import atomic_write

__all__ = ["Exported", "export"]

Array = npt.NDArray[Any]

_UNDECIDED = 1e-5  # two probabilities this close: rounding may choose either class


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes:
        path: the file.
        inputs, outputs: a `Port` for each.
        opset: the version of ONNX's operators.
        nodes: how many there are.
        size: of the file, in bytes.
        rows: how many rows the file was compared with the model on.
        largest: the largest difference between the two, relative to the largest magnitude of an
            output or 1.
    """

    path: str
    inputs: list[Port]
    outputs: list[Port]
    opset: int
    nodes: int
    size: int
    rows: int
    largest: float

    def __str__(self) -> str:
        ends = [f"  in  {p}" for p in self.inputs] + [f"  out {p}" for p in self.outputs]
        head = f"{self.path}: opset {self.opset}, {self.nodes} nodes, {self.size:,} bytes"
        return "\n".join(
            [head, *ends, f"  largest difference over {self.rows} rows: {self.largest:.1e}"]
        )


def export(
    model: Module,
    path: str | os.PathLike[str],
    example: Any = None,
    *,
    preprocessor: TablePreprocessor | None = None,
    target: Target | None = None,
    decision: Sequence[float] | None = None,
    classes: Sequence[Any] | None = None,
    outputs: tuple[Any, Any, Sequence[int]] | None = None,
    opset: int = 17,
    tolerance: float | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Exported:
    """Write the evaluation-mode forward pass of a model as an ONNX file, for any number of rows.

    The forward pass runs on arrays without values, as `chainrule.capture` runs it, and what it did
    is translated operator by operator: your own formulas and modules too. Before the file is
    written, onnx checks it, and onnxruntime runs it on one row, on the example and on random rows
    beside the model.

    Arguments:
        model: its parameters and mode stay as they are.
        path: usually ``name.onnx``. Written beside its place and moved there, whole or not at all.
        example: rows as the model takes them, ``(n, ...)``; a tuple for several inputs; floats are
            cast to the model's type. None where the first layer tells the shape (Dense,
            Standardize, EmbedColumns). With `preprocessor` a table; None makes rows up.
        preprocessor: the preparation of a model of tables, which becomes part of the file, with an
            input for each column (docs/export.md lists their forms).
        target: the target of a model of tables: the file gives ``predicted_NAME`` for each target,
            and ``probabilities`` for classes.
        decision: a weight for each class of `target`: the class is that with the largest
            probability times its weight.
        classes: for a classifier of arrays: the file gives ``prediction``, the class of the largest
            of the model's logits, and ``probabilities``.
        outputs: for a regression on arrays, ``(mean, scale, shape)``: the file gives
            ``prediction``, ``z · scale + mean`` in float64, in the shape for each row.
        opset: the version of ONNX's operators, 15 or later. 17 (2022) is read nearly everywhere.
        tolerance: the largest difference to accept, relative to an output's largest magnitude or 1.
            None for 1e-3 where the model computes in float32 and 1e-9 in float64. A model that
            rounds or compares inside may need more; ``math.inf`` accepts all.
        input_names, output_names: in order; ``x``, ``x2`` … and ``y``, ``y2`` … by default.
        metadata: further texts for the file's `metadata_props`, which hold chainrule's version, the
            task, classes, names of features and a digest of the parameters.

    Returns:
        `Exported`: the names, types and shapes of the inputs and outputs, and the largest
        difference that was found.

    Raises:
        MissingExtraError: without onnx or onnxruntime.
        ExportError: for what has no form in ONNX (it names the layer and the operation, or the
            column), and where the file would not compute what the model does.
        ShapeError: where the shape of a row is not known.
        OSError: if the place cannot be written.

    What differs in the file: a code without a row of an embedding is an error of the runtime (and a
    negative one counts from the end); the tails of a sigmoid below 1e-7 are 0 in onnxruntime;
    infinite numbers in a table are not refused.

    >>> import os, tempfile
    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(4, 8, activation="gelu"), cr.nn.Dense(8, 3))
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> done = cr.onnx.export(model, path, np.zeros((2, 4)))
    >>> print(*done.inputs, *done.outputs, sep="; ")
    x: float32 (rows, 4); y: float32 (rows, 3)
    >>> done.largest < 1e-5
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"export takes a chainrule.nn.Module, got {type(model).__name__}")
    writer = Writer(opset)
    head = _head(preprocessor, target, decision, classes, outputs)
    with evaluating(model):
        if preprocessor is not None:
            job = table_job(model, preprocessor, head, example)
        else:
            job = array_job(model, head, example, input_names)
        return _written(job, writer, os.fspath(path), output_names, metadata, tolerance)


def _head(preprocessor: Any, target: Any, decision: Any, classes: Any, outputs: Any) -> Head | None:
    given = [a is not None for a in (target, classes, outputs)]
    if sum(given) > 1:
        raise ValueError("target, classes and outputs each say what follows; give one of them")
    if (preprocessor is not None) < (target is not None) or (decision and target is None):
        raise ValueError("target goes with preprocessor, and decision with target")
    if target is not None:
        return of_target(target, decision)
    if classes is not None:
        return of_classes(classes)
    return None if outputs is None else of_values(*outputs)


# -- what comes out -------------------------------------------------------------------------------


def _written(
    job: Job,
    w: Writer,
    path: str,
    names: Sequence[str] | None,
    metadata: Any,
    tolerance: float | None,
) -> Exported:
    columns = columns_of(job.preprocessor) if job.preprocessor else []
    if job.preprocessor is not None:
        values = [write_columns(w, job.preprocessor, columns)]
        ends = [Port(c.name, _shown(c.dtype), c.shape, c.takes) for c in columns]
    else:
        values = [w.input(n, dtype, ("rows", *shape)) for n, dtype, shape in job.inputs]
        ends = [Port(n, _shown(t), ("rows", *shape)) for n, t, shape in job.inputs]
    job.expected(job.tries[0][1])  # what is wrong with the model or the example is said by it
    taken = {n for _, _, shape in job.inputs for n in shape}
    state = dict(job.model._places())
    for a in state.values():
        taken |= {int(n) for n in a.shape}
    pair = trace_pair(job.forward, job.inputs, taken)
    recorder = pair.first.recorder
    known: dict[Any, str] = {}
    for name, a in state.items():
        array = raw(a)
        if array.flags.c_contiguous:
            k, offset, _ = recorder._place(array)
            known.setdefault((k, offset, array.shape), name)
    results = list(Translator(w, pair, values, known).outputs())
    if job.head is not None:
        names = job.head.names
    elif names is None:
        names = ["y" if k == 0 else f"y{k + 1}" for k in range(len(results))]
    if not results:
        raise ExportError("the model gives no array that a file could give")
    if len(names) != len(results):
        raise ValueError(f"output_names has {len(names)} names for {len(results)} outputs")
    names = [_free(n, {p.name for p in ends}) for n in names]
    outs = []
    for k, (name, (value, dtype, sizes)) in enumerate(zip(names, results, strict=True)):
        shape = tuple(_side(s) for s in sizes)
        says = ""
        if job.head is not None:
            says = job.head.says[k]
            labels = job.head.labels.get(job.head.names[k])
            if labels is not None:
                value = w.node("Gather", w.constant(labels, "classes"), value)
                dtype = labels.dtype
        w.output(value, name, dtype, shape)
        outs.append(Port(name, _shown(dtype), shape, says))
    model = w.model("chainrule", _metadata(job, state, metadata), __version__)
    content = model.SerializeToString()
    rows, largest = _compared(job, Runner(content), names, tolerance)
    with atomic_write(path) as file:
        file.write(content)
    return Exported(path, ends, outs, w.opset, len(w.nodes), len(content), rows, largest)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where an input has it."""
    own, k = name, 2
    while own in taken:
        own, k = f"{name}_{k}", k + 1
    return own


def _side(size: int | Rows) -> int | str:
    if not isinstance(size, Rows):
        return size
    if size == Rows(1):
        return "rows"
    return f"{size.times} rows" + (f" + {size.plus}" if size.plus else "")


def _shown(dtype: Any) -> str:
    kind = np.dtype(dtype)
    return "text" if kind.kind in "UO" else kind.name


def _metadata(job: Job, state: Mapping[str, Any], more: Any) -> dict[str, str]:
    digest = hashlib.sha256()
    for name, a in state.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(raw(a)).tobytes())
    found: dict[str, Any] = {"chainrule_version": __version__, "digest": digest.hexdigest()}
    if job.head is not None:
        found |= {k: v for k, v in job.head.about.items() if v is not None}
    if job.preprocessor is not None:
        found["feature_names"] = job.preprocessor.feature_names
    found |= dict(more or {})
    return {
        k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in found.items()
    }


def _compared(
    job: Job, run: Callable[[Any], list[Array]], names: Sequence[str], bound: float | None
) -> Any:
    """How many rows were compared, and the largest difference."""
    total, largest = 0, 0.0
    least = 1.0 if job.head is None else job.head.size
    if bound is None:
        bound = 1e-3 if np.dtype(job.model.dtype).itemsize <= 4 else 1e-9
    for k, (given, args) in enumerate(job.tries):
        try:
            expected = job.expected(args)
        except (ValueError, IndexError):
            if k == 0 or job.preprocessor is not None:
                raise
            continue  # the model refuses a single row, or random ones
        found = run(given)
        unsure = _undecided(job.head, expected)
        if unsure is not None and unsure.any():
            found, expected = ([a[~unsure] for a in side] for side in (found, expected))
        largest = max(largest, difference(found, expected, names, bound, least))
        total += len(args[0])
    if not total:
        raise ExportError("there was nothing to compare the file with; give an example")
    return total, largest


def _undecided(head: Head | None, expected: Sequence[Array]) -> Any:
    """Rows where rounding decides about the class."""
    if head is None or "probabilities" not in head.names:
        return None
    p = expected[-1].astype(np.float64)
    if head.about.get("task") == "multilabel":
        return (np.abs(p - 0.5) < _UNDECIDED).any(axis=1)
    if head.about.get("decision"):
        p = p * np.asarray(head.about["decision"])
    top = np.sort(p, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0] < _UNDECIDED * top[:, 1]
