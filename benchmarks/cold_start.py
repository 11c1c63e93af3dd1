"""From the shell prompt to a trained, tested and saved model of the digits, 20 epochs.

    python benchmarks/cold_start.py --rounds 10

Whole processes, taking turns, with warm file caches: chainrule's command line, and a script with
chainrule, scikit-learn and PyTorch each. Each splits the 1797 digits 80 to 20, trains a net with
100 hidden units (ReLU, Adam at 1e-3, batches of 32), prints the test accuracy and saves the model.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import harness
from harness import Peer

_CHAINRULE = """
import sys

import chainrule as cr

x, y = cr.data.load_digits()
train, test = cr.data.split(y, (0.8, 0.2), seed=0)
x = x.astype("float32") / 16
cr.seed(0)
model = cr.nn.Sequential(cr.nn.Dense(64, 100), cr.nn.ReLU(), cr.nn.Dense(100, 10))
trainer = cr.Trainer(
    model,
    loss="cross_entropy",
    optimizer=cr.optim.Adam(model.parameters(), lr=1e-3),
    metrics=["accuracy"],
)
trainer.fit((x[train], y[train]), epochs=20, batch_size=32)
print("test accuracy", trainer.evaluate((x[test], y[test]))["accuracy"])
cr.save(model, sys.argv[1])
"""

_SKLEARN = """
import sys
import warnings

import joblib
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

x, y = load_digits(return_X_y=True)
x = x.astype("float32") / 16
x_train, x_test, y_train, y_test = train_test_split(
    x, y, test_size=0.2, stratify=y, random_state=0
)
model = MLPClassifier(
    (100,),
    batch_size=32,
    learning_rate_init=1e-3,
    alpha=0.0,
    max_iter=20,
    n_iter_no_change=20,
    random_state=0,
)
warnings.simplefilter("ignore", ConvergenceWarning)  # 20 epochs are what is wanted
model.fit(x_train, y_train)
print("test accuracy", model.score(x_test, y_test))
joblib.dump(model, sys.argv[1])
"""

_TORCH = """
import sys

import numpy as np
import torch

with np.load(sys.argv[1]) as digits:
    x = torch.from_numpy(digits["X"].astype("float32") / 16)
    y = torch.from_numpy(digits["y"].astype("int64"))
torch.manual_seed(0)
test, train = torch.randperm(len(x)).split([360, len(x) - 360])
model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
for epoch in range(20):
    for rows in train[torch.randperm(len(train))].split(32):
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.inference_mode():
    right = model(x[test]).argmax(1) == y[test]
print("test accuracy", right.float().mean().item())
torch.save(model.state_dict(), sys.argv[2])
"""

# The defaults of the command line are better ones; these are what all of them do.
_LINE = (
    "train --hidden 100 --dropout 0 --optimizer adam --lr 1e-3 --schedule none --epochs 20 "
    "--batch-size 32 --validation-fraction 0 --test-fraction 0.2 --output"
)
PEERS = [
    Peer("chainrule", "command line, `chainrule train`", "chainrule"),
    Peer("chainrule-first", "the same, its kernels compiled anew", "chainrule"),
    Peer("chainrule-python", "the same, no compiler", "chainrule", {"CHAINRULE_NATIVE": "0"}),
    Peer("chainrule-script", "script with `cr.Trainer`", "chainrule"),
    Peer("sklearn", "script with `MLPClassifier`", "scikit-learn"),
    Peer("torch", "script with PyTorch", "torch"),
]
COMMANDS = {
    "chainrule": ["-m", "chainrule", *_LINE.split()],
    "chainrule-first": ["-m", "chainrule", *_LINE.split()],
    "chainrule-python": ["-m", "chainrule", *_LINE.split()],
    "chainrule-script": ["-c", _CHAINRULE],
    "sklearn": ["-c", _SKLEARN],
    # the file of pixels itself: the least that a script can read them with
    "torch": ["-c", _TORCH, str(harness.ROOT / "src/chainrule/data/digits.npz")],
}


def run(
    arguments: Sequence[str], folder: str, env: Mapping[str, str], first: bool
) -> Callable[[], dict[str, float]]:
    """One whole process; the time ends when it has ended. `first`: with no kernels in its cache."""

    def measure() -> dict[str, float]:
        path = Path(folder, "model.saved")
        path.unlink(missing_ok=True)
        if first:
            shutil.rmtree(env["CHAINRULE_CACHE"], ignore_errors=True)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments, str(path)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=env,
        )
        seconds = time.perf_counter() - start
        if done.returncode or not path.exists():
            raise SystemExit(
                f"{arguments} ended with {done.returncode} and "
                f"{'saved' if path.exists() else 'did not save'} a model:\n{done.stderr}"
            )
        accuracy = re.findall(r"accuracy\D*([0-9.]+)\s*(%?)", done.stdout + done.stderr)
        if not accuracy:
            raise SystemExit(f"{arguments} printed no accuracy:\n{done.stdout}{done.stderr}")
        value, percent = accuracy[-1]
        return {"seconds": seconds, "accuracy": float(value) / (100 if percent else 1)}

    return measure


def main() -> None:
    args = harness.options(__doc__, 5, PEERS).parse_args()
    peers = harness.chosen(PEERS, args.peers)
    neighbours = harness.Neighbours(args.patience)
    with tempfile.TemporaryDirectory() as folder, harness.installed() as env:
        commands = {}
        for p in peers:
            first = p.name == "chainrule-first"
            cache = {"CHAINRULE_CACHE": str(Path(folder, "first" if first else "cache"))}
            commands[p.name] = run(COMMANDS[p.name], folder, env | cache | dict(p.env), first)
        found = harness.interleave(commands, args.rounds, neighbours)
    rows = []
    for p, row in zip(
        peers, harness.compared({n: f["seconds"] for n, f in found.items()}), strict=True
    ):
        rows.append((p.label, *row[1:], f"{statistics.median(found[p.name]['accuracy']):.1%}"))
    header = ("", "median", "least – most", f"median ratio to {peers[0].name}", "test accuracy")
    harness.publish(
        args,
        harness.section(f"{args.rounds} rounds", harness.table(header, rows), neighbours.text()),
        found,
    )


if __name__ == "__main__":
    main()
