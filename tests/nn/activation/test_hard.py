"""Activations of straight pieces as layers: torch's modules."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule import nn
from tests_activation import check_layer

LAYERS = [
    nn.Hardtanh(),
    nn.Hardtanh(-2.0, 0.5),
    nn.ReLU6(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Hardshrink(),
    nn.Hardshrink(1.0),
    nn.Softshrink(),
    nn.Softshrink(1.0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_as_in_torch(layer: Any) -> None:
    check_layer(layer, pytest.importorskip("torch"))
