"""How well `chainrule train` reads the digits that come with it: mean and spread over seeds.

    python benchmarks/digits.py

Runs the command as a person would, `chainrule train --seed S`, each seed with its own split (70 %
to train, 10 % to choose the best weights, 20 % to test) and its own initial weights. The command's
defaults were chosen on validation parts only; the test part is read once, at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import learning


def run(seed: int, folder: str) -> learning.Run:
    """One whole run of the command."""
    words = [
        "train",
        "--seed",
        str(seed),
        "--quiet",
        "--json",
        "-o",
        str(Path(folder, f"{seed}.safetensors")),
    ]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "chainrule", *words], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    return learning.Run(json.loads(done.stdout)["metrics"]["test"]["accuracy"], seconds)


def main() -> None:
    parser = harness.options(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many; default 5")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {"`chainrule train`": [run(seed, folder) for seed in range(args.seeds)]}
    learning.publish(args, runs, "test part")


if __name__ == "__main__":
    main()
