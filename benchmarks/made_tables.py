"""Tables to measure on: made ones whose truth is known, and the ones that scikit-learn carries.

    python benchmarks/made_tables.py FOLDER

writes each as FOLDER/NAME.csv and FOLDER/NAME.parquet. The same seed gives the same bytes. The
large one is made and written in blocks, so that it needs little memory.

| name | rows | what it asks for |
| --- | --- | --- |
| `missing` | 4,000 | a fifth of the entries is missing, more often where another column is large |
| `categories` | 8,000 | five columns of text, one with 600 values of which many are rare |
| `groups` | 4,000 | rows of 160 people, whose own level is worth nothing for new people |
| `drift` | 6,000 | the weights turn over two years: learn from the past, predict what is next |
| `imbalance` | 20,000 | one row in a hundred is positive |
| `million` | 1,000,000 | 30 columns of numbers |
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, np.dtype[Any]]
BLOCK = 50_000


@dataclass(frozen=True)
class Made:
    """A table, its target column, and the best that can be said about each row.

    `truth` is the probability of class "yes" (or 1), or the mean of a real target: what a model
    with all the knowledge in the world would answer. It stands in no file.
    """

    frame: pl.DataFrame
    truth: Array
    target: str = "target"
    group: str | None = None
    time: str | None = None


def _noise(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def _drawn(rng: np.random.Generator, logit: Array) -> tuple[Array, Array]:
    """Labels yes and no, and the probability of yes."""
    p = 1.0 / (1.0 + np.exp(-logit))
    return np.where(rng.random(len(p)) < p, "yes", "no"), p


def _bend(x: Array) -> Array:
    """A smooth function of six columns that no straight line follows, of variance about 1."""
    a, b, c, d, e, f = x.T[:6]
    return 0.8 * np.sin(2 * a) + 0.6 * b * c + 0.5 * np.maximum(d, 0) * (e > 0) + 0.4 * np.abs(f)


def missing(seed: int = 0, rows: int = 4_000) -> Made:
    """Twelve columns in correlated pairs; what is gone depends on a column that is there.

    The truth is the mean of the target given all values, also those that the table hides.
    """
    rng = _noise("missing", seed)
    x = rng.normal(size=(rows, 12))
    x[:, 6:] = 0.8 * x[:, :6] + 0.6 * x[:, 6:]  # a column's neighbour says what it may have been
    truth = _bend(x) + 0.5 * x[:, 6]
    y = truth + 0.3 * rng.normal(size=rows)
    gone = rng.random(x.shape) < np.where(x[:, 11:] > 0, 0.35, 0.1)
    gone[:, 11] = False
    values = np.where(gone, np.nan, x)
    columns = {f"x{j}": values[:, j].round(5) for j in range(12)}
    frame = pl.DataFrame({**columns, "target": y.round(5)}).fill_nan(None)
    return Made(frame, truth)


def categories(seed: int = 0, rows: int = 8_000) -> Made:
    """Text columns of 3 to 600 values; the frequency of the 600 falls as 1/rank."""
    rng = _noise("categories", seed)
    levels = {"colour": 3, "size": 5, "region": 12, "maker": 30, "city": 600}
    logit = np.full(rows, -0.4)
    columns: dict[str, Any] = {}
    for name, count in levels.items():
        share = 1.0 / np.arange(1, count + 1)
        code = rng.choice(count, rows, p=share / share.sum())
        logit += rng.normal(scale=1.2 if name == "city" else 0.7, size=count)[code]
        columns[name] = np.array([f"{name} {k}" for k in range(count)])[code]
    x = rng.normal(size=(rows, 4))
    logit += 0.8 * x[:, 0] + 0.8 * x[:, 1] * np.where(columns["colour"] == "colour 0", 1, -1)
    y, truth = _drawn(rng, logit)
    columns |= {f"x{j}": x[:, j].round(5) for j in range(4)}
    return Made(pl.DataFrame({**columns, "target": y}), truth)


def groups(seed: int = 0, rows: int = 4_000) -> Made:
    """Each person has a level and a habit of their own; the habit can be told from the columns.

    The truth is the mean for a person not met before: without the level, which nothing tells.
    """
    rng = _noise("groups", seed)
    person = rng.integers(0, 160, rows)
    x = rng.normal(size=(rows, 8)) + rng.normal(size=(160, 8))[person]
    truth = _bend(x) + 0.3 * x[:, 7]
    y = truth + rng.normal(scale=0.5, size=160)[person] + 0.3 * rng.normal(size=rows)
    columns = {f"x{j}": x[:, j].round(5) for j in range(8)}
    names = np.array([f"person {k:03d}" for k in range(160)])
    frame = pl.DataFrame({"person": names[person], **columns, "target": y.round(5)})
    return Made(frame, truth, group="person")


def drift(seed: int = 0, rows: int = 6_000) -> Made:
    """Two of the weights turn by a right angle from the first day to the last, 730 days later."""
    rng = _noise("drift", seed)
    day = np.sort(rng.integers(0, 730, rows))
    x = rng.normal(size=(rows, 8))
    angle = 0.5 * np.pi * day / 730
    turning = np.cos(angle) * x[:, 6] + np.sin(angle) * x[:, 7]
    y, truth = _drawn(rng, 1.5 * turning + _bend(x) - 0.5)
    order = rng.permutation(rows)  # a file is seldom in the order of its dates
    dates = np.datetime64("2023-01-01") + day.astype("timedelta64[D]")
    columns = {f"x{j}": x[order, j].round(5) for j in range(8)}
    frame = pl.DataFrame({"day": dates[order], **columns, "target": y[order]})
    return Made(frame, truth[order], time="day")


def imbalance(seed: int = 0, rows: int = 20_000) -> Made:
    """One row in a hundred is a yes: most of what there is to know is who is likelier than that."""
    rng = _noise("imbalance", seed)
    x = rng.normal(size=(rows, 10))
    y, truth = _drawn(rng, 1.5 * _bend(x) + 1.2 * x[:, 6] - 6.8)
    columns = {f"x{j}": x[:, j].round(5) for j in range(10)}
    return Made(pl.DataFrame({**columns, "target": y}), truth)


def million(seed: int = 0, rows: int = 1_000_000) -> Iterator[Made]:
    """Thirty columns of numbers and a yes or no, in blocks of 50,000 rows."""
    weights = _noise("million", seed).normal(size=(30, 6)) / np.sqrt(30)
    for start in range(0, rows, BLOCK):
        rng = _noise(f"million {start}", seed)
        x = rng.normal(size=(min(BLOCK, rows - start), 30)).round(4)
        y, truth = _drawn(rng, 2.0 * _bend(1.5 * (x @ weights)) - 1.0)
        columns = {f"x{j}": x[:, j] for j in range(30)}
        yield Made(pl.DataFrame({**columns, "target": y}), truth)


#: The made tables of moderate size.
MADE: dict[str, Callable[..., Made]] = {
    "missing": missing,
    "categories": categories,
    "groups": groups,
    "drift": drift,
    "imbalance": imbalance,
}

#: scikit-learn's copies of well-known tables.
REAL = ("breast_cancer", "wine", "iris", "diabetes", "digits")


def real(name: str) -> pl.DataFrame:
    """One of REAL, with its own column names; classes by name."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    columns = [str(c).replace(" (cm)", "").replace(" ", "_") for c in data.feature_names]
    target = data.target
    if name in ("breast_cancer", "wine", "iris"):
        target = np.asarray(data.target_names)[target].astype(str)
    named = {c: data.data[:, j] for j, c in enumerate(columns)}
    return pl.DataFrame({**named, "target": target})


def write_table(frame: pl.DataFrame, folder: Path, name: str) -> None:
    """NAME.csv and NAME.parquet."""
    frame.write_csv(folder / f"{name}.csv")
    frame.write_parquet(folder / f"{name}.parquet")


def write_million(folder: Path, rows: int = 1_000_000, seed: int = 0) -> None:
    """million.csv and million.parquet, block by block."""
    with open(folder / "million.csv", "wb") as file:
        for k, made in enumerate(million(seed, rows)):
            made.frame.write_csv(file, include_header=k == 0)
    pl.scan_csv(folder / "million.csv").sink_parquet(folder / "million.parquet")


def write_all(folder: Path, rows: int = 1_000_000, seed: int = 0) -> None:
    """Every table of this module."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in REAL:
        write_table(real(name), folder, name)
    for name, make in MADE.items():
        write_table(make(seed).frame, folder, name)
    write_million(folder, rows, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large table")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    args = parser.parse_args()
    write_all(args.folder, args.rows, args.seed)


if __name__ == "__main__":
    main()
