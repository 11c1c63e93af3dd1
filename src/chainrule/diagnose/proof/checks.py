"""The proof of an operation: its values, its derivatives, and how it treats what it is given."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import ShapeError
from chainrule.autograd.check import directional_error
from chainrule.autograd.context import enable_grad
from chainrule.autograd.tape import Variable, backward
from chainrule.diagnose.proof.samples import Sample

__all__ = ["CHECKS", "Proof", "prove"]

#: Allowed relative errors: of a value in float32, and of a derivative against differences.
VALUE, DERIVATIVE = 1e-5, 1e-6
_DIRECTIONS = 2
_EXTREMES = (1e4, -1e4, 0.0, -0.0, 1e-40, -1e-40)


class Proof(NamedTuple):
    """The largest relative errors of one sample, and what else went wrong."""

    title: str
    value: float
    first: float
    second: float
    wrong: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.wrong


def prove(sample: Sample) -> Proof:
    """Run every check of `CHECKS` on one sample.

    The errors are those of the value in float32 and of both derivatives in float64, relative to the
    largest value and to the size of the derivative.

    >>> from chainrule.diagnose.proof import samples
    >>> sample = next(s for _, s in samples() if s.name == "exp")
    >>> prove(sample).wrong
    ()
    """
    errors = dict.fromkeys(["value", "first derivative", "second derivative"], 0.0)
    wrong = []
    with np.errstate(all="ignore"):
        for name, check in CHECKS.items():
            try:
                found = check(sample)
            except Exception as error:  # whatever an operation does, the rest is still looked at
                wrong.append(f"{name}: {type(error).__name__}: {error}")
                found = np.inf
            if name in errors:
                errors[name] = found if found is not None and found == found else np.inf
    value, first, second = errors.values()
    return Proof(sample.title, value, first, second, tuple(wrong))


def _typed(sample: Sample, dtype: Any) -> list[Array]:
    """Copies of the inputs, the real ones in `dtype`."""
    return [np.array(a, dtype if k in sample.reals else None) for k, a in enumerate(sample.inputs)]


def _leaves(arrays: Iterable[Array], needed: Iterable[int]) -> list[Any]:
    given: list[Any] = list(arrays)
    for k in needed:
        given[k] = Variable._wrap(given[k])
        given[k].requires_grad = True
    return given


def _gradients(f: Callable[..., Any], arrays: list[Array], needed: list[int]) -> list[Array]:
    """The derivatives of ``Σ u f`` by the needed inputs, u from a fixed stream."""
    with enable_grad():
        given = _leaves(arrays, needed)
        y = f(*given)
    leaves = [given[k] for k in needed]
    return _pulled([y], leaves)


def _pulled(outputs: list[Any], leaves: list[Any]) -> list[Array]:
    rng = np.random.default_rng(1)
    us = [rng.standard_normal(y._data.shape).astype(y._data.dtype) for y in outputs]
    live = [(y, u) for y, u in zip(outputs, us, strict=True) if y.requires_grad]
    found = backward([y for y, _ in live], [u for _, u in live], leaves) if live else []
    found = found or [None] * len(leaves)
    return [np.zeros_like(t._data) if g is None else g for g, t in zip(found, leaves, strict=True)]


def _gap(a: Any, b: Any) -> float:
    """The largest difference, relative to the largest finite entry; equal infinities have none."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise AssertionError(f"shape {a.shape} where {b.shape} was expected")
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differ.any():
        return 0.0
    largest = float(np.max(np.abs(b), where=np.isfinite(b), initial=1.0))
    return float(np.max(np.abs(np.subtract(a, b, dtype=np.float64))[differ])) / largest


def _held(found: float, allowed: float, what: str) -> float:
    if not found <= allowed:
        raise AssertionError(f"{what}: error {found:.3g}, allowed {allowed:.3g}")
    return found


def check_value(sample: Sample) -> float:
    """Against the reference in float64: computed in float64, and in float32."""
    single = _typed(sample, np.float32)
    double = [a.astype(np.float64) if k in sample.reals else a for k, a in enumerate(single)]
    expected = sample.reference(*double)
    _held(_gap(sample.f(*double), expected), sample.tolerance, "in float64")
    return _held(_gap(sample.f(*single), expected), max(VALUE, sample.tolerance), "in float32")


def check_types(sample: Sample) -> None:
    """float32 and float64 come out as they went in, and so do the gradients."""
    for dtype in (np.float32, np.float64):
        inputs = _typed(sample, dtype)
        y = np.asarray(sample.f(*inputs))
        if sample.reals and y.dtype.kind == "f" and y.dtype != dtype:
            raise AssertionError(f"{np.dtype(dtype)} came out as {y.dtype}")
        if sample.order:
            for g in _gradients(sample.f, inputs, sample.reals):
                if g.dtype != dtype:
                    raise AssertionError(f"the gradient of {np.dtype(dtype)} is {g.dtype}")


