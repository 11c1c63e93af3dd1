"""Every activation: values, derivatives of both orders, limits, types; driven by one table."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.ops import activation
from chainrule.ops.formula import FORMULAS, Formula
from tests_activation import value_and_derivatives

FUNCTIONAL = {
    "celu": lambda F, x, **k: F.celu(x, **k),
    "elu": lambda F, x, **k: F.elu(x, **k),
    "gelu": lambda F, x, **k: F.gelu(x, **k),
    "hardshrink": lambda F, x, **k: F.hardshrink(x, **k),
    "hardsigmoid": lambda F, x: F.hardtanh((x + 3) / 6, 0, 1),  # its own is float32 in part
    "hardswish": lambda F, x: F.hardswish(x),
    "hardtanh": lambda F, x, **k: F.hardtanh(x, **k),
    "identity": lambda F, x: x * 1,
    "leaky_relu": lambda F, x, **k: F.leaky_relu(x, **k),
    "log_softmax": lambda F, x, axis=-1: F.log_softmax(x, dim=axis),
    "logistic": lambda F, x, L=1.0, k=1.0, x0=0.0: L * F.sigmoid(k * (x - x0)),
    "logsigmoid": lambda F, x: F.logsigmoid(x),
    "mish": lambda F, x: F.mish(x),
    "relu": lambda F, x: F.relu(x),
    "relu6": lambda F, x: F.relu6(x),
    "selu": lambda F, x: F.selu(x),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "silu": lambda F, x: F.silu(x),
    "softmax": lambda F, x, axis=-1: F.softmax(x, dim=axis),
    "softmin": lambda F, x, axis=-1: F.softmin(x, dim=axis),
    "softplus": lambda F, x, beta=1.0: F.softplus(x, beta=beta, threshold=1e9),
    "softshrink": lambda F, x, **k: F.softshrink(x, **k),
    "softsign": lambda F, x: F.softsign(x),
    "tanh": lambda F, x: F.tanh(x),
    "tanhshrink": lambda F, x: F.tanhshrink(x),
    "threshold": lambda F, x, threshold=0.0, value=0.0: F.threshold(x, threshold, value),
}
#: Other attributes than the defaults.
VARIANTS = {
    "celu": [{"alpha": 0.5}, {"alpha": 2.0}],
    "elu": [{"alpha": 0.5}, {"alpha": 2.0}],
    "gelu": [{"approximate": "tanh"}],
    "hardshrink": [{"lambd": 1.25}],
    "hardtanh": [{"min_val": -0.25, "max_val": 2.0}],
    "leaky_relu": [{"negative_slope": 0.3}, {"negative_slope": 0.0}],
    "log_softmax": [{"axis": 0}, {"axis": (0, 1)}],
    "logistic": [{"L": 2.5, "k": 0.5, "x0": 1.0}],
    "softmax": [{"axis": 0}],
    "softmin": [{"axis": 0}],
    "softplus": [{"beta": 3.0}],
    "softshrink": [{"lambd": 1.25}, {"lambd": 0.0}],
    "threshold": [{"threshold": 0.75, "value": -2.0}],
}
CASES = [(n, {}) for n in FUNCTIONAL] + [(n, v) for n, vs in VARIANTS.items() for v in vs]
#: Those in pieces of which one is a straight line: NaN takes it, and has its slope.
PIECES = {
    *("celu", "elu", "hardshrink", "hardsigmoid", "hardtanh", "leaky_relu", "relu", "relu6"),
    *("selu", "softshrink", "threshold"),
}
#: f(-inf), f(inf), and the derivatives there.
LIMITS = {
    "celu": (-1, math.inf, 0, 1),
    "elu": (-1, math.inf, 0, 1),
    "gelu": (0, math.inf, 0, 1),
    "hardshrink": (-math.inf, math.inf, 1, 1),
    "hardsigmoid": (0, 1, 0, 0),
    "hardswish": (0, math.inf, 0, 1),
    "hardtanh": (-1, 1, 0, 0),
    "identity": (-math.inf, math.inf, 1, 1),
    "leaky_relu": (-math.inf, math.inf, 0.01, 1),
    "logistic": (0, 1, 0, 0),
    "logsigmoid": (-math.inf, 0, 1, 0),
    "mish": (0, math.inf, 0, 1),
    "relu": (0, math.inf, 0, 1),
    "relu6": (0, 6, 0, 0),
    "selu": (-1.0507009873554805 * 1.6732632423543772, math.inf, 0, 1.0507009873554805),
    "sigmoid": (0, 1, 0, 0),
    "silu": (0, math.inf, 0, 1),
    "softplus": (0, math.inf, 0, 1),
    "softshrink": (-math.inf, math.inf, 1, 1),
    "softsign": (-1, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "tanhshrink": (-math.inf, math.inf, 1, 1),
    "threshold": (0, math.inf, 0, 1),
}
#: At -1.5, 0, 0.5, 3: computed once with torch 2.13 in float64.
GOLDEN = {
    "celu": ([-0.7768698398515702, 0.0, 0.5, 3.0], [0.22313016014842982, 2.0, -1.0, 0.5]),
    "elu": ([-0.7768698398515702, 0.0, 0.5, 3.0], [0.22313016014842982, 2.0, -1.0, 0.5]),
    "gelu": (
        [-0.10021080190328704, 0.0, 0.34573123063700656, 2.99595030590511],
        [-0.1274691922299796, 1.0, -0.8674951246561629, 0.505972823602092],
    ),
    "hardshrink": ([-1.5, 0.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.5]),
    "hardsigmoid": (
        [0.25, 0.5, 0.5833333333333334, 1.0],
        [0.16666666666666666, 0.3333333333333333, -0.16666666666666666, 0.0],
    ),
    "hardswish": ([-0.375, 0.0, 0.2916666666666667, 3.0], [0.0, 1.0, -0.6666666666666666, 0.5]),
    "hardtanh": ([-1.0, 0.0, 0.5, 1.0], [0.0, 2.0, -1.0, 0.0]),
    "identity": ([-1.5, 0.0, 0.5, 3.0], [1.0, 2.0, -1.0, 0.5]),
    "leaky_relu": ([-0.015, 0.0, 0.5, 3.0], [0.01, 0.02, -1.0, 0.5]),
    "log_softmax": (
        [-4.633639817335106, -3.133639817335106, -2.633639817335106, -0.13363981733510566],
        [0.9757017047510546, 1.8911025957549539, -1.179541466702838, -1.6872628338031699],
    ),
    "logistic": (
        [0.18242552380635635, 0.5, 0.6224593312018546, 0.9525741268224334],
        [0.14914645207033286, 0.5, -0.2350037122015945, 0.022588329865456],
    ),
    "logsigmoid": (
        [-1.7014132779827524, -0.6931471805599453, -0.4740769841801067, -0.04858735157374206],
        [0.8175744761936437, 1.0, -0.37754066879814546, 0.023712936588783394],
    ),
    "mish": (
        [-0.29809974216680674, 0.0, 0.3752452113048951, 2.9865350049679575],
        [-0.06409781589225869, 1.2, -0.8864243753577272, 0.5105534554647218],
    ),
    "relu": ([0.0, 0.0, 0.5, 3.0], [0.0, 0.0, -1.0, 0.5]),
    "relu6": ([0.0, 0.0, 0.5, 3.0], [0.0, 0.0, -1.0, 0.5]),
    "selu": (
        [-1.3658143533672527, 0.0, 0.5253504936777402, 3.1521029620664414],
        [0.392284987480124, 3.5161986816947532, -1.0507009873554805, 0.5253504936777402],
    ),
    "sigmoid": (
        [0.18242552380635635, 0.5, 0.6224593312018546, 0.9525741268224334],
        [0.14914645207033286, 0.5, -0.2350037122015945, 0.022588329865456],
    ),
    "silu": (
        [-0.2736382857095345, 0.0, 0.3112296656009273, 2.8577223804672998],
        [-0.041294154299142946, 1.0, -0.7399611873026519, 0.5440520530075846],
    ),
    "softmax": (
        [0.009719318099578189, 0.043558961698018504, 0.07181658668113527, 0.874905133521268],
        [0.00522439374655295, 0.0669730700510874, -0.10502983488608833, 0.03283237108844802],
    ),
    "softmin": (
        [0.7301538133670293, 0.162919337309572, 0.09881557313831976, 0.008111276185078748],
        [-0.02830619930507656, -0.1692353040937071, 0.19380031877633497, 0.003741184622448482],
    ),
    "softplus": (
        [0.2014132779827524, 0.6931471805599453, 0.9740769841801067, 3.048587351573742],
        [0.18242552380635632, 1.0, -0.6224593312018546, 0.4762870634112166],
    ),
    "softshrink": ([-1.0, 0.0, 0.0, 2.5], [1.0, 0.0, 0.0, 0.5]),
    "softsign": (
        [-0.6, 0.0, 0.3333333333333333, 0.75],
        [0.16000000000000003, 2.0, -0.4444444444444444, 0.03125],
    ),
    "tanh": (
        [-0.9051482536448664, 0.0, 0.46211715726000974, 0.9950547536867305],
        [0.1807066389236486, 2.0, -0.7864477329659274, 0.004933018582720083],
    ),
    "tanhshrink": (
        [-0.5948517463551336, 0.0, 0.03788284273999026, 2.0049452463132695],
        [0.8192933610763514, 0.0, -0.2135522670340726, 0.4950669814172799],
    ),
    "threshold": ([0.0, 0.0, 0.5, 3.0], [0.0, 0.0, -1.0, 0.5]),
}
#: Those of all entries along an axis.
ALONG = {"log_softmax", "softmax", "softmin"}
AT = np.array([-1.5, 0.0, 0.5, 3.0])
X = np.random.default_rng(0).standard_normal((3, 5)) * 2
ids = [f"{n}{v or ''}" for n, v in CASES]


def test_the_table_has_every_activation():
    others = {"glu", "prelu", "rrelu", "softmax_jacobian"}  # of other arguments; tested by family
    assert set(FUNCTIONAL) == set(activation.__all__) - others
    assert set(FORMULAS) >= set(FUNCTIONAL)
    assert all(isinstance(FORMULAS[n], Formula) for n in FUNCTIONAL)


@pytest.mark.parametrize("name", sorted(FUNCTIONAL))
def test_golden_values(name):
    value, slope = GOLDEN[name]
    y, g, _ = value_and_derivatives(name, AT, np.array([1.0, 2.0, -1.0, 0.5]))
    np.testing.assert_allclose(y, value, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(g, slope, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(
    ("name", "attrs"), [c for c in CASES if not isinstance(c[1].get("axis"), tuple)]
)
def test_value_and_both_derivatives_equal_torch(torch, name, attrs):
    u = np.cos(np.arange(X.size)).reshape(X.shape)
    y, g, h = value_and_derivatives(name, X, u, **attrs)
    t = torch.tensor(X, requires_grad=True)
    ty = FUNCTIONAL[name](torch.nn.functional, t, **attrs)
    (tg,) = torch.autograd.grad(ty, t, torch.tensor(u), create_graph=True)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(g, tg.detach().numpy(), rtol=1e-12, atol=1e-14)
    if tg.requires_grad:
        (th,) = torch.autograd.grad((tg * tg).sum(), t)
        np.testing.assert_allclose(h, th.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("name", "attrs"), CASES, ids=ids)
def test_derivatives_by_differences(name, attrs):
    f = functools.partial(getattr(ops, name), **attrs)
    x = X + np.sign(X) * 0.1 if name in PIECES else X
    cr.check_gradients(f, x)
    cr.check_gradients(f, x.astype(np.float32)[:, ::-2])


@pytest.mark.parametrize("name", sorted(FUNCTIONAL))
def test_derivative_at_zero_is_torchs(torch, name):
    x = np.array([0.0, -0.0])
    _, g, h = value_and_derivatives(name, x, np.array([1.0, 0.0]))
    t = torch.tensor(x, requires_grad=True)
    y = FUNCTIONAL[name](torch.nn.functional, t)
    (tg,) = torch.autograd.grad(
        y, t, torch.tensor([1.0, 0.0], dtype=torch.float64), create_graph=True
    )
    np.testing.assert_allclose(g, tg.detach().numpy(), rtol=1e-14, atol=1e-16)
    assert np.isfinite(h).all()


@pytest.mark.parametrize("name", sorted(FUNCTIONAL))
def test_float32_stays_float32_in_every_step(name):
    x = cr.tensor(X.astype(np.float32), requires_grad=True)
    y = getattr(ops, name)(x)
    (first,) = cr.autograd.grad(y.sum(), [x], create_graph=True)
    (second,) = cr.autograd.grad((first * first).sum(), [x], create_graph=True)
    nodes = cr.autograd.tape._reachable([t for t in (y, first, second) if t._node])
    assert nodes
    kept = [a for n in nodes for a in (*n.inputs, *n.outputs, *n.residuals) if a is not None]
    assert {a.dtype for a in kept if a.dtype.kind == "f"} <= {np.dtype(np.float32)}
    assert y.dtype == first.dtype == second.dtype == np.float32
    np.testing.assert_allclose(y.detach().numpy(), getattr(ops, name)(X), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("name", sorted(FUNCTIONAL))
def test_inputs_stay_and_any_layout_serves(name):
    f = getattr(ops, name)
    x = X.copy()
    wanted = f(x)
    np.testing.assert_array_equal(x, X)
    wide = np.zeros((3, 10))
    wide[:, ::2] = X
    np.testing.assert_array_equal(f(wide[:, ::2]), wanted)
    np.testing.assert_array_equal(f(np.asfortranarray(X)), wanted)
    t = cr.tensor(x, requires_grad=True)
    f(t).sum().backward()
    np.testing.assert_array_equal(t.detach().numpy(), X)


@pytest.mark.parametrize("name", sorted(FUNCTIONAL))
def test_empty_and_single_inputs(name):
    f = getattr(ops, name)
    for shape in ((0, 3), (2, 0, 3), (1,), (1, 1)):
        x = cr.tensor(np.full(shape, 0.5), requires_grad=True)
        y = f(x)
        assert y.shape == shape
        y.sum().backward()
        assert x.grad.shape == shape
    if name not in ALONG:
        x = cr.tensor(0.5, requires_grad=True)
        y = f(x)
        assert y.shape == ()
        y.backward()
        assert x.grad.shape == ()
        assert isinstance(f(np.array(0.5)), np.ndarray)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "attrs"), CASES, ids=ids)
def test_nan_in_gives_nan_out(name, attrs, dtype):
    x = np.array([[1.0, np.nan], [2.0, -1.0]], dtype)
    y, g, _ = value_and_derivatives(name, x, **attrs)
    assert np.isnan(y[0, 1])
    if name in (*PIECES, "identity"):  # NaN takes the branch above 0, as in torch
        assert g[0, 1] > 0
    else:
        assert np.isnan(g[0, 1])
    if name not in ALONG:
        assert np.isfinite(y[1]).all()
        assert np.isfinite(g[1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "attrs"), CASES, ids=ids)
def test_extreme_finite_inputs_give_finite_results_of_every_order(name, attrs, dtype):
    """Warnings are errors here: nothing may overflow on the way."""
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([-1e4, -1e3, -100, -tiny, -0.0, 0.0, tiny, 100, 1e3, 1e4], dtype).reshape(2, 5)
    for value in value_and_derivatives(name, x, **attrs):
        assert value.dtype == dtype
        assert np.isfinite(value).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limits_at_infinity(name, dtype):
    low, high, slope_low, slope_high = LIMITS[name]
    y, g, h = value_and_derivatives(name, np.array([-math.inf, math.inf], dtype))
    np.testing.assert_allclose(y, [low, high], rtol=1e-6)
    np.testing.assert_allclose(g, [slope_low, slope_high], rtol=1e-6)
    np.testing.assert_array_equal(h, [0, 0])


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_saturated_values_are_the_limits(name):
    low, high, *_ = LIMITS[name]
    far = 1e13 if name == "softsign" else 1e4  # its tails fall as 1/x
    y = getattr(ops, name)(np.array([-far, far]))
    for got, limit, x in zip(y, (low, high), (-far, far), strict=True):
        if math.isfinite(limit):
            assert got == pytest.approx(limit, rel=1e-12)
        else:
            assert abs(got) >= 0.009 * abs(x)
