"""Arrays without values: NumPy's behaviour as far as it needs none, and an error with a line."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile.recorder import Recorder
from chainrule.compile.replay import Replay
from chainrule.compile.symbolic import CaptureError, Postponed, Symbolic, capture_error, line_of

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
N = np.arange(4)


def here() -> str:
    """``file:line`` of the caller's next line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{frame.f_back.f_code.co_filename}:{frame.f_back.f_lineno + 1}"


@pytest.fixture
def x() -> Symbolic:
    return Recorder().argument(X, "x")


def test_what_needs_no_values(x: Symbolic) -> None:
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((4, 3), 2, 12, np.float32, 4)
    assert repr(x) == "Symbolic((4, 3), float32)"
    assert x.T.shape == (3, 4)
    assert x.mT.shape == (3, 4)
    assert x.reshape(2, -1).shape == x.reshape((2, -1)).shape == (2, 6)
    assert x.astype(np.float64).dtype == np.float64
    assert x.astype(np.float32) is x
    assert x[1:, 0].shape == (3,)
    assert x[..., None].shape == (4, 3, 1)
    assert np.shape(x) == (4, 3)
    assert hash(x) == hash(x)
    assert not np.may_share_memory(x, x)
    with pytest.raises(TypeError, match="no length"):
        len(x[0, 0])


@pytest.mark.parametrize(
    "question",
    [
        bool, float, int, list, np.asarray, np.array, operator.index, lambda x: x.item(),
        lambda x: x.tolist(), lambda x: x.max(), lambda x: x.any(), lambda x: x.view(np.int32),
        lambda x: [1, 2][x], lambda x: 1 if x else 2, lambda x: range(x), lambda x: x in [1, 2],
        lambda x: np.linalg.norm(x), lambda x: np.add.reduce(x), lambda x: np.modf(x),
        lambda x: x.sum(), lambda x: x.mean(axis=0), lambda x: np.nonzero(x),
        lambda x: operator.setitem(x, 0, 1.0), lambda x: operator.iadd(x, 1.0),
        lambda x: np.add(x, 1.0, out=x), lambda x: np.add(x, 1.0, where=x > 0),
        lambda x: np.stack([x, x]), lambda x: X[x > 0],
    ],
)  # fmt: skip
def test_what_does_names_the_line(question: Any, x: Symbolic) -> None:
    with pytest.raises(CaptureError) as caught:
        question(x)
    assert str(caught.value).startswith(f"{__file__}:")


def test_the_line_is_that_of_a_persons_own_code(x: Symbolic) -> None:
    with pytest.raises(CaptureError) as caught:
        inside = here()
        cr.ops.mse_loss(x, x) + x.item()
    assert str(caught.value).startswith(f"{inside}: .item() needs a value")

    def raising() -> None:
        raise KeyError("mine")

    line = f"{__file__}:{inspect.getsourcelines(raising)[1] + 1}: "
    with pytest.raises(KeyError) as raised:
        raising()
    assert line_of(raised.value) == line
    assert line_of(ValueError("never raised")) == ""
    assert isinstance(Postponed("later"), CaptureError)
    assert str(capture_error("why")).endswith(": why")


def test_other_attributes(x: Symbolic) -> None:
    with pytest.raises(AttributeError):
        _ = x.nothing_of_the_kind
    assert not hasattr(x, "__array_interface__")
    assert not hasattr(x, "detach")
    with pytest.raises(CaptureError, match=r"\.std of an array; use a function of cr.ops"):
        _ = x.std


