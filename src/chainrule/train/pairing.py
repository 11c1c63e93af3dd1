"""Head and loss as one formula, where a model's last activation and its loss are declared together.

A probability near 0 or 1 has few digits left, and its gradient is divided by what little there is.
Softmax with cross-entropy, and the sigmoid with its binary form, need no probability at all: of the
scores before them the loss is exact, and its gradient is ``ŷ - y`` (ledger P-01 to P-04, P-08).
`chainrule.ops` never looks at how a probability was made; here model and loss are both known.

| the model ends in | the loss is called | training computes, of the scores |
|---|---|---|
| sigmoid | `binary_cross_entropy` | `binary_cross_entropy_with_logits` |
| softmax | `categorical_cross_entropy` | `cross_entropy` |
| softmax | `kl_divergence` | `kl_div` of their `log_softmax` |
| log_softmax | `nll_loss`, `cross_entropy` | `cross_entropy` |

A head before a loss that takes scores, as a softmax before `cross_entropy`, would squash them
twice. It is paired the same way, with a `PairingWarning`. What `predict` gives stays what the model
gives: probabilities.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.nn.activation import Activation
from chainrule.nn.containers import Sequential
from chainrule.nn.dense import Dense
from chainrule.nn.module import Module
from chainrule.ops.formula import Formula
from chainrule.train.losses import Loss, get, with_options

__all__ = ["Head", "Paired", "PairingWarning", "head_of", "pair"]


class PairingWarning(UserWarning):
    """A model's last layer and the loss do not fit as declared; it says what is computed.

    >>> import warnings
    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(4, 3), cr.nn.Softmax())
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     trainer = cr.Trainer(model, loss="cross_entropy")
    >>> seen[0].category.__name__
    'PairingWarning'
    """


class Head(NamedTuple):
    """The last activation of a model."""

    #: the layer that has it, an `Activation` or a `Dense`, and its name in the model
    layer: Module
    path: str
    formula: Formula[Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The formula's name; the logistic function as it is by default is the sigmoid."""
        f = self.formula
        plain = all(self.options.get(k, v) == v for k, v in f.defaults.items())
        return "sigmoid" if f.name == "logistic" and plain else f.name

    def __str__(self) -> str:
        kind = f"{type(self.layer).__name__}({self.layer.extra_repr()})"
        return f"model.{self.path} {kind}" if self.path else kind

    def same(self, other: Head | None) -> bool:
        """Whether it is still this layer with this activation."""
        return (
            other is not None
            and other.layer is self.layer
            and other.formula is self.formula
            and other.options == self.options
        )


#: head -> the loss as declared -> (the loss of the scores, whether the two fit as declared)
_PAIRS: dict[str, dict[str, tuple[str, bool]]] = {
    "sigmoid": {
        "binary_cross_entropy": ("binary_cross_entropy_with_logits", True),
        "binary_cross_entropy_with_logits": ("binary_cross_entropy_with_logits", False),
        "multilabel_soft_margin_loss": ("multilabel_soft_margin_loss", False),
        "sigmoid_focal_loss": ("sigmoid_focal_loss", False),
    },
    "softmax": {
        "categorical_cross_entropy": ("cross_entropy", True),
        "cross_entropy": ("cross_entropy", False),
        "nll_loss": ("cross_entropy", False),
        "focal_loss": ("focal_loss", False),
        "kl_divergence": ("kl_div", True),
        "kl_div": ("kl_div", False),
    },
    "log_softmax": {
        "categorical_cross_entropy": ("cross_entropy", False),
        "cross_entropy": ("cross_entropy", True),
        "nll_loss": ("cross_entropy", True),
        "focal_loss": ("focal_loss", True),
        "kl_divergence": ("kl_div", False),
    },
}
#: What to call the loss where the head stays.
_FITS = {
    ("sigmoid", "binary_cross_entropy_with_logits"): "binary_cross_entropy",
    ("softmax", "cross_entropy"): "categorical_cross_entropy",
    ("softmax", "nll_loss"): "categorical_cross_entropy",
    ("softmax", "kl_div"): "kl_divergence",
    ("log_softmax", "categorical_cross_entropy"): "nll_loss",
    ("log_softmax", "kl_divergence"): "kl_div",
}
#: Losses of probabilities, the losses of scores beside them, and the head that is meant.
_OF_PROBABILITIES = {
    "binary_cross_entropy": ("binary_cross_entropy_with_logits", "Sigmoid"),
    "categorical_cross_entropy": ("cross_entropy", "Softmax"),
    "kl_divergence": ("kl_div of log_softmax", "Softmax"),
}


