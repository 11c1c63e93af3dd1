"""Are the derivatives right? Directional differences in float64, first and second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.autograd.context import enable_grad
from chainrule.autograd.tape import Variable, backward

__all__ = ["check_gradients", "directional_error"]

# five-point central difference: error h⁴, rounding eps / h; balanced near eps^(1/5)
_STEP = 1e-3
_WEIGHTS = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


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
        AssertionError: with order, direction, both numbers. At a kink (ReLU at 0) differences are
            not derivatives: move x away from it.

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
        error, scale, values = directional_error(f, arrays, floats, rng, 1)
        _judge(1, n, error, scale, values, rtol, atol)
        if order == 2:
            error, scale, values = directional_error(f, arrays, floats, rng, 2)
            _judge(2, n, error, scale, values, rtol, atol)
    return True


def _judge(
    order: int,
    n: int,
    error: float,
    scale: float,
    values: tuple[float, float],
    rtol: float,
    atol: float,
) -> None:
    if not error <= atol + rtol * scale:
        raise AssertionError(
            f"derivative of order {order}, direction {n}: the tape gives {values[0]:.12g}, "
            f"differences give {values[1]:.12g} (error {error:.3g}, allowed "
            f"{atol + rtol * scale:.3g}). At a kink differences are not derivatives: move the "
            "point away from it"
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
) -> tuple[float, float, tuple[float, float]]:
    """(error, size of the derivative, (tape's value, differences' value)) along one direction."""
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

        points = [(w, at(k * h)) for k, w in _WEIGHTS]
    tape_value = float(sum(np.sum(t) for t in terms))
    difference = sum(w * p for w, p in points) / h
    size = float(sum(np.sum(np.abs(t)) for t in terms))
    # differences cannot resolve below the rounding of the values they subtract
    rounding = 8 * np.finfo(np.float64).eps * max(abs(p) for _, p in points) / h
    error = abs(tape_value - difference)
    return error if not error > rounding else error - rounding, size, (tape_value, difference)
