"""``chainrule check``: every formula, loss and layer proved on this machine, in a table.

With ``--exhaustive`` it is the primitives below them whose rounding errors are measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule import nn, ops
from chainrule._version import __version__
from chainrule.array.errors import MissingExtraError, nearest
from chainrule.autograd.check import directional_error
from chainrule.cli.arguments import UsageError
from chainrule.cli.tables import table
from chainrule.compile.build import variants
from chainrule.compile.exhaustive import (
    ROWS,
    Worst,
    c_functions,
    float32_errors,
    float64_errors,
)
from chainrule.nn.loss import Loss
from chainrule.ops import loss as losses
from chainrule.ops.formula import FORMULAS, Formula

__all__ = ["Case", "cases", "errors", "exhaustive", "run"]

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
    if arguments.exhaustive:
        return exhaustive(arguments.only, arguments.write)
    for option in ("only", "write"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is for --exhaustive; add it: check --exhaustive")
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


def exhaustive(only: str | None = None, write: str | None = None, stride: int = 1) -> int:
    """Measure the rounding errors of the primitives and print a line for each: 0 if all passed.

    `only` is the name of one of them, `write` a file in whose table the lines are replaced; with a
    `stride` only every so many-th float32 number is taken.
    """
    if only is not None and only not in ROWS:
        raise UsageError(f"no measured primitive {only!r}; {nearest(only, ROWS)}")
    if write is not None:
        _section(write)  # fail now rather than in half an hour
    executors = "C and NumPy" if c_functions("exp") else "NumPy alone: C needs a compiler"
    print(f"Largest errors in ulp ({executors}); float32 over all numbers", end="")
    print(f", but of {stride} only one" if stride > 1 else "", end=", float64 at samples.\n\n")
    head = ["primitive", "executor", "float32", "at", "above 1 ulp", "allowed"]
    head += ["float64", "at", "allowed"]
    form = "{:<9}  {:<8}  {:>7}  {:>12}  {:>11}  {:>7}  {:>7}  {:>12}  {:>7}  {}"
    print(form.format(*head, "").rstrip())
    rows, passed, reason = [], [], ""
    for name in [only] if only else ROWS:
        single = float32_errors(ROWS[name], stride, partial(_note, name))
        try:
            double: list[Worst | None] = [*float64_errors(ROWS[name])]
        except MissingExtraError as absent:
            double, reason = [None] * len(single), str(absent)
        for a, b in zip(single, double, strict=True):
            cells = [name, a.executor, *_cells(a), *(_cells(b, False) if b else ["–"] * 3)]
            passed.append(a.passed and (b is None or b.passed))
            print(form.format(*cells, "" if passed[-1] else "FAILED").rstrip(), flush=True)
            rows.append(cells)
    if reason:
        print(f"\nfloat64 was left out: {reason}")
    if write is not None:
        _write(write, head, rows)
    print(f"\n{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


def _cells(worst: Worst, counted: bool = True) -> list[str]:
    above = [f"{worst.above:,}"] if counted else []
    return [f"{worst.ulp:.3f}", f"{worst.at:.6g}", *above, f"{worst.bound:g}"]


def _note(name: str, share: float) -> None:
    """How far a measurement is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{name}: {share:4.0%}", end="\r" + " " * 20 + "\r" if share == 1 else "",
              file=sys.stderr, flush=True)  # fmt: skip


_BEGIN, _END = "<!-- exhaustive:begin -->", "<!-- exhaustive:end -->"


def _section(path: str) -> tuple[str, str, str]:
    """A page before, between and after its markers."""
    before, found, rest = Path(path).read_text("utf-8").partition(_BEGIN)
    between, closed, after = rest.partition(_END)
    if not (found and closed):
        raise UsageError(f"{path} has no lines {_BEGIN} and {_END} to write between")
    return before, between, after


