"""Architectures: from a module to JSON and back, without importing anything by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.array.errors import FileFormatError, nearest
from chainrule.array.random import Stream, use_stream
from chainrule.nn import activation, basic, dropout, loss
from chainrule.nn.containers import ModuleDict, ModuleList, Sequential
from chainrule.nn.dense import Dense
from chainrule.nn.embedding import EmbedColumns, Embedding
from chainrule.nn.ensemble import Ensemble
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.standardize import Standardize
from chainrule.ops.formula import FORMULAS, Formula

__all__ = ["REGISTRY", "architecture", "build"]

#: The library's own modules by the name that files use. Files construct from here and nowhere else.
REGISTRY: dict[str, type[Module]] = {
    cls.__name__: cls
    for cls in (
        Sequential, ModuleList, ModuleDict, Ensemble, Dense, Standardize,
        basic.Identity, basic.Flatten, Embedding, EmbedColumns, dropout.Dropout, dropout.Dropout1d,
        dropout.Dropout2d, dropout.Dropout3d, dropout.AlphaDropout, dropout.FeatureAlphaDropout,
        activation.Activation, activation.ReLU, activation.LeakyReLU, activation.PReLU,
        activation.RReLU, activation.ELU, activation.CELU, activation.SELU, activation.Threshold,
        activation.ReLU6, activation.Hardtanh, activation.Hardsigmoid, activation.Hardswish,
        activation.Hardshrink, activation.Softshrink, activation.Sigmoid, activation.Logistic,
        activation.LogSigmoid, activation.Tanh, activation.Tanhshrink, activation.Softsign,
        activation.Softplus, activation.GELU, activation.SiLU, activation.Mish, activation.GLU,
        activation.Softmax, activation.Softmin, activation.LogSoftmax,
        *(getattr(loss, name) for name in loss.__all__),
    )
}  # fmt: skip

_DEEPEST = 100  # a file nested deeper than any model was made to break the reader


def architecture(module: Module) -> dict[str, Any]:
    """What to build to get a module like this one; see `Module.architecture`.

    Values are written as JSON writes them, and the rest as objects with one key: ``{"module": …}``,
    ``{"formula": name}``, ``{"tuple": […]}``, ``{"dict": {…}}``, ``{"float": "inf"}``. A module met
    again is ``{"shared": k}``, the k-th met; parameters that stand in several modules are listed
    under ``"tied"``.

    >>> from chainrule.nn.dense import Dense
    >>> architecture(Sequential(Dense(3, 2)))["args"]
    [{'module': {'class': 'Dense', 'args': [3, 2], 'kwargs': {}}}]
    """
    found = _describe(module, {})
    tied = _tied(module)
    return {**found, "tied": tied} if tied else found


def _describe(module: Module, met: dict[int, tuple[int, Module]]) -> dict[str, Any]:
    if id(module) in met:
        return {"shared": met[id(module)][0]}
    met[id(module)] = (len(met), module)  # with the module itself, so that its id stays its own
    name = type(module).__name__
    if REGISTRY.get(name, type(module)) is not type(module):
        raise TypeError(f"{name} is the name of a class of the library; rename yours to save it")
    args, kwargs = module._constructor()
    return {
        "class": name,
        "args": [_write(v, met, f"{name}: argument {k + 1}") for k, v in enumerate(args)],
        "kwargs": {k: _write(v, met, f"{name}: argument {k}") for k, v in kwargs.items()},
    }


def _write(value: Any, met: dict[int, tuple[int, Module]], where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Module):
        return {"module": _describe(value, met)}
    if isinstance(value, Formula):
        if FORMULAS.get(value.name, value) is not value:
            raise TypeError(
                f"{where}: {value.name} is the name of a formula of the library; rename yours to "
                "save it"
            )
        return {"formula": value.name}
    if isinstance(value, list):
        return [_write(v, met, where) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [_write(v, met, where) for v in value]}
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {"dict": {k: _write(v, met, where) for k, v in value.items()}}
    raise TypeError(
        f"{where} is {type(value).__name__}, which an architecture cannot hold; it holds numbers, "
        "strings, bools, None, modules, formulas, and lists, tuples and dicts of these"
    )


def _tied(module: Module) -> list[list[str]]:
    """The names of parameters that stand in more than one place."""
    places: dict[int, list[str]] = {}
    for path, inner in module.named_modules():
        for name, p in inner._parameters.items():
            places.setdefault(id(p), []).append(f"{path}.{name}" if path else name)
    return [names for names in places.values() if len(names) > 1]


def build(
    architecture: Mapping[str, Any], classes: Iterable[type[Module] | Formula[Any]] = ()
) -> Module:
    """A new module from an architecture, with fresh initial values.

    Only the library's own modules and formulas and what is in `classes` are used; nothing is
    imported by name. The initial values come from a stream of their own, so building does not move
    the random stream.

    Arguments:
        architecture: what `Module.architecture` gave, possibly through JSON.
        classes: your own modules, and your own formulas, that it names.

    Raises:
        ValueError: for a class or formula that is not known, with the nearest names.
        FileFormatError: for what is no architecture, or has arguments its class does not take.

    >>> from chainrule.nn.dense import Dense
    >>> build(Sequential(Dense(3, 2)).architecture())
    Sequential(
      (0): Dense(3 -> 2)
    )
    """
    builder = _Builder(classes)
    with use_stream(Stream(0)):
        module = builder.module(architecture, 0)
    for names in _strings(architecture.get("tied", []), depth=2):
        first, *others = [_owner(module, name) for name in names]
        for owner, name in others:
            setattr(owner, name, first[0]._parameters[first[1]])
    return module


class _Builder:
    def __init__(self, classes: Iterable[type[Module] | Formula[Any]]) -> None:
        self.modules = dict(REGISTRY)
        self.formulas = dict(FORMULAS)
        self.built: list[Module | None] = []
        for c in classes:
            if isinstance(c, type) and issubclass(c, Module):
                self._add(self.modules, c.__name__, c)
            elif isinstance(c, Formula):
                self._add(self.formulas, c.name, c)
            else:
                raise TypeError(f"classes holds Module classes and formulas, not {c!r}")

    @staticmethod
    def _add(known: dict[str, Any], name: str, value: Any) -> None:
        if known.setdefault(name, value) is not value:
            raise ValueError(f"two things are called {name}; rename one")

    def module(self, node: Any, depth: int) -> Module:
        if not isinstance(node, Mapping) or depth > _DEEPEST:
            raise FileFormatError(f"expected the architecture of a module, got {node!r:.80}")
        if "shared" in node:
            k = node["shared"]
            if type(k) is not int or not 0 <= k < len(self.built) or self.built[k] is None:
                raise FileFormatError(f"there is no module number {k!r} to share")
            return self.built[k]  # type: ignore[return-value]
        name, args, kwargs = (node.get(k) for k in ("class", "args", "kwargs"))
        if (
            not isinstance(name, str)
            or not isinstance(args, list)
            or not isinstance(kwargs, Mapping)
        ):
            raise FileFormatError(f"expected class, args and kwargs of a module, got {node!r:.80}")
        cls = self._known(self.modules, "class", name)
        place = len(self.built)
        self.built.append(None)
        given = [self.value(v, depth + 1) for v in args]
        named = {k: self.value(v, depth + 1) for k, v in kwargs.items()}
        try:
            module: Module = cls(*given, **named)
        except (TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{name} cannot be built as it was saved: {error}") from error
        self.built[place] = module
        return module

    def value(self, v: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise FileFormatError(f"an architecture nested more than {_DEEPEST} deep")
        if isinstance(v, list):
            return [self.value(a, depth + 1) for a in v]
        if not isinstance(v, Mapping):
            return v
        ((kind, inner),) = v.items() if len(v) == 1 else (("", None),)
        if kind == "module":
            return self.module(inner, depth + 1)
        if kind == "formula" and isinstance(inner, str):
            return self._known(self.formulas, "formula", inner)
        if kind == "tuple" and isinstance(inner, list):
            return tuple(self.value(inner, depth))
        if kind == "dict" and isinstance(inner, Mapping):
            return {k: self.value(a, depth + 1) for k, a in inner.items()}
        if kind == "float" and inner in ("inf", "-inf", "nan"):
            return float(inner)
        raise FileFormatError(f"no argument of a module is written as {v!r:.80}")

    @staticmethod
    def _known(known: dict[str, Any], what: str, name: str) -> Any:
        if name not in known:
            raise ValueError(
                f"the {what} {name} is not the library's; if it is yours, pass classes=[{name}]. "
                f"Otherwise: {nearest(name, known)}"
            )
        return known[name]


def _strings(value: Any, depth: int) -> Any:
    """`value`, if it is lists of strings, `depth` deep."""
    if depth == 0 and isinstance(value, str):
        return value
    if depth == 0 or not isinstance(value, list):
        raise FileFormatError(f"tied parameters are lists of names, got {value!r:.80}")
    return [_strings(v, depth - 1) for v in value]


def _owner(module: Module, dotted: str) -> tuple[Module, str]:
    """The module that has the parameter called `dotted`, and its name there."""
    *path, name = dotted.split(".")
    for step in path:
        if step not in module._modules:
            raise FileFormatError(f"there is no {dotted} to tie in the model that was built")
        module = module._modules[step]
    if not isinstance(module._parameters.get(name), Parameter):
        raise FileFormatError(f"there is no {dotted} to tie in the model that was built")
    return module, name
