"""`Module`: holds parameters, buffers and other modules, and knows nothing of mathematics."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from chainrule.array.dtypes import is_float
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.context import Frame, state
from chainrule.autograd.tape import Variable
from chainrule.nn.parameter import Parameter

__all__ = ["Module"]


class Module:
    """A layer or a network. Subclass it, assign parameters and modules as attributes, write `forward`.

    Assigned parameters and modules are found by name (``model.encoder.0.weight``). Calling ``super().__init__()``
    is allowed and not needed. The constructor's arguments are remembered, so that a model made of the
    library's modules, or of classes passed to `chainrule.load`, can be rebuilt from a file.

    >>> import chainrule as cr
    >>> class Net(cr.nn.Module):
    ...     def __init__(self, width):
    ...         self.hidden = cr.nn.Dense(2, width)
    ...         self.out = cr.nn.Dense(width, 1)
    ...     def forward(self, x):
    ...         return self.out(cr.ops.tanh(self.hidden(x)))
    >>> sorted(Net(3).state_dict())
    ['hidden.bias', 'hidden.weight', 'out.bias', 'out.weight']
    """

    _parameters: dict[str, Parameter]
    _modules: dict[str, Module]
    _buffers: dict[str, Any]
    _hooks: dict[int, tuple[str, Callable[..., Any]]]
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    training: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        for name in ("_parameters", "_modules", "_buffers", "_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_arguments", (args, kwargs))
        object.__setattr__(self, "training", True)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise TypeError(f"{type(self).__name__}() takes no arguments unless it defines __init__")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses write it, callers call the module."""
        raise TypeError(f"{type(self).__name__} must define forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = state.frame
        state.frame = Frame(self, before)
        try:
            if self._hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            state.frame = before

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for kind, hook in list(self._hooks.values()):
            if kind == "before":
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for kind, hook in list(self._hooks.values()):
            if kind == "after":
                changed = hook(self, args, out)
                out = out if changed is None else changed
        return out

    # -- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        homes = (self._parameters, self._modules, self._buffers)
        if name in self._buffers and isinstance(value, np.ndarray | Variable | None):
            self._buffers[name] = value
            return
        for home in homes:
            home.pop(name, None)
        self.__dict__.pop(name, None)
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for home in ("_parameters", "_modules", "_buffers"):
            found = self.__dict__.get(home, {})
            if name in found:
                return found[name]
        known = [n for n in (*self.__dict__, *dir(type(self))) if not n.startswith("_")]
        known += [*self._parameters, *self._modules, *self._buffers]
        raise AttributeError(f"{type(self).__name__} has no {name!r}; {nearest(name, known)}")

    def __delattr__(self, name: str) -> None:
        for home in (self._parameters, self._modules, self._buffers):
            if name in home:
                del home[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._modules, *self._buffers})

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Assign a parameter by name; None leaves the name empty (a layer without bias)."""
        setattr(self, name, value)

    def register_buffer(self, name: str, value: Any) -> None:
        """An array that belongs to the state but is not trained (running statistics)."""
        self.__dict__.pop(name, None)
        self._buffers[name] = value

    def add_module(self, name: str, module: Module) -> None:
        """Assign a module by name."""
        setattr(self, name, module)

    # -- what is inside ----------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend(
                (f"{path}.{name}" if path else name, child)
                for name, child in reversed(module._modules.items())
            )

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside."""
        return iter(self._modules.items())

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names; a tied parameter once, under its first name."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, p in module._parameters.items():
                if id(p) not in seen:
                    seen.add(id(p))
                    yield (f"{path}.{name}" if path else name), p

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Any]]:
        """All buffers with dotted names."""
        for path, module in self.named_modules():
            for name, b in module._buffers.items():
                if b is not None:
                    yield (f"{path}.{name}" if path else name), b

    def buffers(self) -> Iterator[Any]:
        """All buffers."""
        return (b for _, b in self.named_buffers())

    @property
    def dtype(self) -> Any:
        """The type of the parameters (float32 for a module without any)."""
        return next((p.dtype for p in self.parameters()), np.dtype(np.float32))

    # -- state -----------------------------------------------------------------------------------------

    def _places(self) -> Iterator[tuple[str, Any]]:
        """Every name in the state, tied ones under each of their names, as in torch."""

        def walk(module: Module, path: str) -> Iterator[tuple[str, Any]]:
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None:
                    yield f"{path}{name}", value
            for name, child in module._modules.items():
                yield from walk(child, f"{path}{name}.")

        return walk(self, "")

    def state_dict(self) -> dict[str, Any]:
        """Copies of all parameters and buffers as NumPy arrays, by torch's names."""
        return {
            name: np.array(v._data if isinstance(v, Variable) else v) for name, v in self._places()
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values in, in place. Arrays, tensors and PyTorch's tensors are taken.

        Nothing changes unless everything fits.

        Raises:
            KeyError: with `strict`, for missing and unexpected names, all of them, with the nearest.
            ShapeError: for shapes that differ, all of them.
        """
        own = dict(self._places())
        missing = [n for n in own if n not in state]
        unexpected = [n for n in state if n not in own]
        if strict and (missing or unexpected):
            parts = []
            if missing:
                parts.append(f"missing {', '.join(missing)}")
            if unexpected:
                parts.append(f"unexpected {', '.join(unexpected)}")
            hint = f"; {nearest(unexpected[0], own)}" if unexpected else ""
            raise KeyError(f"the state does not fit {type(self).__name__}: {'; '.join(parts)}{hint}")
        values = {}
        wrong = []
        for name, target in own.items():
            if name not in state:
                continue
            value = state[name]
            if isinstance(value, Variable):
                value = value._data
            elif hasattr(value, "detach"):  # a tensor of PyTorch
                value = value.detach().cpu().numpy()
            values[name] = np.asarray(value)
            if values[name].shape != tuple(target.shape):
                wrong.append(f"{name} is {tuple(target.shape)} here, {values[name].shape} in the state")
        if wrong:
            raise ShapeError(f"the state does not fit {type(self).__name__}: {'; '.join(wrong)}")
        for name, value in values.items():
            target = own[name]
            if isinstance(target, Parameter):
                target.assign(value)
            else:
                np.copyto(target._data if isinstance(target, Variable) else target, value)

    def to(self, dtype: Any) -> Self:
        """Convert all parameters and floating buffers, in place."""
        dtype = np.dtype(dtype)
        if not is_float(dtype):
            raise TypeError(f"a model computes in a floating type, not {dtype}")
        for p in self.parameters():
            p.cast(dtype)
        for module in self.modules():
            for name, b in module._buffers.items():
                if isinstance(b, np.ndarray) and is_float(b.dtype):
                    module._buffers[name] = b.astype(dtype)
        return self

    def float(self) -> Self:
        """Compute in float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Compute in float64."""
        return self.to(np.float64)

    # -- modes --------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout draws. `mode` False is `eval`."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Self:
        """Evaluation mode: dropout is the identity."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def freeze(self) -> Self:
        """No parameter here is trained from now on."""
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Every parameter here is trained again."""
        return self.requires_grad_(True)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters():
            p._grad = None

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call f on this module and all below it, the inner ones first."""
        for child in self.children():
            child.apply(f)
        f(self)
        return self

    # -- hooks ----------------------------------------------------------------------------------------------

    def register_forward_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """``hook(module, arguments, output)`` after each forward pass; what it returns replaces the output.

        Returns a function that removes it.
        """
        return self._add_hook("after", hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """``hook(module, arguments)`` before each forward pass; what it returns replaces the arguments."""
        return self._add_hook("before", hook)

    def _add_hook(self, kind: str, hook: Callable[..., Any]) -> Callable[[], None]:
        key = max(self._hooks, default=-1) + 1
        self._hooks[key] = (kind, hook)

        def remove() -> None:
            self._hooks.pop(key, None)

        return remove

    # -- looks --------------------------------------------------------------------------------------------------

    def summary(self, input_shape: Any = None) -> str:
        """A table of layers, output shapes and parameters; see `chainrule.diagnose.summary`."""
        text: str = importlib.import_module("chainrule.diagnose.summary").summary(self, input_shape)
        return text

    def extra_repr(self) -> str:
        """What a layer says of itself between the brackets."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"{type(self).__name__}("]
        for name, child in self._modules.items():
            inner = repr(child).replace("\n", "\n  ")
            lines.append(f"  ({name}): {inner}")
        return "\n".join([*lines, ")"])

    def __deepcopy__(self, memo: Any) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name != "_hooks":
                object.__setattr__(new, name, copy.deepcopy(value, memo))
        return new
