"""chainrule: every formula written once, its derivative derived and proved, and run fast.

Everything public is reachable from here and loaded at its first use (PEP 562), so that
``import chainrule`` costs nothing, not even NumPy.

>>> import chainrule as cr
>>> cr.grad(lambda x: (x**2).sum())(cr.tensor([1.0, -2.0]))
tensor([ 2., -4.])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule._version import __version__ as __version__

#: Where each public name lives.
_NAMES: dict[str, str] = {
    **dict.fromkeys(["Tensor", "asarray", "from_numpy", "tensor"], "chainrule.ops.tensor"),
    "Variable": "chainrule.ops.variable",
    "formula": "chainrule.ops.formula",
    "functional_call": "chainrule.nn.stateless",
    **dict.fromkeys(["enable_grad", "is_grad_enabled", "no_grad"], "chainrule.autograd.context"),
    **dict.fromkeys(
        ["grad", "hessian", "jacobian", "jvp", "value_and_grad", "vjp"],
        "chainrule.autograd.transforms",
    ),
    **dict.fromkeys(["capture", "show"], "chainrule.autograd.capture"),
    "check_gradients": "chainrule.autograd.check",
    "per_sample_gradients": "chainrule.diagnose.per_sample",
    "seed": "chainrule.array.random",
    "tune": "chainrule.array.blas",
    "Trainer": "chainrule.train.trainer",
    **dict.fromkeys(["load", "save"], "chainrule.serialize.model"),
    **dict.fromkeys(
        [
            "DataError",
            "FileFormatError",
            "MissingExtraError",
            "NonFiniteError",
            "ShapeError",
            "StaleGraphError",
        ],
        "chainrule.array.errors",
    ),
}

#: Modules that are public names themselves.
_MODULES: dict[str, str] = {
    "autograd": "chainrule.autograd",
    "callbacks": "chainrule.train.callbacks",
    "data": "chainrule.data",
    "diagnose": "chainrule.diagnose",
    "init": "chainrule.init",
    "interop": "chainrule.interop",
    "metrics": "chainrule.metrics",
    "nn": "chainrule.nn",
    "onnx": "chainrule.interop.onnx",
    "ops": "chainrule.ops",
    "optim": "chainrule.optim",
    "regularizers": "chainrule.nn.regularizers",
    "serialize": "chainrule.serialize",
    "train": "chainrule.train",
}

if TYPE_CHECKING:  # the same tables, in the form that type checkers and editors read
    from chainrule import autograd as autograd
    from chainrule import data as data
    from chainrule import diagnose as diagnose
    from chainrule import init as init
    from chainrule import interop as interop
    from chainrule import metrics as metrics
    from chainrule import nn as nn
    from chainrule import ops as ops
    from chainrule import optim as optim
    from chainrule import serialize as serialize
    from chainrule import train as train
    from chainrule.array.blas import tune as tune
    from chainrule.array.errors import DataError as DataError
    from chainrule.array.errors import FileFormatError as FileFormatError
    from chainrule.array.errors import MissingExtraError as MissingExtraError
    from chainrule.array.errors import NonFiniteError as NonFiniteError
    from chainrule.array.errors import ShapeError as ShapeError
    from chainrule.array.errors import StaleGraphError as StaleGraphError
    from chainrule.array.random import seed as seed
    from chainrule.autograd.capture import capture as capture
    from chainrule.autograd.capture import show as show
    from chainrule.autograd.check import check_gradients as check_gradients
    from chainrule.autograd.context import enable_grad as enable_grad
    from chainrule.autograd.context import is_grad_enabled as is_grad_enabled
    from chainrule.autograd.context import no_grad as no_grad
    from chainrule.autograd.transforms import grad as grad
    from chainrule.autograd.transforms import hessian as hessian
    from chainrule.autograd.transforms import jacobian as jacobian
    from chainrule.autograd.transforms import jvp as jvp
    from chainrule.autograd.transforms import value_and_grad as value_and_grad
    from chainrule.autograd.transforms import vjp as vjp
    from chainrule.diagnose.per_sample import per_sample_gradients as per_sample_gradients
    from chainrule.interop import onnx as onnx
    from chainrule.nn import regularizers as regularizers
    from chainrule.nn.stateless import functional_call as functional_call
    from chainrule.ops.formula import formula as formula
    from chainrule.ops.tensor import Tensor as Tensor
    from chainrule.ops.tensor import asarray as asarray
    from chainrule.ops.tensor import from_numpy as from_numpy
    from chainrule.ops.tensor import tensor as tensor
    from chainrule.ops.variable import Variable as Variable
    from chainrule.serialize.model import load as load
    from chainrule.serialize.model import save as save
    from chainrule.train import callbacks as callbacks
    from chainrule.train.trainer import Trainer as Trainer
else:  # hidden from type checkers, for whom a misspelt name would otherwise be Any
    __all__ = ["__version__", *sorted([*_NAMES, *_MODULES])]

    def __getattr__(name: str) -> Any:
        if name not in _NAMES and name not in _MODULES:
            from chainrule.array.errors import nearest

            raise AttributeError(f"chainrule has no {name!r}; {nearest(name, __all__)}")
        module = _NAMES.get(name) or _MODULES[name]
        if module.startswith("chainrule.autograd"):
            # the tape is a floor below Tensor, which makes itself known to it when loaded
            importlib.import_module("chainrule.ops.tensor")
        value = importlib.import_module(module)
        if name in _NAMES:
            value = getattr(value, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return list(__all__)
