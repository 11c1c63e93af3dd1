"""Steps of many kinds: captured they give the bits of the eager run, call after call.

Results, parameters, gradients, the optimizer's state and the random stream are compared after every
call, on native code and on NumPy. Of the native form the instructions are checked too: no kernel
reads memory that was overwritten.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests_layout import Machine
from tests_steps import assert_equal_to_eager, build_together

nn, ops, optim = cr.nn, cr.ops, cr.optim

R = np.random.default_rng(0)
X = R.normal(size=(12, 6)).astype(np.float32)
Y = R.integers(0, 4, 12)
T = R.normal(size=(12, 4)).astype(np.float32)
P = (np.abs(T) / np.abs(T).sum(1, keepdims=True)).astype(np.float32)
Z = [R.normal(size=(12, 3)).astype(np.float32) for _ in range(3)]
W = np.array([1.0, 2.0, 0.5, 1.0], np.float32)

CASES: dict[str, Any] = {}


def case(make: Any) -> Any:
    """Name a step; it is made by a function that gives (owners, step, batches)."""
    CASES[make.__name__] = make
    return make


def net(*layers: Any, out: int = 4) -> Any:
    return nn.Sequential(nn.Dense(6, 5), nn.Tanh(), *layers, nn.Dense(5, out))


def trained(model: Any, optimizer: Any, args: Any = (X, Y), to_none: bool = True) -> Any:
    """The usual step."""

    def step(x, y):
        optimizer.zero_grad(set_to_none=to_none)
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return [model, optimizer], step, [args] * 5


# -- optimizers -----------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Any] = {
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adam decay": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, maximize=True),
    "adamw amsgrad": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
}
for _name, _make in OPTIMIZERS.items():
    CASES[f"optimizer: {_name}"] = lambda make=_make: trained(m := net(), make(m.parameters()))


@case
def groups_of_an_optimizer() -> Any:
    model = net(nn.Dense(5, 5))
    parts = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}]
    optimizer = optim.Adam(
        [*parts, {"params": model[2].parameters(), "weight_decay": 0.5}], lr=0.01
    )
    return trained(model, optimizer)


@case
def a_closure() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        def closure():
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure)

    return [model, optimizer], step, [(X, Y)] * 5


@case
def clipping() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)

    def step(x, y):
        optimizer.zero_grad()
        ops.cross_entropy(model(x), y).backward()
        optim.clip_grad_value(model.parameters(), 0.05)
        norm = optim.clip_grad_norm(model.parameters(), 0.1)
        optimizer.step()
        return cr.tensor(norm) if isinstance(norm, float) else norm  # a float, when it runs eagerly

    return [model, optimizer], step, [(X, Y)] * 5


@case
def clipping_without_an_optimizer() -> Any:
    model = net()

    def step(x, y):
        model.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 0.05)
        optim.clip_grad_value(model.parameters(), 0.01)
        for p in model.parameters():
            p.assign(p.detach() - 0.1 * p.grad)
        return loss

    return [model], step, [(X, Y)] * 5


@case
def gradients_set_to_zero_in_place() -> Any:
    model = net()
    return trained(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), to_none=False)


@case
def gan() -> Any:
    """The critic is updated twice, then the generator: each update has its own step count."""
    generator = nn.Sequential(nn.Dense(3, 6), nn.Tanh())
    critic = nn.Sequential(nn.Dense(6, 5), nn.SiLU(), nn.Dense(5, 1))
    first = optim.Adam(critic.parameters(), lr=0.02)
    second = optim.Adam(generator.parameters(), lr=0.01)

    def step(x, a, b, c):
        for z in (a, b):
            first.zero_grad()
            distance = (critic(generator(z).detach()) - critic(x)).mean()
            distance.backward()
            first.step()
        second.zero_grad()
        loss = -critic(generator(c)).mean()
        loss.backward()
        second.step()
        return {"critic": distance, "generator": loss}

    return [critic, generator, first, second], step, [(X, *Z)] * 6


@case
def updates_by_hand() -> Any:
    model = net()

    def step(x, y):
        for p in model.parameters():
            p.grad = None
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        for p in model.parameters():
            p.assign(p.detach() - 0.1 * p.grad)
        return loss

    return [model], step, [(X, Y)] * 5


@case
def a_running_mean_of_weights() -> Any:
    model, mean = net(), net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        for p, q in zip(mean.parameters(), model.parameters(), strict=True):
            p.assign(0.9 * p.detach() + 0.1 * q.detach())
        return loss

    return [model, mean, optimizer], step, [(X, Y)] * 5


# -- values of before and after --------------------------------------------------------------------


@case
def old_and_new_values() -> Any:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        old, rows = model[0].weight.detach(), model[2].weight.detach()[1:3]
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        before = model[0].weight.grad
        optim.clip_grad_norm(model.parameters(), 0.01)
        after = model[0].weight.grad
        optimizer.step()
        return loss, old, rows, before, after, model[0].weight.detach(), (old * rows.sum()).sum()

    return [model, optimizer], step, [(X, Y)] * 4


@case
def swapped() -> Any:
    """Two arrays change places: there is no native form, and NumPy does it."""

    class Pair(nn.Module):
        def __init__(self):
            self.a = nn.Parameter(np.arange(4, dtype=np.float32))
            self.b = nn.Parameter(np.ones(4, np.float32))

    pair = Pair()

    def step(x):
        a, b = pair.a.detach(), pair.b.detach()
        pair.a.assign(b)
        pair.b.assign(a)
        return (pair.a * x).sum(), a

    return [pair], step, [(np.ones(4, np.float32),)] * 5


# -- accumulation ---------------------------------------------------------------------------------


def _accumulating(optimizer: bool) -> Any:
    model = net()
    owners = [model, *([optim.Adam(model.parameters())] if optimizer else [])]

    def step(x, y):
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return owners, step, [(X, Y)] * 7


CASES["gradients added up"] = lambda: _accumulating(True)
CASES["gradients added up without an optimizer"] = lambda: _accumulating(False)


@case
def gradients_of_two_losses() -> Any:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y, t):
        optimizer.zero_grad()
        ops.cross_entropy(model(x), y).backward()
        ops.mse_loss(model(x), t).backward()
        optimizer.step()
        return model[0].bias.grad

    return [model, optimizer], step, [(X, Y, T)] * 5


# -- models ---------------------------------------------------------------------------------------


class BatchNorm(nn.Module):
    """Batch normalization written with primitives; it keeps a running mean."""

    def __init__(self, n):
        self.weight = nn.Parameter(np.ones(n, np.float32))
        self.bias = nn.Parameter(np.zeros(n, np.float32))
        self.register_buffer("running", np.zeros(n, np.float32))

    def forward(self, x):
        mean = x.mean(axis=0)
        d = x - mean
        running = 0.9 * cr.tensor(self.running) + 0.1 * mean.detach()
        np.copyto(self.running, running._data)
        return d / ops.sqrt((d * d).mean(axis=0) + 1e-5) * self.weight + self.bias


class LayerNorm(nn.Module):
    def __init__(self, n):
        self.weight = nn.Parameter(np.ones(n, np.float32))
        self.bias = nn.Parameter(np.zeros(n, np.float32))

    def forward(self, x):
        d = x - x.mean(axis=-1, keepdims=True)
        return d / ops.sqrt((d * d).mean(axis=-1, keepdims=True) + 1e-5) * self.weight + self.bias


@case
def batch_norm_and_dropout() -> Any:
    model = net(BatchNorm(5), nn.GELU(), nn.Dropout(0.3), nn.Dropout(0.5))
    return trained(model, optim.Adam(model.parameters(), lr=0.01))


@case
def layer_norm() -> Any:
    model = net(LayerNorm(5), nn.SiLU())
    return trained(model, optim.Adam(model.parameters(), lr=0.01))


@case
def tied_and_frozen_parameters() -> Any:
    shared = nn.Dense(6, 6)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Dense(6, 4))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    model[4].bias.requires_grad = False
    return trained(model, optimizer)


@case
def float64() -> Any:
    model = net().double()
    return trained(model, optim.Adam(model.parameters()), args=(X.astype(np.float64), Y))


@case
def activations() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    functions = [
        ops.relu, ops.leaky_relu, ops.elu, ops.selu, ops.gelu, ops.silu, ops.sigmoid, ops.tanh,
        ops.softplus, ops.softmax, ops.log_softmax, ops.logistic,
        lambda x: ops.gelu(x, approximate="tanh"),
    ]  # fmt: skip

    def step(x):
        optimizer.zero_grad()
        out = model(x)
        loss = sum((f(out) ** 2).mean() for f in functions)
        loss.backward()
        optimizer.step()
        return loss

    return [model, optimizer], step, [(X,)] * 4


@case
def dense_activations() -> Any:
    names = ["relu", "gelu", "silu", "elu", "softplus", "sigmoid"]
    layers = [nn.Dense(6, 6, activation=a, bias=k != 2) for k, a in enumerate(names)]
    model = nn.Sequential(*layers, nn.Dense(6, 4))
    return trained(model, optim.SGD(model.parameters(), lr=0.1))


# -- losses ---------------------------------------------------------------------------------------


@case
def losses() -> Any:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x, y, t, p):
        optimizer.zero_grad()
        out = model(x)
        log_p, q = ops.log_softmax(out, axis=1), ops.sigmoid(out)
        values = [
            ops.cross_entropy(out, y, weight=W, label_smoothing=0.1),
            ops.cross_entropy(out, y, reduction="sum"),
            ops.cross_entropy(out, y, weight=W, sample_weight=t[:, 0] ** 2),
            ops.cross_entropy(out, p, label_smoothing=0.1),
            ops.nll_loss(log_p, y, weight=W, reduction="none").sum(),
            ops.mse_loss(out, t, weight=p[:, 0]),
            ops.l1_loss(out, t, reduction="sum"),
            ops.huber_loss(out, t, delta=0.7, reduction="batchmean"),
            ops.binary_cross_entropy(q, p),
            ops.binary_cross_entropy_with_logits(out, p, pos_weight=W, weight=p),
            ops.binary_cross_entropy_with_logits(out, p, reduction="none").sum(axis=1).mean(),
        ]
        sum(values).backward()
        optimizer.step()
        return values

    return [model, optimizer], step, [(X, Y, T, P)] * 4


@case
def gradient_penalty() -> Any:
    model = nn.Sequential(nn.Dense(6, 5), nn.SiLU(), nn.Dense(5, 5), nn.GELU(), nn.Dense(5, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        points = cr.tensor(x, requires_grad=True)
        (slopes,) = cr.autograd.grad(model(points).sum(), [points], create_graph=True)
        penalty = ((ops.norm(slopes, axis=1) - 1) ** 2).mean()
        penalty.backward()
        optimizer.step()
        return penalty

    return [model, optimizer], step, [(X,)] * 4


@case
def functions_of_gradients() -> Any:
    def step(x, w):
        value, g = cr.value_and_grad(lambda w: (ops.tanh(x @ w) ** 2).sum())(w)
        return value, g, cr.grad(lambda a: ops.sin(a).sum())(x)

    return [], step, [(X, T[:6])] * 4


@case
def the_gradient_of_an_input_outside() -> Any:
    model, x = net(), cr.tensor(X, requires_grad=True)

    def step(y):
        x.grad = None
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        return loss, x.grad

    return [model], step, [(Y,)] * 5


@case
def tensors_and_modules_as_arguments() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(model, optimizer, x, y, scale):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y) * scale
        loss.backward()
        optimizer.step()
        return loss

    args = (model, optimizer, cr.tensor(X), cr.tensor(Y))
    return [model, optimizer], step, [(*args, 1.0)] * 3 + [(*args, 2.0)] * 3 + [(*args, 1.0)]


@case
def a_parameter_as_argument() -> Any:
    model = net()

    def step(w, x):
        w.grad = None
        loss = ops.tanh(x @ w.T).sum()
        loss.backward()
        w.assign(w.detach() - 0.1 * w.grad)
        return loss

    return [model], step, [(model[0].weight, X)] * 5


@case
def whole_numbers() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    pixels = (X * 40 + 100).astype(np.uint8)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y) + ops.cross_entropy(model(cr.tensor(x) / 255.0), y)
        loss.backward()
        optimizer.step()
        return loss, x.astype(np.float32) / 255.0, x / 255.0

    kinds = [np.int64, np.int32, np.uint8]
    return [model, optimizer], step, [(pixels, Y.astype(k)) for k in kinds for _ in range(3)]


@case
def a_ragged_last_batch() -> Any:
    model = net()
    owners, step, _ = trained(model, optim.Adam(model.parameters(), lr=0.01))
    return owners, step, [*[(X, Y)] * 3, (X[:5], Y[:5])] * 4


@case
def arrays_in_any_layout() -> Any:
    model = net()
    owners, step, _ = trained(model, optim.Adam(model.parameters(), lr=0.01))
    spread = np.repeat(X, 2, axis=1)[:, ::2]
    others = [(np.asfortranarray(X), Y), (spread, Y), (X[::-1], Y[::-1]), (X, np.repeat(Y, 2)[::2])]
    return owners, step, [*[(X, Y)] * 3, *others]


# -- inside the step ------------------------------------------------------------------------------


@case
def shapes_of_all_kinds() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    along = np.argsort(T, axis=1)

    def step(x, places):
        optimizer.zero_grad()
        h = model(x)
        c = ops.concatenate([h[:, :2], h[:, 3:4]], axis=1)
        a, b = ops.split(h, 2, axis=1)
        loss = (
            (h[::2, 1:].mean() + (c.T @ c).sum() + ops.cumsum(h, axis=1).mean())
            + (h.reshape(6, 8).max(axis=1).sum() + h[..., -1].sum() + h[3].sum())
            + ops.take_along_axis(h, along, axis=1)[:, :2].sum()
            + ops.take_along_axis(h, places, axis=1)[:, 1].mean()
            + (ops.stack([a, b], axis=0) ** 2).mean()
            + 0.1 * ops.pad(h, ((1, 1), (0, 2))).sum()
            + ops.flip(h, 1)[:, :2].sum()
            + ops.squeeze(ops.expand_dims(h, axis=0), axis=0).mean(axis=0).sum()
            + (ops.logsumexp(h, axis=1).sum() + ops.clip(h, -0.1, 0.1).sum())
            + ops.where(h > 0, h, 0.1 * h).mean()
        )
        loss.backward()
        optimizer.step()
        return loss, h.T, (h[1], {"flat": h.reshape(-1)}), h > 0, h.mean(axis=(0, 1))

    return [model, optimizer], step, [(X, along)] * 4


@case
def rows_of_a_table() -> Any:
    """An embedding: rows chosen by an argument."""
    model = net()
    table = nn.Parameter(np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32))
    optimizer = optim.Adam([*model.parameters(), table], lr=0.01)

    def step(index, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(table[index]), y)
        loss.backward()
        optimizer.step()
        return loss, table[2:4].detach()

    index = np.array([0, 1, 2, 3, 4, 5, 6, 0, 0, 1, 2, 3])
    return [model, optimizer], step, [(index, Y), (index[::-1].copy(), Y)] * 3


@case
def functions_of_numpy() -> Any:
    """NumPy's own functions of an argument, with NumPy's types."""
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x - np.mean(x, axis=0)), y)
        weights = ((y == 1) * 1.0 + 0.5).astype(np.float32)
        loss = (
            loss + (ops.cross_entropy(model(x**2 + abs(x)), y, reduction="none") * weights).mean()
        )
        loss.backward()
        optimizer.step()
        return loss, np.sum(x), np.sqrt(2) * x, np.clip(x, -1, 1), y % 3, -x, (x > 0) & (x < 1)

    return [model, optimizer], step, [(X, Y)] * 4


@case
def a_captured_step_inside() -> Any:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    inner = cr.capture(lambda x: 2 * ops.tanh(x))

    def step(x, y):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(inner(x)), y)
        loss.backward()
        optimizer.step()
        return loss

    return [model, optimizer], step, [(X, Y)] * 5


@case
def nothing_returned() -> Any:
    model = net()
    owners, step, batches = trained(model, optim.Adam(model.parameters(), lr=0.01))
    return owners, lambda x, y: [step(x, y)].clear(), batches


@pytest.fixture(scope="module")
def built(executor: str) -> None:
    if executor == "native":
        build_together(CASES.values())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("built")
def test_captured_equals_eager(name: str, executor: str) -> None:
    step = assert_equal_to_eager(CASES[name])
    programs = list(step.programs())
    assert all(p.checked == 2 for p in programs[-1:])
    if executor == "native":
        for program in programs:
            if name == "swapped":
                assert program.replay.reason == "updates that read what other updates overwrite"
            else:
                assert program.replay.reason is None
                Machine(program.replay.layout).run()
