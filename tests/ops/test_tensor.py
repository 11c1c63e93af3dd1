"""The contract of `Tensor`: types, operators, indexing, NumPy's meanings, what raises."""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
CUBE = RNG.standard_normal((2, 3, 4))
F32 = X.astype(np.float32)


def leaf(a):
    return cr.tensor(a, requires_grad=True)


# -- making ---------------------------------------------------


def test_types_of_new_tensors():
    assert cr.tensor([1.0, 2.0]).dtype == np.float32
    assert cr.tensor(1.5).dtype == np.float32
    assert cr.tensor([[1, 2]]).dtype == np.int64
    assert cr.tensor([True]).dtype == bool
    assert cr.tensor(X).dtype == np.float64
    assert cr.tensor(np.float64(1)).dtype == np.float64
    assert cr.tensor([X[0], X[1]]).dtype == np.float64
    assert cr.tensor([1, 2], dtype=np.float64).dtype == np.float64
    assert cr.tensor([1.0], dtype="float64").dtype == np.float64
    assert cr.tensor(cr.tensor(X)).dtype == np.float64
    assert cr.tensor([]).dtype == np.float32
    for bad in (["a"], [1j], [None]):
        with pytest.raises(TypeError, match=r"floats, integers or booleans"):
            cr.tensor(bad)
    with pytest.raises(TypeError, match=r"only floating tensors have gradients; this one is int64"):
        cr.tensor([1, 2], requires_grad=True)


def test_tensor_copies_and_from_numpy_shares():
    a = np.ones(2)
    copied, shared = cr.tensor(a), cr.from_numpy(a)
    a[0] = 5
    np.testing.assert_array_equal(copied.numpy(), [1, 1])
    np.testing.assert_array_equal(shared.numpy(), [5, 1])
    with pytest.raises(TypeError, match=r"takes a numpy.ndarray, not list"):
        cr.from_numpy([1.0])
    with pytest.raises(TypeError, match=r"not complex128"):
        cr.from_numpy(np.ones(1, complex))


def test_asarray():
    t = cr.tensor(X)
    assert cr.asarray(t) is t
    assert cr.asarray(t, np.float32).dtype == np.float32
    assert cr.asarray([1.0]).dtype == np.float32


def test_what_it_is():
    t = cr.tensor(CUBE)
    assert (t.shape, t.ndim, t.size, t.dtype) == ((2, 3, 4), 3, 24, np.float64)
    assert len(t) == 2
    assert t.is_leaf
    assert not (leaf(X) * 2).is_leaf
    assert t.T.shape == (4, 3, 2)
    assert t.mT.shape == (2, 4, 3)


# -- types of results ---------------------------------------------------


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
@pytest.mark.parametrize(
    "weak",
    [
        2,
        2.5,
        True,
        np.float64(2),
        np.int64(2),
        np.array(2.0),
        np.array(2),
        np.arange(1, 5),
        np.ones(4, bool),
    ],
    ids=repr,
)
def test_scalars_and_integers_never_widen(op, weak):
    t = leaf(F32)
    for got, wanted in ((op(t, weak), op(X, weak)), (op(weak, t), op(weak, X))):
        assert isinstance(got, cr.Tensor)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-5, atol=1e-6)
        got.sum().backward()
        assert t.grad.dtype == np.float32


def test_a_wider_array_widens():
    assert (cr.tensor(F32) + X).dtype == np.float64
    assert (cr.tensor(F32) + cr.tensor(X)).dtype == np.float64
    assert (cr.tensor(F32) @ X.T).dtype == np.float64
    assert (cr.tensor([1, 2]) + 1).dtype == np.int64
    assert (cr.tensor([1, 2]) * 1.5).dtype == np.float32
    assert (cr.tensor([1, 2]) / 2).dtype == np.float32
    assert (cr.tensor([1, 2]) ** 2).dtype == np.int64
    assert cr.tensor([1, 2]).sum().dtype == np.int64


