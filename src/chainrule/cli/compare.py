"""scikit-learn's histogram gradient boosting on the same prepared rows: an honest rival."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import MissingExtraError
from chainrule.cli.tabular import Fitted

__all__ = ["PEER", "boosted", "check_installed"]

PEER = "gradient boosting"
#: scikit-learn's limit of the values of a categorical feature.
_MOST_CATEGORIES = 255
_MANY_ROWS = 20_000


def check_installed() -> None:
    """Raise, before any work, if scikit-learn is not there."""
    try:
        import sklearn.ensemble  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            '--compare needs scikit-learn; install it with pip install "chainrule[sklearn]"'
        ) from error


def boosted(fitted: Fitted, x: npt.NDArray[Any], seed: int) -> npt.NDArray[np.float64]:
    """Predictions for `x` of gradient boosting with its defaults, as `assess` takes a peer's.

    It learns from the rows that the network has learned from and from those that chose its
    weights, since it has no use for them otherwise.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    parts = [fitted.parts[k] for k in ("train", "validation") if k in fitted.parts]
    inputs = np.concatenate([p[0] for p in parts])
    targets = np.concatenate([p[1] for p in parts])
    embeddings = fitted.preprocessor.embeddings
    first = fitted.preprocessor.width - len(embeddings)
    coded = [first + k for k, (size, _) in enumerate(embeddings) if size <= _MOST_CATEGORIES]
    options: dict[str, Any] = {"random_state": seed, "categorical_features": coded or None}
    target = fitted.target
    # on few rows its threads wait for each other longer than they work
    threads = 1 if len(inputs) < _MANY_ROWS else None
    with warnings.catch_warnings(), threadpool_limits(threads, user_api="openmp"):
        warnings.simplefilter("ignore")  # of what it thinks of feature names and few rows
        if target.task in ("binary", "multiclass"):
            model = HistGradientBoostingClassifier(**options).fit(inputs, targets)
            found = np.zeros((len(x), target.outputs))
            found[:, model.classes_] = model.predict_proba(x)
            return found
        columns = []
        for k in range(target.outputs):
            y = targets[:, k]
            if target.task == "regression":
                columns.append(HistGradientBoostingRegressor(**options).fit(inputs, y).predict(x))
            elif len(np.unique(y)) < 2:
                columns.append(np.full(len(x), y[0], np.float64))
            else:
                model = HistGradientBoostingClassifier(**options).fit(inputs, y)
                columns.append(model.predict_proba(x)[:, 1])
        scores = np.stack(columns, axis=1)
        return target.decode(scores).to_numpy() if target.task == "regression" else scores
