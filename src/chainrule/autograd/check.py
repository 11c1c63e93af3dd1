"""Are the derivatives right? Directional differences in float64, first and second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.autograd.context import enable_grad
from chainrule.autograd.tape import Variable, backward

__all__ = ["Directional", "check_gradients", "directional_error"]

# five-point central difference: error h⁴, rounding eps / h; balanced near eps^(1/5)
_STEP = 1e-3
_WEIGHTS = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))
# where the steps do not agree with the tape they are made smaller: a kink may lie between them
_SHRINK = (1, 16, 256)


class Directional(NamedTuple):
    """What the tape and differences say of a derivative along one direction."""

    #: by how much they differ, beyond what rounding explains
    error: float
    #: the sum of the magnitudes of the derivative's terms
    size: float
    tape: float
    differences: float
    #: the slopes to the left and to the right, where they differ however near one looks
    kink: tuple[float, float] | None = None


def check_gradients(
    f: Callable[..., Any],
    *x: Any,
    order: int = 2,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    directions: int = 3,
    seed: int = 0,
) -> bool:
    """Compare the derivatives of `f` at `x` with differences of its values.

    Along random directions v and in float64, whatever the type of x. Order 1: ``⟨u, f(x + h v)⟩``
    is differenced and compared with the vjp of u along v. Order 2: the same for the gradient
    itself, whose derivative comes from the tape. A relative error of 0.1 % in either derivative is
    far above the tolerance. An entry x is moved by up to ``2e-3 max(1, |x|)``.

    Arguments:
        f: takes tensors, returns a tensor or several.
        x: arrays or tensors; integer and boolean ones are passed through and not differentiated.
        order: 1 or 2.
        rtol, atol: allowed error relative to the size of the derivative, and absolute.
        directions: how many random directions.
        seed: of the directions.

    Returns:
        True.

    Raises:
        AssertionError: with order, direction, both numbers. At a kink (ReLU at 0) there is no
            derivative to compare with: the message gives the slopes on both sides. A kink near x is
            no hindrance.

    >>> import chainrule as cr
    >>> cr.check_gradients(cr.ops.gelu, np.array([-1.0, 0.5, 2.0]))
    True
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradients: order is 1 or 2, not {order!r}")
    rng = np.random.default_rng(seed)
    arrays = [np.array(a._data if isinstance(a, Variable) else a) for a in x]
    floats = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not floats:
        raise TypeError("check_gradients needs at least one floating argument")
    for k in floats:
        arrays[k] = arrays[k].astype(np.float64)

    for n in range(directions):
        for k in range(1, order + 1):
            found = directional_error(f, arrays, floats, rng, k)
            if not found.error <= atol + rtol * found.size:
                raise AssertionError(_complaint(k, n, found, atol + rtol * found.size))
    return True


def _complaint(order: int, n: int, found: Directional, allowed: float) -> str:
    what = f"derivative of order {order}, direction {n}: the tape gives {found.tape:.12g}, "
    if found.kink is None:
        return (
            f"{what}differences give {found.differences:.12g} (error {found.error:.3g}, allowed "
            f"{allowed:.3g})"
        )
    left, right = found.kink
    return (
        f"{what}but this point is a kink: the slope is {left:.6g} on one side and {right:.6g} on "
        "the other, so differences are not derivatives; move the point away from it"
    )


def _tensors(f: Callable[..., Any], arrays: list[Array], floats: list[int]) -> tuple[Any, Any]:
    """New leaves for the floating arrays, and the tensors that f returns."""
    given: list[Any] = list(arrays)
    leaves = []
    for k in floats:
        given[k] = Variable._wrap(arrays[k])
        given[k].requires_grad = True
        leaves.append(given[k])
    out = f(*given)
    outs = [o for o in (out if isinstance(out, tuple | list) else [out]) if isinstance(o, Variable)]
    if not outs:
        raise TypeError(
            f"check_gradients: the function returned {type(out).__name__}, not a tensor; compute "
            "with chainrule.ops and tensor operators"
        )
    return leaves, outs


def _gradient(
    f: Callable[..., Any], arrays: list[Array], floats: list[int], us: list[Array], recorded: bool
) -> tuple[list[Any], list[Any]]:
    """The leaves, and the gradient of ``Σ ⟨u, f⟩`` by each: arrays, or tensors if recorded."""
    leaves, outs = _tensors(f, arrays, floats)
    live = [(o, Variable._wrap(u) if recorded else u) for o, u in zip(outs, us, strict=True)]
    live = [(o, u) for o, u in live if o.requires_grad]
    gs = backward([o for o, _ in live], [u for _, u in live], leaves, create_graph=recorded)
    for k, (g, t) in enumerate(zip(gs, leaves, strict=True)):
        if g is None:
            zeros = np.zeros_like(t._data)
            gs[k] = Variable._wrap(zeros) if recorded else zeros
    return leaves, gs


