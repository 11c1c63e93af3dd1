"""Gradients per sample equal those of a loop over the samples."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.autograd import tape
from chainrule.diagnose.per_sample import per_sample_gradients
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter

RNG = np.random.default_rng(0)


def new(*shape):
    return Parameter(RNG.standard_normal(shape))


class Net(Module):
    def __init__(self, activation=None, sizes=(3, 5, 4), bias=True):
        self.activation = activation
        self.first = new(sizes[1], sizes[0])
        self.second = new(sizes[2], sizes[1])
        self.bias = new(sizes[1]) if bias else None

    def forward(self, x):
        h = ops.dense(x, self.first, self.bias, activation=self.activation)
        return ops.dense(h, self.second)


class Tied(Module):
    def __init__(self):
        self.weight, self.bias = new(3, 3), new(3)

    def forward(self, x):
        for _ in range(3):
            x = ops.dense(x, self.weight, self.bias, activation=ops.tanh)
        return x


class Elementwise(Module):
    """Scale and shift per feature, a number for all, and a parameter with a batch axis of one."""

    def __init__(self):
        self.scale, self.shift, self.power, self.row = new(4), new(4), new(), new(1, 4)

    def forward(self, x):
        return ops.tanh(x * self.scale + self.shift) * self.power - self.row * x


@ops.formula.formula
def affine(xp, x, w, b):
    return xp.tanh(w * x + b) * xp.sigmoid(w)


class InOneFormula(Module):
    def __init__(self):
        self.w, self.b = new(4), new()

    def forward(self, x):
        return affine(x, self.w, self.b)


def loop(model, loss, x, y):
    """The definition: a backward pass for every sample alone."""
    found = {name: [] for name, _ in model.named_parameters()}
    for n in range(len(x)):
        for p in model.parameters():
            p.grad = None
        loss(model(x[n : n + 1]), y[n : n + 1]).sum().backward()
        for name, p in model.named_parameters():
            found[name].append(np.zeros(p.shape) if p.grad is None else p.grad.numpy())
    for p in model.parameters():
        p.grad = None
    return {name: np.array(gs) for name, gs in found.items()}


def agree(got, wanted):
    assert list(got) == list(wanted)
    for name in wanted:
        assert got[name].shape == wanted[name].shape
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-10, atol=1e-12, err_msg=name)


def squared(output, y):
    return ((output - y) ** 2).sum(axis=tuple(range(1, output.ndim)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "name", [None, "relu", "tanh", "gelu", "silu", "softplus", "softmax", "elu"]
)
def test_dense_nets(name, bias):
    model = Net(None if name is None else getattr(ops, name), bias=bias)
    x, labels = RNG.standard_normal((6, 3)), RNG.integers(0, 4, 6)
    got = per_sample_gradients(model, "cross_entropy", x, labels)
    agree(got, loop(model, ops.cross_entropy, x, labels))
    assert model.first.grad is None


def test_samples_of_more_axes():
    model = Net(ops.tanh)
    x, y = RNG.standard_normal((5, 2, 7, 3)), RNG.standard_normal((5, 2, 7, 4))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))


def test_tied_parameters():
    model = Tied()
    x, y = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))


@pytest.mark.parametrize("batch", [1, 4, 5])
@pytest.mark.parametrize("make", [Elementwise, InOneFormula])
def test_elementwise_parameters(make, batch):
    """Also where the batch is as long as the parameter."""
    model = make()
    x, y = RNG.standard_normal((batch, 4)), RNG.standard_normal((batch, 4))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))
    x, y = RNG.standard_normal((batch, 3, 4)), RNG.standard_normal((batch, 3, 4))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))


def test_the_sum_is_the_gradient_of_the_summed_loss():
    model = Net(ops.relu)
    x, y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 4))
    got = per_sample_gradients(model, "mse", x, y)
    ops.mse_loss(model(x), y, reduction="sum").backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(got[name].sum(0), p.grad.numpy(), rtol=1e-12, atol=1e-12)
    again = per_sample_gradients(model, ops.mse_loss, x, y)
    total = per_sample_gradients(model, lambda o, y: ((o - y) ** 2).sum(), x, y)
    agree(again, got)
    agree(total, got)


def test_one_backward_pass_serves_all_samples():
    """No loop: the number of recorded operations does not depend on the number of samples."""
    counts = []
    for batch in (2, 50):
        calls = 0
        original = tape.Node.pull_per_sample

        def counted(self, *args, original=original):
            nonlocal calls
            calls += 1
            return original(self, *args)

        tape.Node.pull_per_sample = counted
        try:
            per_sample_gradients(
                Net(ops.tanh), "mse", RNG.standard_normal((batch, 3)), np.zeros((batch, 4))
            )
        finally:
            tape.Node.pull_per_sample = original
        counts.append(calls)
    assert counts[0] == counts[1] == 3


def test_frozen_unused_and_empty():
    model = Net(ops.tanh)
    model.second.requires_grad = False
    model.extra = new(2)
    x, y = RNG.standard_normal((3, 3)), RNG.standard_normal((3, 4))
    got = per_sample_gradients(model, "mse", x, y)
    assert set(got) == {"first", "bias", "extra"}
    np.testing.assert_array_equal(got["extra"], np.zeros((3, 2)))
    assert per_sample_gradients(model, "mse", x[:0], y[:0])["first"].shape == (0, 5, 3)
    arrays = list(got.values())
    assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)


def test_types():
    model = cr.nn.Dense(3, 4)
    got = per_sample_gradients(model, "mse", np.ones((2, 3)), np.ones((2, 4), np.float32))
    assert {g.dtype for g in got.values()} == {np.dtype(np.float32)}
    with cr.no_grad():
        per_sample_gradients(model, "mse", np.ones((2, 3)), np.ones((2, 4), np.float32))
    assert cr.per_sample_gradients is per_sample_gradients


class Product(Module):
    def __init__(self):
        self.first, self.second = new(3, 5), new(5, 4)

    def forward(self, x):
        return ops.tanh(x @ self.first) @ self.second


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_products_with_a_matrix(shape):
    model = Product()
    x, y = RNG.standard_normal(shape), RNG.standard_normal((*shape[:-1], 4))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))


class Transposed(Module):
    def __init__(self):
        self.weight = new(4, 3)

    def forward(self, x):
        return x @ self.weight.T


class Indirect(Module):
    def __init__(self, n=4):
        self.log_scale = new(n)

    def forward(self, x):
        return x * ops.exp(self.log_scale)


class Autoencoder(Module):
    """One matrix, tied: as it is and transposed."""

    def __init__(self):
        self.weight, self.bias = new(2, 4), new(4)

    def forward(self, x):
        return ops.dense(ops.dense(x, self.weight, None, ops.tanh), self.weight.T, self.bias)


class Normalized(Module):
    """Rows of length 1, times a length that is learned, with a mask that nobody learns."""

    def __init__(self):
        self.direction, self.length = new(4, 4), new(4, 1)
        self.mask = np.tril(np.ones((4, 4)))

    def forward(self, x):
        v = self.direction * self.mask
        return ops.dense(x, self.length * v / ops.norm(v, axis=1, keepdims=True))


class Positions(Module):
    """A vector for every place in a sequence."""

    def __init__(self):
        self.table = new(7, 4)

    def forward(self, x):
        return ops.tanh(x + ops.embedding(np.arange(x.shape[1]), self.table)) * self.table[0]


@pytest.mark.parametrize("batch", [1, 3, 6])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Transposed, (3,)),
        (Indirect, (4,)),
        (Indirect, (2, 4)),
        (Autoencoder, (4,)),
        (lambda: OnTheLeft(), (4, 3)),
        (lambda: OnTheLeft(), (2, 4, 3)),
        (Normalized, (4,)),
        (Positions, (5, 4)),
    ],
)
def test_parameters_that_meet_each_other_before_the_samples(make, shape, batch):
    """What is computed from parameters alone is pulled back for every sample."""
    model, x = make(), RNG.standard_normal((batch, *shape))
    y = RNG.standard_normal(np.shape(model(x).detach().numpy()))
    agree(per_sample_gradients(model, squared, x, y), loop(model, squared, x, y))


@pytest.mark.parametrize(("make", "width"), [(Transposed, 3), (Indirect, 4), (Autoencoder, 4)])
def test_not_even_these_need_a_loop(make, width, monkeypatch):
    """Reshaped, transposed and element-wise: all samples at once."""

    def one_by_one(self, *args, **attrs):
        raise AssertionError(f"{self.name} was pulled back sample by sample")

    monkeypatch.setattr(tape.Op, "vjp_of_each", one_by_one)
    model = make()
    y = np.zeros(model(np.ones((6, width))).shape)
    per_sample_gradients(model, squared, RNG.standard_normal((6, width)), y)


class OnTheLeft(Module):
    """Of every sample where it is a matrix, of its rows and not its samples where x is one."""

    def __init__(self):
        self.weight = new(4, 4)

    def forward(self, x):
        return self.weight @ x


class Meeting(Module):
    """The samples see each other: their mean, or weights made of them."""

    def __init__(self, how):
        self.weight, self.how = new(4, 4), how

    def forward(self, x):
        h = x @ self.weight
        if self.how == "mean":
            return x - h.mean(axis=0)
        made = ops.tanh(x.T @ h)
        return ops.dense(x, made) if self.how == "dense" else x @ made


@pytest.mark.parametrize(
    "make", [OnTheLeft, *(lambda how=how: Meeting(how) for how in ("mean", "dense", "matmul"))]
)
@pytest.mark.parametrize("batch", [4, 5])
def test_what_has_no_rule_raises(make, batch):
    model, x = make(), RNG.standard_normal((batch if make is not OnTheLeft else 4, 4))
    with pytest.raises(NotImplementedError, match=r"per sample|per-sample"):
        per_sample_gradients(model, lambda o, y: (o**2).sum(), x, None)


class Flattened(Module):
    """Codes whose first axis is no longer that of the samples, and a row that is learned."""

    def __init__(self, how):
        self.table, self.weight, self.how = new(7, 4), new(3, 8), how

    def forward(self, x):
        if self.how == "row":
            rows = ops.concatenate([self.table, self.table])[: len(x)]
            return ops.dense(ops.concatenate([rows, rows], axis=1), self.weight)
        h = ops.embedding(x.reshape(-1), self.table)
        return ops.dense(ops.tanh(ops.reshape(h, len(x), -1)), self.weight)


@pytest.mark.parametrize("how", ["codes", "row"])
@pytest.mark.parametrize("batch", [2, 3, 5, 7])
def test_inputs_that_are_no_longer_of_the_samples_raise(how, batch):
    model, codes = Flattened(how), RNG.integers(0, 7, (batch, 2))
    with pytest.raises(NotImplementedError, match="per sample"):
        per_sample_gradients(model, lambda o, y: (o**2).sum(), codes, None)


def test_a_sequence_as_long_as_there_are_samples_is_not_taken_for_them():
    """Places 0 to 4 of 5 samples look like codes of samples; the sum over samples gives it away."""
    model, x = Positions(), RNG.standard_normal((5, 5, 4))
    with pytest.raises(NotImplementedError, match="all samples share a value"):
        per_sample_gradients(model, squared, x, x)


def test_messages():
    model, x, y = Net(), RNG.standard_normal((6, 3)), np.zeros((6, 4))
    with pytest.raises(
        ValueError, match=r"unknown loss 'crossentropy'; did you mean 'cross_entropy'"
    ):
        per_sample_gradients(model, "crossentropy", x, y)
    with pytest.raises(ShapeError, match=r"a loss of shape \(4,\) for 6 samples"):
        per_sample_gradients(model, lambda o, y: (o - y).sum(axis=0), x, y)
    with pytest.raises(TypeError, match=r"returned float, not a tensor"):
        per_sample_gradients(model, lambda o, y: 1.0, x, y)


@pytest.mark.parametrize("name", ["kl_divergence", "distribution_cross_entropy"])
def test_divergences_are_from_the_target(name: str) -> None:
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Dense(4, 3), cr.nn.Softmax())
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)).astype("f"), rng.dirichlet(np.ones(3), 5).astype("f")
    found = cr.per_sample_gradients(model, name, x, y)["0.weight"]
    for n in range(5):
        model.zero_grad()
        getattr(cr.ops, name)(y[n : n + 1], model(x[n : n + 1]), reduction="sum").backward()
        np.testing.assert_allclose(found[n], model[0].weight.grad, rtol=1e-5, atol=1e-6)
