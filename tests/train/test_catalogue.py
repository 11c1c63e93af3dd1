"""What the package is shipped with: enough that the usual steps build nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import native
from chainrule.train import catalogue
from chainrule.train.recipe import recipe, table_network
from tests_steps import forget_plans


@pytest.fixture(scope="module")
def texts() -> Iterator[dict[str, str]]:
    forget_plans()  # of earlier tests: what has a plan asks for no kernel
    yield catalogue.sources()
    forget_plans()


def test_every_text_defines_its_own_name(texts: dict[str, str]) -> None:
    assert len(texts) > 300
    for name, text in texts.items():
        assert re.search(rf"^CR_EXPORT void {name}\(", text, re.MULTILINE)


def test_it_is_the_same_each_time(texts: dict[str, str]) -> None:
    forget_plans()
    assert catalogue.sources() == texts


def test_no_size_stands_in_a_text(texts: dict[str, str]) -> None:
    # a number of rows in a text would make it useless for every other batch size
    for name, text in texts.items():
        own = "hardsigmoid" in name or "hardswish" in name  # (x + 3) / 6
        assert own or " / 6.0" not in text, name


@pytest.mark.parametrize("activation", [cr.nn.ReLU, cr.nn.GELU, cr.nn.Tanh])
@pytest.mark.parametrize("batch", [32, 7])
def test_usual_training_needs_nothing_else(
    activation: type[cr.nn.Module], batch: int, texts: dict[str, str]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 9)).astype(np.float32), np.arange(70) % 4
    forget_plans()
    with native.collecting() as wanted:
        model = cr.nn.Sequential(
            cr.nn.Dense(9, 12), activation(), cr.nn.Dropout(0.1), cr.nn.Dense(12, 4)
        )
        trainer = cr.Trainer(model, optimizer="adamw", seed=0)
        trainer.fit((x, y), epochs=2, batch_size=batch)
        trainer.predict(x)
    assert wanted.keys() <= texts.keys()


@pytest.mark.parametrize("codes", [[], [(3, 2)]])
def test_five_networks_of_a_table_need_nothing_else(
    codes: list[tuple[int, int]], texts: dict[str, str]
) -> None:
    x = np.random.default_rng(0).normal(size=(70, 9)).astype(np.float32)
    x[:, -1] = np.arange(70) % 3
    forget_plans()
    with native.collecting() as wanted:
        r = recipe(70, 9, 4, "multiclass")
        members = [
            table_network(9, codes, 4, r["hidden"], r["activation"], r["dropout"])
            for _ in range(r["members"])
        ]
        model = cr.nn.Ensemble(members).eval()
        with cr.no_grad():
            for rows in (x, x[:1], x[:7]):
                model(rows)
    assert wanted.keys() <= texts.keys()


def test_collecting_leaves_native_code_as_it_was() -> None:
    before = native.available()
    with native.collecting() as found:
        assert native.available()
    assert native.available() is before
    assert found == {}
