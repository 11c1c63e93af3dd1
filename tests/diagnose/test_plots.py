"""Pictures: what they say, that nothing is cut off, and that nothing outside them changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.array.errors import DataError, MissingExtraError
from chainrule.diagnose import Importance, plots
from chainrule.train.history import History

matplotlib = pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
LONG = "a very long class name $that$ goes on_and on"


def title(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def all_inside(figure: Any) -> bool:
    """Whether all that is drawn lies on the paper."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    return min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01


def test_losses() -> None:
    history = {"loss": [1.0, 0.5, 0.2, 0.1], "val_loss": [1.0, 0.6, 0.55, 0.7]}
    figure = plots.losses(history)
    assert title(figure) == "Validation loss is best in epoch 3: 0.550"
    assert title(plots.losses(history, best_epoch=1)).endswith("epoch 2: 0.600")
    assert title(plots.losses({"loss": [2.0]})) == "Training loss 2.00 after 1 epoch"
    assert all_inside(figure)
    with pytest.raises(DataError, match="no finite loss"):
        plots.losses({"loss": [np.nan]})


def test_losses_of_several_networks() -> None:
    one = History([{"loss": 1.0 / k, "val_loss": 2.0 / k} for k in (1, 2, 3)])
    two = History([{"loss": 1.0 / k, "val_loss": 1.5 / k} for k in (1, 2, 4, 3)])
    one.best_epoch = 1
    figure = plots.losses([one, two])
    text = "2 networks, each kept at its best validation loss: 0.375 to 1.00"
    assert title(figure) == text
    (axes,) = figure.axes
    assert len(axes.lines) == 5  # two each, and the dots
    assert [list(v) for v in axes.lines[-1].get_data()] == [[2, 3], [1.0, 0.375]]
    assert all_inside(figure)
    names = plots.figures("regression", [0.0, 1.0], [0.5, 0.5], history=[one, two])
    assert "losses" in names
    bare = [History([{"loss": 1.0}]), History([{"loss": 2.0}, {"loss": 1.0}])]
    assert title(plots.losses(bare)) == "Training loss 1.00 after 2 epochs"


@pytest.mark.parametrize("k", [2, 3, 21])
def test_confusion(k: int) -> None:
    matrix = np.diag(np.arange(1, k + 1) * 100)
    names = [LONG, "猫", *map(str, range(k))][:k]
    assert title(plots.confusion(matrix, names)).endswith("rows are right")
    matrix[0, 1] = 7
    figure = plots.confusion(matrix, names)
    assert all_inside(figure)
    assert title(figure).endswith("(7)")
    numbers = [t.get_text() for t in figure.axes[0].texts]
    assert numbers == ([str(v) for v in matrix[matrix > 0]] if k <= 20 else [])


def test_confusion_needs_a_name_for_each_class() -> None:
    with pytest.raises(DataError, match="square matrix and 2 names"):
        plots.confusion(np.eye(2), ["a"])


def test_calibration() -> None:
    sure = np.repeat([0.6, 0.9], 50)
    right = np.arange(100) % 10 < np.repeat([6, 9], 50)
    figure = plots.calibration(right, sure)
    assert "about as sure as right: 75.0% sure on average, 75.0% right" in title(figure)
    assert "error 0.000" in title(figure)
    assert "too sure" in title(plots.calibration(right, sure + 0.09))
    assert "too modest" in title(plots.calibration(right, sure - 0.09))
    assert all_inside(figure)


def test_ranking() -> None:
    y = np.arange(100) % 2
    figure = plots.ranking(y, y + RNG.normal(size=100), LONG)
    assert all_inside(figure)
    assert (
        title(plots.ranking(y, y, "yes"))
        == "“yes” is ranked above the rest in 100.0% of all pairs of rows"
    )
    with pytest.raises(DataError, match="two classes"):
        plots.ranking(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("n", [1, 88, 5000])
def test_residuals(n: int) -> None:
    y = RNG.normal(size=n) * 50
    figure = plots.residuals(y, y + RNG.standard_t(1, size=n), LONG)
    assert title(figure).startswith("Half of the predictions of a very long")
    assert all_inside(figure)
    with pytest.raises(DataError, match="finite"):
        plots.residuals([1.0], [np.nan])


def test_importance() -> None:
    found = [Importance(f"column {k}", 1 / (k + 1), 0.01) for k in range(25)]
    figure = plots.importance(found, "R²")
    assert title(figure) == "“column 0” matters most (5 more columns are not shown)"
    assert all_inside(figure)
    plain = [{"column": LONG, "mean": -0.5, "spread": 0.1}]
    assert all_inside(plots.importance(plain))
    with pytest.raises(DataError, match="no column"):
        plots.importance([])


def test_the_figures_of_a_task() -> None:
    y = np.arange(60) % 2
    p = np.stack([1 - 0.8 * y - 0.1, 0.8 * y + 0.1], axis=1)
    history = {"loss": [1.0, 0.5]}
    found = plots.figures("binary", y, p, history=history, importances=[("a", 1.0, 0.1)])
    assert list(found) == ["losses", "confusion", "calibration", "ranking", "importance"]
    assert list(plots.figures("binary", y * 0, p)) == ["confusion", "calibration"]
    assert list(plots.figures("multilabel", p > 0.5, p)) == ["calibration"]
    assert list(plots.figures("regression", p, p, outputs=["a", "b"])) == [
        "residuals-1",
        "residuals-2",
    ]


def test_files(tmp_path: Path) -> None:
    def write(path: str, data: bytes) -> None:
        Path(path).write_bytes(data)

    paths = plots.save({"losses": plots.losses({"loss": [2.0, 1.0]})}, str(tmp_path), write)
    data = (tmp_path / "losses.png").read_bytes()
    assert paths == [f"{tmp_path}/losses.png"]
    assert data.startswith(b"\x89PNG")
    assert data == plots.png(plots.losses({"loss": [2.0, 1.0]}))


def test_nothing_else_changes() -> None:
    code = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 33\n"
        "before = dict(matplotlib.rcParams.copy())\n"
        "from chainrule.diagnose import plots\n"
        "plots.png(plots.losses({'loss': [2.0, 1.0]}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams.copy()) == before\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"chainrule\[plot\]"):
        plots.losses({"loss": [1.0]})
