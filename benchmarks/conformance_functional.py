"""Functions of `torch.nn.functional` as calls of `cr.ops`: activations, dropout, losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from conformance_cases import (
    BROADCAST,
    CASES,
    EMPTY,
    LABELS,
    LIMIT,
    NO_CHANNELS,
    ONE_LABEL,
    ZERO_D,
    add,
    axes,
    ops,
    renamed,
    shape,
)
from conformance_record import NotApplicable, difference

# -- activations -------------------------------------------------------------------------------


def on_axis(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: int = -1, dtype: Any = None, **more: Any) -> Any:
        if dtype is not None:
            x = ops.astype(x, dtype)
        if 0 in shape(x) and shape(x)[dim] == 0:
            raise NotApplicable(EMPTY)
        return getattr(ops, name)(x, axis=axes(x, dim), **more)

    return call


for name in ("softmax", "log_softmax", "softmin"):
    prefix = "nn.functional." if name == "softmin" else ""
    add(prefix + name, name, on_axis(name))
    add(f"{prefix}{name}|with_dtype", name, on_axis(name))
add("nn.functional.glu", "glu", on_axis("glu"))
for name in (
    *("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "relu6", "softsign"),
    *("hardtanh", "hardswish", "hardshrink", "softshrink", "tanhshrink", "prelu"),
    *("threshold", "logsigmoid"),
):
    add(f"nn.functional.{name}", name)


# PyTorch's own 1/6 and 1/alpha are rounded to float32
add("nn.functional.hardsigmoid", "hardsigmoid", rounded=(1e-7, 1e-7))
add("nn.functional.celu", "celu", rounded=(1e-7, 1e-7))


def thresholded_softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    if threshold != 20.0:
        raise NotApplicable("threshold of softplus: chainrule's is exact everywhere and has none")
    return ops.softplus(x, beta=beta)


add("nn.functional.softplus", "softplus", thresholded_softplus)


def line(x: Any, kept: float, shift: float, value: float) -> tuple[Any, Any]:
    """What an entry may become and its slope: ``kept · x + shift``, or `value` with slope 0."""
    whole = np.ones_like(x)
    return (
        np.stack([kept * x + shift, value * whole]).astype(x.dtype),
        np.stack([kept * whole, 0 * whole]),
    )


def dropping(alpha: bool = False, channels: bool = False) -> Callable[..., Any]:
    """The check of a kind of dropout: each entry is one of two values, its derivative is the slope
    of this one, and channels share it. Without draws, PyTorch's values decide."""

    def check(ours: Any, leaf: Any, p: float = 0.5, training: bool = not alpha, **_: Any) -> Any:
        if not training or p in (0, 1):
            return NotImplemented
        x, y = leaf.detach().numpy(), ours.detach().numpy()
        lowest = -1.0507009873554805 * 1.6732632423543772
        a = ((1 - p) * (1 + p * lowest**2)) ** -0.5 if alpha else 1 / (1 - p)
        b = -a * p * lowest if alpha else 0.0
        values, slopes = line(x, a, b, a * lowest + b if alpha else 0.0)
        (g,) = cr.autograd.grad([ours], [leaf], [np.ones_like(y)])
        kept = g.numpy() != 0
        found = difference(y, np.where(kept, *values), "value")
        found = found or difference(g.numpy(), np.where(kept, *slopes).astype(x.dtype), "gradient")
        if channels and not found:
            flat = kept.reshape(*x.shape[:2], -1)
            found = None if (flat == flat[:, :, :1]).all() else "a channel is dropped in part"
        if x.size > 1000 and not channels and abs(kept.mean() - (1 - p)) > 0.05:
            found = found or f"a share of {kept.mean()} is kept"
        return found

    return check


