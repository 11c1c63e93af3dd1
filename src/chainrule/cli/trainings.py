"""Trainings on a table: one network or several whose mean predicts, several to choose from, on
folds, and in search of settings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array import random
from chainrule.cli.arguments import UsageError
from chainrule.cli.fitting import fit, measured, optimizer, validation_results
from chainrule.cli.outcome import baseline_of
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.tabular import Fitted, Problem, Rows
from chainrule.data import class_weights
from chainrule.nn.module import Module
from chainrule.train.bagging import bagging, member_seed, shared
from chainrule.train.callbacks import Callback
from chainrule.train.history import History
from chainrule.train.recipe import class_balance, recipe, table_network
from chainrule.train.recipe import members as usual_members
from chainrule.train.search import Trial
from chainrule.train.search import search as random_search

__all__ = [
    "Clock",
    "Trained",
    "cross_validate",
    "decision",
    "members_of",
    "network",
    "search",
    "settings",
    "several",
    "train",
    "train_members",
    "train_once",
]

#: Options of a training that a person may set, beside those of the data.
_SETTINGS = (
    "hidden", "activation", "dropout", "optimizer", "learning_rate", "weight_decay", "schedule",
    "batch_size", "epochs", "patience", "clip_norm", "label_smoothing",
)  # fmt: skip

#: The measurement shown while a network trains.
METRIC = {"binary": "accuracy", "multiclass": "accuracy", "regression": "r2"}

#: How many folds the settings of a search are compared on.
SEARCH_FOLDS = 3


class Clock:
    """What is left of a time limit; without one there is no end to it."""

    def __init__(self, limit: float | None) -> None:
        self.end = None if limit is None else time.perf_counter() + limit

    def share(self, trainings: int) -> float | None:
        """The seconds that one of so many trainings may take."""
        if self.end is None:
            return None
        return max(self.end - time.perf_counter(), 0.01) / trainings

    @property
    def over(self) -> bool:
        return self.end is not None and time.perf_counter() >= self.end


def members_of(a: argparse.Namespace, problem: Problem, rows: Mapping[str, Rows]) -> int:
    """How many networks shall predict together: what was asked, or what suits the data."""
    asked: int | None = a.members
    single = a.seeds or a.checkpoint or a.resume  # which are of one network
    if asked is None:
        return 1 if single else usual_members(len(rows["train"]))
    if asked > 1 and problem.turns():
        most, why = problem.most_folds(problem.pool(rows)["train"])
        if asked > most:
            raise UsageError(
                f"--members {asked}: a fold of its own stops each network, and {problem.name} has "
                f"only {why}; use --members {max(most, 1)}"
            )
    return asked


def settings(a: argparse.Namespace, fitted: Fitted) -> dict[str, Any]:
    """The options of the training: what was asked, and for the rest what suits the data."""
    x = fitted.parts["train"][0]
    task = fitted.target.task
    rows = len(x) if fitted.folds is None else len(fitted.folds[0][0])
    options = dict(recipe(rows, x.shape[1], fitted.target.outputs, task))
    given = {k: getattr(a, k) for k in _SETTINGS if getattr(a, k) is not None}
    if a.optimizer and a.optimizer != options["optimizer"]:  # its own rate, not that of another
        options |= {"learning_rate": None, "weight_decay": None}
    options |= given
    bare = optimizer(options)
    options["learning_rate"] = float(bare.defaults["lr"])
    options["weight_decay"] = float(bare.defaults["weight_decay"])
    options["members"] = fitted.members
    if "validation" not in fitted.parts and fitted.folds is None:
        if a.patience:
            raise UsageError(
                "--patience needs validation data; give --validation-fraction or --validation"
            )
        options["patience"] = 0
    options["hidden"] = list(options["hidden"])
    options["clip_norm"] = options["clip_norm"] or None
    if options["label_smoothing"] and task not in ("binary", "multiclass"):
        raise UsageError(f"--label-smoothing is of classes; this is {task}")
    options["class_weight"] = a.class_weight or "auto"
    if a.class_weight == "balanced" and task not in ("binary", "multiclass"):
        raise UsageError(f"--class-weight needs one class per row; this is {task}")
    return options


def decision(fitted: Fitted, options: Mapping[str, Any]) -> tuple[list[float] | None, str]:
    """Weights of the classes in the decision between them, or None; and what to say of it."""
    if fitted.target.task not in ("binary", "multiclass"):
        return None, ""
    weights, why = class_balance(fitted.parts["train"][1])
    if options["class_weight"] == "balanced":
        return None, "weighted in training, so that all count the same: --class-weight balanced"
    if weights is None or options["class_weight"] == "none":
        return None, ""
    text = (
        f"{why}; so each is predicted where its probability, in proportion to how frequent it is, "
        "is the largest. Probabilities stay as they are (--class-weight none: the most probable)"
    )
    return [float(w) for w in weights], text


@dataclass
class Trained:
    """A trained model with its preparation, and how it went.

    Attributes:
        histories: of its networks.
        numbers: which networks of those asked for these are; from 0.
        judged: for several networks, the validation results of them together, and "rows", how many
            rows these are of.
        ended: for several networks, what ended their training.
    """

    pipeline: Pipeline
    histories: list[History]
    options: dict[str, Any]
    numbers: Sequence[int] = (0,)
    judged: dict[str, float] | None = None
    ended: str | None = None

    @property
    def history(self) -> History:
        """That of the first network."""
        return self.histories[0]

    @property
    def stopped(self) -> str:
        """Why training ended, as of a `History`."""
        return self.ended or self.history.stopped

    @property
    def validation(self) -> dict[str, float]:
        if self.judged is not None:
            return {k: v for k, v in self.judged.items() if k != "rows"}
        return validation_results(self.history)

    @property
    def loss(self) -> float:
        """On the validation rows; infinite if there was no time for an epoch."""
        return self.validation.get("loss", float("inf"))


def network(fitted: Fitted, options: Mapping[str, Any]) -> Module:
    """The network of the options, with first weights from their seed."""
    random.seed(options["seed"])
    return table_network(
        fitted.preprocessor.width,
        fitted.preprocessor.embeddings,
        fitted.target.outputs,
        options["hidden"],
        options["activation"],
        options["dropout"],
    )


def train_once(
    fitted: Fitted,
    options: Mapping[str, Any],
    callbacks: Sequence[Callback] = (),
    time_limit: float | None = None,
    resume: Any = None,
) -> Trained:
    """Train a network on "train" and choose its weights on "validation"."""
    target = fitted.target
    model = network(fitted, options)
    metric = METRIC.get(target.task)
    weigh = _weigher(fitted, options)
    validation = fitted.parts.get("validation")
    history = fit(
        model,
        weigh(fitted.parts["train"]),
        None if validation is None else weigh(validation),
        {**options, "time_limit": time_limit},
        loss=target.loss,
        metrics=[metric] if metric else [],
        callbacks=callbacks,
        resume=resume,
    )
    return Trained(_pipeline(model, fitted, options), [history], dict(options))


def _pipeline(model: Module, fitted: Fitted, options: Mapping[str, Any]) -> Pipeline:
    pipeline = Pipeline.of_table(model, fitted.preprocessor, fitted.target, {})
    pipeline.about["decision"], _ = decision(fitted, options)
    pipeline.about["baseline"] = baseline_of(fitted.target, fitted.parts["train"][1])
    return pipeline


def train_members(
    fitted: Fitted,
    options: Mapping[str, Any],
    callbacks: Callable[[int, int], Sequence[Callback]] = lambda k, rows: (),
    time_limit: float | None = None,
) -> Trained:
    """Train the networks of an ensemble, each on its folds or all on "train"; see
    `chainrule.train.bagging`.

    Arguments:
        callbacks: those of network k, which learns from so many rows.
        time_limit: of all networks together: one after the other is trained while there is time,
            for a few whole ones predict better than many that were cut short.
    """
    target, clock = fitted.target, Clock(time_limit)
    weigh = _weigher(fitted, options)
    arrays = weigh(fitted.parts["train"])
    pairs = fitted.folds
    if pairs is None:
        held = fitted.parts.get("validation")
        pairs = shared(len(arrays[0]), 0 if held is None else len(held[0]), fitted.members)
        if held is not None:
            arrays = tuple(np.concatenate(a) for a in zip(arrays, weigh(held), strict=True))
    metric = METRIC.get(target.task)
    names = [metric] if metric else []

    def fit_member(k: int, rows: Any, stop: Any) -> tuple[Module, History] | None:
        if k and clock.over:
            return None
        own = {**options, "seed": member_seed(options["seed"], k)}
        model = network(fitted, own)
        history = fit(
            model,
            rows,
            stop,
            {**own, "time_limit": clock.share(1)},
            loss=target.loss,
            metrics=names,
            callbacks=callbacks(k, len(rows[0])),
        )
        return model, history

    found = bagging(fit_member, arrays, pairs)
    judged: dict[str, float] = {}
    if found.judged.any():
        rows = tuple(a[found.judged] for a in arrays)
        judged = measured(found.scores[found.judged], rows, options, target.loss, names)
        judged["rows"] = int(found.judged.sum())
    return Trained(
        _pipeline(found.model, fitted, options),
        found.histories,
        dict(options),
        found.numbers,
        judged,
        found.stopped,
    )


def train(fitted: Fitted, options: Mapping[str, Any], time_limit: float | None = None) -> Trained:
    """`train_once`, or `train_members` where the mean of several networks is to predict."""
    how = train_members if fitted.members > 1 else train_once
    return how(fitted, options, time_limit=time_limit)


def _weigher(fitted: Fitted, options: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What adds to a part the weights of its rows, from the classes of the training rows."""
    if options["class_weight"] != "balanced":
        return lambda part: part
    weights = class_weights(fitted.parts["train"][1], fitted.target.outputs, "balanced")
    return lambda part: (*part, weights[part[1]])


