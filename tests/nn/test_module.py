"""Modules: attributes, state, modes, hooks, copies, and agreement with torch."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.module import Hook


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        self.hidden = nn.Dense(3, width)
        self.out = nn.Dense(width, 2)
        self.register_buffer("mean", np.zeros(3, np.float32))

    def forward(self, x: Any) -> Any:
        return self.out(cr.ops.tanh(self.hidden(x - self.mean)))


def pair() -> tuple[nn.Module, Any]:
    """The same network here and in torch, with torch's values in both."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 7),
        torch.nn.ReLU(),
        torch.nn.Sequential(torch.nn.Linear(7, 6), torch.nn.GELU()),
        torch.nn.Linear(6, 3, bias=False),
    )
    ours = nn.Sequential(
        nn.Dense(5, 7),
        nn.ReLU(),
        nn.Sequential(nn.Dense(7, 6), nn.GELU()),
        nn.Dense(6, 3, bias=False),
    )
    return ours, theirs


# -- the state ------------------------------------------------------------------------------------


def test_the_state_of_torch_loads_here() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair()
    ours.load_state_dict(theirs.state_dict())
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)
    np.testing.assert_allclose(
        ours(x).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=1e-6
    )


def test_the_state_from_here_loads_in_torch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair()
    state = ours.state_dict()
    wanted = {name: tuple(t.shape) for name, t in theirs.state_dict().items()}
    assert list(state) == list(wanted)
    assert {name: a.shape for name, a in state.items()} == wanted
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)
    np.testing.assert_allclose(
        ours(x).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=1e-6
    )


def test_bfloat16_of_torch_loads() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Dense(2, 1)
    layer.load_state_dict(
        {"weight": torch.full((1, 2), 0.5, dtype=torch.bfloat16), "bias": torch.ones(1)}
    )
    assert layer.weight.dtype == np.float32
    assert layer.weight.detach().numpy().tolist() == [[0.5, 0.5]]


def test_gradients_equal_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair()
    theirs.double()
    ours.double().load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(4, 5))
    (ours(x) ** 2).sum().backward()
    (theirs(torch.tensor(x)) ** 2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_the_state_is_a_copy() -> None:
    model = Net()
    state = model.state_dict()
    assert sorted(state) == ["hidden.bias", "hidden.weight", "mean", "out.bias", "out.weight"]
    for a in state.values():
        a += 1
    assert float(model.mean.sum()) == 0
    assert not np.array_equal(state["out.bias"], model.state_dict()["out.bias"])


def test_load_names_every_difference() -> None:
    model = Net()
    state = model.state_dict()
    state["hidden.wieght"] = state.pop("hidden.weight")
    del state["out.bias"]
    with pytest.raises(
        KeyError, match=r"missing .*hidden.weight.*out.bias.*unexpected hidden.wieght"
    ):
        model.load_state_dict(state)
    with pytest.raises(KeyError, match=r"did you mean 'hidden\.weight'"):
        model.load_state_dict(state)
    model.load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        (
            "hidden.weight",
            np.ones((2, 2)),
            cr.ShapeError,
            r"hidden.weight is \(4, 3\) here, \(2, 2\)",
        ),
        ("hidden.weight", np.full((4, 3), "a"), TypeError, "holds numbers"),
        ("hidden.weight", np.ones((4, 3), complex), TypeError, "holds numbers"),
        ("count", np.array(1.5), TypeError, "count is int64 here, float64"),
    ],
)
def test_nothing_changes_unless_everything_fits(
    name: str, value: Any, error: type[Exception], text: str
) -> None:
    model = Net()
    model.register_buffer("count", np.array(0))
    before = model.state_dict()
    state = {n: a + 1 for n, a in before.items()}
    with pytest.raises(error, match=text):
        model.load_state_dict({**state, name: value})
    for n, a in model.state_dict().items():
        assert np.array_equal(a, before[n]), n


# -- attributes -----------------------------------------------------------------------------------


def test_attributes_before_super_init() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Dense(2, 2)
            super().__init__()
            self.b = nn.Parameter(np.ones(2, np.float32))

    assert list(Early().state_dict()) == ["b", "a.weight", "a.bias"]


def test_init_takes_no_arguments_of_its_own() -> None:
    with pytest.raises(TypeError, match="takes no arguments"):
        nn.Module(3)
    with pytest.raises(TypeError, match="must define forward"):
        nn.Module()(np.ones(2))


