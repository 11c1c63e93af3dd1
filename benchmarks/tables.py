"""Test results on real and made tables, beside scikit-learn's network and its boosted trees.

    python benchmarks/tables.py

For each table and seed: 64 % of the rows to train, 16 % to choose with, 20 % to test; class by
class, or whole groups, or the latest rows last. All three models learn from the same training and
validation rows, and meet the test rows once.

- chainrule: what ``chainrule train`` does by default, with the settings of
  `chainrule.train.recipe`: five networks, whose mean predicts, on folds of the training and
  validation rows, each stopped by the fold that it does not learn from; on `drift`, which is split
  by time, the folds are stretches of time.
- scikit-learn's MLP: on the same prepared columns, categories one-hot where chainrule learns
  vectors; the validation rows choose among its default network and chainrule's, with and without
  its early stopping, and two strengths of its penalty. What was chosen is then fitted once more, on
  the training and validation rows together, as GridSearchCV does.
- boosted trees: HistGradientBoosting on the columns as they are; the validation rows choose among
  three settings, and what was chosen is fitted once more on both parts.

"Truth" is what made the table, as a prediction: no model can be expected to do better.

    python benchmarks/tables.py --million

measures speed and memory on a million rows of 30 columns instead; see `large_table.py`.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
import harness
import large_table
import made_tables
from chainrule.train.bagging import bagging, member_seed, stretches
from chainrule.train.recipe import class_balance, members, recipe, table_network
from made_tables import MADE, REAL, Made

Array = np.ndarray[Any, np.dtype[Any]]
Scores = dict[str, float]
CHAINRULE, MLP, TREES, TRUTH = "chainrule", "MLP", "boosted trees", "truth"
MODELS = (CHAINRULE, MLP, TREES)


@dataclass
class Parts:
    """One table, split and encoded; every list is (train, validation, test)."""

    columns: list[Any]  # frames of the columns to learn from
    y: list[Array]  # class numbers, or standardised values
    target: cr.data.Target
    truth: Array | None  # of the test rows: probabilities of the second class, or values
    deviation: float  # of the training rows' target
    groups: Array | None  # of the training and validation rows, where whole groups are split
    time: Array | None  # of the training and validation rows, where later rows are the test

    @property
    def classes(self) -> bool:
        return self.target.task != "regression"


def parts_of(name: str, folder: Path, seed: int) -> Parts:
    """Read the table of this name and split it."""
    frame = cr.data.read_table(folder / f"{name}.parquet")
    made = MADE[name]() if name in MADE else Made(frame, np.empty(0))
    target = cr.data.Target().fit(frame.select(made.target), "auto")
    groups = frame[made.group] if made.group else None
    times = frame[made.time] if made.time else None
    whole = target.encode(frame.select(made.target))
    rows = cr.data.split(
        whole,
        (0.64, 0.16, 0.2),
        seed=seed,
        stratify=target.task != "regression",
        groups=groups,
        time=times,
    )
    fitted = cr.data.Target().fit(frame[rows[0]].select(made.target), target.task)
    used = frame.drop([c for c in (made.target, made.group, made.time) if c])
    y = [fitted.encode(frame[part].select(made.target)) for part in rows]
    deviation = float(frame[rows[0]][made.target].std() or 1) if name in _VALUES else 1.0
    truth = made.truth[rows[2]] if name in MADE else None
    if truth is not None and fitted.task == "regression":
        truth = (truth - float(frame[rows[0]][made.target].mean())) / deviation  # type: ignore[arg-type]
    known = np.concatenate(rows[:2])
    of = [None if column is None else column[known].to_numpy() for column in (groups, times)]
    return Parts([used[part] for part in rows], y, fitted, truth, deviation, *of)


_VALUES = ("diabetes", "missing", "groups")


# -- what is measured -------------------------------------------------------------------------


def measured(y: Array, output: Array, rare: bool, decided: Array | None = None) -> Scores:
    """Scores of probabilities ``(n, K)`` for class numbers, or of values for values."""
    m = cr.metrics
    if y.ndim == 2:
        return {"R²": m.r2_score(y[:, 0], output[:, 0]), "loss": float(np.mean((y - output) ** 2))}
    decided = output.argmax(axis=1) if decided is None else decided
    labels = list(range(output.shape[1]))
    loss = m.log_loss(y, output, labels=labels)
    if not rare:
        return {"accuracy": m.accuracy_score(y, decided), "log loss": loss, "loss": loss}
    return {
        "balanced accuracy": m.balanced_accuracy_score(y, decided),
        "average precision": m.average_precision_score(y, output[:, 1]),
        "log loss": loss,
        "loss": loss,
    }


def rarely(parts: Parts) -> tuple[Array | None, bool]:
    weights = class_balance(parts.y[0])[0] if parts.classes else None
    return weights, weights is not None


# -- who is measured --------------------------------------------------------------------------


def chainrule(parts: Parts, seed: int) -> Scores:
    """The library's own way, with nothing but its defaults."""
    frame, y = together(parts), np.concatenate(parts.y[:2])
    prepare = cr.data.TablePreprocessor().fit(frame)
    count, labels = members(len(parts.y[0])), y if parts.classes else len(y)
    if parts.time is not None:
        pairs = stretches(parts.time, count)
    else:
        pairs = cr.data.folds(labels, count, seed=seed, stratify=parts.classes, groups=parts.groups)
    outputs = parts.target.outputs
    r = recipe(len(pairs[0][0]), prepare.width, outputs, parts.target.task)

    def member(k: int, train: Any, held: Any) -> Any:
        cr.seed(member_seed(seed, k))
        model = table_network(
            prepare.width, prepare.embeddings, outputs, r["hidden"], r["activation"], r["dropout"]
        )
        trainer = cr.Trainer(
            model,
            loss=parts.target.loss,
            optimizer=cr.optim.AdamW(lr=r["learning_rate"], weight_decay=r["weight_decay"]),
            metrics=[],
            callbacks=[cr.callbacks.EarlyStopping(patience=r["patience"])],
            schedule=r["schedule"],
            clip_norm=r["clip_norm"],
            seed=member_seed(seed, k),
        )
        history = trainer.fit(
            train,
            epochs=r["epochs"],
            batch_size=r["batch_size"],
            validation_data=held,
            verbose=False,
        )
        return model, history

    model = bagging(member, (prepare.transform(frame), y), pairs).model
    predict = cr.Trainer(model, loss=parts.target.loss, metrics=[]).predict
    output = predict(prepare.transform(parts.columns[2])).astype(np.float64)
    weights, rare = rarely(parts)
    if not parts.classes:
        return measured(parts.y[2], output, rare)
    decided = (output + np.log(weights)).argmax(axis=1) if weights is not None else None
    return measured(parts.y[2], cr.ops.softmax(output, axis=1), rare, decided)


