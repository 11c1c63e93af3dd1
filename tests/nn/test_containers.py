"""Containers: a row of modules as a list, fused layers, names."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


@cr.formula
def halves(xp: Any, x: Any) -> Any:
    """Two results."""
    return x * 0.5, x * 2.0


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 2), nn.Softmax())


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_children()]


def nodes(y: Any) -> list[str]:
    """The operations on the tape below y."""
    seen: dict[Any, None] = {}
    stack = [y._node]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += [e[0] for e in node.edges if type(e) is tuple]
    return sorted(node.op.name for node in seen)


# -- a list of modules ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_a_row_behaves_as_a_list(kind: Any) -> None:
    a, b, c, d, e = (nn.Dense(2, 2) for _ in range(5))
    row = kind(a, b, c) if kind is nn.Sequential else kind([a, b, c])
    plain = [a, b, c]

    def same() -> None:
        assert list(row) == plain
        assert len(row) == len(plain)
        assert names(row) == [str(k) for k in range(len(plain))]
        assert all(getattr(row, str(k)) is m for k, m in enumerate(plain))

    same()
    assert row.append(d) is row
    plain.append(d)
    same()
    row.insert(1, e)
    plain.insert(1, e)
    same()
    del row[0]
    del plain[0]
    same()
    row[-1] = a
    plain[-1] = a
    same()
    del row[::2]
    del plain[::2]
    same()
    row.extend([c, d, e])
    plain.extend([c, d, e])
    same()
    assert row.pop() is plain.pop()
    same()
    assert len(plain) >= 3
    assert row[0] is plain[0]
    assert list(row[1:]) == plain[1:]
    assert type(row[1:]) is kind
    assert names(row[1:]) == [str(k) for k in range(len(plain) - 1)]
    assert list(row[::-1]) == plain[::-1]
    same()
    with pytest.raises(IndexError, match=rf"has {len(plain)} modules; there is no \[9\]"):
        row[9]
    with pytest.raises(IndexError):
        row[9] = a


def test_named_layers() -> None:
    model = nn.Sequential(OrderedDict(first=nn.Dense(3, 4), act=nn.Tanh(), last=nn.Dense(4, 2)))
    assert names(model) == ["first", "act", "last"]
    assert model[0] is model.first
    assert names(model[1:]) == ["act", "last"]
    model.append(nn.ReLU())
    assert names(model) == ["first", "act", "last", "3"]
    del model[1]
    assert names(model) == ["first", "last", "2"]
    assert model(np.ones((1, 3))).shape == (1, 2)


def test_a_numbered_slice_of_a_state_as_torch_names_it() -> None:
    # names given in a dict stay, numbers too
    model = nn.Sequential({"1": nn.Dense(2, 2), "3": nn.Dense(2, 2)})
    assert list(model.state_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nn.ReLU, r"'1' is the class ReLU, not a layer: write ReLU\(...\)"),
        (cr.ops.relu, r"'1' is a formula, not a module: write nn.Activation\(relu\)"),
        (np.tanh, "'1' is ufunc, not a module: write a class with forward"),
        ([nn.ReLU()], "'1' is a list, not a module: unpack it with"),
    ],
)
def test_only_modules_go_in(value: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        nn.Sequential(nn.Dense(2, 2), value)
    row = nn.ModuleList([nn.Identity()])
    with pytest.raises(TypeError, match=text):
        row.append(value)
    assert len(row) == 1
    with pytest.raises(TypeError, match="not a"):
        row[0] = value


def test_an_empty_sequential_is_the_identity() -> None:
    x = np.ones(2)
    assert nn.Sequential()(x) is x


# -- fusion ---------------------------------------------------------------------------------------


def test_one_node_per_pair() -> None:
    assert nodes(mlp()(np.ones((2, 3)))) == ["dense", "dense"]
    deep = nn.Sequential(nn.Sequential(nn.Dense(3, 3), nn.GELU()), nn.LeakyReLU(0.2))
    assert nodes(deep(np.ones((2, 3)))) == ["dense", "leaky_relu"]
    inside = nn.Sequential(nn.Dense(3, 3, activation="relu"), nn.Tanh())
    assert nodes(inside(np.ones((2, 3)))) == ["dense", "tanh"]


def test_fused_equals_one_after_the_other() -> None:
    model = mlp().double()
    x = np.random.default_rng(0).normal(size=(5, 3))
    step: Any = x
    for layer in model:
        step = layer(step)
    np.testing.assert_array_equal(model(x).detach().numpy(), step.detach().numpy())
    assert cr.check_gradients(lambda t: model(t), x)


def test_a_hook_is_seen() -> None:
    for k in (0, 1):
        model = mlp()
        seen: list[Any] = []
        hook = model[k].register_forward_hook(
            lambda m, args, out, seen=seen: seen.append(out.shape)
        )
        assert nodes(model(np.ones((2, 3)))) == ["dense", "dense", "relu"]
        assert seen == [(2, 4)]
        hook.remove()
        assert nodes(model(np.ones((2, 3)))) == ["dense", "dense"]


def test_the_plan_follows_the_children() -> None:
    model = mlp()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    model(x)
    model[1] = nn.Tanh()

    def plainly() -> Any:
        step: Any = x
        for layer in model:
            step = layer(step)
        return step.detach().numpy()

    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())
    model.insert(1, nn.Dense(4, 4))
    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())
    del model[-1]
    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())
    setattr(model, "0", nn.Dense(3, 4, bias=False))
    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())
    again = copy.deepcopy(model)
    again[0].weight.assign(np.zeros((4, 3)))
    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())
    model[2].options = {}
    model[2].formula = cr.ops.sigmoid
    np.testing.assert_array_equal(model(x).detach().numpy(), plainly())


def test_what_is_not_fused() -> None:
    class Loud(nn.ReLU):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1.0

    x = np.ones((2, 3), np.float32)
    assert len(nodes(nn.Sequential(nn.Dense(3, 3), Loud())(x))) == 3
    assert len(nodes(nn.Sequential(nn.Dense(3, 3), nn.Softmax(0))(x))) == 2
    pair = nn.Sequential(nn.Dense(3, 3), nn.Activation(halves))(x)
    assert len(pair) == 2
    patched = nn.Sequential(nn.Dense(3, 3), nn.ReLU())
    patched[0].forward = lambda x: x * 3.0
    assert patched(x).tolist() == [[3.0] * 3] * 2


def test_a_shape_error_inside_a_fused_pair_names_its_layer() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dense(3, 5), nn.ReLU(), nn.Dense(4, 2), nn.Tanh()))
    with pytest.raises(
        cr.ShapeError, match=r"^model.0.2 Dense\(4 -> 2\): expected .*model.0.1, gives 5"
    ):
        model(np.ones((2, 3)))


def test_a_replaced_layer_is_freed() -> None:
    import weakref

    model = mlp()
    model(np.ones((1, 3)))
    old = weakref.ref(model[0])
    model[0] = nn.Dense(3, 4)
    model(np.ones((1, 3)))
    assert old() is None


# -- the others -----------------------------------------------------------------------------------


def test_module_list_is_not_called() -> None:
    with pytest.raises(TypeError, match="loop over its modules, or use Sequential"):
        nn.ModuleList([nn.Identity()])(1)
    with pytest.raises(TypeError, match=r"write ModuleList\(\[module\]\)"):
        nn.ModuleList(nn.Identity())  # type: ignore[arg-type]


def test_module_dict() -> None:
    heads = nn.ModuleDict({"age": nn.Dense(2, 1)})
    heads["kind"] = nn.Dense(2, 5)
    assert list(heads) == list(heads.keys()) == ["age", "kind"]
    assert list(heads.values()) == [m for _, m in heads.items()]
    assert "age" in heads
    assert len(heads) == 2
    assert next(iter(heads.state_dict())) == "age.weight"
    with pytest.raises(KeyError, match="did you mean 'kind'"):
        heads["kinds"]
    kind = heads.pop("kind")
    assert isinstance(kind, nn.Dense)
    del heads["age"]
    assert not list(heads.parameters())
    heads.update(nn.ModuleDict({"x": kind}))
    assert heads["x"] is kind
    with pytest.raises(TypeError, match="a ModuleDict is not called"):
        heads(1)
    with pytest.raises(AttributeError, match="'keys' is a method"):
        heads["keys"] = kind
    with pytest.raises(TypeError, match="not a module"):
        heads["y"] = 3  # type: ignore[assignment]
