"""Tracing with two numbers of rows: what depends on them, and what cannot be one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd.context import state
from chainrule.interop.onnx.trace import Rows, evaluating, row_counts, trace_pair
from chainrule.interop.onnx.writer import ExportError

F4 = np.dtype(np.float32)


def pair(forward: Any, shape: tuple[int, ...] = (4,)) -> Any:
    return trace_pair(lambda x: [forward(x)], [("x", F4, shape)], {4})


def test_sizes_that_depend_on_the_rows_are_told_from_those_that_do_not() -> None:
    p = pair(lambda x: cr.ops.reshape(x, (x.shape[0] * 2, 2)))
    (a, b), *_ = p.outputs
    assert p.sizes(a.shape, b.shape, a.expr) == [Rows(2), 2]
    p = pair(lambda x: cr.ops.concatenate([x, np.zeros((3, 4), np.float32)]))
    (a, b), *_ = p.outputs
    assert p.sizes(a.shape, b.shape, a.expr) == [Rows(1, 3), 4]


def test_the_numbers_of_rows_are_primes_that_nothing_else_is() -> None:
    assert row_counts(set()) == (11, 13)
    assert row_counts({11, 13, 17}) == (19, 23)


def test_a_branch_on_the_rows_is_no_single_program() -> None:
    with pytest.raises(ExportError, match=r"depends on the number of rows"):
        pair(lambda x: cr.ops.exp(x) if x.shape[0] == 11 else x)


def test_a_number_that_is_no_multiple_of_the_rows_is_refused() -> None:
    p = pair(lambda x: cr.ops.multiply(x, 1.0 / x.shape[0]))
    with pytest.raises(ExportError, match=r"uses the number of rows in a way"):
        p.size(1 / 11, 1 / 13, p.outputs[0][0].expr)


def test_a_look_at_values_names_the_line() -> None:
    with pytest.raises(ExportError, match=r"test_trace\.py:\d+: the truth of an array"):
        pair(lambda x: x if cr.ops.sum(x) > 0 else -x)


def test_an_update_of_a_buffer_is_refused() -> None:
    class Counts(cr.nn.Module):
        def __init__(self) -> None:
            self.register_buffer("seen", np.zeros(4, np.float32))

        def forward(self, x: Any) -> Any:
            np.copyto(self.seen, x._data[0])
            return x

    with pytest.raises(ExportError, match=r"changes parameters or buffers"):
        pair(Counts())


def test_nothing_is_left_behind_after_an_error() -> None:
    with pytest.raises(ExportError):
        pair(lambda x: float(x))
    assert state.recorder is None
    assert state.enabled


def test_modules_are_evaluated_and_get_their_modes_back() -> None:
    model = cr.nn.Sequential(cr.nn.Dropout(0.5), cr.nn.Dropout(0.5).eval())
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.modules()] == [True, True, False]
