"""`Optimizer`: groups of parameters, their options, and one update text over flat vectors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.context import enable_grad, state
from chainrule.autograd.tape import Variable
from chainrule.compile.kernel import Kernel
from chainrule.compile.symbolic import Postponed
from chainrule.compile.trace import trace
from chainrule.optim.flat import Flat

__all__ = ["Optimizer", "Rule"]

Group = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Rule:
    """An update: a text ``(xp, p, g, *state, *scalars) -> (p, *state)`` in the namespace `xp`.

    Arguments:
        text: the equation. All arrays are vectors of one length; the scalars are 0-d, because
            they may change at every step.
        states: the names of the arguments after ``g`` that are kept from step to step (zero at
            first).

    >>> import chainrule as cr
    >>> def sign_descent(xp, p, g, lr):
    ...     return p - lr * xp.sign(g)
    >>> cr.optim.Rule(sign_descent).states
    ()
    """

    text: Callable[..., Any]
    states: tuple[str, ...] = ()

    def update(self, maximize: bool, decay: str | None) -> Update:
        """The compiled update, with the parts every optimizer shares around the text."""
        return _compiled(self, maximize, decay)


@dataclass(frozen=True, eq=False)
class Update:
    """A rule made runnable."""

    kernel: Kernel
    states: tuple[str, ...]
    scalars: int


@functools.cache
def _compiled(rule: Rule, maximize: bool, decay: str | None) -> Update:
    names = [*inspect.signature(rule.text).parameters][1:]

    def update(xp: Any, p: Any, g: Any, *rest: Any) -> Any:
        if maximize:
            g = -g
        if decay is None:
            return rule.text(xp, p, g, *rest)
        *rest_of_rule, amount = rest
        if decay == "l2":  # the gradient of weight_decay/2 ‖p‖²
            g = g + amount * p
        else:  # decoupled: amount is 1 - lr * weight_decay
            p = p * amount
        return rule.text(xp, p, g, *rest_of_rule)

    if decay is not None:
        names.append("weight_decay" if decay == "l2" else "shrink")
    program = trace(update, names, rule.text.__name__)
    into = {0: 0, **{k + 1: k + 2 for k in range(len(rule.states))}}
    return Update(Kernel(program, into=into), rule.states, len(names) - 2 - len(rule.states))


class Optimizer:
    """The base of all optimizers: ``loss.backward(); optimizer.step(); optimizer.zero_grad()``.

    Arguments:
        params: parameters, ``(name, parameter)`` pairs, or groups ``{"params": [...], "lr": ...}``
            whose options override the defaults. A parameter that comes twice in a group (tied
            weights) counts once. None makes an optimizer without parameters, a configuration that
            `bind` (and so the Trainer) completes.
        defaults: the options with their defaults for all groups.

    Attributes:
        param_groups: a list of dictionaries; ``lr`` and all other options may be changed at any
            time and hold from the next step on.
        defaults: the options as given.

    What is kept for each parameter (ledger O-18) has the names of its `Rule`: ``m`` and ``v`` for
    Adam, ``buffer`` for momentum; see `state_dict`.

    Parameters are gathered into one vector per group and dtype (`Flat`), and the update is one
    kernel over each vector. As in PyTorch, a parameter whose gradient is None is skipped: value,
    state and step count stay. A frozen one (``requires_grad`` False) is skipped even if a gradient
    is left over. Loading a state, converting the model, deepcopy and replaced layers are noticed
    at the next step, and state is kept. Two optimizers on the same parameters give the right
    result; the vector then changes hands at every step, which costs a copy.

    An optimizer of your own names its options in ``defaults``, gives a `Rule` and the rule's
    scalars:

    >>> import chainrule as cr
    >>> from chainrule.optim import Optimizer, Rule
    >>> def sign_descent(xp, p, g, lr):
    ...     return p - lr * xp.sign(g)
    >>> class SignDescent(Optimizer):
    ...     sign = Rule(sign_descent)
    ...
    ...     def __init__(self, params=None, lr=0.1, weight_decay=0.0):
    ...         super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
    ...
    ...     def rule(self, group):
    ...         return self.sign
    ...
    ...     def scalars(self, group, t):
    ...         return (group["lr"],)
    >>> w = cr.nn.Parameter([1.0, -2.0])
    >>> optimizer = SignDescent([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    parameter([ 0.5, -1.5])

    Raises:
        ValueError: for options out of range, no parameters, a parameter in two groups.
        TypeError: for what is not a parameter, or an unknown option (with the nearest known one).
    """

    #: Weight decay shrinks the parameter itself, instead of adding to the gradient; an option
    #: ``decoupled_weight_decay`` of a group goes before.
    decoupled: ClassVar[bool] = False
    #: Options that are one of a few names (or None), not numbers: option -> the names.
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        self.defaults: dict[str, Any] = self._checked(dict(defaults))
        self.param_groups: list[Group] = []
        self._flats: list[tuple[Group, Flat]] = []
        self._frozen: list[Any] = []
        #: id of a parameter outside the vectors -> its step count and state
        self._parked: dict[int, tuple[int, dict[str, Array]]] = {}
        if params is None:
            return
        for group in _groups(params):
            self._add(group)
        self._gather()

    # -- what an optimizer defines ----------------------------------------------------------------

    def rule(self, group: Group) -> Rule:
        """The update of a group, by its options."""
        raise NotImplementedError(f"{type(self).__name__} must define rule(group)")

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        """The scalars of the rule at update number t = 1, 2, …"""
        raise NotImplementedError(f"{type(self).__name__} must define scalars(group, t)")

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range; a subclass adds its own."""

    # -- groups -----------------------------------------------------------------------------------

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Train more parameters, such as those of a replaced layer, with options of their own."""
        self._add(group)
        self._gather()

    def bind(self, params: Any) -> Self:
        """A new optimizer of this kind with these options, for `params`."""
        return type(self)(params, **self.defaults)

    def _add(self, group: Mapping[str, Any]) -> None:
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError("a group is a dictionary with the key 'params', and options")
        given = {k: v for k, v in group.items() if k != "params"}
        for name in given:
            if name not in self.defaults and name != "name":
                raise TypeError(
                    f"{type(self).__name__} has no option {name!r}; {nearest(name, self.defaults)}"
                )
        params, names = _parameters(group["params"])
        taken = {id(p) for p in self._all()}
        for p in params:
            if id(p) in taken:
                raise ValueError(
                    f"a parameter of shape {p.shape} is in two groups of {type(self).__name__}; "
                    "it would be updated twice. Leave it in one"
                )
        options = {k: v for k, v in given.items() if k != "name"}
        new = {"params": params, **given, **self._checked({**self.defaults, **options})}
        if names:
            new["param_names"] = names
        self.param_groups.append(new)

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options, numbers as Python floats (so that they can be saved), or an error."""
        kind = type(self).__name__
        for name, value in options.items():
            if name in self.choices:
                if value not in self.choices[name]:
                    known = [str(c) for c in self.choices[name]]
                    raise ValueError(f"{kind}: no {name} {value!r}; {nearest(str(value), known)}")
            elif isinstance(value, bool | np.bool_):
                options[name] = bool(value)
            elif isinstance(value, Real):
                options[name] = float(value)
            elif isinstance(value, tuple | list) and all(isinstance(v, Real) for v in value):
                options[name] = tuple(float(v) for v in value)
            else:
                raise TypeError(f"{kind}: {name} must be a number, got {value!r}")
        for name in ("lr", "weight_decay", "eps"):
            if name in options and not 0 <= options[name] < float("inf"):
                raise ValueError(f"{kind}: {name} must be 0 or more, got {options[name]}")
        self.check(options)
        return options

    def _all(self) -> Iterator[Any]:
        """Every parameter, in the order of the groups: the numbers in a saved state."""
        return (p for group in self.param_groups for p in group["params"])

    # -- stepping ---------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Arguments:
            closure: if given, runs first, and its result (the loss) is returned.
        """
        if not self.param_groups:
            raise RuntimeError(
                f"this {type(self).__name__} has no parameters yet; "
                "use optimizer.bind(model.parameters()) or add_param_group"
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        ready = [flat.ready() for _, flat in self._flats]
        if False in ready or (self._frozen and any(p.requires_grad for p in self._frozen)):
            self._settle()
            ready = [False] * len(self._flats)
        for (group, flat), whole in zip(self._flats, ready, strict=True):
            steps = flat.steps
            if whole and steps.count(steps[0]) == len(steps):
                self._advance(group, flat, 0, len(steps))
            else:
                for first, last in flat.runs():
                    self._advance(group, flat, first, last)
        return loss

    def _advance(self, group: Group, flat: Flat, first: int, last: int) -> None:
        update = self._update(group)
        operands = flat.operands(update, update.states, update.scalars, first, last)
        if state.recorder is not None:
            self._record(update, group, flat, first, last, operands)
            return
        flat.scalars[:] = self._scalars(group, flat.steps[first] + 1)
        update.kernel.quietly(*operands)
        self._count(update, flat, first, last)
        for p in flat.params[first:last]:
            p._version += 1

    def _update(self, group: Group) -> Update:
        """The compiled update of a group, by its options."""
        decay = None
        if group.get("weight_decay"):
            decay = "decoupled" if self._decoupled(group) else "l2"
        return self.rule(group).update(bool(group.get("maximize")), decay)

    def _scalars(self, group: Group, t: int) -> tuple[float, ...]:
        """The numbers of update number t, which the kernel reads from memory."""
        scalars = self.scalars(group, t)
        if group.get("weight_decay"):
            amount: float = group["weight_decay"]
            scalars += (1 - group["lr"] * amount if self._decoupled(group) else amount,)
        return scalars

    def _decoupled(self, group: Group) -> bool:
        return bool(group.get("decoupled_weight_decay", self.decoupled))

    @staticmethod
    def _count(update: Update, flat: Flat, first: int, last: int) -> None:
        if update.states:
            flat.steps[first:last] = [flat.steps[first] + 1] * (last - first)

    def _record(
        self, update: Update, group: Group, flat: Flat, first: int, last: int, operands: Any
    ) -> None:
        """Note an update of a captured step: the kernel, and what Python does at each replay.

        Each update of a step has scalars of its own: all are set before any of them runs.
        """
        recorder = state.recorder
        numbers = np.empty(update.scalars, flat.dtype)
        ahead = flat.steps[first] - recorder.counts_before(flat)[first] + 1

        def prepare() -> bool:
            if self._update(group) is not update:
                return False
            steps = flat.steps[first:last]
            if steps.count(steps[0]) < len(steps):  # another step updated some of them
                return False
            numbers[:] = self._scalars(group, flat.steps[first] + ahead)
            return True

        vectors = operands[: len(operands) - update.scalars]
        places = [numbers[i : i + 1].reshape(()) for i in range(update.scalars)]
        recorder.kernel(update.kernel, [*vectors, *places])
        recorder.hosts.append((prepare, lambda: self._count(update, flat, first, last)))
        self._count(update, flat, first, last)  # until the step is recorded
        for p in flat.params[first:last]:
            recorder.touch(p, reads=True)
            p._version += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with `set_to_none` False they become zero, and momentum goes on."""
        for p in self._all():
            if state.recorder is not None:
                state.recorder.touch(p, resets=set_to_none)
            if set_to_none or p._grad is None:
                p._grad = None
            elif state.recorder is not None:
                state.recorder.zero(p)
            elif p._grad is p._slot:
                p._grad[...] = 0
            else:
                p._grad = np.zeros_like(p._data)

    # -- gathering --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Make the vectors hold again, keeping them where they still fit."""
        anew = any(p.requires_grad for p in self._frozen) or any(
            flat.outdated() for _, flat in self._flats
        )
        if state.recorder is not None and (anew or any(f.left() for _, f in self._flats)):
            raise Postponed(f"{type(self).__name__} gathers its parameters anew")
        if anew:
            self._gather()
        for _, flat in self._flats:
            flat.seat()

    def _gather(self) -> None:
        """New vectors for what is trained now, with the state of before."""
        kept = self._kept()
        for _, flat in self._flats:
            flat.release()
        self._flats, self._frozen = [], []
        for group in self.param_groups:
            by_dtype: dict[Any, list[Any]] = {}
            for p in group["params"]:
                (
                    by_dtype.setdefault(p._data.dtype, []) if p.requires_grad else self._frozen
                ).append(p)
            for params in by_dtype.values():
                flat = Flat(params)
                for k, p in enumerate(params):
                    flat.restore(k, *kept.pop(id(p), (0, {})))
                self._flats.append((group, flat))
        self._parked = {k: (t, {n: a.copy() for n, a in s.items()}) for k, (t, s) in kept.items()}

    def _kept(self) -> dict[int, tuple[int, dict[str, Array]]]:
        """Step count and state (views) of every parameter that has made a step."""
        kept = dict(self._parked)
        for _, flat in self._flats:
            for k, p in enumerate(flat.params):
                if flat.steps[k]:
                    kept[id(p)] = flat.kept(k)
        return kept

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit.

        Returns:
            ``{"param_groups": [options and "params": numbers], "steps": [per parameter],
            "state": {"0.m": array, …}}``. Everything but the arrays under ``"state"`` can be
            written as JSON. Parameters are numbered in the order of the groups; the arrays are
            copies in the parameter's shape and dtype.
        """
        kept = self._kept()
        groups, start = [], 0
        for group in self.param_groups:
            count = len(group["params"])
            plain = {k: _plain(v) for k, v in group.items() if k != "params"}
            groups.append({**plain, "params": list(range(start, start + count))})
            start += count
        params = list(self._all())
        return {
            "param_groups": groups,
            "steps": [kept[id(p)][0] if id(p) in kept else 0 for p in params],
            "state": {
                f"{k}.{name}": np.array(value)
                for k, p in enumerate(params)
                if id(p) in kept
                for name, value in kept[id(p)][1].items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, options included. Nothing changes unless everything
        fits.

        Raises:
            ValueError: if it is the state of another optimizer or of other groups.
            ShapeError: if an array has not its parameter's shape.
        """
        kind, params = type(self).__name__, list(self._all())
        missing = {"param_groups", "steps", "state"} - set(state)
        if missing:
            raise ValueError(
                f"this is no state of an optimizer: {', '.join(sorted(missing))} missing"
            )
        saved = [{**group} for group in state["param_groups"]]
        counts = [len(group.pop("params")) for group in saved]
        own = [len(group["params"]) for group in self.param_groups]
        if counts != own or len(state["steps"]) != len(params):
            raise ValueError(
                f"the state has groups of {counts} parameters, this {kind} of {own}; "
                "build the optimizer as it was built when the state was saved"
            )
        for group in saved:
            absent = [name for name in self.defaults if name not in group]
            if absent:
                raise ValueError(
                    f"the state has no {', '.join(absent)}; it is of another optimizer than {kind}"
                )
            group.update(self._checked({name: group[name] for name in self.defaults}))
        arrays: dict[str, dict[str, Array]] = {}
        for name, value in state["state"].items():
            number, _, part = name.partition(".")
            arrays.setdefault(number, {})[part] = np.asarray(value)
        options = [group for group, count in zip(saved, counts, strict=True) for _ in range(count)]
        loaded: dict[int, tuple[int, dict[str, Array]]] = {}
        for k, (p, group, steps) in enumerate(zip(params, options, state["steps"], strict=True)):
            values = arrays.pop(str(k), {})
            for name in self.rule(group).states if steps else ():
                if name not in values:
                    raise ValueError(
                        f"the state lacks {k}.{name}, which {kind} keeps per parameter"
                    )
            for name, a in values.items():
                if a.shape != p.shape:
                    raise ShapeError(
                        f"{k}.{name} has shape {a.shape} in the state; its parameter has {p.shape}"
                    )
            if steps:
                loaded[id(p)] = int(steps), values
        if arrays:
            raise ValueError(
                f"the state has arrays of parameter {next(iter(arrays))}; this {kind} has "
                f"{len(params)}, numbered from 0"
            )
        for mine, group in zip(self.param_groups, saved, strict=True):
            mine.update(group)
        self._flats, self._parked = [], loaded
        self._gather()

    def __getstate__(self) -> dict[str, Any]:
        # copies have parameters of their own, so state goes by number, not by identity
        kept = self._kept()
        plain = {k: v for k, v in self.__dict__.items() if k not in ("_flats", "_frozen")}
        return {**plain, "_parked": [kept.get(id(p)) for p in self._all()]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        kept = zip(self._all(), state["_parked"], strict=True)
        self._flats, self._frozen = [], []
        self._parked = {id(p): k for p, k in kept if k is not None}
        self._gather()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for group in self.param_groups or [{**self.defaults, "params": []}]:
            options = ", ".join(f"{k}={group[k]!r}" for k in self.defaults)
            lines.append(f"  {len(group['params'])} parameters: {options}")
        return "\n".join([*lines, ")"])


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def _groups(params: Any) -> Iterable[Mapping[str, Any]]:
    """The groups in any of the accepted forms."""
    if isinstance(params, Variable):
        raise TypeError("an optimizer takes a list of parameters, not one parameter: write [p]")
    if hasattr(params, "parameters"):
        raise TypeError("an optimizer takes parameters, not a module: write model.parameters()")
    items = list(params)
    if not items:
        raise ValueError("an optimizer got no parameters (a generator gives them only once)")
    return items if isinstance(items[0], Mapping) else [{"params": items}]


def _parameters(items: Any) -> tuple[list[Any], list[str]]:
    """Distinct parameters, and their names where given."""
    found: dict[int, Any] = {}
    names: dict[int, str] = {}
    for item in [items] if isinstance(items, Variable) else items:
        name, p = item if isinstance(item, tuple) else (None, item)
        if not isinstance(p, Variable) or p._parameter() is not p:
            raise TypeError(
                f"an optimizer updates parameters, not {type(p).__name__}; "
                "wrap it: cr.nn.Parameter(values)"
            )
        found.setdefault(id(p), p)
        if name is not None:
            names.setdefault(id(p), name)
    return list(found.values()), list(names.values())
