"""Samples of products, of what is looked up, and of what is said of whole matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array
from chainrule.diagnose.proof.samples import Sample, along, draws

__all__ = ["linear"]


def linear() -> Iterator[Sample]:
    """Samples of products, tables, distances and penalties on weights."""
    yield from _products()
    yield from _distances()
    yield from _penalties()


def _products() -> Iterator[Sample]:
    a, b = draws("matmul", 3, 4), draws("matmul other", 4, 5)
    yield Sample("matmul", ops.matmul, np.matmul, (a, b))
    yield Sample("matmul", ops.matmul, np.matmul, (a, draws("vector", 4)), "vector")
    yield Sample("matmul", ops.matmul, np.matmul, (draws("stacked", 2, 3, 4), b), "stacked")
    yield Sample("einsum", lambda a, b: ops.einsum("ij,jk->ki", a, b),
                 lambda a, b: np.einsum("ij,jk->ki", a, b), (a, b))  # fmt: skip
    yield Sample("einsum", lambda a, b: ops.einsum("bij,bij->b", a, b),
                 lambda a, b: np.einsum("bij,bij->b", a, b),
                 (draws("e", 2, 3, 4), draws("f", 2, 3, 4)), "per row")  # fmt: skip
    W, bias = draws("weight", 5, 4), draws("bias", 5)
    yield Sample("linear", ops.linear, lambda x, W, b: x @ W.T + b, (a, W, bias))
    yield Sample("dense", ops.dense, lambda x, W, b: x @ W.T + b, (a, W, bias))
    yield Sample(
        "dense",
        lambda x, W, b: ops.dense(x, W, b, activation=ops.tanh),
        lambda x, W, b: np.tanh(x @ W.T + b),
        (a, W, bias),
        "tanh",
    )
    codes = np.array([2, 0, 2])
    yield Sample("embedding", ops.embedding, lambda i, W: W[i], (codes, draws("table", 4, 3)),
                 spreads=False)  # fmt: skip
    yield Sample(
        "embed_columns",
        lambda x, W: ops.embed_columns(
            ops.concatenate([x, codes[:, None].astype(x.dtype)], 1), [W]
        ),
        lambda x, W: np.concatenate([x, W[codes]], axis=1),
        (draws("columns", 3, 2), draws("table", 4, 3)),
        spreads=False,
    )
    yield Sample("standardize", ops.standardize, lambda x, m, s: (x - m) / s,
                 (a, draws("mean", 4), draws("scale", 4, low=0.3)))  # fmt: skip


def _distances() -> Iterator[Sample]:
    a, b = draws("near", 3, 4), draws("far", 3, 4)
    yield Sample(
        "cosine_similarity",
        ops.cosine_similarity,
        lambda a, b: np.sum(a * b, 1) / np.sqrt(np.sum(a * a, 1) * np.sum(b * b, 1)),
        (a, b),
    )
    yield Sample("pairwise_distance", ops.pairwise_distance,
                 lambda a, b: np.sqrt(np.sum((a - b + 1e-6) ** 2, 1)), (a, b))  # fmt: skip


def _rows(w: Array) -> Any:
    return np.sqrt(np.sum(w * w, axis=1, keepdims=True))


def _penalties() -> Iterator[Sample]:
    w = draws("penalty", 4, 3)
    yield Sample("l1_penalty", ops.l1_penalty, lambda w: np.abs(w).sum(), (w,))
    yield Sample("l2_penalty", ops.l2_penalty, lambda w: (w * w).sum() / 2, (w,))
    yield Sample(
        "elastic_net_penalty",
        lambda w: ops.elastic_net_penalty(w, 0.3, 0.7),
        lambda w: 0.3 * np.abs(w).sum() + 0.35 * (w * w).sum(),
        (w,),
    )
    yield Sample(
        "orthogonality_penalty",
        ops.orthogonality_penalty,
        lambda w: np.sum((w.T @ w - np.eye(3)) ** 2),
        (w,),
    )
    yield Sample("max_norm_penalty", along(ops.max_norm_penalty, max_norm=1.5),
                 lambda w: np.maximum(_rows(w) - 1.5, 0).sum(), (w,))  # fmt: skip
    yield Sample("max_norm_projection", along(ops.max_norm_projection, max_norm=1.5),
                 lambda w: w / np.maximum(_rows(w) / 1.5, 1), (w,), order=0)  # fmt: skip
    yield Sample("spectral_norm", ops.spectral_norm, lambda w: np.linalg.norm(w, 2), (w,))
    yield Sample("singular_vectors", lambda w: ops.singular_vectors(w)[0],
                 lambda w: np.linalg.norm(w, 2), (w,), order=0)  # fmt: skip
    yield Sample("power_iteration", _iterated, lambda w: np.linalg.norm(w, 2), (w,), order=0,
                 empty=False)  # fmt: skip


def _iterated(w: Any) -> Any:
    u, v = (draws(key, n).astype(w.dtype) for key, n in (("left", 4), ("right", 3)))
    return ops.power_iteration(w, u, v, 200)[0]
