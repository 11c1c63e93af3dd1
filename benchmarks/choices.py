"""Small decisions inside chainrule, measured beside what else was tried.

    python benchmarks/choices.py --rounds 15

The first row of every table is what chainrule does. The variants run in one process, taking turns,
in blocks of about 0.1 s, and must give the same result before they are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
import harness
from chainrule.array import numerics
from chainrule.compile import schedule

SECONDS = 0.1
Variant = Callable[[], Any]


@dataclass(frozen=True)
class Choice:
    """A question and the ways to do it; each way returns its result."""

    title: str
    variants: dict[str, Variant]


def masks(rows: int, columns: int) -> Choice:
    """The gradient of ReLU."""
    random = np.random.default_rng(0)
    x, g = random.standard_normal((2, rows, columns), np.float32)
    keep, out = x > 0, np.empty_like(g)
    return Choice(
        f"where(x > 0, g, 0), {rows}×{columns} float32",
        {
            "bits: g & -(x > 0)": lambda: numerics.where(keep, g, 0.0, out=out),
            "numpy.where": lambda: np.where(keep, g, np.float32(0)),
            "product g * (x > 0), NaN for inf * 0": lambda: np.multiply(g, keep, out=out),
            "copyto(where=) on zeros": lambda: _copied(out, g, keep),
        },
    )


def _copied(out: Any, g: Any, keep: Any) -> Any:
    out[...] = 0
    np.copyto(out, g, where=keep)
    return out


def sums(rows: int, columns: int) -> Choice:
    """The gradient of a bias."""
    g = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    ones = np.ones(rows, np.float32)
    return Choice(
        f"sum over the rows of {rows}×{columns} float32",
        {
            "numpy.add.reduce": lambda: np.add.reduce(g, axis=0),
            "product with a vector of ones": lambda: ones @ g,
            "numpy.einsum": lambda: np.einsum("ij->j", g),
        },
    )


def products(rows: int, n: int, m: int) -> Choice:
    """The forward product of a dense layer with its weight stored (out, in)."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, n), np.float32)
    W = random.standard_normal((m, n), np.float32)
    out = np.empty((rows, m), np.float32)
    return Choice(
        f"x Wᵀ, x {rows}×{n}, W {m}×{n} float32",
        {
            "x @ W.T": lambda: x @ W.T,
            "into memory kept from the last step": lambda: np.matmul(x, W.T, out=out),
            "with a contiguous copy of W.T": lambda: x @ np.ascontiguousarray(W.T),
        },
    )


def blocks(size: int) -> Choice:
    """Adam over one flat vector, printed for blocks of several lengths."""

    def adam(extra: int, block: int) -> Variant:
        # A plan is printed at the first call for a shape and kept: each variant has its own shape.
        p = cr.nn.Parameter(np.ones(size + extra, np.float32))
        p.grad = np.random.default_rng(0).standard_normal(size + extra, np.float32)
        optimizer = cr.optim.Adam([p], lr=1e-3)
        usual, schedule.BLOCK = schedule.BLOCK, block
        try:
            optimizer.step()
        finally:
            schedule.BLOCK = usual

        def step() -> Any:
            optimizer.step()
            return p

        return step

    lengths = [schedule.BLOCK, *(n for n in (4096, 8192, 16384, 32768, 65536, 131072))]
    lengths = list(dict.fromkeys(lengths))
    variants = {f"blocks of {n:,}": adam(i, n) for i, n in enumerate(lengths)}
    variants["whole arrays"] = adam(len(lengths), 1 << 40)
    return Choice(f"A step of Adam over {size:,} float32 parameters", variants)


def measure(choice: Choice, rounds: int, neighbours: harness.Neighbours) -> dict[str, list[float]]:
    """Seconds a call, by variant and round."""
    first, *others = (_values(v()) for v in choice.variants.values())
    for other in others:
        n = min(len(first), len(other))
        np.testing.assert_allclose(other[:n], first[:n], rtol=1e-3, atol=1e-4)
    counts = {}
    for name, variant in choice.variants.items():
        start = time.perf_counter()
        for _ in range(10):
            variant()
        counts[name] = max(1, round(SECONDS * 10 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in choice.variants}
    for _ in range(rounds):
        for name, variant in choice.variants.items():
            with neighbours.watched(harness.own_ticks):
                start = time.perf_counter()
                for _ in range(counts[name]):
                    variant()
                times[name].append((time.perf_counter() - start) / counts[name])
    return times


def _values(result: Any) -> Any:
    return np.array(result.detach().numpy() if isinstance(result, cr.Tensor) else result).ravel()


def main() -> None:
    args = harness.options(__doc__, rounds=15).parse_args()
    parts, data, neighbours = [], {}, harness.Neighbours(args.patience)
    for choice in (
        masks(32, 100),
        masks(128, 512),
        sums(32, 100),
        sums(128, 512),
        products(32, 64, 100),
        products(128, 784, 512),
        blocks(535_818),
    ):
        times = data[choice.title] = measure(choice, args.rounds, neighbours)
        header = (choice.title, "median", "least – most", "median ratio to the first")
        parts.append(harness.table(header, harness.compared(times)))
    harness.publish(args, harness.section(f"{args.rounds} rounds", *parts, neighbours.text()), data)


if __name__ == "__main__":
    main()
