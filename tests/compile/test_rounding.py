"""Formulas and their derivatives in float32 are within 4 eps times the sum of the magnitudes of
their terms of the exact value: what that sum is, stands in `tests_rounding`.

``pytest tests/compile/test_rounding.py -s`` prints the largest ratio of every formula.
"""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import build, eager, native
from chainrule.compile.expression import Expr
from chainrule.compile.kernel import Kernel
from chainrule.compile.lower import lower
from chainrule.compile.trace import trace
from chainrule.ops import elementwise, loss, reduction, standardization
from chainrule.ops.formula import FORMULAS, Formula
from tests_rounding import BOUND, Analysis, exactly, pulled, ratios

F = np.float32
#: Parameters beside the defaults.
VARIANTS = {
    "celu": [{"alpha": 0.5}],
    "elu": [{"alpha": 0.5}, {"alpha": 2.0}],
    "gelu": [{"approximate": "tanh"}],
    "hardshrink": [{"lambd": 1.25}],
    "hardtanh": [{"min_val": -0.25, "max_val": 2.0}],
    "leaky_relu": [{"negative_slope": 0.3}, {"negative_slope": 0.0}],
    "logistic": [{"L": 2.5, "k": 0.7, "x0": 1.1}],
    "softplus": [{"beta": 3.0}],
    "softshrink": [{"lambd": 1.25}],
    "threshold": [{"threshold": 0.375, "value": -1.5}],
    "polygamma": [{"n": 1}, {"n": 3}],
    "power_of": [{"exponent": e} for e in (3.0, 0.5, -1.0, 1.7)],
}
#: Those along an axis: (formula, attributes); tested on rows.
ROWS = {
    "softmax": [{}],
    "softmin": [{}],
    "log_softmax": [{}],
    "sum": [{"axis": -1}, {}],
    "mean": [{"axis": -1}, {"axis": 0}, {}],
    "max": [{"axis": -1}],
    "min": [{"axis": -1}],
    "var": [{"axis": -1, "correction": 1}],
    "std": [{"axis": -1}],
    "logsumexp": [{}],
    "norm": [{"axis": -1}, {"axis": -1, "ord": 1}, {"axis": -1, "ord": 3}, {"ord": float("inf")}],
    "mse": [{}, {"reduction": "sum"}],
    "l1": [{}],
    "huber": [{}, {"delta": 0.3}],
    "bce": [{}],
    "bce_logits": [{}],
    "class_loss": [{}, {"reduction": "none"}, {"label_smoothing": 0.1}],
    "nll": [{}],
    "soft_class_loss": [{}, {"label_smoothing": 0.1}],
}
#: Those tested on long rows too, and those whose second derivatives are.
LONG = ("softmax", "log_softmax", "sum", "logsumexp", "class_loss")
SECOND = (*LONG, "mse", "std")
_SHAPES = ("sum_to", "broadcast_like", "squeeze", "expand_dims")


def _named(module):
    return {f.name: f for f in vars(module).values() if isinstance(f, Formula)}


_LOSSES = {f.name: f for f in loss.LOSSES.values()} | _named(loss.classes)
ALONG = _named(reduction) | _LOSSES | FORMULAS
ALONG = {k: ALONG[k] for k in ROWS}
POINTWISE = {
    k: f
    for k, f in (_named(elementwise) | _named(standardization) | FORMULAS).items()
    if k not in ROWS and k not in _SHAPES
}
POINTWISE |= {
    k: f
    for k, f in _LOSSES.items()
    if f.arrays[1:] == ("target",)
    and k not in ("soft_class_loss", "soft_categorical", "multilabel")
}


# -- where to look --------------------------------------------------------------------------------


