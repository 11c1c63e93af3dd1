"""`@formula`: one text gives value, derivative of every order, and the same on every executor."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.compile.trace import TraceError
from chainrule.ops import reduction
from chainrule.ops.formula import FORMULAS, Formula, formula
from chainrule.ops.loss import LOSSES
from chainrule.ops.tensor import RECORDED

X = np.random.default_rng(0).standard_normal((3, 4)) * 2
EXTREME = np.array([-1e4, -800.0, -88.0, -1.0, -1e-300, 1e-300, 1.0, 40.0, 89.0, 1e4])


@formula
def snake(xp, x, a=1.0):
    """x + sin²(a x) / a"""
    return x + xp.sin(a * x) ** 2 / a


@formula
def gated(xp, a, b):
    return a * ops.sigmoid(b)


@formula
def twice(xp, x):
    return x + x, x * x


# -- calling ---------------------------------------------------


def test_a_formula_takes_arrays_and_tensors():
    assert isinstance(snake(X), np.ndarray)
    t = snake(cr.tensor(X))
    assert isinstance(t, cr.Tensor)
    np.testing.assert_allclose(t.numpy(), X + np.sin(X) ** 2, rtol=1e-15)
    cr.check_gradients(snake, X)


def test_attributes_by_position_by_keyword_and_as_arrays():
    wanted = X + np.sin(3 * X) ** 2 / 3
    a = cr.tensor(np.array(3.0), requires_grad=True)
    for got in (snake(X, 3.0), snake(X, a=3.0), snake(x=X, a=3), snake(X, np.float64(3.0))):
        np.testing.assert_allclose(got, wanted, rtol=1e-14)
    y = snake(X, a)
    y.sum().backward()
    slope = (2 * np.sin(3 * X) * np.cos(3 * X) * X / 3 - np.sin(3 * X) ** 2 / 9).sum()
    np.testing.assert_allclose(a.grad.item(), slope, rtol=1e-12)
    cr.check_gradients(snake, X, np.full((3, 1), 1.5))
    cr.check_gradients(lambda a: snake(X, a=a), np.full(4, 1.5))


def test_several_outputs():
    a, b = twice(X)
    np.testing.assert_array_equal(a, 2 * X)
    np.testing.assert_array_equal(b, X * X)
    cr.check_gradients(twice, X)


def test_documentation_and_names_stay():
    assert snake.__name__ == "snake"
    assert "sin²" in snake.__doc__
    assert "a" in snake.__signature__.parameters
    assert "xp" not in snake.__signature__.parameters
    assert repr(snake).startswith("<formula snake(x")


def test_a_formula_as_a_method():
    class Thing:
        @formula
        def half(xp, x):
            return 0.5 * x

    assert Thing.half(np.array([2.0])) == 1


def test_a_formula_is_copied_and_pickled_by_name():
    assert copy.deepcopy(snake) is snake
    assert pickle.loads(pickle.dumps(ops.relu)) is ops.relu


# -- texts that call texts ---------------------------------------------------


def test_a_called_text_is_inlined_when_traced():
    ops_of = str(gated.trace())
    assert "sigmoid" in ops_of
    assert "call" not in ops_of  # sigmoid has no override
    y = gated(cr.tensor(X, requires_grad=True), X)
    assert y._node.op.name == "gated"
    assert all(type(e) is not tuple for e in y._node.edges)


def test_a_called_text_is_one_node_when_recorded():
    x = cr.tensor(X, requires_grad=True)
    y = ops.selu(x)  # calls elu
    assert y._node.op.name == "selu"
    assert y._node.edges == (x,)
    recorded = ops.selu.text(RECORDED, x)  # by hand: a product of the node of elu
    assert recorded._node.edges[1][0].op.name == "elu"


def test_the_override_of_a_called_text_is_used():
    calls = []

    @formula
    def inner(xp, x):
        return xp.exp(x)

    @inner.override(saves="y")
    def inner_vjp(xp, inputs, y, g):
        calls.append(inputs)
        return g * y

    outer = Formula(lambda xp, x: inner(3.0 * x), "outer")
    cr.check_gradients(outer, X * 0.1)
    assert calls
    assert calls[0] == (None,)  # saves="y": it is given no inputs


# -- overrides ---------------------------------------------------


OVERRIDDEN = [f for f in FORMULAS.values() if f._vjp is not None]


def test_there_are_overrides_to_prove():
    assert {"relu", "softmax", "log_softmax", "elu", "softplus"} <= {f.name for f in OVERRIDDEN}


@pytest.mark.parametrize("f", OVERRIDDEN, ids=lambda f: f.name)
@pytest.mark.parametrize("x", [X, EXTREME.reshape(2, 5)], ids=["random", "extreme"])
def test_an_override_equals_the_derived_derivative(f, x):
    """To rounding, in both orders; the derived one may lose digits where both are tiny."""
    g = np.random.default_rng(1).standard_normal(x.shape)
    u = np.random.default_rng(2).standard_normal(x.shape)

    def both(op):
        t = cr.tensor(x, requires_grad=True)
        c = cr.tensor(g, requires_grad=True)
        y = op(t)
        (first,) = cr.autograd.grad(y, [t], c, create_graph=True)
        seconds = cr.autograd.grad(first, [t, c], u)
        return [y.detach().numpy(), first.detach().numpy(), *(s.numpy() for s in seconds)]

    for a, b in zip(both(f.compiled()), both(f.underived()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_a_wrong_override_would_be_seen():
    @formula
    def cube(xp, x):
        return x * x * x

    @cube.override(saves="x")
    def cube_vjp(xp, inputs, y, g):
        return g * 3.01 * inputs[0] * inputs[0]

    with pytest.raises(AssertionError, match=r"order 1"):
        cr.check_gradients(cube, X)


def test_override_arguments():
    with pytest.raises(ValueError, match=r"saves must be 'x', 'y' or 'xy', not 'z'"):
        snake.override(saves="z")

    @formula
    def scaled(xp, x, k=2.0):
        return xp.exp(k * x)

    @scaled.override(saves="xy")
    def scaled_vjp(xp, inputs, y, g, k):
        assert inputs[0] is not None
        assert y is not None
        return g * y * k

    cr.check_gradients(lambda x: scaled(x, k=0.5), X)


# -- one text, every executor ---------------------------------------------------


EVERY = {**FORMULAS, **LOSSES}
EVERY |= {f.name: f for f in vars(reduction).values() if isinstance(f, Formula)}
for _name in ("cross_entropy", "nll_loss", "categorical_cross_entropy", "focal_loss"):
    del EVERY[_name]  # which take labels: tests/ops/loss
del EVERY["multi_margin_loss"]
UNIT = ("binary_cross_entropy", "distribution_cross_entropy", "kl_div", "kl_divergence")


@pytest.mark.parametrize("name", sorted(EVERY))
def test_plain_printed_and_recorded_agree(name):
    f = EVERY[name]
    arrays = [X + 0.1 * k for k in range(len(f.arrays))]
    if name in UNIT:  # of probabilities
        arrays = [1 / (1 + np.exp(-a)) for a in arrays]
    if name == "gaussian_nll_loss":
        arrays[2] = np.abs(arrays[2]) + 0.1
    plain = f.plain(*arrays)
    np.testing.assert_allclose(f(*arrays), plain, rtol=1e-13, atol=1e-15)

    def derivatives(op):
        ts = [cr.tensor(a, requires_grad=True) for a in arrays]
        y = op(*ts)
        g = np.cos(np.arange(y.size)).reshape(y.shape)
        first = cr.autograd.grad(y, ts, g, create_graph=True)
        second = cr.autograd.grad(sum((d * d).sum() for d in first), ts)
        return [t.detach().numpy() for t in (y, *first, *second)]

    printed = derivatives(f)
    recorded = derivatives(lambda *ts: f.text(RECORDED, *ts))
    for a, b in zip(printed, recorded, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


# -- mistakes ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lambda xp, x: x if x > 0 else -x, "must not branch"),
        (lambda xp, x: [v for v in x], "cannot iterate"),  # noqa: C416
        (lambda xp, x: x[0], "indexing cannot be traced"),
        (lambda xp, x: x * float(x), "must not read its values"),
        (lambda xp, x: x * np.float32(2.0), "must be Python numbers"),
        (lambda xp, x: xp.cosh(x), "no primitive 'cosh'"),
        (lambda xp, x: "y", "returned str"),
    ],
)
def test_a_text_that_cannot_be_traced_says_why(text, says):
    f = Formula(text, "mine")
    with pytest.raises(TraceError, match=says) as caught:
        f(X)
    assert "mine" in str(caught.value)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"snake\(\) got 'b' but has no such argument; it takes"):
        snake(X, b=2.0)
    with pytest.raises(TypeError, match=r"got 'x' twice"):
        snake(X, x=X)
    with pytest.raises(TypeError, match=r"takes 2 arguments, 3 were given"):
        snake(X, 1.0, 2.0)
    with pytest.raises(TypeError, match=r"needs 'x'"):
        snake(a=2.0)
    with pytest.raises(TypeError, match=r"name every argument"):
        formula(lambda xp, *xs: xs[0])


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(5,\)"):
        gated(X, np.ones(5))


# -- types ---------------------------------------------------


def test_types_of_the_result():
    assert snake(X.astype(np.float32)).dtype == np.float32
    assert snake(X.astype(np.float32), np.float64(2)).dtype == np.float32
    assert gated(X.astype(np.float32), np.arange(4)).dtype == np.float32
    assert gated(X.astype(np.float32), X).dtype == np.float64
    assert snake(np.arange(3)).dtype == np.float32
    assert snake(2.0).dtype == np.float32
    assert snake([1.0, 2.0]).dtype == np.float32
    assert ops.add(np.arange(3), 1).dtype == np.int64
    assert ops.add(np.arange(3), 1.5).dtype == np.float32


def test_gradients_have_the_types_of_their_inputs():
    a = cr.tensor(X.astype(np.float32), requires_grad=True)
    b = cr.tensor(X, requires_grad=True)
    y = gated(a, b)
    assert y.dtype == np.float64
    y.sum().backward()
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64


# -- caches and threads ---------------------------------------------------


def test_an_attribute_with_ever_new_values_does_not_fill_the_memory():
    f = Formula(lambda xp, x, a=1.0: x * a, "f")
    for k in range(600):
        f(np.ones(1), a=float(k))
    assert len(f._compiled) <= 256
    assert f(np.ones(1), a=3.0) == 3


def test_attributes_of_other_types_are_other_programs():
    f = Formula(lambda xp, x, a=1: x * a if a is not True else x, "f")
    np.testing.assert_array_equal(f(np.array([2.0]), a=1), [2])
    np.testing.assert_array_equal(f(np.array([2.0]), a=True), [2])
    np.testing.assert_array_equal(ops.sum(X, axis=[0, 1]), ops.sum(X, axis=(0, 1)))
    np.testing.assert_allclose(
        ops.sum(X, axis=[0, 1]),
        X.sum(),
        rtol=4 * np.finfo(X.dtype).eps * np.abs(X).sum() / abs(X.sum()),
    )
    np.testing.assert_allclose(ops.sum(X, axis=np.int64(1)), X.sum(1))


def test_a_formula_in_threads():
    f = Formula(lambda xp, x: xp.exp(xp.sin(x)) * x, "f")
    errors = []
    start = threading.Barrier(4)

    def work(n):
        x = np.linspace(-1, 1, n)
        start.wait()
        for _ in range(20):
            t = cr.tensor(x, requires_grad=True)
            y = f(t)
            y.sum().backward()
            slope = np.exp(np.sin(x)) * (1 + x * np.cos(x))
            if not (np.allclose(t.grad.numpy(), slope) and np.allclose(f(x), y.detach().numpy())):
                errors.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (5, 50, 5, 500)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_min_and_square_are_known_to_every_executor():
    @cr.formula
    def spread(xp, x):
        return xp.square(x - xp.min(x, axis=-1, keepdims=True))

    x = np.random.default_rng(0).normal(size=(3, 4))
    wanted = (x - x.min(-1, keepdims=True)) ** 2
    np.testing.assert_allclose(spread(x), wanted, rtol=1e-15)
    np.testing.assert_allclose(spread.plain(x), wanted, rtol=1e-15)
    np.testing.assert_allclose(spread.text(RECORDED, cr.tensor(x)).numpy(), wanted, rtol=1e-15)
    assert cr.check_gradients(spread, x)