# -- operators ---------------------------------------------------


def test_operators_with_arrays_in_both_orders_give_tensors():
    t = leaf(X)
    y = np.abs(X) + 0.5
    for op in (operator.add, operator.sub, operator.mul, operator.truediv):
        for got, wanted in ((op(t, y), op(X, y)), (op(y, t), op(y, X))):
            assert isinstance(got, cr.Tensor)
            np.testing.assert_array_equal(got.detach().numpy(), wanted)
    np.testing.assert_allclose((y ** leaf(X)).detach().numpy(), y**X)
    np.testing.assert_allclose((X @ leaf(y.T)).detach().numpy(), X @ y.T)
    np.testing.assert_allclose((leaf(X) @ y.T).detach().numpy(), X @ y.T)
    np.testing.assert_allclose((2.0 ** leaf(X)).detach().numpy(), 2.0**X)
    np.testing.assert_array_equal((-t).detach().numpy(), -X)
    np.testing.assert_array_equal(abs(t).detach().numpy(), abs(X))
    assert +t is t
    cr.check_gradients(lambda a, b: a**b, y, X)
    cr.check_gradients(lambda a: 1 / (a**2 + 1) - 2**a, X)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, 2.5, 4])
def test_constant_powers(exponent):
    x = np.abs(X) + 0.3
    np.testing.assert_allclose((cr.tensor(x) ** exponent).numpy(), x**exponent, rtol=1e-14)
    cr.check_gradients(lambda t: t**exponent, x)


def test_powers_of_zero_and_negative_numbers():
    t = leaf(np.array([0.0, -2.0]))
    (t**3).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [0, 12])
    t.grad = None
    (t**1).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [1, 1])
    t.grad = None
    (t**0).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [0, 0])


def test_comparisons_are_booleans_off_the_tape():
    t = leaf(X)
    for op in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        for got, wanted in ((op(t, 0.0), op(X, 0.0)), (op(t, X[::-1]), op(X, X[::-1]))):
            assert isinstance(got, np.ndarray)
            assert got.dtype == bool
            np.testing.assert_array_equal(got, wanted)
        assert op(0.0, t).dtype == bool
    assert len({t, t, leaf(X)}) == 2  # hashed by identity
    np.testing.assert_array_equal(~(t > 0), X <= 0)


def test_iadd_makes_a_new_tensor():
    t = leaf(X)
    before = t
    t += 1
    t *= 2
    assert t is not before
    np.testing.assert_array_equal(before.detach().numpy(), X)
    t.sum().backward()
    np.testing.assert_array_equal(before.grad.numpy(), np.full(X.shape, 2.0))


def test_truth_numbers_and_iteration():
    assert bool(cr.tensor([[1.0]]))
    assert not cr.tensor(0)
    with pytest.raises(ValueError, match=r"truth of a tensor of shape \(3, 4\) is ambiguous"):
        bool(cr.tensor(X))
    assert float(leaf(np.array([2.5]))) == 2.5
    assert int(cr.tensor(3.7)) == 3
    assert [10, 20, 30][cr.tensor(1)] == 20
    with pytest.raises(TypeError, match=r"only an integer tensor"):
        [1, 2][cr.tensor(1.0)]
    rows = list(leaf(X))
    assert len(rows) == 3
    rows[1].sum().backward()
    with pytest.raises(TypeError, match=r"no length"):
        len(cr.tensor(1.0))
    with pytest.raises(TypeError, match=r"cannot be iterated"):
        iter(cr.tensor(1.0))
    assert X[1, 2] in cr.tensor(X)
    assert 77.0 not in cr.tensor(X)
    assert cr.tensor([1.5]).item() == 1.5
    assert isinstance(cr.tensor([1.5]).item(), float)
    with pytest.raises(
        ValueError, match=r"item\(\) needs one entry; this tensor has shape \(3, 4\)"
    ):
        cr.tensor(X).item()
    assert cr.tensor([[1, 2]]).tolist() == [[1, 2]]


