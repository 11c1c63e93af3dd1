"""`load`: a feed-forward network from an ONNX file, as layers of this library."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import nn
from chainrule.array.errors import FileFormatError
from chainrule.array.random import Stream, use_stream
from chainrule.autograd.context import no_grad
from chainrule.interop.onnx.trace import raw
from chainrule.interop.onnx.verify import Runner, difference
from chainrule.interop.onnx.writer import ExportError, onnx_library

__all__ = ["load"]

Array = npt.NDArray[Any]

_MOST = 1e8  # numbers in the rows that a file is tried on


def load(path: str | os.PathLike[str]) -> nn.Sequential:
    """A network of dense layers and activations from an ONNX file.

    Read are chains of ``Gemm``, ``MatMul`` and ``Add`` with constants, ``Flatten``, ``Dropout``,
    ``Identity``, standardising ``Sub`` and ``Div`` by constants at the beginning, and the
    activations ONNX has a name for (Relu, LeakyRelu, PRelu, Elu, Celu, Selu, Sigmoid, Tanh,
    Softplus, Softsign, HardSigmoid, HardSwish, Gelu, Mish, Softmax, LogSoftmax, Clip); also SiLU
    and GELU in the operators that PyTorch writes for them. Files of PyTorch have this form, and
    those of `export` with ReLU, tanh and sigmoid; other formulas it writes in elementary steps.

    The network that comes is an ordinary one: it trains on, and `chainrule.save` writes it. Nothing
    in the file runs, and no other file is opened. It is compared with onnxruntime on random rows.

    Returns:
        A `Sequential` in evaluation mode, in float32, or in float64 where the file is.

    Raises:
        FileFormatError: for a file that is no ONNX file or is damaged, and for what is no such
            chain; it names the node.
        FileNotFoundError: if there is no such file.
        MissingExtraError: without onnx or onnxruntime.

    >>> import os, tempfile
    >>> import chainrule as cr
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> done = cr.onnx.export(cr.nn.Sequential(cr.nn.Dense(4, 8), cr.nn.Tanh()), path)
    >>> cr.onnx.load(path)
    Sequential(
      (0): Dense(4 -> 8)
      (1): Tanh()
    )
    """
    onnx = onnx_library()
    name = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # of protocol buffers and of onnx
        text = " ".join(str(error).split())
        raise FileFormatError(f"{name} is no ONNX file, or damaged: {text:.200}") from error
    try:
        with use_stream(Stream(0)):
            chain = _Chain(onnx, model.graph)
            network = nn.Sequential(*chain.layers()).eval()
        if chain.dtype == np.float64:
            network.double()
        _compare(content, chain, network)
    except (_NoChain, ExportError) as error:
        raise FileFormatError(f"{name}: {error}") from error
    return network


class _NoChain(Exception):
    """What is in the file is no chain of layers."""


class _Chain:
    """A graph followed from its input to its output."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx, self.graph = onnx, graph
        self.constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise _NoChain(f"the values of {tensor.name!r} are in another file")
            self.constants[tensor.name] = onnx.numpy_helper.to_array(tensor)
        inputs = [i.name for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise _NoChain(
                f"it has {len(inputs)} inputs and {len(graph.output)} outputs; a chain of layers "
                "has one of each"
            )
        (self.input,), (self.output,) = inputs, (graph.output[0].name,)
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            if node.op_type in ("Constant", "Identity", "Transpose") and all(
                i in self.constants for i in node.input
            ):
                self._fold(node)
                continue
            for i in set(node.input):
                if i and i not in self.constants:
                    self.users.setdefault(i, []).append(node)
        floats = {a.dtype for a in self.constants.values() if a.dtype.kind == "f" and a.ndim}
        self.dtype = np.float64 if floats == {np.dtype(np.float64)} else np.float32

    def _fold(self, node: Any) -> None:
        """A constant that is made of constants."""
        attrs = self.attributes(node)
        if node.op_type == "Constant":
            if "value" not in attrs:
                return
            self.constants[node.output[0]] = self.onnx.numpy_helper.to_array(attrs["value"])
        elif node.op_type == "Identity":
            self.constants[node.output[0]] = self.constants[node.input[0]]
        else:
            value = self.constants[node.input[0]]
            self.constants[node.output[0]] = np.transpose(value, attrs.get("perm"))

    def attributes(self, node: Any) -> dict[str, Any]:
        """By name; a float32 as the shortest number that it is."""
        found = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        return {k: float(str(np.float32(v))) if type(v) is float else v for k, v in found.items()}

    def said(self, node: Any) -> str:
        """A node for a person."""
        label = f" {node.name!r}" if node.name else ""
        return f"node{label} ({node.op_type})"

    def layers(self) -> list[nn.Module]:
        """The layers from the input on."""
        found: list[nn.Module] = []
        value = self.input
        while value != self.output:
            users = self.users.get(value, [])
            for layer_of, end in ((nn.SiLU, self._silu), (nn.GELU, self._erf_gelu)):
                last = end(value, users)
                if last is not None:
                    found.append(layer_of())
                    break
            if last is not None:
                value = last
                continue
            if len(users) != 1:
                names = ", ".join(map(self.said, users)) or "nothing"
                raise _NoChain(f"the value {value!r} goes to {names}; in a chain it goes to one")
            (node,) = users
            make = _LAYERS.get(node.op_type) if not node.domain else None
            if make is None:
                raise _NoChain(
                    f"{self.said(node)} is no layer that can be read; these are: "
                    f"{', '.join(sorted(_LAYERS))}"
                )
            value = node.output[0]
            layer, taken = make(self, node, value)
            value = taken or value
            found += layer
        return found

    def _silu(self, value: str, users: list[Any]) -> str | None:
        """Where ``x · sigmoid(x)`` ends."""
        kinds = {n.op_type: n for n in users}
        if len(users) != 2 or set(kinds) != {"Sigmoid", "Mul"}:
            return None
        gate, product = kinds["Sigmoid"].output[0], kinds["Mul"]
        if sorted(product.input) != sorted([value, gate]) or len(self.users.get(gate, [])) != 1:
            return None
        return str(product.output[0])

    def _erf_gelu(self, value: str, users: list[Any]) -> str | None:
        """Where ``x · (erf(x / √2) + 1) · ½`` ends."""
        kinds = {n.op_type: n for n in users}
        if len(users) != 2 or set(kinds) != {"Div", "Mul"}:
            return None
        at, steps = kinds["Div"].output[0], [kinds["Div"]]
        for op in ("Erf", "Add", "Mul", "Mul"):
            following = self.users.get(at, [])
            if len(following) != 1 or following[0].op_type != op:
                return None
            steps.append(following[0])
            at = following[0].output[0]
        numbers = [self.constants.get(steps[k].input[1]) for k in (0, 2, 4)]
        known = zip(numbers, (np.sqrt(2), 1.0, 0.5), strict=True)
        fits = all(a is not None and a.size == 1 and np.isclose(a, b) for a, b in known)
        return str(at) if fits and steps[3] is kinds["Mul"] else None

    def other(self, node: Any, ndim: int | None = None) -> Array:
        """The constant among the operands of a node, as floats."""
        found = [self.constants[i] for i in node.input if i in self.constants]
        if len(found) != 1 or found[0].dtype.kind != "f" or (ndim and found[0].ndim != ndim):
            raise _NoChain(f"{self.said(node)} has no constant operand of {ndim or 'any'} axes")
        return found[0].astype(self.dtype)


Made = tuple[list[nn.Module], str | None]


def _dense(weight: Array, bias: Array | None, where: str) -> nn.Module:
    if bias is not None and bias.size != weight.shape[0]:
        raise _NoChain(f"{where} has a bias of shape {bias.shape} for {weight.shape[0]} outputs")
    layer = nn.Dense(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    layer.weight.assign(weight)
    if layer.bias is not None and bias is not None:
        layer.bias.assign(bias.reshape(-1))
    return layer


def _gemm(chain: _Chain, node: Any, value: str) -> Made:
    attrs = chain.attributes(node)
    weight = chain.constants.get(node.input[1])
    if attrs.get("transA") or weight is None or weight.ndim != 2:
        raise _NoChain(f"{chain.said(node)} is no product with a constant matrix")
    weight = (weight if attrs.get("transB") else weight.T).astype(chain.dtype)
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = chain.constants.get(node.input[2])
        if bias is None or bias.size not in (1, len(weight)):
            raise _NoChain(f"{chain.said(node)} has a bias that is no vector of constants")
        bias = np.broadcast_to(bias.reshape(-1), len(weight)).astype(chain.dtype)
        bias = bias * chain.dtype(attrs.get("beta", 1.0))
    return [_dense(weight * chain.dtype(attrs.get("alpha", 1.0)), bias, chain.said(node))], None


def _matmul(chain: _Chain, node: Any, value: str) -> Made:
    if node.input[0] in chain.constants:
        raise _NoChain(f"{chain.said(node)} has the constant on the left")
    weight = chain.other(node, 2).T
    users = chain.users.get(value, [])
    if len(users) == 1 and users[0].op_type == "Add" and value != chain.output:
        (add,) = users
        bias = chain.other(add)
        return [_dense(weight, bias, chain.said(add))], str(add.output[0])
    return [_dense(weight, None, chain.said(node))], None


def _standardize(chain: _Chain, node: Any, value: str) -> Made:
    """``(x - mean) / scale``, or one half of it."""
    if node.input[0] in chain.constants:
        raise _NoChain(f"{chain.said(node)} has the constant on the left")
    first = chain.other(node).reshape(-1)
    if node.op_type == "Div":
        return [nn.Standardize(np.zeros_like(first), first)], None
    users = chain.users.get(value, [])
    if len(users) == 1 and users[0].op_type == "Div" and users[0].input[0] == value:
        return [nn.Standardize(first, chain.other(users[0]).reshape(-1))], str(users[0].output[0])
    return [nn.Standardize(first, np.ones_like(first))], None


def _clip(chain: _Chain, node: Any, value: str) -> Made:
    bounds = [chain.constants.get(i) for i in node.input[1:]]
    if len(bounds) != 2 or any(b is None or b.size != 1 for b in bounds):
        raise _NoChain(f"{chain.said(node)} has no two constant bounds")
    low, high = (float(b.reshape(())) for b in bounds if b is not None)
    return [nn.ReLU6() if (low, high) == (0.0, 6.0) else nn.Hardtanh(low, high)], None


def _prelu(chain: _Chain, node: Any, value: str) -> Made:
    slope = chain.other(node).reshape(-1)
    layer = nn.PReLU(len(slope)).to(slope.dtype)
    layer.weight.assign(slope)
    return [layer], None


def _flatten(chain: _Chain, node: Any, value: str) -> Made:
    if chain.attributes(node).get("axis", 1) != 1:
        raise _NoChain(f"{chain.said(node)} keeps other axes than the first")
    return [nn.Flatten()], None


def _plain(make: Callable[..., nn.Module], **options: float) -> Any:
    """An activation whose attributes, of these defaults, are its arguments in order."""

    def made(chain: _Chain, node: Any, value: str) -> Made:
        attrs = chain.attributes(node)
        return [make(*(attrs.get(k, v) for k, v in options.items()))], None

    return made


def _only(make: Callable[[], nn.Module], **values: float) -> Any:
    """An activation that has just these values of its attributes; the first are the defaults."""

    def made(chain: _Chain, node: Any, value: str) -> Made:
        attrs = chain.attributes(node)
        for name, wanted in values.items():
            if not np.isclose(attrs.get(name, _DEFAULTS.get((node.op_type, name), wanted)), wanted):
                raise _NoChain(f"{chain.said(node)} has {name} other than {wanted:.6g}")
        return [make()], None

    return made


def _gelu(chain: _Chain, node: Any, value: str) -> Made:
    kind = chain.attributes(node).get("approximate", b"none").decode()
    return [nn.GELU() if kind == "none" else nn.GELU(kind)], None


def _nothing(chain: _Chain, node: Any, value: str) -> Made:
    return [], None


#: Attributes whose defaults in ONNX are not those of the layer.
_DEFAULTS = {("HardSigmoid", "alpha"): 0.2}

_LAYERS: dict[str, Callable[[_Chain, Any, str], Made]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Sub": _standardize,
    "Div": _standardize,
    "Flatten": _flatten,
    "Identity": _nothing,
    "Dropout": _nothing,
    "Clip": _clip,
    "PRelu": _prelu,
    "Relu": _only(nn.ReLU),
    "LeakyRelu": _plain(nn.LeakyReLU, alpha=0.01),
    "Elu": _plain(nn.ELU, alpha=1.0),
    "Celu": _plain(nn.CELU, alpha=1.0),
    "Selu": _only(nn.SELU, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "Sigmoid": _only(nn.Sigmoid),
    "Tanh": _only(nn.Tanh),
    "Softplus": _only(nn.Softplus),
    "Softsign": _only(nn.Softsign),
    "HardSigmoid": _only(nn.Hardsigmoid, alpha=1 / 6, beta=0.5),
    "HardSwish": _only(nn.Hardswish),
    "Gelu": _gelu,
    "Mish": _only(nn.Mish),
    "Softmax": _plain(nn.Softmax, axis=-1),
    "LogSoftmax": _plain(nn.LogSoftmax, axis=-1),
}


def _compare(content: bytes, chain: _Chain, network: nn.Sequential) -> None:
    """Does the network compute what onnxruntime computes from the file?"""
    sides = [d.dim_value for i in chain.graph.input if i.name == chain.input
             for d in i.type.tensor_type.shape.dim]  # fmt: skip
    first = next((m for m in network.modules() if isinstance(m, nn.Dense)), None)
    rest = [n or (first.in_features if first is not None else 3) for n in sides[1:]]
    if np.prod([float(n) for n in (sides[0] or 5, *rest)]) > _MOST:
        raise _NoChain(f"its input of shape {sides} is too large to be tried")
    x = Stream(0).normal("load", (sides[0] or 5, *rest)).astype(chain.dtype)
    with no_grad():
        expected = network(x)
    found = Runner(content)({chain.input: x})
    bound = 1e-9 if chain.dtype == np.float64 else 1e-4
    difference(found, [np.asarray(raw(expected))], [chain.output], bound)
