"""Samples of layers: their inputs, parameters and buffers, and what they compute in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule import nn, ops
from chainrule.array.dtypes import Array
from chainrule.diagnose.proof.samples import Sample, draws
from chainrule.nn.loss import Loss

__all__ = ["layer_sample", "layers"]


def layers() -> Iterator[Sample]:
    """A sample of every layer of the registry; losses and mere holders of modules are none."""
    for name, cls in sorted(nn.REGISTRY.items()):
        if cls not in (nn.ModuleList, nn.ModuleDict) and not issubclass(cls, Loss):
            yield layer_sample(name, cls)


#: Constructor arguments of the layers that need some, and the shape of their input.
_LAYERS: dict[str, tuple[Callable[[], tuple[Any, ...]], tuple[int, ...]]] = {
    "Activation": (lambda: (ops.tanh,), (4, 6)),
    "Dense": (lambda: (6, 3), (4, 6)),
    "Dropout2d": (tuple, (2, 3, 2, 2)),
    "Dropout3d": (tuple, (2, 3, 2, 2)),
    "EmbedColumns": (lambda: (8, [(3, 2), (2, 1)]), (4, 6)),
    "Embedding": (lambda: (3, 2), (4, 6)),
    "FeatureAlphaDropout": (tuple, (2, 3, 4)),
    "Flatten": (tuple, (4, 2, 3)),
    "Standardize": (lambda: (draws("means", 6), draws("scales", 6, low=0.3)), (4, 6)),
    "Threshold": (lambda: (0.5, 0.1), (4, 6)),
    "Ensemble": (
        lambda: ([nn.Dense(6, 3), nn.Sequential(nn.Dense(6, 2), nn.Tanh(), nn.Dense(2, 3))],),
        (4, 6),
    ),
    "Sequential": (lambda: (nn.Dense(6, 5, activation="gelu"), nn.Dense(5, 3)), (4, 6)),
}

_CODES = np.array([[2, 0], [0, 1], [2, 1], [1, 0]])


def _with_codes(layer: nn.Module, x: Any) -> Any:
    """What a layer takes: x, and codes beside it where a part of the columns are codes."""
    if isinstance(layer, nn.EmbedColumns):
        return ops.concatenate([x, _CODES.astype(x.dtype)], axis=1)
    return x


def layer_sample(name: str, cls: type[nn.Module]) -> Sample:
    """A layer as a function of its input, its parameters and its buffers."""
    arguments, shape = _LAYERS.get(name, (tuple, (4, 6)))
    layer = cls(*arguments()).eval()
    state, modules = layer.state_dict(), dict(layer.named_modules())
    places = [(modules[path], key) for path, _, key in (name.rpartition(".") for name in state)]

    def f(x: Any, *values: Any) -> Any:
        # parameters and buffers are inputs too, so that the derivatives along them are checked
        for (module, key), value in zip(places, values, strict=True):
            object.__setattr__(module, key, value)
        return layer(_with_codes(layer, x))

    def reference(x: Array, *values: Array) -> Any:
        for (module, key), value in zip(places, values, strict=True):
            object.__setattr__(module, key, value)
        return _plain(layer, x)

    looked_up = isinstance(layer, nn.Embedding)
    x = _CODES if looked_up else draws(name, *shape)
    inputs = (x, *state.values())
    return Sample(name, f, reference, inputs, spreads=not looked_up, tolerance=1e-12)


def _plain(layer: Any, x: Any) -> Any:
    """A layer in plain NumPy, where there is a formula to run; else the layer itself."""
    if isinstance(layer, nn.Sequential):
        for child in layer.children():
            x = _plain(child, x)
        return x
    if isinstance(layer, nn.Ensemble):
        return sum(_plain(member, x) for member in layer) / len(layer)
    if isinstance(layer, nn.Dense):
        z = x @ layer.weight.T
        z = z if layer.bias is None else z + layer.bias
        return z if layer.activation is None else layer.activation.plain(z, **layer.options)
    if isinstance(layer, nn.Standardize):
        return (x - layer.mean) / layer.scale
    if isinstance(layer, nn.Embedding):
        return layer.weight[x]
    if isinstance(layer, nn.EmbedColumns):
        vectors = [w[codes] for w, codes in zip(layer.weights, _CODES.T, strict=True)]
        return np.concatenate([x, *vectors], axis=1)
    if isinstance(layer, nn.PReLU):
        return np.where(x <= 0, layer.weight * x, x)
    if isinstance(layer, nn.RReLU):
        return np.where(x <= 0, (layer.lower + layer.upper) / 2 * x, x)
    if isinstance(layer, nn.GLU):
        values, gates = np.split(x, 2, layer.axis)
        return values * (1 / (1 + np.exp(-gates)))
    if isinstance(layer, nn.Activation):
        return layer.formula.plain(x, **layer.options)
    return layer(x)
