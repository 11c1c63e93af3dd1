"""How an erratum is measured: `@erratum` on a function that gives both errors, and the helpers.

A measurement returns two errors against a reference that is neither the notes' form nor the
library: of the form as printed, and of the library's function. The first is a number, NaN where the
printed form has none (0/0, ∞ − ∞), `SHAPE` where it gives something of another shape or nothing at
all, or None where the note prints no form. Its docstring says on the page what was compared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import chainrule as cr

SHAPE = "shape"
Errors = tuple[float | str | None, float]

#: What a central difference of step 1e-6 may be off by, for functions of the size used here.
DIFFERENCES = 1e-7
#: What is left to rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Measurement:
    """An erratum's two errors, and the limits that the tests hold them to."""

    id: str
    measure: Callable[[], Errors]
    at_least: float
    within: float
    needs: tuple[str, ...]

    def __call__(self) -> Errors:
        """Both errors, with the same draws every time."""
        cr.seed(0)
        printed, library = self.measure()
        return printed if printed is None or printed == SHAPE else float(printed), float(library)

    @property
    def about(self) -> str:
        """What is compared, in a line."""
        return " ".join((self.measure.__doc__ or "").split())

    @property
    def missing(self) -> list[str]:
        """The libraries that serve as its reference and are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def erratum(
    id: str, *, at_least: float = 0.01, within: float = DIFFERENCES, needs: Iterable[str] = ()
) -> Callable[[Callable[[], Errors]], Measurement]:
    """Measure erratum `id`: the printed form is off by `at_least`, the library's by `within`."""
    return lambda measure: Measurement(id, measure, at_least, within, tuple(needs))


def gathered(modules: Iterable[ModuleType]) -> dict[str, Measurement]:
    """The measurements of some modules by the id of their erratum."""
    found: dict[str, Measurement] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Measurement):
                if value.id in found:
                    raise ValueError(f"{value.id} is measured twice")
                found[value.id] = value
    return found


# -- what measurements are made of ----------------------------------------------------------------


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@contextlib.contextmanager
def as_printed() -> Iterator[None]:
    """Where a printed form overflows or divides 0 by 0, NumPy's warning is no news."""
    with np.errstate(all="ignore"):
        yield


def array(x: Any) -> np.ndarray:
    return np.asarray(x.detach().numpy() if isinstance(x, cr.Tensor) else x, np.float64)


def error(found: Any, expected: Any) -> float | str:
    """The largest difference; NaN if something is not finite, `SHAPE` if the shapes differ."""
    a, b = array(found), array(expected)
    if a.shape != b.shape:
        return SHAPE
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    return float(np.max(np.abs(a - b), initial=0.0))


def off(found: Any, expected: Any) -> float:
    """`error` of what has the right shape."""
    e = error(found, expected)
    assert isinstance(e, float), f"shapes {array(found).shape} and {array(expected).shape}"
    return e


def relative(found: Any, expected: Any) -> float:
    """The largest relative difference."""
    a, b = array(found), array(expected)
    return float(np.max(np.abs(a / b - 1)))


def worst(*errors: float) -> float:
    """The largest, NaN if there is one."""
    return float(np.max(errors))


def differences(f: Callable[[Any], Any], x: Any, step: float = 1e-6) -> np.ndarray:
    """Central differences of a function of arrays, in the shape ``f(x).shape + x.shape``."""
    x = np.asarray(x, np.float64)
    columns = []
    for k in range(x.size):
        d = np.zeros(x.size)
        d[k] = step
        d = d.reshape(x.shape)
        columns.append((array(f(x + d)) - array(f(x - d))) / (2 * step))
    return np.stack(columns, -1).reshape(*np.shape(columns[0]), *x.shape)


def gradient(f: Callable[[Any], Any], x: Any) -> np.ndarray:
    """The library's gradient of a function with one number."""
    return array(cr.grad(f)(np.asarray(x, np.float64)))


def slopes(f: Callable[[Any], Any], x: Any) -> np.ndarray:
    """The library's derivative of an element-wise function at every entry."""
    return gradient(lambda v: f(v).sum(), x)


def softmax(z: Any) -> np.ndarray:
    """For logits that do not overflow."""
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def one_hot(labels: Any, classes: int) -> np.ndarray:
    return np.eye(classes)[np.asarray(labels)]
