"""L-BFGS: curvature from the last few steps, for small data and few parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import NonFiniteError, ShapeError
from chainrule.autograd.context import enable_grad, state
from chainrule.compile.symbolic import capture_error
from chainrule.optim.flat import Flat
from chainrule.optim.line_search import Point, strong_wolfe
from chainrule.optim.optimizer import Optimizer

__all__ = ["LBFGS"]

_COUNTS = ("max_iter", "max_eval", "history_size")


class LBFGS(Optimizer):
    r"""Quasi-Newton steps on a loss that is the same at every evaluation: whole data, no dropout.

    With g_k the gradient at x_k, s_k = x_{k+1} - x_k, y_k = g_{k+1} - g_k and ρ_k = 1 / (y_k·s_k),
    the direction is d = -H g, where H is the inverse Hessian that the last ``history_size`` pairs
    make of γI, γ = y·s / y·y (two loops, no matrix)::

        q = -g;  for the newest pair to the oldest:  α_k = ρ_k s_k·q;  q ← q - α_k y_k
        d = γq;  for the oldest pair to the newest:  d ← d + (α_k - ρ_k y_k·d) s_k

    A pair with y·s of at most 1e-10 is left out, so that H stays positive definite.

    Arguments:
        params: see `Optimizer`; one group, of one dtype. Parameters without a gradient count as
            ones with gradient 0.
        lr: the step length, or the first one that the line search tries.
        max_iter: iterations in one `step`.
        max_eval: evaluations of the loss in one `step`; 5/4 of `max_iter` by default.
        tolerance_grad: end where no entry of the gradient is larger.
        tolerance_change: end where no parameter, or not the loss, changes by more.
        history_size: how many pairs are kept, each of twice the size of the parameters.
        line_search_fn: ``"strong_wolfe"``, or None for steps of length `lr`, which may diverge.

    `step` takes a closure that computes the loss and its gradients, and evaluates it several times:

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.seed(0)
    >>> x = np.linspace(-1, 1, 32)[:, None]
    >>> model = cr.nn.Sequential(cr.nn.Dense(1, 8), cr.nn.Tanh(), cr.nn.Dense(8, 1)).double()
    >>> optimizer = cr.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = cr.ops.mse_loss(model(x), x**2)
    ...     loss.backward()
    ...     return loss
    >>> for epoch in range(10):
    ...     loss = optimizer.step(closure)  # the loss before the step
    >>> closure().item() < 1e-4
    True

    Where the loss is infinite or NaN at a point that the search tries, it turns back. PyTorch has
    no such guard. A step cannot be captured by `chainrule.capture`: it looks at values; what the
    closure does can.

    State: the pairs, the last direction and gradient; all of it is saved.

    Raises:
        ValueError: for several groups or dtypes, or options out of range.
        TypeError: for a `step` without a closure.
        NonFiniteError: where the loss or its gradient is not finite at the beginning of a step.

    References: Nocedal, "Updating quasi-Newton matrices with limited storage", 1980; Liu & Nocedal,
    "On the limited memory BFGS method for large scale optimization", 1989.
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "line_search_fn": (None, "strong_wolfe")
    }

    def __init__(
        self,
        params: Any = None,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        self._memory = _Memory()
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        for name in _COUNTS:
            if not (options[name] >= 1 and options[name] == math.floor(options[name])):
                raise ValueError(
                    f"LBFGS: {name} must be a whole number, 1 or more; got {options[name]}"
                )
        for name in ("tolerance_grad", "tolerance_change"):
            if not options[name] >= 0:
                raise ValueError(f"LBFGS: {name} must be 0 or more, got {options[name]}")

    def _add(self, group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise ValueError(
                "LBFGS has one direction for all parameters, and so one group: pass one list"
            )
        super()._add(group)

    # -- stepping ---------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to ``max_iter`` iterations on the loss that `closure` computes.

        Arguments:
            closure: clears the gradients, computes the loss, calls ``backward`` and returns the
                loss. It must give the same at the same parameters.

        Returns:
            what the first call of the closure returned: the loss before the step.
        """
        if not callable(closure):
            raise TypeError(
                "LBFGS.step needs a closure, because it evaluates the loss several times: a "
                "function that calls optimizer.zero_grad(), computes the loss, calls "
                f"loss.backward() and returns the loss; got {type(closure).__name__}"
            )
        if state.recorder is not None:
            raise capture_error("LBFGS decides by the values of the loss how it goes on")
        if not self.param_groups:
            raise RuntimeError(
                "this LBFGS has no parameters yet; use optimizer.bind(model.parameters())"
            )
        first: list[Any] = []

        def evaluate() -> tuple[float, Array]:
            with enable_grad():
                loss = closure()
            if not first:
                first.append(loss)
            return float(loss.item() if hasattr(loss, "item") else loss), self._gradient()

        self._settle()
        loss, gradient = evaluate()
        if not (math.isfinite(loss) and np.isfinite(gradient).all()):
            what = f"loss is {loss}" if not math.isfinite(loss) else "gradient is not finite"
            raise NonFiniteError(
                f"LBFGS: the {what} at the beginning of a step, so there is no way down from here; "
                "the parameters are as they were"
            )
        if self._flats:
            self._memory.suit(gradient)
            self._iterate(evaluate, loss, gradient)
        return first[0]

    def _iterate(
        self, evaluate: Callable[[], tuple[float, Array]], loss: float, gradient: Array
    ) -> None:
        group, memory, flat = self.param_groups[0], self._memory, self._flat()
        lr, tolerance, small = group["lr"], group["tolerance_change"], group["tolerance_grad"]
        iterations, most = int(group["max_iter"]), int(group["max_eval"])
        evaluations, searching = 1, group["line_search_fn"] is not None
        if _largest(gradient) <= small:
            return
        for n in range(1, iterations + 1):
            direction = memory.turn(gradient, int(group["history_size"]))
            slope = float(np.dot(gradient, direction))
            t = lr if memory.iterations > 1 else min(1.0, 1.0 / float(np.abs(gradient).sum())) * lr
            memory.t, before = t, loss
            if slope > -tolerance:
                return
            start = flat.data.copy()

            def at(t: float, start: Array = start, direction: Array = direction) -> Point:
                self._move(flat, start, t, direction)
                value, gradient = evaluate()
                value = value if math.isfinite(value) else math.inf
                return Point(t, value, gradient, float(np.dot(gradient, direction)))

            if searching:
                here, reach = Point(0.0, loss, gradient, slope), _largest(direction)
                point, count = strong_wolfe(at, here, t, reach, tolerance, most - evaluations)
                loss, gradient, memory.t = point.value, point.gradient, point.t
                evaluations += count
            self._move(flat, start, memory.t, direction)
            if not searching and n < iterations:  # after the last, the next step evaluates it
                loss, gradient = evaluate()
                evaluations += 1
            if (
                evaluations >= most
                or _largest(gradient) <= small
                or _largest(direction * memory.t) <= tolerance
                or abs(loss - before) < tolerance
                or not math.isfinite(loss)
            ):
                return

    def _flat(self) -> Flat:
        if len(self._flats) > 1:
            kinds = ", ".join(str(flat.dtype) for _, flat in self._flats)
            raise ValueError(f"LBFGS needs parameters of one dtype, got {kinds}")
        return self._flats[0][1]

    def _gradient(self) -> Array:
        """All gradients in one vector of its own."""
        if not self._flats:
            return np.zeros(0)
        flat = self._flat()
        flat.seat()
        found = flat.grad.copy()
        for k, p in enumerate(flat.params):
            if p._grad is None:
                found[flat.bounds[k] : flat.bounds[k + 1]] = 0
        return found

    @staticmethod
    def _move(flat: Flat, start: Array, t: float, direction: Array) -> None:
        flat.data[...] = start + direction * t
        for p in flat.params:
            p._version += 1

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit: options, and what was learnt of the curvature.

        Everything but the arrays under ``"state"`` can be written as JSON.
        """
        found = super().state_dict()
        found["memory"] = self._memory.numbers()
        found["state"] = {name: a.copy() for name, a in self._memory.arrays()}
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. Nothing changes unless everything fits.

        Raises:
            ValueError: if it is the state of another optimizer or of other groups.
            ShapeError: if an array has not the length of all parameters.
        """
        if "memory" not in state:
            raise ValueError("this is no state of LBFGS: memory missing")
        memory = _Memory.read(state["memory"], state["state"])
        size = sum(flat.data.size for _, flat in self._flats)
        for name, a in memory.arrays():
            if name != "rho" and a.shape[-1] != size:
                raise ShapeError(
                    f"{name} has {a.shape[-1]} entries in the state; the parameters have {size}"
                )
        super().load_state_dict({**state, "state": {}})
        self._memory = memory


@dataclass(eq=False)
class _Memory:
    """What is known of the curvature."""

    iterations: int = 0
    t: float = 0.0
    scale: float = 1.0
    direction: Array | None = None
    gradient: Array | None = None
    y: list[Array] = field(default_factory=list)
    s: list[Array] = field(default_factory=list)
    rho: list[float] = field(default_factory=list)

    def suit(self, gradient: Array) -> None:
        """Begin anew for other parameters; follow them to another dtype."""
        if self.gradient is None or self.direction is None:
            return
        if self.gradient.size != gradient.size:
            self.__init__()  # type: ignore[misc]
        elif self.gradient.dtype != gradient.dtype:
            kind = gradient.dtype
            self.gradient, self.direction = self.gradient.astype(kind), self.direction.astype(kind)
            self.y, self.s = [a.astype(kind) for a in self.y], [a.astype(kind) for a in self.s]

    def turn(self, gradient: Array, size: int) -> Array:
        """The next direction, with what the last step has shown."""
        self.iterations += 1
        if self.gradient is None or self.direction is None:
            direction = -gradient
        else:
            self._learn(gradient - self.gradient, self.direction * self.t, size)
            direction = self._solve(gradient)
        self.gradient, self.direction = gradient.copy(), direction
        return direction

    def _learn(self, y: Array, s: Array, size: int) -> None:
        product = float(np.dot(y, s))
        if not product > 1e-10:
            return
        drop = max(0, len(self.y) - size + 1)
        self.y, self.s = [*self.y[drop:], y], [*self.s[drop:], s]
        self.rho = [*self.rho[drop:], 1.0 / product]
        self.scale = product / float(np.dot(y, y))

    def _solve(self, gradient: Array) -> Array:
        """-H g, by the two loops."""
        pairs = list(zip(self.y, self.s, self.rho, strict=True))
        q, weights = -gradient, []
        for y, s, rho in reversed(pairs):
            weights.append(float(np.dot(s, q)) * rho)
            q = q - weights[-1] * y
        d = q * self.scale
        for (y, s, rho), weight in zip(pairs, reversed(weights), strict=True):
            d = d + (weight - float(np.dot(y, d)) * rho) * s
        return d

    def numbers(self) -> dict[str, Any]:
        return {"iterations": self.iterations, "t": self.t, "scale": self.scale}

    def arrays(self) -> Iterator[tuple[str, Array]]:
        if self.gradient is not None and self.direction is not None:
            yield "gradient", self.gradient
            yield "direction", self.direction
        if self.rho:
            yield "y", np.stack(self.y)
            yield "s", np.stack(self.s)
            yield "rho", np.array(self.rho)

    @classmethod
    def read(cls, numbers: Mapping[str, Any], arrays: Mapping[str, Any]) -> _Memory:
        try:
            found = cls(int(numbers["iterations"]), float(numbers["t"]), float(numbers["scale"]))
            if "gradient" in arrays:
                found.gradient = np.array(arrays["gradient"])
                found.direction = np.array(arrays["direction"])
            if "rho" in arrays:
                found.y, found.s = [*np.array(arrays["y"])], [*np.array(arrays["s"])]
                found.rho = [float(r) for r in arrays["rho"]]
        except KeyError as missing:
            raise ValueError(f"the state of LBFGS lacks {missing}") from None
        return found


def _largest(a: Array) -> float:
    return float(np.abs(a).max()) if a.size else 0.0
