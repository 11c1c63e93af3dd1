"""What several trainings gave, in tables."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule.cli.report import lines
from chainrule.cli.train_report import folds_table, search_table, seeds_table, spread


def result(value: float | None) -> dict[str, Any]:
    measure = {"text": "accuracy", "larger_is_better": True, "value": value}
    return {"metrics": {"accuracy": measure}}


def test_the_spread_is_that_of_what_is_known() -> None:
    found = spread([result(0.5), result(None), result(0.7)])["accuracy"]
    assert found["mean"] == pytest.approx(0.6)
    assert found["deviation"] == pytest.approx(0.2 / 2**0.5)
    assert found["values"] == [0.5, None, 0.7]
    nothing = spread([result(None)])["accuracy"]
    assert (nothing["mean"], nothing["deviation"]) == (None, None)
    (block,) = folds_table({"a": found, "b": nothing}, "3 folds")
    assert "accuracy  0.60" in "\n".join(lines(block))
    assert "–" in "\n".join(lines(block))


def test_the_kept_seed_and_the_untuned_settings_are_marked() -> None:
    (block,) = seeds_table([{"seed": 4, "loss": 0.1, "test": 0.9}, {"seed": 3, "loss": 0.2}], "R²")
    first, second = lines(block)[-2:]
    assert first.endswith("kept")
    assert not second.endswith("kept")
    settings = {"hidden": [8, 8], "dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.3}
    trials = [
        {"number": 3, "loss": 0.25, "settings": settings, "error": None},
        {"number": 0, "loss": None, "settings": {**settings, "hidden": []}, "error": "nan"},
    ]
    (block,) = search_table(trials)
    text = "\n".join(lines(block))
    assert "8×8" in text
    assert "none" in text
    assert text.count("untuned") == 1
