"""The default for a table: what it depends on, the network it makes, when classes are balanced."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError
from chainrule.data import split
from chainrule.train.recipe import TASKS, class_balance, members, recipe, table_network


@pytest.mark.parametrize("task", TASKS)
def test_settings_follow_the_size(task):
    sizes = [1, 40, 800, 5_000, 30_000, 150_000, 10**6, 10**8]
    found = [recipe(n, 20, 3, task) for n in sizes]
    assert len({tuple(r) for r in found}) == 1  # the same names for all
    for less, more in itertools.pairwise(found):
        assert less["batch_size"] <= more["batch_size"]
        assert less["epochs"] >= more["epochs"]
        assert less["learning_rate"] <= more["learning_rate"]
        assert less["members"] >= more["members"]
    for rows, r in zip(sizes, found, strict=True):
        shrunk = r["learning_rate"] / 2 * r["weight_decay"] * r["epochs"] * rows / r["batch_size"]
        assert shrunk < 2.1 or r["weight_decay"] == 0.01  # a weight's shrinking over the training
        assert 0.01 <= r["weight_decay"] <= 1
        assert 0 < r["patience"] < r["epochs"]
        assert r["members"] == members(rows) == (5 if rows < 20_000 else 1)
        cr.optim.get(r["optimizer"], None, lr=r["learning_rate"], weight_decay=r["weight_decay"])
        cr.optim.lr_scheduler.check(r["schedule"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 2, 2, "clasification"), "no task 'clasification'; known: 'binary'"),
        ((10, 2, 1, "regresion"), "did you mean 'regression'"),
        ((0, 2, 1, "regression"), "rows must be 1 or more, got 0"),
        ((10, 0, 1, "regression"), "features must be 1 or more, got 0"),
        ((10, 2, 0, "regression"), "outputs must be 1 or more, got 0"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        recipe(*arguments)


def test_the_recipe_learns_digits():
    x, y = cr.data.load_digits()
    x = x.reshape(len(x), -1).astype(np.float32) / 16
    train, valid = split(y, (0.7, 0.3))
    r = recipe(len(train), 64, 10, "multiclass")
    cr.seed(0)
    model = table_network(64, [], 10, r["hidden"], r["activation"], r["dropout"])
    optimizer = cr.optim.get(
        r["optimizer"], None, lr=r["learning_rate"], weight_decay=r["weight_decay"]
    )
    trainer = cr.Trainer(model, optimizer=optimizer, schedule=r["schedule"])
    trainer.fit((x[train], y[train]), epochs=12, batch_size=r["batch_size"])
    assert trainer.evaluate((x[valid], y[valid]))["accuracy"] > 0.95


# -- the network ----------------------------------------------------------------------------------


def test_network():
    cr.seed(0)
    model = table_network(5, [], 3, (16, 8), "tanh", 0.5)
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    assert list(shapes.values()) == [(16, 5), (16,), (8, 16), (8,), (3, 8), (3,)]
    assert sum(isinstance(m, cr.nn.Dropout) for m in model.modules()) == 2
    cr.seed(0)
    again = table_network(5, [], 3, (16, 8), "tanh", 0.5)
    for name, value in again.state_dict().items():
        assert np.array_equal(value, model.state_dict()[name])


def test_linear_network_and_no_dropout():
    model = table_network(5, [], 2, ())
    assert sum(p.size for p in model.parameters()) == 12
    assert not any(isinstance(m, cr.nn.Dropout) for m in table_network(5, [], 2, (4,)).modules())


def test_network_with_embeddings(tmp_path):
    trainer = cr.Trainer(table_network(5, [(4, 3), (9, 2)], 2, (16,), "silu", 0.1))
    x = np.zeros((6, 5), np.float32)
    x[:, 3], x[:, 4] = [0, 1, 2, 3, 0, 0], [8, 0, 0, 0, 0, 8]
    out = trainer.predict(x)
    assert out.shape == (6, 2)
    assert np.array_equal(out[0], out[5])
    assert not np.array_equal(out[0], out[4])
    cr.save(trainer.model, tmp_path / "model.safetensors")
    again = cr.Trainer(cr.load(tmp_path / "model.safetensors"))
    assert np.array_equal(again.predict(x), out)


# -- classes of very different sizes --------------------------------------------------------------


def test_balance_makes_each_class_count_the_same():
    y = np.repeat([0, 1, 2], [600, 300, 30])
    weights, why = class_balance(y)
    assert np.allclose(weights * [600, 300, 30], 310)
    assert "20 times" in why


@pytest.mark.parametrize(("counts", "balanced"), [((99, 10), False), ((100, 10), True)])
def test_balance_begins_at_ten_to_one(counts, balanced):
    weights, why = class_balance(np.repeat([0, 1], counts))
    assert (weights is not None) == balanced
    assert ("less than 10" in why) != balanced


def test_a_class_without_rows_gives_no_infinite_weight():
    weights, _ = class_balance(np.repeat([0, 2], [50, 5]))
    assert np.isfinite(weights).all()
    assert weights[1] > weights[2]


def test_weighted_decisions_raise_balanced_accuracy():
    rng = np.random.default_rng(0)
    logit = 1.5 * rng.normal(size=20_000) - 5
    p = 1 / (1 + np.exp(-logit))
    y = (rng.random(len(p)) < p).astype(int)
    weights, _ = class_balance(y)
    scores = np.stack([np.zeros_like(logit), logit], axis=1)
    plain, fair = scores.argmax(axis=1), (scores + np.log(weights)).argmax(axis=1)
    score = cr.metrics.balanced_accuracy_score
    assert score(y, fair) > score(y, plain) + 0.15


def test_balance_refuses_what_is_no_class_number():
    with pytest.raises(DataError, match="class labels are integers"):
        class_balance([0.5, 1.0])
