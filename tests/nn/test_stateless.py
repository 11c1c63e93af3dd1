"""A module called with parameters that are not its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.nn import functional_call

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 3))


def net() -> cr.nn.Sequential:
    return cr.nn.Sequential(cr.nn.Dense(3, 4), cr.nn.Tanh(), cr.nn.Dense(4, 2)).double()


def values(model: cr.nn.Module) -> dict[str, Any]:
    return {n: cr.tensor(RNG.standard_normal(p.shape)) for n, p in model.named_parameters()}


def test_it_is_the_module_with_these_parameters() -> None:
    model, given = net(), values(net())
    before = model.state_dict()
    out = functional_call(model, given, X)
    other = net()
    other.load_state_dict(given)
    np.testing.assert_array_equal(out.numpy(), other(X).detach().numpy())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    some = {"0.bias": given["0.bias"], "2.weight": given["2.weight"].numpy()}
    other.load_state_dict({**before, **some})
    np.testing.assert_array_equal(
        functional_call(model, some, (X,)).detach().numpy(), other(X).detach().numpy()
    )
    assert functional_call is cr.functional_call


def test_gradients_go_to_what_was_given() -> None:
    model, given = net(), values(net())

    def loss(W: Any, b: Any) -> Any:
        return (functional_call(model, {**given, "0.weight": W, "0.bias": b}, X) ** 2).sum()

    cr.check_gradients(loss, given["0.weight"].numpy(), given["0.bias"].numpy())
    dW, _ = cr.grad(loss, argnums=(0, 1))(given["0.weight"], given["0.bias"])
    other = net()
    other.load_state_dict(given)
    (other(X) ** 2).sum().backward()
    np.testing.assert_allclose(dW.numpy(), other[0].weight.grad.numpy(), rtol=1e-13)
    assert all(p.grad is None for p in model.parameters())


def test_without_gradients_as_with_them() -> None:
    model, given = net(), values(net())
    with cr.no_grad():
        out = functional_call(model, given, X)
        again = functional_call(model, given, X)
        own = model(X)
    assert not out.requires_grad
    np.testing.assert_array_equal(out.numpy(), again.numpy())
    np.testing.assert_array_equal(functional_call(model, given, X).numpy(), out.numpy())
    np.testing.assert_array_equal(own.numpy(), model(X).detach().numpy())


class Everywhere(cr.nn.Module):
    """Reaches its layers by every way that Python has."""

    def __init__(self) -> None:
        self.first = cr.nn.Dense(3, 3)
        self.again = self.first
        self.row = [self.first, (self.first,)]
        self.named = {"first": self.first}
        self.call = self.first.forward
        self.scale = cr.nn.Parameter(np.ones(3))
        self.alias = self.scale
        self.register_buffer("shift", np.zeros(3))

    def forward(self, x: Any, power: int = 1) -> Any:
        for layer in (self.first, self.again, self.row[0], self.row[1][0], self.named["first"]):
            x = layer(x)
        return self.call(x) * self.scale**power + self.alias + ops.add(self.shift, 0.0)


def test_by_every_way_to_a_parameter() -> None:
    model = Everywhere().double()
    names = {"first.weight", "first.bias", "again.weight", "scale", "alias", "shift"}
    assert names <= set(model.state_dict())
    identity = {"first.weight": np.eye(3), "first.bias": np.ones(3)}
    out = functional_call(model, {**identity, "scale": np.full(3, 2.0)}, X, {"power": 2})
    np.testing.assert_allclose(out, (X + 6) * 4 + 2)
    out = functional_call(model, {"again.weight": np.eye(3), "again.bias": np.ones(3)}, X)
    np.testing.assert_allclose(out.detach().numpy(), X + 7)
    moved = functional_call(model, {**identity, "shift": cr.tensor(np.full(3, 9.0))}, X)
    np.testing.assert_allclose(moved.detach().numpy(), X + 16)


class Counts(cr.nn.Module):
    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x


def test_the_module_stays_as_it_was() -> None:
    model = cr.nn.Sequential(Counts(), cr.nn.Dense(3, 2).double(), cr.nn.Dropout(0.5))
    seen = []
    with model[1].register_forward_hook(lambda m, a, out: seen.append(out.shape)):
        given = {"1.weight": np.ones((2, 3))}
        cr.seed(3)
        out = functional_call(model, given, X)
        assert model[0].calls == 0
        assert seen == [(5, 2)]
        cr.seed(3)
        model[1].weight.assign(np.ones((2, 3)))
        np.testing.assert_array_equal(model(X).detach().numpy(), out.detach().numpy())
        with pytest.raises(ShapeError, match=r"model\.1 Dense\(3 -> 2\): expected x: \(B, 3"):
            functional_call(model, given, X[:, :2])
    assert list(dict(model.named_modules())) == ["", "0", "1", "2"]


def test_in_a_captured_step() -> None:
    """It replays what the module is now: its other parameters, its layers, their activations."""
    model = cr.nn.Sequential(cr.nn.Dense(3, 4, activation="tanh"), cr.nn.Dense(4, 2)).double()

    @cr.capture
    def slope(W: Any) -> Any:
        def loss(W: Any) -> Any:
            return (functional_call(model, {"0.weight": W}, X) ** 2).sum()

        return cr.grad(loss)(W)

    def wanted(W: Any) -> Any:
        return cr.grad(lambda W: (functional_call(model, {"0.weight": W}, X) ** 2).sum())(W)

    def change_nothing() -> None:
        pass

    def change_the_activation() -> None:
        model[0].activation = ops.sigmoid

    def change_a_parameter() -> None:
        model[1].weight.assign(np.ones((2, 4)))

    def change_a_layer() -> None:
        model[1] = cr.nn.Dense(4, 3).double()

    changes = [change_nothing] * 4 + [change_the_activation, change_a_parameter, change_a_layer]
    for change in [*changes, change_nothing, change_nothing]:
        change()
        W = RNG.standard_normal((4, 3))
        np.testing.assert_allclose(
            slope(W).detach().numpy(), wanted(W).detach().numpy(), rtol=1e-12, atol=1e-14
        )
    assert slope.reason is None


def test_messages() -> None:
    model = net()
    with pytest.raises(KeyError, match=r"Sequential has no '0.weigth'; did you mean '0.weight'"):
        functional_call(model, {"0.weigth": np.zeros((4, 3))}, X)
    with pytest.raises(ShapeError, match=r"0.bias has shape \(4,\) in Sequential, and \(3,\) was"):
        functional_call(model, {"0.bias": np.zeros(3)}, X)
    with pytest.raises(ValueError, match=r"scale and alias are one tied parameter; give one"):
        functional_call(Everywhere(), {"scale": np.ones(3), "alias": np.zeros(3)}, X)


def test_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    ).double()
    given = {n: RNG.standard_normal(tuple(p.shape)) for n, p in theirs.named_parameters()}
    wanted = torch.func.functional_call(
        theirs, {n: torch.from_numpy(v) for n, v in given.items()}, torch.from_numpy(X)
    )
    got = functional_call(net(), given, X)
    np.testing.assert_allclose(np.asarray(got), wanted.numpy(), rtol=1e-13)
