"""Dropout layers: they follow the mode, draw apart, and are captured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

KINDS = [
    (nn.Dropout, (6, 5)),
    (nn.Dropout1d, (6, 5, 4)),
    (nn.Dropout2d, (6, 5, 4, 2)),
    (nn.Dropout3d, (6, 5, 4, 2, 1)),
    (nn.AlphaDropout, (6, 5)),
    (nn.FeatureAlphaDropout, (6, 5, 4)),
]


def test_dropout_follows_the_mode() -> None:
    layer = nn.Dropout(0.25)
    x = np.ones((100, 100), np.float32)
    y = layer(x)
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # four standard errors of a share of 10,000
    assert abs((y == 0).mean() - 0.25) < 4 * (0.25 * 0.75 / 10_000) ** 0.5
    assert layer.eval()(x) is x


def test_dropout_gradient_uses_the_same_mask() -> None:
    x = cr.tensor(np.ones((20, 20), np.float32), requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())


def test_dropouts_of_a_model_draw_apart() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Dropout(0.5))
    x = np.ones((1, 1000), np.float32)
    masks: list[Any] = []
    for layer in (model[0], model[2]):
        layer.register_forward_hook(lambda m, args, out: masks.append((args[0] != 0, out != 0)))
    model(x)
    alive = masks[0][1]
    assert 0.3 < masks[1][1][alive].mean() < 0.7


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_dropout_takes_a_probability(p: float) -> None:
    with pytest.raises(ValueError, match="Dropout: p is the probability of a zero"):
        nn.Dropout(p)


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_every_kind_follows_the_mode_and_is_built(kind: Any, shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    cr.seed(0)
    layer = kind(0.5)
    assert layer.p == 0.5
    y = layer(x)
    assert y.dtype == np.float32
    assert len(np.unique(y)) == 2
    assert layer.eval()(x) is x
    again = nn.build(layer.architecture())
    assert type(again) is kind
    assert repr(again) == f"{kind.__name__}(p=0.5)"
    with pytest.raises(ValueError, match=f"{kind.__name__}: p is the probability of a zero"):
        kind(1.5)


def test_a_wrong_shape_names_the_layer() -> None:
    model = nn.Sequential(nn.Dense(3, 2), nn.Dropout2d())
    with pytest.raises(
        cr.ShapeError, match=r"model.1 Dropout2d\(p=0.5\): expected x: \(N, C, H, W\)"
    ):
        model.eval()(np.ones((4, 3)))


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_a_trainer_captures_it(kind: Any, shape: tuple[int, ...], executor: Any) -> None:
    """Three epochs with and without capture give the same weights."""
    n = int(np.prod(shape[1:]))
    x = np.random.default_rng(0).standard_normal((6, n)).astype(np.float32)

    class Shaped(nn.Module):
        def __init__(self) -> None:
            self.first, self.drop, self.last = nn.Dense(n, n), kind(0.3), nn.Dense(n, 3)

        def forward(self, x: Any) -> Any:
            y = self.drop(self.first(x).reshape(shape))
            return self.last(y.reshape(6, n))

    def weights(captured: bool) -> Any:
        cr.seed(2)
        model = Shaped()
        optimizer = cr.optim.Adam(model.parameters())

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

        run = cr.capture(step) if captured else step
        for _ in range(5):
            run(x)
        assert not captured or run.reason is None
        return model.first.weight.detach().numpy()

    np.testing.assert_array_equal(weights(True), weights(False))
