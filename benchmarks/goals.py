"""What chainrule's speed is to reach, and whether it does: all speed benchmarks in one command.

    python benchmarks/goals.py --write docs/performance.md

Runs `step.py`, `cold_start.py` and `scaling.py`, which print and write their own tables, and sums
up. A ratio is the best peer's time over chainrule's, the median over the rounds; the best peer is
the one of the least median.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

#: rows of `step.py` and `cold_start.py` -> their short names
PEERS = {
    "numpy": "NumPy by hand",
    "numpy-tuned": "NumPy by hand",
    "torch": "PyTorch",
    "torch-compile": "torch.compile",
    "jax": "JAX",
    "jax-now": "JAX",
    "keras": "Keras",
    "keras-now": "Keras",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
}


@dataclass(frozen=True)
class Goal:
    """A line of the table: what is measured, against whom, and what ratio is wanted."""

    work: str
    case: str
    required: float
    goal: float
    ours: str = "chainrule"  # with "-tuned" and "-python" the other rows
    against: tuple[str, ...] = tuple(PEERS)
    least: bool = False  # the less the better


_LARGE = "captured step, MLP 784-512-256-10"
GOALS = [
    Goal("captured step, MLP 64-100-10, batch 32", "step-small", 1.7, 3),
    Goal("eager step, the same", "step-small", 3.5, 5, "eager", ("torch",)),
    Goal(f"{_LARGE}, batch 32", "step-32", 1.0, 1.2),
    Goal(f"{_LARGE}, batch 128", "step-large", 1.0, 1.2),
    Goal(f"{_LARGE}, batch 512", "step-512", 1.0, 1.2),
    Goal(f"{_LARGE}, batch 2048", "step-2048", 1.0, 1.2),
    Goal(f"{_LARGE}, batch 128, batch norm, GELU, dropout", "batch-norm", 1.5, 2.2),
    Goal(f"{_LARGE}, batch 128, layer norm, GELU, dropout", "layer-norm", 1.5, 2.2),
    Goal("captured gradient-penalty step, 64-128-128-1, batch 64, SiLU", "penalty", 1.0, 1.5),
    Goal("one row through 20-64-64-1", "row-tiny", 0.7, 1.0, against=("onnxruntime",)),
    Goal("whole fit on the digits", "fit", 4, 10, against=("sklearn",)),
    Goal("shell prompt to trained digits model, 20 epochs", "cold", 3, 6),
    Goal("large step in times of its products", "share", 1.25, 1.08,
         against=("chainrule products",), least=True),
]  # fmt: skip


def table(data: Mapping[str, Any]) -> str:
    """The goals whose work was measured; empty if none was.

    `data` is what `step.py` gives: seconds by case, row and round, and the kernels of each row's
    products. Where OpenBLAS chooses slower kernels than `chainrule.tune` does, the verdict is on
    chainrule and the best peer with these.
    """
    kernels = data.get("products", {})
    tuned = kernels.get("chainrule") != kernels.get("chainrule-tuned", kernels.get("chainrule"))
    lines = [_line(g, times, tuned) for g in GOALS if (times := data["times"].get(g.case))]
    header = ("work", "chainrule", "best peer", "ratio", "BLAS set to SkylakeX", "no compiler",
              "required", "goal", "")  # fmt: skip
    found = [line for line in lines if line]
    return harness.table(header, found) if found else ""


def _line(goal: Goal, times: Mapping[str, Sequence[float]], tuned: bool) -> tuple[str, ...]:
    against = {n: t for n, t in times.items() if n in goal.against}
    if not against:
        return ()
    if goal.ours not in times:
        return (goal.work, *[""] * 5, f"{goal.required:g}", f"{goal.goal:g}", "not measured")
    best = min(against, key=lambda n: statistics.median(against[n]))
    ratios = {}
    for suffix in ("", "-tuned", "-python"):
        ours = times.get(goal.ours + suffix)
        if ours is not None:
            theirs = times.get(f"{goal.ours}{suffix} products") if goal.least else times[best]
            if theirs is not None:
                ratios[suffix] = harness.ratio(theirs, ours) ** (-1 if goal.least else 1)
    counted = "-tuned" if tuned and "-tuned" in ratios else ""
    median = harness.spread(times[goal.ours + counted])[0]
    name = "" if goal.least else f"{PEERS[best]}, "
    shown = [f"{ratios[s]:.2f}" if s in ratios else "" for s in ("", "-tuned", "-python")]
    return (
        goal.work,
        median,
        f"{name}{harness.spread(times[best])[0]}",
        *shown,
        f"{goal.required:g}",
        f"{goal.goal:g}",
        verdict(goal, ratios[counted]),
    )


def verdict(goal: Goal, ratio: float) -> str:
    sign = -1 if goal.least else 1
    if sign * ratio >= sign * goal.goal:
        return "goal met"
    return "met" if sign * ratio >= sign * goal.required else "**not met**"


def run(script: str, *options: str) -> Any:
    """Run a benchmark of this folder as a person would; what it measured, if only in part."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.json")
        words = [sys.executable, str(Path(__file__).with_name(script)), *options]
        done = subprocess.run([*words, "--json", str(path)])
        if not path.exists():
            raise SystemExit(f"{script} ended with {done.returncode} and measured nothing")
        return json.loads(path.read_text())


def main() -> None:
    parser = harness.options(__doc__, 5)  # rounds of step.py
    parser.add_argument("--cases", help="comma-separated: those of step.py, cold, scaling")
    args = parser.parse_args()
    wanted = args.cases.split(",") if args.cases else []
    patience = ["--patience", str(args.patience)]
    rounds = ["--rounds", str(args.rounds)]
    write = ["--write", str(args.write)] if args.write else []
    data: dict[str, Any] = {"times": {}}
    steps = [case for case in wanted if case not in ("cold", "scaling")]
    if steps or not wanted:
        cases = ["--cases", ",".join(steps)] if steps else []
        data = run("step.py", *rounds, *cases, *patience, *write)
    if "cold" in wanted or not wanted:
        cold = run("cold_start.py", *patience, *write)
        data["times"]["cold"] = {name: found["seconds"] for name, found in cold.items()}
    if "scaling" in wanted or not wanted:
        plot = ["--plot", str(args.write.with_name("scaling.svg"))] if args.write else []
        run("scaling.py", *patience, *plot, *write)
    harness.publish(args, harness.section(f"{args.rounds} rounds", table(data)), data)


if __name__ == "__main__":
    main()
