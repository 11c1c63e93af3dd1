"""`@formula`: one text in `xp` becomes a public function with its derivative, of every order.

A text is ``def silu(xp, x): return x * xp.sigmoid(x)``. Parameters after `xp` without a default are
arrays; those with a default are attributes: Python constants, part of the text, traced once per
value (an attribute given as an array or tensor becomes an input of its own).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array
from chainrule.array.dtypes import float_dtype, is_float
from chainrule.array.namespace import NUMPY
from chainrule.array.primitives import PRIMITIVES
from chainrule.autograd.context import state
from chainrule.autograd.tape import Op, Variable, _wrapped, record
from chainrule.compile.derivative import derive
from chainrule.compile.expression import SYMBOLS, Expr, Program, make, walk
from chainrule.compile.kernel import Kernel
from chainrule.compile.residuals import Plan, plan
from chainrule.compile.symbolic import Symbolic
from chainrule.compile.trace import trace

__all__ = ["FORMULAS", "Compiled", "Formula", "formula"]

P = ParamSpec("P")
#: Arrays that go to a kernel as they are, not those of a subclass.
_DIRECT = frozenset({np.ndarray, Symbolic})
_ARRAYS = (Variable, np.ndarray, np.generic, AbstractArray, Expr)

#: Every formula of the library by name, for tests, documentation and files.
FORMULAS: dict[str, Formula[Any]] = {}

# operations under which integers stay integers
_INTEGRAL = frozenset(
    {"input", "call", "size", "add", "subtract", "multiply", "negative", "abs", "sign", "floor"}
    | {"maximum", "minimum", "where", "sum", "max", "sum_to", "broadcast_to", "squeeze"}
    | {"expand_dims", "stop_gradient", "ones_like", "zeros_like", "one_hot"}
) | {name for name, row in PRIMITIVES.items() if row.kind == "test"}

# operations that read of their arguments (sum_to, broadcast_to: of the second) only the shape
_SHAPE_ONLY = frozenset({"sum_to", "broadcast_to", "size", "ones_like", "zeros_like"})


class Compiled(Op):
    """A program as an operation: run by a kernel, recorded as one node, its vjp derived."""

    second_order = "derived"

    recomputes = False  # the derivative of second order differentiates the program itself

    def __init__(self, program: Program, borrow: bool = False, own: bool = False) -> None:
        self.program = program
        self.own = own  # of a person's own formula: native code is built for it
        self.name = program.name
        self.kernel = Kernel(program, borrow, own=own)
        self.many = len(program.outputs) > 1
        self._derivatives: dict[tuple[bool, ...], tuple[Compiled, tuple[tuple[str, int], ...]]] = {}
        self._planned: dict[tuple[bool, ...], Planned | None] = {}
        self._smooth: tuple[bool, ...] | None = None
        self._all_smooth = False
        self._keeps: dict[tuple[bool, ...], tuple[list[bool], list[bool]]] = {}
        self._clean: set[Any] = set()  # combinations of operand types that need no cast
        order = walk(program.outputs)
        self.integral = all(
            e.op in _INTEGRAL and not any(type(a) is float and a != 0 for a in e.args)
            for e in order
        )
        self.view = any(map(_is_view, program.outputs))
        self.broadcasts = all(e.op not in ("expand_dims", "squeeze") for e in order)
        self.elementwise = self.broadcasts and not any("axis" in dict(e.attrs) for e in order)
        self.exact = tuple(_reads_exactly(x, order) for x in program.inputs)

    def __call__(self, *args: Any) -> Any:
        raw: list[Any] = []
        needed: list[bool] = []
        tensor = False
        for a in args:
            if isinstance(a, Variable):
                tensor = True
                needed.append(a.requires_grad)
                raw.append(a._data)
            else:
                needed.append(False)
                raw.append(a)
        if state.recorder is not None:
            raw = state.recorder.take(args, raw)
        kinds = tuple([(a.dtype, a.ndim > 0) if type(a) in _DIRECT else type(a) for a in raw])
        if kinds not in self._clean:
            cast = self._cast(args, raw)
            if cast is not None:
                return self(*cast)
            self._clean.add(kinds)
        if True in needed and state.enabled:
            tracked = self._tracked(args)
            if tracked is not None:
                needed = [n and t for n, t in zip(needed, tracked, strict=True)]
            planned = self.planned(tuple(needed))
            if planned is None:
                outputs = record(self, args, raw, self.kernel(*raw), (), {}, tracked)
            else:
                outputs, residuals = planned.run(raw)
                attrs = {"planned": planned}
                outputs = record(self, args, raw, outputs, residuals, attrs, tracked)
        else:
            outputs = self.kernel(*raw)
            if tensor:
                outputs = _wrapped(self, args, outputs, None)
        return outputs if self.many else outputs[0]

    def planned(self, needed: tuple[bool, ...]) -> Planned | None:
        """How to run forward and backward with residuals; None where keeping any saves nothing."""
        known = self._planned.get(needed, self)
        if known is self:
            found = plan(self.program, needed) if any(needed) and not self.kernel.borrow else None
            known = None if found is None else Planned(found, needed, self.own)
            self._planned[needed] = known
        return known  # type: ignore[return-value]

    def _tracked(self, args: Sequence[Any]) -> Sequence[bool] | None:
        """Which inputs a derivative can reach; None: all.

        A condition or an array read only for its shape has derivative zero, and following it
        would send zeros through all that computed it. Where nothing else is tracked a formula
        (``sign``) still records them, so that its gradient is zeros and not an error.
        """
        if self._all_smooth:
            return None
        mask = self._smooth
        if mask is None:
            derived, _ = self.derivative((True,) * len(args))
            outputs = derived.program.outputs
            mask = self._smooth = tuple([o.op != "zeros_like" for o in outputs])
        if all(mask):
            self._all_smooth = True
            return None
        if self.kernel.borrow:
            return mask
        for m, a in zip(mask, args, strict=True):
            if m and isinstance(a, Variable) and a.requires_grad:
                return mask
        return None

    def _cast(self, args: Sequence[Any], raw: list[Any]) -> list[Any] | None:
        """The operands in one floating type (see `chainrule.array.dtypes`); None: they are."""
        raw = [
            r if hasattr(r, "dtype") or isinstance(r, bool | int | float) else _from_list(r)
            for r in raw
        ]
        arrays = [r for r in raw if hasattr(r, "dtype")]
        some_float = any(is_float(r.dtype) for r in arrays) or any(type(r) is float for r in raw)
        integers = self.integral and not some_float and bool(arrays)
        counted = [
            r for r, exact in zip(raw, self.exact, strict=True) if not exact and hasattr(r, "dtype")
        ]
        dtype = float_dtype(counted or arrays)
        result: list[Any] = []
        for a, r, exact in zip(args, raw, self.exact, strict=True):
            if not hasattr(r, "dtype"):
                result.append(r if integers or exact or type(r) is bool else float(r))
            elif integers or exact or r.dtype == dtype or (r.dtype.kind == "b" and r.ndim):
                result.append(a if isinstance(a, Variable) else as_array(r))
            elif isinstance(a, Variable):
                result.append(a.astype(dtype))  # type: ignore[attr-defined]
            else:
                result.append(as_array(r, dtype))
        if not arrays:  # nothing but numbers: compute in the default type
            result[0] = np.asarray(result[0], dtype)
        same = all(
            (a is b and hasattr(b, "dtype")) or (type(a) is type(b) and not hasattr(b, "dtype"))
            for a, b in zip(args, result, strict=True)
        )
        return None if same else result

    def derivative(self, needed: tuple[bool, ...]) -> tuple[Compiled, tuple[tuple[str, int], ...]]:
        """The derived vjp for these inputs, and where its arguments come from."""
        found = self._derivatives.get(needed)
        if found is None:
            d = derive(self.program, needed)
            found = self._derivatives[needed] = (
                Compiled(d.program, True, self.own),
                d.sources,
            )
        return found

    def reads(self, needed: tuple[bool, ...]) -> frozenset[tuple[str, int]]:
        """Those sources of the derivative of which the values are read, not only the shape."""
        derived, sources = self.derivative(needed)
        outputs = derived.program.outputs
        read = {a for e in walk(outputs) for a in e.args if e.op not in _SHAPE_ONLY} | set(outputs)
        read |= {e.args[0] for e in walk(outputs) if e.op in ("sum_to", "broadcast_to")}
        return frozenset(
            s for s, x in zip(sources, derived.program.inputs, strict=True) if x in read
        )

    def keeps(self, needed: tuple[bool, ...], attrs: dict[str, Any]) -> Any:
        found = self._keeps.get(needed)
        if found is None:
            sources = self.derivative(needed)[1]
            found = self._keeps[needed] = (
                [("x", k) in sources for k in range(len(self.program.inputs))],
                [("y", k) in sources for k in range(len(self.program.outputs))],
            )
        return found

    def forward(self, xp: Any, *inputs: Any, **attrs: Any) -> Any:
        outputs = self(*inputs)
        return (outputs if self.many else (outputs,)), ()

    def vjp(
        self,
        xp: Any,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        planned: Planned | None = None,
        **attrs: Any,
    ) -> Sequence[Any]:
        if planned is not None and xp is NUMPY:
            return planned.pull(inputs, outputs, residuals, cotangents, needed)
        derived, sources = self.derivative(tuple(needed))
        by = {"x": inputs, "y": outputs, "g": cotangents}
        args = [by[role][k] for role, k in sources]
        if xp is NUMPY:
            results: Any = derived.kernel(*args)
        else:
            results = derived(*args)
            results = results if derived.many else (results,)
        if len(results) == len(needed):
            return results  # type: ignore[no-any-return]
        pulled = iter(results)
        return [next(pulled) if n else None for n in needed]

    def per_sample(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        parameters: Sequence[bool],
        **attrs: Any,
    ) -> Sequence[Any]:
        """A parameter is copied along the batch, so that its cotangent is not summed over it."""
        g = cotangents[0]
        wide = list(inputs)
        for k, a in enumerate(inputs):
            if parameters[k]:
                lead = -1 if a is None else g.ndim - a.ndim
                if lead < 0 or not g.ndim or (lead == 0 and a.shape[0] != 1):
                    raise NotImplementedError(
                        f"{self.name} has no gradient per sample for a parameter that does not "
                        "broadcast along the samples"
                    )
                shape = (1,) * lead + a.shape
                wide[k] = np.broadcast_to(a.reshape(shape), (g.shape[0], *shape[1:]))
        results = self.vjp(NUMPY, wide, outputs, residuals, cotangents, needed)
        return [
            r.reshape(g.shape[0], *inputs[k].shape) if parameters[k] else r
            for k, r in enumerate(results)
        ]

    def vjp_of_each(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        **attrs: Any,
    ) -> Sequence[Any]:
        """Element-wise texts take the new axis as one more that their arguments broadcast along."""
        known = [a for a, n in zip(inputs, needed, strict=True) if n]
        if self.elementwise and len(cotangents) == 1 and not any(a is None for a in known):
            return self.per_sample(inputs, outputs, residuals, cotangents, needed, needed)
        if self.elementwise and len(cotangents) == len(inputs) == 1:  # shaped as the output
            return self.vjp(NUMPY, inputs, outputs, residuals, cotangents, needed)
        return super().vjp_of_each(inputs, outputs, residuals, cotangents, needed, **attrs)


def _is_view(e: Any) -> bool:
    passing = ("squeeze", "expand_dims", "broadcast_to", "call", "stop_gradient")
    while isinstance(e, Expr) and e.op in passing:
        e = e.args[0]
    return isinstance(e, Expr) and e.op == "input"


def _from_list(values: Any) -> Any:
    a = np.asarray(values)
    return a.astype(np.float32) if a.dtype == np.float64 else a


def _reads_exactly(x: Expr, order: list[Expr]) -> bool:
    """Whether an input is only a label, a condition or a shape, and so keeps its own type."""
    uses = [
        (e, k)
        for e in order
        if e.op not in ("input", "call")
        for k, a in enumerate(e.args)
        if a is x
    ]
    return bool(uses) and all(
        (e.op == "one_hot" and k == 0)
        or (e.op == "where" and k == 0)
        or e.op.startswith("logical")
        or (e.op in ("sum_to", "broadcast_to") and k == 1)
        or e.op == "size"
        for e, k in uses
    )


class Planned:
    """A program run forward with residuals, and backward from them, on raw arrays."""

    __slots__ = ("_backward", "_count", "_every", "_forward", "_sources", "needed", "reads")

    def __init__(self, p: Plan, needed: tuple[bool, ...], own: bool = False) -> None:
        self.needed = needed
        self._forward = Kernel(p.forward, own=own)
        self._backward = Kernel(p.backward, borrow=True, own=own)
        self._sources = p.sources
        self._count = len(p.forward.outputs) - p.residuals
        self._every = all(needed)
        self.reads = frozenset(p.sources)

    def run(self, raw: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(outputs, residuals)."""
        everything = self._forward(*raw)
        return everything[: self._count], everything[self._count :]

    def pull(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
    ) -> Sequence[Any]:
        """The cotangents of the inputs the plan was made for; the others are None."""
        by = {"x": inputs, "y": outputs, "r": residuals, "g": cotangents}
        pulled = self._backward(*[by[role][k] for role, k in self._sources])
        if self._every:
            found: Sequence[Any] = pulled
        else:
            values = iter(pulled)
            found = [next(values) if n else None for n in self.needed]
        if needed == self.needed:
            return found
        return [f if n else None for f, n in zip(found, needed, strict=True)]