# -- leaving the tape ---------------------------------------------------


def test_arrays_of_tensors_that_require_grad_raise():
    t = leaf(X)
    for call in (t.numpy, lambda: np.asarray(t), lambda: np.array(t * 2)):
        with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
            call()
    a = t.detach().numpy()
    a[0] = 9
    np.testing.assert_array_equal(t.detach().numpy(), X)
    plain = cr.tensor(X)
    np.testing.assert_array_equal(np.asarray(plain), X)
    assert np.asarray(plain, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match=r"cannot share its memory"):
        np.asarray(plain, copy=False)
    np.testing.assert_array_equal(np.from_dlpack(plain), X)
    with pytest.raises(RuntimeError, match=r"detach"):
        np.from_dlpack(t)


def test_tensors_cannot_be_changed():
    t = cr.tensor(X)
    with pytest.raises(TypeError, match=r"immutable.*ops\.where"):
        t[0] = 1.0
    with pytest.raises(TypeError, match=r"immutable"):
        del t[0]
    with pytest.raises(AttributeError):
        t.shape = (4, 3)
    with pytest.raises(AttributeError):
        t.note = "no such attribute"


def test_gradients_can_be_set_and_cleared():
    t = leaf(F32)
    t.grad = np.ones((3, 4))
    assert t.grad.dtype == np.float32
    with pytest.raises(ShapeError, match=r"cannot have shape \(2,\)"):
        t.grad = np.ones(2)
    t.grad = None
    assert t.grad is None


# -- indexing ---------------------------------------------------


INDICES = [
    1,
    -1,
    slice(1, None),
    slice(None, None, -2),
    (1, 2),
    (slice(None), 1),
    (Ellipsis, 0),
    (0, Ellipsis, slice(1, 3)),
    None,
    (slice(None), None, 0),
    np.array([0, 1, 1, 0]),
    [1, 0, 1],
    (np.array([0, 1, 1]), np.array([2, 0, 2])),
    (np.array([[0, 1], [1, 1]]), slice(None), np.array([3, 3])),
    (slice(None), np.array([2, 2, 0])),
    CUBE > 0,
    np.array([True, False]),
    (0, np.array([True, False, True])),
    (np.array([0, 1]), np.array([True, False, True])),
    (0, 0, 0),
    slice(0, 0),
    np.array([], int),
    np.int64(1),
]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing(index):
    got = leaf(CUBE)[index]
    assert isinstance(got, cr.Tensor)
    assert isinstance(got._data, np.ndarray)
    np.testing.assert_array_equal(got.detach().numpy(), CUBE[index])
    cr.check_gradients(lambda t: ops.sin(t[index]), CUBE)


@pytest.mark.parametrize("index", [i for i in INDICES if i is not None], ids=repr)
def test_gradients_of_indexing_equal_torch(torch, index):
    def steps_back(i):
        return isinstance(i, slice) and (i.step or 1) < 0

    if any(map(steps_back, index if isinstance(index, tuple) else (index,))):
        index = slice(None, None, 2)  # torch has no negative steps
    t, u = leaf(CUBE), torch.tensor(CUBE, requires_grad=True)
    (t[index] ** 3).sum().backward()
    (u[index] ** 3).sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), u.grad.numpy(), rtol=1e-14)


def test_indexing_by_tensors():
    t = leaf(X)
    np.testing.assert_array_equal(t[cr.tensor([2, 0])].detach().numpy(), X[[2, 0]])
    np.testing.assert_array_equal(t[t > 0].detach().numpy(), X[X > 0])
    np.testing.assert_array_equal(X[cr.tensor([2, 0])], X[[2, 0]])
    with pytest.raises(IndexError):
        t[5]


# -- methods ---------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std"])
def test_reductions(name, axis, keepdims):
    got = getattr(leaf(CUBE), name)(axis=axis, keepdims=keepdims)
    wanted = getattr(CUBE, name)(axis=axis, keepdims=keepdims)
    assert got.shape == np.shape(wanted)
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-13)
    cr.check_gradients(lambda t: getattr(t, name)(axis, keepdims), CUBE)


