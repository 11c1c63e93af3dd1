"""Training steps run twice, eagerly and captured, and compared bit for bit.

A step is made by a function without arguments that gives ``(owners, step, batches)``: the modules
and optimizers whose state counts, the step itself, and the arguments of one call after the other.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.array.random import default_stream
from chainrule.compile import build, native
from chainrule.compile.kernel import Kernel

Make = Callable[[], tuple[Sequence[Any], Callable[..., Any], Sequence[tuple[Any, ...]]]]


def forget_plans() -> None:
    """Let every kernel choose its executor anew."""
    for kernel in [o for o in gc.get_objects() if type(o) is Kernel]:
        kernel._plans.clear()
        kernel._last = None


def build_together(makes: Iterable[Make]) -> None:
    """Build the native code of many steps with one run of the compiler, where there is one."""
    with native.collecting() as texts:
        for make in makes:
            for _ in run(make, cr.capture):
                pass
    build_at_once(texts)


def build_at_once(texts: Mapping[str, str]) -> None:
    """Build collected kernels with one run of the compiler, where there is one."""
    forget_plans()
    there = {**native._catalogue(), **native._known}
    missing = sorted(texts.keys() - there.keys())
    source = "\n".join([native.prelude(), *(texts[name] for name in missing)])
    library = build.library(source, "kernels") if missing else None
    if library is not None:
        native._known.update({**there, **{name: library.address(name) for name in missing}})


def leaves(value: Any) -> Iterator[Any]:
    """The arrays and constants of a result, in order, with what holds them."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from leaves(v)
    elif isinstance(value, tuple | list):
        yield type(value)
        for v in value:
            yield from leaves(v)
    elif isinstance(value, cr.Tensor):
        yield "tensor"
        yield value._data
    else:
        yield value


def frozen(x: Any) -> Any:
    """Something equal only for the same bits."""
    if isinstance(x, np.ndarray | np.generic):
        return x.dtype.str, x.shape, x.tobytes()
    return x


def state_of(owners: Sequence[Any]) -> dict[str, Any]:
    """Parameters, gradients, optimizer states and the random stream, by name."""
    found: dict[str, Any] = {"stream": default_stream().state()}
    for n, owner in enumerate(owners):
        if isinstance(owner, cr.nn.Module):
            for name, v in owner.state_dict().items():
                found[f"{n}.{name}"] = frozen(v)
            for name, p in owner.named_parameters():
                found[f"{n}.{name}.grad"] = None if p.grad is None else frozen(p.grad._data)
        else:
            state = owner.state_dict()
            found[f"{n}.steps"] = list(state["steps"])
            found.update((f"{n}.{name}", frozen(v)) for name, v in state["state"].items())
    return found


def difference(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names under which two states differ."""
    return [k for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]


def run(make: Make, wrap: Any = None) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """(result, state, step) after each call; `wrap` is what captures."""
    cr.seed(0)
    owners, step, batches = make()
    step = step if wrap is None else wrap(step)
    for batch in batches:
        result = step(*batch)
        yield [frozen(x) for x in leaves(result)], state_of(owners), step


def assert_equal_to_eager(make: Make, captured: bool = True) -> Any:
    """Both ways, step by step; gives the captured step."""
    step = None
    for n, (eager, got) in enumerate(zip(run(make), [*run(make, cr.capture)], strict=True)):
        step = got[2]
        assert got[0] == eager[0], f"results of call {n}; {step.reason}"
        assert difference(got[1], eager[1]) == [], f"after call {n}; {step.reason}"
    if captured:
        assert step is not None
        assert step.reason is None
    return step


def fitted(seed: int, mode: str = "") -> tuple[dict[str, Any], Any]:
    """A small model trained by captured steps, and its predictions: the work of a process."""
    import os

    from tests_common import blobs, net

    if mode:
        os.environ["CHAINRULE_NATIVE"] = mode
    x, y = blobs(96)
    trainer = cr.Trainer(net(seed, (4, 24, 3), p=0.2), optimizer=cr.optim.Adam(lr=0.01), seed=seed)
    trainer.fit((x, y), epochs=3, batch_size=24, verbose=False)
    assert [p.checked for p in trainer.captured.programs()] == [2]
    return trainer.model.state_dict(), trainer.predict(x)
