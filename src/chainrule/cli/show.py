"""``chainrule show``: one training step, or a prediction, as the program that runs."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from chainrule import nn, ops, optim
from chainrule.autograd.capture import Captured, show
from chainrule.autograd.context import no_grad
from chainrule.cli.arguments import UsageError

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    model, shape = _model(arguments.model)
    x = np.zeros((arguments.batch, *shape), model.dtype)
    captured = _prediction(model, x) if arguments.predict else _training(model, x)
    if not list(captured.programs()):
        raise UsageError(f"this model runs eagerly: {captured.reason}")
    show(captured, numpy=arguments.numpy)
    return 0


def _model(path: str | None) -> tuple[Any, tuple[int, ...]]:
    """The model of a file and the shape of a row; without a file a small network for the digits."""
    if path is None:
        model = nn.Sequential(nn.Dense(64, 100), nn.ReLU(), nn.Dense(100, 10))
        return model, (64,)
    from chainrule.serialize.container import read_container
    from chainrule.serialize.model import load

    about = read_container(path).metadata.get("user")
    shape = about.get("input_shape") if isinstance(about, dict) else None
    if shape is None:
        raise UsageError(
            f"{path} does not say what a row looks like; expected a file that chainrule train wrote"
        )
    return load(path), tuple(shape)


def _prediction(model: Any, x: Any) -> Captured:
    def predict(x: Any) -> Any:
        return model(x)

    captured = Captured(predict, quiet=True)
    with no_grad():
        captured(x)
    return captured


def _training(model: Any, x: Any) -> Captured:
    if isinstance(model, nn.Ensemble):  # whose networks were trained one by one
        model = model[0]
    model.train()
    with no_grad():
        outputs = model(x).shape[1:]
    optimizer = optim.Adam(model.parameters())
    classes = outputs != (1,)
    y: Any = np.zeros(len(x), np.int64) if classes else np.zeros((len(x), 1), model.dtype)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y) if classes else ops.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    captured = Captured(step, quiet=True)
    captured(x, y)
    return captured
