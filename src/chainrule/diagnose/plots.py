"""Pictures of a training and of what came of it, with matplotlib (the extra ``plot``).

Every function returns a `matplotlib.figure.Figure`. Neither pyplot nor the backend in use is
touched, so that it is the same in a notebook, in a thread and without a display. Titles say what
is to be seen; the colours are told apart by those who do not see red and green (Okabe and Ito
2008): blue for what is right or trained on, vermilion for what is wrong or validated.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import metrics
from chainrule.array.errors import DataError, MissingExtraError
from chainrule.metrics.calibration import calibration_bins

__all__ = [
    "calibration",
    "confusion",
    "figures",
    "importance",
    "losses",
    "png",
    "ranking",
    "residuals",
    "save",
]

Array = npt.NDArray[Any]

_BLUE, _VERMILION, _INK, _FAINT = "#0072B2", "#D55E00", "#222222", "#B0B0B0"
_DPI = 150
#: Fonts that have what DejaVu Sans, matplotlib's own, has not; used where they are installed.
_FALLBACKS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Hiragino Sans", "PingFang SC", "Yu Gothic",
    "Microsoft YaHei", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "FreeSans",
    "Arial Unicode MS",
)  # fmt: skip
_NUMBERED, _NAMED = 20, 50  # classes whose cells have numbers, whose rows have names
_LONGEST = 20
_CURVE = 1000
_DOTS = 3000


def losses(
    history: Mapping[str, Sequence[float]] | Sequence[Mapping[str, Sequence[float]]],
    best_epoch: int | None = None,
) -> Any:
    """Loss of training and validation by epoch, the best epoch marked.

    Arguments:
        history: what `Trainer.fit` returns, or any mapping with ``loss`` and perhaps ``val_loss``;
            of several networks a list of these, each drawn as a thin line.
        best_epoch: the epoch (from 0) whose weights were kept; None takes that of the history, or
            the smallest ``val_loss`` if there is one.

    Raises:
        DataError: there is no epoch with a finite loss.
        MissingExtraError: matplotlib is not installed.
    """
    runs: Any = [history] if isinstance(history, Mapping) else list(history)
    found = [
        {k: np.asarray(h[k], np.float64) for k in ("loss", "val_loss") if k in h} for h in runs
    ]
    finite = [v[np.isfinite(v)] for run in found for v in run.values()]
    if not finite or not max(map(len, finite)):
        raise DataError("no finite loss to draw; expected a history with 'loss'")
    several = len(found) > 1
    line = {"linewidth": 0.9, "alpha": 0.6} if several else {}
    styles = {"loss": (_BLUE, "training"), "val_loss": (_VERMILION, "validation")}
    with _figure(6.6, 4.0) as figure:
        axes = figure.subplots()
        best: list[tuple[int, float]] = []
        for run, own in zip(found, runs, strict=True):
            for name, values in run.items():
                epochs = np.arange(1, len(values) + 1)
                marker = "o" if len(values) == 1 else None
                axes.plot(epochs, values, color=styles[name][0], marker=marker, **line)
            if "val_loss" in run:
                values = run["val_loss"]
                kept = getattr(own, "best_epoch", None) if best_epoch is None else best_epoch
                if kept is None or not kept < len(values):
                    kept = int(np.nanargmin(np.where(np.isfinite(values), values, np.inf)))
                best.append((kept + 1, float(values[kept])))
        drawn = np.concatenate(finite)
        low, high = float(drawn.min()), float(drawn.max())
        if low > 0 and high > 20 * low:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        longest = max(found, key=lambda run: len(run.get("loss", ())))
        ends = [
            (float(v[np.isfinite(v)][-1]), len(v), styles[name][1], styles[name][0])
            for name, v in longest.items()
            if np.isfinite(v).any()
        ]
        title = f"Training loss {_number(ends[0][0])} after {_epochs(ends[0][1])}"
        if best:
            at = [value for _, value in best]
            title = f"Validation loss is best in epoch {best[0][0]}: {_number(at[0])}"
            if several:
                title = f"{len(runs)} networks, each kept at its best validation loss: "
                title += f"{_number(min(at))} to {_number(max(at))}"
            else:
                axes.axvline(best[0][0], color=_FAINT, linewidth=1, zorder=0)
            size = 4 if several else 6
            axes.plot(*zip(*best, strict=True), "o", color=_VERMILION, markersize=size)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(left=1 - min(0.5, 0.02 * max(epoch for _, epoch, *_ in ends)))
        _title(figure, title)
        _label_ends(axes, ends)
    return figure


def confusion(matrix: Any, names: Sequence[Any]) -> Any:
    """The confusion matrix: rows are the true classes, shades the share of a row.

    Arguments:
        matrix: ``(K, K)`` counts, true classes down, predicted across. Up to 20 classes have their
            counts written into the cells, up to 50 have their names; more are shades only.
        names: of the K classes.
    """
    counts = np.asarray(matrix, np.float64)
    k = len(counts)
    if counts.shape != (k, k) or len(names) != k or k < 1:
        raise DataError(f"expected a square matrix and {k} names, got {counts.shape}, {len(names)}")
    of_row = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, of_row, out=np.zeros_like(counts), where=of_row > 0)
    cell = 0.62 if k <= 6 else 0.46 if k <= 12 else 0.36 if k <= _NUMBERED else 0.2
    labels = [_label(n, i, _LONGEST) for i, n in enumerate(names)] if k <= _NAMED else []
    longest = max(map(len, labels), default=0)
    margin = 0.085 * longest + 1.0
    side = max(cell * k, 2.0)
    upright = 0.085 * longest > side / k
    size = (max(side + margin, 4.6), side + (margin if upright else 1.0) + 0.5)
    with _figure(*size) as figure:
        axes = figure.subplots()
        # the right cells in one colour, the wrong ones in the other, nothing where there is nothing
        axes.imshow(_shades(share, np.eye(k, dtype=bool)), interpolation="nearest")
        axes.set_xticks(range(k) if labels else [], labels, rotation=90 if upright else 0)
        axes.set_yticks(range(k) if labels else [], labels)
        small = 9 if k <= 12 else 7 if k <= _NUMBERED else 6
        for text in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
            text.set_parse_math(False)
            text.set_fontsize(small)
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(-0.5, k), minor=True)
        axes.set_yticks(np.arange(-0.5, k), minor=True)
        axes.grid(which="minor", color="#E6E6E6", linewidth=0.6 if k <= _NUMBERED else 0.3)
        axes.tick_params(which="minor", length=0)
        if k <= _NUMBERED:
            for i, j in zip(*np.nonzero(counts), strict=True):
                dark = share[i, j] > 0.55
                axes.text(
                    j, i, _count(counts[i, j]), ha="center", va="center",
                    color="white" if dark else _INK,
                    fontsize=10 if k <= 6 else small - 1 if k > 12 else 8,
                )  # fmt: skip
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        right, total = counts.trace(), counts.sum()
        title = f"{right:,.0f} of {total:,.0f} rows are right"
        wrong = counts * ~np.eye(k, dtype=bool)
        if wrong.any():
            i, j = divmod(int(wrong.argmax()), k)
            title += f"; most often {_label(names[i], i, 24)} is taken for "
            title += f"{_label(names[j], j, 24)} ({wrong[i, j]:,.0f})"
        _title(figure, title)
    return figure


def calibration(correct: Any, confidence: Any, *, n_bins: int = 10) -> Any:
    """How often the model is right when it is so and so sure, and how sure it is how often.

    Arguments:
        correct: ``(n,)`` whether each row is right, or whether its label is positive.
        confidence: ``(n,)`` the probability given to that.
        n_bins: the bins of [0, 1]; each dot has Wilson's 95% interval of its rows.
    """
    right, sure = np.asarray(correct, bool), np.asarray(confidence, np.float64)
    share, mean, rows = calibration_bins(right, sure, n_bins=n_bins)
    with _figure(5.2, 5.4) as figure:
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        low = 0.5 if sure.min() >= 0.5 else 0.0
        top.plot([low, 1], [low, 1], color=_FAINT, linewidth=1, zorder=0)
        spread = np.array(
            [
                metrics.proportion_interval(round(s * n), int(n))[1:]
                for s, n in zip(share, rows, strict=True)
            ]
        )
        top.vlines(mean, spread[:, 0], spread[:, 1], color=_BLUE, linewidth=1.2, alpha=0.55)
        top.plot(mean, share, "o-", color=_BLUE, markersize=5)
        top.text(
            0.99, 0.03, "on the line: as sure as right", transform=top.transAxes, ha="right",
            color="#707070", fontsize=8,
        )  # fmt: skip
        top.set_ylabel("share that is right")
        edges = np.linspace(low, 1, 21)
        below.hist(sure, bins=edges, color=_BLUE, rwidth=0.9)
        below.set_ylabel("rows")
        below.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        below.set_xlabel("predicted probability")
        top.set_xlim(low - 0.02 * (1 - low), 1 + 0.02 * (1 - low))
        bottom = min(low, float(spread.min()))
        top.set_ylim(bottom - 0.03 * (1 - bottom), 1.03)
        for axis in (top.yaxis, below.xaxis):
            axis.set_major_formatter(lambda v, _: f"{v:.0%}")
        error = float(rows @ np.abs(share - mean) / rows.sum())
        gap = float(sure.mean() - right.mean())
        word = (
            "too sure" if gap > 0.02 else "too modest" if gap < -0.02 else "about as sure as right"
        )
        _title(
            figure,
            f"The model is {word}: {sure.mean():.1%} sure on average, {right.mean():.1%} right "
            f"(calibration error {error:.3f})",
        )
    return figure


def ranking(y_true: Any, score: Any, positive: Any = "the positive class") -> Any:
    """ROC and precision-recall curves of two classes, beside what chance would give.

    Arguments:
        y_true: ``(n,)`` class numbers 0 and 1.
        score: ``(n,)`` the probability or logit of class 1.
        positive: what class 1 is called.
    """
    y, s = np.asarray(y_true), np.asarray(score, np.float64)
    if len(np.unique(y)) != 2:
        raise DataError(f"ROC and precision-recall curves need rows of two classes, got {len(y)}")
    greater = np.unique(y)[-1]
    fpr, tpr, _ = metrics.roc_curve(y, s, pos_label=greater)
    precision, recall, _ = metrics.precision_recall_curve(y, s, pos_label=greater)
    base = float(np.mean(y == greater))
    area = metrics.roc_auc_score(y, s)
    mean = metrics.average_precision_score(y, s, pos_label=greater)
    with _figure(8.4, 4.4) as figure:
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
        left.text(0.62, 0.55, "chance", color="#707070", fontsize=8)
        keep = _thinned(len(fpr))
        left.plot(fpr[keep], tpr[keep], color=_BLUE)
        left.set_xlabel("false positive rate")
        left.set_ylabel("true positive rate (recall)")
        left.set_title(f"ROC AUC {area:.3f}", loc="left", fontsize=10)
        right.axhline(base, color=_FAINT, linewidth=1)
        right.text(
            0.02, base + 0.015, f"chance: {base:.1%} of the rows", color="#707070", fontsize=8
        )
        keep = _thinned(len(recall))
        right.plot(recall[keep], precision[keep], color=_BLUE, drawstyle="steps-post")
        right.set_xlabel("recall")
        right.set_ylabel("precision")
        right.set_title(f"average precision {mean:.3f}", loc="left", fontsize=10)
        for axes in (left, right):
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.04)
        name = _label(positive, 1, 30)
        _title(figure, f"“{name}” is ranked above the rest in {area:.1%} of all pairs of rows")
    return figure


def residuals(y_true: Any, y_pred: Any, name: Any = "target") -> Any:
    """Predicted against true values, and how the errors are spread.

    Arguments:
        y_true, y_pred: ``(n,)`` numbers in their own unit. Of more than 3000 rows the density is
            drawn in place of dots.
        name: of the target, with its unit if it has one.
    """
    y, found = np.asarray(y_true, np.float64).ravel(), np.asarray(y_pred, np.float64).ravel()
    if len(y) != len(found) or not len(y) or not np.isfinite(found - y).all():
        raise DataError(
            f"expected as many finite predictions as targets, got {len(found)}, {len(y)}"
        )
    error = found - y
    what = _label(name, 0, 30)
    with _figure(8.4, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        both = np.concatenate([y, found])
        many = len(y) > _DOTS
        low, high = np.quantile(both, [0.0005, 0.9995] if many else [0, 1])
        pad = 0.04 * (high - low) or 1.0
        ends = (float(low - pad), float(high + pad))
        left.plot(ends, ends, color=_FAINT, linewidth=1, zorder=3 if many else 0)
        if many:
            left.hexbin(
                y, found, gridsize=40, extent=(*ends, *ends), mincnt=1, cmap="Blues",
                norm="log", linewidths=0.1,
            )  # fmt: skip
            outside = int(((both < ends[0]) | (both > ends[1])).reshape(2, -1).any(axis=0).sum())
            if outside:
                _aside(left, f"{outside:,} rows lie outside")
        else:
            size = 16 if len(y) < 300 else 8
            left.scatter(y, found, s=size, color=_BLUE, alpha=0.5, linewidths=0)
        left.set_xlim(ends)
        left.set_ylim(ends)
        left.set_xlabel(f"true {what}", parse_math=False)
        left.set_ylabel(f"predicted {what}", parse_math=False)
        # of many rows a few wild errors must not make the rest a single bar
        reach = float(np.quantile(np.abs(error), 0.995 if len(y) >= 400 else 1.0)) or 1.0
        inside = np.clip(error, -reach, reach)
        right.hist(
            inside, bins=min(41, max(9, 2 * round(len(y) ** 0.4) + 1)), color=_BLUE, rwidth=0.92
        )
        right.axvline(0, color=_INK, linewidth=0.8)
        bias = float(error.mean())
        at = min(max(bias, -reach), reach)
        right.axvline(at, color=_VERMILION, linewidth=1.2)
        right.annotate(
            f"mean {_number(bias)}", (at, 1), xycoords=("data", "axes fraction"),
            xytext=(4 if at <= 0 else -4, -1), textcoords="offset points",
            ha="left" if at <= 0 else "right", va="bottom", color=_VERMILION, fontsize=8,
        )  # fmt: skip
        if beyond := int((np.abs(error) > reach).sum()):
            _aside(right, f"{beyond:,} larger errors\nare in the last bars")
        right.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        right.set_xlabel("error (predicted − true)")
        right.set_ylabel("rows")
        half = float(np.quantile(np.abs(error), 0.5))
        r2 = metrics.r2_score(y, found) if len(y) > 1 else math.nan
        title = f"Half of the predictions of {what} are within ± {_number(half)}"
        _title(figure, title + (f" (R² {r2:.3f})" if math.isfinite(r2) else ""))
    return figure


def importance(found: Sequence[Any], measure: str = "score", shown: int = 20) -> Any:
    """Bars of the drop in score when a column is shuffled, with the spread over shufflings.

    Arguments:
        found: of `permutation_importance`: (column, mean, spread), the largest first.
        measure: the score that drops; a "… loss" or "… error" is said to rise.
        shown: how many columns have a bar.
    """
    if not len(found):
        raise DataError("no column to draw; expected at least one importance")
    rows = [tuple(f.values()) if isinstance(f, Mapping) else tuple(f) for f in found][:shown]
    names = [_label(name, k, 32) for k, (name, *_) in enumerate(rows)]
    with _figure(6.6, 1.3 + 0.27 * len(rows)) as figure:
        axes = figure.subplots()
        at = np.arange(len(rows))
        means, spreads = (np.array([row[k] for row in rows], np.float64) for k in (1, 2))
        axes.barh(at, means, height=0.62, color=_BLUE)
        axes.errorbar(means, at, xerr=spreads, fmt="none", ecolor=_INK, elinewidth=1)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.set_yticks(at, names)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        word = "rise" if measure.endswith(("loss", "error")) else "drop"
        axes.set_xlabel(f"{word} in {measure} when the column is shuffled")
        rest = len(found) - len(rows)
        title = f"“{_label(rows[0][0], 0, 40)}” matters most"
        _title(figure, title + (f" ({rest:,} more columns are not shown)" if rest else ""))
    return figure


def figures(
    task: str,
    y: Any,
    p: Any,
    *,
    classes: Sequence[Any] | None = None,
    outputs: Sequence[str] | None = None,
    history: Mapping[str, Sequence[float]] | Sequence[Mapping[str, Any]] | None = None,
    importances: Sequence[Any] = (),
    measure: str = "score",
) -> dict[str, Any]:
    """All figures that fit a task, by name: ``losses``, ``confusion``, ``calibration``, …

    Arguments:
        task: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        y, p: class numbers ``(n,)`` and probabilities ``(n, K)``; 0 and 1 ``(n, K)`` and
            probabilities; or numbers ``(n,)`` or ``(n, K)`` in their own unit.
        classes: names of the classes, or of the labels; `outputs`: of the targets.
        history: of the training, or of that of each network; importances, measure: for
            `importance`.
    """
    y, p = np.asarray(y), np.asarray(p, np.float64)
    found: dict[str, Any] = {}
    first = history if history is None or isinstance(history, Mapping) else history[0]
    if history is not None and first is not None and "loss" in first:
        found["losses"] = losses(history)
    if task in ("binary", "multiclass"):
        names = list(range(p.shape[1])) if classes is None else list(classes)
        said = p.argmax(axis=1)
        matrix = metrics.confusion_matrix(y, said, labels=np.arange(len(names)))
        found["confusion"] = confusion(matrix, names)
        found["calibration"] = calibration(said == y, p.max(axis=1))
        if task == "binary" and len(np.unique(y)) == 2:
            found["ranking"] = ranking(y, p[:, 1], names[1])
    elif task == "multilabel":
        found["calibration"] = calibration(y.ravel() > 0.5, p.ravel())
    else:
        y, p = y.reshape(len(y), -1), p.reshape(len(p), -1)
        names = [f"target {k}" for k in range(y.shape[1])] if outputs is None else list(outputs)
        for k, name in enumerate(names):
            key = "residuals" if len(names) == 1 else f"residuals-{k + 1}"
            found[key] = residuals(y[:, k], p[:, k], name)
    if len(importances):
        found["importance"] = importance(importances, measure)
    return found


def png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    held = io.BytesIO()
    with _style():
        figure.savefig(held, format="png", dpi=_DPI, metadata={"Software": "chainrule"})
    return held.getvalue()


def save(figures: Mapping[str, Any], folder: str, write: Callable[[str, bytes], None]) -> list[str]:
    """Draw every figure, then write each to ``folder/NAME.png``; the paths.

    Arguments:
        figures: name -> figure.
        folder: must exist.
        write: called with a path and the bytes of the file, such as one that writes atomically.
    """
    drawn = {f"{folder.rstrip('/')}/{name}.png": png(figure) for name, figure in figures.items()}
    for path, data in drawn.items():
        write(path, data)
    return list(drawn)


# -- paper and type -------------------------------------------------------------------------------


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib's own settings and few of ours, whatever the program around has set."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError(
            'pictures are drawn by matplotlib; install it with pip install "chainrule[plot]", or '
            "pip install matplotlib"
        ) from None
    kept = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context():
        matplotlib.rcParams.update(kept)
        matplotlib.rcParams.update(
            {
                "font.family": _families(),
                "font.size": 9,
                "axes.edgecolor": "#808080",
                "axes.labelcolor": _INK,
                "axes.linewidth": 0.8,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "axes.unicode_minus": True,
                "lines.linewidth": 1.8,
                "text.color": _INK,
                "xtick.color": "#606060",
                "ytick.color": "#606060",
                "xtick.labelcolor": _INK,
                "ytick.labelcolor": _INK,
            }
        )
        yield


@contextmanager
def _figure(width: float, height: float) -> Iterator[Any]:
    with _style():
        from matplotlib.figure import Figure

        yield Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _families() -> list[str]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


def _drawable(text: str) -> str:
    """The text with a box for each sign that no font here has."""
    from matplotlib import font_manager

    if text.isascii() and text.isprintable():
        return text
    fonts = [
        font_manager.get_font(font_manager.findfont(family, fallback_to_default=False))
        for family in _families()
    ]
    return "".join(
        c if c.isprintable() and any(f.get_char_index(ord(c)) for f in fonts) else
        " " if c.isspace() else "□"
        for c in text
    )  # fmt: skip


def _label(name: Any, number: int, width: int) -> str:
    """A name for a picture: short, and with its number where its signs cannot be drawn."""
    text = _drawable(" ".join(str(name).split()) or "(empty)")
    if "□" in text:
        text = f"{number}: {text}"
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _title(figure: Any, text: str) -> None:
    per_inch = 11  # characters of this size
    lines = textwrap.wrap(text, max(int(figure.get_figwidth() * per_inch), 20))
    figure.suptitle("\n".join(lines), x=0.015, ha="left", fontsize=11, parse_math=False)


def _aside(axes: Any, text: str) -> None:
    axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", color="#707070", fontsize=8)


def _label_ends(axes: Any, ends: list[tuple[float, int, str, str]]) -> None:
    """Names at the ends of curves, in their colours; close ones move apart."""
    import matplotlib

    axes.figure.draw_without_rendering()  # the limits and the layout are known only then
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((epoch, value))[1]) for value, epoch, *_ in ends]
    if len(ends) == 2 and abs(heights[0] - heights[1]) < 0.06:
        middle = sum(heights) / 2
        sign = 1 if heights[0] >= heights[1] else -1
        heights = [middle + sign * 0.03, middle - sign * 0.03]
    blend = matplotlib.transforms.blended_transform_factory
    for height, (_, epoch, text, color) in zip(heights, ends, strict=True):
        axes.annotate(
            text, (epoch, height), xycoords=blend(axes.transData, axes.transAxes),
            xytext=(6, 0), textcoords="offset points", va="center", color=color,
        )  # fmt: skip


def _shades(share: Array, right: Array) -> Array:
    """(K, K, 3) from white to blue for the right cells, to vermilion for the wrong ones."""
    strength = np.where(share > 0, 0.10 + 0.90 * share, 0.0)[..., None]
    colors = [
        np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for c in (_BLUE, _VERMILION)
    ]
    ink = np.where(right[..., None], colors[0], colors[1])
    return np.asarray(1 - strength * (1 - ink))


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1000:,.0f}k"


def _number(value: float) -> str:
    text = f"{value:#.3g}".rstrip(".") if abs(value) < 1e3 else f"{value:,.0f}"
    return (text if abs(value) < 1e9 else f"{value:.3g}").replace("-", "−")


def _epochs(n: int) -> str:
    return "1 epoch" if n == 1 else f"{n:,} epochs"


def _thinned(n: int) -> Array:
    """So many points of a curve as can be seen."""
    return np.unique(np.linspace(0, n - 1, min(n, _CURVE)).astype(np.intp))
