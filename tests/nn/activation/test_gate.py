"""Smooth activations as layers: torch's modules, and those torch has none of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from tests_activation import check_layer

LAYERS = [
    nn.Sigmoid(),
    nn.Tanh(),
    nn.LogSigmoid(),
    nn.Softplus(),
    nn.Softplus(2.0),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.GLU(),
    nn.GLU(0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_as_in_torch(layer: Any) -> None:
    check_layer(layer, pytest.importorskip("torch"))


def test_logistic() -> None:
    layer = nn.Logistic(3.0, k=2.0, x0=1.5)
    x = np.linspace(-4, 4, 6)
    np.testing.assert_allclose(layer(x), 3 / (1 + np.exp(-2 * (x - 1.5))))
    assert repr(layer) == "Logistic(L=3.0, k=2.0, x0=1.5)"


def test_glu_names_itself() -> None:
    model = nn.Sequential(nn.Dense(4, 5), nn.GLU())
    with pytest.raises(cr.ShapeError, match=r"model.1 GLU\(axis=-1\): expected x with an even"):
        model(np.ones((2, 4)))