def _write(path: str, head: list[str], rows: list[list[str]]) -> None:
    """Put the table between the page's markers; rows of primitives not measured now are kept."""
    before, between, after = _section(path)
    new = {row[0] for row in rows}
    old = [[cell.strip() for cell in line.split("|")[1:-1]] for line in between.splitlines()]
    rows = rows + [row for row in old if row and row[0] in ROWS and row[0] not in new]
    rows.sort(key=lambda row: [*ROWS].index(row[0]))  # stable: C stays before NumPy
    lines = [
        f"chainrule {__version__}, NumPy {np.__version__}, {platform.machine()}, "
        f"{variants()[0]}: `chainrule check --exhaustive`",
        "",
        f"| {' | '.join(head)} |",
        "|---|---|" + "--:|" * (len(head) - 2),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    text = "\n".join(lines)
    Path(path).write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", "utf-8")


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
            found = directional_error(case.f, double, reals, rng, order)
            worst = max(worst, _finite(found.error / max(found.size, 1e-3)))
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
        if not issubclass(cls, nn.ModuleList | nn.ModuleDict | Loss):  # which are no layers
            yield _layer(name, cls)


def _draws(*shape: int) -> Array:
    """Normal numbers away from the wholes and halves, where functions have their kinks."""
    x = np.random.default_rng(shape).standard_normal(shape)
    x[np.abs(2 * x - np.round(2 * x)) < 0.1] += 0.1
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


def _focal(p: Array) -> Array:
    return -((1 - p) ** 2) * np.log(p)


def _cosine(a: Array, b: Array) -> Array:
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def _apart(a: Array, b: Array) -> Array:
    return np.sqrt(((a - b + 1e-6) ** 2).sum(1))


def _margins(x: Array, labels: Array) -> Array:
    lack = np.maximum(1 - _picked(x, labels)[:, None] + x, 0)
    lack[np.arange(len(x)), labels] = 0
    return lack.mean(axis=1)


def _loss_inputs() -> dict[str, Array]:
    """What losses take; derivatives are looked at along those that are not whole numbers."""
    x = _draws(6, 4)
    signs = np.where(_draws(8, 4)[:6] > 0, 1, -1)
    return {
        "x": x, "x2": _draws(7, 4)[:6], "x3": _draws(9, 4)[:6],  # scores, logits, vectors
        "p": _sigmoid(x), "t": _sigmoid(_draws(7, 4)[:6]),  # probabilities
        "classes": np.array([0, 3, 1, 2, 2, 0]), "signs": signs, "pairs": signs[:, 0],
        "hard": (signs + 1) // 2, "counts": np.arange(24).reshape(6, 4) % 5,
    }  # fmt: skip


#: Each loss in plain NumPy, and its inputs by their names above.
_LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "binary_cross_entropy": (lambda p, t: _entropy(p, t).mean(), "p t"),
    "binary_cross_entropy_with_logits": (lambda x, t: _entropy(_sigmoid(x), t).mean(), "x t"),
    "categorical_cross_entropy": (lambda p, y: -np.log(_picked(p, y)).mean(), "p classes"),
    "cosine_embedding_loss": (
        lambda a, b, s: np.where(s > 0, 1 - _cosine(a, b), np.maximum(_cosine(a, b), 0)).mean(),
        "x x3 pairs",
    ),
    "cross_entropy": (lambda x, y: (_logsumexp(x) - _picked(x, y)).mean(), "x classes"),
    "distribution_cross_entropy": (lambda p, q: -(p * np.log(q)).sum(1).mean(), "p t"),
    "focal_loss": (
        lambda x, y: _focal(np.exp(_picked(x, y) - _logsumexp(x))).mean(),
        "x classes",
    ),
    "gamma_loss": (lambda x, t: (x + t * np.exp(-x)).mean(), "x t"),
    "gaussian_nll_loss": (
        lambda x, t, v: 0.5 * (np.log(v) + (x - t) ** 2 / v).mean(),
        "x x2 t",
    ),
    "half_squared_error": (lambda x, t: ((x - t) ** 2).mean() / 2, "x t"),
    "hinge_embedding_loss": (
        lambda x, s: np.where(s > 0, x, np.maximum(1 - x, 0)).mean(),
        "x signs",
    ),
    "hinge_loss": (lambda x, s: np.maximum(1 - s * x, 0).mean(), "x signs"),
    "huber_loss": (lambda x, t: _huber(x - t).mean(), "x t"),
    "kl_div": (lambda x, t: (t * (np.log(t) - x)).mean(), "x t"),
    "kl_divergence": (lambda p, q: (p * np.log(p / q)).sum(1).mean(), "p t"),
    "l1_loss": (lambda x, t: np.abs(x - t).mean(), "x t"),
    "log_cosh_loss": (lambda x, t: np.log(np.cosh(x - t)).mean(), "x t"),
    "margin_ranking_loss": (lambda a, b, s: np.maximum(-s * (a - b), 0).mean(), "x x2 signs"),
    "mse_loss": (lambda x, t: ((x - t) ** 2).mean(), "x t"),
    "multi_margin_loss": (lambda x, y: _margins(x, y).mean(), "x classes"),
    "multilabel_soft_margin_loss": (lambda x, t: _entropy(_sigmoid(x), t).mean(), "x t"),
    "nll_loss": (lambda x, y: -_picked(x, y).mean(), "x classes"),
    "poisson_nll_loss": (lambda x, c: (np.exp(x) - c * x).mean(), "x counts"),
    "quantile_loss": (lambda x, t: np.abs(x - t).mean() / 2, "x t"),
    "sigmoid_focal_loss": (
        lambda x, y: (
            np.where(y > 0, 0.25, 0.75) * _focal(_sigmoid(np.where(y > 0, x, -x)))
        ).mean(),
        "x hard",
    ),
    "smooth_l1_loss": (lambda x, t: _huber(x - t).mean(), "x t"),
    "soft_margin_loss": (lambda x, s: np.log1p(np.exp(-s * x)).mean(), "x signs"),
    "triplet_margin_loss": (
        lambda a, p, n: np.maximum(_apart(a, p) - _apart(a, n) + 1, 0).mean(),
        "x x2 x3",
    ),
    "tweedie_loss": (
        lambda x, c: (2 * np.exp(x / 2) + 2 * c * np.exp(-x / 2)).mean(),
        "x counts",
    ),
}


