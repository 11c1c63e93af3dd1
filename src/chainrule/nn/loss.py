"""Losses as modules: a function of `chainrule.ops` with its options, and no mathematics.

Each is made with keywords, ``reduction`` among them, and called with what its function takes:
``HuberLoss(delta=2.0)(output, target)``. `chainrule.Trainer` takes them too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule import ops
from chainrule.nn.module import Module
from chainrule.ops.loss.reduction import check_reduction

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CategoricalCrossEntropyLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GammaLoss",
    "GaussianNLLLoss",
    "HalfSquaredError",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LogCoshLoss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TweedieLoss",
]


class Loss(Module):
    """What all losses share: `reduction`, options, and weights as buffers.

    Arguments:
        reduction: ``"mean"``, ``"sum"``, ``"none"`` or ``"batchmean"``.
        options: those of the function; those in `weights` are arrays or None.
    """

    #: The name of the function of `chainrule.ops`, and those of its options that are arrays.
    function: ClassVar[str]
    weights: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reduction: str = "mean", **options: Any) -> None:
        check_reduction(reduction)
        self.reduction = reduction
        for name in self.weights:
            w = options.pop(name)
            if w is not None and not hasattr(w, "dtype"):
                w = np.asarray(w, np.float32)
            self.register_buffer(name, w)
        self.options = options

    def forward(self, *inputs: Any) -> Any:
        weights = {k: w for k, w in self._buffers.items() if w is not None}
        f = getattr(ops, self.function)
        return f(*inputs, reduction=self.reduction, **self.options, **weights)

    def extra_repr(self) -> str:
        given = {} if self.reduction == "mean" else {"reduction": self.reduction}
        parts = [f"{k}={v!r}" for k, v in {**given, **self.options}.items()]
        return ", ".join([*parts, *(k for k, w in self._buffers.items() if w is not None)])


class MSELoss(Loss):
    """``(ŷ - y)²``. Ledger L-02; `chainrule.ops.mse_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.MSELoss()(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    2.5
    """

    function = "mse_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class HalfSquaredError(Loss):
    """``½ (ŷ - y)²``. Ledger L-03; `chainrule.ops.half_squared_error`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.HalfSquaredError()(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    1.25
    """

    function = "half_squared_error"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class L1Loss(Loss):
    """``|ŷ - y|``. Ledger L-01; `chainrule.ops.l1_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.L1Loss()(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    1.5
    """

    function = "l1_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class SmoothL1Loss(Loss):
    """``½ d² / β`` near 0, ``|d| - ½ β`` beyond β; `chainrule.ops.smooth_l1_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.SmoothL1Loss()(np.array([0.5]), np.array([0.0])))
    0.125
    """

    function = "smooth_l1_loss"

    def __init__(self, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction, beta=beta)


class HuberLoss(Loss):
    """``½ d²`` near 0, ``δ (|d| - ½ δ)`` beyond δ. Ledger L-17; `chainrule.ops.huber_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.HuberLoss()(np.array([3.0]), np.array([0.0])))
    2.5
    """

    function = "huber_loss"

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction, delta=delta)


class LogCoshLoss(Loss):
    """``log cosh(ŷ - y)``; `chainrule.ops.log_cosh_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.LogCoshLoss()(np.array([0.0]), np.array([0.0])))
    0.0
    """

    function = "log_cosh_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class QuantileLoss(Loss):
    """The pinball loss of the τ-quantile; `chainrule.ops.quantile_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.QuantileLoss()(np.array([0.0]), np.array([2.0])))
    1.0
    """

    function = "quantile_loss"

    def __init__(self, tau: Any = 0.5, reduction: str = "mean") -> None:
        super().__init__(reduction, tau=tuple(tau) if hasattr(tau, "__len__") else tau)


class PoissonNLLLoss(Loss):
    """Counts, from the logarithm of their rate; `chainrule.ops.poisson_nll_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.PoissonNLLLoss()(np.array([0.0]), np.array([3.0])))
    1.0
    """

    function = "poisson_nll_loss"

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, log_input=log_input, full=full, eps=eps)


class GammaLoss(Loss):
    """Positive numbers, from the logarithm of their mean; `chainrule.ops.gamma_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.GammaLoss()(np.array([0.0]), np.array([1.0])))
    1.0
    """

    function = "gamma_loss"

    def __init__(self, deviance: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction, deviance=deviance)


class TweedieLoss(Loss):
    """Numbers of variance ``μ^p``, from the logarithm of μ; `chainrule.ops.tweedie_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.TweedieLoss()(np.array([0.0]), np.array([1.0])))
    4.0
    """

    function = "tweedie_loss"

    def __init__(self, power: float = 1.5, deviance: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction, power=power, deviance=deviance)


class GaussianNLLLoss(Loss):
    """Means and variances of normal numbers: called with ``(input, target, var)``;
    `chainrule.ops.gaussian_nll_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.GaussianNLLLoss()(np.array([1.0]), np.array([3.0]), np.array([1.0])))
    2.0
    """

    function = "gaussian_nll_loss"

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction, full=full, eps=eps)


class BCELoss(Loss):
    """``-[y log p + (1 - y) log(1 - p)]`` of probabilities. Ledger L-07;
    `chainrule.ops.binary_cross_entropy`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.BCELoss()(np.array([1.0]), np.array([1.0])))
    0.0
    """

    function = "binary_cross_entropy"
    weights = ("weight",)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction, weight=weight)


class BCEWithLogitsLoss(Loss):
    """``softplus(x) - x y`` of logits. Ledger P-04, P-08;
    `chainrule.ops.binary_cross_entropy_with_logits`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.BCEWithLogitsLoss()(np.array([1e4]), np.array([0.0])))
    10000.0
    """

    function = "binary_cross_entropy_with_logits"
    weights = (
        "weight",
        "pos_weight",
    )

    def __init__(self, weight: Any = None, pos_weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction, weight=weight, pos_weight=pos_weight)


class MultiLabelSoftMarginLoss(Loss):
    """`BCEWithLogitsLoss` averaged over the labels of each sample;
    `chainrule.ops.multilabel_soft_margin_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.MultiLabelSoftMarginLoss()(np.array([[1e4]]), np.array([[0.0]])))
    10000.0
    """

    function = "multilabel_soft_margin_loss"
    weights = ("weight",)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction, weight=weight)


class SigmoidFocalLoss(Loss):
    """``-α_t (1 - p_t)^γ log p_t`` of logits, label by label; `chainrule.ops.sigmoid_focal_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.SigmoidFocalLoss()(np.array([1e4]), np.array([0.0])))
    7500.0
    """

    function = "sigmoid_focal_loss"

    def __init__(
        self, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, alpha=alpha, gamma=gamma)


class CrossEntropyLoss(Loss):
    """``-Σ_k t_k log softmax(x)_k`` of scores. Ledger L-09 to L-14, P-01;
    `chainrule.ops.cross_entropy`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.CrossEntropyLoss()(np.array([[1e4, 0.0]]), np.array([1])))
    10000.0
    """

    function = "cross_entropy"
    weights = ("weight",)

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        axis: int = 1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            reduction,
            weight=weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class NLLLoss(Loss):
    """``-x[target]`` of log-probabilities. Ledger L-16; `chainrule.ops.nll_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.NLLLoss()(np.array([[-2.0, -0.5]]), np.array([1])))
    0.5
    """

    function = "nll_loss"
    weights = ("weight",)

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, axis: int = 1, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index, axis=axis)


class CategoricalCrossEntropyLoss(Loss):
    """``-Σ_k t_k log a_k`` of probabilities. Ledger L-09 to L-14, L-16;
    `chainrule.ops.categorical_cross_entropy`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.CategoricalCrossEntropyLoss()(np.array([[1.0, 0.0]]), np.array([0])))
    0.0
    """

    function = "categorical_cross_entropy"
    weights = ("weight",)

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        axis: int = 1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            reduction,
            weight=weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class FocalLoss(Loss):
    """``-α_t (1 - p_t)^γ log p_t`` of the scores of K classes; `chainrule.ops.focal_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.FocalLoss()(np.array([[1e4, 0.0]]), np.array([1])))
    10000.0
    """

    function = "focal_loss"
    weights = ("alpha",)

    def __init__(
        self,
        alpha: Any = None,
        gamma: float = 2.0,
        ignore_index: int = -100,
        axis: int = 1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, alpha=alpha, gamma=gamma, ignore_index=ignore_index, axis=axis)


class KLDivLoss(Loss):
    """``p (log p - x)`` of log-probabilities x. Ledger L-15 in torch's form;
    `chainrule.ops.kl_div`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.KLDivLoss()(np.log([[0.5, 0.5]]), np.array([[0.5, 0.5]])))
    0.0
    """

    function = "kl_div"

    def __init__(self, log_target: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction, log_target=log_target)


class HingeLoss(Loss):
    """``max(0, 1 - y ŷ)`` with labels -1 and 1. Ledger L-18; `chainrule.ops.hinge_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.HingeLoss()(np.array([0.5]), np.array([-1.0])))
    1.5
    """

    function = "hinge_loss"

    def __init__(self, squared: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction, squared=squared)


class SoftMarginLoss(Loss):
    """``log(1 + e^{-y ŷ})`` with labels -1 and 1; `chainrule.ops.soft_margin_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.SoftMarginLoss()(np.array([-1e4]), np.array([1.0])))
    10000.0
    """

    function = "soft_margin_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class HingeEmbeddingLoss(Loss):
    """Distances: small for pairs labelled 1, above a margin for -1;
    `chainrule.ops.hinge_embedding_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.HingeEmbeddingLoss()(np.array([0.25]), np.array([-1.0])))
    0.75
    """

    function = "hinge_embedding_loss"

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class MultiMarginLoss(Loss):
    """The hinge for one class out of K; `chainrule.ops.multi_margin_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.MultiMarginLoss()(np.array([[0.5, 0.0]]), np.array([0])))
    0.25
    """

    function = "multi_margin_loss"
    weights = ("weight",)

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, weight=weight, p=p, margin=margin)


class MarginRankingLoss(Loss):
    """``max(0, margin - y (x1 - x2))``: called with ``(input1, input2, target)``;
    `chainrule.ops.margin_ranking_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.MarginRankingLoss()(np.array([1.0]), np.array([3.0]), np.array([1.0])))
    2.0
    """

    function = "margin_ranking_loss"

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class CosineEmbeddingLoss(Loss):
    """Angles of pairs of vectors: called with ``(input1, input2, target)``;
    `chainrule.ops.cosine_embedding_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.CosineEmbeddingLoss()(np.eye(2), -np.eye(2), np.array([-1.0, -1.0])))
    0.0
    """

    function = "cosine_embedding_loss"

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class TripletMarginLoss(Loss):
    """What belongs together is nearer: called with ``(anchor, positive, negative)``;
    `chainrule.ops.triplet_margin_loss`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.nn.TripletMarginLoss()(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2))))
    1.0
    """

    function = "triplet_margin_loss"

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, margin=margin, p=p, eps=eps, swap=swap)
