"""`Standardize`: the data as they are go in, and the file holds all that is needed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.registry import build
from chainrule.serialize.container import write_container

X = np.random.default_rng(0).standard_normal((40, 3)) * [1.0, 1e3, 1e-3] + [0, 50, 7]


def test_fitted_rows_have_mean_0_and_deviation_1() -> None:
    layer = nn.Standardize.fit(X)
    z = layer(X)
    assert z.dtype == np.float32
    # one step of float32 at the largest value, in deviations: 5e-4 for the feature 7 ± 0.001
    step = np.spacing(np.abs(X).max(axis=0).astype(np.float32)) / X.std(axis=0)
    assert (np.abs(z - (X - X.mean(axis=0)) / X.std(axis=0)) <= 2 * step).all()
    assert (np.abs(z.mean(axis=0)) <= step).all()
    assert (np.abs(z.std(axis=0) - 1) <= step).all()


def test_as_scikit_learn() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.column_stack([X[:, :2], np.full(len(X), 3.5)])
    scaler = preprocessing.StandardScaler().fit(x)
    layer = nn.Standardize.fit(x)
    np.testing.assert_allclose(layer.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(layer.scale, scaler.scale_, rtol=1e-6)
    np.testing.assert_allclose(layer(x), scaler.transform(x), rtol=1e-4, atol=1e-6)


def test_a_common_deviation_keeps_rare_pixels_small() -> None:
    x = np.zeros((100, 2), np.uint8)
    x[:, 0] = np.arange(100)
    x[0, 1] = 1
    assert nn.Standardize.fit(x)(x)[0, 1] > 9
    layer = nn.Standardize.fit(x, common=True)
    assert layer(x)[0, 1] < 0.1
    assert layer(x).var(axis=0).mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("mean", "scale", "shape", "text"),
    [
        (2.0, 4.0, (), "all features alike"),
        ([1, 2, 3], 4, (3,), "3 features"),
        (0.5, [1.0], (1,), "1 feature"),
        (np.zeros((3, 1, 1)), np.ones((3, 1, 1), np.float32), (3, 1, 1), "3 x 1 x 1 features"),
        (np.zeros((2, 1)), np.ones(3), (2, 3), "2 x 3 features"),
    ],
)
def test_numbers_lists_and_arrays(mean: Any, scale: Any, shape: Any, text: str) -> None:
    layer = nn.Standardize(mean, scale)
    assert repr(layer) == f"Standardize({text})"
    for buffer, given in ((layer.mean, mean), (layer.scale, scale)):
        assert buffer.shape == shape
        assert buffer.dtype == np.float32
        np.testing.assert_array_equal(buffer, np.broadcast_to(given, shape))
    x = np.random.default_rng(1).standard_normal((5, 3, 2, 3)).astype(np.float32)
    x = x if len(shape) > 1 else x[..., : shape[0] if shape else 3]
    wanted = (x - layer.mean) / layer.scale
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-6)


def test_the_layer_keeps_its_own_copy() -> None:
    mean = np.zeros(3, np.float32)
    layer = nn.Standardize(mean)
    mean[:] = 9
    assert layer.mean.tolist() == [0, 0, 0]
    layer.scale[0] = 5  # and can be written, which loading a state does
    assert layer.scale.tolist() == [5, 1, 1]


def test_gradients_reach_x_in_both_orders() -> None:
    rows = np.random.default_rng(2).normal([0, 5, -2], [1, 9, 0.3], (40, 3))
    layer = nn.Standardize.fit(rows).double()
    assert cr.check_gradients(layer, rows, order=2)
    model = nn.Sequential(layer, nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 1)).double()
    assert cr.check_gradients(model, rows[:4], order=2)
    x = cr.tensor(rows, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(1 / layer.scale, x.shape))


def test_optimizers_do_not_see_it() -> None:
    model = nn.Sequential(nn.Standardize.fit(X), nn.Dense(3, 2))
    assert [name for name, _ in model.named_parameters()] == ["1.weight", "1.bias"]
    before = model.state_dict()
    cr.Trainer(model, optimizer="sgd").fit((X, np.arange(40) % 2), epochs=2)
    after = model.state_dict()
    assert [n for n in before if np.array_equal(before[n], after[n])] == ["0.mean", "0.scale"]


def test_training_on_raw_rows_is_training_on_standardised_ones() -> None:
    y, models = np.arange(40) % 2, []
    layer = nn.Standardize.fit(X)
    for first, x in ((layer, X), (nn.Identity(), layer(X))):
        cr.seed(1)
        model = nn.Sequential(first, nn.Dense(3, 8, activation="relu"), nn.Dense(8, 2))
        cr.Trainer(model, optimizer="adam", seed=0).fit((x, y), epochs=3, batch_size=8)
        models.append(model)
    raw, scaled = models
    for p, q in zip(raw.parameters(), scaled.parameters(), strict=True):
        np.testing.assert_array_equal(p._data, q._data)
    np.testing.assert_array_equal(raw(X)._data, scaled(layer(X))._data)


def test_types() -> None:
    layer = nn.Standardize.fit(X)
    whole = np.arange(9).reshape(3, 3)
    for x in (whole, whole.astype(np.uint8), whole.astype(np.float64), whole > 4):
        assert layer(x).dtype == np.float32
        np.testing.assert_array_equal(layer(x), layer(x.astype(np.float32)))
    assert layer(cr.tensor(whole)).dtype == np.float32
    with pytest.raises(TypeError, match=r"model.0 Standardize\(3 features\): x is a float64 tens"):
        nn.Sequential(layer)(cr.tensor(X))
    double = copy.deepcopy(layer).double()
    assert double.mean.dtype == double.scale.dtype == double(X).dtype == np.float64
    np.testing.assert_array_equal(double.mean, layer.mean)
    assert double.float()(X).dtype == np.float32


def test_memory_maps(tmp_path: Path) -> None:
    for dtype in (np.float32, np.float64, np.uint8):
        x = np.abs(X).astype(dtype)
        np.save(tmp_path / "x.npy", x)
        rows = np.load(tmp_path / "x.npy", mmap_mode="r")
        layer = nn.Standardize.fit(rows)
        np.testing.assert_array_equal(layer.scale, nn.Standardize.fit(x).scale)
        np.testing.assert_array_equal(layer(rows), layer(x))


def test_samples_of_any_number_of_axes() -> None:
    layer = nn.Standardize.fit(X)
    for x in (X[0], X[None], X.reshape(5, 8, 3), X[:0]):
        assert layer(x).shape == x.shape
        np.testing.assert_array_equal(layer(x).reshape(-1, 3), layer(x.reshape(-1, 3)))


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            nn.Standardize(shape=3),
            (5, 4),
            r"model.0 Standardize\(3 features\): expected x: \(..., ",
        ),
        (nn.Standardize(shape=3), (5, 1), r"expected x: \(..., 3\), got \(5, 1\); pass the featur"),
        (nn.Standardize(shape=3), (), r"got \(\)"),
        (nn.Standardize(shape=64), (5, 8, 8), r"got \(5, 8, 8\); the numbers fit: put nn.Flatten"),
        (nn.Standardize(shape=(8, 8)), (5, 64), r"expected x: \(..., 8, 8\), .*the numbers fit"),
        (nn.Standardize(shape=(3, 1, 1)), (5, 4, 2, 2), r"expected x: \(..., 3, 1, 1\)"),
        (nn.Standardize(shape=(3, 1, 1)), (2, 2), r"expected x: \(..., 3, 1, 1\)"),
    ],
)
def test_x_that_does_not_fit(layer: nn.Standardize, shape: Any, text: str) -> None:
    with pytest.raises(cr.ShapeError, match=text):
        nn.Sequential(layer)(np.ones(shape))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.0, 0.0), r"scale is finite in float32 above 0 \(a constant feature takes 1\), got 0.0"),
        ((0.0, [1.0, -2.0]), "above 0 .*got -2.0"),
        ((0.0, np.nan), "got nan"),
        ((0.0, 1e-60), "got 0.0"),
        (([1.0, 1e60], 1.0), "mean is finite in float32, got inf"),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), "shape mismatch"),
    ],
)
def test_statistics_that_are_none(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        nn.Standardize(*arguments)


# -- files ----------------------------------------------------------------------------------------


def test_the_values_are_tensors_of_the_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Standardize.fit(X), nn.Dense(3, 2))
    found = model.architecture()
    assert found["args"][0]["module"] == {
        "class": "Standardize", "args": [], "kwargs": {"shape": {"tuple": [3]}},
    }  # fmt: skip
    again = build(json.loads(json.dumps(found)))
    assert repr(again) == repr(model)
    cr.save(model, tmp_path / "m.safetensors")
    loaded = cr.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded(X)._data, model(X)._data)
    np.testing.assert_array_equal(loaded[0].scale, model[0].scale)
    cr.save(model.double(), tmp_path / "d.safetensors")
    loaded = cr.load(tmp_path / "d.safetensors")
    assert loaded[0].mean.dtype == np.float64
    np.testing.assert_array_equal(loaded(X)._data, model(X)._data)


def test_one_statistic_for_all_goes_to_a_file_too(tmp_path: Path) -> None:
    cr.save(nn.Standardize(127.5, 50.0), tmp_path / "m.safetensors")
    loaded = cr.load(tmp_path / "m.safetensors")
    assert loaded(np.array([[177.5, 127.5]])).tolist() == [[1.0, 0.0]]


def test_a_subclass_with_a_constructor_is_built_by_it() -> None:
    class Pixels(nn.Standardize):
        def __init__(self, top: int) -> None:
            super().__init__(top / 2, top)

    assert Pixels(255).architecture()["args"] == [255]


@pytest.mark.parametrize(
    "shape",
    [-1, 0, True, 2.5, "3", None, [3, -1], [2**40], [2**20] * 3, [1] * 40, [[3]], [2**200], {}],
)
def test_hostile_shapes_are_refused_before_memory_is_taken(shape: Any, tmp_path: Path) -> None:
    kwargs = {"shape": {"tuple": shape} if isinstance(shape, list) else shape}
    architecture = {"class": "Standardize", "args": [], "kwargs": kwargs}
    state = nn.Standardize(shape=3).state_dict()
    write_container(tmp_path / "m", state, {"architecture": architecture}, kind="model")
    with pytest.raises(cr.FileFormatError, match="m"):
        cr.load(tmp_path / "m")