class Formula(Generic[P]):
    """A text and everything that follows from it. Call it with arrays or tensors.

    All arrays in gives an array; any tensor gives a tensor with a gradient.
    """

    def __init__(self, text: Callable[..., Any], name: str | None = None) -> None:
        self.text = text
        self.name = name or text.__name__.lstrip("_")
        self.own = not str(text.__module__).startswith("chainrule.")
        signature = inspect.signature(text)
        parameters = list(signature.parameters.values())[1:]
        for p in parameters:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(f"formula {self.name}: name every argument (no *args, no **kwargs)")
        self.parameters = {p.name: p for p in parameters}
        self.arrays = tuple(p.name for p in parameters if p.default is p.empty)
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self._vjp: Callable[..., Any] | None = None
        self.saves = ""
        self._compiled: dict[Any, Compiled] = {}
        self._plain: Compiled | None = None
        functools.update_wrapper(self, text)
        self.__signature__ = signature.replace(parameters=parameters)

    def __repr__(self) -> str:
        return f"<formula {self.name}{self.__signature__}>"

    def __reduce__(self) -> Any:
        return (_find, (self.name,)) if FORMULAS.get(self.name) is self else object.__reduce__(self)

    def __deepcopy__(self, memo: Any) -> Formula[P]:
        return self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        if args and type(args[0]) is Expr:  # a text that calls a text
            inputs, attrs = self.bind(*args, **kwargs)
            return self.symbolic(**inputs, **attrs)
        if not kwargs and len(args) == len(self.arrays):
            if self._plain is None:
                self._plain = self.compiled()
            return self._plain(*args)
        inputs, attrs = self.bind(*args, **kwargs)
        return self.compiled(tuple(inputs), **attrs)(*inputs.values())

    def bind(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split arguments into arrays and attributes."""
        if len(args) > len(self.parameters):
            raise TypeError(
                f"{self.name}() takes {len(self.parameters)} arguments, {len(args)} were given"
            )
        given = dict(zip(self.parameters, args, strict=False))
        for k, v in kwargs.items():
            if k not in self.parameters or k in given:
                what = "twice" if k in given else "but has no such argument"
                raise TypeError(f"{self.name}() got {k!r} {what}; it takes {self.__signature__}")
            given[k] = v
        inputs: dict[str, Any] = {}
        attrs: dict[str, Any] = {}
        for name in self.parameters:
            if name in given:
                value = given[name]
                if isinstance(value, np.integer | np.bool_):  # an axis or a flag, not a number
                    value = value.item()
                if name in self.defaults and not isinstance(value, _ARRAYS):
                    attrs[name] = tuple(value) if isinstance(value, list) else value
                else:
                    inputs[name] = value
            elif name in self.defaults:
                attrs[name] = self.defaults[name]
            else:
                raise TypeError(f"{self.name}() needs {name!r}; it takes {self.__signature__}")
        return inputs, attrs

    def compiled(self, inputs: tuple[str, ...] | None = None, **attrs: Any) -> Compiled:
        """The operation for these array arguments and attribute values, traced at first use."""
        if inputs is None:
            inputs, attrs = self.arrays, {**self.defaults, **attrs}
        key = (inputs, tuple([(k, type(v), v) for k, v in attrs.items()]))
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= 256:  # an attribute that takes ever new values
                self._compiled.clear()
            found = self._compiled[key] = Compiled(self.trace(inputs, **attrs), own=self.own)
        return found

    def trace(self, inputs: tuple[str, ...] | None = None, **attrs: Any) -> Program:
        """The program of this text; its own override, where it has one, is used in derivatives."""
        inputs = self.arrays if inputs is None else inputs
        attrs = {**{k: v for k, v in self.defaults.items() if k not in inputs}, **attrs}

        def text(xp: Any, *symbols: Any, **constants: Any) -> Any:
            return self.symbolic(**dict(zip(inputs, symbols, strict=True)), **constants)

        return trace(text, inputs, self.name, **attrs)

    def symbolic(self, **arguments: Any) -> Any:
        """The text on symbols: inlined, and marked with this formula when it has an override."""
        value = self.text(SYMBOLS, **arguments)
        if self._vjp is None or isinstance(value, tuple) or not isinstance(value, Expr):
            return value
        if not all(isinstance(arguments[k], Expr) for k in self.arrays) or any(
            isinstance(v, Expr) for k, v in arguments.items() if k in self.defaults
        ):
            return value
        bound = _Bound(self, {k: v for k, v in arguments.items() if k in self.defaults})
        return make("call", (value, *(arguments[k] for k in self.arrays)), (("formula", bound),))

    def underived(self, **attrs: Any) -> Compiled:
        """The same text with its derivative derived, without this formula's override: for
        proofs."""
        attrs = {**self.defaults, **attrs}
        return Compiled(trace(self.text, self.arrays, self.name, **attrs), own=self.own)

    def plain(self, *arrays: Any, **attrs: Any) -> Any:
        """The text run by plain NumPy, one call per operation."""
        return self.text(NUMPY, *arrays, **attrs)

    def override(self, saves: str = "x") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Give a better-conditioned derivative: ``vjp(xp, inputs, y, g, **attributes)``.

        `saves` says what it reads: ``"x"`` the inputs, ``"y"`` the output, ``"xy"`` both. It is a
        text in `xp` like any other, and `tests` prove it equal to the derived one.

        >>> import chainrule as cr
        >>> @cr.formula
        ... def my_tanh(xp, x):
        ...     return xp.tanh(x)
        >>> @my_tanh.override(saves="y")
        ... def my_tanh_vjp(xp, inputs, y, g):
        ...     return g * ((1 + y) * (1 - y))
        """
        if saves not in ("x", "y", "xy"):
            raise ValueError(f"saves must be 'x', 'y' or 'xy', not {saves!r}")

        def install(vjp: Callable[..., Any]) -> Callable[..., Any]:
            self._vjp, self.saves = vjp, saves
            self._compiled.clear()
            self._plain = None
            return vjp

        return install


class _Bound:
    """A formula with its attributes, as the derivative meets it in a trace."""

    __slots__ = ("attrs", "formula")

    def __init__(self, formula: Formula[Any], attrs: dict[str, Any]) -> None:
        self.formula, self.attrs = formula, attrs

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Bound)
            and other.formula is self.formula
            and list(other.attrs.items()) == list(self.attrs.items())
        )

    def __hash__(self) -> int:
        return hash((id(self.formula), tuple(self.attrs.items())))

    def __repr__(self) -> str:
        return self.formula.name

    def override_vjp(self, args: tuple[Any, ...], y: Any, g: Any) -> tuple[Any, ...]:
        f = self.formula
        assert f._vjp is not None
        inputs = args if "x" in f.saves else (None,) * len(args)
        result = f._vjp(SYMBOLS, inputs, y if "y" in f.saves else None, g, **self.attrs)
        return result if isinstance(result, tuple) else (result,)


