"""The first non-finite value is found where it arises."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule.diagnose.nonfinite import first_nonfinite
from tests_common import net


def test_layer_input_parameter_or_nothing():
    model = net()
    x = np.ones((2, 4), np.float32)
    assert first_nonfinite(model, x) is None
    assert first_nonfinite(model, x * np.nan) == "the input holds nan"
    hot = cr.nn.Sequential(
        cr.nn.Dense(4, 4),
        cr.nn.Activation(cr.formula(lambda xp, x: xp.log(x - x))),
        cr.nn.Dense(4, 2),
    )
    found = first_nonfinite(hot, x)
    assert found is not None
    assert "model.1" in found
    assert "-inf" in found
    model[3].weight.assign(np.full((3, 16), np.nan, np.float32))
    assert first_nonfinite(model, x) == "the parameter 3.weight holds nan"


def test_hooks_are_removed():
    model = net()
    first_nonfinite(model, np.ones((2, 4), np.float32))
    assert all(not m._hooks for m in model.modules())
