"""Graph operations and layers, in ONNX as here, for other numbers of rows than were traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.interop.onnx.verify import Runner
from chainrule.interop.onnx.writer import ExportError
from chainrule.ops import activation

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

o, nn = cr.ops, cr.nn
CONSTANT = np.arange(4, dtype=np.float32)

CASES: dict[str, Any] = {
    "transpose": lambda x: o.transpose(x),
    "reshape": lambda x: o.reshape(x, (-1, 2)),
    "reshape by rows": lambda x: o.reshape(x, (x.shape[0] * 4,)),
    "new axis": lambda x: x[:, None, :],
    "a column": lambda x: x[:, -1],
    "a step": lambda x: x[:, 1::2],
    "all but a row": lambda x: x[1:],
    "the last row": lambda x: x[-1],
    "concatenate": lambda x: o.concatenate([x, x * 2.0], axis=0),
    "sum": lambda x: o.sum(x, axis=1),
    "sum of all": lambda x: o.sum(x),
    "mean over rows": lambda x: x - x.mean(axis=0),
    "by the number of rows": lambda x: o.sum(x, axis=0) / x.shape[0],
    "max": lambda x: o.max(x, axis=1),
    "max of all": lambda x: o.max(x),
    "min": lambda x: o.min(x, axis=0, keepdims=True),
    "logsumexp": lambda x: o.logsumexp(x, axis=0),
    "norm": lambda x: o.norm(x, axis=1),
    "deviation": lambda x: o.std(x, axis=0),
    "where": lambda x: o.where(x > 0.5, x, 1.0),
    "a mask as numbers": lambda x: o.multiply(x > 0.5, x),
    "clip": lambda x: o.clip(x, -0.5, 0.5),
    "broadcast": lambda x: o.broadcast_to(x[:, :1], x.shape),
    "a product of two": lambda x: o.matmul(o.transpose(x), x),
    "an array of one's own": lambda x: x + CONSTANT,
    "a matrix of one's own": lambda x: o.matmul(x, CONSTANT.reshape(4, 1)),
    "a column of one's own": lambda x: x * CONSTANT[::2].repeat(2),
}


class Case(nn.Module):
    """A weight, so that the type of the model counts, and the case."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.scale = nn.Parameter(np.linspace(0.5, 2.0, 4, dtype=np.float32))

    def forward(self, x: Any) -> Any:
        return self.function(o.multiply(x, self.scale))


