"""An optimizer from whatever a person may name it by."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from chainrule.array.errors import nearest
from chainrule.optim import (
    adadelta,
    adagrad,
    adam,
    adamax,
    asgd,
    lbfgs,
    momentum,
    nadam,
    radam,
    rmsprop,
    rprop,
    sgd,
)
from chainrule.optim.optimizer import Optimizer, Rule

__all__ = ["OPTIMIZERS", "RULES", "get"]

#: name -> class
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adadelta": adadelta.Adadelta,
    "adagrad": adagrad.Adagrad,
    "adam": adam.Adam,
    "adamax": adamax.Adamax,
    "adamw": adam.AdamW,
    "asgd": asgd.ASGD,
    "lbfgs": lbfgs.LBFGS,
    "momentum": momentum.Momentum,
    "nadam": nadam.NAdam,
    "radam": radam.RAdam,
    "rmsprop": rmsprop.RMSprop,
    "rprop": rprop.Rprop,
    "sgd": sgd.SGD,
}

#: name -> update: every equation by which an optimizer changes an entry of a parameter
RULES: dict[str, Rule] = {
    **sgd.RULES,
    **momentum.RULES,
    **adagrad.RULES,
    **adadelta.RULES,
    **rmsprop.RULES,
    **adam.RULES,
    **adamax.RULES,
    **nadam.RULES,
    **radam.RULES,
    **rprop.RULES,
    **asgd.RULES,
}


def get(optimizer: str | Optimizer | Callable[..., Any], params: Any, **options: Any) -> Optimizer:
    """The optimizer a name or an object stands for, with `params`.

    Arguments:
        optimizer: a name, in any case: ``"sgd"``, ``"momentum"``, ``"adagrad"``, ``"adadelta"``,
            ``"rmsprop"``, ``"adam"``, ``"adamw"``, ``"adamax"``, ``"nadam"``, ``"radam"``,
            ``"rprop"``, ``"asgd"`` or ``"lbfgs"``; an optimizer's class, or a function of
            parameters (``functools.partial(SGD, momentum=0.9)``); an optimizer without parameters
            (``AdamW(lr=1e-3)``), from which one with `params` is made; or one with parameters,
            which is returned as it is.
        params: parameters, pairs or groups, as an optimizer takes them.
        options: arguments of the optimizer.

    Raises:
        ValueError: for an unknown name, with the nearest.
        TypeError: for an unknown option, with the nearest, and for anything else.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([1.0])
    >>> cr.optim.get("adamw", [w], lr=0.1).param_groups[0]["lr"]
    0.1
    >>> cr.optim.get(cr.optim.SGD(lr=0.5), [w]).param_groups[0]["lr"]
    0.5
    """
    if isinstance(optimizer, Optimizer):
        if options:
            raise TypeError(
                f"this {type(optimizer).__name__} has its options already; "
                f"{', '.join(options)} cannot be given beside it"
            )
        return optimizer if optimizer.param_groups else optimizer.bind(params)
    if isinstance(optimizer, str):
        name = optimizer.lower()
        if name not in OPTIMIZERS:
            raise ValueError(f"no optimizer {optimizer!r}; {nearest(name, OPTIMIZERS)}")
        optimizer = OPTIMIZERS[name]
    if not callable(optimizer):
        raise TypeError(f"an optimizer's name, class or object was expected, got {optimizer!r}")
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        known = [n for n in inspect.signature(optimizer).parameters if n != "params"]
        for name in options:
            if name not in known:
                raise TypeError(
                    f"{optimizer.__name__} has no option {name!r}; {nearest(name, known)}"
                )
    made = optimizer(params, **options)
    if not isinstance(made, Optimizer):
        raise TypeError(f"an optimizer was expected from {optimizer!r}, got {type(made).__name__}")
    return made
