"""chainrule: every formula written once, its derivative derived and proved, and run fast."""

from __future__ import annotations

import importlib
from typing import Any

from chainrule._version import __version__

#: public name -> module that has it; loaded at first use (PEP 562), so that importing is cheap
_NAMES: dict[str, str] = {
    **dict.fromkeys(["Tensor", "tensor", "from_numpy", "asarray"], "chainrule.ops.tensor"),
    **dict.fromkeys(["formula"], "chainrule.ops.formula"),
    **dict.fromkeys(["no_grad", "enable_grad", "is_grad_enabled"], "chainrule.autograd.context"),
    **dict.fromkeys(
        ["grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian"], "chainrule.autograd.transforms"
    ),
    "check_gradients": "chainrule.autograd.check",
    "per_sample_gradients": "chainrule.train.per_sample",
    "seed": "chainrule.array.random",
    "tune": "chainrule.array.blas",
    "Trainer": "chainrule.train.trainer",
    "save": "chainrule.serialize.model",
    "load": "chainrule.serialize.model",
    **dict.fromkeys(
        [
            "ShapeError",
            "DataError",
            "NonFiniteError",
            "FileFormatError",
            "StaleGraphError",
            "MissingExtraError",
        ],
        "chainrule.array.errors",
    ),
}
_ROOMS = frozenset(["autograd", "ops", "nn", "init", "optim", "metrics", "data", "diagnose", "train"])
_ALIASES = {"callbacks": "chainrule.train.callbacks"}

__all__ = ["__version__", *sorted(_NAMES), *sorted(_ROOMS), *sorted(_ALIASES)]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _ROOMS:
        if name != "metrics":
            importlib.import_module("chainrule.ops.tensor")
        value = importlib.import_module(f"chainrule.{name}")
    elif name in _ALIASES:
        value = importlib.import_module(_ALIASES[name])
    else:
        from chainrule.array.errors import nearest

        raise AttributeError(f"chainrule has no {name!r}; {nearest(name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