def _pool():
    """Normal draws, all magnitudes, saturated and subnormal numbers, kinks and their neighbours."""
    r = np.random.default_rng(0)
    normal = np.concatenate([r.normal(size=2000), r.normal(size=800) * 10])
    magnitudes = np.logspace(-30, 4, 160) * r.choice([-1.0, 1.0], 160)
    tails = np.concatenate([np.linspace(-120, 120, 241), np.linspace(-9, 9, 181)])
    at = np.array([0, 1e-3, 0.3, 0.5, 1, 1.1, 2, 1000, 1e-38, 1e-42], F)
    kinks = np.concatenate([f(s * at) for s in (F(1), F(-1)) for f in (np.positive, _up, _down)])
    return np.concatenate([normal, magnitudes, -magnitudes, tails, kinks]).astype(F)


def _up(x):
    return np.nextafter(x, F(np.inf))


def _down(x):
    return np.nextafter(x, F(-np.inf))


POOL = _pool()


def _pointwise_arrays(name, arrays):
    """One array per argument; every second one is the pool in another order."""
    r = np.random.default_rng(1)
    found = [POOL]
    for _ in arrays[1:]:
        other = r.permutation(POOL)
        other[:60] = POOL[:60]  # ties
        found.append(other)
    if name == "where":
        found[0] = r.random(POOL.size) < 0.5
    if name in ("bce", "bce_logits"):
        found[1] = r.random(POOL.size).astype(F)
        found[1][::7] = 1.0
    if name == "bce":
        found[0] = np.abs(POOL) / (1 + np.abs(POOL))
    return found


def _row_arrays(name, arrays):
    """Rows: normal, of very unequal magnitudes, far from 0 and saturated, long."""
    r = np.random.default_rng(2)
    normal = r.normal(size=(5, 4, 5))
    wide = 10.0 ** r.uniform(-30, 4, (4, 5)) * r.choice([-1, 1], (4, 5))
    shifted = normal[1] + np.array([[1e4], [-80.0], [0.0], [-1e-30]])
    sets = [normal[0], wide, shifted, np.round(normal[2]), normal[3] * 60]
    for x in [*sets, r.normal(size=(3, 300))] if name in LONG else sets:
        found = [x.astype(F)]
        if arrays[1:] == ("labels",):
            found.append(r.integers(0, x.shape[1], (x.shape[0], 1)))
        elif name == "soft_class_loss":
            found.append(r.dirichlet(np.ones(x.shape[1]), x.shape[0]).astype(F))
        elif arrays[1:]:
            found.append(r.permutation(found[0].ravel()).reshape(x.shape))
            if name in ("bce", "bce_logits"):
                found[1] = r.random(x.shape).astype(F)
            if name == "bce":
                found[0] = np.abs(found[0]) / (1 + np.abs(found[0]))
        yield found


class Case:
    """A program of a formula, or of its first or second derivative, with arrays for it."""

    def __init__(self, label, order, program, arrays, pointwise, attrs=None):
        self.label, self.order, self.program, self.arrays = label, order, program, arrays
        self.pointwise, self.attrs = pointwise, attrs
        self.kernel = Kernel(program)
        self.signature = tuple((a.shape, a.dtype) for a in arrays)

    def native(self):
        return eager.native_plan(self.program, self.signature, {}, False, False)

    def run(self, executor):
        run = self.native() if executor == "native" else None
        if executor == "native" and run is None:  # NumPy gives views and constants
            low = lower(self.program, self.signature)
            assert all(map(eager._is_view, low.outputs)), self.label
        run = run or self.kernel._numpy(self.signature)
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in run(*[a.copy() for a in self.arrays])]

    @functools.cached_property
    def findings(self):
        return Analysis(self.program, self.arrays, self.pointwise).findings()


def _orders(label, f, attrs, arrays, pointwise):
    """The cases of one formula at some arrays: value, derivative, derivative of the derivative."""
    program = f.trace(**attrs)
    yield Case(label, 0, program, arrays, pointwise, attrs)
    wanted = [a.dtype == F for a in arrays]
    for order in (1, 2) if pointwise or f.name in SECOND else (1,):
        low = lower(program, [(a.shape, a.dtype) for a in arrays])
        shapes = [low.shapes[o] if isinstance(o, Expr) else () for o in low.outputs]
        r = np.random.default_rng(order)
        arrays = [*arrays, *(np.asarray(r.normal(size=s), F) for s in shapes)]
        program = pulled(program, wanted + [False] * (len(program.inputs) - len(wanted)))
        if not all(isinstance(o, Expr) for o in program.outputs):
            return
        yield Case(label, order, program, arrays, pointwise, attrs)


