"""``chainrule check``: every formula, loss and layer proved on this machine, in a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule import nn, ops
from chainrule.autograd.check import directional_error
from chainrule.cli.tables import table
from chainrule.ops import loss as losses
from chainrule.ops.formula import FORMULAS, Formula

__all__ = ["Case", "cases", "errors", "run"]

Array = npt.NDArray[Any]

#: Allowed error of a value in float32, and of a derivative against differences in float64.
_VALUE, _DERIVATIVE = 1e-5, 1e-6
_DIRECTIONS = 2


class Case(NamedTuple):
    """What is checked: `f` in the library against `reference` in plain NumPy, at `inputs`."""

    kind: str
    name: str
    f: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: list[Array]


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out: 0 if everything passes, else 1."""
    rows, reasons = [], []
    with np.errstate(all="ignore"):
        for case in cases():
            try:
                found = errors(case)
            except Exception as error:  # whatever a case does, the others are checked
                found = (np.inf, np.inf, np.inf)
                reasons.append(f"{case.name}: {type(error).__name__}: {error}")
            passed = _passed(found)
            rows.append((case, found, passed))
    head = ["", "name", "value", "1st derivative", "2nd derivative", ""]
    cells = [
        [case.kind, case.name, *(f"{e:.1e}" for e in found), "" if passed else "FAILED"]
        for case, found, passed in rows
    ]
    print("Largest relative errors. Values: float32 against plain NumPy in float64.")
    print("Derivatives: float64 against differences along random directions.\n")
    print(*table(head, cells, left=2), sep="\n")
    if reasons:
        print("", *reasons, sep="\n")
    failed = sum(not passed for *_, passed in rows)
    print(f"\n{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _passed(found: tuple[float, float, float]) -> bool:
    return found[0] <= _VALUE and found[1] <= _DERIVATIVE and found[2] <= _DERIVATIVE


def errors(case: Case) -> tuple[float, float, float]:
    """The errors of value, first and second derivative; NaN counts as infinite."""
    reals = [k for k, a in enumerate(case.inputs) if a.dtype.kind == "f"]
    single = [a.astype(np.float32) if k in reals else a for k, a in enumerate(case.inputs)]
    double = [a.astype(np.float64) if k in reals else a for k, a in enumerate(single)]
    value = np.asarray(case.f(*single))
    if value.dtype != np.float32:
        raise TypeError(f"float32 came out as {value.dtype}")
    reference = np.asarray(case.reference(*double))
    largest = max(1.0, float(np.max(np.abs(reference))))
    first = float(np.max(np.abs(value - reference))) / largest
    rng = np.random.default_rng(0)
    derivatives = []
    for order in (1, 2):
        worst = 0.0
        for _ in range(_DIRECTIONS):
            error, scale, _ = directional_error(case.f, double, reals, rng, order)
            worst = max(worst, _finite(error / max(scale, 1e-3)))
        derivatives.append(worst)
    return _finite(first), derivatives[0], derivatives[1]


def _finite(error: float) -> float:
    return error if error == error else np.inf


def cases() -> Iterator[Case]:
    """All formulas of the registry, all losses, all layers of the registry."""
    for name, f in sorted(FORMULAS.items()):
        yield Case("formula", name, f, f.plain, _inputs(f))
    gelu = FORMULAS["gelu"]
    yield Case(
        "formula",
        "gelu, tanh",
        lambda x: gelu(x, approximate="tanh"),
        lambda x: gelu.plain(x, approximate="tanh"),
        _inputs(gelu),
    )
    for name in sorted(losses.__all__):
        yield _loss(name)
    for name, cls in sorted(nn.REGISTRY.items()):
        if cls not in (nn.ModuleList, nn.ModuleDict):  # which hold modules and compute nothing
            yield _layer(name, cls)


def _draws(*shape: int) -> Array:
    """Normal numbers away from 0, where several functions have a kink."""
    x = np.random.default_rng(shape).standard_normal(shape)
    x[np.abs(x) < 0.05] = 0.5
    return x


def _inputs(f: Formula[Any]) -> list[Array]:
    """Arrays in the formula's domain: of any sign where it takes them, else positive."""
    x = [_draws(k + 4, 6)[:4] for k in range(len(f.arrays))]
    return x if np.isfinite(f.plain(*x)).all() else [np.abs(a) + 0.5 for a in x]


def _logsumexp(x: Array) -> Any:
    return np.log(np.exp(x).sum(axis=1))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _entropy(p: Array, t: Array) -> Any:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def _huber(d: Array) -> Array:
    return np.where(np.abs(d) <= 1, d * d / 2, np.abs(d) - 0.5)


def _picked(x: Array, labels: Array) -> Array:
    return np.take_along_axis(x, labels[:, None], axis=1)[:, 0]


#: Each loss in plain NumPy, and the range of its input ("logits": any, else probabilities).
_LOSSES: dict[str, tuple[Callable[[Array, Array], Any], str]] = {
    "binary_cross_entropy": (lambda p, t: _entropy(p, t).mean(), "probabilities"),
    "binary_cross_entropy_with_logits": (lambda x, t: _entropy(_sigmoid(x), t).mean(), "logits"),
    "cross_entropy": (lambda x, y: (_logsumexp(x) - _picked(x, y)).mean(), "classes"),
    "huber_loss": (lambda x, t: _huber(x - t).mean(), "logits"),
    "l1_loss": (lambda x, t: np.abs(x - t).mean(), "logits"),
    "mse_loss": (lambda x, t: ((x - t) ** 2).mean(), "logits"),
    "nll_loss": (lambda x, y: -_picked(x, y).mean(), "classes"),
}


def _loss(name: str) -> Case:
    f = getattr(losses, name)
    reference, takes = _LOSSES.get(name, (f, "logits"))
    x = _draws(6, 4)
    if takes == "classes":
        labels = np.array([0, 3, 1, 2, 2, 0])
        return Case("loss", name, lambda x: f(x, labels), lambda x: reference(x, labels), [x])
    target = _sigmoid(_draws(7, 4)[:6])
    return Case(
        "loss", name, f, reference, [_sigmoid(x) if takes == "probabilities" else x, target]
    )


#: Constructor arguments of the layers that need some, and the shape of their input.
_LAYERS: dict[str, tuple[Callable[[], tuple[Any, ...]], tuple[int, ...]]] = {
    "Activation": (lambda: (ops.tanh,), (4, 6)),
    "Dense": (lambda: (6, 3), (4, 6)),
    "Flatten": (tuple, (4, 2, 3)),
    "Standardize": (lambda: (_draws(1, 6)[0], np.abs(_draws(1, 6)[0]) + 0.5), (4, 6)),
    "Sequential": (lambda: (nn.Dense(6, 5, activation="gelu"), nn.Dense(5, 3)), (4, 6)),
}


def _layer(name: str, cls: type[nn.Module]) -> Case:
    arguments, shape = _LAYERS.get(name, (tuple, (4, 6)))
    layer = cls(*arguments()).eval()
    state, modules = layer.state_dict(), dict(layer.named_modules())
    places = [(modules[path], key) for path, _, key in (name.rpartition(".") for name in state)]

    def f(x: Any, *values: Any) -> Any:
        # parameters and buffers are inputs too, so that the derivatives along them are checked
        for (module, key), value in zip(places, values, strict=True):
            object.__setattr__(module, key, value)
        return layer(x)

    def reference(x: Array, *values: Array) -> Any:
        for (module, key), value in zip(places, values, strict=True):
            object.__setattr__(module, key, value)
        return _plain(layer, x)

    return Case("layer", name, f, reference, [_draws(*shape), *state.values()])


def _plain(layer: Any, x: Array) -> Any:
    """A layer in plain NumPy, where there is a formula to run; else the layer itself."""
    if isinstance(layer, nn.Sequential):
        for child in layer.children():
            x = _plain(child, x)
        return x
    if isinstance(layer, nn.Dense):
        z = x @ layer.weight.T
        z = z if layer.bias is None else z + layer.bias
        return z if layer.activation is None else layer.activation.plain(z, **layer.options)
    if isinstance(layer, nn.Standardize):
        return (x - layer.mean) / layer.scale
    if isinstance(layer, nn.Activation):
        return layer.formula.plain(x, **layer.options)
    return layer(x)