def several(
    fitted: Fitted, options: Mapping[str, Any], count: int, clock: Clock, tell: Callable[..., None]
) -> list[Trained]:
    """Trainings from `count` first weights, best first by validation loss."""
    found: list[Trained] = []
    for k in range(count):
        if found and clock.over:
            break
        own = {**options, "seed": options["seed"] + k}
        found.append(train_once(fitted, own, time_limit=clock.share(count - k)))
        tell(k + 1, found[-1])
        if found[-1].stopped == "interrupted":
            break
    return sorted(found, key=lambda trained: trained.loss)  # the first of equals


def _whole(trained: Trained) -> Trained:
    """The training, unless Ctrl-C ended it: then there is nothing to keep of what it was for."""
    if trained.stopped == "interrupted":
        raise KeyboardInterrupt
    return trained


def cross_validate(
    problem: Problem,
    options: Mapping[str, Any],
    k: int,
    validation: float,
    split_seed: int,
    clock: Clock,
    measure: Callable[[int, Trained, Rows], None],
) -> None:
    """Train on k - 1 folds and `measure` on the one left out, k times.

    A share `validation` of the k - 1 folds chooses the weights, so the fold that is measured on
    decides nothing. Where the model is to be an ensemble, it is one here too: the figures are those
    to expect of it.
    """
    for i, (inner, outer) in enumerate(problem.folds(k, split_seed)):
        parts = {**problem.split_of(inner, validation, split_seed), "test": outer}
        fitted = problem.fit_members(parts, options["members"], split_seed, further=False)
        trained = _whole(train(fitted, options, clock.share(k - i + 1)))
        measure(i + 1, trained, outer)