def _same(recorded: list[Any], plain: list[Any]) -> None:
    """The first derivative must not depend on whether it is itself recorded."""
    for k, (a, b) in enumerate(zip(recorded, plain, strict=True)):
        if not np.allclose(a._data, b, rtol=1e-9, atol=1e-12, equal_nan=True):
            gap = float(np.max(np.abs(a._data - b)))
            raise AssertionError(
                f"the gradient by argument {k} differs by {gap:.3g} when it is recorded "
                "(create_graph): the vjp computes something else on tensors than on arrays"
            )


def directional_error(
    f: Callable[..., Any],
    arrays: list[Array],
    floats: list[int],
    rng: np.random.Generator,
    order: int,
) -> Directional:
    """How far a derivative is from differences along one random direction."""
    with enable_grad():
        _, outs = _tensors(f, arrays, floats)
        us = [rng.standard_normal(o._data.shape) for o in outs]
        # large entries move further, so that every entry moves by many of its units of rounding
        vs = [rng.standard_normal(arrays[k].shape) for k in floats]
        reach = max(1.0, *(float(np.max(np.abs(v), initial=0.0)) for v in vs))
        vs = [v * np.maximum(1.0, np.abs(arrays[k])) for k, v in zip(floats, vs, strict=True)]
        h = _STEP / reach

        def moved(step: float) -> list[Array]:
            out = list(arrays)
            for k, v in zip(floats, vs, strict=True):
                out[k] = arrays[k] + step * v
            return out

        if order == 1:
            _, gs = _gradient(f, arrays, floats, us, False)
            terms = [g * v for g, v in zip(gs, vs, strict=True)]

            def at(step: float) -> float:
                _, outs = _tensors(f, moved(step), floats)
                return float(sum(np.sum(u * o._data) for u, o in zip(us, outs, strict=True)))

        else:
            ws = [rng.standard_normal(arrays[k].shape) for k in floats]
            leaves, gs = _gradient(f, arrays, floats, us, True)
            _same(gs, _gradient(f, arrays, floats, us, False)[1])
            live = [(g, w) for g, w in zip(gs, ws, strict=True) if g.requires_grad]
            seconds = backward([g for g, _ in live], [w for _, w in live], leaves)
            terms = [np.zeros(()) if s is None else s * v for s, v in zip(seconds, vs, strict=True)]

            def at(step: float) -> float:
                _, gs = _gradient(f, moved(step), floats, us, False)
                return float(sum(np.sum(w * g) for w, g in zip(ws, gs, strict=True)))

        tape_value = float(sum(np.sum(t) for t in terms))
        size = float(sum(np.sum(np.abs(t)) for t in terms))
        found: list[Directional] = []
        for shrink in _SHRINK:
            difference, rounding = _difference(at, h / shrink)
            if found and not rounding <= 1e-7 * max(size, 1.0):
                break  # so small a step shows nothing but rounding
            error = abs(tape_value - difference)
            error = error if not error > rounding else error - rounding
            found.append(Directional(error, size, tape_value, difference))
            if error <= 1e-9 * size:
                return found[-1]
        kink = _kink(at, h)
    best = min(found, key=lambda d: d.error if d.error == d.error else np.inf)
    return best._replace(kink=kink)


def _difference(at: Callable[[float], float], h: float) -> tuple[float, float]:
    """A five-point difference, and what rounding of the values it subtracts may do to it."""
    points = [(w, at(k * h)) for k, w in _WEIGHTS]
    rounding = 8 * np.finfo(np.float64).eps * max(abs(p) for _, p in points) / h
    return sum(w * p for w, p in points) / h, rounding


def _kink(at: Callable[[float], float], h: float) -> tuple[float, float] | None:
    """The slopes on both sides, unless they come together as the step becomes smaller."""
    middle = at(0.0)
    slopes = [((middle - at(-s)) / s, (at(s) - middle) / s) for s in (h, h / _SHRINK[-1])]
    (left, right), (near_left, near_right) = slopes
    gap, near = abs(right - left), abs(near_right - near_left)
    return (near_left, near_right) if near > 0.5 * gap and near > 1e-4 * abs(near_left) else None
