"""A network, an activation and a loss of your own, with a proof of their derivatives.

python examples/custom.py
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import chainrule as cr


@cr.formula
def snake(xp: Any, x: Any, a: float = 1.0) -> Any:
    """``x + sin²(ax) / a``: rises, and repeats (Ziyin et al. 2020)."""
    return x + xp.sin(a * x) ** 2 / a


@cr.formula
def log_cosh(xp: Any, prediction: Any, target: Any) -> Any:
    """The mean of ``log cosh(ŷ - y)``, written so that large differences do not overflow."""
    d = xp.abs(prediction - target)
    return xp.mean(d + xp.log1p(xp.exp(-2.0 * d)) - math.log(2.0))


class Residual(cr.nn.Module):
    """``x -> out(h + snake(mix(h)))`` with ``h = snake(hidden(x))``."""

    def __init__(self, width: int, frequency: float = 2.0) -> None:
        self.frequency = frequency
        self.hidden = cr.nn.Dense(1, width)
        self.mix = cr.nn.Dense(width, width)
        self.out = cr.nn.Dense(width, 1)

    def forward(self, x: Any) -> Any:
        h = snake(self.hidden(x), a=self.frequency)
        return self.out(h + snake(self.mix(h)))


def prove() -> None:
    """First and second derivatives against differences of the values; raises if one is wrong."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 1)), rng.normal(size=(5, 1))
    model = Residual(4).double()
    print("snake   ", cr.check_gradients(snake, x))
    print("log_cosh", cr.check_gradients(log_cosh, x, y))
    print("together", cr.check_gradients(lambda x: log_cosh(model(x), y), x))


def main(path: str = "residual.safetensors") -> float:
    """Prove, train on a periodic signal, save, load; return the largest error."""
    prove()
    x = np.linspace(-4, 4, 256, dtype=np.float32)[:, None]
    y = np.sin(3 * x) + 0.5 * x

    cr.seed(0)
    model = Residual(32)
    trainer = cr.Trainer(
        model, loss=log_cosh, optimizer=cr.optim.Adam(lr=5e-3), schedule="cosine", seed=0
    )
    trainer.fit((x, y), epochs=150, verbose=False)

    cr.save(model, path)
    loaded = cr.load(path, classes=[Residual])  # the file names the class, you hand it over
    error = float(np.abs(cr.Trainer(loaded, loss=log_cosh).predict(x) - y).max())
    print(f"largest error of the loaded model {error:.3f}")
    return error


if __name__ == "__main__":
    main()
