"""How good a model of tables is on rows with known targets, and which columns it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.cli.assessment import assess, plain, probabilities
from chainrule.cli.pipeline import Pipeline
from chainrule.diagnose import permutation_importance
from chainrule.diagnose.baseline import best_constant
from chainrule.diagnose.importance import Importance
from chainrule.metrics.probability import log_losses
from chainrule.ops import sigmoid, softmax

if TYPE_CHECKING:
    from chainrule.data.preprocess import Target

__all__ = ["baseline_of", "importance", "judge", "pictures"]

Array = npt.NDArray[Any]


def baseline_of(target: Target, y: Array) -> list[float]:
    """What does best on encoded training targets without a look at the inputs."""
    constant = best_constant(target.task, y, target.outputs)
    if target.task == "regression":
        constant = target.decode(constant[None]).to_numpy()[0]
    return [float(v) for v in constant]


def _truth(pipeline: Pipeline, frame: Any) -> tuple[str, Array]:
    """The task, and the targets: class numbers, 0 and 1, or values in their own unit."""
    target = pipeline.target
    assert target is not None
    if target.task == "regression":
        return target.task, frame.select(target.names).to_numpy().astype(np.float64)
    return target.task, target.encode(frame)


def judge(
    pipeline: Pipeline,
    frame: Any,
    scores: Array,
    *,
    rows: Sequence[int] | None = None,
    peers: Mapping[str, Array] | None = None,
    intervals: bool = True,
) -> dict[str, Any]:
    """The measurements of `assess` for rows of a table, from the scores the model gives them.

    Arguments:
        rows: the number of each row in its file, for the list of the worst.
        peers: predictions of other models, as `assess` takes them.
        intervals: whether they are of interest; without, there are few resamples.
    """
    target = pipeline.target
    assert target is not None
    task, y = _truth(pipeline, frame)
    if task == "regression":
        scores = target.decode(scores).to_numpy()
    data = pipeline.about.get("data", {})
    ids = None
    if data.get("ids") and data["ids"][0] in frame.columns:
        ids = frame[data["ids"][0]].to_list()
    names = target.names if task == "multilabel" else target.classes
    options: dict[str, Any] = {
        "classes": names,
        "outputs": target.names,
        "baseline": pipeline.about.get("baseline"),
        "rows": rows,
        "ids": ids,
        "resamples": 1000 if intervals else 1,
    }
    weights = pipeline.about.get("decision")
    with np.errstate(all="ignore"):  # what overflows is undefined, and shown so
        found = assess(task, y, scores, peers=peers, **options)
        if weights is None:
            return found
        return _decided(found, y, scores, weights, peers or {}, options)


def _decided(
    found: dict[str, Any],
    y: Array,
    scores: Array,
    weights: Sequence[float],
    peers: Mapping[str, Array],
    options: dict[str, Any],
) -> dict[str, Any]:
    """The measurements of decisions by weighted probabilities, beside those of probabilities.

    Rivals decide by the same weights, so that it is not the rule that makes the difference.
    """

    def weighted(p: Array) -> Array:
        q: Array = p * np.asarray(weights)
        q /= q.sum(axis=1, keepdims=True)
        return q

    p = softmax(scores.astype(np.float64), axis=1)
    task = found["task"]
    others = {name: weighted(q) for name, q in peers.items()}
    decided = assess(task, y, weighted(p), from_probabilities=True, peers=others, **options)
    for key in ("accuracy", "balanced_accuracy", "f1", "macro_f1"):
        if key in found["metrics"]:
            baseline = found["metrics"][key]["baseline"]
            found["metrics"][key] = {**decided["metrics"][key], "baseline": baseline}
    place = {row: k for k, row in enumerate(options["rows"] or range(1, len(y) + 1))}
    at = {str(name): k for k, name in enumerate(options["classes"])}
    for row in decided["worst"]:
        mine = p[place[row["row"]]]
        row["probability"] = float(mine[at[row["predicted"]]])
        row["probability_of_true"] = float(mine[at[row["true"]]])
    return {**found, **{key: decided[key] for key in ("classes", "confusion_matrix", "worst")}}


def pictures(
    pipeline: Pipeline, frame: Any, scores: Array, history: Any, importances: Sequence[Any]
) -> dict[str, Any]:
    """The figures of a training and of what came of it, by name; needs matplotlib."""
    from chainrule.diagnose import plots

    target = pipeline.target
    assert target is not None
    task, y = _truth(pipeline, frame)
    p = target.decode(scores).to_numpy() if task == "regression" else probabilities(task, scores)
    return plots.figures(
        task,
        y,
        p,
        classes=target.names if task == "multilabel" else target.classes,
        outputs=target.names,
        history=history,
        importances=[Importance(**i) for i in importances],
        measure="log loss" if task != "regression" else "squared error",
    )


def importance(pipeline: Pipeline, x: Array, y: Array) -> list[dict[str, Any]]:
    """How much the loss grows when a column is shuffled, the most used columns first.

    Arguments:
        x, y: the prepared inputs and the encoded targets of rows not trained on.
    """
    preprocessor, target = pipeline.preprocessor, pipeline.target
    assert preprocessor is not None
    assert target is not None
    columns: dict[str, list[int]] = {}
    for k, source in enumerate(preprocessor.sources):
        columns.setdefault(source, []).append(k)

    def score(inputs: Array, rows: Array) -> float:
        return -_loss(target.task, y[rows], np.concatenate(list(pipeline.scores(inputs, 4096))))

    found = permutation_importance(score, x, columns)
    return [plain({"column": f.column, "mean": f.mean, "spread": f.spread}) for f in found]


def _loss(task: str, y: Array, scores: Array) -> float:
    """The mean loss: log loss of classes and labels, squared error in units of the variance."""
    scores = scores.astype(np.float64)
    if task in ("binary", "multiclass"):
        p = softmax(scores, axis=1)
        return float(log_losses(y, p, labels=np.arange(p.shape[1])).mean())
    if task == "multilabel":
        p = np.clip(np.where(y > 0.5, sigmoid(scores), sigmoid(-scores)), 1e-15, 1)
        return float(-np.log(p).mean())
    return float(((y - scores) ** 2).mean())