#: functions of arrays of one floating type or of mixed ones, as NumPy has them
OPERATIONS: dict[str, Any] = {
    "arithmetic": lambda x, n: (
        *(x + 1, 1 - x, x * x, 2 / (x + 3), -x, abs(x)),
        *(x // 2, x % 2, 3 % (x + 5), 7 // (x + 5)),
    ),
    "powers": lambda x, n: (x**2, x**2.0, x**3, 2.0**x, abs(x) ** 0.5),
    "comparisons": lambda x, n: (x > 0, x < 0.5, x >= x.T.T, x <= 0, x == 0, x != 0, x > 0),
    "logic": lambda x, n: ((x > 0) & (x < 1), (x > 0) | (x < -1), ~(x > 0), (x > 0) ^ (x > 1)),
    "whole numbers": lambda x, n: (
        *(n + 1, n * 2, n / 2, n // 2, n % 3, -n, n**2),
        *(n == 1, n > 1, n & 1),
    ),
    "mixed": lambda x, n: (
        *(x * n[:, None], x * np.float64(0.1)),
        *(np.float32(0.1) * x, x + n[:, None] / 3),
    ),
    "scalars of NumPy": lambda x, n: (
        *(x / np.sqrt(2), np.pi * x),
        *(np.int64(2) * x, x * np.array(2.0)),
    ),
    "booleans": lambda x, n: ((x > 0) * 1.0, (x > 0) * x, (x > 0) + 1, (x > 0).astype(np.float32)),
    "functions": lambda x, n: (
        *(np.exp(x), np.tanh(x), np.square(x), np.log1p(abs(x)), np.sign(x)),
        *(np.maximum(x, 0), np.hypot(x, 1), np.arctan2(x, 2), np.isfinite(x)),
    ),
    "sums": lambda x, n: (
        *(np.sum(x), np.mean(x, axis=0), np.max(x, axis=1, keepdims=True), np.std(x)),
        *(np.any(x > 1), np.argmax(x, axis=1), np.cumsum(x, axis=0), np.prod(n)),
    ),
    "shapes": lambda x, n: (
        *(np.transpose(x), np.reshape(x, (2, 6)), np.flip(x, 1), np.roll(x, 1), x[::-1]),
        *(np.expand_dims(x, 0), np.repeat(n, 2), np.tile(n, 2), x[:, ::2], x[-1], x[1:3, None]),
        *(x[None], x[...], x[()], x[None, 1], np.squeeze(x[:1], axis=None)),
    ),
    "choices": lambda x, n: (
        *(x[n[:2]], x[np.array([0, 2])], np.where(x > 0, x, -x), np.clip(x, -1, 1)),
        *(np.sort(x, axis=1), np.take_along_axis(x, n[:, None] % 3, axis=1), x[[0, 1]]),
        x[np.array([True, False, True, True])],
    ),
    "joined": lambda x, n: (
        *(np.concatenate([x, x], axis=1), np.concatenate((x, x * 2)), np.pad(x, 1)),
        *(np.ones_like(x), np.zeros_like(x, dtype=np.float64)),
    ),
    "products": lambda x, n: (
        *(x @ x.T, x.T @ x, x @ np.ones(3, np.float32), np.matmul(x, x.T)),
        *(np.ones((2, 4), np.float32) @ x, np.einsum("ij,kj->ik", x, x), n @ n),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_numpys(name: str, executor: str) -> None:
    """Values, shapes and types; on native code to rounding."""
    f = OPERATIONS[name]
    recorder = Recorder()
    results = f(recorder.argument(X, "x"), recorder.argument(N, "n"))
    run = Replay(recorder, [recorder.of(r) for r in results], "step").run
    for arrays in ((X, N), (X * 3, N[::-1].copy())):
        for k, (a, b) in enumerate(zip(run(*arrays), f(*arrays), strict=True)):
            assert (a.shape, a.dtype) == (np.shape(b), np.asarray(b).dtype), (name, k)
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6, err_msg=f"{name} {k}")


def test_in_place_operations_change_the_array_itself(executor: str) -> None:
    def f(x):
        y = x.copy()
        z = y
        y += 1.0
        y *= 2.0
        np.subtract(y, x, out=y)
        return y, z, x

    recorder = Recorder()
    run = Replay(recorder, list(f(recorder.argument(X, "x"))), "step").run
    for a, b in zip(run(X), f(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_tensors_take_over_where_they_meet_an_array(x: Symbolic) -> None:
    t = cr.tensor(np.ones((4, 3), np.float32))
    for result in (x + t, t + x, x * t, x @ t.T, t @ x.T, np.multiply(x, t), x > t, t > x):
        data = result._data if isinstance(result, cr.Tensor) else result
        assert isinstance(data, Symbolic)
    assert isinstance(x + t, cr.Tensor)


def test_an_array_of_another_step_is_refused(x: Symbolic) -> None:
    other = Recorder().argument(X, "x")
    with pytest.raises(CaptureError, match="an array of another captured step"):
        _ = x + other
