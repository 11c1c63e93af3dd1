"""What NumPy does in a forward pass, in ONNX as here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.interop.onnx.verify import Runner
from chainrule.interop.onnx.writer import ExportError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

o = cr.ops

CASES: dict[str, Any] = {
    "einsum": lambda x: o.einsum("ni,nj->nij", x, x),
    "products": lambda x: o.matmul(x[:, :, None], x[:, None, :]),
    "sort": lambda x: o.sort(x, axis=1),
    "sort down": lambda x: o.sort(x, axis=1, descending=True),
    "sort rows": lambda x: o.sort(x, axis=0),
    "topk": lambda x: o.topk(x, 2, axis=1),
    "argmax": lambda x: o.argmax(x, axis=1),
    "argmin": lambda x: o.argmin(x, axis=0),
    "cumsum": lambda x: o.cumsum(x, axis=1),
    "flip": lambda x: o.flip(x, axis=1),
    "backwards": lambda x: x[:, ::-1],
    "rows backwards": lambda x: x[::-1],
    "backwards by two": lambda x: x[:, 2::-2],
    "places": lambda x: x[:, [0, 2, 2, -1]],
    "rows at places": lambda x: x[[0, 1, 0]],
    "a mask": lambda x: x[:, np.array([True, False, True, False])],
    "pad": lambda x: o.pad(x, ((0, 0), (1, 2)), value=3.0),
    "roll": lambda x: o.roll(x, 1, axis=1),
    "repeat": lambda x: o.repeat(x, 2, axis=1),
    "stack": lambda x: o.stack([x, x], axis=1),
    "split": lambda x: o.split(x, 2, axis=1),
    "tril": lambda x: o.tril(o.matmul(o.transpose(x), x)),
    "power of a number": lambda x: 2.0**x,
}


class Case(cr.nn.Module):
    """A weight, so that the type of the model counts, and the case."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.scale = cr.nn.Parameter(np.ones(4, np.float32))

    def forward(self, x: Any) -> Any:
        return self.function(o.multiply(x, self.scale))


@pytest.mark.parametrize("name", CASES)
def test_functions_of_numpy(name: str, tmp_path: Any) -> None:
    model, path = Case(CASES[name]), tmp_path / "case.onnx"
    if len(name) % 2:
        model.double()
    rng = np.random.default_rng(0)
    cr.onnx.export(model, path, rng.standard_normal((6, 4)))
    x = rng.standard_normal((3, 4)).astype(model.dtype)
    x[1] = 1.0  # ties
    with cr.no_grad():
        expected = model.eval()(x)
    found = Runner(path.read_bytes())({"x": x})
    for a, b in zip(found, [*expected] if isinstance(expected, tuple | list) else [expected]):  # noqa: B905
        np.testing.assert_allclose(a, b.numpy() if isinstance(b, cr.Tensor) else b, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: o.roll(x, 1, axis=0), "roll along the rows"),
        (lambda x: o.roll(x, (1, 1), axis=(0, 1)), "roll along several axes"),
        (lambda x: o.argmax(x), "argmax over all axes"),
        (lambda x: x[[0, 1], [1, 2]], "indexing with"),
        (lambda x: x[:: x.shape[0] - 20 or 1, ::-1], "depends on the"),
    ],
)
def test_what_has_no_form_is_named(function: Any, message: str, tmp_path: Any) -> None:
    with pytest.raises(ExportError, match=message):
        cr.onnx.export(Case(function), tmp_path / "case.onnx", np.ones((30, 4)))
