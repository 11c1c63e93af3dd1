"""From a data file to parts, and a network that fits them."""

from __future__ import annotations

import argparse
import math
import os
import platform
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import nn
from chainrule._version import __version__
from chainrule.array import random
from chainrule.array.errors import DataError
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import fingerprint, read_arrays
from chainrule.cli.pipeline import Pipeline, Scaling, decide_task, read_classes, split_rows
from chainrule.data import as_array, check_targets, check_x, load_digits

__all__ = ["DIGITS", "Parts", "precision_note", "prepare", "with_defaults"]

Array = npt.NDArray[Any]
#: Rows as they are but flattened, and encoded targets, of "train", "validation" and "test", where
#: there are any.
Parts = dict[str, tuple[Array, Array]]

#: The name of the data that come with the package.
DIGITS = "digits"

#: Steps of float32 between the least and the largest value, below which a feature is coarse.
_FEW_STEPS = 1000


#: What is not asked otherwise, for arrays.
_DEFAULTS = {
    "hidden": [128],
    "activation": "relu",
    "dropout": 0.2,
    "optimizer": "adamw",
    "schedule": "one_cycle",
    "epochs": 20,
    "patience": 0,
    "task": "auto",
    "validation_fraction": 0.1,
    "test_fraction": 0.2,
}


def with_defaults(a: argparse.Namespace) -> argparse.Namespace:
    """The same options, those that were not given filled in."""
    found = argparse.Namespace(**vars(a))
    for name, value in _DEFAULTS.items():
        if getattr(a, name) is None:
            setattr(found, name, value)
    if a.class_weight != "balanced":
        found.class_weight = None
    if a.task in ("binary", "multiclass"):
        found.task = "classification"
    elif a.task == "multilabel":
        raise UsageError("--task multilabel needs a table with a column per label: --target")
    return found


def prepare(a: argparse.Namespace) -> tuple[Pipeline, Parts, str]:
    """Read, check, split; the network for it; and why it is of its kind."""
    a = with_defaults(a)
    path = a.data[0] if a.data else None
    name = DIGITS if path is None else os.path.basename(path)
    x, y = load_digits() if path is None else read_arrays(path)
    x = check_x(x, "X")
    if x.ndim < 2:
        raise DataError(
            f"X has shape {x.shape}; expected (rows, features): X.reshape(-1, 1) for one"
        )
    task, why = decide_task(y, a.task)
    y = read_classes(y) if task == "classification" else check_targets(y, None, "y")
    if task == "regression" and y.ndim > 2:
        raise DataError(f"y has shape {y.shape}; expected one or several numbers per row")

    fractions = {
        "validation": 0.0 if a.validation else a.validation_fraction,
        "test": 0.0 if a.test else a.test_fraction,
    }
    seed = a.seed if a.split_seed is None else a.split_seed
    rows = split_rows(y, fractions, seed, task)
    if a.patience and not (a.validation or fractions["validation"]):
        raise UsageError(
            "--patience needs validation data; give --validation-fraction or --validation"
        )
    train = rows["train"]
    classes = np.unique(y) if task == "classification" else None
    if classes is not None and len(classes) < 2:
        raise DataError(f"every row of y is {classes[0]!s}; a classifier needs two classes or more")
    parts: Parts = {k: (_flat(x[r]), y[r]) for k, r in rows.items()}
    targets = None if classes is not None else Scaling.of(y[train])
    random.seed(a.seed)
    first = nn.Standardize.fit(parts["train"][0], common=_one_unit(x))
    model = _network(x.shape[1:], first, a, classes, targets)
    pipeline = Pipeline(model, x.shape[1:], classes, targets, y.shape[1:], {})
    parts = {k: (rows, pipeline.encode(labels)) for k, (rows, labels) in parts.items()}
    for part, path in (("validation", a.validation), ("test", a.test)):
        if path:
            parts[part] = _further(pipeline, path)
    pipeline.about["data"] = {
        "name": name,
        "rows": len(x),
        "parts": {k: len(v[0]) for k, v in parts.items()},
        "fractions": fractions,
        "seed": seed,
        "fingerprint": fingerprint(x, y),
    }
    pipeline.about["versions"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "chainrule": __version__,
    }
    return pipeline, parts, why


def precision_note(x: Array) -> str | None:
    """Which features the model, which computes in float32, can hardly tell from a constant."""
    if np.can_cast(x.dtype, np.float32):
        return None
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    step = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    coarse = np.flatnonzero((low < high) & (high - low < _FEW_STEPS * step))
    if not len(coarse):
        return None
    k = int(coarse[0])
    others = f" (and {len(coarse) - 1} more)" if len(coarse) > 1 else ""
    return (
        f"feature {k}{others} varies by {high[k] - low[k]:.3g} about {low[k]:.3g}, which float32 "
        "hardly resolves; subtract a constant from it, here and wherever the model is used"
    )


def _one_unit(x: Array) -> bool:
    """Whether the features are all in one unit, as the bytes of an image are."""
    return x.ndim > 2 or x.dtype == np.uint8


def _further(pipeline: Pipeline, path: str) -> tuple[Array, Array]:
    """Validation or test data from a file of their own."""
    x, y = read_arrays(path)
    x = check_x(pipeline.check_rows(as_array(x, "X"), f"X of {path}"), f"X of {path}")
    return _flat(x), pipeline.encode(y, f"y of {path}")


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _network(
    shape: tuple[int, ...],
    first: nn.Standardize,
    a: argparse.Namespace,
    classes: Array | None,
    targets: Scaling | None,
) -> nn.Module:
    """From rows as they are to logits or standardised values."""
    layers: list[nn.Module] = [first] if len(shape) == 1 else [nn.Flatten(), first]
    features = math.prod(shape)
    for width in a.hidden:
        layers.append(nn.Dense(features, width, activation=a.activation))
        if a.dropout:
            layers.append(nn.Dropout(a.dropout))
        features = width
    outputs = len(classes) if classes is not None else len(targets.mean) if targets else 1
    return nn.Sequential(*layers, nn.Dense(features, outputs))
