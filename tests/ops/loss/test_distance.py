"""Vectors, pairs and triplets against torch."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import DataError, ShapeError
from tests_losses import REDUCTIONS, agree, three, three_torch

RNG = np.random.default_rng(0)
A, P, N = RNG.standard_normal((3, 6, 5))
Y = np.array([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
W = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])


def test_cosine_similarity_equals_torch(torch):
    f = torch.nn.functional.cosine_similarity
    for axis in (0, 1, -1):
        wanted = three_torch(torch, lambda a, b, axis=axis: f(a, b, dim=axis), A, P)
        agree(three(ops.cosine_similarity, A, P, axis=axis), wanted)
    zero = ops.cosine_similarity(np.zeros((1, 3)), np.ones((1, 3)))
    assert zero == 0
    with pytest.raises(ShapeError, match="pass axis=0"):
        ops.cosine_similarity(A[0], P[0])
    with pytest.raises(ShapeError, match=r"x1 has shape \(6, 5\), x2 \(5,\)"):
        ops.cosine_similarity(A, P[0])


def test_pairwise_distance_equals_torch(torch):
    f = torch.nn.functional.pairwise_distance
    for p in (1.0, 2.0, 3.0):
        for keep in (False, True):
            wanted = three_torch(torch, lambda a, b, p=p, k=keep: f(a, b, p=p, keepdim=k), A, P)
            agree(three(ops.pairwise_distance, A, P, p=p, keepdims=keep), wanted)
    _, g, h = three(ops.pairwise_distance, A, A)  # where ε keeps the slope finite
    assert np.isfinite(g).all()
    assert np.isfinite(h).all()


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("margin", [0.0, -0.3])
def test_cosine_embedding_equals_torch(torch, mode, margin):
    f = torch.nn.functional.cosine_embedding_loss
    more = {"margin": margin, "reduction": mode}
    agree(
        three(ops.cosine_embedding_loss, A, P, Y, **more),
        three_torch(torch, f, A, P, Y, **more),
    )


def test_cosine_embedding_weights_one_pair_and_errors(torch):
    each = ops.cosine_embedding_loss(A, P, Y, reduction="none")
    np.testing.assert_allclose(
        ops.cosine_embedding_loss(A, P, Y, weight=W), (W * each).sum() / W.sum()
    )
    np.testing.assert_allclose(ops.cosine_embedding_loss(A[0], P[0], np.array(1.0)), each[0])
    cr.check_gradients(lambda a, b: ops.cosine_embedding_loss(a, b, Y, margin=-0.5), A, P)
    with pytest.raises(ShapeError, match=r"target of shape \(6,\), got \(6, 1\)"):
        ops.cosine_embedding_loss(A, P, Y[:, None])
    with pytest.raises(DataError, match=r"write 2 \* y - 1"):
        ops.cosine_embedding_loss(A, P, (Y + 1) / 2)


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize(
    "more", [{}, {"swap": True}, {"p": 1.0, "margin": 0.2}, {"p": 3.0}], ids=str
)
def test_triplets_equal_torch(torch, mode, more):
    f = torch.nn.functional.triplet_margin_loss
    agree(
        three(ops.triplet_margin_loss, A, P, N, reduction=mode, **more),
        three_torch(torch, f, A, P, N, reduction=mode, **more),
    )


def test_triplets_weights_types_and_errors():
    each = ops.triplet_margin_loss(A, P, N, reduction="none")
    np.testing.assert_allclose(
        ops.triplet_margin_loss(A, P, N, weight=W), (W * each).sum() / W.sum()
    )
    cr.check_gradients(lambda a, p, n: ops.triplet_margin_loss(a, p, n, margin=3.0), A, P, N)
    single = [v.astype(np.float32) for v in (A, P, N)]
    assert ops.triplet_margin_loss(*single).dtype == np.float32
    for value in three(ops.triplet_margin_loss, single[0] * 1e4, *single[1:]):
        assert np.isfinite(value).all()
    with pytest.raises(ShapeError, match=r"anchor has shape \(6, 5\), negative \(5,\)"):
        ops.triplet_margin_loss(A, P, N[0])
    with pytest.raises(ValueError, match="margin must be positive, got 0"):
        ops.triplet_margin_loss(A, P, N, margin=0)
