"""`Module`: holds parameters, buffers and other modules, and knows nothing of mathematics."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Self

import numpy as np

from chainrule.array.dtypes import Array, is_float
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.capture import Captured
from chainrule.autograd.context import Frame, state, structure
from chainrule.autograd.tape import Variable
from chainrule.compile.symbolic import Postponed, capture_error
from chainrule.nn.parameter import Parameter
from chainrule.ops.formula import Formula

__all__ = ["Hook", "Module"]


class Hook:
    """A hook on a module: ``remove()`` it, or use it in a `with` block.

    >>> import chainrule as cr
    >>> layer = cr.nn.Identity()
    >>> with layer.register_forward_hook(lambda module, arguments, output: output * 2):
    ...     layer(np.ones(2))
    array([2., 2.])
    >>> layer(np.ones(2))
    array([1., 1.])
    """

    __slots__ = ("_home",)

    def __init__(self, home: dict[int, Any]) -> None:
        self._home = home

    def remove(self) -> None:
        """Take the hook off; a second time does nothing."""
        self._home.pop(id(self), None)

    __call__ = remove

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Module:
    """A layer or a network: subclass it, assign parameters and modules, write `forward`.

    Assigned parameters and modules are found by name (``encoder.0.weight``). ``super().__init__()``
    is allowed and not needed. The constructor's arguments are remembered, so that a model made of
    the library's modules, or of classes passed to `chainrule.load`, can be rebuilt from a file.

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
    _hooks: dict[int, tuple[str, Callable[..., Any], Hook]]
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    training: bool
    #: The captured forward pass, for predictions.
    _replayed: Captured | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        for name in ("_parameters", "_modules", "_buffers", "_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_arguments", (args, kwargs))
        object.__setattr__(self, "training", True)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise TypeError(
                f"{type(self).__name__}() takes no arguments unless it defines __init__"
            )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses write it, callers call the module."""
        raise TypeError(f"{type(self).__name__} must define forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (
            state.frame is None
            and not state.enabled  # a prediction is replayed
            and len(args) == 1
            and not kwargs
            and state.recorder is None
            and (type(args[0]) is np.ndarray or isinstance(args[0], Variable))
        ):
            replayed = self._replayed
            if replayed is None:
                replayed = Captured(self._forward_pass, quiet=True, spare=True)
                object.__setattr__(self, "_replayed", replayed)
            return replayed(args[0])
        return self._forward_pass(*args, **kwargs)

    def _forward_pass(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass, in the frame of this module."""
        before = state.frame
        state.frame = Frame(self, before)
        if state.recorder is not None:
            state.recorder.enter(self)
        try:
            if self._hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            state.frame = before

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if state.recorder is not None:
            raise capture_error(f"{type(self).__name__} has a hook, which runs Python")
        hooks = list(self._hooks.values())
        for kind, hook, _ in hooks:
            if kind == "before":
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for kind, hook, _ in hooks:
            if kind == "after":
                changed = hook(self, args, out)
                out = out if changed is None else changed
        return out

    # -- attributes --------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        home: dict[str, Any] | None = None
        if isinstance(value, Parameter):
            home = self._parameters
        elif isinstance(value, Module):
            home = self._modules
        elif name in self._buffers and (value is None or hasattr(value, "dtype")):
            home, value = self._buffers, _as_buffer(value)
        if home is not None and name not in home:
            self._check_name(name)
        for other in (self._parameters, self._modules, self._buffers):
            if other is not home:
                other.pop(name, None)
        # kept as an ordinary attribute too: reading self.weight is then as fast as can be
        object.__setattr__(self, name, value)
        structure.changed()
        if home is not None:
            home[name] = value  # a name that is there keeps its place in the order

    def _check_name(self, name: str) -> None:
        if not name or "." in name:
            raise ValueError(
                f"{type(self).__name__}: {name!r} cannot name a parameter, buffer or module; names "
                "stand between dots in 'encoder.0.weight', so they have no dot and are not empty"
            )
        if isinstance(getattr(type(self), name, None), FunctionType | property):
            raise AttributeError(
                f"{type(self).__name__}: {name!r} is a method of this class; choose another name "
                f"for the parameter, buffer or module, for example {name + '_'!r}"
            )

    def __getattr__(self, name: str) -> Any:
        known = [n for n in (*self.__dict__, *dir(type(self))) if not n.startswith("_")]
        raise AttributeError(f"{type(self).__name__} has no {name!r}; {nearest(name, known)}")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        structure.changed()
        for home in (self._parameters, self._modules, self._buffers):
            home.pop(name, None)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Assign a parameter by name; None leaves the name empty (a layer without bias)."""
        setattr(self, name, value)

    def register_buffer(self, name: str, value: Any) -> None:
        """Assign an array that belongs to the state but is not trained (running statistics).

        It is kept as a NumPy array; None reserves the name.
        """
        self._check_name(name)
        self._buffers[name] = None
        setattr(self, name, _as_buffer(value))

    def add_module(self, name: str, module: Module) -> None:
        """Assign a module by name."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} {not_a_module(module)}")
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

    # -- state -------------------------------------------------------------------------------------

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
            name: np.array(v._data if isinstance(v, Parameter) else v) for name, v in self._places()
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values in, in place. Arrays, tensors and PyTorch's tensors are taken.

        Nothing changes unless everything fits.

        Raises:
            KeyError: with `strict`, for missing and unexpected names, all of them.
            ShapeError: for shapes that differ, all of them.
            TypeError: for values that are no numbers, or floats where integers are kept.
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
            raise KeyError(
                f"the state does not fit {type(self).__name__}: {'; '.join(parts)}{hint}"
            )
        values = {name: _as_array(state[name]) for name in own if name in state}
        wrong = [
            f"{name} is {tuple(own[name].shape)} here, {v.shape} in the state"
            for name, v in values.items()
            if v.shape != tuple(own[name].shape)
        ]
        if wrong:
            raise ShapeError(f"the state does not fit {type(self).__name__}: {'; '.join(wrong)}")
        for name, value in values.items():
            if not np.can_cast(value.dtype, own[name].dtype, "same_kind"):
                raise TypeError(
                    f"the state does not fit {type(self).__name__}: {name} is {own[name].dtype} "
                    f"here, {value.dtype} in the state"
                )
        for name, value in values.items():
            target = own[name]
            if isinstance(target, Parameter):
                target.assign(value)
            else:
                np.copyto(target, value, casting="same_kind")

    def to(self, dtype: Any) -> Self:
        """Convert all parameters and floating buffers, in place.

        Raises:
            TypeError: if `dtype` is not a floating type.

        ``to("cpu")`` changes nothing: that is where every model is.
        """
        if isinstance(dtype, str) and dtype == "cpu":
            return self
        try:
            dtype = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"to() takes a type such as 'float32', not {dtype!r}") from None
        if not is_float(dtype):
            raise TypeError(f"a model computes in a floating type, not {dtype}")
        for p in self.parameters():
            p.cast(dtype)
        for module in self.modules():
            for name, b in module._buffers.items():
                if b is not None and is_float(b.dtype):
                    setattr(module, name, b.astype(dtype))
        return self

    def float(self) -> Self:
        """Compute in float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Compute in float64."""
        return self.to(np.float64)

    # -- modes -------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout draws. `mode` False is `eval`."""
        other = [m for m in self.modules() if m.training is not bool(mode)]
        if other and state.recorder is not None:
            raise Postponed(f"the step sets the mode of {type(self).__name__}")
        for module in other:
            object.__setattr__(module, "training", bool(mode))
        if other:
            structure.changed()
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
            if state.recorder is not None:
                state.recorder.touch(p, resets=True)
            p._grad = None

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call f on this module and all below it, the inner ones first."""
        for child in self.children():
            child.apply(f)
        f(self)
        return self

    # -- hooks -------------------------------------------------------------------------------------

    def register_forward_hook(self, hook: Callable[..., Any]) -> Hook:
        """``hook(module, arguments, output)`` after each forward pass; its result is the output.

        None changes nothing. Returns a `Hook`, to take it off again.
        """
        return self._add_hook("after", hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Hook:
        """``hook(module, arguments)`` before each forward pass; its result is the arguments.

        None changes nothing. Returns a `Hook`, to take it off again.
        """
        return self._add_hook("before", hook)

    def _add_hook(self, kind: str, hook: Callable[..., Any]) -> Hook:
        handle = Hook(self._hooks)
        self._hooks[id(handle)] = (kind, hook, handle)
        structure.changed()
        return handle

    # -- files -------------------------------------------------------------------------------------

    def architecture(self) -> dict[str, Any]:
        """What to build to get a module like this one, without its values, as JSON can hold it.

        ``{"class": name, "args": [...], "kwargs": {...}}`` with the constructor's arguments;
        containers give the children they have now. `chainrule.nn.build` is the way back.

        Raises:
            TypeError: for an argument that is no number, string, bool, None, formula, module, or a
                list, tuple or dict of these; it names the class and the argument.

        >>> import chainrule as cr
        >>> cr.nn.Dense(3, 2, activation="relu").architecture()
        {'class': 'Dense', 'args': [3, 2], 'kwargs': {'activation': {'formula': 'relu'}}}
        """
        from chainrule.nn.registry import architecture

        return architecture(self)

    def _constructor(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that make another one like this."""
        return self._arguments

    # -- looks -------------------------------------------------------------------------------------

    def summary(self, input_shape: Any = None, dtype: Any = None) -> str:
        """A table of layers, output shapes and parameters; see `chainrule.diagnose.summary`."""
        room = importlib.import_module("chainrule.diagnose.summary")
        return room.summary(self, input_shape, dtype)  # type: ignore[no-any-return]

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
            if name not in ("_hooks", "_replayed"):
                object.__setattr__(new, name, copy.deepcopy(value, memo))
        return new


def not_a_module(value: Any) -> str:
    """What to say of a value that should be a module, and what to write instead."""
    if isinstance(value, type) and issubclass(value, Module):
        return f"is the class {value.__name__}, not a layer: write {value.__name__}(...)"
    if isinstance(value, Formula):
        return f"is a formula, not a module: write nn.Activation({value.name})"
    if isinstance(value, list | tuple):
        return f"is a {type(value).__name__}, not a module: unpack it with *"
    return f"is {type(value).__name__}, not a module: write a class with forward(self, x)"


def _as_buffer(value: Any) -> Any:
    return None if value is None else _as_array(value)


def _as_array(value: Any) -> Array:
    """An array, a tensor, or a tensor of PyTorch (of which NumPy lacks bfloat16) as an array."""
    if isinstance(value, Variable):
        return value._data  # type: ignore[no-any-return]
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        try:
            value = value.numpy()
        except TypeError:
            value = value.float().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a parameter or buffer holds numbers, not {array.dtype}")
    return array
