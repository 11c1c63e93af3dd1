"""How the time of a training step grows with the batch, the width and the depth of a net.

    python benchmarks/scaling.py --plot docs/scaling.svg

Workers and method of `step.py`. The picture has the time over what grows, and as a thin line what
the matrix products would take at the best rate that chainrule reached in that panel: where its
points run along this line, cost is linear in the work. The rest of a step is its optimizer, which
does the same for every batch size, and what a step costs however small it is.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import harness
import peers
from harness import Entry

DEFAULT = "chainrule,torch,jax"
Times = Mapping[str, Mapping[str, Sequence[float]]]  # by point and peer


@dataclass(frozen=True)
class Sweep:
    """One panel: what grows, and the net for each of its values."""

    axis: str
    net: str
    points: Mapping[int, str]  # value -> case, as sizes@batch


def _deep(layers: int) -> str:
    return "-".join(["64", *["128"] * layers, "10"])


SWEEPS = {
    "batch": Sweep(
        "batch",
        "MLP 784-512-256-10",
        {n: f"784-512-256-10@{n}" for n in (1, 4, 16, 64, 256, 1024)},
    ),
    "width": Sweep(
        "width w",
        "MLP 64-w-w-10, batch 128",
        {w: f"64-{w}-{w}-10@128" for w in (16, 32, 64, 128, 256, 512, 1024)},
    ),
    "depth": Sweep(
        "hidden layers",
        "MLP 64-128-…-128-10, batch 64",
        {d: f"{_deep(d)}@64" for d in (1, 2, 4, 8, 16, 32)},
    ),
}


def medians(sweep: Sweep, times: Times, peer: str) -> dict[int, float]:
    """By value; values at which the peer was not measured are left out."""
    return {
        value: statistics.median(times[case][peer])
        for value, case in sweep.points.items()
        if peer in times[case]
    }


def table(sweep: Sweep, times: Times, labels: Mapping[str, str]) -> str:
    """A line for each value: medians of all, and at what rate the first peer computes."""
    first = next(iter(labels))
    found = {peer: medians(sweep, times, peer) for peer in labels}
    rows = []
    for value, case in sweep.points.items():
        cells = [harness.duration(m[value]) if value in m else "" for m in found.values()]
        rate = cases.find(case).work / found[first][value] / 1e9 if value in found[first] else 0
        rows.append((str(value), *cells, f"{rate:.3g}" if rate else ""))
    header = (f"{sweep.axis}, {sweep.net}", *labels.values(), f"{labels[first]}: GFLOP/s")
    return harness.table(header, rows)


def draw(path: Path, times: Times, labels: Mapping[str, str]) -> None:
    """The three panels, as a file that is the same for the same numbers."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator

    figure, axes = pyplot.subplots(1, len(SWEEPS), figsize=(10, 3.4), layout="constrained")
    for ax, sweep in zip(axes, SWEEPS.values(), strict=True):
        for (peer, label), style in zip(labels.items(), _STYLES, strict=False):
            found = medians(sweep, times, peer)
            ax.plot(
                list(found), [1e3 * t for t in found.values()], label=label, markersize=4, **style
            )
        mine = medians(sweep, times, next(iter(labels)))
        work = {value: cases.find(case).work for value, case in sweep.points.items()}
        if mine:
            rate = max(work[value] / t for value, t in mine.items())
            line = [1e3 * w / rate for w in work.values()]
            ax.plot(
                list(work),
                line,
                color="0.6",
                linewidth=1,
                zorder=0,
                label="its products, at its best rate",
            )
        ax.set(xscale="log", yscale="log", xlabel=sweep.axis, title=sweep.net)
        ax.title.set_fontsize(9)
        ax.set_xticks(list(sweep.points), [str(v) for v in sweep.points])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda t, _: f"{t:g}")
        ax.grid(alpha=0.3, linewidth=0.5)
    axes[0].set_ylabel("milliseconds a training step")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)


_STYLES: list[dict[str, Any]] = [
    {"color": "#c0392b", "marker": "o", "linewidth": 2},
    {"color": "#2471a3", "marker": "s", "linewidth": 1},
    {"color": "#1e8449", "marker": "^", "linewidth": 1},
    {"color": "#e59866", "marker": "o", "linewidth": 1, "linestyle": "--"},
]


def main() -> int:
    parser = harness.options(__doc__, 3, peers.ROWS)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a block; 0.1")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it (.svg or .png)")
    args = parser.parse_args()
    rows = harness.chosen(peers.ROWS, args.peers or DEFAULT)
    times: dict[str, Any] = {}
    notes, neighbours = [], harness.Neighbours(args.patience)
    script = str(Path(__file__).with_name("step.py"))
    with harness.working(script, rows) as workers:
        for name, sweep in SWEEPS.items():
            print(f"measuring {name}", file=sys.stderr)
            for case in sweep.points.values():
                turns = [Entry(w.peer.name, w.peer.label, w, case) for w in workers]
                result = harness.measure(case, turns, args.rounds, args.seconds, neighbours)
                times[case] = result.times
                notes += result.notes
    measured = {name for found in times.values() for name in found}
    labels = {row.name: row.label for row in rows if row.name in measured}
    parts = [table(sweep, times, labels) for sweep in SWEEPS.values()]
    parts += [f"Not measured: {note}" for note in dict.fromkeys(notes)]
    text = harness.section(
        f"{args.rounds} rounds, blocks of {args.seconds} s", *parts, neighbours.text()
    )
    if args.plot:
        draw(args.plot, times, labels)
    harness.publish(args, text, times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
