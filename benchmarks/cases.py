"""The work that is measured, the same for every peer: nets, weights, batches.

A training step is forward, loss, backward and Adam (learning rate 1e-3), in float32, on a batch
that waits in the library's own array type. A prediction takes a NumPy row and gives a NumPy array.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: what was computed first, for comparison, and a function that does the work n times
Job = tuple[list[float], Callable[[int], None]]
RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
VARIANCE = 1e-5  # what batch and layer normalisation add to it
EPOCHS = 20  # of a whole fit


@dataclass(frozen=True)
class Case:
    """One piece of work on one net."""

    title: str
    kind: str  # "step", "penalty" (second order), "row" (a prediction), "fit", "products"
    sizes: tuple[int, ...]
    batch: int = 1
    norm: str = ""  # "batch", "layer": each hidden layer is dense, normalised, GELU, dropout
    dropout: float = 0.0

    @property
    def classes(self) -> bool:
        """Whether the net tells classes apart; else it gives one number."""
        return self.sizes[-1] > 1

    @property
    def work(self) -> int:
        """Multiplications and additions of a training step's products."""
        layers = [n * m for n, m in itertools.pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(layers) - layers[0])  # no gradient of the input

    def weights(self) -> list[Any]:
        """W (out, in) and b (out,), layer by layer, He-normal."""
        random = np.random.default_rng(0)
        found: list[Any] = []
        for n, m in itertools.pairwise(self.sizes):
            found.append(random.normal(0, math.sqrt(2 / n), (m, n)).astype(np.float32))
            found.append(np.zeros(m, np.float32))
        return found

    def layers(self) -> list[tuple[Any, Any]]:
        """(W, b), layer by layer."""
        return pairs(self.weights())

    def batches(self) -> list[tuple[Any, Any]]:
        """Sixteen batches of the same rows under changing labels, so that the loss stays far from
        zero however long the measurement lasts: vanishing gradients are subnormal, and slow."""
        random = np.random.default_rng(1)
        rows = random.random((self.batch, self.sizes[0]), np.float32)
        order = [random.integers(0, self.batch, self.batch) for _ in range(16)]
        return [(rows[i], random.integers(0, self.sizes[-1], self.batch)) for i in order]

    def row(self) -> Any:
        return np.random.default_rng(2).random((1, self.sizes[0]), np.float32)


SMALL, LARGE = (64, 100, 10), (784, 512, 256, 10)
_SMALL, _LARGE = ("-".join(map(str, sizes)) for sizes in (SMALL, LARGE))
_NORM = "norm, GELU and dropout 0.2"
CASES = {
    "step-small": Case(f"Training step, MLP {_SMALL}, batch 32", "step", SMALL, 32),
    "step-32": Case(f"Training step, MLP {_LARGE}, batch 32", "step", LARGE, 32),
    "step-large": Case(f"Training step, MLP {_LARGE}, batch 128", "step", LARGE, 128),
    "step-512": Case(f"Training step, MLP {_LARGE}, batch 512", "step", LARGE, 512),
    "step-2048": Case(f"Training step, MLP {_LARGE}, batch 2048", "step", LARGE, 2048),
    "batch-norm": Case(
        f"Training step, MLP {_LARGE} with batch {_NORM}, batch 128",
        "step", LARGE, 128, norm="batch", dropout=0.2,
    ),
    "layer-norm": Case(
        f"Training step, MLP {_LARGE} with layer {_NORM}, batch 128",
        "step", LARGE, 128, norm="layer", dropout=0.2,
    ),
    "penalty": Case(
        "Gradient-penalty step (second order), critic 64-128-128-1, SiLU, batch 64",
        "penalty", (64, 128, 128, 1), 64,
    ),
    "row-tiny": Case("One-row prediction, MLP 20-64-64-1", "row", (20, 64, 64, 1)),
    "row-small": Case(f"One-row prediction, MLP {_SMALL}", "row", SMALL),
    "row-large": Case(f"One-row prediction, MLP {_LARGE}", "row", LARGE),
    "fit": Case(
        f"Whole fit on the digits, MLP {_SMALL}, {EPOCHS} epochs, batches of 32", "fit", SMALL, 32
    ),
    "products": Case(f"The products of MLP {_LARGE}, batch 128", "products", LARGE, 128),
}  # fmt: skip


def find(name: str) -> Case:
    """A case by its name, or a training step as sizes@batch: ``64-100-10@32``."""
    if name in CASES:
        return CASES[name]
    sizes, _, batch = name.partition("@")
    return Case(
        f"Training step, MLP {sizes}, batch {batch}",
        "step",
        tuple(map(int, sizes.split("-"))),
        int(batch),
    )


def pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


def training(
    step: Callable[[Any, Any], Any], batches: Any, value: Callable[[Any], float] = float
) -> Job:
    """`value` waits for a step to be done, and gives its loss as a number."""
    losses = [value(step(x, y)) for x, y in batches]
    feed = itertools.cycle(batches)

    def run(n: int) -> None:
        loss = None
        for x, y in itertools.islice(feed, n):
            loss = step(x, y)
        value(loss)

    return losses, run


def predicting(
    predict: Callable[[Any], Any],
    row: Any,
    within: Callable[[], Any] = contextlib.nullcontext,
) -> Job:
    """`within` is the context that a person puts around all predictions."""

    def run(n: int) -> None:
        with within():
            for _ in range(n):
                predict(row)

    with within():
        return np.ravel(predict(row)).tolist(), run


def fastest(jobs: Sequence[Job]) -> Job:
    """Of several ways to do the same, the one of the least time in short blocks taking turns."""
    if len(jobs) == 1:
        return jobs[0]
    counts, times = [], [math.inf] * len(jobs)
    for _, run in jobs:
        run(2)
        counts.append(max(1, round(0.02 / _seconds(run, 2) * 2)))
    for _ in range(5):
        for k, (_, run) in enumerate(jobs):
            times[k] = min(times[k], _seconds(run, counts[k]) / counts[k])
    return jobs[times.index(min(times))]


def _seconds(run: Callable[[int], None], n: int) -> float:
    start = time.perf_counter()
    run(n)
    return time.perf_counter() - start


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(x, y) to train on, four fifths, and to test on; pixels from 0 to 1."""
    import chainrule as cr

    x, y = cr.data.load_digits()
    train, test = cr.data.split(y, (0.8, 0.2), seed=0)
    x, y = x.astype(np.float32) / 16, y.astype(np.int64)
    return (x[train], y[train]), (x[test], y[test])


def fitting(fit: Callable[[Any, Any], Callable[[Any], Any]]) -> Job:
    """`fit` makes and trains a net from (x, y) and gives a function that predicts classes."""
    (x, y), (x_test, y_test) = digits()
    accuracy = float((np.asarray(fit(x, y)(x_test)) == y_test).mean())

    def run(n: int) -> None:
        for _ in range(n):
            fit(x, y)

    return [accuracy], run
