"""`cr.onnx.load`: networks of PyTorch and our own, and everything that is no chain of layers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import FileFormatError
from chainrule.interop.onnx.writer import Writer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

nn = cr.nn
F4 = np.float32


def graph(path: Any, build: Any, shape: Any = ("rows", 3), out: int = 2) -> Any:
    """A file with one input x and what `build` makes of it."""
    w = Writer(20)
    value = build(w, w.input("x", F4, shape))
    w.output(value, "y", F4, ["rows", out])
    path.write_bytes(w.model("m", {}, "1").SerializeToString())
    return path


WEIGHT = np.arange(6, dtype=F4).reshape(3, 2) / 5
BIAS = np.array([1.0, -1.0], F4)


def matmul(w: Writer, x: str) -> str:
    """A dense layer of two nodes."""
    return w.node("Add", w.node("MatMul", x, w.constant(WEIGHT)), w.constant(BIAS))


def test_our_own_files_come_back(tmp_path: Any) -> None:
    for dtype in ("float", "double"):
        model = nn.Sequential(
            nn.Standardize(np.arange(3.0), np.ones(3) * 2), nn.Dense(3, 5, activation="relu"),
            nn.Dense(5, 4, bias=False), nn.ReLU(), nn.Dense(4, 4), nn.Sigmoid(), nn.Dense(4, 2),
            nn.Tanh(),
        )  # fmt: skip
        getattr(model, dtype)()
        cr.onnx.export(model, tmp_path / "m.onnx")
        back = cr.onnx.load(tmp_path / "m.onnx")
        assert not back.training
        assert [type(layer).__name__ for layer in back] == [
            "Standardize", "Dense", "ReLU", "Dense", "ReLU", "Dense", "Sigmoid", "Dense", "Tanh",
        ]  # fmt: skip
        x = np.random.default_rng(0).standard_normal((6, 3)).astype(model.dtype)
        with cr.no_grad():
            np.testing.assert_allclose(back(x).numpy(), model(x).numpy(), rtol=1e-5)
        assert back.dtype == model.dtype
        cr.save(back, tmp_path / "m.safetensors")
        assert len(cr.load(tmp_path / "m.safetensors")) == len(back)


def test_networks_of_torch(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    t = torch.nn
    layers = [
        t.Flatten(), t.Linear(6, 8), t.LeakyReLU(0.2), t.Linear(8, 8, bias=False), t.ELU(0.5),
        t.Linear(8, 8), t.PReLU(8), t.Dropout(0.5), t.Linear(8, 8), t.Softplus(), t.Linear(8, 8),
        t.SELU(), t.Linear(8, 8), t.SiLU(), t.ReLU6(), t.Linear(8, 8), t.Hardtanh(-2, 0.5),
        t.Linear(8, 4), t.GELU(), t.CELU(2.0), t.Softmax(dim=1),
    ]  # fmt: skip
    model = t.Sequential(*layers).eval()
    x = torch.randn(5, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), tmp_path / "t.onnx", dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "rows"}},
        )  # fmt: skip
    ours = cr.onnx.load(tmp_path / "t.onnx")
    assert ours[2].options == {"negative_slope": 0.2}
    with cr.no_grad():
        np.testing.assert_allclose(
            ours(x.numpy()).numpy(), model(x).detach().numpy(), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("op", "attrs", "layer"),
    [
        ("Gelu", {}, "GELU(approximate='none')"),
        ("Gelu", {"approximate": "tanh"}, "GELU(approximate='tanh')"),
        ("Mish", {}, "Mish()"),
        ("HardSwish", {}, "Hardswish()"),
        ("HardSigmoid", {"alpha": 1 / 6}, "Hardsigmoid()"),
        ("LogSoftmax", {"axis": -1}, "LogSoftmax(axis=-1)"),
    ],
)
def test_activations_of_newer_versions(op: str, attrs: Any, layer: str, tmp_path: Any) -> None:
    path = graph(tmp_path / "m.onnx", lambda w, x: w.node(op, matmul(w, x), **attrs))
    assert repr(list(cr.onnx.load(path))[1]) == layer


def test_products_with_factors_and_folded_constants(tmp_path: Any) -> None:
    def build(w: Writer, x: str) -> str:
        weight = w.node("Transpose", w.node("Identity", w.constant(WEIGHT.T.copy())), perm=[1, 0])
        return w.node("Gemm", x, weight, w.constant(BIAS), alpha=2.0, beta=0.5)

    (layer,) = cr.onnx.load(graph(tmp_path / "m.onnx", build))
    np.testing.assert_array_equal(layer.weight.detach().numpy(), WEIGHT.T * 2)
    np.testing.assert_array_equal(layer.bias.detach().numpy(), BIAS / 2)


def _two(w: Writer, x: str) -> str:
    return w.node("Add", matmul(w, x), w.node("MatMul", x, w.constant(WEIGHT * 2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_two, r"the value 'x' goes to node .*MatMul.*MatMul.*; in a chain it goes to one"),
        (lambda w, x: w.node("Sin", matmul(w, x)), r"node 'Sin' \(Sin\) is no layer"),
        (lambda w, x: w.node("HardSigmoid", matmul(w, x)), r"alpha other than 0\.166667"),
        (lambda w, x: w.node("Selu", matmul(w, x), alpha=1.0), r"alpha other than 1\.67"),
        (
            lambda w, x: w.node("MatMul", w.constant(np.eye(3, dtype=F4)), matmul(w, x)),
            r"the constant on the left",
        ),
        (
            lambda w, x: w.node("Gemm", x, w.constant(WEIGHT), w.constant(np.ones((5, 2), F4))),
            r"a bias that is no vector",
        ),
    ],
)
def test_what_is_no_chain_is_named(build: Any, message: str, tmp_path: Any) -> None:
    path = graph(tmp_path / "m.onnx", build)
    with pytest.raises(FileFormatError, match=message) as caught:
        cr.onnx.load(path)
    assert str(path) in str(caught.value)


def test_values_in_other_files_are_not_read(tmp_path: Any) -> None:
    model = onnx.load(graph(tmp_path / "m.onnx", matmul))
    onnx.save(
        model, tmp_path / "e.onnx", save_as_external_data=True, location="data", size_threshold=0
    )
    with pytest.raises(FileFormatError, match=r"e\.onnx"):
        cr.onnx.load(tmp_path / "e.onnx")


def test_files_that_are_none(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError):
        cr.onnx.load(tmp_path / "gone.onnx")
    whole = graph(tmp_path / "m.onnx", matmul).read_bytes()
    for content in (b"", b"junk" * 9, whole[: len(whole) // 2]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(FileFormatError, match=r"bad\.onnx"):
            cr.onnx.load(tmp_path / "bad.onnx")


def test_an_input_too_large_to_try_is_refused(tmp_path: Any) -> None:
    path = graph(tmp_path / "m.onnx", lambda w, x: w.node("Relu", x), (10**6, 10**6), 10**6)
    with pytest.raises(FileFormatError, match=r"too large to be tried"):
        cr.onnx.load(path)


def test_loading_does_not_move_the_random_stream(tmp_path: Any) -> None:
    path = graph(tmp_path / "m.onnx", matmul)
    cr.seed(3)
    before = nn.Dense(2, 2).weight.detach().numpy()
    cr.seed(3)
    cr.onnx.load(path)
    np.testing.assert_array_equal(nn.Dense(2, 2).weight.detach().numpy(), before)