def _derivative(sample: Sample, order: int) -> float:
    if order > sample.order:
        return 0.0
    inputs = _typed(sample, np.float64)
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(_DIRECTIONS):
        found = directional_error(sample.f, inputs, sample.reals, rng, order)
        worst = max(worst, found.error / max(found.size, 1e-3))
    return _held(worst, DERIVATIVE, "against differences")


def check_first(sample: Sample) -> float:
    """Along random directions, against differences of the value."""
    return _derivative(sample, 1)


def check_second(sample: Sample) -> float:
    """Along random directions, against differences of the gradient; the gradient must not depend on
    whether it is recorded."""
    return _derivative(sample, 2)


def check_inputs_stay(sample: Sample) -> None:
    """Neither the value nor the derivative writes into what was given."""
    inputs = _typed(sample, np.float64)
    kept = [a.copy() for a in inputs]
    for a in inputs:
        a.flags.writeable = False
    sample.f(*inputs)
    if sample.order:
        _gradients(sample.f, inputs, sample.reals)
    for k, (a, b) in enumerate(zip(inputs, kept, strict=True)):
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            raise AssertionError(f"input {k} was changed")


def _layouts(a: Array) -> Iterator[Array]:
    """The same numbers with other strides: every second one of twice as many, backwards, by
    columns."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) if a.ndim else a
    if a.ndim:
        wide[..., ::2] = a
        yield wide[..., ::2]
        yield np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    yield np.asfortranarray(a)


def check_layouts(sample: Sample) -> None:
    """Strides change nothing but the order of sums."""
    inputs = _typed(sample, np.float64)
    expected = sample.f(*inputs)
    gradients = _gradients(sample.f, inputs, sample.reals) if sample.order else []
    for others in zip(*(itertools.islice(itertools.cycle(_layouts(a)), 3) for a in inputs),
                      strict=True):  # fmt: skip
        _held(_gap(sample.f(*others), expected), 1e-14, "other strides")
        if sample.order:
            found = _gradients(sample.f, list(others), sample.reals)
            for g, wanted in zip(found, gradients, strict=True):
                _held(_gap(g, wanted), 1e-13, "gradient with other strides")


def check_needed(sample: Sample) -> None:
    """Asking for some of the gradients gives the same numbers as asking for all."""
    if not sample.order or len(sample.reals) < 2:
        return
    inputs = _typed(sample, np.float64)
    every = dict(zip(sample.reals, _gradients(sample.f, inputs, sample.reals), strict=True))
    for count in range(1, len(sample.reals)):
        for needed in itertools.combinations(sample.reals, count):
            found = _gradients(sample.f, inputs, list(needed))
            for k, g in zip(needed, found, strict=True):
                _held(_gap(g, every[k]), 1e-13, f"gradient {k} of {needed} alone")


def check_twice(sample: Sample) -> None:
    """Used twice before one backward pass: on the same inputs, and on others."""
    if not sample.order:
        return
    inputs = _typed(sample, np.float64)
    other = [a * 0.9 if k in sample.reals else a for k, a in enumerate(inputs)]
    with enable_grad():
        given, changed = _leaves(inputs, sample.reals), _leaves(other, sample.reals)
        outputs = [sample.f(*given), sample.f(*changed), sample.f(*given)]
    leaves = [given[k] for k in sample.reals] + [changed[k] for k in sample.reals]
    joint = _pulled(outputs, leaves)
    rng = np.random.default_rng(1)
    u, v, w = (rng.standard_normal(y._data.shape) for y in outputs)

    def alone(arrays: list[Array], cotangent: Array) -> list[Array]:
        with enable_grad():
            fresh = _leaves(arrays, sample.reals)
            y = sample.f(*fresh)
        targets = [fresh[k] for k in sample.reals]
        found = backward([y], [cotangent], targets) if y.requires_grad else [None] * len(targets)
        return [np.zeros_like(t._data) if g is None else g
                for g, t in zip(found, targets, strict=True)]  # fmt: skip

    expected = [a + b for a, b in zip(alone(inputs, u), alone(inputs, w), strict=True)]
    expected += alone(other, v)
    for g, wanted in zip(joint, expected, strict=True):
        _held(_gap(g, wanted), 1e-13, "used twice")


def check_empty(sample: Sample) -> None:
    """No rows: what the reference makes of them, or an error where it has one too."""
    inputs = _typed(sample, np.float64)
    lengths = [a.shape[0] for a in inputs if a.ndim]
    if not lengths or not sample.empty:
        return
    empty = [a[:0] if a.ndim and a.shape[0] == lengths[0] else a for a in inputs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of means over nothing
            expected = np.asarray(sample.reference(*empty))
    except (ValueError, IndexError):
        try:
            sample.f(*empty)
        except (ValueError, TypeError):
            return
        raise AssertionError("no rows gave a result, where NumPy raises") from None
    found = np.asarray(sample.f(*empty))
    if found.shape != expected.shape:
        raise AssertionError(f"no rows gave shape {found.shape}, not {expected.shape}")
    if not np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"):
        raise AssertionError(f"no rows gave {found}, not {expected}")
    if sample.order:
        for k, g in zip(sample.reals, _gradients(sample.f, empty, sample.reals), strict=True):
            if g.shape != empty[k].shape:
                raise AssertionError(f"the gradient of no rows has shape {g.shape}")


def check_numbers(sample: Sample) -> None:
    """An array of no axis is one entry, and gives one."""
    if not sample.elementwise:
        return
    inputs = _typed(sample, np.float64)
    singles = [np.asarray(a.ravel()[0]) for a in inputs]
    found = np.asarray(sample.f(*singles))
    if found.shape != ():
        raise AssertionError(f"a number gave shape {found.shape}")
    _held(_gap(found, np.asarray(sample.f(*inputs)).ravel()[0]), 1e-15, "one number")
    if sample.order:
        for g in _gradients(sample.f, singles, sample.reals):
            if g.shape != ():
                raise AssertionError(f"the gradient of a number has shape {g.shape}")


def check_nan(sample: Sample) -> None:
    """NaN in gives NaN out, in the value and in the first derivative."""
    if not sample.spreads or not sample.reals:
        return
    for dtype in (np.float32, np.float64):
        for k in sample.reals:
            inputs = _typed(sample, dtype)
            inputs[k].reshape(-1)[0] = np.nan
            y = np.asarray(sample.f(*inputs))
            if not np.isnan(y).any():
                raise AssertionError(f"{dtype.__name__}: NaN in input {k} is swallowed")
            if sample.elementwise and not np.isnan(y.reshape(-1)[0]):
                raise AssertionError(f"{dtype.__name__}: NaN in input {k} goes elsewhere")


def check_extremes(sample: Sample) -> None:
    """±1e4, ±0 and subnormal numbers give no NaN, in no derivative up to the second."""
    if not sample.elementwise or len(sample.inputs) > 1:
        return
    low, high = sample.domain
    for dtype in (np.float32, np.float64):
        x = np.array([e for e in _EXTREMES if low < e < high], dtype)
        for where in (x, *(np.full(3, e, dtype) for e in x)):
            _no_nan(sample.f, where)


def _no_nan(f: Callable[..., Any], x: Array) -> None:
    with enable_grad():
        (t,) = _leaves([x], [0])
        y = f(t)
        derivatives = [y._data if isinstance(y, Variable) else np.asarray(y)]
        for _ in range(2):
            if not isinstance(y, Variable) or not y.requires_grad:
                break
            (y,) = backward([y], [Variable._wrap(np.ones_like(y._data))], [t], create_graph=True)
            if y is None:
                break
            derivatives.append(y._data)
    for order, d in enumerate(derivatives):
        if np.isnan(d).any():
            raise AssertionError(
                f"derivative {order} at {x[np.isnan(d)][0]:g} ({x.dtype}) is NaN"
                if order
                else f"the value at {x[np.isnan(d)][0]:g} ({x.dtype}) is NaN"
            )


def check_shapes_refused(sample: Sample) -> None:
    """Shapes that do not fit raise, and name the operation's argument or shape."""
    if not sample.elementwise or len(sample.inputs) < 2:
        return
    inputs = _typed(sample, np.float64)
    inputs[-1] = np.ones((7, 5))
    try:
        sample.f(*inputs)
    except (ShapeError, ValueError) as error:
        if "7" not in str(error):
            raise AssertionError(f"the error does not show the shape: {error}") from error
    else:
        raise AssertionError("shapes (3, 4) and (7, 5) were taken together")


#: Every check by its name; those with the names of errors return theirs.
CHECKS: dict[str, Callable[[Sample], float | None]] = {
    "value": check_value,
    "first derivative": check_first,
    "second derivative": check_second,
    "types": check_types,
    "inputs stay": check_inputs_stay,
    "strides": check_layouts,
    "some gradients": check_needed,
    "used twice": check_twice,
    "no rows": check_empty,
    "one number": check_numbers,
    "NaN": check_nan,
    "extremes": check_extremes,
    "wrong shapes": check_shapes_refused,
}
