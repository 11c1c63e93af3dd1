"""Several networks in place of one: the mean of what they say."""

from __future__ import annotations

from typing import Any

from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.nn.containers import ModuleList

__all__ = ["Ensemble"]


class Ensemble(ModuleList):
    """The mean of networks that take the same and give the same: ``y = (f_1(x) + … + f_K(x)) / K``.

    Networks trained from other first weights, or on other parts of the rows, are wrong in other
    places; of the squared error, the mean loses what they disagree by:
    ``(mean_k f_k - y)² = mean_k (f_k - y)² - mean_k (f_k - mean_j f_j)²``. It is never worse than
    its members are on average, and no member has to be told apart from the others.

    What is averaged is the members' output as it is. Where that is scores, before a softmax, the
    mean is the geometric mean of the members' probabilities, renormalised to add up to 1: the q
    with the least ``mean_k KL(q ‖ p_k)``. Its log loss, too, is at most the mean of the members'
    log losses, for log Σ exp is convex. The mean of probabilities (end each member with
    `nn.Softmax`) is the other usual choice; with scores, the whole is a network like its members,
    for every loss of scores, and no digits are lost in probabilities near 0 and 1.

    ``(n, …) -> (n, outputs)``, whatever the members take and give.

    Arguments:
        modules: the members. It is a list of them too: index, slice, `append`, `insert`, `del`.

    Each member has its own parameters, its own state in `train` and `eval`, and its own draws in
    dropout. Training the ensemble as a whole trains all of them on the same rows at once, and they
    disagree less than if each is trained by itself (see `chainrule.train.bagging`).

    Raises:
        TypeError: for a member that is not a module, or a single one that is no list.
        ValueError: for an ensemble without a member, when it is called.
        ShapeError: where a member's output has another shape than the first one's; it names the
            member.

    References: Breiman, "Bagging predictors", 1996; Lakshminarayanan, Pritzel & Blundell, "Simple
    and scalable predictive uncertainty estimation using deep ensembles", 2017; the identity is that
    of Krogh & Vedelsby, "Neural network ensembles, cross validation, and active learning", 1995.

    >>> import chainrule as cr, numpy as np
    >>> model = cr.nn.Ensemble(cr.nn.Dense(4, 3) for _ in range(5))
    >>> x = np.ones((2, 4), np.float32)
    >>> model(x).shape
    (2, 3)
    >>> apart = model(x) - sum(member(x) for member in model) / 5
    >>> bool(cr.ops.all(abs(apart) < 1e-6))
    True
    """

    def forward(self, x: Any) -> Any:
        if not self._modules:
            raise ValueError("Ensemble has no member to ask; append one, Ensemble([network, …])")
        outputs = [member(x) for member in self._modules.values()]
        first = outputs[0].shape
        for name, output in zip(self._modules, outputs, strict=True):
            if output.shape != first:
                raise ShapeError(
                    f"Ensemble: member {name} gives {output.shape}, member "
                    f"{next(iter(self._modules))} gives {first}; networks whose mean is taken give "
                    "the same shape"
                )
        return ops.mean(ops.stack(outputs), axis=0)

    def _plain(self) -> Ensemble:
        return Ensemble()
