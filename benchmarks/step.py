"""Training steps, predictions and a whole fit of dense nets, in chainrule and its peers.

    python benchmarks/step.py --write docs/performance.md
    python benchmarks/step.py --cases step-small,row-tiny --peers chainrule,eager,torch,jax

Every peer starts from the same weights, and its first sixteen losses (or its predictions) must
equal those of the others, or it is not timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cases
import goals
import harness
import peers
from harness import Entry, Result, Worker

SHARE = "share"
CASES = {
    **{name: case.title for name, case in cases.CASES.items() if name != "products"},
    SHARE: "The large step beside its matrix products alone, in one process",
}


def work(name: str) -> None:
    """Be the worker of one peer."""
    (row,) = (row for row in peers.ROWS if row.name == name)
    harness.serve(lambda case: peers.build(row, case), lambda: peers.facts(row))


def entries(workers: Sequence[Worker], case: str) -> list[Entry]:
    """What takes turns: the peers with their steps, or steps and products of the same process."""
    if case != SHARE:
        return [Entry(w.peer.name, w.peer.label, w, case) for w in workers]
    found = []
    for w in workers:
        if "products" in getattr(w.peer, "does", ()):
            name, label = w.peer.name, w.peer.label
            found.append(Entry(name, f"{label}: step", w, "step-large"))
            found.append(Entry(f"{name} products", f"{label}: products alone", w, "products"))
    return found


def share(result: Result) -> str:
    """The time of each step in times of its products."""
    rows = []
    for name, step in result.times.items():
        alone = result.times.get(f"{name} products")
        if alone is not None:
            label = result.labels[name].removesuffix(": step")
            ratio = f"{harness.ratio(step, alone):.2f}"
            rows.append((label, *harness.spread(step), harness.spread(alone)[0], ratio))
    header = ("", "step", "least – most", "products alone", "step in times of its products")
    return harness.table(header, rows)


def table(result: Result) -> str:
    """One case, each peer beside the first."""
    if not result.times:
        return ""
    if result.case == SHARE:
        return share(result)
    labels = result.labels
    rows = harness.compared({labels[name]: values for name, values in result.times.items()})
    reference = next(iter(result.times))
    header = ("", "median", "least – most", f"median ratio to {reference}")
    return harness.table(header, rows)


def report(results: Sequence[Result], workers: Sequence[Worker]) -> str:
    parts = []
    for r in results:
        notes = "".join(f"  \nNot measured: {note}" for note in r.notes)
        parts.append(f"**{CASES[r.case]}**\n\n{table(r)}\n{notes}".strip())
    rows = [(w.peer.label, str(w.facts["products"]), str(w.facts["threads"])) for w in workers]
    parts.append(harness.table(("", "matrix products", "threads"), rows))
    return "\n\n".join(parts)


def main() -> int:
    parser = harness.options(__doc__, 5, peers.ROWS)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a block; 0.1")
    parser.add_argument("--cpus", type=int, help="give every worker only so many CPUs (Linux)")
    parser.add_argument("--cases", help=f"comma-separated, of {', '.join(CASES)}")
    parser.add_argument("--worker", help="(internal) be the worker of this peer")
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return 0

    wanted = args.cases.split(",") if args.cases else list(CASES)
    if unknown := [c for c in wanted if c not in CASES]:
        parser.error(f"no case {unknown[0]!r}; known are {', '.join(CASES)}")
    results, neighbours = [], harness.Neighbours(args.patience)
    chosen = harness.chosen(peers.ROWS, args.peers)
    with harness.working(os.path.abspath(__file__), chosen, args.cpus) as workers:
        for case in wanted:
            print(f"measuring {case}", file=sys.stderr)
            turns = entries(workers, case)
            results.append(harness.measure(case, turns, args.rounds, args.seconds, neighbours))
        text = harness.section(
            f"{args.rounds} rounds, blocks of {args.seconds} s",
            report(results, workers),
            neighbours.text(),
        )
        kernels = {w.peer.name: str(w.facts["products"]) for w in workers}
    data = {"times": {r.case: r.times for r in results}, "products": kernels}
    harness.publish(args, text, data)
    if verdicts := goals.table(data):
        print(f"\n{verdicts}")
    wrong = [note for r in results for note in r.notes if note.startswith(harness.DIFFERS)]
    for note in wrong:
        print(note, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
