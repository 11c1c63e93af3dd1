"""``chainrule predict``: classes, probabilities or values for new rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output, read_rows, write_array
from chainrule.cli.pipeline import Pipeline

__all__ = ["run"]

Array = npt.NDArray[Any]


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    a = arguments
    pipeline = Pipeline.load(a.model)
    if pipeline.preprocessor is not None:
        from chainrule.cli import predict_table

        return predict_table.run(a, pipeline)
    if a.keep is not None or len(a.data) > 1:
        raise UsageError("the model is one of arrays; give one .npz or .npy, without --keep")
    if a.output:
        if not a.output.endswith(".npy"):
            raise UsageError(
                f"-o {a.output}: predictions are written as .npy; name it {a.output}.npy"
            )
        check_output(a.output, replace=a.force)
    if a.probabilities and pipeline.classes is None:
        raise UsageError("--probabilities needs a classifier; this model predicts values")
    blocks = _predictions(pipeline, read_rows(a.data[0]), a.batch_size, a.probabilities)
    if a.output is None:
        for block in blocks:
            sys.stdout.write("".join(_line(row, a.probabilities) for row in block))
        return 0
    found = np.concatenate(list(blocks))
    write_array(a.output, found)
    what = (
        "probabilities" if a.probabilities else "values" if pipeline.classes is None else "classes"
    )
    shape = " × ".join(f"{n:,}" for n in found.shape)
    print(f"{a.output}: {shape} {what} ({found.dtype})", file=sys.stderr)
    return 0


def _predictions(
    pipeline: Pipeline, x: Array, batch_size: int, probabilities: bool
) -> Iterator[Array]:
    for scores in pipeline.scores(x, batch_size):
        yield pipeline.probabilities(scores) if probabilities else pipeline.decide(scores)


def _line(row: Any, probabilities: bool) -> str:
    """One prediction as text: several numbers are separated by blanks."""
    values = np.atleast_1d(row).tolist()
    form = "{:.6f}" if probabilities else "{:.9g}" if isinstance(values[0], float) else "{}"
    return " ".join(form.format(v) for v in values) + "\n"
