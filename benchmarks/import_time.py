"""What it costs to import chainrule, beside NumPy and the peers: time, memory, disk.

    python benchmarks/import_time.py --rounds 15

New processes, taking turns, with warm file caches. `import chainrule` loads its parts at first use,
so the second row touches what a training script touches. Exits with 1 if that row takes more than
1.5 times as long as `import numpy`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import harness
from harness import Peer

LIMIT = 1.5

#: peer -> what its users' scripts begin with
STATEMENTS = {
    "numpy": "import numpy",
    "chainrule": "import chainrule",
    "chainrule-used": (
        "import chainrule as cr; cr.tensor, cr.ops.relu, cr.nn.Dense, cr.optim.Adam, cr.Trainer"
    ),
    "torch": "import torch",
    "jax": "import jax.numpy",
    "sklearn": "from sklearn.neural_network import MLPClassifier",
}
PEERS = [
    Peer("numpy", "import numpy", "numpy"),
    Peer("chainrule", "import chainrule", "chainrule"),
    Peer("chainrule-used", "… and touch tensor, ops, nn, optim, Trainer", "chainrule"),
    Peer("torch", "import torch", "torch"),
    Peer("jax", "import jax.numpy", "jax"),
    Peer("sklearn", "from sklearn.neural_network import MLPClassifier", "scikit-learn"),
]

# The process measures itself: the interpreter's own start is the same for everyone.
_SCRIPT = """
import time
start = time.perf_counter()
{statement}
seconds = time.perf_counter() - start
try:
    status = open("/proc/self/status").read()
    memory = int(status.split("VmRSS:")[1].split()[0]) * 1024
except OSError:
    import resource, sys
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024)
print(seconds, memory)
"""


def importing(statement: str, env: Mapping[str, str]) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        command = [sys.executable, "-c", _SCRIPT.format(statement=statement)]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode:
            raise SystemExit(f"{statement!r} failed:\n{done.stderr}")
        seconds, memory = done.stdout.split()[-2:]
        return {"seconds": float(seconds), "memory": float(memory)}

    return measure


def installed_bytes(distribution: str) -> int:
    """Size on disk of a distribution with all that it requires, compiled Python files left out."""
    total, seen, wanted = 0, set[str](), [distribution]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or Python
        for requirement in found.requires or []:
            if "extra ==" not in requirement:
                match = re.match(r"[A-Za-z0-9._-]+", requirement)
                wanted += [match[0]] if match else []
        files = [Path(str(found.locate_file(f))) for f in found.files or []]
        spec = importlib.util.find_spec(name) if name == "chainrule" else None
        if spec is not None and spec.origin:  # a development install lists only a link
            files = list(Path(spec.origin).parent.rglob("*"))
        total += sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file())
    return total


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def main() -> int:
    args = harness.options(__doc__, 15, PEERS).parse_args()
    peers = harness.chosen(PEERS, args.peers)
    neighbours = harness.Neighbours(args.patience)
    with harness.installed() as env:
        commands = {p.name: importing(STATEMENTS[p.name], env) for p in peers}
        found = harness.interleave(commands, args.rounds, neighbours)
    rows = []
    for p, row in zip(
        peers, harness.compared({n: f["seconds"] for n, f in found.items()}), strict=True
    ):
        memory = megabytes(statistics.median(found[p.name]["memory"]))
        rows.append((f"`{p.label}`", *row[1:], memory, megabytes(installed_bytes(p.needs))))
    header = (
        "",
        "median",
        "least – most",
        f"median ratio to {peers[0].name}",
        "memory",
        "installed",
    )
    text = harness.section(f"{args.rounds} rounds", harness.table(header, rows), neighbours.text())
    harness.publish(args, text, found)
    if "numpy" in found and "chainrule-used" in found:
        pairs = zip(found["chainrule-used"]["seconds"], found["numpy"]["seconds"], strict=True)
        if (ratio := statistics.median(a / b for a, b in pairs)) > LIMIT:
            print(f"chainrule's import took {ratio:.2f} times NumPy's", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
