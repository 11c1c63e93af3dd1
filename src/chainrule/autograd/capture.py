"""`capture`: run a step once on symbols, then replay what it did without tape and allocation.

A replay computes what the step computed when it was captured, from the present values of its
arguments, of parameters, of optimizer state and of random streams. Everything else that the step
read is as it was: numbers, branches, lists of layers. Before each replay a few comparisons find out
whether the captured step still is the step (see `chainrule.autograd.program`). If not, it is
captured anew. The first two replays also run eagerly, and their results are compared.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.autograd.context import state
from chainrule.autograd.program import Program, StepRecorder, no_draws, tree
from chainrule.autograd.tape import Variable
from chainrule.autograd.watch import Watch
from chainrule.compile.symbolic import CaptureError, Postponed, Symbolic, line_of

__all__ = ["CaptureError", "Captured", "capture", "show"]

#: Replays that also run eagerly.
_COMPARED = 2
#: Signatures a captured step keeps programs for; a stream of ever new shapes runs eagerly.
_MOST = 32
#: Programs for one signature, such as with gradients from before and without.
_MOST_OF_ONE = 4


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
        self._programs: dict[Any, list[Program] | None] = {}
        self._last: Program | None = None
        self._postponed = 0
        functools.update_wrapper(self, step, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if last is not None and not kwargs and state.recorder is None:
            result = last.run(args)
            if result is not NotImplemented:
                return result
        return self._slow(args, kwargs)

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if state.recorder is not None:
            return self.step(*args, **kwargs)
        if kwargs:
            bound = inspect.signature(self.step).bind(*args, **kwargs)
            if bound.kwargs:  # of a keyword alone
                self._explain(f"argument {next(iter(bound.kwargs))!r} is given by keyword only")
                return self.step(*args, **kwargs)
            return self(*bound.args)
        key = _key(args)
        known = self._programs.get(key, [])
        if known is None:
            return self.step(*args)
        for program in known:
            if not (program.holds() and program.prepared()):
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
        if len(known) >= _MOST_OF_ONE and known[-1].checked >= _COMPARED:
            known = known[1:]  # it changes now and then: the oldest goes
        if any(p.checked >= _COMPARED for p in known):
            self._postponed = 0
        if len(known) < _MOST_OF_ONE:
            try:
                made = self._captured(args)
            except Postponed:
                return self.step(*args)
        else:
            name = known[-1].watch.changed()
            self._explain(f"{name} changes at every call" if name else "its parameters change")
        self._programs[key] = None if made is None else [*known, made]
        return self.step(*args) if made is None else self._compared(key, made, args)

    def _captured(self, args: tuple[Any, ...]) -> Program | None:
        """The program of the step for these arguments; None where it cannot be captured."""
        recorder = StepRecorder()
        changes = state.changes
        watch = Watch([])
        try:
            positions, static, given = _given(recorder, args)
            watched = [self.step, *self._also, *(a for _, a in static)]
            watch = Watch(watched)
            state.recorder = recorder
            with no_draws():
                result = self.step(*given)
            arrays: list[Any] = []
            shape = tree(result, arrays)
            arrays = [recorder.of(a) for a in arrays]
            name = getattr(self.step, "__name__", "step").lstrip("_")
            if (changed := watch.changed()) is not None:
                raise CaptureError(f"it changes {changed}, which a replay would not")
            if state.changes != changes or recorder.kept.changed():
                raise CaptureError("it changes attributes of a module, which a replay would not")
            own = _own(recorder.modules.values())
            later = Watch([*watched, *(type(m).forward for m in own)], own)
            program = Program(
                recorder, positions, static, shape, arrays, later, state.enabled, name, self._spare
            )
            if program.hooked:
                raise CaptureError("a module has a hook, which runs Python")
        except Postponed as error:
            self._postponed += 1
            if self._postponed <= _MOST_OF_ONE:
                raise
            self._explain(f"{error}, at every call")
            return None
        except CaptureError as error:
            self._explain(str(error))
            return None
        except Exception as error:  # the eager run raises it again, with its values
            self._explain(
                f"{line_of(error)}{type(error).__name__} while it ran on symbols: {error}"
            )
            return None
        finally:
            state.recorder = None
            recorder.restore()
            watch.restore()
        return program

    def _compared(self, key: Any, program: Program, args: tuple[Any, ...]) -> Any:
        """Run eagerly, and replay beside it from the same state; what the replay gave stays."""
        with np.errstate(all="ignore"):
            tried = program.try_out(args)
        result = self.step(*args)
        if tried is None:
            if program.failure is not None:
                self._programs[key] = None
                self._explain(f"a replay raised {program.failure!r}, and the step did not")
            return result
        outputs, before, written = tried
        eager = program.outputs_of(result)
        if eager is None or not (
            all(_close(a, b) for a, b in zip(eager, outputs, strict=True))
            and _same_updates(program.replay.written, written, before)
        ):
            self._programs[key] = None
            self._explain(
                "a replay did not compute what the step computes: it depends on something that "
                "changes and is neither an argument nor a parameter"
            )
            return result
        program.checked += 1
        self._postponed = 0
        return program.settle(outputs, written)

    def _explain(self, reason: str) -> None:
        told, self.reason = self.reason == reason, reason
        if not self._quiet and not told:
            name = getattr(self.step, "__name__", "step").lstrip("_")
            warnings.warn(
                f"{name} cannot be captured and runs eagerly: {reason}",
                RuntimeWarning,
                stacklevel=5,
            )

    def __reduce__(self) -> Any:
        if self._quiet:  # a copy of its owner captures anew
            return Captured, (self.step, True, self._also, self._spare)
        raise TypeError("a captured step cannot be copied or pickled; capture its function again")

    def programs(self) -> Iterator[Program]:
        """The captured programs, the latest last."""
        return (p for known in self._programs.values() for p in known or ())


def _own(modules: Iterable[Any]) -> list[Any]:
    """The modules, and those in them, whose classes are a person's."""
    below = {id(b): b for m in modules for b in m.modules()}
    return [b for b in below.values() if type(b).__module__.split(".")[0] != "chainrule"]


