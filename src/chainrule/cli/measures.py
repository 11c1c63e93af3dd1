"""How good a model is on rows whose targets are known: numbers, and the same as text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import metrics
from chainrule.cli.pipeline import Pipeline
from chainrule.cli.tables import confusion, number, pairs, table
from chainrule.ops import cross_entropy

__all__ = ["measure", "report"]

_NAMES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "loss": "loss (cross entropy)",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}
_CLASSES_SHOWN = 30


def measure(
    pipeline: Pipeline, scores: npt.NDArray[Any], targets: npt.NDArray[Any]
) -> dict[str, Any]:
    """Measurements as JSON holds them; what is undefined is None.

    Arguments:
        scores: the model's output ``(n, outputs)``.
        targets: as `Pipeline.encode` gives them.
    """
    if pipeline.classes is None:
        assert pipeline.outputs is not None
        true, found = pipeline.outputs.undo(targets), pipeline.outputs.undo(scores)
        values = {
            "rmse": math.sqrt(metrics.mean_squared_error(true, found)),
            "mae": metrics.mean_absolute_error(true, found),
            "r2": metrics.r2_score(true, found) if len(true) > 1 else math.nan,
        }
        return {"rows": len(targets), **_plain(values)}
    found = scores.argmax(axis=1)
    labels = np.arange(len(pipeline.classes))
    each: Any = metrics.precision_recall_fscore_support(
        targets, found, labels=labels, zero_division=0
    )
    macro = metrics.precision_recall_fscore_support(
        targets, found, average="macro", zero_division=0
    )
    values = {
        "accuracy": metrics.accuracy_score(targets, found),
        "macro_precision": macro[0],
        "macro_recall": macro[1],
        "macro_f1": macro[2],
        "loss": cross_entropy(scores, targets),
    }
    names = pipeline.classes.tolist()
    return {
        "rows": len(targets),
        **_plain(values),
        "classes": [
            {
                "class": name,
                "precision": float(p),
                "recall": float(r),
                "f1": float(f),
                "rows": int(n),
            }
            for name, p, r, f, n in zip(names, *each, strict=True)
        ],
        "confusion_matrix": metrics.confusion_matrix(targets, found, labels=labels).tolist(),
    }


def _plain(values: dict[str, Any]) -> dict[str, float | None]:
    return {k: float(v) if math.isfinite(v) else None for k, v in values.items()}


def report(values: dict[str, Any], classes: bool = True) -> list[str]:
    """The measurements as lines; `classes` adds a table with a row per class."""
    lines = pairs((text, values[key]) for key, text in _NAMES.items() if key in values)
    if "classes" not in values:
        return lines
    rows = values["classes"]
    names = [str(row["class"]) for row in rows]
    if classes:
        shown = rows
        if len(rows) > _CLASSES_SHOWN:
            shown = sorted(rows, key=lambda row: row["f1"])[:10]
            lines += ["", f"The 10 hardest of {len(rows)} classes"]
        head = ["class", "precision", "recall", "F1", "rows"]
        cells = [
            [str(r["class"])[:30], *(number(r[k]) for k in ("precision", "recall", "f1", "rows"))]
            for r in shown
        ]
        lines += ["", *table(head, cells)]
    return [*lines, "", *confusion(values["confusion_matrix"], names)]
