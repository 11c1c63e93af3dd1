"""Where did the first NaN or infinity come from?"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.autograd.context import no_grad
from chainrule.autograd.tape import Variable
from chainrule.nn.module import Module

__all__ = ["first_nonfinite"]


def _bad(a: Any) -> bool:
    raw = a._data if isinstance(a, Variable) else np.asarray(a)
    return raw.dtype.kind == "f" and not bool(np.isfinite(raw).all())


def first_nonfinite(model: Module, x: Any) -> str | None:
    """A sentence naming the first non-finite value on the way through `model`, or None.

    Looked for in the parameters, then the input, then the output of every layer in the order they
    compute.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(2, 2), cr.nn.ReLU())
    >>> first_nonfinite(model, np.array([[np.inf, 0.0]], np.float32))
    'the input holds inf'
    """
    for name, p in model.named_parameters():
        if _bad(p):
            return f"the parameter {name} holds {_example(p._data)}"
    if _bad(x):
        return f"the input holds {_example(x._data if isinstance(x, Variable) else x)}"
    found: list[str] = []
    removals = []

    def watch(path: str) -> Any:
        def hook(module: Module, args: Any, out: Any) -> None:
            if (
                not found
                and not module._modules
                and isinstance(out, Variable | np.ndarray)
                and _bad(out)
            ):
                raw = out._data if isinstance(out, Variable) else out
                kind = repr(module).split("\n")[0]
                found.append(f"the output of {path} {kind} holds {_example(raw)}")

        return hook

    for name, module in model.named_modules():
        removals.append(module.register_forward_hook(watch(f"model.{name}" if name else "model")))
    try:
        with no_grad(), np.errstate(all="ignore"):
            out = model(x)
    finally:
        for remove in removals:
            remove()
    if not found and isinstance(out, Variable) and _bad(out):
        return f"the output of the model holds {_example(out._data)}"
    return found[0] if found else None


def _example(a: Any) -> str:
    bad = np.asarray(a)[~np.isfinite(a)]
    return "nan" if np.isnan(bad).any() else str(bad[0])
