"""Speed and memory on a million rows of 30 columns: `python benchmarks/tables.py --million`.

Speed: one pass over the rows, `Trainer.fit` beside scikit-learn's `MLPClassifier.fit`: the same
network, optimizer, penalty and batches, taking turns, each time in a new process. What is timed is
the whole of `fit` on float32 arrays in memory, checks of the data included. First with the network
and batches that scikit-learn has by default, then with those of `chainrule.train.recipe`.

Memory: the largest resident size of `chainrule train` on the CSV file, beside that of the table
itself as polars holds it; and of `chainrule predict` on files of two sizes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import harness
import made_tables

SCRIPT = Path(__file__).with_name("tables.py")
PEERS = ("chainrule", "scikit-learn")
#: Hidden layers and rows per batch.
SETTINGS = (("100", 200), ("128,128", 1024))
#: `chainrule train` may take this much more than the table itself.
BOUND = 500e6


def add_options(parser: argparse.ArgumentParser) -> None:
    hide = argparse.SUPPRESS
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large table")
    parser.add_argument("--hidden", help=hide)
    parser.add_argument("--batch", type=int, help=hide)
    parser.add_argument("--epochs", type=int, default=1, help="for --million; default 1")
    parser.add_argument("--worker", choices=PEERS, help=hide)
    parser.add_argument("--folder", type=Path, help=hide)


# -- speed ------------------------------------------------------------------------------------


def work(args: argparse.Namespace) -> None:
    """One `fit` in this process; prints its seconds and its last loss."""
    hidden = tuple(int(width) for width in args.hidden.split(","))
    if args.worker == "chainrule":
        seconds, loss = _chainrule(args, hidden)
    else:
        seconds, loss = _sklearn(args, hidden)
    print(json.dumps({"seconds": seconds, "loss": loss}))


def _arrays(folder: Path) -> tuple[Any, Any]:
    return np.load(folder / "x.npy"), np.load(folder / "y.npy")


def _chainrule(args: argparse.Namespace, hidden: tuple[int, ...]) -> tuple[float, float]:
    import chainrule as cr
    from chainrule.train.recipe import table_network

    cr.tune()  # as the command line does
    x, y = _arrays(args.folder)
    cr.seed(0)
    trainer = cr.Trainer(
        table_network(x.shape[1], [], 2, hidden, "relu"),
        optimizer=cr.optim.Adam(lr=1e-3),
        metrics=[],
        seed=0,
    )
    start = time.perf_counter()
    history = trainer.fit((x, y), epochs=args.epochs, batch_size=args.batch, verbose=False)
    return time.perf_counter() - start, history.rows[-1]["loss"]


def _sklearn(args: argparse.Namespace, hidden: tuple[int, ...]) -> tuple[float, float]:
    from sklearn.neural_network import MLPClassifier

    x, y = _arrays(args.folder)
    model = MLPClassifier(
        hidden_layer_sizes=hidden,
        alpha=0.0,
        batch_size=args.batch,
        max_iter=args.epochs,
        n_iter_no_change=args.epochs + 1,
        random_state=0,
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few passes are not enough
        model.fit(x, y)
    return time.perf_counter() - start, float(model.loss_)


def _measure(peer: str, hidden: str, batch: int, epochs: int, folder: Path) -> dict[str, float]:
    words = [f"--hidden={hidden}", f"--batch={batch}", f"--epochs={epochs}"]
    words += [f"--worker={peer}", f"--folder={folder}"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def speed(args: argparse.Namespace, folder: Path) -> tuple[str, dict[str, Any]]:
    """The table of passes over the rows, and every single value."""
    blocks = list(made_tables.million(rows=args.rows))
    x = np.concatenate([b.frame.drop("target").to_numpy() for b in blocks])
    np.save(folder / "x.npy", np.ascontiguousarray(x, np.float32))  # polars lays out by columns
    y = np.concatenate([(b.frame["target"] == "yes").to_numpy() for b in blocks])
    np.save(folder / "y.npy", y.astype(np.int64))
    del blocks, x, y
    neighbours = harness.Neighbours(args.patience)
    entries = [(peer, *setting) for setting in SETTINGS for peer in PEERS]
    found = harness.interleave(
        {_name(*e): lambda e=e: _measure(*e, args.epochs, folder) for e in entries},  # type: ignore[misc]
        args.rounds,
        neighbours,
    )
    rows, verdicts = [], []
    for hidden, batch in SETTINGS:
        ours, theirs = (found[_name(peer, hidden, batch)]["seconds"] for peer in PEERS)
        for peer, seconds in zip(PEERS, (ours, theirs), strict=True):
            per_second = args.rows * args.epochs / statistics.median(seconds)
            loss = statistics.mean(found[_name(peer, hidden, batch)]["loss"])
            rows.append(
                (
                    _name(peer, hidden, batch),
                    *harness.spread(seconds),
                    f"{per_second:,.0f}",
                    f"{harness.ratio(theirs, seconds):.1f}×",
                    f"{loss:.4f}",
                )
            )
        verdicts.append(f"{harness.ratio(theirs, ours):.1f}")
    header = ("", "fit, median", "least – most", "rows a second", "speed", "mean loss")
    verdict = f"Wanted: 5 times scikit-learn's speed; measured {' and '.join(verdicts)} times."
    text = f"{harness.table(header, rows)}\n\n{verdict} {neighbours.text()}"
    return text, found


def _name(peer: str, hidden: str, batch: int) -> str:
    return f"{peer}, {hidden.replace(',', '-')}, batches of {batch:,}"


# -- memory -----------------------------------------------------------------------------------


#: A process of little size that starts a command: a child begins with the size of its parent.
_STARTER = """
import os, sys
said = open(sys.argv[1], "wb")
child = os.posix_spawn(sys.executable, [sys.executable, "-m", "chainrule", *sys.argv[2:]],
    os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, said.fileno(), n) for n in (1, 2)])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak(words: list[str], folder: Path) -> tuple[float, float]:
    """The largest resident size of a command of chainrule, in bytes, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-c", _STARTER, "said.txt", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    code, size = map(int, done.stdout.split())
    if code:
        raise SystemExit(f"chainrule {words} failed:\n{(folder / 'said.txt').read_text()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return size * unit, time.perf_counter() - start


def memory(args: argparse.Namespace, folder: Path) -> tuple[str, dict[str, float]]:
    """The table of largest sizes, and every single value."""
    import chainrule as cr

    made_tables.write_million(folder, args.rows)
    frame = cr.data.read_table(folder / "million.csv")
    size, part = float(frame.estimated_size()), max(1, args.rows // 10)
    frame.head(part).write_csv(folder / "tenth.csv")
    del frame
    common = ["--target", "target", "--epochs", "1", "--quiet"]
    trained = peak(["train", "million.csv", *common, "-o", "model.safetensors"], folder)
    tenth, whole = (
        peak(["predict", "model.safetensors", name, "-o", f"predicted-{name}"], folder)
        for name in ("tenth.csv", "million.csv")
    )
    rows = [
        ("the table in memory", _megabytes(size), ""),
        ("`chainrule train`, one epoch", _megabytes(trained[0]), harness.duration(trained[1])),
        (f"`chainrule predict`, {part:,} rows", _megabytes(tenth[0]), harness.duration(tenth[1])),
        (
            f"`chainrule predict`, {args.rows:,} rows",
            _megabytes(whole[0]),
            harness.duration(whole[1]),
        ),
    ]
    over = trained[0] - size
    verdict = (
        f"Wanted: training within the table's size and {BOUND / 1e6:.0f} MB; it takes "
        f"{_megabytes(over)} beyond the table. Predicting ten times the rows takes "
        f"{_megabytes(whole[0] - tenth[0])} more."
    )
    text = f"{harness.table(('', 'largest size', 'time'), rows)}\n\n{verdict}"
    found = {"table": size, "train": trained[0], "tenth": tenth[0], "predict": whole[0]}
    return text, found


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


# -- both -------------------------------------------------------------------------------------


def publish(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fast, times = speed(args, folder)
        small, sizes = memory(args, folder)
    conditions = (
        f"{args.rows:,} rows, 30 columns, ReLU, Adam, {args.epochs} epoch(s), {args.rounds} rounds"
    )
    text = harness.section(conditions, fast, small)
    print(text)
    if args.json:
        args.json.write_text(json.dumps({"speed": times, "memory": sizes}, indent=1) + "\n")
    if args.write:
        harness.write_section(args.write, "tables-million", text)
