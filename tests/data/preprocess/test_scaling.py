"""Numbers of any magnitude scaled without a NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.preprocess.scaling import LIMIT, SCALINGS, Scaler

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COLUMNS = st.lists(
    st.one_of(FINITE, st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, -1.7e308, 1e9, 1e9 + 1e-6])),
    min_size=1,
    max_size=30,
).map(np.array)


def test_standard_and_robust_are_their_formulas() -> None:
    x = np.random.default_rng(0).standard_normal(501) * 3 + 1e6
    z = Scaler.fit(x).exact(x)
    np.testing.assert_allclose(z, (x - x.mean()) / x.std(), rtol=1e-9, atol=1e-9)
    q1, q2, q3 = np.quantile(x, [0.25, 0.5, 0.75])
    robust = Scaler.fit(x, "robust")
    np.testing.assert_allclose(robust.exact(x), (x - q2) / (q3 - q1) * 1.3489795, rtol=1e-6)
    assert Scaler.fit(x, "none").apply(x).tolist() == x.astype(np.float32).tolist()


def test_robust_without_quartiles_takes_the_deviation() -> None:
    x = np.array([0.0] * 9 + [10.0])
    assert Scaler.fit(x, "robust").scale == pytest.approx(3.0)


@pytest.mark.parametrize("size", [7, 999, 5000])
def test_quantiles_of_anything_are_normal(size: int) -> None:
    x = np.exp(3 * np.random.default_rng(size).standard_normal(size))
    z = Scaler.fit(x, "quantile").exact(x)
    order = np.argsort(x)
    assert (np.diff(z[order]) >= 0).all()
    assert abs(z.mean()) < 0.01
    if size > 100:
        assert abs(z.std() - 1) < 0.02
    assert abs(np.median(z)) < 1e-3


def test_ties_share_the_middle_of_their_ranks() -> None:
    z = Scaler.fit(np.array([0.0] * 50 + [1.0] * 50), "quantile").exact(np.array([0.0, 1.0, 0.5]))
    assert z[0] == pytest.approx(-0.6745, abs=1e-3)  # the quartiles of a normal
    assert z[1] == pytest.approx(0.6745, abs=1e-3)
    assert z[2] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1.0, 1e150, 1e300])
def test_magnitude_does_not_matter(unit: float) -> None:
    x = np.array([-1.0, 0.25, 1.0]) * unit
    for form in ("standard", "robust", "quantile"):
        expected = Scaler.fit(np.array([-1.0, 0.25, 1.0]), form).apply(x / unit)
        np.testing.assert_allclose(Scaler.fit(x, form).apply(x), expected, rtol=1e-5, atol=1e-6)


def test_small_differences_on_a_large_value_survive() -> None:
    x = 1e9 + np.arange(10) * 1e-3
    z = Scaler.fit(x).apply(x)
    np.testing.assert_allclose(z, (np.arange(10) - 4.5) / 2.8722813, atol=1e-3)
    constant = np.full(10, 0.1) + np.array([0, 1] * 5) * 1e-17
    assert np.abs(Scaler.fit(constant).apply(constant)).max() < 1e-10


@given(COLUMNS, st.sampled_from(SCALINGS), st.lists(FINITE, max_size=8).map(np.array))
def test_scaled_values_are_finite_and_keep_their_order(
    x: np.ndarray, form: str, new: np.ndarray
) -> None:
    scaler = Scaler.fit(x, form)
    scaler.validate()
    both = np.sort(np.concatenate([x, new]))
    z = scaler.apply(both)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert (np.abs(z) <= scaler.limit).all()
    assert (np.diff(z) >= -1e-6 * np.abs(z[1:])).all()


def test_what_is_far_is_clipped() -> None:
    scaler = Scaler.fit(np.array([0.0, 1.0]))
    assert scaler.apply(np.array([1e308, -1e308])).tolist() == [LIMIT, -LIMIT]


def test_the_way_back() -> None:
    x = np.array([3.0, 5.5, 1e6])
    scaler = Scaler.fit(x)
    np.testing.assert_allclose(scaler.undo(scaler.exact(x)), x, rtol=1e-14)


@pytest.mark.parametrize(
    "scaler",
    [
        Scaler("other"),
        Scaler("standard", scale=0.0),
        Scaler("standard", unit=-1.0),
        Scaler("quantile"),
        Scaler("quantile", knots=[1.0, 1.0], scores=[0.0, 1.0]),
        Scaler("quantile", knots=[1.0, 2.0], scores=[1.0, 0.0]),
        Scaler("standard", knots=[1.0], scores=[1.0]),
    ],
)
def test_what_cannot_have_been_fitted(scaler: Scaler) -> None:
    with pytest.raises(ValueError):
        scaler.validate()