def random_slopes(
    ours: Any, leaf: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> Any:
    if not training:
        return NotImplemented
    x, y = leaf.detach().numpy(), ours.detach().numpy()
    (g,) = cr.autograd.grad([ours], [leaf], [np.ones_like(y)])
    slope = g.numpy()
    if not ((x > 0) | ((slope >= lower) & (slope <= upper))).all():
        return "a slope outside the range"
    if not (slope[x > 0] == 1).all():
        return "a slope other than 1 above 0"
    return difference(y, slope * x, "value")


def droppable(name: str, ranks: tuple[int, ...] = ()) -> Callable[..., Any]:
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        if ranks and len(shape(x)) not in ranks:
            raise NotApplicable(NO_CHANNELS)
        return getattr(ops, name)(x, *args, **renamed(kwargs, {}))

    return call


add("nn.functional.dropout", "dropout", droppable("dropout"), check=dropping())
add(
    "nn.functional.dropout2d",
    "dropout2d",
    droppable("dropout2d", (4,)),
    check=dropping(channels=True),
)
add(
    "nn.functional.dropout3d",
    "dropout3d",
    droppable("dropout3d", (4, 5)),
    check=dropping(channels=True),
)
add("nn.functional.alpha_dropout", "alpha_dropout", check=dropping(alpha=True))
for name in ("with_train", "without_train"):
    add(
        f"nn.functional.feature_alpha_dropout|{name}",
        "feature_alpha_dropout",
        droppable("feature_alpha_dropout", (3, 4, 5)),
        check=dropping(alpha=True, channels=True),
    )
add("nn.functional.rrelu", "rrelu", check=random_slopes)

# -- losses ------------------------------------------------------------------------------------


def loss(name: str, count: int = 2, labels: int | None = None, **more: str) -> Callable[..., Any]:
    """A loss of `count` arrays of one shape; argument `labels` of them has -1 and 1."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if len({shape(x) for x in args[:count]}) != 1:
            raise NotApplicable(BROADCAST)
        if labels is not None:
            y = args[labels]
            y = y.detach().numpy() if isinstance(y, cr.Tensor) else y
            if not np.isin(y, (-1, 1)).all():
                raise NotApplicable(LABELS)
        return getattr(ops, name)(*args, **renamed(kwargs, more))

    return call


for name in (
    *("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "poisson_nll_loss", "kl_div"),
    *("gaussian_nll_loss", "pairwise_distance"),
):
    add(f"nn.functional.{name}", name, loss(name))
for name in ("soft_margin_loss", "hinge_embedding_loss"):
    add(f"nn.functional.{name}", name, loss(name, labels=1), labels=0)
add(
    "nn.functional.margin_ranking_loss",
    "margin_ranking_loss",
    loss("margin_ranking_loss", 3, labels=2),
    labels=1,
)


def similarity(a: Any, b: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    if shape(a) != shape(b):
        raise NotApplicable(BROADCAST)
    if not shape(a):
        raise NotApplicable(ZERO_D)
    return ops.cosine_similarity(a, b, axis=dim, eps=eps)


add("nn.functional.cosine_similarity", "cosine_similarity", similarity)


# PyTorch adds 1e-12 to a denominator of its second derivative
add(
    "nn.functional.binary_cross_entropy",
    "binary_cross_entropy",
    loss("binary_cross_entropy"),
    rounded=(1e-8, 1e-8),
)
add(
    "nn.functional.binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits",
    loss("binary_cross_entropy_with_logits"),
)


def margin(input: Any, target: Any, **more: Any) -> Any:
    if not shape(input):
        raise NotApplicable(ZERO_D)
    if len(shape(input)) == 1 and shape(target) == (1,):
        raise NotApplicable(ONE_LABEL)
    return ops.multi_margin_loss(input, target, **more)


add("nn.functional.multi_margin_loss", "multi_margin_loss", margin)
for name in (
    *("cross_entropy", "nll_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss"),
    *("triplet_margin_loss", "cosine_embedding_loss"),
):
    add(f"nn.functional.{name}", name)

for name in ("silu", "mish", "softsign"):
    CASES[f"nn.functional.{name}"].apart = (LIMIT, np.isinf)