def search(
    problem: Problem,
    rows: Rows,
    options: Mapping[str, Any],
    count: int,
    split_seed: int,
    clock: Clock,
    tell: Callable[[Trial], None],
) -> list[Trial]:
    """Random settings compared by their mean validation loss over folds of `rows`, best first: of
    single networks, also where several shall predict together with what is found.

    The first of them are the settings as they are, so a search does not end with worse ones. No
    fold reaches beyond `rows`: the test part is not among them.
    """
    folds = [
        problem.fit({"train": inner, "validation": outer}, further=False)
        for inner, outer in problem.folds(SEARCH_FOLDS, split_seed, rows)
    ]
    done = 0

    def loss(own: dict[str, Any]) -> float:
        nonlocal done
        losses = []
        for fold in folds:
            left = max(1, count * SEARCH_FOLDS - done) + 1  # and the training after the search
            losses.append(_whole(train_once(fold, own, time_limit=clock.share(left))).loss)
            done += 1
        return float(np.mean(losses))

    base = {k: v for k, v in options.items() if k in _SETTINGS}
    rest = {k: v for k, v in options.items() if k not in _SETTINGS}
    return random_search(
        lambda own: loss({**rest, **own}),
        base,
        draws=count,
        seed=options["seed"],
        time_limit=clock.share(1),
        on_trial=tell,
    )