def head_of(model: Module) -> Head | None:
    """The last activation of a `Sequential`, also one inside another, or of a `Dense`.

    None where the last layer has none, or the model has a `forward` of its own, which nobody can
    see through.

    >>> import chainrule as cr
    >>> print(head_of(cr.nn.Sequential(cr.nn.Dense(2, 3), cr.nn.Dense(3, 1, activation="sigmoid"))))
    model.1 Dense(3 -> 1, sigmoid)
    """
    path: list[str] = []
    module = model
    while _is_row(module) and module._modules:
        name, module = next(reversed(module._modules.items()))
        path.append(name)
    found: Any = None
    if isinstance(module, Activation) and type(module).forward is Activation.forward:
        found = module.formula
    elif isinstance(module, Dense) and type(module).forward is Dense.forward:
        found = module.activation
    if found is None:
        return None
    return Head(module, ".".join(path), found, module.options)


def _is_row(module: Module) -> bool:
    return isinstance(module, Sequential) and type(module).forward is Sequential.forward


class _Affine(Module):
    """A `Dense` without its activation, with the same parameters."""

    def __init__(self, layer: Dense) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return ops.dense(x, self.layer.weight, self.layer.bias)


def _before(module: Module) -> Module | None:
    """What a model computes before its last activation, of the same layers."""
    if _is_row(module):
        *items, (name, last) = module._modules.items()
        inner = _before(last)
        return Sequential(dict(items if inner is None else [*items, (name, inner)]))
    return _Affine(module) if isinstance(module, Dense) else None


class _Body:
    """The scores of a model, made anew where its layers were replaced."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.module: Any = None

    def of(self, model: Module) -> Any:
        """The module that gives them, with the layers of the model as they are now."""
        layers = [model]
        while _is_row(layers[-1]) and layers[-1]._modules:
            layers += layers[-1]._modules.values()
        if layers != self.layers:
            self.module = _before(model) or Sequential()
            self.layers = layers
        return self.module


@dataclass(frozen=True, eq=False)
class Paired(Loss):
    """A loss together with the head before it: ``mean`` takes the scores."""

    head: Any = None
    #: the loss as it was declared, of what the head gives
    declared: Any = None
    #: the loss of the scores
    fused: str = ""
    _body: _Body = field(default_factory=_Body, compare=False, repr=False)

    def ready(self, model: Module) -> None:
        self._check_head(model)
        self._body.of(model)

    def _check_head(self, model: Module) -> None:
        head = head_of(model)
        if not self.head.same(head):
            raise ValueError(
                f"the model ended in {self.head} when the Trainer was made, and now in "
                f"{head or 'another layer'}; make a new Trainer"
            )

    def run(self, model: Module, x: Any) -> tuple[Any, Callable[..., Any], Any]:
        """What the loss takes, the loss, and what the model gives.

        A hook at the end of the model sees what the model gives: then that is computed, and the
        loss of it.
        """
        self._check_head(model)
        if _has_hooks(model):
            output = model(x)
            return output, self.exact.mean, getattr(output, "_data", output)
        scores = self._body.of(model)(x)
        self._check_axis(scores)
        raw = getattr(scores, "_data", scores)
        return scores, self.mean, self.head.formula(raw, **self.head.options)

    @property
    def exact(self) -> Loss:
        """The same of what the head gives, without pairing."""
        fits = _FITS.get((self.head.name, self.declared.name), self.declared.name)
        return with_options(fits, self.options)

    def _check_axis(self, scores: Any) -> None:
        axis = self.head.options.get("axis")
        wanted = dict(self.options).get("axis", 1)
        ndim = len(scores.shape)
        if axis is None or axis % ndim == wanted % ndim:
            return
        raise ShapeError(
            f"{self.head} runs over axis {axis} of {tuple(scores.shape)}, but {self.declared.name} "
            f"has the classes on axis {wanted}; write axis={wanted}"
        )

    def __str__(self) -> str:
        number = "P-04" if self.head.name == "sigmoid" else "P-01"
        return (
            f"{self.declared.name} + {self.head}, computed on its scores as "
            f"{self.fused} (ledger {number})"
        )


def _has_hooks(model: Module) -> bool:
    module = model
    while not module._hooks and _is_row(module) and module._modules:
        module = next(reversed(module._modules.values()))
    return bool(module._hooks)


def pair(model: Module, loss: Loss) -> Loss:
    """The loss for training this model: paired with its head where there is one to pair.

    Arguments:
        model: as `Trainer` got it; it is not changed.
        loss: from `losses.get`.

    Returns:
        the loss itself, or a `Paired` one.

    Warns:
        PairingWarning: where head and loss do not fit as declared, and where a loss of
            probabilities cannot be paired, because the model's end cannot be seen.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(4, 1), cr.nn.Sigmoid())
    >>> print(pair(model, get("bce")))
    binary_cross_entropy + model.1 Sigmoid(), computed on its scores as \
