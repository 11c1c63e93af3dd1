"""Softmax and its kin as layers: torch's modules."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule import nn
from tests_activation import check_layer

LAYERS = [
    nn.Softmax(),
    nn.Softmax(0),
    nn.Softmin(),
    nn.Softmin(1),
    nn.LogSoftmax(),
    nn.LogSoftmax(axis=0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_as_in_torch(layer: Any) -> None:
    check_layer(layer, pytest.importorskip("torch"))
