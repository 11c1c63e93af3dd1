"""History: a mapping of measurements that reads well."""

from __future__ import annotations

import pytest

from chainrule.train.history import History, lower_is_better


def test_mapping_best_and_text():
    h = History([{"loss": 3.0 - k, "val_accuracy": 0.1 * k} for k in range(3)], seed=4)
    assert list(h) == ["loss", "val_accuracy"]
    assert h["loss"] == [3.0, 2.0, 1.0]
    assert h.history == {"loss": h["loss"], "val_accuracy": h["val_accuracy"]}
    assert h.best("loss") == (2, 1.0)
    assert h.best("val_accuracy")[0] == 2
    assert h.best("val_accuracy", mode="min")[0] == 0
    assert "seed 4" in repr(h)
    assert repr(h).count("\n") == 4
    with pytest.raises(KeyError, match="val_accuracy"):
        h["val_acc"]
    assert repr(History()) == "History(no epochs)"
    assert "more" in repr(History([{"loss": 1.0}] * 40))


@pytest.mark.parametrize(
    ("name", "low"),
    [
        ("loss", True),
        ("val_mse", True),
        ("accuracy", False),
        ("val_f1", False),
        ("max_error", True),
        ("val_ece", True),
        ("fpr", True),
        ("val_false_negative_rate", True),
        ("specificity", False),
        ("val_mcc", False),
    ],
)
def test_direction(name: str, low: bool) -> None:
    assert lower_is_better(name) is low
    with pytest.raises(ValueError, match="mode"):
        lower_is_better(name, "best")
