"""Random networks with random losses, optimizers and batches: captured equals eager, bit for bit.

CHAINRULE_LONG=1 tries two hundred of them as native code and as NumPy, instead of forty as NumPy.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.compile import build
from tests_layout import Machine
from tests_steps import assert_equal_to_eager, forget_plans

nn, ops, optim = cr.nn, cr.ops, cr.optim
LONG = bool(os.environ.get("CHAINRULE_LONG"))
NATIVE = build.runtime() is not None and build.find_compiler() is not None

ACTIVATIONS = [
    nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SELU, nn.Softplus, nn.LeakyReLU,
]  # fmt: skip
OPTIMIZERS: list[Any] = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
    lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
]
LOSSES: list[Any] = [
    ("labels", lambda out, y: ops.cross_entropy(out, y)),
    ("labels", lambda out, y: ops.cross_entropy(out, y, label_smoothing=0.1, reduction="sum")),
    ("values", lambda out, y: ops.mse_loss(out, y)),
    ("values", lambda out, y: ops.huber_loss(out, y, delta=0.5)),
    ("values", lambda out, y: ops.l1_loss(out, y, reduction="sum")),
    ("shares", lambda out, y: ops.binary_cross_entropy_with_logits(out, y)),
]


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    widths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return {
        "widths": [draw(st.integers(1, 7)), *widths],
        "activations": draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=4, max_size=4)),
        "drop": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "bias": draw(st.lists(st.booleans(), min_size=4, max_size=4)),
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "loss": draw(st.sampled_from(LOSSES)),
        "rows": draw(st.lists(st.integers(1, 12), min_size=4, max_size=7)),
        "double": draw(st.booleans()),
        "clip": draw(st.sampled_from([None, None, 0.1])),
        "decay": draw(st.booleans()),
        "zero": draw(st.sampled_from(["before", "after", "never"])),
        "penalty": draw(st.sampled_from([False, False, True])),
        "frozen": draw(st.sampled_from([None, None, 0, 1])),
    }


def made(recipe: dict[str, Any]) -> Any:
    """(owners, step, batches) of a recipe; two batch sizes at most, so that programs are used."""
    dtype = np.float64 if recipe["double"] else np.float32
    layers: list[Any] = []
    widths = recipe["widths"]
    for k, (i, o) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Dense(i, o, bias=recipe["bias"][k]), recipe["activations"][k]()]
        if recipe["drop"]:
            layers.append(nn.Dropout(recipe["drop"]))
    model = nn.Sequential(*layers)
    if recipe["double"]:
        model.double()
    optimizer = recipe["optimizer"](model.parameters())
    parameters = list(model.parameters())
    if recipe["frozen"] is not None and recipe["frozen"] < len(parameters) - 1:
        parameters[recipe["frozen"]].requires_grad = False
    kind, loss = recipe["loss"]
    clip = recipe["clip"]

    def step(x, y):
        if recipe["zero"] == "before":
            optimizer.zero_grad()
        points = cr.tensor(x, requires_grad=recipe["penalty"])
        out = model(points)
        value = loss(out, y)
        if recipe["penalty"]:  # the second order
            (slope,) = cr.autograd.grad(out.sum(), [points], create_graph=True)
            value = value + 0.1 * (slope * slope).sum(axis=-1).mean()
        if recipe["decay"]:
            value = value + 1e-3 * sum((p * p).sum() for p in model.parameters())
        value.backward()
        if clip is not None:
            optim.clip_grad_norm(model.parameters(), clip)
        optimizer.step()
        if recipe["zero"] == "after":
            optimizer.zero_grad()
        return value, out

    r = np.random.default_rng(0)
    sizes = [recipe["rows"][0], *(n if n % 2 else recipe["rows"][0] for n in recipe["rows"][1:3])]
    batches = []
    for n in [*sizes, *sizes, *sizes]:
        x = r.normal(size=(n, widths[0])).astype(dtype)
        if kind == "labels":
            y: Any = r.integers(0, widths[-1], n)
        elif kind == "values":
            y = r.normal(size=(n, widths[-1])).astype(dtype)
        else:
            y = r.uniform(size=(n, widths[-1])).astype(dtype)
        batches.append((x, y))
    return [model, optimizer], step, batches


def check(recipe: dict[str, Any], mode: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_NATIVE", mode)
        forget_plans()
        step = assert_equal_to_eager(lambda: made(recipe))
        for program in step.programs():
            assert (program.replay.layout is not None) is (mode != "0"), program.replay.reason
            if program.replay.layout is not None:
                Machine(program.replay.layout).run()


@settings(max_examples=200 if LONG else 40)
@given(recipes())
def test_random_networks(recipe: Any) -> None:
    check(recipe, "0")
    if LONG and NATIVE:
        check(recipe, "always")
