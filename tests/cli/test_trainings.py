"""Several trainings: the settings of each, folds, seeds, a search, a time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import ops
from chainrule.cli.arguments import UsageError, parser
from chainrule.cli.outcome import judge
from chainrule.cli.tabular import Fitted, Problem, read_problem
from chainrule.cli.trainings import (
    Clock,
    Trained,
    cross_validate,
    decision,
    members_of,
    search,
    settings,
    several,
    train,
    train_members,
    train_once,
)
from chainrule.train.bagging import member_seed

pl = pytest.importorskip("polars")

WORDS = ("--epochs", "3", "--hidden", "6", "--batch-size", "16", "--seed", "2")


def case(folder: Path, *words: str, share: float = 0.5) -> tuple[Any, Problem, Fitted]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = np.where(x[:, 0] + 0.3 * x[:, 1] > np.quantile(x[:, 0], 1 - share), "b", "a")
    pl.DataFrame({"p": x[:, 0], "q": x[:, 1], "y": y, "v": x[:, 0] * 3}).write_csv(folder / "t.csv")
    a = parser().parse_args(["train", str(folder / "t.csv"), *WORDS, *words])
    a.target = a.target or ["y"]
    problem = read_problem(a)
    return a, problem, problem.fit(problem.split({"validation": 0.2, "test": 0.2}, 0))


def weights(trained: Trained) -> list[Any]:
    return [p._data for p in trained.pipeline.model.parameters()]


def options_of(a: Any, fitted: Fitted) -> dict[str, Any]:
    return {**settings(a, fitted), "seed": a.seed}


def test_what_is_asked_goes_before_what_suits(tmp_path: Path) -> None:
    a, _, fitted = case(tmp_path)
    found = settings(a, fitted)
    assert (found["epochs"], found["hidden"], found["optimizer"]) == (3, [6], "adamw")
    assert found["class_weight"] == "auto"
    a, _, fitted = case(tmp_path, "--optimizer", "sgd", "--clip-norm", "0")
    assert settings(a, fitted)["learning_rate"] == 0.001  # its own, not that of AdamW
    assert settings(a, fitted)["clip_norm"] is None
    a, _, fitted = case(tmp_path, "--target", "v", "--label-smoothing", "0.1")
    with pytest.raises(UsageError, match="--label-smoothing"):
        settings(a, fitted)


def test_the_same_settings_give_the_same_bits(tmp_path: Path) -> None:
    a, _, fitted = case(tmp_path)
    options = options_of(a, fitted)
    one, two = (train_once(fitted, options) for _ in range(2))
    assert all(np.array_equal(p, q) for p, q in zip(weights(one), weights(two), strict=True))
    other = train_once(fitted, {**options, "seed": 3})
    assert not np.array_equal(weights(one)[0], weights(other)[0])


def test_rare_classes_are_decided_for_by_weight(tmp_path: Path) -> None:
    a, problem, fitted = case(tmp_path, share=0.02)
    options = options_of(a, fitted)
    found, why = decision(fitted, options)
    assert found is not None
    assert found[1] > 5 * found[0]
    assert "times as many rows as the rarest" in why
    assert decision(fitted, {**options, "class_weight": "none"}) == (None, "")
    trained = train_once(fitted, options)
    frame = problem.frame
    scores = trained.pipeline.table_scores(frame)
    said = trained.pipeline.decide_table(scores)["y"].to_list()
    p = trained.pipeline.target.probabilities(scores).to_numpy()  # type: ignore[union-attr]
    assert said == ["ab"[k] for k in (p * found).argmax(axis=1)]
    report = judge(trained.pipeline, frame, scores)
    hit = np.mean(np.array(said) == frame["y"].to_numpy())
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(hit)
    assert report["metrics"]["accuracy"]["baseline"] > 0.9  # the larger class, unweighted
    for row in report["worst"]:
        k = row["row"] - 1
        assert row["predicted"] == said[k]
        assert row["probability"] == pytest.approx(p[k, "ab".index(said[k])])
    balanced = train_once(fitted, {**options, "class_weight": "balanced"})
    assert balanced.pipeline.about["decision"] is None
    assert not np.array_equal(weights(balanced)[0], weights(trained)[0])


def test_the_best_seed_is_first_by_validation(tmp_path: Path) -> None:
    a, _, fitted = case(tmp_path)
    seen: list[int] = []
    found = several(fitted, options_of(a, fitted), 3, Clock(None), lambda k, t: seen.append(k))
    assert seen == [1, 2, 3]
    assert [t.loss for t in found] == sorted(t.loss for t in found)
    assert sorted(t.options["seed"] for t in found) == [2, 3, 4]
    again = train_once(fitted, found[0].options)  # the seed alone brings it back
    assert all(np.array_equal(p, q) for p, q in zip(weights(again), weights(found[0]), strict=True))


def test_every_fold_is_measured_by_a_model_that_had_not_seen_it(tmp_path: Path) -> None:
    a, problem, fitted = case(tmp_path)
    tested: list[Any] = []

    def measure(k: int, trained: Trained, rows: Any) -> None:
        tested.append((k, rows))

    cross_validate(problem, options_of(a, fitted), 3, 0.2, 0, Clock(None), measure)
    assert [k for k, _ in tested] == [1, 2, 3]
    assert sorted(np.concatenate([rows for _, rows in tested])) == list(range(120))


def test_a_search_keeps_to_its_rows_and_starts_from_the_settings(tmp_path: Path) -> None:
    a, problem, fitted = case(tmp_path)
    options = options_of(a, fitted)
    rows = problem.split({"validation": 0.2, "test": 0.2}, 0)["train"]
    trials = search(problem, rows, options, 2, 0, Clock(None), lambda t: None)
    assert sorted(t.number for t in trials) == [0, 1]
    assert trials[0].score <= trials[1].score
    (base,) = (t for t in trials if t.number == 0)
    assert base.settings["hidden"] == [6]
    assert "seed" not in base.settings


def test_a_time_limit_is_shared(tmp_path: Path) -> None:
    assert Clock(None).share(3) is None
    share = Clock(8.0).share(4)
    assert share is not None
    assert 1.5 < share <= 2.0
    a, _, fitted = case(tmp_path)
    options = {**options_of(a, fitted), "epochs": 100_000, "patience": 0}
    found = several(fitted, options, 50, Clock(0.3), lambda k, t: None)
    assert found
    assert {t.history.stopped for t in found} == {"time limit"}


def test_the_figures_of_an_ensemble_are_out_of_fold(tmp_path: Path) -> None:
    a, problem, _ = case(tmp_path)
    parts = problem.split({"validation": 0.2, "test": 0.2}, 0)
    assert members_of(a, problem, parts) == 5
    fitted = problem.fit_members(parts, 3, 0)
    options = options_of(a, fitted)
    assert (options["members"], fitted.folds is not None) == (3, True)
    seen: list[tuple[int, int]] = []
    trained = train_members(fitted, options, lambda k, rows: seen.append((k, rows)) or ())
    assert fitted.folds is not None
    assert seen == [(k, len(learn)) for k, (learn, _) in enumerate(fitted.folds)]
    x, y = fitted.parts["train"]
    right, losses = 0, 0.0
    for member, (_, stop) in zip(trained.pipeline.model, fitted.folds, strict=True):
        scores = member(x[stop]).detach().numpy()
        right += int((scores.argmax(axis=1) == y[stop]).sum())
        losses += float(ops.cross_entropy(scores, y[stop], reduction="sum"))
    assert trained.validation["accuracy"] == pytest.approx(right / len(y))
    assert trained.loss == pytest.approx(losses / len(y), rel=1e-5)
    again = train(fitted, options)
    assert all(np.array_equal(p, q) for p, q in zip(weights(again), weights(trained), strict=True))
    # each network is what one training on its fold gives
    k, (learn, stop) = 1, fitted.folds[1]
    alone = Fitted(fitted.preprocessor, fitted.target, {
        "train": (x[learn], y[learn]), "validation": (x[stop], y[stop]),
    })  # fmt: skip
    one = train_once(alone, {**options, "seed": member_seed(options["seed"], k)})
    mine = [p._data for p in trained.pipeline.model[k].parameters()]
    assert all(np.array_equal(p, q) for p, q in zip(weights(one), mine, strict=True))
    for words in (("--seeds", "2"), ("--checkpoint", "c")):
        assert members_of(case(tmp_path, *words)[0], problem, parts) == 1
    with pytest.raises(UsageError, match="use --members"):
        members_of(case(tmp_path, "--members", "99")[0], problem, parts)


def test_ctrl_c_ends_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, problem, fitted = case(tmp_path)
    original = train_once

    def interrupted(*args: Any, **more: Any) -> Trained:
        trained = original(*args, **more)
        trained.history.stopped = "interrupted"
        return trained

    monkeypatch.setattr("chainrule.cli.trainings.train_once", interrupted)
    options = options_of(a, fitted)
    with pytest.raises(KeyboardInterrupt):
        search(problem, np.arange(100), options, 2, 0, Clock(None), lambda t: None)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(problem, options, 3, 0.2, 0, Clock(None), lambda *_: None)
    assert len(several(fitted, options, 5, Clock(None), lambda k, t: None)) == 1
