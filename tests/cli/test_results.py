"""The words and numbers of a report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chainrule.cli import results as r
from chainrule.cli.assessment import assess
from chainrule.cli.report import Block, lines
from chainrule.diagnose import Importance

RNG = np.random.default_rng(0)


def text(blocks: list[Block], width: int = 80) -> str:
    return "\n".join(line for block in blocks for line in lines(block, width))


def column(k: int, kind: str = "numeric", note: str = "") -> Any:
    return SimpleNamespace(
        name=f"x{k}", kind=kind, missing=k % 2, unique=1000 + k, example="1.5",
        action="standardised", note=note,
    )  # fmt: skip


def binary(n: int = 60, noise: float = 1.0, **options: Any) -> dict[str, Any]:
    y = np.arange(n) % 2
    s = np.stack([np.zeros(n), 3.0 * (2 * y - 1) + 3 * noise * RNG.normal(size=n)], axis=1)
    return assess("binary", y, s, classes=["no", "yes"], resamples=50, **options)


def test_a_plan_of_few_columns() -> None:
    shown = text(r.column_plan([column(0), column(1, note="many gaps")]))
    assert shown.splitlines()[0].split()[:3] == ["column", "kind", "missing"]
    assert "1,001" in shown
    assert "standardised; many gaps" in shown


def test_a_plan_of_200_columns_shows_what_is_special() -> None:
    columns = [column(k) for k in range(200)]
    columns[150] = column(150, "categorical")
    columns[190] = column(190, note="left out")
    shown = text(r.column_plan(columns, shown=10)).splitlines()
    names = [line.split()[0] for line in shown[1:11]]
    assert names == [*(f"x{k}" for k in range(8)), "x150", "x190"]
    assert shown[-1] == "… and 190 more columns, treated by the same rules: 190 numeric."


def test_all_of_a_classification() -> None:
    found = binary(ids=[f"P{k}" for k in range(60)], peers={"boosting": np.full((60, 2), 0.5)})
    shown = text(r.results(found, "Test", "60 rows, not trained on"))
    assert shown.startswith("Test       60 rows, not trained on")
    head = next(line for line in shown.splitlines() if "interval" in line)
    assert head.split() == ["model", "95%", "interval", "baseline", "boosting"]
    accuracy = next(line for line in shown.splitlines() if line.startswith("accuracy"))
    m = found["metrics"]["accuracy"]
    assert accuracy.split()[1:] == [
        f"{m['value']:.3f}", f"{m['low']:.3f}", "to", f"{m['high']:.3f}", "0.500", "0.500",
    ]  # fmt: skip
    for words in (
        "log loss ↓",
        "Baseline: always no, 50.0%",
        "Confusion matrix",
        "Calibrated",
        "P",
    ):
        assert words in shown
    wrong = sum(sum(row) for row in found["confusion_matrix"]) - sum(
        found["confusion_matrix"][k][k] for k in (0, 1)
    )
    assert f"{wrong} errors" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_without_an_error() -> None:
    shown = text(r.results(binary(noise=0.0)))
    assert "none of the 60 rows is wrong" in shown
    assert "–: undefined, or no row to draw that would change it." in " ".join(shown.split())


def test_numbers_have_the_digits_they_deserve() -> None:
    y = RNG.normal(size=88) * 60 + 150
    found = assess("regression", y, y + 40 * RNG.normal(size=88), resamples=100)
    rows = text(r.measures(found)).splitlines()
    assert rows[1].split()[:5] == ["root", "mean", "squared", "error", "↓"]
    m = found["metrics"]["rmse"]
    assert 10 < m["high"] - m["low"] < 100
    assert rows[1].split()[5] == f"{m['value']:.0f}"
    assert "R²" in rows[3]
    assert "The worst errors" in text(r.worst_rows(found))
    two = assess("regression", np.stack([y, y], 1), np.stack([y + 1, y + 2], 1), outputs=["a", "b"])
    assert [line.split()[:2] for line in text(r.classes(two)).splitlines()[1:]] == [
        ["a", "1.000"],
        ["b", "2.000"],
    ]


def test_labels() -> None:
    y = RNG.integers(0, 2, (50, 3))
    found = assess("multilabel", y, 2 * y - 1 + RNG.normal(size=y.shape), classes=["a", "b", "c"])
    shown = text(r.results(found))
    assert "all labels right" in shown
    assert "of the truth" in shown


def test_many_classes_show_the_hardest() -> None:
    y = np.arange(100) % 50
    s = np.eye(50)[np.where(y == 7, 8, y)] * 9
    shown = text(r.results(assess("multiclass", y, s, resamples=20)))
    assert "The 10 hardest of 50 classes" in shown
    assert "Most frequent confusions (50 classes)" in shown


def test_calibration_in_words() -> None:
    y = np.zeros(1000, int)
    for right, word in ((900, "about right"), (700, "too sure"), (990, "too modest")):
        p = np.tile([0.9, 0.1], (1000, 1))
        p[right:] = [0.1, 0.9]
        found = assess("binary", y, p, from_probabilities=True, resamples=1)
        assert word in text(r.calibration(found))


def test_importance_as_bars() -> None:
    found = [Importance("a", 0.2, 0.01), Importance("b", 0.1, 0.01), Importance("c", -0.01, 0.0)]
    rows = text(r.importance(found, "accuracy", shown=2)).splitlines()
    assert rows[3].count("█") == 20
    assert rows[4].count("█") == 10
    assert rows[-1] == "… and 1 columns that matter less."
    assert text(r.importance([f._asdict() for f in found])) == text(r.importance(found))
    assert "the rise in log loss" in text(r.importance(found, "log loss"))
    assert r.importance([]) == []
    assert "█" not in text(r.importance([Importance("a", 0.0, 0.0)]))


def test_the_curve_of_a_training() -> None:
    assert text(r.training_curve({"val_loss": [3.0, 1.0, 2.0]})).endswith("best 1.0000 in epoch 2")
    assert r.training_curve({"loss": [1.0]}) == []


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [(1e12, 2, "1e+12"), (-0.5, 0, "0"), (-1.25, 1, "-1.2"), (3e-9, 6, "3e-09"), (0.0, 3, "0.000")],
)
def test_fixed(value: float, places: int, expected: str) -> None:
    assert r.fixed(value, places) == expected
