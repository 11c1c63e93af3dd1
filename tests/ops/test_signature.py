"""Shape signatures: the fast check and the messages of the slow one."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.signature import Signature

DENSE = Signature("x: (..., I), W: (O, I), b: (O,) -> (..., O)")


def test_letters_numbers_and_dots():
    s = Signature("a: (B, 3), b: (B,) -> (B, 3)")
    assert s.fits((5, 3), (5,))
    assert not s.fits((5, 4), (5,))
    assert not s.fits((5, 3), (4,))
    assert not s.fits((5, 3, 1), (5,))
    assert DENSE.fits((8,), (4, 8), (4,))
    assert DENSE.fits((2, 3, 8), (4, 8), (4,))
    assert not DENSE.fits((), (4, 8), (4,))
    assert not DENSE.fits((2, 8), (4, 8), (5,))
    s.check("op", (5, 3), (5,))


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (
            ((32, 9), (4, 8), (4,)),
            r"dense: expected x: \(B, 8\), got \(32, 9\); the data has 9",
        ),
        (
            ((32, 2, 4), (4, 8), (4,)),
            r"x: \(\.\.\., 8\), got \(32, 2, 4\); 2 x 4 = 8: put nn\.Flatten\(\) before",
        ),
        (((8, 32), (4, 8), (4,)), "it looks transposed: rows are samples"),
        (((), (4, 8), (4,)), r"expected x: \(B, 8\), got \(\)$"),
        (((2, 8), (4, 8), (5,)), r"expected b: \(4,\), got \(5,\)$"),
    ],
)
def test_messages(shapes, says):
    with pytest.raises(ShapeError, match=says):
        DENSE.check("dense", *shapes)


def test_one_sample_without_a_batch():
    with pytest.raises(ShapeError, match=r"a single sample needs a batch axis: x\[None\]"):
        Signature("x: (B, I), W: (O, I) -> (B, O)").check("op", (8,), (4, 8))


class Layer(Module):
    def __init__(self, n, m):
        self.weight = Parameter(np.ones((m, n), np.float32))

    def forward(self, x):
        return ops.dense(x, self.weight)

    def __repr__(self):
        return f"Layer({self.weight.shape[1]} -> {self.weight.shape[0]})"


class Two(Module):
    def __init__(self):
        self.first = Layer(3, 64)
        self.second = Layer(128, 10)

    def forward(self, x):
        return self.second(self.first(x))


def test_the_layer_its_path_and_the_layer_before_are_named():
    with pytest.raises(ShapeError) as caught:
        Two()(np.ones((32, 3), np.float32))
    assert str(caught.value) == (
        "model.second Layer(128 -> 10): expected x: (B, 128), got (32, 64); the layer before it, "
        "model.first, gives 64 features: make this layer take 64 or that one give 128"
    )


def test_the_first_layer_has_none_before_it():
    with pytest.raises(ShapeError, match=r"model\.first.*the data has 5 features: make this layer"):
        Two()(np.ones((32, 5), np.float32))
    with pytest.raises(ShapeError, match=r"model Layer\(3 -> 2\).*the data has 5 features"):
        Layer(3, 2)(np.ones((32, 5), np.float32))
