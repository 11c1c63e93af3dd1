"""Identity, Flatten."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_identity() -> None:
    x = np.ones(3)
    assert nn.Identity()(x) is x


@pytest.mark.parametrize("axes", [(), (0,), (2,), (1, 2), (0, 1), (-2,), (1, -2), (3, 3)])
@pytest.mark.parametrize("n", [2, 0])
def test_flatten_as_in_torch(axes: tuple[int, ...], n: int) -> None:
    torch = pytest.importorskip("torch")
    x = np.arange(n * 60, dtype=np.float32).reshape(n, 3, 4, 5)
    wanted = torch.nn.Flatten(*axes)(torch.tensor(x)).numpy()
    got = nn.Flatten(*axes)(x)
    assert got.shape == wanted.shape
    assert np.array_equal(got, wanted)


def test_flatten_has_a_gradient() -> None:
    assert cr.check_gradients(nn.Flatten(), np.ones((2, 3, 2)))


def test_flatten_names_itself() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dense(3, 2))
    with pytest.raises(cr.ShapeError, match=r"model.0 Flatten\(\): .*got \(3,\); a single sample"):
        model(np.ones(3))
    with pytest.raises(
        cr.ShapeError, match=r"Flatten\(start_axis=3, end_axis=1\): expected x with"
    ):
        nn.Flatten(3, 1)(np.ones((2, 2, 2, 2)))


def test_repr() -> None:
    assert [repr(m) for m in (nn.Identity(), nn.Flatten(), nn.Flatten(2))] == [
        "Identity()",
        "Flatten()",
        "Flatten(start_axis=2, end_axis=-1)",
    ]
