"""Smooth activations: their tails, their forms, where they differ from torch, their ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import ops
from tests_activation import differences, value_and_derivatives

X = np.random.default_rng(0).standard_normal((3, 5)) * 2
FINITE = st.floats(-1e4, 1e4)


def test_the_tails_keep_their_digits():
    """1 - σ(x) would be 0 from 37 on (errata E000-08, E003-04)."""
    _, g, _ = value_and_derivatives("sigmoid", np.array([-40.0, 40.0, 700.0]))
    np.testing.assert_allclose(g, np.exp([-40.0, -40.0, -700.0]), rtol=1e-12)
    y, g, _ = value_and_derivatives("softplus", np.array([-40.0, -700.0]))
    np.testing.assert_allclose(y, np.exp([-40.0, -700.0]), rtol=1e-12)
    np.testing.assert_allclose(g, np.exp([-40.0, -700.0]), rtol=1e-12)
    y, g, _ = value_and_derivatives("logsigmoid", np.array([40.0, 700.0]))
    np.testing.assert_allclose(y, -np.exp([-40.0, -700.0]), rtol=1e-12)
    np.testing.assert_allclose(g, np.exp([-40.0, -700.0]), rtol=1e-12)
    assert ops.sigmoid(np.float64(-740.0)) > 0
    _, g, _ = value_and_derivatives("softsign", np.array([1e8, -1e100]))
    np.testing.assert_allclose(g, [1e-16, 1e-200], rtol=1e-7)


def test_a_small_tanhshrink_has_the_digits_of_its_derivative():
    x = np.array([1e-4, -1e-9])
    _, g, _ = value_and_derivatives("tanhshrink", x)
    np.testing.assert_allclose(g, x * x, rtol=1e-7)


def test_differences_from_torch(torch):
    """Those the package's documentation lists, and no others."""
    F = torch.nn.functional
    ends, low, tail, small = {-np.inf, np.inf}, {-np.inf}, {40.0, 100.0}, {-1e-10, 1e-10}
    for name, theirs, expected in (
        ("gelu", F.gelu, (low, ends, ends)),
        ("logsigmoid", F.logsigmoid, (set(), set(), tail)),
        ("mish", F.mish, (low, ends, {*ends, 1e4})),
        ("sigmoid", torch.sigmoid, (set(), tail, tail)),
        ("silu", F.silu, (low, ends, ends | tail)),
        ("softplus", F.softplus, (set(), set(), tail)),
        ("softsign", F.softsign, (ends, ends, ends)),
        ("tanh", torch.tanh, (set(), set(), small)),  # ours is off by a rounding of 1 there
        ("tanhshrink", F.tanhshrink, (set(), small, set())),
    ):
        assert differences(name, theirs) == expected, name
    assert F.softplus(torch.tensor(25.0, dtype=torch.float64)) == 25
    assert ops.softplus(np.array(25.0)) > 25


def test_gelu_takes_two_forms():
    gap = np.abs(ops.gelu(X) - ops.gelu(X, approximate="tanh"))
    assert 1e-5 < gap.max() < 4.8e-4  # erratum E004-10
    with pytest.raises(ValueError, match=r"must be 'none' or 'tanh', not 'fast'"):
        ops.gelu(X, approximate="fast")


def test_the_printed_derivatives_of_gelu():
    """Φ(x) + x φ(x), and that of the approximation (ledger A-11, A-12; errata E004-10, E004-11)."""
    _, g, _ = value_and_derivatives("gelu", X)
    density = np.exp(-X * X / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(g, (1 + ops.erf(X / np.sqrt(2))) / 2 + X * density, atol=1e-14)
    _, g, _ = value_and_derivatives("gelu", X, approximate="tanh")
    t = np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))
    slope = 0.5 * X * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 0.134145 * X * X)
    np.testing.assert_allclose(g, 0.5 * (1 + t) + slope, atol=1e-14)


def test_the_printed_derivatives_of_gates():
    """Sigmoid in its three forms, tanh from its output, SiLU (ledger A-02, A-04, A-13)."""
    e, s, t = np.exp(X), ops.sigmoid(X), np.tanh(X)
    _, g, _ = value_and_derivatives("sigmoid", X)
    for printed in (e / (1 + e) ** 2, 1 / e / (1 + 1 / e) ** 2, s * (1 - s)):
        np.testing.assert_allclose(g, printed, rtol=1e-12)
    _, g, _ = value_and_derivatives("tanh", X)
    np.testing.assert_allclose(g, 1 - t * t, atol=1e-15)
    assert np.abs(g - (1 - X * X)).max() > 1  # of the input, as note 001 also prints (E001-02)
    _, g, _ = value_and_derivatives("silu", X)
    np.testing.assert_allclose(g, s + X * s * (1 - s), atol=1e-15)


def test_logistic_slope_at_its_midpoint():
    """L k / 4, not k (errata E003-02, E003-03); elsewhere k a (1 - a/L). Ledger A-03."""
    options = {"L": 3.0, "k": 2.0, "x0": 1.5}
    y, g, _ = value_and_derivatives("logistic", np.array([1.5]), **options)
    np.testing.assert_allclose(y, [1.5])
    np.testing.assert_allclose(g, [3.0 * 2.0 / 4])
    a, g, _ = value_and_derivatives("logistic", X, **options)
    np.testing.assert_allclose(g, 2.0 * a * (1 - a / 3.0), rtol=1e-11)
    assert np.abs(g - a * (1 - a)).max() > 1  # as Table 1.1 prints beside the general form


