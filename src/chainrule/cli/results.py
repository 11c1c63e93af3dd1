"""The content of a report: a table's columns, a training, how good the model is, what it uses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from chainrule.cli.report import (
    Block,
    Command,
    Fields,
    Matrix,
    Note,
    Table,
    Title,
    bar,
    clean,
    sparkline,
)
from chainrule.cli.tables import number
from chainrule.diagnose.importance import Importance

__all__ = [
    "calibration",
    "classes",
    "column_plan",
    "importance",
    "measures",
    "next_command",
    "results",
    "training_curve",
    "warnings",
    "worst_rows",
]

_COLUMNS_SHOWN, _CLASSES_SHOWN, _HARDEST, _IMPORTANT = 40, 30, 10, 12
_NAMED = 12  # classes: beyond, a table of them says less than the hardest of them
_WIDEST_NAME, _WIDEST_EXAMPLE = 28, 20
_MOST_PLACES = 4
#: Kinds that need no look before the others do.
_PLAIN_KINDS = ("numeric", "boolean")


def column_plan(columns: Sequence[Any], shown: int = _COLUMNS_SHOWN) -> list[Block]:
    """What each column is taken for and what will be done with it.

    Arguments:
        columns: objects with ``name``, ``kind``, ``missing``, ``unique``, ``example``, ``action``
            and ``note``, as `chainrule.data.preprocess.Column`.
        shown: how many rows the table may have. Of more columns those are shown that something
            special happens to, then the first ones; the rest is counted by kind.
    """
    keep = range(len(columns))
    if len(columns) > shown:
        ranks = [(not c.note, c.kind in _PLAIN_KINDS, k) for k, c in enumerate(columns)]
        keep = sorted(k for *_, k in sorted(ranks)[:shown])  # type: ignore[assignment]
    rows = []
    for k in keep:
        c = columns[k]
        rows.append(
            [
                _cut(c.name, _WIDEST_NAME),
                c.kind,
                f"{c.missing:,}" if c.missing else "·",
                f"{c.unique:,}",
                _cut(c.example, _WIDEST_EXAMPLE),
                f"{c.action}; {c.note}" if c.note else c.action,
            ]
        )
    rest = Counter(c.kind for k, c in enumerate(columns) if k not in set(keep))
    note = ""
    if rest:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in rest.most_common())
        note = f"… and {sum(rest.values()):,} more columns, treated by the same rules: {kinds}."
    head = ["column", "kind", "missing", "unique", "example", "what is done"]
    return [Table(head, rows, "lfrrlw", note=note)]


def warnings(texts: Sequence[str]) -> list[Block]:
    """What may be wrong with the data."""
    return [Note(text, warning=True) for text in texts]


def next_command(command: str) -> list[Block]:
    """The command to type next."""
    return [Command("Next", command)]


def training_curve(history: Any, name: str = "val_loss") -> list[Block]:
    """A measurement over the epochs in one line.

    Arguments:
        history: a `History`, or a dictionary of lists.
    """
    values = [v for v in history.get(name, []) if math.isfinite(v)]
    if len(values) < 2:
        return []
    best = min(range(len(values)), key=values.__getitem__)
    text = (
        f"{sparkline(values)}  {number(values[0])} to {number(values[-1])}, "
        f"best {number(values[best])} in epoch {best + 1}"
    )
    return [Fields([({"val_loss": "Val. loss", "loss": "Loss"}.get(name, name), text)])]


def results(found: dict[str, Any], title: str = "Test", detail: str = "") -> list[Block]:
    """Everything that `chainrule.cli.assessment.assess` found."""
    said = detail or f"{found['rows']:,} rows"
    return [
        Title(title, said),
        *measures(found),
        *classes(found),
        *calibration(found),
        *worst_rows(found),
    ]


def measures(found: dict[str, Any]) -> list[Block]:
    """The metrics, each with its interval, beside the baseline and the peers."""
    peers = list(dict.fromkeys(p for m in found["metrics"].values() for p in m["peers"]))
    head = ["", "model", f"{found['level'] * 100:g}% interval", "baseline", *peers]
    places_ = [decimals(m["low"], m["high"], m["value"]) for m in found["metrics"].values()]
    if found["task"] != "regression":  # all between 0 and about 1: a column reads best in one form
        places_ = [min(max(places_), _MOST_PLACES)] * len(places_)
    rows = []
    for m, places in zip(found["metrics"].values(), places_, strict=True):
        interval = "–"
        if m["low"] is not None and m["high"] is not None:
            interval = f"{fixed(m['low'], places)} to {fixed(m['high'], places)}"
        others = [fixed(m["peers"].get(name), places) for name in peers]
        rows.append(
            [
                m["text"] if m["larger_is_better"] else f"{m['text']} ↓",
                fixed(m["value"], places),
                interval,
                fixed(m["baseline"], places),
                *others,
            ]
        )
    smaller = any(not m["larger_is_better"] for m in found["metrics"].values())
    note = f"Baseline: {found['baseline']['text']}."
    if smaller:
        note += " ↓: smaller is better."
    if any(m["low"] is None for m in found["metrics"].values()):
        note += " –: undefined, or no row to draw that would change it."
    return [Table(head, rows, "l" + "r" * (len(head) - 1), note=note)]


def classes(found: dict[str, Any]) -> list[Block]:
    """Precision, recall and F1 of each class or label, the errors of each output."""
    if "outputs" in found:
        keys = [k for k in found["outputs"][0] if k != "output"]
        names = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "f1": "F1", "roc_auc": "ROC AUC"}
        rows = [
            [_cut(r["output"], _WIDEST_NAME), *(_short(r[k]) for k in keys)]
            for r in found["outputs"][:_COLUMNS_SHOWN]
        ]
        head = ["target", *(names.get(k, k) for k in keys)]
        return [Table(head, rows, "l" + "r" * len(keys))]
    if "classes" not in found:
        return []
    rows_, title = found["classes"], ""
    if len(rows_) > _CLASSES_SHOWN:
        rows_ = sorted((r for r in rows_ if r["rows"]), key=lambda r: r["f1"])[:_HARDEST]
        title = f"The {len(rows_)} hardest of {len(found['classes'])} classes"
    rows = [
        [
            _cut(r["class"], _WIDEST_NAME),
            *(_short(r[k]) for k in ("precision", "recall", "f1")),
            f"{r['rows']:,}",
        ]
        for r in rows_
    ]
    names_ = [_cut(r["class"], _WIDEST_NAME) for r in found["classes"]]
    return [
        Table(["class", "precision", "recall", "F1", "rows"], rows, "lrrrr", title=title),
        Matrix(found["confusion_matrix"], names_),
    ]


def calibration(found: dict[str, Any]) -> list[Block]:
    """Whether the probabilities mean what they say, in a sentence."""
    about = found.get("calibration")
    if about is None:
        return []
    gap = about["confidence"] - about["accuracy"]
    # a standard error of the share of right rows, and of one percent at least
    noise = max(0.01, math.sqrt(about["accuracy"] * (1 - about["accuracy"]) / found["rows"]))
    word = "about right" if abs(gap) <= 2 * noise else "too sure" if gap > 0 else "too modest"
    text = (
        f"{word}: sure to {about['confidence']:.1%} on average, and right in "
        f"{about['accuracy']:.1%}; expected calibration error {_short(about['ece'])}, "
        f"Brier score {_short(about['brier'])}"
    )
    return [Fields([("Calibrated", text)])]


def worst_rows(found: dict[str, Any], shown: int = 10) -> list[Block]:
    """The rows that the model got most wrong, so that somebody can look at them."""
    rows = found["worst"]
    classified = found["task"] != "regression"
    total = None
    if classified:
        rows = [r for r in rows if r["true"] != r["predicted"]]
        if "confusion_matrix" in found:
            matrix = found["confusion_matrix"]
            total = sum(map(sum, matrix)) - sum(matrix[k][k] for k in range(len(matrix)))
    rows = rows[:shown]
    if not rows:
        return [Note(f"none of the {found['rows']:,} rows is wrong")] if classified else []
    named = "id" in rows[0]
    head = ["row", *(["id"] if named else []), "true", "predicted"]
    align = "r" + "l" * named
    if found["task"] in ("binary", "multiclass"):
        head.append("sure")
        align += "llr"
    elif found["task"] == "multilabel":
        head.append("of the truth")
        align += "llr"
    else:
        head.append("error")
        align += "rrr"
    cells = []
    for r in rows:
        row = [str(r["row"]), *([_cut(r["id"], _WIDEST_NAME)] if named else [])]
        if found["task"] in ("binary", "multiclass"):
            row += [_cut(r["true"], _WIDEST_NAME), _cut(r["predicted"], _WIDEST_NAME)]
            row.append(percent(r["probability"]))
        elif found["task"] == "multilabel":
            row += [", ".join(r["true"]) or "none", ", ".join(r["predicted"]) or "none"]
            row.append(percent(r["probability_of_true"]))
        else:
            row += [_numbers(r[k]) for k in ("true", "predicted", "error")]
        cells.append(row)
    title = "The worst errors" if total is None else f"The {len(rows)} worst of {total:,} errors"
    if total == len(rows):
        title = "The only error" if total == 1 else f"All {total} errors, the worst first"
    return [Table(head, cells, align, title=title)]


def importance(
    found: Sequence[Any], measure: str = "score", shown: int = _IMPORTANT
) -> list[Block]:
    """What the model uses: bars of the drop when a column is shuffled.

    Arguments:
        found: of `chainrule.diagnose.permutation_importance`, the largest first; also as
            dictionaries.
        measure: the score that drops; a "… loss" or "… error" is said to rise.
        shown: how many columns.
    """
    if not found:
        return []
    found = [each if isinstance(each, Importance) else Importance(**each) for each in found]
    top = max(found[0].mean, 0.0)
    places = decimals(0.0, max(top / 20, found[0].spread), top)
    rows = [
        [
            _cut(each.column, _WIDEST_NAME),
            fixed(each.mean, places),
            f"± {fixed(each.spread, places)}",
            bar(each.mean / top if top else 0.0),
        ]
        for each in found[:shown]
    ]
    rest = len(found) - len(rows)
    note = f"… and {rest:,} columns that matter less." if rest > 0 else ""
    word = "rise" if measure.endswith(("loss", "error")) else "drop"
    title = f"What the model uses: the {word} in {measure} when a column is shuffled"
    return [Table(["column", word, "spread", ""], rows, "lrrb", title=title, note=note)]


# -- numbers --------------------------------------------------------------------------------------


def decimals(low: float | None, high: float | None, value: float | None) -> int:
    """How many decimals are worth showing: two digits of the interval's width.

    >>> decimals(0.92, 0.99, 0.97), decimals(49.1, 57.9, 53.46), decimals(None, None, 0.5)
    (3, 1, 3)
    """
    if low is not None and high is not None and high > low:
        return min(max(1 - math.floor(math.log10(high - low)), 0), 6)
    size = abs(value or 0)
    return 3 if size < 10 else 1 if size < 1000 else 0


def fixed(value: float | None, places: int) -> str:
    """A number with so many decimals, a dash for None; thousands are set apart.

    >>> fixed(0.97368, 3), fixed(12345.6, 0), fixed(None, 3), fixed(-0.0001, 3)
    ('0.974', '12,346', '–', '0.000')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e9 or 0 < value < 10.0**-places / 2:
        return f"{value:.1g}" if value < 1 else f"{value:.3g}"
    text = f"{value:,.{places}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def percent(value: float | None) -> str:
    """A probability for people; what is not certain is never shown as certain.

    >>> percent(0.973), percent(0.99999), percent(1.0), percent(0.0004)
    ('97.3%', '>99.9%', '100%', '<0.1%')
    """
    if value is None:
        return "–"
    if value in (0.0, 1.0):
        return f"{value:.0%}"
    return ">99.9%" if value > 0.9995 else "<0.1%" if value < 0.0005 else f"{value:.1%}"


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return fixed(value, decimals(None, None, value))


def _numbers(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(
        "–" if v is None else f"{v:,.4g}" if abs(v) < 1e4 else f"{v:,.0f}" for v in values
    )


def _cut(text: Any, width: int) -> str:
    from chainrule.cli.report import shorten

    return shorten(clean(text), width)
