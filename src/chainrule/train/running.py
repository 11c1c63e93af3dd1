"""What an epoch adds up: losses, and outputs until the metrics take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.errors import DataError
from chainrule.nn.module import Module

__all__ = ["Evaluating", "Running"]


class Running:
    """Sums over an epoch so far."""

    __slots__ = ("_kept", "batch", "last", "loss", "output", "rows", "started", "weight")

    def __init__(self) -> None:
        self.loss = self.weight = self.last = 0.0
        self.batch = 0  # the next batch of the epoch
        self.rows = 0
        self.output: Any = None
        self.started = False  # whether the metrics have taken outputs of this epoch
        self._kept: list[tuple[Any, Any, Any]] = []

    def add(self, value: float, weight: float) -> None:
        self.loss += value * weight
        self.weight += weight
        self.last = value

    def mean(self) -> float:
        if not self.weight:
            raise DataError("there is nothing to measure: no rows, or every weight is zero")
        return self.loss / self.weight

    def keep(self, y: Any, weight: Any) -> None:
        self._kept.append((y, self.output, weight))
        self.rows += len(self.output)
        self.output = None

    def kept(self) -> tuple[Any, Any, Any]:
        """Targets, outputs and weights since the last call, joined; None where there are none."""
        parts, self._kept, self.rows = self._kept, [], 0
        if not parts:
            return None, None, None
        y, output, weight = zip(*parts, strict=True)
        weights = None if weight[0] is None else np.concatenate(weight)
        return np.concatenate(y), np.concatenate(output), weights


class Evaluating:
    """The model in evaluation mode inside the block; no write at all where it is already."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.training = model.training

    def __enter__(self) -> None:
        if self.training:
            self.model.eval()

    def __exit__(self, *_: object) -> None:
        if self.training:
            self.model.train()
