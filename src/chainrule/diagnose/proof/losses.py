"""Samples of losses, each written out in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.diagnose.proof.samples import Sample, along, draws
from chainrule.ops import loss

__all__ = ["losses"]


def losses() -> Iterator[Sample]:
    """A sample of every loss with its mean, and one with its sum."""
    inputs = _inputs()
    for name, (reference, takes) in _LOSSES.items():
        arrays = tuple(inputs[k] for k in takes.split())
        f = getattr(loss, name)
        yield Sample(name, f, reference, arrays)
        rows = f(*arrays, reduction="none").shape
        count = int(np.prod(rows)) or 1
        yield Sample(name, along(f, reduction="sum"), _times(reference, count), arrays, "sum")


def _times(reference: Callable[..., Any], count: int) -> Callable[..., Any]:
    return lambda *xs: reference(*xs) * count if len(xs[0]) else 0.0


def _logsumexp(x: Array) -> Any:
    return np.log(np.exp(x).sum(axis=1))


def _sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _entropy(p: Array, t: Array) -> Any:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def _huber(d: Array) -> Any:
    return np.where(np.abs(d) <= 1, d * d / 2, np.abs(d) - 0.5)


def _picked(x: Array, labels: Array) -> Any:
    return np.take_along_axis(x, labels[:, None], axis=1)[:, 0]


def _focal(p: Array) -> Any:
    return -((1 - p) ** 2) * np.log(p)


def _cosine(a: Array, b: Array) -> Any:
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def _apart(a: Array, b: Array) -> Any:
    return np.sqrt(((a - b + 1e-6) ** 2).sum(1))


def _margins(x: Array, labels: Array) -> Any:
    lack = np.maximum(1 - _picked(x, labels)[:, None] + x, 0)
    lack[np.arange(len(x)), labels] = 0
    return lack.mean(axis=1)


def _inputs() -> dict[str, Array]:
    """What losses take; derivatives are looked at along those that are not whole numbers."""
    x = draws("scores", 6, 4)
    signs = np.where(draws("signs", 6, 4) > 0, 1, -1)
    return {
        "x": x, "x2": draws("others", 6, 4), "x3": draws("more", 6, 4),  # scores, logits, vectors
        "p": _sigmoid(x), "t": _sigmoid(draws("others", 6, 4)),  # probabilities
        "classes": np.array([0, 3, 1, 2, 2, 0]), "signs": signs, "pairs": signs[:, 0],
        "hard": (signs + 1) // 2, "counts": np.arange(24).reshape(6, 4) % 5,
    }  # fmt: skip


#: Each loss in plain NumPy, and its inputs by their names above.
_LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "binary_cross_entropy": (lambda p, t: _entropy(p, t).mean(), "p t"),
    "binary_cross_entropy_with_logits": (lambda x, t: _entropy(_sigmoid(x), t).mean(), "x t"),
    "categorical_cross_entropy": (lambda p, y: -np.log(_picked(p, y)).mean(), "p classes"),
    "cosine_embedding_loss": (
        lambda a, b, s: np.where(s > 0, 1 - _cosine(a, b), np.maximum(_cosine(a, b), 0)).mean(),
        "x x3 pairs",
    ),
    "cross_entropy": (lambda x, y: (_logsumexp(x) - _picked(x, y)).mean(), "x classes"),
    "distribution_cross_entropy": (lambda p, q: -(p * np.log(q)).sum(1).mean(), "p t"),
    "focal_loss": (
        lambda x, y: _focal(np.exp(_picked(x, y) - _logsumexp(x))).mean(),
        "x classes",
    ),
    "gamma_loss": (lambda x, t: (x + t * np.exp(-x)).mean(), "x t"),
    "gaussian_nll_loss": (
        lambda x, t, v: 0.5 * (np.log(v) + (x - t) ** 2 / v).mean(),
        "x x2 t",
    ),
    "half_squared_error": (lambda x, t: ((x - t) ** 2).mean() / 2, "x t"),
    "hinge_embedding_loss": (
        lambda x, s: np.where(s > 0, x, np.maximum(1 - x, 0)).mean(),
        "x signs",
    ),
    "hinge_loss": (lambda x, s: np.maximum(1 - s * x, 0).mean(), "x signs"),
    "huber_loss": (lambda x, t: _huber(x - t).mean(), "x t"),
    "kl_div": (lambda x, t: (t * (np.log(t) - x)).mean(), "x t"),
    "kl_divergence": (lambda p, q: (p * np.log(p / q)).sum(1).mean(), "p t"),
    "l1_loss": (lambda x, t: np.abs(x - t).mean(), "x t"),
    "log_cosh_loss": (lambda x, t: np.log(np.cosh(x - t)).mean(), "x t"),
    "margin_ranking_loss": (lambda a, b, s: np.maximum(-s * (a - b), 0).mean(), "x x2 signs"),
    "mse_loss": (lambda x, t: ((x - t) ** 2).mean(), "x t"),
    "multi_margin_loss": (lambda x, y: _margins(x, y).mean(), "x classes"),
    "multilabel_soft_margin_loss": (lambda x, t: _entropy(_sigmoid(x), t).mean(), "x t"),
    "nll_loss": (lambda x, y: -_picked(x, y).mean(), "x classes"),
    "poisson_nll_loss": (lambda x, c: (np.exp(x) - c * x).mean(), "x counts"),
    "quantile_loss": (lambda x, t: np.abs(x - t).mean() / 2, "x t"),
    "sigmoid_focal_loss": (
        lambda x, y: (
            np.where(y > 0, 0.25, 0.75) * _focal(_sigmoid(np.where(y > 0, x, -x)))
        ).mean(),
        "x hard",
    ),
    "smooth_l1_loss": (lambda x, t: _huber(x - t).mean(), "x t"),
    "soft_margin_loss": (lambda x, s: np.log1p(np.exp(-s * x)).mean(), "x signs"),
    "triplet_margin_loss": (
        lambda a, p, n: np.maximum(_apart(a, p) - _apart(a, n) + 1, 0).mean(),
        "x x2 x3",
    ),
    "tweedie_loss": (
        lambda x, c: (2 * np.exp(x / 2) + 2 * c * np.exp(-x / 2)).mean(),
        "x counts",
    ),
}
