"""Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`."""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self, overload

from chainrule import ops
from chainrule.array.errors import nearest
from chainrule.autograd.context import Frame, state
from chainrule.nn.activation import Activation
from chainrule.nn.dense import Dense
from chainrule.nn.module import Module, not_a_module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Numbered(Module):
    """Modules in a row. Names that are numbers are positions, and stay so when the row changes."""

    def _fill(self, named: Iterable[tuple[str, Module]]) -> None:
        """Hold exactly these modules, in this order."""
        checked = []
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"{type(self).__name__}: {name!r} {not_a_module(module)}")
            if name not in self._modules:
                self._check_name(name)
            checked.append((name, module))
        for name in list(self._modules):
            delattr(self, name)
        for name, module in checked:
            setattr(self, name, module)

    def _refill(self, items: Iterable[tuple[str, Any]]) -> None:
        """Hold these modules and number them anew."""
        self._fill((str(k) if n.isdecimal() else n, m) for k, (n, m) in enumerate(items))

    def _name_at(self, index: Any) -> str:
        names = list(self._modules)
        k = operator.index(index)
        if not -len(names) <= k < len(names):
            raise IndexError(f"{type(self).__name__} has {len(names)} modules; there is no [{k}]")
        return names[k]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    @overload
    def __getitem__(self, index: int) -> Any: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            part = self._plain()
            part._refill(list(self._modules.items())[index])
            return part
        return self._modules[self._name_at(index)]

    def _plain(self) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        items = list(self._modules.items())
        del items[index]
        self._refill(items)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        self._refill([*self._modules.items(), *(("0", m) for m in modules)])
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before position `index`; the later ones move up."""
        items: list[tuple[str, Module]] = list(self._modules.items())
        items.insert(index, ("0", module))
        self._refill(items)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out and give it."""
        module = self._modules[self._name_at(index)]
        del self[index]
        return module


class Sequential(_Numbered):
    """Layers one after the other: ``y = f_n(… f_2(f_1(x)))``. Ledger F-03, F-07 to F-09 (erratum
    E000-03).

    Arguments:
        layers: modules; or one dict of them, whose keys become their names.

    It is a list of modules too: index, slice (the slice shares the layers), `append`, `insert`,
    `del`, and replace by ``model[2] = layer``. A `Dense` followed by an activation runs in one pass
    and is one node on the tape, unless one of them has a hook.

    Raises:
        TypeError: for what is not a module; it says what to write.

    >>> import chainrule as cr, numpy as np
    >>> model = cr.nn.Sequential(cr.nn.Dense(4, 8), cr.nn.ReLU(), cr.nn.Dense(8, 3))
    >>> model(np.zeros((5, 4))).shape
    (5, 3)
    >>> model[-1]
    Dense(8 -> 3)
    """

    #: The children a plan was made for, and the plan: (layer, activation to run in the same pass).
    _plan: tuple[list[Module], list[tuple[Any, Any]]] = ([], [])

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            self._fill(layers[0].items())
        else:
            self._fill((str(k), m) for k, m in enumerate(layers))
        if type(self).__init__ is Sequential.__init__:
            self._arguments = ((), {})  # see _constructor; a layer replaced later can be freed

    def forward(self, x: Any) -> Any:
        children = list(self._modules.values())
        planned, plan = self._plan
        if planned != children:
            plan = _pairs(children)
            object.__setattr__(self, "_plan", (children, plan))
        frame = state.frame
        try:
            for layer, activation in plan:
                if activation is None:
                    x = layer(x)
                elif layer._hooks or activation._hooks:
                    x = activation(layer(x))
                else:
                    state.frame = Frame(layer, frame)
                    x = ops.dense(
                        x, layer.weight, layer.bias, activation.formula, **activation.options
                    )
                    state.frame = frame
        finally:
            state.frame = frame
        return x

    def _plain(self) -> Sequential:
        return Sequential()

    def _constructor(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if type(self).__init__ is not Sequential.__init__:
            return self._arguments
        if list(self._modules) == [str(k) for k in range(len(self))]:
            return tuple(self._modules.values()), {}
        return (dict(self._modules),), {}


def _pairs(layers: list[Module]) -> list[tuple[Module, Activation | None]]:
    """The layers, each Dense with the activation after it where both can run in one pass."""
    plan: list[tuple[Module, Activation | None]] = []
    k = 0
    while k < len(layers):
        layer, after = layers[k], layers[k + 1] if k + 1 < len(layers) else None
        if isinstance(after, Activation) and _fusible(layer, after):
            plan.append((layer, after))
            k += 2
        else:
            plan.append((layer, None))
            k += 1
    return plan


def _fusible(layer: Module, activation: Activation) -> bool:
    """Both do what their classes do, and the activation gives one array, row by row."""
    return (
        isinstance(layer, Dense)
        and layer.activation is None
        and type(layer).forward is Dense.forward
        and type(activation).forward is Activation.forward
        and "forward" not in layer.__dict__
        and "forward" not in activation.__dict__
        and activation.options.get("axis", -1) == -1
        and not activation.formula.compiled(**activation.options).many
    )


class ModuleList(_Numbered):
    """A list of modules whose parameters are found. It computes nothing: call its modules.

    >>> import chainrule as cr
    >>> layers = cr.nn.ModuleList(cr.nn.Dense(2, 2) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        if isinstance(modules, Module) and not isinstance(modules, _Numbered):
            name = type(self).__name__
            raise TypeError(f"{name} takes an iterable of modules: write {name}([module])")
        self._fill((str(k), m) for k, m in enumerate(modules))
        if type(self).__init__ is ModuleList.__init__:
            self._arguments = ((), {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not defined: call the modules inside."""
        raise TypeError("a ModuleList is not called; loop over its modules, or use Sequential")

    def _plain(self) -> ModuleList:
        return ModuleList()

    def _constructor(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if type(self).__init__ is not ModuleList.__init__:
            return self._arguments
        return (list(self._modules.values()),), {}


class ModuleDict(Module):
    """Modules by name, whose parameters are found. It computes nothing: call its modules.

    >>> import chainrule as cr
    >>> heads = cr.nn.ModuleDict({"age": cr.nn.Dense(8, 1), "kind": cr.nn.Dense(8, 5)})
    >>> heads["kind"], list(heads)
    (Dense(8 -> 5), ['age', 'kind'])
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self.update(modules)
        if type(self).__init__ is ModuleDict.__init__:
            self._arguments = ((), {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not defined: call the modules inside."""
        raise TypeError("a ModuleDict is not called; call one of its modules, self.heads['age'](x)")

    def __getitem__(self, name: str) -> Any:
        if name not in self._modules:
            raise KeyError(f"ModuleDict has no {name!r}; {nearest(name, self._modules)}")
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those of the same name."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for name, module in pairs:
            self[name] = module

    def pop(self, name: str) -> Module:
        """Take a module out and give it."""
        module: Module = self[name]
        delattr(self, name)
        return module

    def _constructor(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if type(self).__init__ is not ModuleDict.__init__:
            return self._arguments
        return (dict(self._modules),), {}
