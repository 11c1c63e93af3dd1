"""Rectifiers: against torch at kinks and extremes, their printed derivatives, their ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