def _loss(name: str) -> Case:
    reference, takes = _LOSSES[name]
    inputs = _loss_inputs()
    return Case("loss", name, getattr(losses, name), reference, [inputs[k] for k in takes.split()])


#: Constructor arguments of the layers that need some, and the shape of their input.
_LAYERS: dict[str, tuple[Callable[[], tuple[Any, ...]], tuple[int, ...]]] = {
    "Activation": (lambda: (ops.tanh,), (4, 6)),
    "Dense": (lambda: (6, 3), (4, 6)),
    "Dropout2d": (tuple, (2, 3, 2, 2)),
    "Dropout3d": (tuple, (2, 3, 2, 2)),
    "EmbedColumns": (lambda: (8, [(3, 2), (2, 1)]), (4, 6)),
    "Embedding": (lambda: (3, 2), (4, 6)),
    "FeatureAlphaDropout": (tuple, (2, 3, 4)),
    "Flatten": (tuple, (4, 2, 3)),
    "Standardize": (lambda: (_draws(1, 6)[0], np.abs(_draws(1, 6)[0]) + 0.5), (4, 6)),
    "Threshold": (lambda: (0.5, 0.1), (4, 6)),
    "Sequential": (lambda: (nn.Dense(6, 5, activation="gelu"), nn.Dense(5, 3)), (4, 6)),
}

_CODES = np.array([[2, 0], [0, 1], [2, 1], [1, 0]])


def _with_codes(layer: nn.Module, x: Any) -> Any:
    """What a layer takes: the numbers x, or codes, or both side by side."""
    if isinstance(layer, nn.Embedding):
        return _CODES
    if isinstance(layer, nn.EmbedColumns):
        return ops.concatenate([x, _CODES.astype(x.dtype)], axis=1)
    return x


def _layer(name: str, cls: type[nn.Module]) -> Case:
    arguments, shape = _LAYERS.get(name, (tuple, (4, 6)))
    layer = cls(*arguments()).eval()
    state, modules = layer.state_dict(), dict(layer.named_modules())
    places = [(modules[path], key) for path, _, key in (name.rpartition(".") for name in state)]

    def f(x: Any, *values: Any) -> Any:
        # parameters and buffers are inputs too, so that the derivatives along them are checked
        for (module, key), value in zip(places, values, strict=True):
            object.__setattr__(module, key, value)
        return layer(_with_codes(layer, x))

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
    if isinstance(layer, nn.Embedding):
        return layer.weight[_CODES]
    if isinstance(layer, nn.EmbedColumns):
        vectors = [w[codes] for w, codes in zip(layer.weights, _CODES.T, strict=True)]
        return np.concatenate([x, *vectors], axis=1)
    if isinstance(layer, nn.PReLU):
        return np.where(x <= 0, layer.weight * x, x)
    if isinstance(layer, nn.RReLU):
        return np.where(x <= 0, (layer.lower + layer.upper) / 2 * x, x)
    if isinstance(layer, nn.GLU):
        values, gates = np.split(x, 2, layer.axis)
        return values * _sigmoid(gates)
    if isinstance(layer, nn.Activation):
        return layer.formula.plain(x, **layer.options)
    return layer(x)
