"""Random search over the few settings that matter for a table (Bergstra & Bengio, 2012).

>>> base = {"hidden": (64, 64), "dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.1}
>>> trials = search(lambda s: abs(s["learning_rate"] - 0.003), base, draws=20, seed=0)
>>> len(trials), trials[0].score <= trials[1].score
(20, True)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import numpy as np

from chainrule.array.errors import NonFiniteError
from chainrule.array.random import Stream

__all__ = ["Trial", "draws", "search"]

#: Layers of the network, and the widths of all of them.
_DEPTHS = (1, 2, 3)
_WIDTHS = (32, 64, 128, 256)
_DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.5)
#: From a fifth of the base to five times it; decay varies more, as its effect does.
_RATE_SPAN, _DECAY_SPAN = 5.0, 10.0
_DECAYS = (1e-4, 3.0)


@dataclass(frozen=True)
class Trial:
    """One try of a search.

    Attributes:
        settings: what was tried.
        score: the loss that `search` asks for, smaller is better; infinite where it failed.
        number: its place in the order of trying, from 0, the base.
        seconds: how long it took.
        error: why it failed; None where it did not.

    >>> Trial({"dropout": 0.1}, 0.25, 0).error is None
    True
    """

    settings: dict[str, Any]
    score: float
    number: int
    seconds: float = field(default=0.0, compare=False)
    error: str | None = None


def draws(seed: int, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Settings to try, without end: `base` itself, then random ones around it.

    Drawn independently, because the few that matter differ between tables and a grid would waste
    its tries on those that do not: depth and width of ``hidden``, ``dropout``, ``learning_rate``
    (log-uniform, a fifth to five times the base) and ``weight_decay`` (log-uniform, a tenth to ten
    times). All else, such as batch size and epochs, stays the base's: what they do, the learning
    rate and stopping at the best epoch do as well.

    Arguments:
        seed: the same seed and base give the same settings, and draw k does not depend on how many
            are taken.
        base: as from `recipe`; a setting that it lacks is not varied.

    >>> first, second = islice(draws(0, {"hidden": (64,), "dropout": 0.1, "epochs": 50}), 2)
    >>> first["hidden"], sorted(second), second["epochs"]
    ((64,), ['dropout', 'epochs', 'hidden'], 50)
    """
    yield dict(base)
    stream = Stream(seed)
    for step in count():
        u = stream.uniform("train/search", 5, np.float64, step=step).tolist()
        settings = dict(base)
        if "hidden" in base:
            settings["hidden"] = (_pick(_WIDTHS, u[0]),) * _pick(_DEPTHS, u[1])
        if "dropout" in base:
            settings["dropout"] = _pick(_DROPOUTS, u[2])
        if "learning_rate" in base:
            settings["learning_rate"] = _around(base["learning_rate"], _RATE_SPAN, u[3])
        if "weight_decay" in base:
            middle = min(max(base["weight_decay"], _DECAYS[0]), _DECAYS[1])
            settings["weight_decay"] = _around(middle, _DECAY_SPAN, u[4])
        yield settings


def _pick(choices: tuple[Any, ...], u: float) -> Any:
    return choices[int(u * len(choices))]


def _around(middle: float, span: float, u: float) -> float:
    """middle · span^(2u - 1), with two digits that a person can read and type."""
    return float(f"{middle * span ** (2 * u - 1):.2g}")


def search(
    evaluate: Callable[[dict[str, Any]], float],
    base: Mapping[str, Any],
    *,
    draws: int = 20,
    seed: int = 0,
    time_limit: float | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Try the base and random settings around it; the trials, the best first.

    Arguments:
        evaluate: from settings to the loss on rows that were not trained on, smaller is better; the
            mean over validation folds, for one. NaN counts as a failure, and so does a
            `NonFiniteError`, as training raises it where the learning rate was too large: the
            trial is kept, last, with an infinite score and the reason. Other errors end the search.
        base: the first trial; see `draws`.
        draws: how many trials.
        seed: of the settings.
        time_limit: no trial begins after so many seconds; the first one always runs.
        on_trial: called after each trial, to report progress.

    Returns:
        The trials by score; of equal ones the earlier is first, so that the base wins a draw. The
        best can have failed too, where all did: look at ``trials[0].error``.

    Raises:
        ValueError: for less than one draw, or a time limit that is not positive.

    >>> base = {"dropout": 0.1, "learning_rate": 0.01}
    >>> [t.number for t in search(lambda settings: 1.0, base, draws=3)]
    [0, 1, 2]
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be a whole number of trials, 1 or more, got {draws!r}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit!r}")
    began = time.perf_counter()
    trials: list[Trial] = []
    for number, settings in enumerate(islice(_draws(seed, base), draws)):
        start = time.perf_counter()
        if number and time_limit is not None and start - began >= time_limit:
            break
        error = None
        try:
            score = float(evaluate(dict(settings)))
        except NonFiniteError as reason:
            score, error = math.inf, str(reason)
        if error is None and not math.isfinite(score):
            score, error = math.inf, f"the loss is {score}"
        trial = Trial(settings, score, number, time.perf_counter() - start, error)
        trials.append(trial)
        if on_trial is not None:
            on_trial(trial)
    return sorted(trials, key=lambda trial: (trial.score, trial.number))


_draws = draws  # `search` has an argument of this name
