"""Small networks and data shared by tests."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import chainrule as cr


def net(seed: int = 0, sizes: tuple[int, ...] = (4, 16, 3), p: float = 0.0) -> Any:
    """A dense network with ReLU and dropout."""
    cr.seed(seed)
    layers: list[Any] = []
    for i, o in itertools.pairwise(sizes):
        layers += [cr.nn.Dense(i, o), cr.nn.ReLU(), cr.nn.Dropout(p)]
    return cr.nn.Sequential(*layers[:-2])


def blobs(n: int = 240, classes: int = 3, features: int = 4, seed: int = 0) -> Any:
    """Points around one centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(1).normal(size=(classes, features)) * 3
    return (centres[y] + rng.normal(size=(n, features))).astype(np.float32), y