def test_logistic_takes_arrays_for_its_numbers():
    """So its limit, steepness and midpoint can be trained."""
    k = cr.tensor(np.array([0.5, 1.0, 2.0]), requires_grad=True)
    x = np.array([1.0, -1.0, 0.5])
    y = ops.logistic(x, k=k)
    y.sum().backward()
    s = 1 / (1 + np.exp(-k.detach().numpy() * x))
    np.testing.assert_allclose(y.detach().numpy(), s)
    np.testing.assert_allclose(k.grad.numpy(), x * s * (1 - s))


def test_the_logistic_function_has_a_diagonal_jacobian():
    """Entries a_i (1 - a_i), as on the diagonal of softmax's; the element-wise product is the
    vector rule (ledger A-20, A-21; erratum E000-17)."""
    x, up = X[0], X[1]
    a = ops.sigmoid(x)
    jacobian = cr.jacobian(ops.sigmoid)(x).numpy()
    np.testing.assert_allclose(jacobian, np.diag(a * (1 - a)), atol=1e-15)
    _, pull = cr.vjp(ops.sigmoid, x)
    (back,) = pull(up)
    np.testing.assert_allclose(np.asarray(back.numpy()), up @ jacobian, atol=1e-15)


@settings(deadline=None, max_examples=50)
@given(st.lists(FINITE, min_size=1, max_size=9))
def test_ranges(values):
    """Table 1.1 (ledger A-19): the ends are limits, which rounding may reach (E003-13)."""
    x = np.array(values)
    for name, low, high, steepest in (
        ("sigmoid", 0, 1, 0.25), ("tanh", -1, 1, 1), ("softsign", -1, 1, 1),
        ("logistic", 0, 1, 0.25),
    ):  # fmt: skip
        y, g, _ = value_and_derivatives(name, x)
        assert ((low <= y) & (y <= high)).all()
        assert ((g >= 0) & (g <= steepest)).all()
    for name in ("softplus", "tanhshrink", "logsigmoid"):
        y, g, _ = value_and_derivatives(name, x)
        assert ((g >= 0) & (g <= 1)).all()
    assert (ops.softplus(x) >= np.maximum(x, 0)).all()
    for name, lowest in (("silu", -0.2785), ("gelu", -0.17), ("mish", -0.3089)):
        assert (getattr(ops, name)(x) > lowest).all()


@settings(deadline=None, max_examples=50)
@given(FINITE)
def test_identities(x):
    """σ(-x) = 1 - σ(x), tanh(x) = 2σ(2x) - 1, softplus(x) - softplus(-x) = x."""
    x = np.array(x)
    assert ops.sigmoid(-x) == pytest.approx(1 - ops.sigmoid(x), abs=1e-15)
    assert ops.tanh(x) == pytest.approx(2 * ops.sigmoid(2 * x) - 1, abs=1e-15)
    assert ops.softplus(x) - ops.softplus(-x) == pytest.approx(x, rel=1e-15, abs=1e-15)
    assert ops.mish(x) == pytest.approx(x * np.tanh(ops.softplus(x)), rel=1e-14)


# -- gated linear units ---------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), [((6,), -1), ((4, 6), -1), ((4, 6), 0), ((2, 4, 3), 1)])
def test_glu_as_in_torch(torch, shape, axis):
    """a ⊗ σ(b) of the two halves, a first, with both derivatives (A-14, erratum E004-12)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    t = cr.tensor(x, requires_grad=True)
    y = ops.glu(t, axis)
    z = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.glu(z, dim=axis)
    np.testing.assert_allclose(y.detach().numpy(), theirs.detach().numpy(), rtol=1e-14)
    u = rng.standard_normal(y.shape)
    (g,) = cr.autograd.grad(y, [t], u)
    (h,) = torch.autograd.grad(theirs, z, torch.tensor(u))
    np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-13)
    a, b = np.split(x, 2, axis)
    s = 1 / (1 + np.exp(-b))
    np.testing.assert_allclose(g.numpy(), np.concatenate([u * s, u * a * s * (1 - s)], axis))
    cr.check_gradients(lambda x: ops.glu(x, axis), x)


def test_glu_at_the_extremes():
    x = cr.tensor(
        np.array([[2.0, 3.0, -np.inf, np.inf], [1e4, -1e4, 1e4, -1e4]]), requires_grad=True
    )
    y = ops.glu(x)
    np.testing.assert_array_equal(y.detach().numpy(), [[0, 3], [1e4, 0]])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 1, 0, 0], [1, 0, 0, 0]])
    assert np.isnan(ops.glu(np.array([1.0, np.nan]))).all()
    assert ops.glu(np.ones((2, 4), np.float32)).dtype == np.float32
    assert ops.glu(np.ones((0, 4))).shape == (0, 2)


def test_glu_names_what_cannot_be_halved():
    with pytest.raises(
        cr.ShapeError, match=r"glu: expected x with an even .* axis -1, got \(2, 5\): 5 "
    ):
        ops.glu(np.ones((2, 5)))
    with pytest.raises(cr.ShapeError, match=r"along axis 2, got \(2, 4\)$"):
        ops.glu(np.ones((2, 4)), 2)