def together(parts: Parts) -> Any:
    """The columns of the training and validation rows."""
    import polars as pl

    return pl.concat(parts.columns[:2])


def mlp(parts: Parts, seed: int) -> Scores:
    """scikit-learn's network, in the best of the ways a person would try."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    def prepared(frames: list[Any]) -> list[Array]:
        prepare = cr.data.TablePreprocessor(one_hot_up_to=10_000).fit(frames[0])
        return [prepare.transform(frame) for frame in frames]

    kind = MLPClassifier if parts.classes else MLPRegressor
    models = (
        kind(hidden_layer_sizes=hidden, early_stopping=early, alpha=alpha, random_state=seed)
        for hidden in ((100,), (128, 128))
        for early in (False, True)
        for alpha in (1e-4, 1e-1)
    )
    return best(models, prepared, parts)


def trees(parts: Parts, seed: int) -> Scores:
    """scikit-learn's histogram gradient boosting, on numbers with gaps and category codes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    _, categorical = coded(parts.columns)
    kind = HistGradientBoostingClassifier if parts.classes else HistGradientBoostingRegressor
    models = (
        kind(categorical_features=categorical, random_state=seed, **options)
        for options in (
            {},
            {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 8},
            {"learning_rate": 0.03, "max_iter": 500, "max_leaf_nodes": 16},
        )
    )
    return best(models, lambda frames: coded(frames)[0], parts)


def best(
    models: Iterable[Any], prepared: Callable[[list[Any]], list[Array]], parts: Parts
) -> Scores:
    """The test scores of the model with the least loss on the validation rows, fitted once more on
    the training and validation rows together."""
    from sklearn.base import clone

    _, rare = rarely(parts)
    train, valid = prepared(parts.columns[:2])
    found: list[tuple[float, Any]] = []
    for model in models:
        fit(model, train, parts.y[0], parts)
        found.append((measured(parts.y[1], answers(model, valid, parts), rare)["loss"], model))
    chosen = clone(min(found, key=lambda pair: pair[0])[1])
    known, test = prepared([together(parts), parts.columns[2]])
    fit(chosen, known, np.concatenate(parts.y[:2]), parts)
    return measured(parts.y[2], answers(chosen, test, parts), rare)


