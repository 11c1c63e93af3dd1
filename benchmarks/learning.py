"""What the accuracy benchmarks share: a training run through the Trainer, and their table."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import chainrule as cr
import harness

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Run:
    """One training run: what it reached on rows that it did not see, and how long training took."""

    accuracy: float
    seconds: float


def train(
    model: Any,
    optimizer: Any,
    schedule: Any,
    training: Pair,
    held_out: Pair,
    epochs: int,
    batch: int,
) -> Run:
    """Train to the end, then look at the held-out rows once."""
    trainer = cr.Trainer(
        model,
        loss="cross_entropy",
        optimizer=optimizer,
        metrics=["accuracy"],
        schedule=schedule,
    )
    start = time.perf_counter()
    trainer.fit(training, epochs=epochs, batch_size=batch)
    seconds = time.perf_counter() - start
    return Run(trainer.evaluate(held_out)["accuracy"], seconds)


def publish(args: argparse.Namespace, runs: Mapping[str, Sequence[Run]], part: str) -> None:
    """A row for each library: mean, spread and single accuracies, and the median training time."""
    rows = []
    for name, found in runs.items():
        values = [r.accuracy for r in found]
        spread = f"{statistics.stdev(values):.2%}" if len(values) > 1 else ""
        singles = " ".join(f"{100 * v:.2f}" for v in values)
        middle, _ = harness.spread([r.seconds for r in found])
        rows.append((name, f"{statistics.mean(values):.2%}", spread, singles, middle))
    header = ("", f"accuracy, {part}", "standard deviation", "each seed", "training")
    text = harness.section(f"{len(next(iter(runs.values())))} seeds", harness.table(header, rows))
    harness.publish(args, text, {k: [asdict(r) for r in v] for k, v in runs.items()})
