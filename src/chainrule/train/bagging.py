"""Bagging: networks that each learn from most of the rows, and whose mean predicts.

One network learns from the rows that are left when some are set aside to stop it, and everything
else about it, its first weights and the order of its batches, is chance. Of K networks, each may
set other rows aside: every row then teaches K - 1 of them and stops one, no row is lost for
learning, none is judged by a network that has learned it, and the mean evens out what chance did
(Breiman, "Bagging predictors", 1996; Krogh & Vedelsby, "Neural network ensembles, cross validation,
and active learning", 1995, who leave out other rows for each member as here).

>>> import numpy as np
>>> import chainrule as cr
>>> x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
>>> y = x**2
>>> def fit(k, train, held):
...     cr.seed(member_seed(0, k))
...     model = cr.nn.Sequential(cr.nn.Dense(1, 16, activation="tanh"), cr.nn.Dense(16, 1))
...     stop = cr.callbacks.EarlyStopping(patience=30)
...     optimizer = cr.optim.Adam(lr=0.02)
...     trainer = cr.Trainer(model, loss="mse", optimizer=optimizer, callbacks=[stop], seed=k)
...     return model, trainer.fit(train, epochs=90, validation_data=held, verbose=False)
>>> found = bagging(fit, (x, y), cr.data.folds(60, 3, stratify=False))
>>> type(found.model).__name__, len(found.model), found.judged.all()
('Ensemble', 3, np.True_)
>>> bool(np.mean((found.scores - y) ** 2) < 0.02)  # of rows that the network judging had not seen
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.autograd.context import no_grad
from chainrule.data import split
from chainrule.nn.ensemble import Ensemble
from chainrule.nn.module import Module
from chainrule.train.history import History
from chainrule.train.preparation import raw_output

__all__ = ["Bagged", "bagging", "member_seed", "shared", "stretches"]

Rows = Any
Arrays = tuple[Array, ...]
#: What trains member k: from its arrays and those that stop it to the network and how it went.
Fit = Callable[[int, Arrays, "Arrays | None"], "tuple[Module, History] | None"]

_SEEDS_APART = 1000
#: What ended a member, the most telling first.
_ENDS = ("interrupted", "time limit", "early stopping")
_CUT = _ENDS[:2]
_BLOCK = 4096


@dataclass
class Bagged:
    """Networks trained by `bagging`.

    Attributes:
        model: an `nn.Ensemble` of the members; of a single one the member itself.
        histories: of the members in the model, in its order.
        numbers: which of the pairs they are from: fewer than asked for where time was short.
        scores: ``(n, outputs)``: for each row the mean output of the members that did not learn
            from it; 0 where there is none.
        judged: ``(n,)``: whether there is one.
        stopped: "interrupted" after Ctrl-C, "time limit" if that cut a network short or left no
            time for one; else "early stopping" if a member ended so, else "epochs".
    """

    model: Module
    histories: list[History]
    numbers: list[int]
    scores: Array
    judged: Array
    stopped: str


def member_seed(seed: int, k: int) -> int:
    """The seed of member k: `seed` itself for the first, and far enough apart that ensembles of
    neighbouring seeds have no member in common.

    >>> member_seed(3, 0), member_seed(3, 2)
    (3, 2003)
    """
    return seed + _SEEDS_APART * k


def shared(train: int, held: int, count: int) -> list[tuple[Rows, Rows]]:
    """Pairs for `bagging` where the same rows, the last `held` of them, stop all `count` members:
    rows that came in a file of their own.

    >>> [(a.tolist(), b.tolist()) for a, b in shared(3, 1, 2)]
    [([0, 1, 2], [3]), ([0, 1, 2], [3])]
    """
    return [(np.arange(train), np.arange(train, train + held))] * count


def stretches(time: Any, count: int) -> list[tuple[Rows, Rows]]:
    """Pairs for `bagging` of rows that follow each other in time: each network is stopped by a
    stretch of time of its own and learns from the others, the latest rows among them.

    Neighbours in time are often alike, so that random folds would let a network learn what it is
    then stopped by; a stretch is not like the others (blocked cross-validation; Bergmeir & Benítez
    2012; Roberts et al. 2017). The other way is to stop all networks by the latest rows (`shared`),
    which then teach none, although what comes after is most like them: on made tables that drift,
    the log loss on later rows was the higher one.

    Arguments:
        time: ``(n,)``, each row's time, as `data.split` takes it.

    >>> [(a.tolist(), b.tolist()) for a, b in stretches([30, 10, 20, 40], 2)]
    [([0, 3], [1, 2]), ([1, 2], [0, 3])]
    """
    n = len(time)
    parts = split(n, [1 / count] * count, stratify=False, time=time)
    return [(np.setdiff1d(np.arange(n), part), part) for part in parts]


def bagging(fit: Fit, arrays: Arrays, pairs: Sequence[tuple[Rows, Rows]]) -> Bagged:
    """Train a network for each pair of row numbers, and take their mean.

    Arguments:
        fit: ``fit(k, train, held)`` trains network k on the arrays `train` and stops it, or chooses
            its weights, by `held` (None where a pair holds no rows out). It returns the network
            and its history, or None if there is no time left: then the networks so far are all.
        arrays: ``(x, y)`` or ``(x, y, sample_weight)``, a row for each sample.
        pairs: (rows to learn from, rows held out) for each network, as `data.folds` gives them,
            `stretches`, or `shared`.

    A network that was cut short, by Ctrl-C or by a time limit, is left out if there is a whole one:
    in the middle of its schedule it would predict worse than the others, and the mean with it.

    Raises:
        ValueError: for no pair, a row that a pair has on both sides, or no network.
    """
    if not pairs:
        raise ValueError("bagging needs a pair of row numbers for each network; got none")
    for k, (rows, held) in enumerate(pairs):
        if len(both := np.intersect1d(rows, held)):
            raise ValueError(f"bagging: pair {k} learns from row {both[0]} and holds it out")
    trained: list[tuple[int, Module, History]] = []
    stops: list[str] = []
    for k, (rows, held) in enumerate(pairs):
        held_arrays = tuple(a[held] for a in arrays) if len(held) else None
        try:
            one = fit(k, tuple(a[rows] for a in arrays), held_arrays)
        except KeyboardInterrupt:  # outside of a trainer, which has its own end for it
            if not trained:
                raise
            stops.append("interrupted")
            break
        if one is None:
            stops.append("time limit")
            break
        trained.append((k, *one))
        stops.append(one[1].stopped)
        if stops[-1] == "interrupted":
            break
    started = [t for t in trained if t[2].rows]
    whole = [t for t in started if t[2].stopped not in _CUT]
    kept = whole or started[:1] or trained[:1]
    if not kept:
        raise ValueError("bagging: there was no time for any network")
    scores, judged = _judged([(model, pairs[k][1]) for k, model, _ in kept], arrays[0])
    models = [model for _, model, _ in kept]
    return Bagged(
        model=models[0] if len(models) == 1 else Ensemble(models).eval(),
        histories=[history for *_, history in kept],
        numbers=[k for k, *_ in kept],
        scores=scores,
        judged=judged,
        stopped=next((word for word in _ENDS if word in stops), stops[0]),
    )


def _judged(members: Sequence[tuple[Module, Rows]], x: Array) -> tuple[Array, Array]:
    """The mean output for each row over the members that hold it out, and whether there is one."""
    total: Any = np.zeros((len(x), 1))
    times = np.zeros(len(x))
    for model, held in members:
        if len(held):
            scores = _scores(model, x[held])
            total = total if times.any() else np.zeros((len(x), *scores.shape[1:]))
            total[held] += scores
            times[held] += 1
    mean = total / np.maximum(times, 1).reshape(-1, *[1] * (total.ndim - 1))
    return mean.astype(np.float32), times > 0


def _scores(model: Module, x: Array) -> Array:
    """The output for every row, block by block, in double precision to be added up."""
    blocks = []
    with no_grad(), np.errstate(all="ignore"):
        for start in range(0, len(x), _BLOCK):
            block = x[start : start + _BLOCK]
            blocks.append(raw_output(model(block), len(block)).astype(np.float64))
    return np.concatenate(blocks)
