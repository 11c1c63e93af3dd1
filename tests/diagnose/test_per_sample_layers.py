"""Gradients per sample of every layer and every loss, against a loop and against PyTorch."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, ops
from chainrule.ops import loss as losses

RNG = np.random.default_rng(0)
N = 5


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


def of_each_alone(model: nn.Module, loss: Any, x: Any, y: Any) -> dict[str, Any]:
    """The definition: a backward pass for every sample by itself."""
    found: dict[str, list[Any]] = {name: [] for name, _ in model.named_parameters()}
    for n in range(len(x)):
        model.zero_grad()
        loss(model(x[n : n + 1]), y[n : n + 1]).sum().backward()
        for name, p in model.named_parameters():
            found[name].append(np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy())
    model.zero_grad()
    return {name: np.array(gs) for name, gs in found.items()}


def agree(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(got) == list(wanted)
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-9, atol=1e-12, err_msg=name)


def squared(output: Any, y: Any) -> Any:
    return ((output - y) ** 2).sum(axis=tuple(range(1, output.ndim)))


def _activations() -> list[str]:
    """The modules that are made without arguments and are no containers or heads of their own."""
    found = []
    for name in nn.activation.__all__:
        value = getattr(nn.activation, name)
        if isinstance(value, type) and name not in ("Activation", "GLU"):
            found.append(name)
    return found


@pytest.mark.parametrize("name", _activations())
def test_every_activation(name: str) -> None:
    layer = getattr(nn.activation, name)
    required = [
        p.name
        for p in inspect.signature(layer).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    activation = layer(*[0.5 for _ in required])
    model = nn.Sequential(nn.Dense(3, 4), activation, nn.Dense(4, 2)).double().eval()
    x, y = RNG.standard_normal((N, 3)), RNG.standard_normal((N, 2))
    agree(cr.per_sample_gradients(model, squared, x, y), of_each_alone(model, squared, x, y))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
@pytest.mark.parametrize("slopes", [1, 4])
def test_a_learned_slope(shape: tuple[int, ...], slopes: int) -> None:
    """PReLU, shared or per channel, also where channels are followed by further axes."""
    model = nn.PReLU(slopes).double()
    x, y = RNG.standard_normal((2, N, *shape))
    agree(cr.per_sample_gradients(model, squared, x, y), of_each_alone(model, squared, x, y))


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Dense(8, 2)), "codes"),
        (nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Flatten(), nn.Dense(8, 2)), "codes"),
        (nn.Sequential(nn.EmbedColumns(4, [(7, 3), (2, 1)]), nn.Dense(6, 2)), "columns"),
        (nn.Sequential(nn.Standardize([1.0, 2.0, 3.0], 2.0), nn.Dense(3, 2)), "numbers"),
        (nn.Sequential(nn.Dense(3, 8), nn.GLU(), nn.Dense(4, 2)), "numbers"),
        (nn.Sequential(nn.Dropout(0.0), nn.Identity(), nn.Dense(3, 2, bias=False)), "numbers"),
    ],
    ids=["Embedding", "padding_idx", "EmbedColumns", "Standardize", "GLU", "Identity"],
)
def test_every_other_layer(model: nn.Module, x: str) -> None:
    codes = RNG.integers(0, 7, (N, 2))
    inputs = {
        "codes": codes,
        "columns": np.c_[RNG.standard_normal((N, 2)), codes[:, 0], codes[:, 1] % 2],
        "numbers": RNG.standard_normal((N, 3)),
    }
    model, y = model.double(), RNG.standard_normal((N, 2))
    got = cr.per_sample_gradients(model, squared, inputs[x], y)
    agree(got, of_each_alone(model, squared, inputs[x], y))


def test_dropout_keeps_its_mask() -> None:
    """In training mode every sample has the mask that the forward pass drew for it."""
    model = nn.Sequential(nn.Dense(3, 40, activation="tanh"), nn.Dropout(0.5), nn.Dense(40, 2))
    model, x, y = model.double(), RNG.standard_normal((N, 3)), RNG.standard_normal((N, 2))
    cr.seed(3)
    got = cr.per_sample_gradients(model, squared, x, y)
    cr.seed(3)
    squared(model(x), y).sum().backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(got[name].sum(axis=0), p.grad.numpy(), rtol=1e-12)
    unused = (got["2.weight"] == 0).all(axis=1)
    assert 0.3 < unused.mean() < 0.7
    assert (unused[0] != unused[1]).any()


PROBABILITIES = RNG.dirichlet(np.ones(3), N)
SIGNS = np.where(RNG.random((N, 3)) < 0.5, -1.0, 1.0)
LABELS = np.array([0, 2, 1, 1, 0])
#: What a loss takes for y, where it is not numbers of the shape of the output.
TARGETS = {
    **dict.fromkeys(["cross_entropy", "nll_loss", "focal_loss", "multi_margin_loss"], LABELS),
    "categorical_cross_entropy": PROBABILITIES,
    "distribution_cross_entropy": PROBABILITIES,
    "kl_divergence": PROBABILITIES,
    "kl_div": PROBABILITIES,
    **dict.fromkeys(["hinge_loss", "soft_margin_loss", "hinge_embedding_loss"], SIGNS),
    "sigmoid_focal_loss": (SIGNS + 1) / 2,
    "poisson_nll_loss": np.abs(SIGNS) * 2,
}
HEADS = {
    "binary_cross_entropy": nn.Sigmoid(),
    **dict.fromkeys(
        ["categorical_cross_entropy", "distribution_cross_entropy", "kl_divergence"], nn.Softmax()
    ),
    **dict.fromkeys(["nll_loss", "kl_div"], nn.LogSoftmax()),
    **dict.fromkeys(["gamma_nll_loss", "gamma_deviance", "tweedie_deviance"], nn.Softplus()),
}


def _losses() -> list[str]:
    """Those of an output and a target, and nothing else that must be given."""
    found = []
    for name in losses.__all__:
        value = getattr(losses, name)
        if callable(value) and not isinstance(value, type):
            parameters = list(inspect.signature(value).parameters.values())
            required = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
            if len(required) == 2 and any(p.name == "reduction" for p in parameters):
                found.append(name)
    return found


@pytest.mark.parametrize("name", _losses())
def test_every_loss_by_name(name: str) -> None:
    """Summed, so that the gradient of a sample is that of its own loss, divided by nothing."""
    y = TARGETS.get(name, PROBABILITIES)
    head = HEADS.get(name, nn.Identity())
    model = nn.Sequential(nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 3), head).double()
    x = RNG.standard_normal((N, 3))

    def summed(output: Any, y: Any) -> Any:
        from_target = name in ("kl_divergence", "distribution_cross_entropy")
        given = (y, output) if from_target else (output, y)
        return getattr(losses, name)(*given, reduction="sum")

    wanted = of_each_alone(model, summed, x, y)
    assert any(np.abs(g).max() > 1e-3 for g in wanted.values())
    agree(cr.per_sample_gradients(model, name, x, y), wanted)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_weights_of_classes_and_samples(reduction: str) -> None:
    """They multiply the gradient of their sample, and no sum of weights divides it."""
    model = nn.Sequential(nn.Dense(3, 4, activation="relu"), nn.Dense(4, 3)).double()
    x, weight = RNG.standard_normal((N, 3)), np.array([1.0, 0.0, 5.0])

    def weighted(output: Any, y: Any) -> Any:
        return ops.cross_entropy(output, y, weight=weight, reduction=reduction)

    got = cr.per_sample_gradients(model, weighted, x, LABELS)
    agree(got, of_each_alone(model, weighted, x, LABELS))
    plain = cr.per_sample_gradients(model, "cross_entropy", x, LABELS)
    for name, g in plain.items():
        factor = weight[LABELS].reshape(-1, *(1,) * (g.ndim - 1))
        np.testing.assert_allclose(got[name], factor * g, rtol=1e-12, atol=1e-15)
    of_samples = np.array([2.0, 0.0, 1.0, 3.0, 1.0])
    got = cr.per_sample_gradients(
        model,
        lambda o, y: ops.cross_entropy(o, y, sample_weight=of_samples, reduction="sum"),
        x,
        LABELS,
    )
    np.testing.assert_allclose(got["1.bias"], of_samples[:, None] * plain["1.bias"], atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_modules_as_losses(reduction: str) -> None:
    """Summed whatever they would do, with their options and weights."""
    model = nn.Sequential(nn.Dense(3, 4, activation="relu"), nn.Dense(4, 3)).double()
    x, weight = RNG.standard_normal((N, 3)), np.array([1.0, 0.5, 2.0])
    module = nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1, reduction=reduction)

    def summed(output: Any, y: Any) -> Any:
        return ops.cross_entropy(output, y, weight, "sum", label_smoothing=0.1)

    agree(
        cr.per_sample_gradients(model, module, x, LABELS), of_each_alone(model, summed, x, LABELS)
    )
    huber = cr.per_sample_gradients(model, nn.HuberLoss(delta=0.3), x, PROBABILITIES)
    agree(
        huber,
        of_each_alone(model, lambda o, y: ops.huber_loss(o, y, "sum", delta=0.3), x, PROBABILITIES),
    )
    with pytest.raises(TypeError, match=r"write MSELoss\(\), not the class"):
        cr.per_sample_gradients(model, nn.MSELoss, x, PROBABILITIES)


def test_as_vmap_of_grad_in_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 6), torch.nn.GELU(), torch.nn.Linear(6, 6), torch.nn.SiLU(),
        torch.nn.Linear(6, 3),
    ).double()  # fmt: skip
    ours = nn.Sequential(
        nn.Dense(3, 6), nn.GELU(), nn.Dense(6, 6, activation="silu"), nn.Identity(), nn.Dense(6, 3)
    ).double()
    ours.load_state_dict(theirs.state_dict())
    x, weight = RNG.standard_normal((N, 3)), np.array([1.0, 0.5, 2.0])

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        output = torch.func.functional_call(theirs, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(
            output, y[None], weight=torch.from_numpy(weight), reduction="sum", label_smoothing=0.1
        )

    own = {name: p.detach() for name, p in theirs.named_parameters()}
    wanted = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(
        own, torch.from_numpy(x), torch.from_numpy(LABELS)
    )
    got = cr.per_sample_gradients(
        ours,
        lambda o, y: ops.cross_entropy(o, y, weight, "sum", label_smoothing=0.1),
        x,
        LABELS,
    )
    assert got.keys() == wanted.keys()
    for name, g in wanted.items():
        np.testing.assert_allclose(got[name], g.numpy(), rtol=1e-10, atol=1e-13)
