"""`Program`: a captured step for one signature, with what must still hold for it to be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.array.random import Stream, default_stream, use_stream
from chainrule.autograd.context import state, structure
from chainrule.autograd.tape import Variable
from chainrule.autograd.watch import CACHES, Kept, Watch
from chainrule.compile.recorder import Recorder
from chainrule.compile.replay import Replay, replay
from chainrule.compile.show import show_c, show_numpy
from chainrule.compile.symbolic import Symbolic, capture_error

__all__ = ["Program", "StepRecorder", "no_draws", "tree"]

_PLAIN = (int, float, complex, str, bytes, type(None), np.generic, np.dtype)


class StepRecorder(Recorder):
    """A recorder that also knows of parameters, modules and random streams."""

    def __init__(self) -> None:
        super().__init__()
        #: id -> (leaf, its array, gradient, version, whether it is trained), as they were
        self.leaves: dict[int, tuple[Any, Any, Any, int, bool]] = {}
        #: ids of leaves whose gradient the step forgets before it reads it
        self.reset: set[int] = set()
        #: ids of leaves whose gradient of before the step reads
        self.read_before: set[int] = set()
        self.modules: dict[int, Any] = {}
        #: id of an optimizer's vector -> the vector, and its step counts as they were
        self.counts: dict[int, tuple[Any, list[int]]] = {}
        #: attributes of the modules that computed, as they were
        self.kept = Kept()

    def enter(self, module: Any) -> None:
        """A module begins to compute: remember its attributes."""
        self.kept.keep(vars(module))

    def take(self, args: Sequence[Any], raw: Sequence[Any]) -> list[Any]:
        """The arrays of an operation's arguments, symbolic all of them."""
        frame = state.frame
        while frame is not None:
            self.modules.setdefault(id(frame.module), frame.module)
            frame = frame.parent
        for a in args:
            if isinstance(a, Variable) and a._node is None:
                self.touch(a)
        return [self.of(r) for r in raw]

    def touch(self, leaf: Any, reads: bool = False, resets: bool = False) -> None:
        """Remember a leaf as it was before the step changed it.

        `reads`: its gradient is read now; `resets`: it is forgotten.
        """
        if resets and id(leaf) not in self.read_before:
            self.reset.add(id(leaf))
        if reads and id(leaf) not in self.reset:
            self.read_before.add(id(leaf))
        if id(leaf) not in self.leaves and not isinstance(leaf._data, AbstractArray):
            known = (leaf, leaf._data, leaf._grad, leaf._version, leaf.requires_grad)
            self.leaves[id(leaf)] = known

    def bernoulli(self, path: str, shape: Any, p: float) -> Any:  # type: ignore[override]
        """A mask from the current stream; each replay draws the next one."""

        def draw() -> Any:
            return default_stream().bernoulli(path, shape, p)

        return super().bernoulli(draw, shape, p, path)

    def uniform(  # type: ignore[override]
        self, path: str, shape: Any, dtype: Any, low: float, high: float
    ) -> Any:
        """Uniform numbers from the current stream, anew at each replay."""

        def uniform(step: int | None = None) -> Any:
            return default_stream().uniform(path, shape, dtype, low, high, step=step)

        return super().uniform(uniform, shape, dtype, path)

    def zero(self, leaf: Any) -> None:
        """The gradient of a leaf becomes zero in its place."""
        self.put(leaf._grad, self.constant(0, leaf._data.shape, leaf._data.dtype))

    def counts_before(self, flat: Any) -> list[int]:
        """The step counts of an optimizer's vector when the step began."""
        return self.counts.setdefault(id(flat), (flat, list(flat.steps)))[1]

    def restore(self) -> None:
        """Leaves, step counts and attributes of modules as they were."""
        self.kept.restore()
        for flat, steps in self.counts.values():
            flat.steps[:] = steps
        for leaf, data, grad, version, _ in self.leaves.values():
            leaf._data, leaf._grad = data, grad
            if leaf._version != version:  # only parameters count versions
                leaf._version = version


@dataclass
class _Module:
    """What a captured step knew of a module."""

    module: Any
    seen: dict[str, Any]

    @classmethod
    def of(cls, module: Any) -> _Module:
        return cls(module, {k: v for k, v in module.__dict__.items() if k not in CACHES})

    def same(self) -> bool:
        now = self.module.__dict__
        return (
            not self.module._hooks
            and sum(k not in CACHES for k in now) == len(self.seen)
            and all(k in now and now[k] is v for k, v in self.seen.items())
        )


