"""Does onnxruntime compute from the file what the model computes here?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.interop.onnx.writer import ExportError, onnxruntime_library

__all__ = ["Port", "Runner", "difference"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Port:
    """An input or output of a file.

    Attributes:
        name: what ``run`` calls it.
        dtype: NumPy's name of its type; "text" for strings.
        shape: with "rows" for what may vary.
        says: what it takes or gives, for people.

    >>> print(Port("x", "float32", ("rows", 3)))
    x: float32 (rows, 3)
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    says: str = ""

    def __str__(self) -> str:
        sides = ", ".join(map(str, self.shape)) + ("," if len(self.shape) == 1 else "")
        return f"{self.name}: {self.dtype} ({sides})"


class Runner:
    """A model in onnxruntime, on one thread of the CPU.

    Raises:
        ExportError: if onnxruntime does not take it.
    """

    def __init__(self, model: bytes) -> None:
        ort = onnxruntime_library()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but this one
            text = " ".join(str(error).split())
            raise ExportError(
                f"onnxruntime {ort.__version__} does not take what was written: {text:.300}"
            ) from error

    def __call__(self, given: Mapping[str, Array]) -> list[Array]:
        """The outputs for these inputs."""
        try:
            return list(self._session.run(None, dict(given)))
        except Exception as error:
            text = " ".join(str(error).split())
            raise ExportError(f"onnxruntime fails in the exported model: {text:.300}") from error


def difference(
    found: Sequence[Array],
    expected: Sequence[Array],
    names: Sequence[str],
    bound: float = 1e-9,
    least: float = 1.0,
) -> float:
    """The largest difference, relative to the largest magnitude of each output or `least`.

    Raises:
        ExportError: for outputs of another shape or type, for other NaN, and for a difference over
            `bound`.

    >>> difference([np.array([1.0, 2.0])], [np.array([1.0, 2.0])], ["y"])
    0.0
    """
    largest = 0.0
    for a, b, name in zip(found, expected, names, strict=True):
        if a.shape != b.shape or (a.dtype != b.dtype and b.dtype.kind not in "OU"):
            raise ExportError(
                f"the exported {name!r} is {a.dtype} {a.shape}, the model gives {b.dtype} "
                f"{b.shape}; this is a bug in chainrule"
            )
        if b.dtype.kind != "f":
            if not np.array_equal(a, b):
                raise ExportError(f"the exported {name!r} differs from what the model gives")
            continue
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            raise ExportError(f"the exported {name!r} is NaN where the model's is not")
        with np.errstate(invalid="ignore"):
            gap = np.where(a == b, 0.0, np.abs(a - b))
        finite = np.isfinite(b)
        scale = max(least, float(np.max(np.abs(b), initial=0.0, where=finite)))
        worst = float(np.nanmax(gap, initial=0.0)) / scale
        if worst > bound:
            raise ExportError(
                f"the exported {name!r} differs from what the model gives by {worst:.1e} of its "
                f"size, over the {bound:.0e} that is accepted; if the model rounds or compares "
                "inside, or amplifies rounding, give a larger tolerance, else report it"
            )
        largest = max(largest, worst)
    return largest