def test_a_wrong_name_gives_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Net has no 'hiden'; did you mean 'hidden'"):
        _ = Net().hiden
    assert not hasattr(Net(), "predict")
    assert "hidden" in dir(Net())


def test_an_attribute_may_change_its_kind() -> None:
    model = Net()
    model.out = nn.Parameter(np.ones(2, np.float32))
    assert list(model.state_dict()) == ["out", "mean", "hidden.weight", "hidden.bias"]
    model.out = 3
    assert "out" not in model.state_dict()
    assert model.out == 3
    model.out = nn.Identity()
    assert [n for n, _ in model.named_children()] == ["hidden", "out"]
    del model.out
    assert not hasattr(model, "out")
    with pytest.raises(AttributeError):
        del model.out


def test_a_class_attribute_does_not_hide_a_module() -> None:
    class Declared(nn.Module):
        layer: nn.Dense | None = None

    model = Declared()
    model.layer = nn.Dense(1, 1)
    assert isinstance(model.layer, nn.Dense)


def test_replacing_keeps_the_place() -> None:
    model = Net()
    model.hidden = nn.Dense(3, 4, bias=False)
    assert list(model.state_dict()) == ["mean", "hidden.weight", "out.weight", "out.bias"]
    assert model(np.ones((1, 3))).shape == (1, 2)


@pytest.mark.parametrize("name", ["forward", "parameters", "dtype"])
def test_a_layer_cannot_take_the_name_of_a_method(name: str) -> None:
    model = Net()
    with pytest.raises(AttributeError, match=f"'{name}' is a method .*'{name}_'"):
        setattr(model, name, nn.Identity())
    with pytest.raises(AttributeError, match="is a method"):
        model.register_buffer(name, np.ones(2))
    assert model(np.ones((1, 3))).shape == (1, 2)


def test_names_have_no_dot() -> None:
    with pytest.raises(ValueError, match="no dot"):
        Net().add_module("a.b", nn.Identity())
    with pytest.raises(TypeError, match=r"'act' is the class ReLU, not a layer: write ReLU\(...\)"):
        Net().add_module("act", nn.ReLU)


def test_buffers() -> None:
    model = Net()
    model.mean = np.ones(3, np.float32)
    assert next(iter(model.buffers())) is model.mean
    model.mean = cr.tensor([2.0, 2.0, 2.0])
    assert isinstance(model.mean, np.ndarray)
    model.register_buffer("late", None)
    assert "late" not in model.state_dict()
    model.late = np.float32(3)
    assert model.state_dict()["late"].shape == ()
    model.mean = nn.Parameter(np.ones(3, np.float32))
    assert "mean" in dict(model.named_parameters())
    assert "mean" not in dict(model.named_buffers())


# -- everything inside ----------------------------------------------------------------------------


def test_tied_parameters_count_once_and_save_twice() -> None:
    model = nn.Sequential(nn.Dense(3, 3), nn.Tanh(), nn.Dense(3, 3))
    model[2].weight = model[0].weight
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    again = copy.deepcopy(model)
    assert again[2].weight is again[0].weight
    assert again[0].weight is not model[0].weight
    model(np.ones((1, 3))).sum().backward()
    assert model[2].weight._grad is model[0].weight._grad


def test_a_shared_module_counts_once() -> None:
    layer = nn.Dense(3, 3)
    model = nn.Sequential(layer, layer)
    assert [n for n, _ in model.named_modules()] == ["", "0"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_deepcopy_is_independent() -> None:
    model = Net().eval()
    model.register_forward_hook(lambda *_: None)
    again = copy.deepcopy(model)
    assert not again._hooks
    assert not again.training
    again.hidden.weight.assign(np.zeros((4, 3)))
    again.mean += 1
    assert float(abs(model.hidden.weight.detach().numpy()).sum()) > 0
    assert float(model.mean.sum()) == 0
    again.extra = nn.Identity()
    assert not hasattr(model, "extra")


@pytest.mark.parametrize("dtype", [np.float64, "float64"])
def test_double_and_float(dtype: Any) -> None:
    model = Net()
    weight = model.hidden.weight
    assert model.to(dtype) is model
    assert model.dtype == model.mean.dtype == np.float64
    assert model(np.ones((2, 3), np.float32)).dtype == np.float64
    assert model.float().double().float().hidden.weight is weight
    assert model(np.ones((2, 3))).dtype == np.float32
    assert nn.ReLU().dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, "cuda"])
def test_to_takes_floating_types(dtype: Any) -> None:
    with pytest.raises(TypeError):
        Net().to(dtype)


