"""Where values lie: every instruction reads what it should, and memory is used again.

`tests_layout.Machine` runs a layout on names instead of numbers and stops at the first read of
memory that holds something else. Random steps go through it here, those of training in
`tests/autograd/test_capture_steps.py`.

CHAINRULE_LONG=1 tries twenty thousand random steps instead of a few hundred.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.compile import fuse
from chainrule.compile.place import LIVE, RESULT, WORKSPACE, Layout, contiguous, window
from chainrule.compile.recorder import Recorder
from tests_layout import Drawing, Machine, layout_of
from tests_programs import Script, scripts

MANY = 20_000 if os.environ.get("CHAINRULE_LONG") else 300
F = np.dtype(np.float32)


def kinds(layout: Layout) -> list[str]:
    return [i.kind for i in layout.instructions]


def double(xp, a):
    return 2.0 * a


def add(xp, a, b):
    return a + b


# -- straight to the target -----------------------------------------------------------------------


def test_a_result_is_computed_where_it_is_wanted():
    d = Drawing()
    x = d.input(4, 3)
    y = d.apply(double, x)
    layout = d.layout(
        [y, d.graph.permute(y, (1, 0)), d.graph.product(x, d.graph.permute(x, (1, 0)))]
    )
    assert sorted(kinds(layout)) == ["copy", "kernel", "product"]
    assert layout.workspace == 0
    assert layout.at[y] == (RESULT, 0, 0)


def test_an_update_goes_over_the_old_value():
    d = Drawing()
    p, g = d.live(0, 12), d.live(1, 12)
    new = d.apply(lambda xp, p, g: p - 0.1 * g, p, g)
    layout = d.layout(writes=[(p, new)])
    assert kinds(layout) == ["kernel"]
    assert layout.at[new] == (LIVE, 0, 0)
    assert layout.workspace == 0


def test_an_old_value_that_is_still_read_is_kept():
    """The product reads p after the update is ready: the update waits in the workspace."""
    d = Drawing()
    p, g = d.live(0, 12), d.input(12)
    matrix = d.graph.region(p, 0, (4, 3))
    new = d.apply(lambda xp, p, g: p - 0.1 * g, p, g)
    late = d.graph.product(d.graph.permute(matrix, (1, 0)), d.apply(double, matrix))
    layout = d.layout([d.apply(double, late)], [(p, new)])
    assert kinds(layout)[-1] == "copy"
    assert layout.at[new][0] == WORKSPACE


@pytest.mark.parametrize("part", [(0, (12,)), (0, (2, 3)), (3, (3, 3)), (9, (3,))])
def test_a_result_that_is_an_old_value(part: Any) -> None:
    d = Drawing()
    p, g = d.live(0, 12), d.input(12)
    new = d.apply(add, p, g)
    d.layout([d.graph.region(p, *part), new], [(p, new)])


def test_rows_of_an_old_value():
    """A window of the old matrix is memory that an update must not touch before."""
    d = Drawing()
    p, g = d.live(0, 12), d.input(12)
    matrix = d.graph.region(p, 0, (4, 3))
    slices = ((1, 3, 1), (0, 3, 1))
    rows = d.graph.add("slice", (matrix,), (("slices", slices),), (2, 3), F)
    new = d.apply(add, p, g)
    d.layout([rows], [(p, new)])
    far = d.graph.product(d.input(2, 2), d.graph.product(d.input(2, 2), rows))
    d.layout([d.apply(add, far, rows)], [(p, new)])


def test_a_kernel_with_a_sum_does_not_overwrite_what_it_sums():
    d = Drawing()
    p = d.live(0, 12)
    matrix = d.graph.region(p, 0, (4, 3))
    new = d.apply(lambda xp, a: a / xp.sum(a, axis=-1, keepdims=True), matrix)
    layout = d.layout(writes=[(matrix, new)])
    assert kinds(layout)[-1] == "copy"


def test_parts_of_an_array_are_updated_one_by_one():
    d = Drawing()
    p, x = d.live(0, 12), d.input(4)
    parts = [d.graph.region(p, 4 * k, (4,)) for k in range(3)]
    new = [d.apply(add, part, x) for part in parts]
    layout = d.layout(writes=[(parts[0], new[0]), (parts[2], new[2])])
    assert kinds(layout) == ["kernel"]
    # into one another: what the first needs of the third is read before
    layout = d.layout(writes=[(parts[0], new[2]), (parts[2], new[0])])
    Machine(layout).run()


def test_two_arrays_that_change_places_have_no_layout():
    d = Drawing()
    p, q = d.live(0, 4), d.live(1, 4)
    with pytest.raises(NotImplementedError, match="what other updates overwrite"):
        d.layout(writes=[(p, q), (q, p)])
    layout = d.layout(writes=[(p, q)])
    assert kinds(layout) == ["copy"]


def test_numbers_as_results():
    d = Drawing()
    x = d.input(3)
    layout = Layout(
        d.graph, d.arguments, [(2.5, (), F), (x, (3,), F), (True, (), np.dtype(bool))], []
    )
    Machine(layout).run()
    assert [c.item() for c in layout.constants] == [2.5, True]


def test_a_result_given_twice():
    d = Drawing()
    x = d.input(4, 3)
    y = d.apply(double, x)
    layout = d.layout(
        [y, y, d.graph.reshape(y, (12,)), d.graph.reshape(y, (3, 4))],
        [(d.live(0, 12), d.graph.reshape(y, (12,)))],
    )
    assert kinds(layout).count("kernel") == 1


# -- joined arrays --------------------------------------------------------------------------------


def test_parts_are_computed_in_their_places():
    d = Drawing()
    x, w = d.input(4, 3), d.input(3, 5)
    first = d.apply(double, d.graph.product(x, w))
    second = d.apply(lambda xp, a: xp.sum(a, axis=0), x)
    joined = d.graph.concat([d.graph.reshape(first, (20,)), second], 0)
    norm = d.apply(lambda xp, a: xp.sum(a * a), joined)
    layout = d.layout([norm], [(d.live(0, 23), joined)])
    assert "copy" not in kinds(layout)
    assert [len(i.details) for i in layout.instructions if i.kind == "several"] in ([], [0])
    assert layout.ref(second) == (LIVE, 0, 80)


def test_columns_side_by_side_are_copied():
    d = Drawing()
    x, y = d.apply(double, d.input(4, 3)), d.apply(double, d.input(4, 2))
    layout = d.layout([d.graph.concat([x, y], 1)])
    assert [len(i.details) for i in layout.instructions if i.kind == "several"] == [2]


def test_joined_arrays_in_joined_arrays():
    d = Drawing()
    parts = [d.apply(double, d.input(3)) for _ in range(3)]
    inner = d.graph.concat(parts[:2], 0)
    outer = d.graph.concat([inner, parts[2], inner, d.live(1, 2)], 0)
    d.layout([outer, inner, d.apply(double, outer)])


# -- the workspace --------------------------------------------------------------------------------


def chain(steps: int) -> Layout:
    d = Drawing()
    x, w = d.input(16, 16), d.input(16, 16)
    for _ in range(steps):
        x = d.apply(lambda xp, a: xp.tanh(a), d.graph.product(x, w))
    return d.layout([x])


def test_the_workspace_is_used_again():
    sizes = [chain(n).workspace for n in (1, 2, 4, 16)]
    assert sizes == [1024, 2048, 2048, 2048]


def test_values_lie_at_multiples_of_64():
    d = Drawing()
    x, w = d.input(5, 3), d.input(3, 7)
    y = d.graph.product(d.apply(double, d.graph.product(x, w)), d.graph.permute(w, (1, 0)))
    layout = d.layout([d.apply(double, y)])
    for i in layout.instructions:
        assert all(ref[2] % 64 == 0 for ref in i.refs)


def test_a_transposed_matrix_is_only_a_flag():
    d = Drawing()
    x, y = d.input(4, 3), d.input(4, 5)
    turned = d.graph.permute(x, (1, 0))
    layout = d.layout([d.graph.product(turned, y)])
    assert kinds(layout) == ["product"]
    assert layout.instructions[0].details[:2] == (True, False)
    layout = d.layout([d.graph.product(turned, y), d.apply(double, turned)])
    assert sorted(kinds(layout)) == ["copy", "kernel", "product"]
    batch = d.input(2, 3, 4)
    d.layout(
        [d.graph.permute(batch, (2, 0, 1)), d.apply(double, d.graph.permute(batch, (1, 0, 2)))]
    )


def test_moves():
    d = Drawing()
    p = d.live(0, 25)
    scattered = d.graph.strided(p, 2, (3, 4), (8, 2))
    x = d.apply(double, scattered)
    slices = ((0, 3, 2), (1, 4, 1))
    part = d.graph.add("slice", (x,), (("slices", slices),), (2, 3), F)
    back = d.graph.add("place", (part,), (("slices", slices),), (3, 4), F)
    layout = d.layout([scattered, part, back, d.apply(add, x, back)])
    assert kinds(layout).count("kernel") == 2
    assert window(slices, (3, 4)) == (1, (8, 1))
    assert contiguous((3, 4, 5)) == (20, 5, 1)


def test_nothing_of_size_zero_is_in_the_way():
    d = Drawing()
    x = d.input(0, 3)
    y = d.apply(double, x)
    d.layout([y, d.apply(lambda xp, a: xp.sum(a, axis=0), y)])


# -- numbers that must be finite ------------------------------------------------------------------


def test_nothing_is_updated_before_the_check():
    """The number is ready long after the update: the update waits at the end."""
    d = Drawing()
    p, x = d.live(0, 16), d.input(16)
    new = d.apply(add, p, x)
    number = d.graph.reshape(d.apply(double, x), (4, 4))
    for _ in range(3):
        number = d.graph.product(number, number)
    loss = d.apply(lambda xp, a: xp.sum(a), number)
    layout = d.layout([loss], [(p, new)], checks=[loss])
    assert kinds(layout)[-2:] == ["finite", "copy"]
    plain = d.layout([loss], [(p, new)])
    assert "copy" not in kinds(plain)
    assert plain.at[new] == (LIVE, 0, 0)


# -- rows of tables -------------------------------------------------------------------------------


def test_rows_of_tables_go_side_by_side_and_back():
    """Two tables in live memory, whose gradients go to their places and whose sum updates them."""
    r = Recorder()
    tables, gradients = np.ones(22, np.float32), np.ones(22, np.float32)
    a, b = tables[:12].reshape(4, 3), tables[12:].reshape(5, 2)
    for x, check in (
        (r.argument(np.zeros((6, 4), np.float32), "x"), False),
        (r.argument(np.zeros((6, 4), np.float32), "x") * 2.0, True),
    ):
        if not check:
            r.codes(x, [4, 5], 2)
        y = r.gather(x, [r.of(a), r.of(b)], 2)
        g = y * 3.0
        for n, first, table, start in ((2, 2, a, 0), (3, 5, b, 12)):
            back = r.scatter(g, x, column=n, first=first, shape=table.shape, padding=-1)
            r.put(gradients[start : start + table.size].reshape(table.shape), back)
            r.put(table, r.of(table) - back)
        layout = layout_of(r, [y])
        Machine(layout).run()
    found = [i.kind for i in layout.instructions]
    assert found.count("scatter") == 4
    assert found.count("several") == 2


# -- random steps ---------------------------------------------------------------------------------


def recorded(script: Script) -> tuple[Recorder, list[Any]]:
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(script.arguments)]
    return recorder, script.run(symbols, recorder)


@pytest.mark.parametrize("least", [fuse._SHARED, 1])  # entries that are worth several threads
@settings(max_examples=MANY)
@given(scripts)
def test_random_steps(least: int, actions: Any) -> None:
    script = Script(actions)
    recorder, values = recorded(script)
    made = [v for v in values if hasattr(v, "expr")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "_SHARED", least)
        try:
            layout = layout_of(recorder, made)
        except NotImplementedError:  # updates that read what other updates overwrite
            return
    Machine(layout).run()


@settings(max_examples=MANY // 3)
@given(scripts)
def test_random_steps_with_a_check(actions: Any) -> None:
    script = Script(actions)
    recorder, values = recorded(script)
    numbers = [v for v in values if hasattr(v, "expr") and v.shape == () and hasattr(v.expr, "op")]
    made = [v for v in values if hasattr(v, "expr")]
    try:
        layout = layout_of(recorder, made[:3], [n.expr for n in numbers[-2:]])
    except NotImplementedError:
        return
    Machine(layout).run()
