"""One training: a network, the options as a dictionary, and what came of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule import metrics, ops, optim
from chainrule.array.blas import set_threads
from chainrule.array.errors import nearest
from chainrule.cli.arguments import UsageError
from chainrule.metrics import UndefinedMetricWarning
from chainrule.nn.module import Module
from chainrule.ops.formula import FORMULAS
from chainrule.ops.tensor import tensor
from chainrule.optim import lr_scheduler
from chainrule.train import losses
from chainrule.train.callbacks import BestWeights, Callback, EarlyStopping, TimeLimit
from chainrule.train.history import History
from chainrule.train.trainer import Trainer

__all__ = ["check_names", "fit", "measured", "optimizer", "validation_results"]

#: Multiplications in the largest product of a step below which a second BLAS thread only costs:
#: 2^18 take as long on two as on one, and twice as long where the other core is busy.
_FEW_PRODUCTS = 2**20


def check_names(optimizer_name: str | None, schedule: str | None, activation: str | None) -> None:
    """Refuse an unknown name before any work, with the nearest. None is not checked."""
    if optimizer_name is not None:
        optimizer({"optimizer": optimizer_name})
    if schedule not in (None, "none"):
        try:
            lr_scheduler.check(schedule)
        except ValueError as error:
            raise UsageError(f"--schedule: {error} (or 'none')") from error
    if activation is not None:
        known = [n for n, f in FORMULAS.items() if len(f.arrays) == 1]
        if activation not in known:
            raise UsageError(
                f"--activation: no activation {activation!r}; {nearest(activation, known)}"
            )


def optimizer(options: Mapping[str, Any]) -> Any:
    """The optimizer that the options name, not bound to parameters yet; its own defaults hold for
    what they leave open.

    >>> type(optimizer({"optimizer": "adamw", "learning_rate": 0.01})).__name__
    'AdamW'
    """
    given = {"lr": options.get("learning_rate"), "weight_decay": options.get("weight_decay")}
    try:
        made = optim.get(
            options["optimizer"], None, **{k: v for k, v in given.items() if v is not None}
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"--optimizer: {error}") from error
    if "weight_decay" not in made.defaults:  # Rprop, LBFGS
        raise UsageError(
            f"--optimizer: {type(made).__name__} needs all rows in each step, and this command "
            "trains on batches; use chainrule.Trainer with batch_size=len(x)"
        )
    return made


def fit(
    model: Module,
    train: tuple[Any, ...],
    validation: tuple[Any, Any] | None,
    options: Mapping[str, Any],
    *,
    loss: Any,
    metrics: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    class_weight: Any = None,
    resume: Any = None,
) -> History:
    """Train `model`, and leave it with the weights that were best on the validation rows.

    Arguments:
        train: ``(x, y)`` or ``(x, y, sample_weight)``.
        validation: ``(x, y)``; without it the last weights stay.
        options: optimizer, learning_rate, weight_decay, schedule, batch_size, epochs, patience,
            seed; clip_norm, label_smoothing and time_limit may be left out.
        callbacks: further ones; they act after those for the best weights.
    """
    first: list[Callback] = []
    if validation is not None:
        patience = options["patience"]
        first.append(EarlyStopping(patience=patience) if patience else BestWeights())
    if options.get("time_limit"):
        first.append(TimeLimit(options["time_limit"]))
    schedule = options["schedule"]
    if smoothing := options.get("label_smoothing"):
        loss = _smoothed(smoothing)
    trainer = Trainer(
        model,
        loss=loss,
        optimizer=optimizer(options),
        metrics=list(metrics),
        callbacks=[*first, *callbacks],
        schedule=None if schedule == "none" else schedule,
        clip_norm=options.get("clip_norm"),
        seed=options["seed"],
    )
    with _threads(model, options["batch_size"]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # of few rows: it shows as a dash
        return trainer.fit(
            train,
            epochs=options["epochs"],
            batch_size=options["batch_size"],
            validation_data=validation,
            class_weight=class_weight,
            resume=resume,
            verbose=False,
        )


def _smoothed(smoothing: float) -> Any:
    """Cross entropy with softened labels; it measures the validation rows in the same way."""

    def cross_entropy(output: Any, target: Any, sample_weight: Any = None) -> Any:
        return ops.cross_entropy(
            output, target, label_smoothing=smoothing, sample_weight=sample_weight
        )

    return cross_entropy


@contextmanager
def _threads(model: Module, batch_size: int) -> Iterator[None]:
    """One BLAS thread in the block where the products are small; the choice depends on shapes."""
    if batch_size * max(p.size for p in model.parameters()) >= _FEW_PRODUCTS:
        yield
        return
    before = set_threads(1)
    try:
        yield
    finally:
        if before is not None:
            set_threads(before)


def measured(
    scores: Any, part: tuple[Any, ...], options: Mapping[str, Any], loss: Any, names: Sequence[str]
) -> dict[str, float]:
    """What `fit` would measure after an epoch on rows for which a model gives these scores; what is
    not finite is left out.

    Arguments:
        part: ``(x, y)`` or ``(x, y, sample_weight)`` of the rows.
    """
    y, weight = part[1], part[2] if len(part) > 2 else None
    if smoothing := options.get("label_smoothing"):
        loss = _smoothed(smoothing)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = {"loss": float(losses.get(loss).mean(tensor(scores), y, weight).item())}
        for name in names:
            metric = metrics.get(name)
            metric.reset()
            metric.update(y, scores, weight)
            found[name] = float(metric.compute())
    return {k: v for k, v in found.items() if math.isfinite(v)}


def validation_results(history: History) -> dict[str, float]:
    """The validation results of the weights that were kept; empty without a validation part."""
    if not history.rows:
        return {}
    row = history.rows[-1 if history.best_epoch is None else history.best_epoch]
    return {k[4:]: v for k, v in row.items() if k.startswith("val_") and math.isfinite(v)}