def test_modes_and_freezing() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)), nn.Dense(2, 1))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    model[2].freeze()
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(np.ones((1, 2))).requires_grad
    model.unfreeze()
    model(np.ones((1, 2))).sum().backward()
    assert model[2].bias.grad is not None
    model.zero_grad()
    assert model[2].bias.grad is None


def test_apply_goes_inside_out() -> None:
    seen: list[str] = []
    Net().apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Dense", "Dense", "Net"]


# -- hooks ----------------------------------------------------------------------------------------


def test_hooks_see_and_change() -> None:
    layer = nn.Identity()
    seen: list[Any] = []
    before = layer.register_forward_pre_hook(lambda m, args: args[0] + 1)
    after = layer.register_forward_hook(lambda m, args, out: seen.append((m, args, out)))
    double = layer.register_forward_hook(lambda m, args, out: out * 2)
    assert layer(1) == 4
    assert seen == [(layer, (2,), 2)]
    double.remove()
    before()
    assert layer(1) == 1
    with layer.register_forward_hook(lambda m, args, out: 7) as hook:
        assert isinstance(hook, Hook)
        assert layer(1) == 7
    after.remove()
    after.remove()
    assert not layer._hooks


# -- errors name the layer ------------------------------------------------------------------------


def test_a_shape_error_names_the_layer_and_the_fix() -> None:
    model = nn.Sequential(nn.Dense(3, 64), nn.ReLU(), nn.Dense(128, 10), nn.ReLU())
    with pytest.raises(cr.ShapeError) as caught:
        model(np.ones((32, 3)))
    assert str(caught.value) == (
        "model.2 Dense(128 -> 10): expected x: (B, 128), got (32, 64); the layer before it, "
        "model.1, gives 64 features: make this layer take 64 or that one give 128"
    )


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((5, 3, 1), "put nn.Flatten"),
        ((3, 5), "it looks transposed"),
        ((5, 4), "the data has 4 features: make this layer take 4"),
    ],
)
def test_typical_mistakes_with_the_data(shape: tuple[int, ...], text: str) -> None:
    model = nn.Sequential(nn.Dense(3, 2), nn.ReLU())
    with pytest.raises(cr.ShapeError, match=r"model\.0 Dense") as caught:
        model(np.ones(shape))
    assert text in str(caught.value)


def test_one_sample_without_a_batch_is_a_row() -> None:
    assert nn.Sequential(nn.Dense(3, 2), nn.ReLU())(np.ones(3)).shape == (2,)


def test_a_tensor_of_another_type_names_the_layer() -> None:
    model = Net()
    with pytest.raises(TypeError, match=r"model.hidden Dense\(3 -> 4\).*float64.*float32"):
        model(cr.tensor(np.ones((2, 3))))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
def test_an_array_of_any_type_is_cast(dtype: str) -> None:
    model = nn.Sequential(nn.Dense(3, 2), nn.ReLU())
    x = np.ones((4, 3), dtype)
    wanted = model(x.astype(np.float32)).detach().numpy()
    got = model(x)
    assert got.dtype == np.float32
    assert np.array_equal(got.detach().numpy(), wanted)


def test_the_frame_is_gone_after_an_error() -> None:
    from chainrule.autograd.context import state

    model = nn.Sequential(nn.Dense(3, 2), nn.ReLU())
    for call in (model, model.forward):
        with pytest.raises(cr.ShapeError):
            call(np.ones((4, 5)))
        assert state.frame is None


# -- threads --------------------------------------------------------------------------------------


def test_one_model_serves_many_threads() -> None:
    model = nn.Sequential(nn.Dense(8, 16), nn.GELU(), nn.Dense(16, 4), nn.Softmax()).eval()
    inputs = [np.full((n % 7 + 1, 8), n / 100, np.float32) for n in range(200)]

    def predict(x: Any) -> Any:
        with cr.no_grad():
            return model(x).numpy()

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(predict, inputs))
    for x, y in zip(inputs, outputs, strict=True):
        assert np.array_equal(predict(x), y)


def test_repr() -> None:
    assert repr(nn.Sequential(nn.Dense(3, 2), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n  (0): Dense(3 -> 2)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )


def test_every_model_is_on_the_cpu() -> None:
    model = Net()
    assert model.to("cpu") is model
    assert model.dtype == np.float32
    with pytest.raises(TypeError, match="not 'cuda'"):
        model.to("cuda")
