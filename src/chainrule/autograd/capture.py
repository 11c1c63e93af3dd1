"""`capture`: run a step once on symbols, then replay what it did without tape and allocation.

A replay computes what the step computed when it was captured, from the present values of its
arguments, of parameters, of optimizer state and of random streams. Everything else that the step
read is as it was: numbers, branches, lists of layers. Before each replay a few comparisons find out
whether the captured step still is the step (shapes and types of the arguments, the same parameter
arrays, gradients where they were, the modules unchanged). If not, it is captured anew. The first
two replays also run eagerly, and their results are compared.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.array.random import default_stream
from chainrule.autograd.context import state, structure
from chainrule.autograd.tape import Variable
from chainrule.autograd.watch import Watch
from chainrule.compile.replay import Replay, replay
from chainrule.compile.show import show_c, show_numpy
from chainrule.compile.symbolic import CaptureError, Recorder, Symbolic

__all__ = ["CaptureError", "Captured", "capture", "show"]

#: Replays that also run eagerly.
_COMPARED = 2
#: Signatures a captured step keeps programs for; a stream of ever new shapes runs eagerly.
_MOST = 32
#: Programs for one signature, such as with gradients from before and without.
_MOST_OF_ONE = 4
#: Attributes of modules that say nothing about what they compute.
_OWN = frozenset({"_plan", "_replayed"})


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

    def zero(self, leaf: Any) -> None:
        """The gradient of a leaf becomes zero in its place."""
        self.put(leaf._grad, self.constant(0, leaf._data.shape, leaf._data.dtype))

    def restore(self) -> None:
        """Leaves as they were."""
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
        return cls(module, {k: v for k, v in module.__dict__.items() if k not in _OWN})

    def same(self) -> bool:
        now = self.module.__dict__
        return (
            not self.module._hooks
            and sum(k not in _OWN for k in now) == len(self.seen)
            and all(k in now and now[k] is v for k, v in self.seen.items())
        )


class _Program:
    """A captured step for one signature."""

    def __init__(
        self,
        recorder: StepRecorder,
        positions: Sequence[int],
        static: Sequence[tuple[int, Any]],
        result: Any,
        arrays: list[Any],
        watch: Watch,
        enabled: bool,
        name: str,
        spare: bool,
    ) -> None:
        self.positions = list(positions)
        self.static = list(static)
        self.result, self.enabled = result, enabled
        self.checked = 0
        self.leaves = [
            (leaf, data, trained) for leaf, data, _, _, trained in recorder.leaves.values()
        ]
        self.gradients = [
            (leaf, grad)
            for k, (leaf, _, grad, _, _) in recorder.leaves.items()
            if k in recorder.read_before
        ]
        self.finals: list[tuple[Any, Any, int]] = []
        for leaf, _, grad, version, _ in recorder.leaves.values():
            end = leaf._grad
            if isinstance(end, Variable):
                end = end._data
            if isinstance(end, Symbolic):  # a gradient outside any optimizer gets memory here
                kept = np.zeros(end.shape, end.dtype)
                recorder.put(kept, end)
                end = kept
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
        if structure.version != self.version:
            if not all(m.same() for m in self.modules):
                return False
            self.version = structure.version
        return True

    def run(self, args: Sequence[Any]) -> Any:
        """The step's result, or NotImplemented where it must be captured anew or run eagerly."""
        arrays = []
        if len(args) != len(self.positions) + len(self.static):
            return NotImplemented
        for k, value in self.static:
            if args[k] is not value and not _equal(args[k], value):
                return NotImplemented
        for k in self.positions:
            a = args[k]
            arrays.append(a._data if isinstance(a, Variable) else a)
        if not self.holds():
            return NotImplemented
        for prepare, _ in self.hosts:
            if not prepare():
                return NotImplemented
        outputs = self.replay.run(*arrays)
        if outputs is NotImplemented:
            return outputs
        for _, commit in self.hosts:
            commit()
        for leaf, grad, steps in self.finals:
            leaf._grad = grad
            leaf._version += steps
        if self.single:
            return Variable._wrap(outputs[0])
        return self.result.build(outputs)

    def try_out(self, args: Sequence[Any]) -> Any:
        """The outputs of a replay whose effects are undone, and memory before and after it."""
        if not self.holds() or not all(prepare() for prepare, _ in self.hosts):
            return None
        before = [w.copy() for w in self.replay.written]
        stream = default_stream()
        draws = stream.state()
        raw = [args[k]._data if isinstance(args[k], Variable) else args[k] for k in self.positions]
        outputs = self.replay.run(*raw)
        if outputs is NotImplemented:
            return None
        after = [w.copy() for w in self.replay.written]
        for w, b in zip(self.replay.written, before, strict=True):
            np.copyto(w, b)
        stream.load_state(draws)
        return outputs, before, after


    def settle(self, outputs: Any, after: list[Any]) -> Any:
        """Make a replay that was tried out the one that counts, after the same step ran eagerly."""
        for w, a in zip(self.replay.written, after, strict=True):
            np.copyto(w, a)
        for leaf, grad, _ in self.finals:
            leaf._grad = grad
        return self.result.build(outputs)