binary_cross_entropy_with_logits (ledger P-04)
    """
    if isinstance(loss, Paired):
        loss = loss.declared
    head = head_of(model)
    fused, fits = _PAIRS.get(head.name, {}).get(loss.name, ("", True)) if head else ("", True)
    if not fused or dict(loss.options).get("log_target"):
        if loss.name in _OF_PROBABILITIES:
            _warn_unpaired(model, head, loss)
        return loss
    assert head is not None
    if not fits:
        _warn_twice(head, loss)
    of_scores = _kl_of_scores if fused == "kl_div" else with_options(fused, loss.options).mean
    given = {f.name: getattr(loss, f.name) for f in fields(Loss)}
    given |= {"mean": of_scores, "probabilities": head.name == "sigmoid"}
    return Paired(**given, head=head, declared=loss, fused=fused)


def _kl_of_scores(output: Any, target: Any, weight: Any) -> Any:
    return get("kl_div").mean(ops.log_softmax(output, axis=1), target, weight)


def _warn_twice(head: Head, loss: Loss) -> None:
    takes = {"kl_div": "log-probabilities", "nll_loss": "log-probabilities"}.get(
        loss.name, "probabilities" if loss.name in _OF_PROBABILITIES else "scores"
    )
    other = _FITS.get((head.name, loss.name))
    fix = f"call the loss {other!r}, or " if other else ""
    warnings.warn(
        f"the model ends in {head}, and {loss.name} takes {takes}: both are computed together, "
        f"on what comes before that layer, and predict still gives what the layer gives. To say "
        f"so, {fix}leave the layer out and apply it to predictions",
        PairingWarning,
        stacklevel=4,
    )


def _warn_unpaired(model: Module, head: Head | None, loss: Loss) -> None:
    scores, layer = _OF_PROBABILITIES[loss.name]
    if head is not None:
        end = f"the model ends in {head}"
    elif _is_row(model) or isinstance(model, Dense):
        end = "the model's last layer has no activation"
    else:
        end = f"what {type(model).__name__}.forward ends in cannot be seen"
    warnings.warn(
        f"{loss.name} takes probabilities, and {end}. Near 0 and 1 they have few digits: let the "
        f"model give scores and use {scores}, or end it in a Sequential with nn.{layer}(), and "
        "training will do so by itself",
        PairingWarning,
        stacklevel=4,
    )
