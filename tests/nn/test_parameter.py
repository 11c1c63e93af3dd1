"""Parameters: values that change in place, and count it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_the_values_are_a_copy() -> None:
    a = np.ones(3, np.float32)
    p = nn.Parameter(a)
    a[0] = 5
    assert p.detach().numpy().tolist() == [1, 1, 1]
    assert p.requires_grad
    assert nn.Parameter([1.0]).dtype == np.float32
    assert nn.Parameter(np.ones(1)).dtype == np.float64
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad


def test_assign_is_in_place_and_counts() -> None:
    p = nn.Parameter(np.zeros(2, np.float32))
    memory, version = p._data, p._version
    for value in ([1, 2], np.array([1.0, 2.0]), cr.tensor([1.0, 2.0]), nn.Parameter([1.0, 2.0])):
        p.assign(np.zeros(2))
        p.assign(value)
        assert p.detach().numpy().tolist() == [1, 2]
    assert p._data is memory
    assert p.dtype == np.float32
    assert p._version == version + 8


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([1.0], cr.ShapeError, r"shape \(2,\) cannot take values of shape \(1,\)"),
        (["a", "b"], TypeError, "numbers"),
        ([1j, 2j], TypeError, "numbers"),
    ],
)
def test_assign_refuses(value: Any, error: type[Exception], text: str) -> None:
    p = nn.Parameter(np.zeros(2, np.float32))
    with pytest.raises(error, match=text):
        p.assign(value)
    assert p._version == 0


def test_a_parameter_holds_floats() -> None:
    with pytest.raises(TypeError, match=r"holds floats, not int64; write Parameter\(np.zeros"):
        nn.Parameter([1, 2])


def test_backward_after_an_update_raises() -> None:
    layer = nn.Dense(2, 2)
    x = cr.tensor([[1.0, 2.0]], requires_grad=True)
    loss = layer(x).sum()
    layer.weight.assign(np.zeros((2, 2)))
    with pytest.raises(cr.StaleGraphError, match=r"Dense\(2 -> 2\)"):
        loss.backward()


def test_cast_drops_the_gradient() -> None:
    p = nn.Parameter(np.ones(2, np.float32))
    (p * 2).sum().backward()
    p.cast(np.float32)
    assert p.grad is not None
    p.cast(np.float64)
    assert (p.dtype, p.grad, p._version) == (np.dtype(np.float64), None, 1)


def test_deepcopy() -> None:
    p = nn.Parameter(np.ones(2), requires_grad=False)
    q, again = copy.deepcopy([p, p])
    assert q is again
    assert type(q) is nn.Parameter
    assert not q.requires_grad
    q.assign([2.0, 2.0])
    assert p.detach().numpy().tolist() == [1, 1]


def test_repr() -> None:
    assert repr(nn.Parameter([1.0, 2.0])) == "parameter([1., 2.])"
    assert repr(nn.Parameter(np.ones(1), False)) == "parameter([1.], dtype=float64, frozen)"
