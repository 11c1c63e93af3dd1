"""Activations as modules: a formula and its options, and no mathematics."""

from __future__ import annotations

from typing import Any

from chainrule import ops
from chainrule.array.errors import nearest
from chainrule.nn.module import Module
from chainrule.ops.formula import FORMULAS, Formula

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "as_activation",
]


class Activation(Module):
    """Any formula of one array as a layer: ``y = f(x)``.

    Arguments:
        formula: one of `chainrule.ops`, or your own, made with `chainrule.formula`.
        options: its attributes by name, constants. For a trained one write a `Module` with a
            `Parameter`.

    Raises:
        TypeError: for what is not a formula of one array, and for options it does not have.

    >>> import chainrule as cr, numpy as np
    >>> @cr.formula
    ... def snake(xp, x, a=1.0):
    ...     return x + xp.sin(a * x) ** 2 / a
    >>> layer = cr.nn.Activation(snake, a=2.0)
    >>> layer
    Activation(snake, a=2.0)
    >>> layer(np.zeros((1, 2)))
    array([[0., 0.]])
    """

    formula: Formula[Any]
    options: dict[str, Any]

    def __init__(self, formula: Formula[Any], **options: Any) -> None:
        self.formula = _unary(formula, type(self).__name__)
        for name, value in options.items():
            if name not in formula.defaults:
                known = ", ".join(formula.defaults) or "none"
                raise TypeError(
                    f"{type(self).__name__}: {formula.name} has no option {name!r}; it has: {known}"
                )
            if not isinstance(value, bool | int | float | str | None):
                raise TypeError(
                    f"{type(self).__name__}: option {name} of {formula.name} is a constant, not "
                    f"{type(value).__name__}; to train it, write a Module with a Parameter"
                )
        self.options = options

    def forward(self, x: Any) -> Any:
        return self.formula(x, **self.options)

    def extra_repr(self) -> str:
        options = [f"{k}={v!r}" for k, v in self.options.items()]
        own = [self.formula.name] if type(self) is Activation else []
        return ", ".join([*own, *options])


class ReLU(Activation):
    """``max(0, x)``. Ledger A-05; see `chainrule.ops.relu`.

    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self) -> None:
        super().__init__(ops.relu)


class LeakyReLU(Activation):
    """``x`` above 0, ``negative_slope · x`` up to 0. Ledger A-06; `chainrule.ops.leaky_relu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.LeakyReLU(0.1)(np.array([-1.0, 2.0]))
    array([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(ops.leaky_relu, negative_slope=negative_slope)


class ELU(Activation):
    """``x`` above 0, ``α (e^x - 1)`` up to 0. Ledger A-08; see `chainrule.ops.elu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.ELU()(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(ops.elu, alpha=alpha)


class SELU(Activation):
    """``λ elu(x, α)``, which keeps mean 0 and variance 1. Ledger A-10; see `chainrule.ops.selu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.SELU()(np.array([-1.0, 2.0]))
    array([-1.11133074,  2.10140197])
    """

    def __init__(self) -> None:
        super().__init__(ops.selu)


class GELU(Activation):
    """``x Φ(x)``, exact or ``approximate="tanh"``. Ledger A-11, A-12; see `chainrule.ops.gelu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.GELU()(np.array([-1.0, 2.0]))
    array([-0.15865525,  1.95449974])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(ops.gelu, approximate=approximate)


class SiLU(Activation):
    """``x σ(x)`` (swish). Ledger A-13; see `chainrule.ops.silu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.SiLU()(np.array([-1.0, 2.0]))
    array([-0.26894142,  1.76159416])
    """

    def __init__(self) -> None:
        super().__init__(ops.silu)


class Tanh(Activation):
    """``tanh(x)``. Ledger A-04; see `chainrule.ops.tanh`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Tanh()(np.array([-1.0, 2.0]))
    array([-0.76159416,  0.96402758])
    """

    def __init__(self) -> None:
        super().__init__(ops.tanh)


class Sigmoid(Activation):
    """``1 / (1 + e^{-x})``. Ledger A-02; see `chainrule.ops.sigmoid`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Sigmoid()(np.array([-1.0, 2.0]))
    array([0.26894142, 0.88079708])
    """

    def __init__(self) -> None:
        super().__init__(ops.sigmoid)


class Softplus(Activation):
    """``log(1 + e^{βx}) / β``; see `chainrule.ops.softplus`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softplus()(np.array([-1.0, 2.0]))
    array([0.31326169, 2.12692801])
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(ops.softplus, beta=beta)


class Softmax(Activation):
    """``e^{x_i} / Σ_j e^{x_j}`` along `axis`. Ledger A-15; see `chainrule.ops.softmax`.

    Not before `chainrule.ops.cross_entropy`, which takes the scores themselves.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softmax()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(ops.softmax, axis=axis)


class LogSoftmax(Activation):
    """``x - log Σ_j e^{x_j}`` along `axis`; see `chainrule.ops.log_softmax`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.LogSoftmax()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[-6.93147181e-01, -6.93147181e-01],
           [ 0.00000000e+00, -1.00000000e+03]])
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(ops.log_softmax, axis=axis)


def as_activation(value: Any, who: str) -> tuple[Formula[Any] | None, dict[str, Any]]:
    """The formula and options that a name, a formula, an `Activation` or None stands for."""
    if value is None:
        return None, {}
    if isinstance(value, Activation):
        return value.formula, value.options
    if isinstance(value, str):
        known = [name for name, f in FORMULAS.items() if len(f.arrays) == 1]
        if value not in known:
            raise ValueError(f"{who}: no activation is called {value!r}; {nearest(value, known)}")
        value = FORMULAS[value]
    return _unary(value, who), {}


def _unary(formula: Any, who: str) -> Formula[Any]:
    if isinstance(formula, type) and issubclass(formula, Activation):
        raise TypeError(f"{who}: write {formula.__name__}(), not the class {formula.__name__}")
    if not isinstance(formula, Formula):
        what = getattr(formula, "__name__", type(formula).__name__)
        raise TypeError(
            f"{who}: expected a formula as activation, got {what}; make one with "
            "@chainrule.formula on a function of (xp, x), or write a Module"
        )
    if len(formula.arrays) != 1:
        raise TypeError(
            f"{who}: an activation is a formula of one array; {formula.name} takes "
            f"{', '.join(formula.arrays)}"
        )
    return formula