def _find(name: str) -> Formula[Any]:
    return FORMULAS[name]


def formula(text: Callable[Concatenate[Any, P], Any]) -> Formula[P]:
    """Make a function of arrays and tensors from one line of mathematics.

    Its backward step multiplies its own slope with what comes from above: ``∂𝓛/∂z = ∂𝓛/∂a ⊙ f'(z)``
    for an element-wise text, ``Jᵀ ∂𝓛/∂a`` for any (ledger A-20; erratum E000-17).

    Arguments:
        text: a pure function whose first argument is the namespace `xp` (see
            `chainrule.array.primitives` for what it knows). Arguments without a default are arrays,
            arguments with one are Python constants. No branches on values, no in-place writes.

    Returns:
        A function that takes NumPy arrays (and gives one) or tensors (and gives one with a
        gradient), with a derived derivative of every order.

    Raises:
        TypeError: at first use, if the text cannot be traced; the message says what to write
            instead.

    >>> import chainrule as cr
    >>> @cr.formula
    ... def snake(xp, x, a=1.0):
    ...     return x + xp.sin(a * x) ** 2 / a
    >>> snake(np.array([0.0, 1.0]))
    array([0.        , 1.70807342])
    >>> cr.check_gradients(snake, np.array([0.3, -1.2]))
    True
    """
    return Formula(text)