NAMES = [*POINTWISE, *(f"{name} in rows" for name in ROWS)]


@functools.cache
def cases(name):
    """The cases of a name: of every variant, at all arrays, of every order."""
    found = []
    base, _, rows = name.partition(" in ")
    f = (ALONG if rows else POINTWISE)[base]
    for attrs in ROWS[base] if rows else [{}, *VARIANTS.get(base, [])]:
        label = name + "".join(f" {k}={v}" for k, v in attrs.items())
        if rows:
            for arrays in _row_arrays(base, f.arrays):
                found += _orders(label, f, attrs, arrays, False)
        else:
            more = {"reduction": "none"} if "reduction" in f.defaults else {}
            found += _orders(label, f, attrs | more, _pointwise_arrays(base, f.arrays), True)
    return found


# -- the claim ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["native", "numpy"])
def executor(request):
    """Native code, all of it built by one run of the compiler, or NumPy."""
    if request.param == "numpy":
        yield "numpy"
        return
    if build.find_compiler() is None or build.runtime() is None:
        pytest.skip("there is no C compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_NATIVE", "always")
        patch.setattr(native, "_known", dict(native._known))  # what is built here stays here
        with native.collecting() as texts:
            for case in itertools.chain(*map(cases, NAMES)):
                case.native()
        # built quickly: no level of optimization changes where C rounds
        quick = functools.partial(build.shared_library, extra=("-O1",))
        patch.setattr(build, "shared_library", quick)
        wanted = [SimpleNamespace(name=n, source=s) for n, s in texts.items()]
        assert native.kernels(wanted) is not None
        yield "native"


class Row:
    """What was found of one formula, one order and one executor."""

    def __init__(self):
        self.ratio, self.at, self.looked, self.crossing, self.beyond = 0.0, "", 0, 0, 0

    def add(self, case, found, ratio):
        k = int(np.argmax(ratio))
        if ratio[k] >= self.ratio:
            same = [a for a in case.arrays if a.shape == found.exact.shape]
            self.at = ", ".join(f"{a.ravel()[found.entries[k]]:.9g}" for a in same)
            self.ratio = float(ratio[k])
        self.looked += ratio.size
        self.crossing += int(found.crossing.sum())
        self.beyond += int((found.beyond & ~found.crossing).sum())


@pytest.fixture(scope="module")
def table():
    """The largest ratios, printed in the end."""
    rows = {}
    yield rows
    columns = [(e, order) for e in ("native", "numpy") for order in (0, 1, 2)]
    print("\nlargest |error| / (eps S) of float32: value, derivative, second derivative")
    print(f"{'':42}{'native':>21}{'NumPy':>21}")
    for label in dict.fromkeys(label for label, _, _ in rows):
        found = [rows.get((label, *c)) for c in columns]
        print(f"{label:42}" + "".join("      -" if r is None else f"{r.ratio:7.2f}" for r in found))
    for e in ("native", "numpy"):
        here = {k: r for k, r in rows.items() if k[1] == e}
        if here:
            label, _, order = max(here, key=lambda k: here[k].ratio)
            looked, crossing, beyond = (
                sum(getattr(r, part) for r in here.values())
                for part in ("looked", "crossing", "beyond")
            )
            print(
                f"{e}: largest {here[label, e, order].ratio:.2f}, {label} order {order} at "
                f"({here[label, e, order].at}); {looked} numbers, of which left out: {crossing} "
                f"where rounding may cross a branch, {beyond} past an overflow"
            )


@pytest.mark.parametrize("name", NAMES)
def test_rounding(executor, table, name):
    for case in cases(name):
        row = table.setdefault((case.label, executor, case.order), Row())
        for y, found in zip(case.run(executor), case.findings, strict=True):
            row.add(case, found, ratios(y, found))
        assert row.ratio <= BOUND, (case.label, case.order, row.at)