def test_methods_have_numpys_meanings():
    t, a = leaf(CUBE), CUBE
    pairs = [
        (t.transpose(), a.transpose()),
        (t.transpose(1, 0, 2), a.transpose(1, 0, 2)),
        (t.transpose((2, 0, 1)), a.transpose((2, 0, 1))),
        (t.transpose(None), a.transpose(None)),
        (t.swapaxes(0, -1), a.swapaxes(0, -1)),
        (t.reshape(6, 4), a.reshape(6, 4)),
        (t.reshape((-1, 2)), a.reshape((-1, 2))),
        (t.reshape(-1), a.reshape(-1)),
        (t.ravel(), a.ravel()),
        (t.flatten(), a.flatten()),
        (t[:1].squeeze(), a[:1].squeeze()),
        (t[:1].squeeze(0), a[:1].squeeze(0)),
        (t.cumsum(), a.cumsum()),
        (t.cumsum(1), a.cumsum(1)),
        (t.repeat(2, 1), a.repeat(2, 1)),
        (t.clip(-1, 1), a.clip(-1, 1)),
        (t.clip(0), a.clip(0)),
        (t[0].dot(a[1].T), a[0].dot(a[1].T)),
        (t.exp(), np.exp(a)),
        ((t * t).sqrt(), abs(a)),
        ((t * t).log(), np.log(a * a)),
        (t.abs(), abs(a)),
        (t.astype(np.float32), a.astype(np.float32)),
    ]
    for got, wanted in pairs:
        assert got.requires_grad
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-14)
    np.testing.assert_array_equal(t.argmax(1), a.argmax(1))
    np.testing.assert_array_equal(t.argmin(), a.argmin())
    np.testing.assert_array_equal(t.argsort(-1), a.argsort(-1))
    assert (t > -100).all()
    assert t.any()
    assert isinstance(t.argmax(1), np.ndarray)
    assert t.size == 24  # a number, as in NumPy
    with pytest.raises(TypeError):
        t.sum(dim=0)


def test_a_cast_passes_the_gradient_in_its_own_type():
    t = leaf(F32)
    (t.astype(np.float64) ** 2).sum().backward()
    assert t.grad.dtype == np.float32
    assert not t.astype(np.int64).requires_grad
    np.testing.assert_array_equal(t.astype(int).numpy(), F32.astype(int))


# -- copies, files, text ---------------------------------------------------


def test_copies_and_pickles():
    t = leaf(X)
    d = copy.deepcopy(t)
    assert d.requires_grad
    assert d is not t
    assert not np.shares_memory(d._data, t._data)
    assert copy.copy(t) is t
    assert t.copy() is t
    p = pickle.loads(pickle.dumps(t))
    assert p.requires_grad
    np.testing.assert_array_equal(p.detach().numpy(), X)
    y = copy.deepcopy(t * 2)
    assert not y.requires_grad
    assert y.is_leaf


def test_printing():
    assert repr(cr.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(leaf(np.array([1.0]))) == "tensor([1.], dtype=float64, requires_grad=True)"
    assert repr(cr.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(ops.relu(leaf(np.ones(1, np.float32)))) == "tensor([1.], from=relu)"
    assert repr(cr.tensor([[1.0, 2.0], [3.0, 4.0]])) == "tensor([[1., 2.],\n        [3., 4.]])"
    assert str(cr.tensor(1.5)) == "tensor(1.5)"
    assert len(repr(cr.tensor(np.zeros(5000)))) < 200
    assert f"{cr.tensor(1.23456):.2f}" == "1.23"
    assert f"{cr.tensor([1.0])}" == "tensor([1.])"
    with pytest.raises(ValueError, match=r"one entry"):
        f"{cr.tensor(X):.2f}"
