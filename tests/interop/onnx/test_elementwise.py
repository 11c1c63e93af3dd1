"""Every primitive, in ONNX as in NumPy: at random, at the edges, and of both types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.primitives import PRIMITIVES
from chainrule.interop.onnx.elementwise import NUMBERS, TESTS
from chainrule.interop.onnx.verify import Runner
from chainrule.interop.onnx.writer import ExportError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

UNARY = [
    "negative", "abs", "sign", "floor", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos",
    "tanh", "sigmoid", "erf", "isnan", "isfinite",
]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", *TESTS]
EDGES = [-np.inf, -1e4, -30.0, -1.0, -0.5, -1e-6, -0.0, 0.0, 1e-6, 0.25, 0.5, 1.0, 7.0, 1e4, np.inf]


class All(cr.nn.Module):
    """Every primitive of one argument and of two."""

    def forward(self, x: Any, y: Any) -> Any:
        one = [getattr(cr.ops, name)(x) for name in UNARY]
        return [*one, *(getattr(cr.ops, name)(x, y) for name in BINARY)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_primitives_equal_numpys(dtype: Any, tmp_path: Any) -> None:
    model = All().double() if dtype == np.float64 else All()
    rng = np.random.default_rng(0)
    start = rng.uniform(0.1, 0.9, (3, 4)).astype(dtype)
    if dtype == np.float64:  # a module without parameters counts as float32
        model.one = cr.nn.Parameter(np.ones(1))
    path = tmp_path / "all.onnx"
    cr.onnx.export(model, path, (start, start[::-1]))
    x = np.concatenate([EDGES, [np.nan], rng.standard_normal(400) * 3])
    x = x[: len(x) // 4 * 4].reshape(-1, 4).astype(dtype)
    y = x[::-1].copy()
    found = Runner(path.read_bytes())({"x": x, "x2": y})
    with np.errstate(all="ignore"):
        expected = [PRIMITIVES[n].numpy(x) for n in UNARY]
        expected += [PRIMITIVES[n].numpy(x, y) for n in BINARY]
    eps = np.finfo(dtype).eps
    for name, a, b in zip(UNARY + BINARY, found, expected, strict=True):
        if b.dtype == bool:
            np.testing.assert_array_equal(a, b, name)
            continue
        assert a.dtype == dtype
        # onnxruntime's sine and sigmoid of float32 are accurate to an absolute error
        absolute = 4 * eps if name in ("sin", "cos", "sigmoid") else np.finfo(dtype).tiny
        np.testing.assert_allclose(a, b, rtol=16 * eps, atol=absolute, err_msg=name)


def test_no_primitive_is_forgotten() -> None:
    numbers = {n for n, row in PRIMITIVES.items() if row.kind == "elementwise"}
    assert numbers - {*NUMBERS, "expm1", "log1p", "where"} == {
        "lgamma", "polygamma", "stop_gradient",
    }  # fmt: skip


@cr.formula
def bumpy(xp: Any, x: Any, a: float = 0.5) -> Any:
    """A formula that no library has."""
    inside = xp.logical_and(x > -1.0, xp.logical_not(xp.isnan(x)))
    return xp.where(inside, xp.expm1(-x * x) + a * xp.sqrt(xp.abs(x)), xp.log1p(xp.abs(x)))


def test_ones_own_formula_is_exported_from_its_text(tmp_path: Any) -> None:
    model = cr.nn.Sequential(cr.nn.Dense(3, 4, activation=bumpy), cr.nn.Activation(bumpy, a=0.25))
    done = cr.onnx.export(model, tmp_path / "own.onnx", np.ones((2, 3)))
    assert done.largest < 1e-6


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_a_primitive_without_a_form_names_layer_and_formula(name: str, tmp_path: Any) -> None:
    class Strange(cr.nn.Module):
        def forward(self, x: Any) -> Any:
            return getattr(cr.ops, name)(x * x + 1.0)

    model = cr.nn.Sequential(cr.nn.Dense(2, 2), Strange())
    path = tmp_path / "strange.onnx"
    with pytest.raises(ExportError, match=r"model\.1 Strange\(\): (lgamma|polygamma).* no form"):
        cr.onnx.export(model, path, np.ones((1, 2)))
    assert not path.exists()
