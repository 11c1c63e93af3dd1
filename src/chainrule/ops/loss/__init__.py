"""Losses, a file per family. Every one takes an explicit reduction; ledger L-20 lists how the notes
differ in it.

`reduction` is ``"mean"`` (over all elements; for losses of classes and of vectors over the
samples), ``"sum"``, ``"none"`` (no reduction), or ``"batchmean"`` (the sum over the number of
rows). A loss with a penalty (ledger L-19) is their sum: see the `regularizers` of
`chainrule.Trainer`.
"""

from typing import Any

from chainrule.ops.formula import Formula
from chainrule.ops.loss import (
    binary,
    classes,
    distance,
    likelihood,
    margin,
    probability,
    regression,
)
from chainrule.ops.loss.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    multilabel_soft_margin_loss,
    sigmoid_focal_loss,
)
from chainrule.ops.loss.classes import (
    categorical_cross_entropy,
    cross_entropy,
    focal_loss,
    nll_loss,
)
from chainrule.ops.loss.distance import cosine_embedding_loss, triplet_margin_loss
from chainrule.ops.loss.likelihood import (
    gamma_loss,
    gaussian_nll_loss,
    poisson_nll_loss,
    tweedie_loss,
)
from chainrule.ops.loss.margin import (
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    multi_margin_loss,
    soft_margin_loss,
)
from chainrule.ops.loss.probability import distribution_cross_entropy, kl_div, kl_divergence
from chainrule.ops.loss.reduction import REDUCTIONS as REDUCTIONS
from chainrule.ops.loss.regression import (
    half_squared_error,
    huber_loss,
    l1_loss,
    log_cosh_loss,
    mse_loss,
    quantile_loss,
    smooth_l1_loss,
)

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "categorical_cross_entropy",
    "cosine_embedding_loss", "cross_entropy", "distribution_cross_entropy", "focal_loss",
    "gamma_loss", "gaussian_nll_loss", "half_squared_error", "hinge_embedding_loss", "hinge_loss",
    "huber_loss", "kl_div", "kl_divergence", "l1_loss", "log_cosh_loss", "margin_ranking_loss",
    "mse_loss", "multi_margin_loss", "multilabel_soft_margin_loss", "nll_loss",
    "poisson_nll_loss", "quantile_loss", "sigmoid_focal_loss", "smooth_l1_loss",
    "soft_margin_loss", "triplet_margin_loss", "tweedie_loss",
]  # fmt: skip

#: The text of every loss by its public name, for tests, documentation and tables. A text may take
#: labels as a column, and weights in a shape that broadcasts; the function of that name prepares
#: them.
LOSSES: dict[str, Formula[Any]] = {
    name: text
    for family in (binary, classes, distance, likelihood, margin, probability, regression)
    for name, text in family.TEXTS.items()
}