class _Tree:
    """The structure of a step's result."""

    def build(self, outputs: Sequence[Any]) -> Any:
        raise NotImplementedError


class _Leaf(_Tree):
    def __init__(self, number: int, tensor: bool) -> None:
        self.number, self.tensor = number, tensor

    def build(self, outputs: Sequence[Any]) -> Any:
        a = outputs[self.number]
        return Variable._wrap(a) if self.tensor else a


class _Constant(_Tree):
    def __init__(self, value: Any) -> None:
        self.value = value

    def build(self, outputs: Sequence[Any]) -> Any:
        return self.value


class _Branch(_Tree):
    def __init__(self, make: Callable[[Any], Any], children: list[_Tree]) -> None:
        self.make, self.children = make, children

    def build(self, outputs: Sequence[Any]) -> Any:
        return self.make([c.build(outputs) for c in self.children])


def _tree(value: Any, arrays: list[Any]) -> _Tree:
    """The structure of `value`; its arrays are appended to `arrays`."""
    if isinstance(value, Variable | AbstractArray | np.ndarray):
        arrays.append(value._data if isinstance(value, Variable) else value)
        return _Leaf(len(arrays) - 1, isinstance(value, Variable))
    if isinstance(value, dict):
        keys = list(value)
        children = [_tree(v, arrays) for v in value.values()]
        return _Branch(lambda vs: dict(zip(keys, vs, strict=True)), children)
    if isinstance(value, tuple | list):
        kind: Any = type(value)
        make = kind if kind in (tuple, list) else lambda vs: kind(*vs)
        return _Branch(make, [_tree(v, arrays) for v in value])
    return _Constant(value)


def _raw(value: Any) -> list[Any]:
    arrays: list[Any] = []
    _tree(value, arrays)
    return arrays


def _equal(a: Any, b: Any) -> bool:
    plain = (int, float, bool, str, bytes, type(None), tuple)
    return type(a) is type(b) and isinstance(a, plain) and a == b