class Program:
    """A captured step for one signature."""

    def __init__(
        self,
        recorder: StepRecorder,
        positions: Sequence[tuple[int, bool]],
        static: Sequence[tuple[int, Any]],
        result: Any,
        arrays: list[Any],
        watch: Watch,
        enabled: bool,
        name: str,
        spare: bool,
    ) -> None:
        self.positions = [k for k, _ in positions]
        #: whether the arguments there are tensors
        self.tensors = [tensor for _, tensor in positions]
        self.static = list(static)
        self.result, self.enabled = result, enabled
        self.checked = 0
        self.failure: Exception | None = None
        self.leaves = [
            (leaf, data, trained) for leaf, data, _, _, trained in recorder.leaves.values()
        ]
        self.gradients = [
            (leaf, grad)
            for k, (leaf, _, grad, _, _) in recorder.leaves.items()
            if k in recorder.read_before
        ]
        self.finals: list[tuple[Any, Any, int]] = []
        #: tensors whose gradient is fresh at every run, and its number among the outputs
        self.fresh: list[tuple[Any, int]] = []
        for leaf, _, grad, version, _ in recorder.leaves.values():
            end = leaf._grad
            if isinstance(end, Variable):
                end = end._data
            if isinstance(end, Symbolic):  # a gradient outside any optimizer
                slot = _slot(leaf)
                if slot is None:
                    self.fresh.append((leaf, len(arrays)))
                    arrays.append(end)
                    continue
                recorder.put(slot, end)
                end = slot
            if end is not grad or leaf._version != version or id(leaf) in recorder.reset:
                self.finals.append((leaf, end, leaf._version - version))
        roots = {id(m): m for m in recorder.modules.values()}
        below = {id(m): m for r in roots.values() for m in r.modules()}
        self.modules = [_Module.of(m) for m in below.values()]
        self.hooked = any(m._hooks for m in below.values())
        self.version = structure.version
        self.watch = watch
        self.hosts = recorder.hosts
        self.replay: Replay = replay(recorder, arrays, name, spare)
        self.single = isinstance(result, _Leaf) and result.tensor

    def text(self, numpy: bool = False) -> str:
        """What runs, as C or as NumPy."""
        r = self.replay
        if numpy or r.layout is None:
            return show_numpy(r)
        names: dict[tuple[int, int, tuple[int, ...]], str] = {}
        paths: dict[int, str] = {}
        for m in sorted(self.modules, key=lambda m: -sum(1 for _ in m.module.modules())):
            for path, p in m.module.named_parameters():
                paths.setdefault(id(p), path)
        for leaf, _, _ in self.leaves:
            path = paths.get(id(leaf), "")
            owner, _, last = path.rpartition(".")
            if last.isdecimal():  # a table of several: weights.0
                owner, _, word = owner.rpartition(".")
                last = f"{word}_{last}"
            name = "_".join(filter(None, [last or "parameter", owner.replace(".", "_")]))
            places = [(leaf._data, name, "parameters")]
            if leaf._slot is not None:
                places.append((leaf._slot, f"grad_{name}", "gradients"))
            for a, own, whole in places:
                k, offset, _ = r.recorder._place(a)
                names.setdefault((k, 0, r.recorder.bases[k].shape), whole)
                names[k, offset, a.shape] = own
        return show_c(r, names, r.name)

    def holds(self) -> bool:
        """Whether the step is still the one that was captured."""
        if state.enabled is not self.enabled or not self.watch.same():
            return False
        for leaf, data, trained in self.leaves:
            if leaf._data is not data or leaf.requires_grad is not trained:
                return False
        for leaf, grad in self.gradients:
            if leaf._grad is not grad:
                return False
        version = structure.version  # another thread may change it meanwhile
        if version != self.version:
            if not all(m.same() for m in self.modules):
                return False
            self.version = version
        return True

    def prepared(self) -> bool:
        """Set the numbers that Python computes; False where an optimizer's update is another."""
        return all([prepare() for prepare, _ in self.hosts])  # noqa: C419  # all of them

    def run(self, args: Sequence[Any]) -> Any:
        """The step's result, or NotImplemented where it must be captured anew or run eagerly."""
        arrays = []
        if len(args) != len(self.positions) + len(self.static):
            return NotImplemented
        for k, value in self.static:
            if args[k] is not value and not _equal(args[k], value):
                return NotImplemented
        for k, tensor in zip(self.positions, self.tensors, strict=True):
            a = args[k]
            if isinstance(a, Variable):
                if not tensor or a.requires_grad:
                    return NotImplemented
                a = a._data
            elif tensor:
                return NotImplemented
            arrays.append(a)
        if not self.holds():
            return NotImplemented
        if not self.prepared():
            return NotImplemented
        outputs = self.replay.run(*arrays)
        if outputs is NotImplemented:
            return outputs
        for _, commit in self.hosts:
            commit()
        for leaf, grad, steps in self.finals:
            leaf._grad = grad
            leaf._version += steps
        for leaf, k in self.fresh:
            leaf._grad = outputs[k]
        if self.single:
            return Variable._wrap(outputs[0])
        return self.result.build(outputs)

    def try_out(self, args: Sequence[Any]) -> Any:
        """The outputs of a replay whose effects are undone, and memory before and after it."""
        if not (self.holds() and self.prepared()):
            return None
        before = [w.copy() for w in self.replay.written]
        stream = default_stream()
        paths = [path for path, _ in self.replay.recorder.draws]
        counters = stream.state()["counters"]
        raw = [args[k]._data if isinstance(args[k], Variable) else args[k] for k in self.positions]
        try:
            outputs = self.replay.run(*raw)
        except Exception as error:  # the step itself may raise it too
            outputs, self.failure = NotImplemented, error
        after = [w.copy() for w in self.replay.written]
        for w, b in zip(self.replay.written, before, strict=True):
            np.copyto(w, b)
        stream.rewind({path: counters.get(path, 0) for path in paths})
        return None if outputs is NotImplemented else (outputs, before, after)

    def outputs_of(self, result: Any) -> list[Any] | None:
        """What a replay should give where the step itself gave this; None: another structure."""
        arrays: list[Any] = []
        if not self.result.like(tree(result, arrays)):
            return None
        for leaf, _ in self.fresh:
            g = leaf._grad
            arrays.append(g._data if isinstance(g, Variable) else g)
        return [np.asarray(a) for a in arrays]

    def settle(self, outputs: Any, after: list[Any]) -> Any:
        """Make a replay that was tried out the one that counts, after the same step ran eagerly."""
        for w, a in zip(self.replay.written, after, strict=True):
            np.copyto(w, a)
        for leaf, grad, _ in self.finals:
            leaf._grad = grad
        for leaf, k in self.fresh:
            leaf._grad = outputs[k]
        return self.result.build(outputs)


