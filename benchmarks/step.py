"""Training steps and one-row predictions of two dense nets, in chainrule and its peers.

    python benchmarks/step.py --rounds 15

Every peer starts from the same weights, and its first sixteen losses (or its probabilities) must
equal those of the others, or nothing is reported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import harness
from chainrule.array.blas import cpu_flags
from harness import Peer, Result, Worker

TUNED = {"OPENBLAS_CORETYPE": "SkylakeX"}
AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def peers() -> list[Peer]:
    """The rows of the tables; the tuned ones only where the CPU can run the AVX-512 kernels."""
    rows = [
        Peer("chainrule", "chainrule", "chainrule"),
        Peer("chainrule-tuned", "chainrule, BLAS set to SkylakeX", "chainrule", TUNED),
        Peer("numpy", "NumPy by hand", "numpy"),
        Peer("numpy-tuned", "NumPy by hand, BLAS set to SkylakeX", "numpy", TUNED),
        Peer("torch", "PyTorch, fused Adam", "torch"),
        Peer("jax", "JAX, jit, donated buffers", "jax"),
        # Its Adam adds epsilon to the uncorrected √v: the first losses differ by half a percent.
        Peer("sklearn", "scikit-learn MLPClassifier", "scikit-learn", rtol=0.01),
    ]
    return [p for p in rows if not p.env or cpu_flags() >= AVX512]


def work(name: str) -> None:
    """Be the worker of one peer."""
    import peers as nets  # here: the driver itself needs no NumPy

    library = name.removesuffix("-tuned")
    harness.serve(
        lambda case: getattr(nets, library)(nets.CASES[case]), lambda: nets.facts(library)
    )


def report(results: Sequence[Result], workers: Sequence[Worker], reference: str) -> str:
    from peers import CASES

    label = {w.peer.name: w.peer.label for w in workers}
    parts = []
    for r in results:
        rows = harness.compared({label[name]: values for name, values in r.times.items()})
        header = ("", "median", "least – most", f"median ratio to {reference}")
        parts.append(f"**{CASES[r.case].title}**\n\n" + harness.table(header, rows))
    rows = [(w.peer.label, str(w.facts["products"]), str(w.facts["threads"])) for w in workers]
    parts.append(harness.table(("", "matrix products", "threads"), rows))
    return "\n\n".join(parts)


def main() -> None:
    parser = harness.options(__doc__, 15, peers())
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a block; 0.25")
    parser.add_argument("--cpus", type=int, help="give every worker only so many CPUs (Linux)")
    parser.add_argument(
        "--cases", help="comma-separated: step-small,step-large,row-small,row-large"
    )
    parser.add_argument("--worker", help="(internal) be the worker of this peer")
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return

    cases = ("step-small", "step-large", "row-small", "row-large")
    if args.cases:
        wanted = args.cases.split(",")
        if unknown := [c for c in wanted if c not in cases]:
            parser.error(f"no case {unknown[0]!r}; known are {', '.join(cases)}")
        cases = tuple(wanted)
    workers: list[Worker] = []
    try:
        for peer in harness.chosen(peers(), args.peers):
            print(f"starting {peer.label}", file=sys.stderr)
            workers.append(Worker(os.path.abspath(__file__), peer, args.cpus))
        reference = workers[0].peer.name
        results = []
        neighbours = harness.Neighbours()
        for case in cases:
            print(f"measuring {case}", file=sys.stderr)
            results.append(harness.measure(workers, case, args.rounds, args.seconds, neighbours))
            if wrong := harness.disagreements(results[-1], [w.peer for w in workers]):
                raise SystemExit("\n".join(["the peers did not compute the same:", *wrong]))
    finally:
        for w in workers:
            w.close()
    text = harness.section(
        f"{args.rounds} rounds, blocks of {args.seconds} s",
        report(results, workers, reference),
        neighbours.text(),
    )
    harness.publish(args, text, {r.case: r.times for r in results})


if __name__ == "__main__":
    main()