def fit(model: Any, x: Array, y: Array, parts: Parts) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of 200 passes that were not enough
        model.fit(x, y if parts.classes else y[:, 0])


def answers(model: Any, x: Array, parts: Parts) -> Array:
    if not parts.classes:
        return np.asarray(model.predict(x), np.float64)[:, None]
    p = np.asarray(model.predict_proba(x), np.float64)
    return p / p.sum(axis=1, keepdims=True)  # float32 rows add up to 1 within 1e-7 only


def coded(frames: list[Any]) -> tuple[list[Array], list[int]]:
    """Numbers as they are, and text as codes by frequency: the trees take 254 categories."""
    columns: list[list[Array]] = [[] for _ in frames]
    categorical = []
    for j, name in enumerate(frames[0].columns):
        if frames[0][name].dtype.is_numeric():
            values = [frame[name].cast(float).fill_null(np.nan).to_numpy() for frame in frames]
        else:
            categorical.append(j)
            common = frames[0][name].value_counts(sort=True)[name].to_list()[:253]
            place = {value: k for k, value in enumerate(common)}
            values = [
                np.array([place.get(value, len(place)) for value in frame[name]], float)
                for frame in frames
            ]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return [np.stack(column, axis=1) for column in columns], categorical


def truth(parts: Parts) -> Scores | None:
    if parts.truth is None:
        return None
    weights, rare = rarely(parts)
    if not parts.classes:
        return measured(parts.y[2], parts.truth[:, None], rare)
    p = np.stack([1 - parts.truth, parts.truth], axis=1)
    decided = None if weights is None else (p * weights).argmax(axis=1)
    return measured(parts.y[2], p, rare, decided)


# -- all of it --------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Parts, int], Scores]] = {CHAINRULE: chainrule, MLP: mlp, TREES: trees}


def run(name: str, folder: Path, seeds: int) -> Iterator[tuple[str, int, Scores, float]]:
    """(model, seed, test scores, seconds) for a table."""
    for seed in range(seeds):
        parts = parts_of(name, folder, seed)
        for model, way in WAYS.items():
            start = time.perf_counter()
            yield model, seed, way(parts, seed), time.perf_counter() - start
        if (best_possible := truth(parts)) is not None:
            yield TRUTH, seed, best_possible, 0.0


def cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def report(found: dict[str, list[tuple[str, int, Scores, float]]]) -> str:
    """A line for each table and score, a column for each model."""
    rows = []
    for name, runs in found.items():
        for score in (s for s in runs[0][2] if s != "loss"):
            by = {m: [r[2][score] for r in runs if r[0] == m] for m in (*MODELS, TRUTH)}
            rows.append((name, score, *(cell(by[m]) for m in (*MODELS, TRUTH))))
    table = harness.table(("table", "test score", *MODELS, TRUTH), rows)
    seconds = {
        m: sum(statistics.median([r[3] for r in runs if r[0] == m]) for runs in found.values())
        for m in MODELS
    }
    spent = ", ".join(f"{m} {harness.duration(s)}" for m, s in seconds.items())
    end = f"One seed of all tables on one thread, choosing and refitting included: {spent}."
    return f"{table}\n\n{end}"


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--seeds", type=int, default=5, help="how many; default 5")
    parser.add_argument("--tables", help=f"comma-separated; of {', '.join((*REAL, *MADE))}")
    parser.add_argument("--million", action="store_true", help="speed and memory on a million rows")
    large_table.add_options(parser)
    args = parser.parse_args()
    if args.worker:
        large_table.work(args)
    elif args.million:
        large_table.publish(args)
    else:
        publish(args)


def publish(args: argparse.Namespace) -> None:
    names = args.tables.split(",") if args.tables else [*REAL, *MADE]
    found = {}
    importlib.import_module("sklearn.ensemble")  # its threads, before they are limited
    from threadpoolctl import threadpool_limits

    # one thread for everybody: the products are small, and a second thread mostly waits
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        for name in names:
            frame = made_tables.real(name) if name in REAL else MADE[name]().frame
            made_tables.write_table(frame, Path(folder), name)
            print(f"measuring {name}", file=sys.stderr)
            found[name] = list(run(name, Path(folder), args.seeds))
    text = harness.section(f"{args.seeds} seeds; mean ± standard deviation", report(found))
    harness.publish(args, text, found)


if __name__ == "__main__":
    main()
