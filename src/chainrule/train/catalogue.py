"""Which kernels the package is shipped with: those of the library's formulas and of training the
usual dense networks.

The kernels are not listed. The library does what its users do, on a few numbers, and what it would
have built is collected. A kernel's text depends on formulas, types and layouts, not on sizes, so
one step of one small network stands for those of every size; but for scores of many classes, which
are worth more than one thread, there are other kernels than for few.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from chainrule import nn, ops, optim
from chainrule.array.random import Stream, use_stream
from chainrule.autograd.capture import Captured
from chainrule.autograd.context import no_grad
from chainrule.compile import native
from chainrule.ops.formula import FORMULAS
from chainrule.ops.tensor import tensor
from chainrule.train.recipe import recipe, table_network
from chainrule.train.trainer import Trainer

__all__ = ["sources"]

_ACTIVATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("relu", {}), ("tanh", {}), ("sigmoid", {}), ("gelu", {}), ("gelu", {"approximate": "tanh"}),
    ("silu", {}), ("elu", {}), ("selu", {}), ("leaky_relu", {}), ("softplus", {}),
)  # fmt: skip
_HEADS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("softmax", {}), ("log_softmax", {}), ("logistic", {}), ("identity", {}),
)  # fmt: skip
_NAMES = {"bce_with_logits": "binary_cross_entropy_with_logits"}
_TASKS = {
    "multiclass": "cross_entropy", "multilabel": "binary_cross_entropy_with_logits",
    "regression": "mse",
}  # fmt: skip
_FEW, _MANY = 3, 1 << 13  # classes
_LOSSES = ("mse", "l1", "huber", "bce", "bce_with_logits", "cross_entropy", "nll")


def sources() -> dict[str, str]:
    """The text of every kernel, by the name of its function."""
    with (
        native.collecting() as found,
        use_stream(Stream(0)),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for work in _works():
            with contextlib.suppress(NotImplementedError):
                work()
        return dict(found)


def _works() -> Iterator[Callable[[], None]]:
    for dtype in (np.float32, np.float64):
        for f in FORMULAS.values():
            yield partial(_formula, f, dtype)
        yield partial(_arithmetic, dtype)
        for name, options in (*_ACTIVATIONS, *_HEADS):
            yield partial(_layer, name, options, dtype)
    for name, options in _ACTIVATIONS:
        for p in (0.0, 0.2):
            yield partial(_network, name, options, p)
    for loss, weighted in itertools.product(_LOSSES, (False, True)):
        yield partial(_fit, loss, weighted)
    for optimizer in _optimizers():
        yield partial(_fit, "cross_entropy", False, optimizer)
    for loss, weighted in itertools.product(("cross_entropy", "nll"), (False, True)):
        yield partial(_fit, loss, weighted, classes=_MANY)
    for p, weighted, classes in itertools.product((0.0, 0.2), (False, True), (False, True)):
        yield partial(_command_line, p, weighted, classes)
    for task, weighted, codes in itertools.product(_TASKS, (False, True), (False, True)):
        yield partial(_table, task, weighted, codes)
    for more in ({"clip_norm": 1.0}, {"clip_value": 1.0}, {"accumulate": 2}):
        yield partial(_fit, "cross_entropy", False, "adam", **more)


def _rows(dtype: Any, columns: int = 4, rows: int = 6) -> Any:
    return np.linspace(-2, 2, rows * columns).reshape(rows, columns).astype(dtype)


def _formula(f: Any, dtype: Any) -> None:
    """A formula, and its gradient."""
    xs = [tensor(np.abs(_rows(dtype)) + 0.1, requires_grad=True) for _ in f.arrays]
    with no_grad():
        f(*xs)
    f(*xs).sum().backward()


def _arithmetic(dtype: Any) -> None:
    """What operators and reductions compute, in the layouts of a network."""
    x, y = tensor(_rows(dtype), requires_grad=True), tensor(_rows(dtype), requires_grad=True)
    row, column = (
        tensor(x._data[:1], requires_grad=True),
        tensor(x._data[:, :1], requires_grad=True),
    )
    number = np.asarray(2.0, dtype)
    binary: tuple[Any, ...] = (
        ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum, ops.minimum,
    )  # fmt: skip
    unary: tuple[Any, ...] = (ops.exp, ops.log, ops.sqrt, ops.abs, ops.square, ops.negative)
    reductions: tuple[Any, ...] = (ops.sum, ops.mean, ops.max)
    for f, other in itertools.product(binary, (y, row, column, number, 2.0)):
        f(x, other).sum().backward()
    for f in unary:
        f(ops.square(x) + 0.5).sum().backward()
    for f, axis, keepdims in itertools.product(reductions, (None, 0, -1), (False, True)):
        f(x, axis=axis, keepdims=keepdims).sum().backward()
    (x**2).mean().backward()


def _layer(name: str, options: dict[str, Any], dtype: Any) -> None:
    """A dense layer with its activation, recorded and not."""
    x, f = tensor(_rows(dtype), requires_grad=True), FORMULAS[name]
    for bias in (True, False):
        layer = nn.Dense(4, 3, bias=bias)
        layer.to(dtype)
        ops.dense(x, layer.weight, layer.bias, f, **options).sum().backward()
        ops.dense(x, layer.weight, layer.bias).sum().backward()
        with no_grad():
            ops.dense(x, layer.weight, layer.bias, f, **options)


def _network(name: str, options: dict[str, Any], p: float) -> None:
    """Training steps of a network with this activation, and its predictions."""
    layers: list[Any] = []
    for a, b in ((4, 5), (5, 6)):
        layers += [nn.Dense(a, b), nn.Activation(FORMULAS[name], **options)]
        layers += [nn.Dropout(p)] if p else []
    model = nn.Sequential(*layers, nn.Dense(6, 3))
    x, y = _rows(np.float32), np.arange(6) % 3
    trainer = Trainer(model, seed=0)
    trainer.fit((x, y), epochs=1, batch_size=6, shuffle=False)
    trainer.predict(x)
    with no_grad():
        for rows in (x, x[:1]):  # one row is a kernel of its own
            model(rows)
            ops.softmax(model(rows))
    optimizer = optim.Adam(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    Captured(step, quiet=True)(x, y)
    step(x, y)


def _fit(
    loss: str, weighted: bool, optimizer: Any = "adam", classes: int = _FEW, **more: Any
) -> None:
    """Training with a loss, an optimizer, weights."""
    labels = loss in ("cross_entropy", "nll")
    x = _rows(np.float32)
    width = classes if labels else 1
    y = np.arange(6) % 3 if labels else (np.arange(6) % 2).astype(np.float32)[:, None]
    ends: dict[str, list[Any]] = {"nll": [nn.LogSoftmax()], "bce": [nn.Sigmoid()]}
    last = ends.get(loss, [])
    model = nn.Sequential(nn.Dense(4, 5), nn.ReLU(), nn.Dense(5, width), *last)
    trainer = Trainer(model, loss=loss, optimizer=optimizer, metrics=[], seed=0, **more)
    weight = np.ones(6, np.float32) if weighted else None
    trainer.fit((x, y), epochs=1, batch_size=6, shuffle=False, sample_weight=weight)
    trainer.evaluate((x, y), sample_weight=weight)
    if loss in ends:  # which a Trainer computes together with the model's end
        _by_hand(model, getattr(ops, {"bce": "binary_cross_entropy"}.get(loss, "nll_loss")), x, y)
    if labels or loss == "bce":
        return
    f: Any = getattr(ops, _NAMES.get(loss, f"{loss}_loss"))
    for reduction in ("sum", "none"):
        z = tensor(_rows(np.float32), requires_grad=True)
        f(z, _rows(np.float32), reduction=reduction).sum().backward()


def _by_hand(model: Any, loss: Any, x: Any, y: Any) -> None:
    """A step with a loss of what the model gives, as a loop of one's own has it."""
    optimizer = optim.Adam(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    Captured(step, quiet=True)(x, y)
    step(x, y)


def _command_line(p: float, weighted: bool, classes: bool) -> None:
    """What ``chainrule train`` does: rows as they are, standardised by the model."""
    x = _rows(np.float32)
    y = np.arange(6) % 3 if classes else _rows(np.float32, 1)
    layers = [nn.Dense(4, 5), nn.ReLU(), *([nn.Dropout(p)] if p else [])]
    last = nn.Dense(5, 3 if classes else 1)
    model = nn.Sequential(nn.Standardize.fit(x), *layers, last)
    loss, weight = "cross_entropy" if classes else "mse", np.ones(6, np.float32)
    trainer = Trainer(model, loss=loss, optimizer="adamw", seed=0)
    sample_weight = weight if weighted else None
    trainer.fit((x, y), epochs=1, batch_size=6, shuffle=False, sample_weight=sample_weight)
    trainer.evaluate((x, y))
    for rows in (x, np.abs(x).astype(np.uint8)):
        with no_grad():
            model(rows)
    if classes:
        for dtype in (np.uint8, np.int32):
            trainer.fit((x, y.astype(dtype)), epochs=1, batch_size=6, sample_weight=sample_weight)


def _table(task: str, weighted: bool, codes: bool) -> None:
    """What ``chainrule train`` does with a table: its recipe, with and without embeddings, and the
    mean of five networks."""
    x = _rows(np.float32, 6)
    x[:, -2:] = np.arange(12).reshape(6, 2) % 2
    y = np.arange(6) % 3 if task == "multiclass" else (_rows(np.float32, 3) > 0).astype(np.float32)
    options = recipe(len(x), x.shape[1], 3, task)
    network = {k: options[k] for k in ("hidden", "activation", "dropout")}
    model = table_network(6, [(3, 2), (2, 2)] if codes else [], 3, **network)
    optimizer = optim.get(options["optimizer"], None, lr=options["learning_rate"])
    trainer = Trainer(
        model,
        loss=_TASKS[task],
        optimizer=optimizer,
        metrics=[],
        schedule=options["schedule"],
        clip_norm=options["clip_norm"],
        seed=0,
    )
    weight = np.arange(1, 4, dtype=np.float32) if task == "multiclass" else None
    trainer.fit(
        (x, y),
        epochs=1,
        batch_size=6,
        validation_data=(x, y),
        class_weight=weight if weighted else None,
    )
    several = [
        table_network(6, [(3, 2), (2, 2)] if codes else [], 3, **network)
        for _ in range(options["members"])
    ]
    with no_grad():
        for rows in (x, x[:1]):
            model(rows)
            nn.Ensemble(several).eval()(rows)


def _optimizers() -> Iterator[Any]:
    yield from (
        "adam",
        "adamw",
        "sgd",
        "rmsprop",
        "adagrad",
        "adadelta",
        "adamax",
        "nadam",
        "radam",
    )
    yield optim.Adam(lr=1e-3, weight_decay=1e-2)
    yield optim.Adam(lr=1e-3, amsgrad=True)
    yield optim.AdamW(lr=1e-3, weight_decay=0.0)
    yield optim.SGD(lr=0.1, weight_decay=1e-4)
    yield optim.SGD(lr=0.1, momentum=0.9)
    yield optim.SGD(lr=0.1, momentum=0.9, weight_decay=1e-4)
    yield optim.SGD(lr=0.1, momentum=0.9, nesterov=True)
    yield optim.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
