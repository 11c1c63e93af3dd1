"""What a function reads from outside: which changes are seen, and by which name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd.watch import Watch

RATE = 0.5
TABLE = {"a": [1, 2, {"deep": 3}]}


def from_globals(x):
    return x * RATE * TABLE["a"][0]


def through_another(x):
    return from_globals(x) + 1


def test_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    for f in (from_globals, through_another, lambda x: through_another(x)):
        watch = Watch([f])
        assert watch.same()
        assert watch.changed() is None
        monkeypatch.setitem(globals(), "RATE", 0.25)
        assert not watch.same()
        assert watch.changed() == "RATE"
        monkeypatch.setitem(globals(), "RATE", 0.5)
        assert watch.same()
        TABLE["a"][2]["deep"] = 4
        assert watch.changed() == "TABLE"
        TABLE["a"][2]["deep"] = 3
        assert watch.same()


def test_a_function_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch([through_another])
    monkeypatch.setitem(globals(), "from_globals", lambda x: x)
    assert watch.changed() == "from_globals"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 2), (1, 1.0), (1, True), (0.0, -1.0), ("a", "b"), (None, 0), (b"a", b"b"),
        (float("nan"), 1.0), (np.float32(1), np.float32(2)), (np.float32(1), np.float64(1)),
        (np.dtype("f4"), np.dtype("f8")), ((1, 2), (1, 3)), ({1, 2}, {1}), ([], [0]), ({}, {1: 2}),
        (np.ones(2), np.ones(2)), (range(3), range(4)), (int, float), (np, dataclasses),
    ],
)  # fmt: skip
def test_values(before: Any, after: Any) -> None:
    value = before
    watch = Watch([lambda: value])
    assert watch.same()
    value = after
    assert not watch.same()
    assert watch.changed() == "value"
    value = before
    assert watch.same()


def test_nan_is_the_same_as_nan():
    value = float("nan")
    watch = Watch([lambda: value])
    value = float("inf") - float("inf")
    assert watch.same()


def test_arrays_may_change_inside():
    """Their values are read at each replay."""
    a = np.zeros(3)
    watch = Watch([lambda: a])
    a += 1
    assert watch.same()
    arrays = [np.zeros(3)]
    watch = Watch([lambda: arrays])
    arrays[0] += 1
    assert watch.same()
    arrays[0] = np.zeros(3)
    assert watch.changed() == "arrays"


@dataclasses.dataclass
class Setting:
    scale: float
    inner: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    scale: float
    more: Any = None


@pytest.mark.parametrize("kind", [Setting, Slotted])
def test_attributes_of_objects(kind: Any) -> None:
    setting = kind(1.0)
    watch = Watch([lambda x: x * setting.scale])
    assert watch.same()
    setting.scale = 2.0
    assert watch.changed() == "setting"
    setting.scale = 1.0
    assert watch.same()
    setting = kind(1.0)
    assert watch.changed() == "setting"


class Recipe:
    def __init__(self):
        self.scale, self.parts = 1.0, [1, 2]

    def step(self, x):
        return self.scale * x

    def __call__(self, x):
        return self.step(x)

    @staticmethod
    def plain(x):
        return x * RATE


def test_methods_and_callable_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe()
    for f in (recipe.step, recipe, recipe.__call__, lambda x: recipe.step(x)):
        watch = Watch([f])
        assert watch.same()
        recipe.parts[0] = 5
        assert watch.changed() in ("Recipe", "recipe")
        recipe.parts[0] = 1
        recipe.new = 1
        assert not watch.same()
        del recipe.new
        assert watch.same()
    watch = Watch([Recipe.plain])
    monkeypatch.setitem(globals(), "RATE", 0.25)
    assert watch.changed() == "RATE"


def test_partial_functions():
    scale = [1.0]

    def f(x, other):
        return x * scale[0] * other["a"]

    given = {"a": 1}
    watch = Watch([functools.partial(f, other=given)])
    assert watch.same()
    scale[0] = 2.0
    assert watch.changed() == "scale"
    scale[0] = 1.0
    given["a"] = 2
    assert not watch.same()


def test_wrapped_functions():
    rate = 1.0

    @functools.wraps(from_globals)
    def f(x):
        return x * rate

    cached = functools.lru_cache(f)
    watch = Watch([cached])
    rate = 2.0
    assert watch.changed() == "rate"


def test_defaults_that_are_changed_in_place():
    def f(x, where=[1], *, more={"a": 1}):  # noqa: B006
        return x * where[0] * more["a"]

    watch = Watch([f])
    assert watch.same()
    f.__defaults__[0][0] = 2
    assert watch.changed() == "default 1 of f"
    f.__defaults__[0][0] = 1
    f.__kwdefaults__["more"]["a"] = 3
    assert watch.changed() == "default 2 of f"


def test_a_variable_that_comes_and_goes():
    def f():
        return late  # noqa: F821

    watch = Watch([f])
    assert watch.same()
    if True:
        late = 1
    assert watch.changed() == "late"
    watch = Watch([f])
    del late
    assert not watch.same()
    assert watch.changed() == "late"


def test_what_belongs_to_the_library_tells_by_itself():
    model = cr.nn.Sequential(cr.nn.Dense(2, 2))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch([lambda x: (model(x), optimizer.step())])
    optimizer.param_groups[0]["lr"] = 0.2
    model.eval()
    model[0].weight.assign(np.ones((2, 2)))
    assert watch.same()
    model = cr.nn.Sequential(cr.nn.Dense(2, 2))
    assert watch.changed() == "model"


def test_containers_with_cycles_and_large_ones():
    ring: list[Any] = [1]
    ring.append(ring)
    setting = Setting(1.0)
    setting.inner = setting
    numbers = list(range(5000))
    watch = Watch([lambda: (ring, setting, numbers)])
    assert watch.same()
    ring[0] = 2
    assert watch.changed() == "ring"
    ring[0] = 1
    numbers = list(range(5000))
    assert watch.changed() == "numbers"  # another list: of a large one only that is seen


def test_equality_that_is_no_truth_value():
    """Objects whose == gives an array, or raises, are compared by what they are."""

    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other):
            raise ValueError("no")

    odd = Odd()
    both = {"odd": odd, "array": np.ones(2), "tensor": cr.tensor([1.0, 2.0])}
    watch = Watch([lambda: (odd, both)])
    assert watch.same()
    both["tensor"] = cr.tensor([1.0, 2.0])
    assert watch.changed() == "both"


def test_what_is_inside_is_seen_at_once_or_compared() -> None:
    class Slotted:
        __slots__ = ("rate",)

        def __init__(self) -> None:
            self.rate = 1.0

    class Plain:
        def __init__(self) -> None:
            self.rate, self.steps, self.names = 1.0, [1, 2], {"a": 2}

    thing, slotted = Plain(), Slotted()

    def f(x: Any) -> Any:
        return x * thing.rate * slotted.rate

    watch = Watch([f])
    quick = [deep._inside is not None for deep in watch._deep]
    assert sorted(quick) == [False, True]  # slots are compared, the rest is seen

    def changes(set_it: Callable[[], Any], back: Callable[[], Any]) -> None:
        assert watch.same()
        set_it()
        assert not watch.same()
        back()
        assert watch.same()

    changes(lambda: setattr(thing, "rate", 2.0), lambda: setattr(thing, "rate", 1.0))
    changes(lambda: setattr(slotted, "rate", 2.0), lambda: setattr(slotted, "rate", 1.0))
    changes(lambda: thing.steps.append(3), lambda: thing.steps.pop())
    changes(lambda: thing.names.update(b=1), lambda: thing.names.pop("b"))
    changes(lambda: thing.names.update(a=3), lambda: thing.names.update(a=2))
    changes(lambda: setattr(thing, "rate", 1), lambda: setattr(thing, "rate", 1.0))
    renamed = thing.names.pop("a")
    thing.names["c"] = renamed  # the same values under another name
    assert not watch.same()
    thing.names = {"a": 2}  # another object that is equal: compared once, then seen
    assert watch.same()
    thing.names["a"] = 3
    assert not watch.same()
