"""`Writer`: an ONNX graph being written, node by node."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import MissingExtraError

__all__ = ["LOWEST", "ExportError", "Writer", "onnx_library", "onnxruntime_library"]

#: The first version of the operators in which all that is written here exists.
LOWEST = 15
#: A message of protocol buffers holds no more bytes.
_MOST_BYTES = 2**31 - 2**20

Array = npt.NDArray[Any]


class ExportError(ValueError):
    """A model, or something in it, has no form in ONNX. Names the layer or column, and the fix.

    >>> issubclass(ExportError, ValueError)
    True
    """


def _absent(name: str) -> MissingExtraError:
    return MissingExtraError(
        f'exporting to ONNX needs {name}; install it with: pip install "chainrule[onnx]"'
    )


def onnx_library() -> Any:
    """The package onnx; MissingExtraError where it is not installed."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise _absent("onnx") from error


def onnxruntime_library() -> Any:
    """The package onnxruntime; MissingExtraError where it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise _absent("onnxruntime") from error


class Writer:
    """Nodes in the order in which they run; values are known by their names.

    Equal nodes are written once, and so are equal constants.

    Arguments:
        opset: the version of ONNX's operators, `LOWEST` or later.
    """

    def __init__(self, opset: int) -> None:
        self.onnx = onnx_library()
        newest = self.onnx.defs.onnx_opset_version()
        if not LOWEST <= opset <= newest:
            raise ExportError(
                f"opset {opset} cannot be written; expected {LOWEST} to {newest}, which is what "
                f"onnx {self.onnx.__version__} knows"
            )
        self.opset = opset
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: dict[str, Any] = {}
        #: what is computing, for the names of nodes
        self.scope = ""
        self._bytes = 0
        self._names: set[str] = set()
        self._known: dict[Any, str] = {}
        self._learnt = False

    # -- names ------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A name that nothing has yet."""
        name, k = hint, 1
        while name in self._names:
            name, k = f"{hint}_{k}", k + 1
        self._names.add(name)
        return name

    # -- what a graph is made of ------------------------------------------------------------------

    def kind(self, dtype: Any) -> int:
        """ONNX's number for a type of NumPy; ``str`` is text."""
        if np.dtype(dtype).kind in "UO":
            return int(self.onnx.TensorProto.STRING)
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """An input of the graph; a text among the sides names one that may vary."""
        if name in self._names or not name:
            raise ExportError(f"two inputs are called {name!r}; give them names of their own")
        self._names.add(name)
        self.inputs.append(
            self.onnx.helper.make_tensor_value_info(name, self.kind(dtype), list(shape))
        )
        return name

    def output(self, value: str, name: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """A value of the graph as an output of this name."""
        self.scope = ""
        result = self.node("Identity", value, out=self.fresh(name))
        if result != name:
            raise ExportError(
                f"{name!r} is the name of an output and of something else; give another name"
            )
        self.outputs.append(
            self.onnx.helper.make_tensor_value_info(name, self.kind(dtype), list(shape))
        )

    def constant(self, values: Any, name: str = "constant") -> str:
        """An array as a value; text too."""
        array = np.asarray(values)
        text = array.dtype.kind in "UO"
        content: Any = tuple(array.reshape(-1).tolist()) if text else array.tobytes()
        if len(content) > 256 and not text:
            content = hashlib.sha256(content).digest()  # so that it is not kept twice
        key = ("constant", array.dtype.str, array.shape, content)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.fresh(name)
            if text:
                items = [str(v).encode() for v in array.reshape(-1)]
                made = self.onnx.helper.make_tensor(
                    found, self.onnx.TensorProto.STRING, array.shape, items
                )
            else:
                made = self.onnx.numpy_helper.from_array(np.array(array, order="C"), found)
            self._bytes += array.nbytes
            if self._bytes > _MOST_BYTES:
                raise ExportError(
                    "the model has over 2 GB of values, more than one ONNX file holds; export its "
                    "parts, or convert it with model.float() if it computes in float64"
                )
            self.constants[found] = made
        return found

    def node(
        self, op: str, *inputs: str, out: str | None = None, domain: str = "", **attrs: Any
    ) -> str:
        """The one output of an operator."""
        key = (op, inputs, domain, repr(sorted(attrs.items())))
        if out is None and key in self._known:
            return self._known[key]
        place = re.sub(r"[^\w.]+", "_", self.scope)
        name = self.fresh(f"{place}/{op}" if place else op)
        made = out if out is not None else self.fresh(f"{name}:0" if place else f"{op}_value")
        self.nodes.append(
            self.onnx.helper.make_node(op, list(inputs), [made], name=name, domain=domain, **attrs)
        )
        self._learnt |= domain == "ai.onnx.ml"
        if out is None:
            self._known[key] = made
        return made

    # -- small things that many operators need ----------------------------------------------------

    def cast(self, value: str, dtype: Any) -> str:
        """A value in another type."""
        return self.node("Cast", value, to=self.kind(dtype))

    def number(self, value: float, dtype: Any) -> str:
        """A number as a value without axes."""
        return self.constant(np.asarray(value, dtype), "number")

    def ints(self, *values: int) -> str:
        """Whole numbers as a vector, such as axes and shapes."""
        return self.constant(np.asarray(values, np.int64), "ints")

    def rows(self, value: str) -> str:
        """The length of the first axis, as a vector of one number."""
        return self.node("Shape", value, start=0, end=1)

    def maximum_along(self, value: str, axes: Sequence[int] | None, keepdims: bool) -> str:
        """ReduceMax, whose axes were an attribute before version 18."""
        more: dict[str, Any] = {"keepdims": int(keepdims)}
        if axes is None:
            return self.node("ReduceMax", value, **more)
        if self.opset < 18:
            return self.node("ReduceMax", value, axes=list(axes), **more)
        return self.node("ReduceMax", value, self.ints(*axes), **more)

    def top(self, value: str, count: str, axis: int) -> tuple[str, str]:
        """The `count` lowest entries along an axis in order, and where they stood."""
        name = self.fresh("TopK")
        outputs = self.fresh("sorted"), self.fresh("places")
        self.nodes.append(
            self.onnx.helper.make_node(
                "TopK", [value, count], list(outputs), name=name, axis=axis, largest=0, sorted=1
            )
        )
        return outputs

    # -- the whole --------------------------------------------------------------------------------

    def _prune(self) -> None:
        """Drop what no output needs, such as a weight's transpose that became a flag."""
        needed = {o.name for o in self.outputs}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = {k: v for k, v in self.constants.items() if k in needed}

    def model(self, name: str, metadata: dict[str, str], version: str) -> Any:
        """The model, checked by onnx."""
        helper = self.onnx.helper
        self._prune()
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, list(self.constants.values())
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if self._learnt:
            opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
        made = helper.make_model(
            graph,
            opset_imports=opsets,
            producer_name="chainrule",
            producer_version=version,
            ir_version=helper.find_min_ir_version_for(opsets),
        )
        helper.set_model_props(made, metadata)
        try:
            self.onnx.checker.check_model(made, full_check=True)
        except Exception as error:  # of several classes that share no other base
            text = " ".join(str(error).split())
            raise ExportError(f"onnx does not accept what was written: {text:.500}") from error
        return made
