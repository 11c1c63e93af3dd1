"""Identity, Flatten, Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_identity() -> None:
    x = np.ones(3)
    assert nn.Identity()(x) is x


@pytest.mark.parametrize("axes", [(), (0,), (2,), (1, 2), (0, 1), (-2,), (1, -2), (3, 3)])
@pytest.mark.parametrize("n", [2, 0])
def test_flatten_as_in_torch(axes: tuple[int, ...], n: int) -> None:
    torch = pytest.importorskip("torch")
    x = np.arange(n * 60, dtype=np.float32).reshape(n, 3, 4, 5)
    wanted = torch.nn.Flatten(*axes)(torch.tensor(x)).numpy()
    got = nn.Flatten(*axes)(x)
    assert got.shape == wanted.shape
    assert np.array_equal(got, wanted)


def test_flatten_has_a_gradient() -> None:
    assert cr.check_gradients(nn.Flatten(), np.ones((2, 3, 2)))


def test_flatten_names_itself() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dense(3, 2))
    with pytest.raises(cr.ShapeError, match=r"model.0 Flatten\(\): .*got \(3,\); a single sample"):
        model(np.ones(3))
    with pytest.raises(
        cr.ShapeError, match=r"Flatten\(start_axis=3, end_axis=1\): expected x with"
    ):
        nn.Flatten(3, 1)(np.ones((2, 2, 2, 2)))


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


def test_repr() -> None:
    assert [repr(m) for m in (nn.Identity(), nn.Flatten(), nn.Flatten(2), nn.Dropout())] == [
        "Identity()",
        "Flatten()",
        "Flatten(start_axis=2, end_axis=-1)",
        "Dropout(p=0.5)",
    ]