class Captured:
    """A step that replays what it did; see `capture`.

    Attributes:
        step: the function itself.
        reason: why it runs eagerly, or None.

    `quiet` keeps the reason to itself; `also` names functions that the step calls, whose outside
    variables are watched as well; `spare` builds no kernel for what is small.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        quiet: bool = False,
        also: Sequence[Any] = (),
        spare: bool = False,
    ) -> None:
        self.step = step
        self._spare = spare
        self._also = list(also)
        self.reason: str | None = None
        self._quiet = quiet
        #: of each signature: programs that hold under different conditions; None: it runs eagerly
        self._programs: dict[Any, list[_Program] | None] = {}
        self._last: _Program | None = None
        functools.update_wrapper(self, step, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if last is not None and not kwargs and state.recorder is None:
            result = last.run(args)
            if result is not NotImplemented:
                return result
        return self._slow(args, kwargs)

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if state.recorder is not None or kwargs:
            return self.step(*args, **kwargs)
        key = _key(args)
        known = self._programs.get(key, [])
        if known is None:
            return self.step(*args)
        for program in known:
            if not program.holds():
                continue
            if program.checked < _COMPARED:
                return self._compared(key, program, args)
            result = program.run(args)
            if result is not NotImplemented:
                self._last = program
                return result
            return self.step(*args)  # a guard failed: the step itself says what is wrong
        if len(self._programs) >= _MOST and key not in self._programs:
            return self.step(*args)
        made = None
        if len(known) < _MOST_OF_ONE:
            made = self._captured(args)
        else:
            name = known[-1].watch.changed()
            self._explain(f"{name} changes at every call" if name else "its parameters change")
        self._programs[key] = None if made is None else [*known, made]
        return self.step(*args) if made is None else self._compared(key, made, args)

    def _captured(self, args: tuple[Any, ...]) -> _Program | None:
        """The program of the step for these arguments; None where it cannot be captured."""
        recorder = StepRecorder()
        positions, static, given = [], [], list(args)
        for k, a in enumerate(args):
            raw = a._data if isinstance(a, Variable) else a
            if isinstance(raw, np.ndarray) and not (isinstance(a, Variable) and _is_parameter(a)):
                positions.append(k)
                symbol = recorder.argument(raw, f"x{len(positions)}")
                given[k] = _like(a, symbol)
            else:
                static.append((k, a))
        watch = Watch([self.step, *self._also])
        changes = state.changes
        state.recorder = recorder
        try:
            result = self.step(*given)
            arrays: list[Any] = []
            tree = _tree(result, arrays)
            arrays = [recorder.of(a) for a in arrays]
            name = getattr(self.step, "__name__", "step")
            if (changed := watch.changed()) is not None:
                raise CaptureError(f"it changes {changed}, which a replay would not")
            watch = Watch([self.step, *self._also, *_forwards(recorder.modules.values())])
            program = _Program(
                recorder, positions, static, tree, arrays, watch, state.enabled, name, self._spare
            )
            if state.changes != changes:
                raise CaptureError("it sets an attribute of a module, which a replay would not")
            if program.hooked:
                raise CaptureError("a module has a hook, which runs Python")
        except CaptureError as error:
            self._explain(str(error))
            return None
        except Exception as error:  # the eager run raises it again, with its values
            self._explain(f"{type(error).__name__} while it ran on symbols: {error}")
            return None
        finally:
            state.recorder = None
            recorder.restore()
        return program

    def _compared(self, key: Any, program: _Program, args: tuple[Any, ...]) -> Any:
        """Run eagerly, and replay beside it from the same state; what the replay gave stays."""
        with np.errstate(all="ignore"):
            tried = program.try_out(args)
        result = self.step(*args)
        if tried is None:
            return result
        outputs, before, written = tried
        eager = [np.asarray(a) for a in _raw(result)]
        updates = zip(program.replay.written, before, written, strict=True)
        if not (
            all(_close(a, b) for a, b in zip(eager, outputs, strict=True))
            and all(_same_update(a, b, old) for a, old, b in updates)
        ):
            self._programs[key] = None
            self._explain(
                "a replay did not compute what the step computes: it depends on something that "
                "changes and is neither an argument nor a parameter"
            )
            return result
        program.checked += 1
        return program.settle(outputs, written)

    def _explain(self, reason: str) -> None:
        self.reason = reason
        if not self._quiet:
            name = getattr(self.step, "__name__", "step")
            warnings.warn(
                f"{name} cannot be captured and runs eagerly: {reason}", RuntimeWarning, stacklevel=5
            )

    def __reduce__(self) -> Any:
        if self._quiet:  # a copy of its owner captures anew
            return type(None), ()
        raise TypeError("a captured step cannot be copied or pickled; capture its function again")

    def programs(self) -> Iterator[_Program]:
        """The captured programs, the latest last."""
        return (p for known in self._programs.values() for p in known or ())


def _forwards(modules: Any) -> Iterator[Any]:
    """The functions that a person's own modules run."""
    for m in modules:
        for b in m.modules():
            if not type(b).__module__.startswith("chainrule."):
                yield type(b).forward


def _is_parameter(a: Any) -> bool:
    return a._parameter() is a


