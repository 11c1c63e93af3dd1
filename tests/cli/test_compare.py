"""The rival learns from the same rows and answers for the same rows."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chainrule.array.errors import MissingExtraError
from chainrule.cli.compare import boosted, check_installed
from chainrule.cli.tabular import Fitted
from chainrule.data.preprocess import TablePreprocessor, Target

pl = pytest.importorskip("polars")


@pytest.mark.parametrize("task", ["binary", "regression", "multilabel"])
def test_predictions_are_those_of_the_task(task: str) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=90), "town": [f"t{k % 30}" for k in range(90)]})
    sign = (frame["x"] > 0).cast(int)
    targets = {
        "binary": pl.DataFrame({"y": ["no", "yes"]})["y"].gather(sign).to_frame(),
        "regression": (frame["x"] * 100 + 7).alias("y").to_frame(),
        "multilabel": pl.DataFrame({"y": sign, "z": 1 - sign}),
    }[task]
    preprocessor, target = TablePreprocessor().fit(frame), Target().fit(targets, task)
    assert preprocessor.embeddings  # the town
    x, y = preprocessor.transform(frame), target.encode(targets)
    fitted = Fitted(
        preprocessor, target, {"train": (x[:60], y[:60]), "validation": (x[60:80], y[60:80])}
    )
    found = boosted(fitted, x[80:], 0)
    assert found.shape == (10, {"binary": 2, "regression": 1, "multilabel": 2}[task])
    if task == "binary":
        model = ensemble.HistGradientBoostingClassifier(
            random_state=0, categorical_features=[x.shape[1] - 1]
        )
        np.testing.assert_array_equal(found, model.fit(x[:80], y[:80]).predict_proba(x[80:]))
    if task == "regression":
        assert np.abs(found[:, 0] - targets["y"].to_numpy()[80:]).mean() < 60  # in its own unit


def test_without_scikit_learn_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(MissingExtraError, match=r"chainrule\[sklearn\]"):
        check_installed()
