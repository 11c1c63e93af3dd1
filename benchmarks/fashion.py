"""Fashion-MNIST with a dense net: test accuracy over seeds, and the time to train it.

    python benchmarks/fashion.py --data FOLDER --torch

784-256-128-100-10 with ReLU and dropout 0.2, AdamW under a one-cycle schedule, batches of 128, 20
epochs. FOLDER holds fashion_train.npz and fashion_test.npz: `X` (n, 28, 28) or (n, 784) uint8 and
`y` (n,). With `--validate` 50,000 images of the training file train and its other 10,000 are
reported: so the highest rate (of 1e-3, 2e-3, 4e-3) and the weight decay (of 0.01, 0.1) were chosen,
on one seed of the net in PyTorch. Without it each net is scored once on the test file.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
import harness
import learning

SIZES = (784, 256, 128, 100, 10)
EPOCHS, BATCH, DROPOUT = 20, 128, 0.2
MAX_RATE, DECAY = 2e-3, 0.1


def read(folder: Path, name: str) -> learning.Pair:
    path = folder / name
    if not path.exists():
        raise SystemExit(
            f"{name} is not in the folder given by --data. It is an .npz file with X, uint8 images "
            f"of 28×28, and y, labels 0 to 9; the images are at "
            f"https://github.com/zalandoresearch/fashion-mnist (MIT licence)."
        )
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["X"].reshape(-1, 784), arrays["y"].astype(np.int64)


def load(args: argparse.Namespace) -> tuple[learning.Pair, learning.Pair]:
    """Training and held-out rows, scaled by the mean and deviation of the training pixels."""
    x, y = read(args.data, "fashion_train.npz")
    if args.validate:
        train, valid = cr.data.split(y, (5 / 6, 1 / 6), seed=0)
        (x, y), (xh, yh) = (x[train], y[train]), (x[valid], y[valid])
    else:
        xh, yh = read(args.data, "fashion_test.npz")
    mean, deviation = np.float32(x.mean()), np.float32(x.std())
    return ((x - mean) / deviation, y), ((xh - mean) / deviation, yh)


def in_chainrule(seed: int, train: learning.Pair, held_out: learning.Pair, args: Any) -> Any:
    cr.seed(seed)
    layers: list[Any] = []
    for n, m in itertools.pairwise(SIZES):
        layers += [cr.nn.Dense(n, m), cr.nn.ReLU(), cr.nn.Dropout(DROPOUT)]
    model = cr.nn.Sequential(*layers[:-2])
    optimizer = cr.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    steps = args.epochs * math.ceil(len(train[0]) / BATCH)

    def one_cycle(optimizer: Any) -> Any:
        return cr.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=steps)

    return learning.train(model, optimizer, one_cycle, train, held_out, args.epochs, BATCH)


def in_torch(seed: int, train: learning.Pair, held_out: learning.Pair, args: Any) -> Any:
    import torch

    torch.manual_seed(seed)
    layers: list[Any] = []
    for n, m in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT)]
    model = torch.nn.Sequential(*layers[:-2])
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, weight_decay=args.weight_decay, fused=True
    )
    steps = args.epochs * math.ceil(len(train[0]) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=steps)
    (x, y), (xh, yh) = ((torch.from_numpy(a), torch.from_numpy(b)) for a, b in (train, held_out))

    start = time.perf_counter()
    for _ in range(args.epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    model.eval()
    with torch.inference_mode():
        right = (model(xh).argmax(1) == yh).double().mean().item()
    return learning.Run(right, seconds)


def main() -> None:
    parser = harness.options(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default 3")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--lr", type=float, default=MAX_RATE, help=f"highest rate; {MAX_RATE}")
    parser.add_argument("--weight-decay", type=float, default=DECAY, help=f"default {DECAY}")
    parser.add_argument("--validate", action="store_true", help="hold out training rows instead")
    parser.add_argument("--torch", action="store_true", help="the same in PyTorch, taking turns")
    args = parser.parse_args()

    train, held_out = load(args)
    libraries = {"chainrule": in_chainrule} | ({"PyTorch": in_torch} if args.torch else {})
    runs: dict[str, list[learning.Run]] = {name: [] for name in libraries}
    for seed in range(args.seeds):
        for name, one in libraries.items():
            runs[name].append(one(seed, train, held_out, args))
    learning.publish(args, runs, "validation part" if args.validate else "test file")


if __name__ == "__main__":
    main()