def same(model: Any, path: Any, x: Any) -> None:
    """The file gives for these rows what the model gives."""
    with cr.no_grad():
        expected = model.eval()(x)
    found = Runner(path.read_bytes())({"x": x})
    expected = expected if isinstance(expected, tuple | list) else [expected]
    for a, b in zip(found, expected, strict=True):
        raw = np.asarray(b.numpy() if isinstance(b, cr.Tensor) else b)
        assert a.shape == raw.shape
        np.testing.assert_allclose(a, raw, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_operations_on_arrays(name: str, tmp_path: Any) -> None:
    model, path = Case(CASES[name]), tmp_path / "case.onnx"
    rng = np.random.default_rng(0)
    if len(name) % 2:
        model.double()
    done = cr.onnx.export(model, path, rng.standard_normal((6, 4)), opset=15 + len(name) % 7)
    assert done.largest < 2e-6
    same(model, path, rng.standard_normal((11, 4)).astype(model.dtype))
    same(model, path, rng.standard_normal((2, 4)).astype(model.dtype))


LAYERS: dict[str, tuple[Any, Any]] = {
    "flatten": (lambda: nn.Sequential(nn.Flatten(), nn.Dense(6, 2)), (4, 2, 3)),
    "three axes": (lambda: nn.Dense(3, 2, activation="tanh"), (4, 2, 3)),
    "no bias": (lambda: nn.Dense(3, 2, bias=False), (4, 3)),
    "gate": (lambda: nn.Sequential(nn.Dense(3, 4), nn.GLU()), (4, 3)),
    "dropout": (lambda: nn.Sequential(nn.AlphaDropout(), nn.Dense(3, 2), nn.Dropout(0.9)), (4, 3)),
    "rrelu": (lambda: nn.Sequential(nn.Dense(3, 4), nn.RReLU(), nn.PReLU(4)), (4, 3)),
    "standardize": (lambda: nn.Standardize(np.arange(3.0), np.ones(3) * 2), (4, 3)),
    "softmax of columns": (lambda: nn.Sequential(nn.Dense(3, 4), nn.LogSoftmax(axis=0)), (4, 3)),
    "shared": (lambda: nn.Sequential(*[nn.Dense(3, 3)] * 2), (4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, tmp_path: Any) -> None:
    make, shape = LAYERS[name]
    model, path = make(), tmp_path / "layer.onnx"
    cr.onnx.export(model, path, np.zeros(shape))
    assert model.training
    same(model, path, np.random.default_rng(1).standard_normal((5, *shape[1:])).astype("f4"))


#: Those with a slope that is learned are among the layers; a Jacobian is no activation.
ACTIVATIONS = sorted({*activation.__all__} - {"prelu", "rrelu", "softmax_jacobian"})


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Any) -> None:
    class Activated(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Dense(3, 4)

        def forward(self, x: Any) -> Any:
            more = {"threshold": (0.1, 2.0)}.get(name, ())
            return getattr(o, name)(self.inner(x), *more)

    model, path = Activated(), tmp_path / "activation.onnx"
    assert cr.onnx.export(model, path, np.ones((3, 3))).largest < 1e-6
    x = np.random.default_rng(1).standard_normal((7, 3)).astype("f4") * 4
    same(model, path, x)
    x[2, 1] = np.nan
    same(model, path, x)


def test_embeddings_of_codes_and_of_columns(tmp_path: Any) -> None:
    model, path = nn.Sequential(nn.Embedding(10, 3), nn.Flatten()), tmp_path / "e.onnx"
    done = cr.onnx.export(model, path, np.array([[1, 2], [9, 0]]))
    assert str(done.inputs[0]) == "x: int64 ('rows', 2)".replace("'", "")
    same(model, path, np.array([[3, 3]]))
    columns = nn.Sequential(nn.EmbedColumns(3, [(10, 3), (2, 1)]), nn.Dense(5, 2))
    cr.onnx.export(columns, path)
    same(columns, path, np.array([[0.5, 9, 1], [0.1, 3, 0], [2, 0, 0]], np.float32))
    alone = nn.EmbedColumns(1, [(4, 2)])
    cr.onnx.export(alone, path)
    same(alone, path, np.array([[3], [0]], np.float32))


def test_a_dense_layer_is_one_operator_with_torchs_names(tmp_path: Any) -> None:
    model, path = nn.Sequential(nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 2)), tmp_path / "d.onnx"
    cr.onnx.export(model, path)
    graph = onnx.load(path).graph
    assert [n.op_type for n in graph.node] == ["Gemm", "Relu", "Gemm", "Identity"]
    names = {i.name for i in graph.initializer}
    assert set(model.state_dict()) <= names
    assert graph.node[0].name == "0/Gemm"
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        "rows", 3,
    ]  # fmt: skip


def test_the_maximum_passes_nan_on(tmp_path: Any) -> None:
    model, path = Case(lambda x: o.max(x, axis=1)), tmp_path / "max.onnx"
    cr.onnx.export(model, path, np.ones((2, 4)))
    x = np.ones((3, 4), np.float32)
    x[1, 2] = np.nan
    same(model, path, x)


def test_the_values_are_those_of_the_moment(tmp_path: Any) -> None:
    model = nn.Dense(2, 2)
    cr.onnx.export(model, tmp_path / "a.onnx")
    model.weight.assign(model.weight.detach().numpy() * 2)
    x = np.ones((1, 2), np.float32)
    before = Runner((tmp_path / "a.onnx").read_bytes())({"x": x})[0]
    assert not np.allclose(before, model(x).detach().numpy())


def test_draws_in_evaluation_mode_are_refused(tmp_path: Any) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Any) -> Any:
            return o.dropout(x, 0.5, True)

    model = nn.Sequential(nn.Dense(2, 2), Noisy())
    with pytest.raises(ExportError, match=r"model\.1 Noisy\(\): it draws random numbers"):
        cr.onnx.export(model, tmp_path / "n.onnx")


def test_arrays_that_depend_on_the_rows_are_refused(tmp_path: Any) -> None:
    model = Case(lambda x: x + np.ones((x.shape[0], 1), np.float32))
    with pytest.raises(ExportError, match=r"an array whose size depends on the number of rows"):
        cr.onnx.export(model, tmp_path / "n.onnx", np.ones((2, 4)))


def test_arrays_that_differ_from_call_to_call_are_refused(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    model = Case(lambda x: x + rng.standard_normal(4).astype(np.float32))
    with pytest.raises(ExportError, match=r"other values at every call"):
        cr.onnx.export(model, tmp_path / "n.onnx", np.ones((2, 4)))
