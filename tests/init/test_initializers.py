"""Initializers: bounds, variance, fans, and torch's numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import init

SHAPES = [(300, 200), (40, 8, 7, 5), (500, 100, 1)]

#: name -> variance from (fan_in, fan_out)
VARIANCES: dict[str, Any] = {
    "xavier": lambda i, o: 2 / (i + o),
    "glorot": lambda i, o: 2 / (i + o),
    "he": lambda i, o: 2 / i,
    "kaiming": lambda i, o: 2 / i,
    "lecun": lambda i, o: 1 / i,
}


def assert_variance(a: Any, variance: float, law: str) -> None:
    """Within five standard errors: of n numbers, (kurtosis - 1)/n of the variance squared."""
    kurtosis = 1.8 if law == "uniform" else 3.0
    assert abs(a.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / a.size)
    assert abs(a.mean()) < 5 * math.sqrt(variance / a.size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("rule", VARIANCES)
def test_variance(rule: str, law: str, shape: tuple[int, ...]) -> None:
    a = (
        init.get(f"{rule}_{law}")(shape)
        if rule != "glorot"
        else getattr(init, f"glorot_{law}")(shape)
    )
    kernel = math.prod(shape[2:])
    variance = VARIANCES[rule](shape[1] * kernel, shape[0] * kernel)
    assert a.shape == shape
    assert a.dtype == np.float32
    assert_variance(a, variance, law)
    if law == "uniform":
        bound = math.sqrt(3 * variance)
        assert 0.99 * bound < abs(a).max() <= bound * (1 + 1e-6)


@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(1, 5), max_size=3))
def test_fans(o: int, i: int, kernel: list[int]) -> None:
    n = math.prod(kernel)
    assert init.fans([o, i, *kernel]) == (i * n, o * n)


def test_fans_and_gains_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for shape in SHAPES:
        theirs = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
        assert init.fans(shape) == theirs
    for name in ["linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"]:
        assert init.gain(name) == torch.nn.init.calculate_gain(name)
    for a in (None, 0.0, 0.3, 1.0):
        assert init.gain("leaky_relu", a) == torch.nn.init.calculate_gain("leaky_relu", a)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xavier_uniform", {}),
        ("xavier_uniform", {"gain": 5 / 3}),
        ("kaiming_uniform", {"a": math.sqrt(5)}),
        ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_uniform", {"nonlinearity": "tanh"}),
    ],
)
def test_the_bounds_are_torch_s(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.init, name + "_")(torch.empty(shape), **options).numpy()
    ours = getattr(init, name)(shape, **options)
    # n numbers come within the n-th part of their bound, a few times over
    np.testing.assert_allclose(abs(ours).max(), abs(theirs).max(), rtol=20 / theirs.size)


def test_errata() -> None:
    shape = (100, 50)
    he = math.sqrt(6 / 50)  # E003-10: the root covers the 6
    assert 0.99 * he < abs(init.he_uniform(shape)).max() <= he * (1 + 1e-6)
    glorot = math.sqrt(6 / 150)  # E003-11: the two sides of this matrix
    assert 0.99 * glorot < abs(init.xavier_uniform(shape)).max() <= glorot * (1 + 1e-6)
    lisa = 4 * glorot  # E003-12: the factor for logistic, by the name of its gain
    w = init.xavier_uniform(shape, gain="lisa_logistic")
    assert 0.99 * lisa < abs(w).max() <= lisa * (1 + 1e-6)
    # E004-27: 1/n is LeCun's, Glorot's is 2/(n_in + n_out)
    assert_variance(init.lecun_normal((400, 100)), 1 / 100, "normal")
    assert_variance(init.xavier_normal((400, 100)), 2 / 500, "normal")


def test_the_variance_of_a_sum() -> None:
    # ledger I-05, E004-28: Var(s) = n Var(w) Var(x) = Var(x) for LeCun's 1/n
    x = np.random.default_rng(0).normal(size=(2000, 300)) * 3
    s = x @ init.lecun_uniform((400, 300), np.float64).T
    assert abs(s.var() / 9 - 1) < 0.02
    # the printed left side, Var(w), is n Var(x) times too small
    assert abs(1 / 300 - 300 * (1 / 300) * 9) > 8


def growth(draw: Any, activation: Any, start: float = 1.0, depth: int = 10) -> Any:
    """The mean square after so many layers over that of before, for each of 300 networks.

    Its mean is that of the theory exactly; the mean of its logarithm would not be.
    """
    width = 60
    x = np.random.default_rng(0).normal(size=(10, width)) * math.sqrt(start)
    found = []
    for _ in range(300):
        z = x
        for _ in range(depth):
            z = activation(z) @ draw((width, width)).T
        found.append((z**2).mean() / (x**2).mean())
    return np.array(found)


def assert_mean(found: Any, expected: float) -> None:
    """Within five standard errors, which are small enough to tell."""
    bar = found.std() / math.sqrt(len(found) - 1)
    assert bar < 0.07 * expected
    assert abs(found.mean() - expected) < 5 * bar + 1e-5


def relu(z: Any) -> Any:
    return np.maximum(z, 0)


def test_signals_keep_their_variance_through_many_layers() -> None:
    # ledger I-05; of relu's input, half of the mean square passes
    first = np.random.default_rng(0).normal(size=(10, 60))
    half = 2 * (relu(first) ** 2).mean() / (first**2).mean()
    for draw in (init.he_uniform, init.he_normal):
        assert_mean(growth(draw, relu), half)
    for draw in (init.lecun_uniform, init.lecun_normal):
        assert_mean(growth(draw, lambda z: z), 1.0)
    z = first
    for _ in range(10):
        z = z @ init.orthogonal((60, 60), dtype=np.float64).T
    assert (z**2).mean() == pytest.approx((first**2).mean(), rel=1e-12)


def test_signals_through_tanh() -> None:
    """With the gain 5/3 the mean square q = (5/3)² E[tanh²(√q z)] passes unchanged; without it any
    signal dies away."""
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    q = 1.0
    for _ in range(200):
        q = 25 / 9 * float((np.tanh(math.sqrt(q) * z) ** 2 * weight).sum() / weight.sum())
    for draw in (init.xavier_uniform, init.xavier_normal):
        held = growth(lambda s, draw=draw: draw(s, gain="tanh"), np.tanh, start=q)
        assert abs(held.mean() - 1) < 0.05
        assert growth(draw, np.tanh, start=q).mean() < 0.2


def test_the_printed_bounds_do_not_keep_it() -> None:
    # E003-10: 6/√n is √6 times too wide, so each rectifier multiplies the mean square by 6
    def printed(shape: tuple[int, int]) -> Any:
        bound = 6 / math.sqrt(shape[1])
        return init.uniform(shape, -bound, bound)

    assert growth(printed, relu).mean() ** 0.1 == pytest.approx(6, rel=0.05)
    # E003-11: widths 100, 300, 100; the fan-out of the neuron is that of the next matrix
    matrix = init.xavier_uniform((300, 100))
    assert abs(matrix.var() / (2 / (100 + 300)) - 1) < 0.03
    assert abs(matrix.var() / (2 / (100 + 100)) - 1) > 0.4  # the printed √(6/(I^{l-1}+I^{l+1}))


def test_the_law_of_a_normal_cut_at_both_ends() -> None:
    for mean, std, a, b in ((0.0, 0.5, -1.0, 1.0), (1.0, 2.0, 0.0, 1.5), (0.0, 1.0, 1.0, 9.0)):
        w = np.sort(init.trunc_normal(20_000, mean, std, a, b, np.float64))
        assert a <= w[0] <= w[-1] <= b
        phi = np.array([0.5 * math.erf((v - mean) / (std * math.sqrt(2))) for v in [a, b, *w]])
        law = (phi[2:] - phi[0]) / (phi[1] - phi[0])
        # Kolmogorov and Smirnov's distance passes 1.95/√n once in a thousand
        assert abs(law - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / math.sqrt(20_000)
    # of ±2 std, what Keras divides by
    assert abs(init.trunc_normal(100_000, dtype=np.float64).std() - 0.8796) < 0.005


@pytest.mark.parametrize("bound", [0.1, 1 / 3])
def test_no_rounding_passes_a_bound(bound: float) -> None:
    w = init.trunc_normal(200_000, 0.0, 1.0, -bound, bound)
    assert w.dtype == np.float32
    assert float(w.max()) <= bound
    assert float(w.min()) >= -bound
    assert abs(w).max() > bound * 0.999


def test_bounds_with_nothing_between_them() -> None:
    with pytest.raises(ValueError, match=r"±2 std are a=-0\.02, b=0\.02"):
        init.trunc_normal(3, 0.0, 0.01, 2.0, 3.0)
    for options in ({"std": 0.0}, {"a": 1.0, "b": 1.0}, {"std": float("nan")}):
        with pytest.raises(ValueError, match="std > 0 and a < b"):
            init.trunc_normal(3, **options)


def test_a_gain_by_name() -> None:
    bound = math.sqrt(6 / 300)
    for name, factor in (("tanh", 5 / 3), ("lisa_logistic", 4.0), ("sigmoid", 1.0)):
        w = init.xavier_uniform((100, 200), gain=name)
        assert abs(abs(w).max() / (factor * bound) - 1) < 1e-3
    assert init.xavier_normal((300, 300), gain="relu").std() == pytest.approx(
        math.sqrt(2 / 300), rel=0.01
    )
    with pytest.raises(ValueError, match="no gain is known for 'tahn'; did you mean 'tanh'"):
        init.xavier_uniform((2, 2), gain="tahn")


# -- shapes and parameters ------------------------------------------------------------------------

ALL = [
    init.uniform, init.normal, init.zeros, init.ones, init.xavier_uniform, init.xavier_normal,
    init.he_uniform, init.he_normal, init.lecun_uniform, init.lecun_normal, init.trunc_normal,
    init.orthogonal, init.eye,
]  # fmt: skip


@pytest.mark.parametrize("f", ALL, ids=lambda f: f.__name__)
def test_a_parameter_is_filled_in_place(f: Any) -> None:
    for dtype in (np.float32, np.float64):
        p = cr.nn.Parameter(np.full((4, 3), 7, dtype))
        memory, version = p._data, p._version
        assert f(p) is p
        assert p._data is memory
        assert p.dtype == dtype
        assert p._version == version + 1
        assert not (memory == 7).any()


@pytest.mark.parametrize("f", ALL, ids=lambda f: f.__name__)
def test_types_and_seeds(f: Any) -> None:
    cr.seed(3)
    a = f((4, 3))
    cr.seed(3)
    assert np.array_equal(f([4, np.int64(3)]), a)
    assert f((4, 3), dtype=np.float64).dtype == np.float64
    assert f((0, 3)).shape == (0, 3)
    assert f((3, 0)).shape == (3, 0)


def test_plain_laws() -> None:
    a = init.uniform(10_000, -2, 3)
    assert a.shape == (10_000,)
    assert a.min() >= -2
    assert a.max() < 3
    assert_variance(a - 0.5, 25 / 12, "uniform")
    assert_variance(init.normal((100, 100), 5.0, 2.0) - 5, 4.0, "normal")
    assert init.constant((2, 2), 1.5).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert not init.xavier_normal((3, 3), gain=0).any()


def test_errors() -> None:
    with pytest.raises(cr.ShapeError, match=r"got \(3,\); give a bias zeros"):
        init.he_uniform(3)
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out', got 'in'"):
        init.he_normal((2, 2), mode="in")
    with pytest.raises(ValueError, match="no gain is known for 'rleu'; did you mean 'relu'"):
        init.gain("rleu")
    with pytest.raises(
        ValueError, match="no initializer is called 'xavier'; did you mean 'xavier_"
    ):
        init.get("xavier")
    with pytest.raises(TypeError, match=r"not ndarray; pass the shape \(2, 2\)"):
        init.zeros(np.ones((2, 2)))
    with pytest.raises(TypeError, match="not Tensor"):
        init.zeros(cr.tensor([1.0]))
