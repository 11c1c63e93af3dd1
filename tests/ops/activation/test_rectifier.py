"""Rectifiers: against torch at kinks and extremes, their printed derivatives, their ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import ops
from tests_activation import differences, value_and_derivatives

NAMES = ["celu", "elu", "leaky_relu", "relu", "selu"]
X = np.random.default_rng(0).standard_normal(40) * 2


@pytest.mark.parametrize("name", NAMES)
def test_as_torch_at_kinks_and_extremes(torch, name):
    """The second derivative at 0 is that of the piece whose first it is (torch: 0); NaN passes
    through the piece above 0 (torch's leaky_relu: the one below)."""
    smooth = name in ("celu", "elu", "selu")
    slope = {"nan"} if name == "leaky_relu" else set()
    assert differences(name, getattr(torch.nn.functional, name)) == (
        set(), slope, {0.0} if smooth else set()
    )  # fmt: skip


def test_threshold_as_in_torch(torch):
    F = torch.nn.functional
    assert differences("threshold", lambda t: F.threshold(t, 0.0, 0.0)) == (set(),) * 3
    options = {"threshold": 0.5, "value": -2.0}
    assert differences("threshold", lambda t: F.threshold(t, 0.5, -2.0), **options) == (set(),) * 3


def test_a_small_elu_keeps_its_digits():
    x = np.array([-1e-12])
    for f in (ops.elu, ops.celu):
        np.testing.assert_allclose(f(x), x, rtol=1e-11)


def test_the_printed_derivatives():
    """Ledger A-01, A-05, A-06, A-08, A-10; at 0 that of the lower piece (E003-14, E004-08)."""
    x = np.append(X, 0.0)
    lower = x <= 0
    e = np.exp(np.minimum(x, 0))
    scale, alpha = 1.0507009873554805, 1.6732632423543772  # E004-09
    for name, below, above in (
        ("identity", 1.0, 1.0), ("relu", 0.0, 1.0), ("leaky_relu", 0.01, 1.0), ("elu", e, 1.0),
        ("selu", scale * alpha * e, scale), ("celu", e, 1.0), ("threshold", 0.0, 1.0),
    ):  # fmt: skip
        _, g, _ = value_and_derivatives(name, x)
        np.testing.assert_allclose(g, np.where(lower, below, above), rtol=1e-14)
    _, g, _ = value_and_derivatives("elu", np.zeros(1), alpha=2.0)
    assert g == 2.0


def test_selu_keeps_mean_and_variance():
    """Of normal numbers: what its two constants are for (E004-09)."""
    x, w = np.polynomial.hermite_e.hermegauss(180)
    y = ops.selu(x)
    mean = (w * y).sum() / w.sum()
    assert mean == pytest.approx(0, abs=2e-3)  # the kink limits the quadrature
    assert (w * y * y).sum() / w.sum() - mean**2 == pytest.approx(1, abs=2e-3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.floats(0.01, 100))
def test_ranges(values, alpha):
    """Table 1.1 (ledger A-19) with the ends of erratum E003-13: ELU in (-α, ∞), derivative in
    (0, max(1, α)], where rounding may reach an end."""
    x = np.array(values)
    y, g, _ = value_and_derivatives("relu", x)
    assert (y >= 0).all()
    assert set(g) <= {0.0, 1.0}
    y, g, _ = value_and_derivatives("elu", x, alpha=alpha)
    assert (y >= -alpha).all()
    assert ((g >= 0) & (g <= max(1, alpha))).all()
    y, g, _ = value_and_derivatives("celu", x, alpha=alpha)
    assert (y >= -alpha).all()
    assert ((g >= 0) & (g <= 1)).all()


def test_celu_divides_by_alpha():
    with pytest.raises(ValueError, match=r"celu: alpha divides, so it cannot be 0"):
        ops.celu(X, alpha=0.0)


# -- learned slopes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(), (7,), (4, 3), (4, 3, 5), (2, 3, 4, 2), (2, 3, 2, 2, 3), (0, 3)]
)
@pytest.mark.parametrize("slopes", [(), (1,), (3,)])
def test_prelu_as_in_torch(torch, shape, slopes):
    if len(shape) <= 1 and slopes == (3,):
        return
    rng = np.random.default_rng(0)
    x, w, u = rng.standard_normal(shape), rng.standard_normal(slopes), rng.standard_normal(shape)
    ours = [cr.tensor(v, requires_grad=True) for v in (x, w)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, w)]
    y, z = ops.prelu(*ours), torch.nn.functional.prelu(*theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-15)
    first = cr.autograd.grad(y, ours, u, create_graph=True)
    other = torch.autograd.grad(z, theirs, torch.tensor(u), create_graph=True)
    for a, b in zip(first, other, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
    if x.size:
        cr.check_gradients(ops.prelu, np.where(np.abs(x) < 0.05, 0.5, x), w)


def test_the_derivative_by_the_slope():
    """x [x <= 0], summed over what shares a slope (ledger A-07, erratum E004-07)."""
    x = np.array([[-1.0, 2.0], [-3.0, -4.0], [0.0, 5.0]])
    up = np.array([[1.0, 1.0], [2.0, 3.0], [1.0, 1.0]])
    for w, wanted in ((np.full(2, 0.25), [-7.0, -12.0]), (np.full(1, 0.25), [-19.0])):
        slope = cr.tensor(w, requires_grad=True)
        (g,) = cr.autograd.grad(ops.prelu(x, slope), [slope], up)
        np.testing.assert_array_equal(g.numpy(), wanted)


def test_prelu_of_zero_infinity_and_nan():
    x = cr.tensor(np.array([-np.inf, -0.0, 0.0, np.inf, np.nan]), requires_grad=True)
    y = ops.prelu(x, np.array([0.25]))
    np.testing.assert_array_equal(y.detach().numpy(), [-np.inf, 0, 0, np.inf, np.nan])
    (g,) = cr.autograd.grad(y, [x], np.ones(5))
    np.testing.assert_array_equal(g.numpy(), [0.25, 0.25, 0.25, 1, 1])


@pytest.mark.parametrize(
    ("shape", "slopes", "text"),
    [
        (
            (4, 3),
            (4,),
            r"weight: \(3,\), a slope per channel of x: \(4, 3\), or \(1,\).*got \(4,\)",
        ),
        ((4,), (4,), r"expected weight: \(1,\)"),
        ((4, 3), (1, 3), r"got \(1, 3\)"),
        ((4, 3), (1, 1), r"got \(1, 1\)"),
    ],
)
def test_slopes_that_do_not_fit(shape, slopes, text):
    with pytest.raises(cr.ShapeError, match=text):
        ops.prelu(np.ones(shape), np.ones(slopes))


# -- random slopes --------------------------------------------------------------------------------


def test_rrelu_draws_uniform_slopes_and_keeps_them():
    """U(1/8, 1/3) for every entry below 0; the derivative has the same (A-09, E004-13)."""
    cr.seed(0)
    n = 100_000
    x = cr.tensor(np.append(np.full(n, -2.0), [0.0, 3.0]), requires_grad=True)
    y = ops.rrelu(x, training=True)
    (g,) = cr.autograd.grad(y.sum(), [x], create_graph=True)
    slopes = y.detach().numpy()[:n] / -2.0
    np.testing.assert_array_equal(g.detach().numpy()[:n], slopes)
    assert y.detach().numpy()[-1] == 3.0
    assert g.detach().numpy()[-1] == 1.0
    low, high = 1 / 8, 1 / 3
    assert low <= slopes.min() < low + 1e-4
    assert high - 1e-4 < slopes.max() <= high
    # five standard errors of the mean; the largest gap to the uniform law (Kolmogorov, 1e-6)
    assert abs(slopes.mean() - (low + high) / 2) < 5 * (high - low) / np.sqrt(12 * n)
    gap = np.abs((np.sort(slopes) - low) / (high - low) - np.arange(n) / n).max()
    assert gap < 2.7 / np.sqrt(n)
    assert (ops.rrelu(x, training=True).detach().numpy()[:n] / -2.0 != slopes).any()


def test_rrelu_in_evaluation_as_in_torch(torch):
    for options in ({}, {"lower": 0.2, "upper": 0.9}, {"lower": 0.5, "upper": 0.5}):
        found = differences(
            "rrelu", lambda t, o=options: torch.nn.functional.rrelu(t, **o), **options
        )
        assert found == (set(), {"nan"}, set())  # torch's slope of NaN is that below 0
    x = X.astype(np.float32)
    assert ops.rrelu(x, training=True).dtype == np.float32
    np.testing.assert_array_equal(ops.rrelu(X, 0.5, 0.5, training=True), ops.leaky_relu(X, 0.5))


@pytest.mark.parametrize("ends", [(0.5, 0.25), (0.0, np.inf), (np.nan, 1.0)])
def test_rrelu_takes_a_range(ends):
    with pytest.raises(ValueError, match=r"rrelu: expected finite lower <= upper, got lower="):
        ops.rrelu(X, *ends)
