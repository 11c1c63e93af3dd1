"""A module as a function of its parameters: for derivatives along them, and models of many."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

from chainrule.array.abstract import as_array
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.nn.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """``module(*args, **kwargs)`` as if its parameters were these; the module is left as it is.

    So a network is a function of its parameters, and what differentiates functions works on it:
    `chainrule.jvp` gives the derivative of the output along one parameter, or all of them, in
    forward mode (ledger W-03 to W-08), `chainrule.jacobian` and `chainrule.hessian` whole matrices.
    As `torch.func.functional_call`.

    Arguments:
        module: any module. Its mode is kept; what `forward` assigns to it meanwhile is forgotten.
        parameters: tensors or arrays by the names of `named_parameters` and `named_buffers`, all or
            some; the others are the module's own. A tied parameter has several names, and any
            of them stands for all.
        args: the arguments: a tuple, or the only one.
        kwargs: arguments by name.

    Raises:
        KeyError: for a name that the module does not have; lists the nearest.
        ShapeError: for a value of another shape; names it and both shapes.
        ValueError: for two values for one tied parameter.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> layer, x = cr.nn.Dense(2, 1), np.array([[3.0, 5.0]], np.float32)
    >>> W = cr.tensor([[1.0, 2.0]])
    >>> f = lambda W: cr.nn.functional_call(layer, {"weight": W, "bias": np.zeros(1, "f")}, x)
    >>> cr.jvp(f, W, cr.tensor([[0.0, 1.0]]))  # the output, and its derivative by the second weight
    (tensor([[13.]]), tensor([[5.]]))
    """
    own = {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in (*part._parameters.items(), *part._buffers.items())
        if value is not None
    }
    own.update(module._places())  # a module that is there twice has names by both ways
    memo: dict[int, Any] = {}
    for name, value in parameters.items():
        if name not in own:
            raise KeyError(f"{type(module).__name__} has no {name!r}; {nearest(name, own)}")
        if not isinstance(value, Variable):
            value = as_array(value)
        elif not isinstance(own[name], Variable):
            value = value._data  # a buffer is an array
        if tuple(value.shape) != tuple(own[name].shape):
            raise ShapeError(
                f"functional_call: {name} has shape {tuple(own[name].shape)} in "
                f"{type(module).__name__}, and {tuple(value.shape)} was given"
            )
        if memo.setdefault(id(own[name]), value) is not value:
            first = next(n for n in parameters if own[n] is own[name])
            raise ValueError(
                f"functional_call: {first} and {name} are one tied parameter; give one of them"
            )
    if state.recorder is not None:  # a captured step watches the module, not its twin
        state.recorder.modules.setdefault(id(module), module)
    positional = args if isinstance(args, tuple) else (args,)
    return _twin(module, memo)._forward_pass(*positional, **(kwargs or {}))


def _twin(value: Any, memo: dict[int, Any]) -> Any:
    """The same object with what `memo` replaces in it: modules, and what holds them, are new."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Module):
        new = memo[id(value)] = object.__new__(type(value))
        for name, part in vars(value).items():
            object.__setattr__(new, name, None if name == "_replayed" else _twin(part, memo))
        return new
    if isinstance(value, MethodType) and isinstance(value.__self__, Module):
        return MethodType(value.__func__, _twin(value.__self__, memo))
    if type(value) in (list, tuple):
        parts = [_twin(v, memo) for v in value]
        same = all(a is b for a, b in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if type(value) is dict:
        named = {k: _twin(v, memo) for k, v in value.items()}
        return value if all(named[k] is value[k] for k in value) else named
    return value
