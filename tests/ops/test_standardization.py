"""Standardisation: the formula and its derivatives, and statistics that keep their digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import DataError
from chainrule.ops.standardization import _BLOCK, mean_and_deviation

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 3))
MEAN, SCALE = RNG.standard_normal(3), RNG.random(3) + 0.5


def test_the_formula_and_its_derivatives() -> None:
    np.testing.assert_array_equal(cr.ops.standardize(X, MEAN, SCALE), (X - MEAN) / SCALE)
    assert cr.check_gradients(cr.ops.standardize, X, MEAN, SCALE, order=2)
    single = [a.astype(np.float32) for a in (X, MEAN, SCALE)]
    assert cr.ops.standardize(*single).dtype == np.float32


def test_extremes_stay_what_they_are() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-320])
    np.testing.assert_array_equal(cr.ops.standardize(x, 0.0, 0.5), x * 2)


@pytest.mark.parametrize("shape", [(7,), (400, 3), (2 * _BLOCK // 600 + 3, 20, 30)])
def test_statistics_are_numpy_s_whatever_the_blocks(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape, np.float32) * 3 + 100
    mean, deviation = mean_and_deviation(x)
    assert mean.dtype == deviation.dtype == np.float64
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(deviation, x.std(axis=0, dtype=np.float64), rtol=1e-12)
    _, common = mean_and_deviation(x, common=True)
    np.testing.assert_allclose(common, np.sqrt(x.var(axis=0, dtype=np.float64).mean()), rtol=1e-12)
    assert common.shape == shape[1:]


def test_large_means_cost_no_digits() -> None:
    x = np.arange(1000.0)[:, None] + 1e12
    mean, deviation = mean_and_deviation(x, dtype=np.float64)
    assert mean == 1e12 + 499.5
    assert deviation == pytest.approx(np.arange(1000.0).std(), rel=1e-12)


def test_statistics_are_of_what_the_model_meets() -> None:
    x = np.array([[16777216.0, 1e9], [16777217.0, 1e9 + 1], [16777220.0, 1e9 + 2]])
    seen = x.astype(np.float32).astype(np.float64)
    assert len(np.unique(seen[:, 0])) == 2  # two of the values are one in float32
    mean, deviation = mean_and_deviation(x)
    np.testing.assert_array_equal(mean, seen.mean(axis=0))
    np.testing.assert_allclose(deviation, [seen[:, 0].std(), 1.0], rtol=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e9, 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_has_deviation_1(value: float, dtype: Any) -> None:
    x = np.full((1000, 2), value)
    x[:, 1] = np.arange(1000)
    mean, deviation = mean_and_deviation(x, dtype=dtype)
    assert mean[0] == np.asarray(value, dtype)
    assert deviation[0] == 1
    assert deviation[1] > 200


def test_rounding_alone_is_no_variation() -> None:
    x = np.array([[0.3], [0.1 + 0.2]] * 50)
    assert mean_and_deviation(x, dtype=np.float64)[1] == 1
    x = np.array([[0.0]] * 10**6 + [[1e-45]])  # a deviation below every float32
    assert mean_and_deviation(x)[1] == 1


def test_a_memory_map_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.integers(0, 256, (1000, 8), np.uint8)
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr("chainrule.ops.standardization._BLOCK", 64)
    mean, deviation = mean_and_deviation(rows)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(deviation, x.std(axis=0), rtol=1e-13)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.zeros((0, 3)), r"got shape \(0, 3\)"),
        (np.zeros((3, 0)), r"got shape \(3, 0\)"),
        (3.0, r"got shape \(\)"),
        ([["a"]], "type <U1"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "feature 1 holds values that are not finite"),
        (np.array([[1.0], [1e300]]), "feature 0 holds values that are not finite in float32"),
        (np.array([1.0, np.inf]), "feature 0 holds"),
    ],
)
def test_what_has_no_statistics_is_refused(x: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        mean_and_deviation(x)
