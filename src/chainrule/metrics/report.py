"""Precision, recall and F1 of every class and their averages, as a text to read or as a dict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule.metrics._input import as_label_list, read_targets
from chainrule.metrics.classification import precision_recall_fscore_support

__all__ = ["classification_report"]

_COLUMNS = ("precision", "recall", "f1-score", "support")


def classification_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    target_names: Sequence[Any] | None = None,
    sample_weight: ArrayLike | None = None,
    digits: int = 2,
    output_dict: bool = False,
    zero_division: str | float = "warn",
) -> Any:
    """A table of precision, recall, F1 and support: a row for each label, then the averages.

    Arguments
    ---------
    labels : the labels to report, in this order; by default all that occur, sorted.
    target_names : what to call them.
    digits : decimals of the text.
    output_dict : a dict of dicts of exact numbers instead of a text.
    zero_division : as in :func:`precision_score`.

    The micro average is called accuracy where it is that: with one label per sample and no label
    left out.

    >>> print(classification_report(["cat", "dog", "dog"], ["cat", "dog", "cat"]))
                  precision    recall  f1-score   support
    <BLANKLINE>
             cat       0.50      1.00      0.67         1
             dog       1.00      0.50      0.67         2
    <BLANKLINE>
        accuracy                           0.67         3
       macro avg       0.75      0.75      0.67         3
    weighted avg       0.83      0.67      0.67         3
    <BLANKLINE>
    """
    t = read_targets(y_true, y_pred, sample_weight)
    shown = t.labels if labels is None else as_label_list("labels", labels)
    names = _names(shown, target_names, labels is not None)

    def scores(average: str | None) -> Any:
        return precision_recall_fscore_support(
            y_true,
            y_pred,
            labels=shown,
            average=average,
            sample_weight=sample_weight,
            zero_division=zero_division,
        )

    *each, support = scores(None)
    total = np.sum(support)
    all_labels = not t.multilabel and bool(np.isin(t.labels, shown).all())
    averages = ["micro", "macro", "weighted"] + ["samples"] * t.multilabel
    summary = {}
    for average in averages:
        title = "accuracy" if average == "micro" and all_labels else f"{average} avg"
        summary[title] = (*scores(average)[:3], total)
    rows = dict(zip(names, zip(*each, support, strict=True), strict=False))
    if output_dict:
        found: dict[str, Any] = {
            name: dict(zip(_COLUMNS, map(float, row), strict=True))
            for name, row in [*rows.items(), *summary.items()]
        }
        if "accuracy" in summary:
            found["accuracy"] = float(summary["accuracy"][0])
        return found
    return _text(rows, summary, digits)


def _text(rows: dict[str, Any], summary: dict[str, Any], digits: int) -> str:
    width = max(*map(len, rows), len("weighted avg"), digits)
    lines = [" ".join([" " * (width + 1), *(f"{c:>9}" for c in _COLUMNS)]), ""]

    def line(name: str, values: Any, only_f1: bool = False) -> str:
        cells = [f"{v:>9.{digits}f}" for v in values[:3]]
        if only_f1:
            cells[:2] = [" " * 9] * 2
        return " ".join([f"{name:>{width}} ", *cells, f"{values[3]:>9}"])

    lines += [line(name, row) for name, row in rows.items()]
    lines += ["", *(line(name, row, name == "accuracy") for name, row in summary.items()), ""]
    return "\n".join(lines)


def _names(shown: Any, target_names: Sequence[Any] | None, given: bool) -> list[str]:
    if target_names is None:
        return [str(label) for label in shown]
    if len(target_names) != len(shown):
        text = f"{len(shown)} labels {shown.tolist()} and {len(target_names)} target_names"
        if not given:
            raise ValueError(f"{text}: labels=[…] says which of them to report")
        warnings.warn(f"{text}: only as many as both have are shown", UserWarning, stacklevel=3)
    return [str(name) for name in target_names]
