"""What memory a step's own values get: again what is read no more, also by their own kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.compile import fuse
from chainrule.compile.place import WORKSPACE, Layout
from tests_layout import Drawing

F = np.dtype(np.float32)


def product(d: Drawing, n: int = 4) -> Any:
    """A value (5, n) that is no kernel's."""
    return d.graph.product(d.input(5, 3), d.input(3, n))


def ends(d: Drawing, *xs: Any) -> Layout:
    """The layout of a step that multiplies these further, so that they are no results."""
    return d.layout([d.graph.product(d.graph.permute(x, (1, 0)), x) for x in xs])


def tanh(xp, a):
    return xp.tanh(a)


def both(xp, a, b):
    return a + b, a - b


def softmax(xp, a):
    e = xp.exp(a - xp.max(a, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def centred(xp, a):
    return xp.tanh(a), xp.sum(a, axis=0)


def test_a_kernel_writes_over_what_it_is_the_last_to_read():
    d = Drawing()
    x = product(d)
    layout = ends(d, y := d.apply(tanh, x))
    assert layout.at[y] == layout.at[x] == (WORKSPACE, 0, 0)


def test_what_is_read_later_stays():
    d = Drawing()
    x = product(d)
    y = d.apply(tanh, x)
    late = d.apply(both, x, d.graph.product(y, d.input(4, 4)))
    layout = ends(d, y, *late)
    assert layout.at[y] != layout.at[x]
    assert layout.at[x] in (layout.at[late[0]], layout.at[late[1]])


def test_each_result_over_an_operand_of_its_own():
    d = Drawing()
    a, b = product(d), product(d)
    layout = ends(d, *(found := d.apply(both, a, b)))
    assert {layout.at[e] for e in found} == {layout.at[a], layout.at[b]}


def test_two_results_are_not_written_over_one_operand():
    d = Drawing()
    a = product(d)
    first, second = d.apply(both, a, d.input(5, 4))
    layout = ends(d, first, second)
    assert layout.at[a] in (layout.at[first], layout.at[second])
    assert layout.at[first] != layout.at[second]


def test_an_operand_with_other_entries_stays():
    d = Drawing()
    row = product(d, 1)
    layout = ends(d, d.apply(lambda xp, a, b: xp.tanh(a) * b, d.input(5, 4), row))
    assert len([r for r in layout.at.values() if r[0] == WORKSPACE]) == 2


def test_an_argument_of_the_step_stays():
    d = Drawing()
    layout = ends(d, y := d.apply(tanh, d.input(5, 4)))
    assert layout.at[y][0] == WORKSPACE


def test_sums_over_the_rows_read_an_entry_once():
    d = Drawing()
    x = product(d)
    y, total = d.apply(centred, x)
    layout = ends(d, y, d.graph.add("reshape", (total,), (), (1, 4), F))
    assert layout.at[y] == layout.at[x]


def test_several_passes_over_few_rows_write_elsewhere(monkeypatch: pytest.MonkeyPatch):
    for least, over in ((5 * 4 + 1, False), (5 * 4, True)):
        monkeypatch.setattr(fuse, "_SHARED", least)
        d = Drawing()
        x = product(d)
        layout = ends(d, y := d.apply(softmax, x))
        assert (layout.at[y] == layout.at[x]) is over
