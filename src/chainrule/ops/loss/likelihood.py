"""Negative log-likelihoods of counts, positive numbers, and numbers of unknown variance."""

from __future__ import annotations

import math
from typing import Any

from chainrule.array.errors import ShapeError
from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.reduction import (
    arrays,
    check_positive,
    check_reduction,
    element_weight,
    pointwise,
    reduce,
    same_shape,
)

__all__ = ["gamma_loss", "gaussian_nll_loss", "poisson_nll_loss", "tweedie_loss"]


@formula
def _poisson(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Any:
    if log_input:
        loss = xp.exp(input) - target * input
    else:
        loss = input - target * xp.log(input + eps)
    if full:  # Stirling's log(y!), of which torch leaves out what y up to 1 gives
        y = xp.where(target <= 1.0, 1.0, target)
        stirling = y * xp.log(y) - y + 0.5 * xp.log(2 * math.pi * y)
        loss = loss + xp.where(target <= 1.0, 0.0, stirling)
    return reduce(xp, loss, reduction, weight)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """For counts y with rate μ: ``μ - y log μ``, where the model gives ``log μ``.

    With `log_input` (torch's default) it is ``e^x - y x``, of gradient ``e^x - y``, so the model
    needs no last activation. A rate that is not a float (x above 709, in float32 above 88) costs
    infinity.

    Arguments:
        input: ``log μ``, or with ``log_input=False`` the rates μ.
        target: counts, 0 or more, of the shape of `input`; fractions are allowed.
        full: add Stirling's approximation of ``log y!`` for y > 1, which no gradient sees.
        eps: added to μ inside the logarithm, where `input` is μ.
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError: for a target below 0.
        ShapeError: if the shapes differ.

    >>> import numpy as np
    >>> float(poisson_nll_loss(np.array([0.0]), np.array([3.0])))
    1.0
    """
    (target,) = arrays(target)
    check_positive("poisson_nll_loss", target, zero=True)
    more = {"log_input": bool(log_input), "full": bool(full), "eps": float(eps)}
    return pointwise("poisson_nll_loss", _poisson, input, target, weight, reduction, **more)


@formula
def _gamma(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    deviance: bool = False,
) -> Any:
    loss = input + target * xp.exp(-input)
    if deviance:
        loss = loss - (xp.log(target) + 1.0)
    return reduce(xp, loss, reduction, weight)


def gamma_loss(
    input: Any,
    target: Any,
    reduction: str = "mean",
    deviance: bool = False,
    weight: Any = None,
) -> Any:
    """For positive numbers whose deviation grows with their mean: ``log μ + y / μ``, of
    ``x = log μ``.

    The negative log-likelihood of a Gamma distribution over its shape, up to a constant;
    scikit-learn's HalfGammaLoss. Its gradient is ``1 - y e^{-x}``; a mean that is not a float (x
    below -709, in float32 -88) costs infinity.

    Arguments:
        input: ``log μ``, so the model needs no last activation.
        target: above 0, of the shape of `input`.
        deviance: subtract ``log y + 1``, which no gradient sees: half the deviance, 0 for a perfect
            prediction.
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError: for a target of 0 or less; `tweedie_loss` takes zeros.

    >>> import numpy as np
    >>> float(gamma_loss(np.array([0.0]), np.array([1.0]), deviance=True))
    0.0
    """
    (target,) = arrays(target)
    check_positive("gamma_loss", target)
    return pointwise(
        "gamma_loss", _gamma, input, target, weight, reduction, deviance=bool(deviance)
    )


@formula
def _tweedie(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    power: float = 1.5,
    deviance: bool = False,
) -> Any:
    a, b = 1.0 - power, 2.0 - power
    if power == 0:
        d = xp.exp(input) - target
        loss = 0.5 * (d * d)
    elif power == 1:
        loss = xp.exp(input) - target * input
        if deviance:
            y = xp.where(xp.equal(target, 0.0), 1.0, target)
            loss = loss + (target * xp.log(y) - target)
    elif power == 2:
        return _gamma(input, target, weight=weight, reduction=reduction, deviance=deviance)
    else:
        loss = xp.exp(b * input) / b - target * xp.exp(a * input) / a
        if deviance:
            loss = loss + xp.pow(xp.maximum(target, 0.0), b) / (a * b)
    return reduce(xp, loss, reduction, weight)


def tweedie_loss(
    input: Any,
    target: Any,
    reduction: str = "mean",
    power: float = 1.5,
    deviance: bool = False,
    weight: Any = None,
) -> Any:
    """For numbers whose variance is ``μ^p``: ``μ^{2-p} / (2 - p) - y μ^{1-p} / (1 - p)``, of
    ``x = log μ``.

    Between p = 1 (`poisson_nll_loss`) and 2 (`gamma_loss`) many targets may be exactly 0, as
    insurance claims are. Half the unit deviance up to a constant: scikit-learn's HalfTweedieLoss;
    Tweedie 1984, Jørgensen 1987. At p = 0 it is ``½ (e^x - y)²``.

    Arguments:
        input: ``log μ``, so the model needs no last activation.
        target: of any sign for p ≤ 0, 0 or more for 1 ≤ p < 2, above 0 for p ≥ 2.
        power: p, 1.5; there is no such distribution for 0 < p < 1.
        deviance: add ``y^{2-p} / ((1 - p) (2 - p))``, which no gradient sees: half the deviance, 0
            for a perfect prediction.
        reduction, weight: as in `mse_loss`.

    Raises:
        ValueError: for a power between 0 and 1.
        DataError: for a target the distribution cannot give.

    >>> import numpy as np
    >>> float(tweedie_loss(np.array([0.0]), np.array([1.0]), power=1.5))
    4.0
    """
    if 0 < power < 1 or not math.isfinite(power):
        raise ValueError(
            f"tweedie_loss: there is no distribution of power {power}; use 0 or less (normal at "
            "0), 1 (Poisson), between 1 and 2, 2 (gamma), or more (3: inverse normal)"
        )
    (target,) = arrays(target)
    if power >= 1:
        check_positive(f"tweedie_loss of power {power:g}", target, zero=power < 2)
    more = {"power": float(power), "deviance": bool(deviance)}
    return pointwise("tweedie_loss", _tweedie, input, target, weight, reduction, **more)


@formula
def _gaussian(
    xp: Any,
    input: Any,
    target: Any,
    var: Any,
    weight: Any = None,
    reduction: str = "mean",
    full: bool = False,
    eps: float = 1e-6,
) -> Any:
    # held at eps, with the slope that it has there (torch)
    var = var + xp.stop_gradient(xp.maximum(eps - var, 0.0))
    d = input - target
    loss = 0.5 * (xp.log(var) + d * d / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce(xp, loss, reduction, weight)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``½ (log v + (ŷ - y)² / v)`` with a variance v that the model predicts too. Nix & Weigend
    1994.

    Arguments:
        input, target: means and targets of one shape.
        var: variances, 0 or more: of the same shape, with one entry along an axis that shares it,
            without the last axis, or one number.
        full: add ``½ log 2π``.
        eps: v is held at this from below; its gradient is the one there (as in torch).
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError: for a negative variance. A model can give ``softplus`` of an output.
        ShapeError: if the shapes do not fit.

    >>> import numpy as np
    >>> float(gaussian_nll_loss(np.array([1.0]), np.array([3.0]), np.array([4.0])))
    1.1931471805599454
    """
    if not eps > 0:
        raise ValueError(f"gaussian_nll_loss: eps must be positive, got {eps}")
    check_reduction(reduction)
    input, target, var = arrays(input, target, var)
    same_shape("gaussian_nll_loss", input, target)
    check_positive("gaussian_nll_loss", var, zero=True, what="variances")
    if len(var.shape) and var.shape == input.shape[:-1]:
        var = var.reshape(*var.shape, 1)
    same = len(var.shape) == len(input.shape)
    shared = same and all(v in (1, n) for v, n in zip(var.shape, input.shape, strict=True))
    if var.shape and not shared:
        raise ShapeError(
            f"gaussian_nll_loss: var has shape {tuple(var.shape)}; expected {tuple(input.shape)}, "
            f"{tuple(input.shape[:-1])}, or one number"
        )
    more: dict[str, Any] = {"full": bool(full), "eps": float(eps), "reduction": reduction}
    if weight is not None:
        more["weight"] = element_weight("gaussian_nll_loss", weight, input)
    return _gaussian(input, target, var, **more)


TEXTS: dict[str, Formula[Any]] = {
    "gamma_loss": _gamma,
    "gaussian_nll_loss": _gaussian,
    "poisson_nll_loss": _poisson,
    "tweedie_loss": _tweedie,
}