def _given(recorder: StepRecorder, args: Sequence[Any]) -> Any:
    """Positions of arrays, with whether they are tensors; the other arguments with theirs; and all
    of them with symbols."""
    positions: list[tuple[int, bool]] = []
    static: list[tuple[int, Any]] = []
    given = list(args)
    for k, a in enumerate(args):
        raw = a._data if isinstance(a, Variable) else a
        if isinstance(raw, np.ndarray) and not (isinstance(a, Variable) and _is_parameter(a)):
            positions.append((k, isinstance(a, Variable)))
            given[k] = _like(a, recorder.argument(raw, f"x{len(positions)}"))
        elif isinstance(a, tuple | list | dict) and _holds_arrays(a):
            raise CaptureError(
                f"argument {k + 1} is a {type(a).__name__} that holds arrays; give them as "
                "arguments of their own"
            )
        else:
            static.append((k, _snapshot(a)))
    return positions, static, given


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
            found.append((a._data.shape, a._data.dtype, a.requires_grad))
        elif isinstance(a, np.ndarray):
            found.append((a.shape, a.dtype))
        elif isinstance(a, int | float | str | bytes | bool | None | np.generic):
            found.append((type(a), a))
        elif isinstance(a, tuple | list):
            found.append((type(a), _key(a)))
        elif isinstance(a, dict):
            found.append((dict, tuple(a), _key(tuple(a.values()))))
        else:
            found.append(id(a))
    return tuple(found)


def _holds_arrays(a: Any) -> bool:
    if isinstance(a, dict):
        a = tuple(a.values())
    if isinstance(a, tuple | list):
        return any(map(_holds_arrays, a))
    return isinstance(a, np.ndarray) or (isinstance(a, Variable) and not _is_parameter(a))


def _snapshot(a: Any) -> Any:
    """A value as it is now: containers may change in place."""
    if isinstance(a, dict):
        return {k: _snapshot(v) for k, v in a.items()}
    return type(a)(map(_snapshot, a)) if type(a) in (tuple, list) else a


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


def _same_updates(a: Sequence[Any], b: Sequence[Any], before: Sequence[Any]) -> bool:
    """Whether two updates of the same arrays agree.

    Rounding alone may send an entry whose gradient is no more than rounding either way, as Adam
    does, so it is the sum over an array that counts. And all of an array may be no more than that,
    beside the others: the gradient of a bias that the next layer normalises away.
    """
    if all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True)):
        return True
    with np.errstate(all="ignore"):
        moved = [
            np.abs(x - old).sum(dtype=np.float64) / max(x.size, 1) if x.dtype.kind == "f" else 0.0
            for x, old in zip(a, before, strict=True)
        ]
        most = max((m for m in moved if np.isfinite(m)), default=0.0)
        return all(
            np.array_equal(x, y, equal_nan=True)
            or (
                x.dtype.kind == "f"
                and bool(
                    np.abs(x - y).sum(dtype=np.float64)
                    <= (0.05 * m + 1e-6 * most) * x.size + 1e-6 * np.abs(x).sum(dtype=np.float64)
                )
            )
            for x, y, m in zip(a, b, moved, strict=True)
        )


def show(step: Any, numpy: bool = False, file: Any = None) -> None:
    """Print a captured step: the C program that runs, or with `numpy` its NumPy form.

    Arguments:
        step: what `capture` gave, once it has been called; or a `Trainer` that has trained, or a
            model that has predicted (under `no_grad`).
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
    captured = step
    for name in ("captured", "_replayed"):  # of a Trainer its step, of a module its prediction
        if not isinstance(captured, Captured):
            captured = getattr(step, name, None)
    if not isinstance(captured, Captured):
        raise TypeError(f"show takes a captured step, not {type(step).__name__}: cr.capture(step)")
    programs = list(captured.programs())
    if not programs:
        why = captured.reason or "it has not been called yet"
        name = getattr(captured.step, "__name__", "the step")
        raise RuntimeError(f"there is no captured program of {name} to show: {why}")
    print(programs[-1].text(numpy), end="", file=file)


def capture(step: Callable[..., Any]) -> Captured:
    """A function that does what `step` does, several times as fast.

    Arguments:
        step: a function of arrays, tensors and whatever else, such as one training step: forward,
            loss, backward, update. It is run once on symbolic arrays; from then on what it did is
            replayed as one program, without tape and without allocation.

    Returns:
        A function of the same arguments. Tensors it returns are off the tape.

    What is live at a replay: arguments that are arrays or tensors, parameters, each `Variable`, the
    state and the options of optimizers, random streams. Another shape, another number or object as
    an argument or in a variable from outside the function, ``model.eval()``, a frozen or replaced
    layer make a capture of their own. What cannot be captured (``.item()``, ``if`` on a value, a
    hook) is said in a RuntimeWarning with the line, and the step then runs eagerly.

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
