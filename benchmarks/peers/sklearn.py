"""scikit-learn: one `partial_fit` call a batch, `predict_proba` or `predict` for a row, `fit`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from cases import EPOCHS, RATE, Case, Job, fitting, predicting, training
from harness import Unavailable


def build(case: Case, mode: str) -> Job:
    if case.norm:
        raise Unavailable("scikit-learn's nets have no such layers")
    if case.kind == "fit":
        return fitting(fit)
    kind = MLPClassifier if case.classes else MLPRegressor
    net: Any = kind(
        hidden_layer_sizes=case.sizes[1:-1],
        batch_size=case.batch,
        learning_rate_init=RATE,
        alpha=0.0,
    )
    row = case.row()
    x = row.repeat(case.batch, axis=0)  # its weights exist only after a first fit
    y = np.zeros(len(x), np.int64)
    if case.classes:
        net.partial_fit(x, y, classes=np.arange(case.sizes[-1]))
    else:
        net.partial_fit(x, y)
    for (W, b), V, c in zip(case.layers(), net.coefs_, net.intercepts_, strict=True):
        V[...], c[...] = W.T, b
    del net._optimizer  # the state of that first fit

    if case.kind == "row":
        return predicting(net.predict_proba if case.classes else net.predict, row)

    def step(x: Any, y: Any) -> float:
        net.partial_fit(x, y)
        return float(net.loss_)

    return training(step, case.batches())


def fit(x: Any, y: Any) -> Any:
    net = MLPClassifier(
        (100,),
        batch_size=32,
        learning_rate_init=RATE,
        alpha=0.0,
        max_iter=EPOCHS,
        n_iter_no_change=EPOCHS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are what is wanted
        net.fit(x, y)
    return net.predict
