"""Products of vectors, matrices and batches, and Einstein sums, with both derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((4, 3), (3,)),
        ((4, 3), (3, 2)),
        ((2, 4, 3), (3, 2)),
        ((4, 3), (2, 3, 5)),
        ((2, 4, 3), (2, 3, 5)),
        ((2, 1, 4, 3), (5, 3, 2)),
        ((3,), (2, 3, 5)),
        ((2, 4, 3), (3,)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul_of_vectors_matrices_and_batches(left, right):
    a, b = RNG.standard_normal(left), RNG.standard_normal(right)
    y = ops.matmul(cr.tensor(a), b)
    assert y.shape == (a @ b).shape
    np.testing.assert_allclose(y.numpy(), a @ b, rtol=1e-12)
    cr.check_gradients(ops.matmul, a, b)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ("bi,oi->bo", [(5, 3), (2, 3)]),
        ("ij->ji", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("ij->i", [(3, 4)]),
        ("ij,j", [(3, 4), (4,)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
        ("ij,k->i", [(2, 3), (4,)]),
        ("i,i,i->i", [(3,), (3,), (3,)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iji,kk->jk", [(3, 2, 3), (2, 2)]),
        ("...ij,...jk", [(4, 1, 2, 3), (5, 3, 2)]),
        ("...i->...", [(2, 3)]),
        ("i...i->i...", [(2, 3, 2)]),
    ],
)
def test_einsum(spec, shapes):
    arrays = [RNG.standard_normal(s) for s in shapes]
    got = ops.einsum(spec, *map(cr.tensor, arrays))
    np.testing.assert_allclose(got.numpy(), np.einsum(spec, *arrays), rtol=1e-12)
    cr.check_gradients(lambda *xs: ops.einsum(spec, *xs), *arrays)


@pytest.mark.parametrize("spec", ["ij->", "ij,ij->", "ii", "...i,...j->", "i...->..."])
def test_einsum_in_a_captured_step(spec):
    """Its gradient, where the cotangent is a constant."""
    count = spec.count(",") + 1

    def losses(wrap):
        w = cr.nn.Parameter(X[:, :3] / 4)
        optimizer = cr.optim.SGD([w], lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = ops.einsum(spec, *[ops.matmul(x, w)] * count).sum()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        return [step(np.eye(3) + 0.5).item() for _ in range(4)]

    np.testing.assert_allclose(losses(cr.capture), losses(lambda step: step), rtol=1e-13)


def test_einsum_messages():
    for spec in ("..i->i", "i...j...->", "...ijk->ij"):
        with pytest.raises(ValueError, match=r"no place for its axes"):
            ops.einsum(spec, X)
    with pytest.raises(ValueError, match=r"names 2 operands, 1 were given"):
        ops.einsum("ij,jk->ik", X)
    with pytest.raises(ValueError, match=r"stands twice in the output 'ii'"):
        ops.einsum("ij->ii", X)
    with pytest.raises(ShapeError, match=r"'i' has length 3 and 4"):
        ops.einsum("ii->i", X)
    with pytest.raises(ShapeError, match=r"'ijk' names 3 axes, its operand has shape \(3, 4\)"):
        ops.einsum("ijk->i", X)
    with pytest.raises(ValueError, match=r"output letter 'z' is in no operand"):
        ops.einsum("ij->z", X)
    with pytest.raises(ShapeError, match=r"'j' has length 4 and 3"):
        ops.einsum("ij,ji->i", X, X)


def test_matmul_messages():
    t = cr.tensor(X)
    with pytest.raises(
        ShapeError, match=r"matmul: \(3, 4\) @ \(3, 4\): the last axis.*\(4\).*\(3\)"
    ):
        t @ X
    with pytest.raises(ShapeError, match=r"\(3, 4\) @ \(3,\).*only axis of the second \(3\)"):
        t @ np.ones(3)
    with pytest.raises(ShapeError, match=r"use \* for numbers"):
        ops.matmul(t, 2.0)
