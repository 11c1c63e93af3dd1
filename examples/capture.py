"""A training loop of your own, captured: a generator learns to draw points on a ring.

    python examples/capture.py

Two networks play against each other (Goodfellow et al. 2014): the discriminator tells real points
from made ones, the generator makes points that it takes for real. One step updates both networks,
which no `Trainer` does. `cr.capture(step)` runs it once on arrays without values, to find out what
it does, and replays that; `cr.show` prints it. The same loop runs without and with, for comparison.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr

STEPS, BATCH, NOISE = 1000, 128, 4


def network(inputs: int, outputs: int) -> cr.nn.Sequential:
    """Two hidden layers of 32."""
    return cr.nn.Sequential(
        cr.nn.Dense(inputs, 32), cr.nn.SiLU(), cr.nn.Dense(32, 32), cr.nn.SiLU(),
        cr.nn.Dense(32, outputs),
    )  # fmt: skip


def sample(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Points near a ring of radius 2, and noise for the generator."""
    angle = rng.uniform(0, 2 * np.pi, n)
    ring = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.1, (n, 2))
    return ring.astype(np.float32), rng.normal(size=(n, NOISE)).astype(np.float32)


def training_step(generator: cr.nn.Module, discriminator: cr.nn.Module) -> Callable[..., Any]:
    """A function that updates the discriminator, then the generator."""
    judge = cr.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    forger = cr.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def step(real: Any, noise: Any) -> Any:
        made = generator(noise)
        judge.zero_grad()
        told = cr.ops.softplus(-discriminator(real)) + cr.ops.softplus(discriminator(made.detach()))
        told.mean().backward()
        judge.step()

        forger.zero_grad()
        fooled = cr.ops.softplus(-discriminator(made)).mean()
        fooled.backward()
        forger.step()
        return fooled

    return step


def train(captured: bool) -> tuple[Any, cr.nn.Module, list[float]]:
    """The step, the generator that it trained, and the seconds of each call."""
    cr.seed(0)
    rng = np.random.default_rng(0)
    generator, discriminator = network(NOISE, 2), network(2, 1)
    step = training_step(generator, discriminator)
    if captured:
        step = cr.capture(step)
    seconds = []
    for _ in range(STEPS):
        batch = sample(rng, BATCH)
        began = time.perf_counter()
        step(*batch)
        seconds.append(time.perf_counter() - began)
    return step, generator, seconds


def main() -> tuple[float, float]:
    """Return the mean distance of the made points from the centre, and its standard deviation."""
    for captured in (False, True):
        step, generator, seconds = train(captured)
        name = "captured" if captured else "eager"
        print(
            f"{name:8} first step {seconds[0]:.2f} s, then {1e6 * np.median(seconds):.0f} µs each"
        )
    text = io.StringIO()
    cr.show(step, file=text)  # without `file`, on the terminal
    lines = text.getvalue().splitlines()
    print(f"{len(lines)} lines were replayed, beginning with: {lines[0]}")

    with cr.no_grad():
        points = generator(sample(np.random.default_rng(1), 4096)[1]).numpy()
    radius = np.hypot(*points.T)
    print(f"made points are {radius.mean():.2f} ± {radius.std():.2f} from the centre (real: 2.00)")
    return float(radius.mean()), float(radius.std())


if __name__ == "__main__":
    main()
