"""The sound default for a table: a network and how to train it, from the size of the data.

>>> import numpy as np
>>> import chainrule as cr
>>> r = recipe(rows=800, features=10, outputs=3, task="multiclass")
>>> model = table_network(10, [], 3, r["hidden"], r["activation"], r["dropout"])
>>> model(np.zeros((4, 10), np.float32)).shape
(4, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.array.dtypes import Array
from chainrule.array.errors import nearest
from chainrule.data import check_labels

__all__ = ["class_balance", "members", "recipe", "table_network"]

TASKS = ("binary", "multiclass", "multilabel", "regression")

#: Rows below which a batch size serves: small sets need the steps, large ones the speed.
_BATCHES = ((500, 16), (2_000, 32), (8_000, 64), (200_000, 256))
_LARGEST_BATCH = 1024
#: Passes over the data: as rows grow, the same number of steps takes fewer of them.
_EPOCHS = ((20_000, 60), (200_000, 30))
_FEWEST_EPOCHS = 20
#: The peak, and that for the largest batch: its noise is less, and so is the number of its steps.
_LEARNING_RATE, _LARGEST_RATE = 0.005, 0.01
#: A weight that the data does not hold up shrinks to e^-2 over the whole training.
_SHRINK = 2.0
_LEAST_DECAY, _LARGEST_DECAY = 0.01, 1.0
#: Networks whose mean predicts, and the rows from which on one does.
_MEMBERS, _MANY_ROWS = 5, 20_000
#: From so many times the rows of the rarest class on, the largest one would drown it.
_FAR = 10


def recipe(rows: int, features: int, outputs: int, task: str) -> dict[str, Any]:
    """Settings that suit a table of this size; each can be replaced.

    They were chosen on validation folds of scikit-learn's small tables and of made ones with
    missing values, categories, groups, drift and rare classes, never on test rows:

    - ``hidden``, ``activation``: two layers of 128 with SiLU. A single layer or half the width
      underfits some of the made tables; wider and deeper networks did no better on the whole, from
      100 rows to 70,000, and took two to three times as long. SiLU was ahead of ReLU on nearly
      every table, by a tenth of the loss and more.
    - ``dropout`` 0.2: the best of 0 to 0.35 on the whole.
    - ``optimizer``, ``learning_rate``, ``schedule``: AdamW to a peak of 0.005 (0.01 for batches of
      1024) under one cycle. It ended better than cosine or a constant rate, and forgives a peak
      that is off by a factor of two.
    - ``weight_decay``: so that a weight that the data does not hold up shrinks to e^-2 over the
      training, ``2 / (mean rate · steps)``, between 0.01 and 1. Small tables train for few steps,
      and with one decay for all sizes their networks grew too sure of themselves.
    - ``batch_size`` 16 to 1024 and ``epochs`` 60 to 20, by rows: enough steps for small tables, and
      no more passes over large ones than they need.
    - ``patience``: a third of the epochs without a better validation loss. The best weights are
      put back in any case, so it saves time only; one cycle is noisy on its way up.
    - ``label_smoothing`` 0: it would make the probabilities more careful than the data is.
      ``clip_norm`` 1: costs next to nothing, and a few wild rows do not end the training.
    - ``members``: how many networks are trained, for their mean to predict; see `members`.

    Arguments:
        rows: training rows.
        features: what the network sees of each, after preparation.
        outputs: numbers that the network gives: classes, labels or targets.
        task: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``.

    Returns:
        The settings by these names, plain numbers, text and tuples.

    Raises:
        ValueError: for another task, or numbers below 1.

    >>> small, large = (recipe(n, 30, 2, "binary") for n in (400, 1_000_000))
    >>> small["batch_size"], small["epochs"], small["weight_decay"], small["members"]
    (16, 60, 0.53, 5)
    >>> large["batch_size"], large["epochs"], large["weight_decay"], large["members"]
    (1024, 20, 0.02, 1)
    """
    if task not in TASKS:
        raise ValueError(f"recipe: no task {task!r}; {nearest(task, TASKS)}")
    for name, value in (("rows", rows), ("features", features), ("outputs", outputs)):
        if value < 1:
            raise ValueError(f"recipe: {name} must be 1 or more, got {value}")
    batch = next((size for most, size in _BATCHES if rows < most), _LARGEST_BATCH)
    epochs = next((count for most, count in _EPOCHS if rows < most), _FEWEST_EPOCHS)
    rate = _LARGEST_RATE if batch == _LARGEST_BATCH else _LEARNING_RATE
    steps = epochs * -(-rows // batch)
    decay = _SHRINK / (0.5 * rate * steps)  # one cycle's mean is about half its peak
    return {
        "hidden": (128, 128),
        "activation": "silu",
        "dropout": 0.2,
        "optimizer": "adamw",
        "learning_rate": rate,
        "weight_decay": float(f"{min(max(decay, _LEAST_DECAY), _LARGEST_DECAY):.2g}"),
        "schedule": "one_cycle",
        "batch_size": batch,
        "epochs": epochs,
        "patience": epochs // 3,
        "label_smoothing": 0.0,
        "clip_norm": 1.0,
        "members": members(rows),
    }


def members(rows: int) -> int:
    """How many networks suit so many training rows: 5 below 20,000, and 1 from there on.

    The networks are trained on folds (see `chainrule.train.bagging`): each learns from four fifths
    of the rows and is stopped by the other fifth. On inner splits of the tables of
    ``benchmarks/tables.py``, five did better than one with the same settings, clearest in log loss;
    what five reach on the test rows stands in docs/results.md. The gain comes from two sides: no
    row is given up for stopping, and chance is evened out, most where a network is too sure of
    itself. It shrinks as rows grow, while the five times longer training begins to matter. Of rows
    split by time the folds are stretches of time, for the reason that
    `chainrule.train.bagging.stretches` gives.

    >>> members(400), members(1_000_000)
    (5, 1)
    """
    return _MEMBERS if rows < _MANY_ROWS else 1


def table_network(
    width: int,
    embeddings: Sequence[tuple[int, int]],
    outputs: int,
    hidden: Sequence[int],
    activation: str = "silu",
    dropout: float = 0.0,
) -> nn.Module:
    """A dense network on the rows of a prepared table: ``(n, width) -> (n, outputs)``.

    Vectors for the category codes first, if there are any, then for each hidden width a dense layer
    with its activation and dropout, then a dense layer to the outputs, without activation: scores
    for a loss that takes them as they are.

    Arguments:
        width: columns of a prepared row, codes included.
        embeddings: (number of codes, length of the vector) for each of the last columns; see
            `nn.EmbedColumns`.
        outputs: numbers per row that come out.
        hidden: the widths; none gives a linear model.
        activation: its name.
        dropout: the rate after each hidden layer; at 0 there is no such layer.

    The first weights come from the stream in force: `chainrule.seed` repeats them.

    >>> table_network(4, [], 2, (8,), "silu", 0.1)
    Sequential(
      (0): Dense(4 -> 8, silu)
      (1): Dropout(p=0.1)
      (2): Dense(8 -> 2)
    )
    """
    layers: list[nn.Module] = []
    if embeddings:
        pairs = [(int(codes), int(length)) for codes, length in embeddings]
        layers.append(nn.EmbedColumns(width, pairs))
        width += sum(length for _, length in pairs) - len(pairs)
    for size in hidden:
        layers.append(nn.Dense(width, size, activation=activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    layers.append(nn.Dense(width, outputs))
    return nn.Sequential(*layers)


def class_balance(y: Any) -> tuple[Array | None, str]:
    """Weights for deciding between classes that are far from equally frequent, and why, in words.

    The class to predict is then the k with the largest ``w_k p_k`` (of scores: ``s_k + log w_k``),
    with ``w_k = n / (K n_k)``: to miss a row of a class counts the more, the rarer the class is.
    That is the decision with the largest balanced accuracy, the mean of the classes' recalls. Plain
    ``p_k`` would hardly ever name a class of one row in a hundred.

    They are for the decision, not for training, which had the better of it in every measure on the
    made table with one "yes" in a hundred (means over six validation folds):

    | | area under ROC | average precision | log loss | balanced accuracy |
    | --- | --- | --- | --- | --- |
    | no weights at all | 0.851 | 0.106 | 0.049 | 0.506 |
    | weights in the decision | 0.851 | 0.106 | 0.049 | 0.763 |
    | weights in the loss | 0.832 | 0.087 | 0.152 | 0.661 |

    A weighted loss lets a few rows decide, so that the network overfits them, and its probabilities
    are those of a world with as many "yes" as "no". Those of a plain one stay what they say.

    Arguments:
        y: the class number of each training row, ``(n,)``, from 0.

    Returns:
        The weights ``(K,)`` where a class has ten times as many rows as another or more, else None.
        A class without rows gets the weight of one with a single row.

    Raises:
        DataError: for labels that are no class numbers.

    Reference: Elkan, "The foundations of cost-sensitive learning", 2001.

    >>> class_balance([0] * 95 + [1] * 5)
    (array([ 0.52631579, 10.        ]), 'the largest class has 19 times as many rows as the rarest')
    >>> class_balance([0, 1, 1])
    (None, 'the largest class has 2 times as many rows as the rarest, less than 10')
    """
    labels = check_labels(y)
    counts = np.maximum(np.bincount(labels), 1)
    times = float(counts.max() / counts.min())
    reason = f"the largest class has {times:.3g} times as many rows as the rarest"
    if times < _FAR:
        return None, f"{reason}, less than {_FAR}"
    return len(labels) / (len(counts) * counts.astype(np.float64)), reason
