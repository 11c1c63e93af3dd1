"""What the tests of activations share."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule import nn, ops
from chainrule.ops.formula import FORMULAS


def value_and_derivatives(name, x, start=None, **attrs):
    """Value, gradient, and the gradient of the squared gradient."""
    t = cr.tensor(x, requires_grad=True)
    y = getattr(ops, name)(t, **attrs)
    g = np.ones(y.shape, y.dtype) if start is None else start
    (first,) = cr.autograd.grad(y, [t], g, create_graph=True)
    (second,) = cr.autograd.grad((first * first).sum(), [t])
    return y.detach().numpy(), first.detach().numpy(), second.numpy()


#: Extremes, both zeros, the kinks, saturated and subnormal numbers.
GRID = np.array(
    [
        *(-np.inf, -1e4, -100, -40, -6, -3, -1, -0.5, -1e-10, -5e-324, -0.0),
        *(0.0, 5e-324, 1e-10, 0.5, 1, 3, 6, 40, 100, 1e4, np.inf, np.nan),
    ]
)


def differences(name, theirs, **attrs):
    """Where value, first and second derivative are not torch's, in float64: three sets of x.

    `theirs` is the function of torch. What is neither within 1e-9 relative nor 1e-300 counts."""
    import torch

    x = cr.tensor(GRID, requires_grad=True)
    t = torch.tensor(GRID, requires_grad=True)
    ours, other = [getattr(ops, name)(x, **attrs)], [theirs(t)]
    with np.errstate(all="ignore"):
        for _ in range(2):
            last = ours[-1]
            ours.append(cr.autograd.grad(last.sum(), [x], create_graph=True)[0])
            zeros = torch.zeros_like(t)
            try:
                (g,) = torch.autograd.grad(other[-1].sum(), t, create_graph=True, allow_unused=True)
            except RuntimeError:  # it has no derivative of this order
                g = None
            other.append(zeros if g is None else g)
    found = []
    for a, b in zip(ours, other, strict=True):
        a, b = a.detach().numpy(), b.detach().numpy()
        far = ~np.isclose(a, b, rtol=1e-9, atol=1e-300, equal_nan=True)
        found.append({"nan" if np.isnan(v) else float(v) for v in GRID[far]})
    return tuple(found)


def check_layer(layer, torch):
    """A layer is torch's of the same name, keeps types, is built from its architecture, and has
    gradients."""
    options = {"dim" if k == "axis" else k: v for k, v in vars(layer).items() if k == "axis"}
    options = options or {
        "dim" if k == "axis" else k: v for k, v in getattr(layer, "options", {}).items()
    }
    theirs = getattr(torch.nn, type(layer).__name__)(**options)
    x = np.linspace(-4, 4, 36).reshape(6, 6)
    np.testing.assert_allclose(layer(x), theirs(torch.tensor(x)).numpy(), rtol=1e-9, atol=1e-12)
    single = x.astype(np.float32)
    y = layer(single)
    assert type(y) is np.ndarray
    assert y.dtype == np.float32
    t = cr.tensor(single, requires_grad=True)
    assert layer(t).requires_grad
    np.testing.assert_array_equal(layer(t).detach().numpy(), y)
    again = nn.build(layer.architecture())
    assert repr(again) == repr(layer)
    np.testing.assert_array_equal(again(single), y)
    if isinstance(layer, nn.Activation):
        assert FORMULAS[layer.formula.name] is layer.formula
    assert not list(layer.parameters())
