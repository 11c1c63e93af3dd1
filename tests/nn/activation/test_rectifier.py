"""Rectifiers as layers: torch's modules; learned slopes and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from tests_activation import check_layer

LAYERS = [
    nn.ReLU(),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.3),
    nn.ELU(),
    nn.ELU(0.5),
    nn.CELU(),
    nn.CELU(2.0),
    nn.SELU(),
    nn.Threshold(0.5, -2.0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_as_in_torch(layer: Any) -> None:
    check_layer(layer, pytest.importorskip("torch"))


# -- learned slopes -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "shape"), [(1, (4, 3)), (3, (4, 3)), (3, (2, 3, 5, 2))])
def test_prelu_is_torchs_and_loads_its_state(n: int, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.PReLU(n, 0.1).double()
    with torch.no_grad():
        theirs.weight += torch.arange(n) / 10
    layer = nn.PReLU(n).double()
    layer.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape)
    y = layer(x)
    np.testing.assert_allclose(
        y.detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-15
    )
    (layer(cr.tensor(x)) ** 2).sum().backward()
    (theirs(torch.tensor(x)) ** 2).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-12)


def test_prelu_begins_and_is_built() -> None:
    layer = nn.PReLU(3, init=0.5)
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.detach().numpy(), [0.5, 0.5, 0.5])
    assert repr(layer) == "PReLU(num_parameters=3)"
    assert cr.nn.build(layer.architecture()).weight.shape == (3,)
    with pytest.raises(ValueError, match="num_parameters is 1 or more, got 0"):
        nn.PReLU(0)
    with pytest.raises(cr.ShapeError, match=r"PReLU\(num_parameters=3\): expected weight: \(2,\)"):
        layer(np.ones((4, 2)))
    assert layer(np.ones((4, 3))).dtype == np.float32  # an array is cast, a tensor is not
    with pytest.raises(TypeError, match=r"PReLU\(num_parameters=3\): x is a float64 tensor"):
        layer(cr.tensor(np.ones((4, 3))))


def test_slopes_are_saved_and_loaded(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Dense(2, 3), nn.PReLU(3), nn.RReLU(0.1, 0.2), nn.GLU(0))
    model[1].weight = nn.Parameter(np.array([0.1, 0.2, 0.3], np.float32))
    cr.save(model, tmp_path / "m.safetensors")
    again = cr.load(tmp_path / "m.safetensors").eval()
    x = -np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(again(x).detach().numpy(), model.eval()(x).detach().numpy())
    assert repr(again) == repr(model)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4)])
def test_slopes_have_gradients_per_sample(n: int, shape: tuple[int, ...]) -> None:
    model = nn.Sequential(nn.PReLU(n), nn.Flatten())
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    y = rng.standard_normal((5, int(np.prod(shape[1:])))).astype(np.float32)
    found = cr.per_sample_gradients(model, "mse", x, y)["0.weight"]
    assert found.shape == (5, n)
    for k in range(5):
        model[0].weight.grad = None
        cr.ops.mse_loss(model(x[k : k + 1]), y[k : k + 1], reduction="sum").backward()
        np.testing.assert_allclose(found[k], model[0].weight.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.PReLU(), nn.PReLU(5), nn.RReLU(), nn.Mish(), nn.Hardswish()])
def test_a_captured_training_step_is_the_eager_one(layer: Any, executor: Any) -> None:
    """Slopes learn, and are drawn, as without capture: bit for bit."""
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    labels = np.arange(8) % 3

    def weights(captured: bool) -> list[Any]:
        cr.seed(1)
        fresh = cr.nn.build(layer.architecture())
        model = nn.Sequential(nn.Dense(4, 5), fresh, nn.Dropout(0.2), nn.Dense(5, 3))
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any, labels: Any) -> Any:
            optimizer.zero_grad()
            loss = cr.ops.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        run = cr.capture(step) if captured else step
        losses = [run(x, labels).item() for _ in range(6)]
        assert not captured or run.reason is None
        return [losses, *(p.detach().numpy() for p in model.parameters())]

    for a, b in zip(weights(True), weights(False), strict=True):
        np.testing.assert_array_equal(a, b)


# -- random slopes --------------------------------------------------------------------------------


def test_rrelu_follows_the_mode() -> None:
    layer = nn.RReLU(0.25, 0.75)
    x = np.full((50, 50), -1.0, np.float32)
    y = layer(x)
    assert y.dtype == np.float32
    assert len(np.unique(y)) > 2000
    assert ((y <= -0.25) & (y >= -0.75)).all()
    np.testing.assert_array_equal(layer.eval()(x), np.full((50, 50), -0.5))
    assert repr(layer) == "RReLU(lower=0.25, upper=0.75)"
    for ends in ((0.5, 0.25), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="RReLU: expected lower <= upper, got lower="):
            nn.RReLU(*ends)