class _NoDraws(Stream):
    """Stands for the stream while a step is captured: what it drew would never change again."""

    def bits(self, path: str, n: int, *, step: int | None = None) -> Any:
        raise capture_error(
            "random numbers are drawn, and a replay draws anew for dropout and rrelu only"
        )


class _Tree:
    """The structure of a step's result."""

    def build(self, outputs: Sequence[Any]) -> Any:
        raise NotImplementedError

    def like(self, other: Any) -> bool:
        """Whether another result has this structure, and the same in it that is no array."""
        raise NotImplementedError


class _Leaf(_Tree):
    def __init__(self, number: int, tensor: bool) -> None:
        self.number, self.tensor = number, tensor

    def build(self, outputs: Sequence[Any]) -> Any:
        a = outputs[self.number]
        return Variable._wrap(a) if self.tensor else a

    def like(self, other: Any) -> bool:
        return isinstance(other, _Leaf) and other.tensor is self.tensor


class _Constant(_Tree):
    def __init__(self, value: Any) -> None:
        self.value = value

    def build(self, outputs: Sequence[Any]) -> Any:
        return self.value

    def like(self, other: Any) -> bool:
        if not isinstance(other, _Constant):
            return False
        return _equal(self.value, other.value)


class _Branch(_Tree):
    def __init__(self, kind: Any, children: list[_Tree], keys: Any = None) -> None:
        self.kind, self.children, self.keys = kind, children, keys

    def build(self, outputs: Sequence[Any]) -> Any:
        values = [c.build(outputs) for c in self.children]
        if self.keys is not None:
            return dict(zip(self.keys, values, strict=True))
        return self.kind(values) if self.kind in (tuple, list) else self.kind(*values)

    def like(self, other: Any) -> bool:
        return (
            isinstance(other, _Branch)
            and (other.kind, other.keys) == (self.kind, self.keys)
            and len(other.children) == len(self.children)
            and all(a.like(b) for a, b in zip(self.children, other.children, strict=True))
        )


def no_draws() -> Any:
    """While this context is entered, nothing can be drawn from the default stream."""
    return use_stream(_NoDraws(0))


def tree(value: Any, arrays: list[Any]) -> _Tree:
    """The structure of `value`; its arrays are appended to `arrays`."""
    if isinstance(value, Variable | AbstractArray | np.ndarray | np.generic):
        arrays.append(value._data if isinstance(value, Variable) else value)
        return _Leaf(len(arrays) - 1, isinstance(value, Variable))
    if isinstance(value, dict):
        return _Branch(dict, [tree(v, arrays) for v in value.values()], list(value))
    if isinstance(value, tuple | list):
        return _Branch(type(value), [tree(v, arrays) for v in value])
    return _Constant(value)


def _slot(leaf: Any) -> Any:
    """Lasting memory for the gradient of a parameter, as an optimizer gives it; None for others."""
    if leaf._slot is None and leaf._parameter() is leaf:
        leaf._slot = np.zeros(leaf._data.size, leaf._data.dtype).reshape(leaf._data.shape)
    return leaf._slot


def _equal(a: Any, b: Any) -> bool:
    """Whether two values that are no arrays are the same for a step."""
    if a is b and not isinstance(a, list | dict):
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and _equal(list(a.values()), list(b.values()))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return isinstance(a, _PLAIN) and bool(a == b)