def _like(a: Any, symbol: Symbolic) -> Any:
    """A tensor or an array, as the argument is one."""
    if not isinstance(a, Variable):
        return symbol
    if a.requires_grad:
        raise CaptureError("an argument requires a gradient; make it a tensor inside the step")
    return Variable._wrap(symbol)


def _key(args: Sequence[Any]) -> Any:
    found: list[Any] = [state.enabled]
    for a in args:
        if isinstance(a, Variable) and not _is_parameter(a):
            found.append((a._data.shape, a._data.dtype, True))
        elif isinstance(a, np.ndarray):
            found.append((a.shape, a.dtype))
        elif isinstance(a, int | float | str | bytes | bool | None):
            found.append((type(a), a))
        else:
            found.append(id(a))
    return tuple(found)


def _close(a: Any, b: Any) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    if np.array_equal(a, b, equal_nan=True):
        return True
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    rtol = 1e-3 if a.dtype.itemsize <= 4 else 1e-7
    return bool(np.allclose(a, b, rtol=rtol, atol=rtol * scale, equal_nan=True))


def _same_update(a: Any, b: Any, before: Any) -> bool:
    """Whether two updates agree. Rounding alone may send an entry whose gradient is no more than
    rounding either way, as Adam does, so it is their sum that counts."""
    if np.array_equal(a, b, equal_nan=True):
        return True
    with np.errstate(all="ignore"):
        moved, apart = np.abs(a - before).sum(dtype=np.float64), np.abs(a - b)
        limit = 0.05 * moved + 1e-6 * np.abs(a).sum(dtype=np.float64)
        return bool(apart.sum(dtype=np.float64) <= limit)


def show(step: Captured, numpy: bool = False, file: Any = None) -> None:
    """Print a captured step: the C program that runs, or with `numpy` its NumPy form.

    Arguments:
        step: what `capture` gave, once it has been called; a `Trainer` shows its own with
            ``show(trainer)``.
        numpy: print the calls of NumPy and the kernels, as they run without a compiler.
        file: where to, standard output by default.

    Each block names the formulas it came from. Memory that lasts has the names of the parameters.

    Raises:
        RuntimeError: for a step that has not run yet, or that runs eagerly; it says why.

    >>> import chainrule as cr
    >>> @cr.capture
    ... def double(x):
    ...     return cr.ops.multiply(x, 2.0)
    >>> x = double(np.ones(3))
    >>> cr.show(double, numpy=True)
    def double(x1):
        t1, = multiply_(x1, 2.0)
        return (t1,)
    ...
    """
    if not isinstance(step, Captured):
        step = getattr(step, "captured", step)
    if not isinstance(step, Captured):
        raise TypeError(f"show takes a captured step, not {type(step).__name__}: cr.capture(step)")
    programs = list(step.programs())
    if not programs:
        why = step.reason or "it has not been called yet"
        raise RuntimeError(f"there is no captured program of {step.__name__} to show: {why}")
    print(programs[-1].text(numpy), end="", file=file)


def capture(step: Callable[..., Any]) -> Captured:
    """A function that does what `step` does, several times as fast.

    Arguments:
        step: a function of arrays, tensors and whatever else, such as one training step: forward,
            loss, backward, update. It is run once on symbolic arrays; from then on what it did is
            replayed as one program, without tape and without allocation.

    Returns:
        A function of the same arguments. Tensors it returns are off the tape.

    What is live at a replay: arguments that are arrays or tensors, parameters, the state and the
    options of optimizers, random streams. Another shape, another number or object as an argument or
    in a variable from outside the function, ``model.eval()``, a frozen or replaced layer make a
    capture of their own. What cannot be captured (``.item()``, ``if`` on a value, a hook) is
    said in a RuntimeWarning with the line, and the step then runs eagerly.

    Replays equal the eager step bit for bit, on the same executor.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(2, 8), cr.nn.Tanh(), cr.nn.Dense(8, 1))
    >>> optimizer = cr.optim.Adam(model.parameters(), lr=0.01)
    >>> @cr.capture
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = cr.ops.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x = np.ones((4, 2), np.float32)
    >>> losses = [step(x, x[:, :1]).item() for _ in range(50)]
    >>> losses[-1] < losses[0]
    True
    """
    return Captured(step)
