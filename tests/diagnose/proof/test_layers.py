"""Layers as functions of their input, parameters and buffers."""

from __future__ import annotations

from chainrule import nn, ops
from chainrule.diagnose.proof import prove
from chainrule.diagnose.proof.layers import layer_sample, layers


def test_parameters_and_buffers_are_inputs():
    shapes = {s.name: [a.shape for a in s.inputs] for s in layers()}
    assert shapes["Dense"] == [(4, 6), (3, 6), (3,)]
    assert shapes["PReLU"][1:] == [(1,)]
    assert len(shapes["Standardize"]) == 3


def test_a_wrong_gradient_of_a_parameter_is_seen():
    class Detached(nn.Dense):
        def forward(self, x):
            return ops.dense(x, ops.stop_gradient(self.weight), self.bias)

    wrong = prove(layer_sample("Dense", Detached)).wrong
    assert any(text.startswith("first derivative") for text in wrong)