@pytest.mark.parametrize("name", [n for n in NAMES if n.partition(" in ")[0] in FORMULAS])
def test_the_tape(name):
    """The same bound for the derivatives as a tape computes them, kernel by kernel."""
    f = FORMULAS[name.partition(" in ")[0]]
    for case in cases(name):
        if case.order:
            ts = [cr.tensor(a, requires_grad=True) for a in case.arrays[: len(f.arrays)]]
            cotangents = iter(case.arrays[len(f.arrays) :])
            with np.errstate(all="ignore"):
                ys = [f(*ts, **case.attrs)]
                for _ in range(case.order):
                    gs = list(itertools.islice(cotangents, len(ys)))
                    ys = cr.autograd.grad(ys, ts, gs, create_graph=True)
            for y, found in zip(ys, case.findings, strict=True):
                assert ratios(y.detach().numpy(), found).max() <= BOUND, case.label


# -- the measure itself ---------------------------------------------------------------------------


def test_every_parameter_has_another_value():
    for name, f in FORMULAS.items():
        varied = {k for attrs in VARIANTS.get(name, []) for k in attrs}
        assert varied == f.defaults.keys() - {"axis"}, name


def test_few_numbers_are_left_out():
    """Of activations none, and of values only where a loss branches, or grows without bound."""
    for name in NAMES:
        for case in cases(name):
            for found in case.findings:
                if name in _LOSSES:  # at a distance, or by an exponential
                    assert np.mean(found.crossing | found.beyond) < 0.15, name
                elif case.order == 0 and "huber" not in name:
                    assert not (found.crossing | found.beyond).any(), name
                if name.partition(" in ")[0] in FORMULAS:
                    assert not (found.crossing | found.beyond).any(), name


@pytest.mark.parametrize("slip", [1 + 2.0**-17, 1 - 2.0**-17])
def test_a_slightly_wrong_text_is_found(slip):
    """A constant that is off by 64 eps."""

    def gelu(xp, x, slip=1.0):
        return x * (0.5 * (1.0 + xp.erf(x * (slip * 0.5**0.5))))

    right, wrong = (Case("gelu", 0, trace(gelu, ["x"], slip=s), [POOL], True) for s in (1.0, slip))
    assert ratios(*right.run("numpy"), *right.findings).max() <= BOUND
    assert ratios(*wrong.run("numpy"), *right.findings).max() > BOUND


def test_a_sum_may_be_off_by_its_terms():
    """1 + 1e8 - 1e8 in float32 is 0: wrong by everything, but not by the magnitude of its terms."""
    program = trace(lambda xp, x, y: x + y - y, ["x", "y"])
    case = Case("sum", 0, program, [np.ones(3, F), np.array([1.0, 1e8, 1e8], F)], True)
    (found,) = case.findings
    assert found.terms.tolist() == [3.0, 1e8 + 2, 1e8 + 2]
    assert case.run("numpy")[0].tolist() == [1.0, 0.0, 0.0]
    assert (ratios(*case.run("numpy"), found) <= 0.5).all()


@pytest.mark.parametrize("name", POINTWISE)
def test_exact_values(name):
    """The float64 values that stand for the exact ones, against mpmath at 40 digits."""
    mpmath = pytest.importorskip("mpmath")
    points = np.linspace(0, len(POOL) - 1, 12).astype(int)
    with mpmath.workdps(40):
        for case in cases(name):
            for o, found in zip(case.program.outputs, case.findings, strict=True):
                fine = np.isfinite(found.exact) & np.isfinite(found.terms) & ~found.crossing
                for k in points[fine[points]]:
                    given = zip(case.program.inputs, case.arrays, strict=True)
                    exact = exactly(o, {x: a[k].item() for x, a in given}, mpmath)
                    error = abs(float(exact - mpmath.mpf(float(found.exact[k]))))
                    assert error <= 16 * 2.0**-52 * found.terms[k], (case.label, case.order, k)
