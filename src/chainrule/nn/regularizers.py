"""Regularizers: penalties on the weights of a model, and limits that hold after each update.

``Trainer(regularizers=[...])`` adds each penalty to the loss of every step and calls `after_update`
once the weights have changed. By hand it is the same:

>>> import chainrule as cr
>>> model, decay = cr.nn.Dense(2, 1), cr.regularizers.L2(0.1)
>>> optimizer = cr.optim.SGD(model.parameters(), lr=0.5)
>>> loss = cr.ops.mse_loss(model(cr.tensor([[1.0, 2.0]])), cr.tensor([[3.0]])) + decay(model)
>>> loss.backward()
>>> optimizer.step()
>>> decay.after_update(model)

Without a choice of parameters, a regularizer takes the weights: all parameters of two or more axes.
Biases, the scales of normalizations and the slopes of activations, which have one, are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from chainrule.array.dtypes import is_float
from chainrule.array.errors import nearest
from chainrule.autograd.context import no_grad, state
from chainrule.autograd.tape import Variable as Recorded
from chainrule.compile.symbolic import Postponed
from chainrule.nn.module import Module
from chainrule.ops import regularization, softshrink, spectral
from chainrule.ops.variable import Variable

__all__ = [
    "L1", "L2", "ElasticNet", "MaxNorm", "Orthogonality", "Regularizer", "SpectralNorm", "Tikhonov",
    "get",
]  # fmt: skip


class Regularizer:
    """The base: subclass it with `penalty`, of one weight, and `after_update` where one is needed.

    Arguments:
        parameters: which to regularize: None, all of two or more axes; a pattern of names, such as
            ``"hidden.*"`` or ``"*.weight"``, or `Parameter` objects; or a list of these.

    The numbers of a regularizer, such as its strength, may be set at any time, also between the
    steps of a training that is captured.

    >>> import chainrule as cr
    >>> class Narrow(cr.regularizers.Regularizer):
    ...     def penalty(self, w):
    ...         return cr.ops.var(w)
    >>> float(Narrow()(cr.nn.Dense(3, 2)).item()) > 0
    True
    """

    #: The names of the numbers it is made with, in order, for `repr`.
    numbers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parameters: Any = None) -> None:
        self.parameters = parameters
        #: (number, type) -> the number as an array, which a captured step reads at each replay
        self._operands: dict[tuple[str, Any], Any] = {}

    def __call__(self, model: Any) -> Any:
        """The penalty of a model, a tensor of no axes; also of a parameter, or of several. Of an
        array it is a number.

        Raises:
            ValueError: if the model has none of the parameters chosen; names the nearest.
        """
        total: Any = None
        for name, w in self.chosen(model):
            value = self.named_penalty(name, w)
            total = value if total is None else total + value
        return total

    def penalty(self, w: Any) -> Any:
        """The penalty of one weight."""
        raise NotImplementedError(f"{type(self).__name__} must define penalty(w)")

    def named_penalty(self, name: str, w: Any) -> Any:
        """The penalty of one weight, for what keeps something of each."""
        return self.penalty(w)

    def after_update(self, model: Any, lr: float | Callable[[Any], float] | None = None) -> None:
        """What happens to the weights after an update; nothing, unless a subclass says so.

        Arguments:
            model: as of a call.
            lr: the learning rate of the update, or a function that gives it for a parameter.
        """

    def state(self) -> dict[str, Any]:
        """Arrays that a checkpoint must keep, so that training goes on bit for bit."""
        return {}

    def load_state(self, arrays: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def setting(self) -> tuple[Any, ...]:
        """What decides which operations are done, as plain values: with another one a step is
        captured anew. Numbers are live, and only say whether they are 0."""
        own = vars(self).items()
        plain = [(n, v) for n, v in own if isinstance(v, bool | str | int | tuple | None)]
        return (*plain, *[getattr(self, n) == 0 for n in self.numbers])

    def chosen(self, model: Any) -> list[tuple[str, Any]]:
        """The names and parameters that it takes from a model."""
        if isinstance(model, Recorded):
            return [("", model)]
        if isinstance(model, np.ndarray):
            return [("", model if is_float(model.dtype) else model.astype(np.float64))]
        if not isinstance(model, Module):
            return [(str(k), w) for k, w in enumerate(model)]
        named = list(model.named_parameters())
        who = type(self).__name__
        if self.parameters is None:
            found = [(n, p) for n, p in named if p.ndim >= 2]
            if not found:
                raise ValueError(
                    f"{who} found no weights, parameters of two or more axes, in this "
                    f"{type(model).__name__}; name others: parameters='*'"
                )
            return found
        taken: dict[int, tuple[str, Any]] = {}
        for wanted in self.parameters:
            if isinstance(wanted, str):
                hits = [(n, p) for n, p in named if fnmatchcase(n, wanted)]
                hint = nearest(wanted, [n for n, _ in named])
                missing = f"no parameter is called {wanted!r}; {hint}"
            else:
                hits = [(n, p) for n, p in named if p is wanted]
                missing = f"a parameter of shape {wanted.shape} is not in this model"
            if not hits:
                raise ValueError(f"{who} on a {type(model).__name__}: {missing}")
            taken.update((id(p), (n, p)) for n, p in hits)
        return list(taken.values())

    def operand(self, name: str, dtype: Any) -> Any:
        """A number of this regularizer as an array without axes, live in a captured step."""
        if not is_float(dtype):  # a tensor of whole numbers
            dtype = np.float32
        key = (name, np.dtype(dtype))
        if key not in self._operands:
            self._operands[key] = np.array(getattr(self, name), key[1])
        return self._operands[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "parameters":
            value = _choice(value)
        if name in self.numbers:
            kind = type(self).__name__
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{kind}: {name} must be a number, got {value!r}")
            value = float(value)
            if not 0 <= value < math.inf:
                raise ValueError(f"{kind}: {name} must be a finite number from 0, got {value}")
            for (own, _), a in getattr(self, "_operands", {}).items():
                if own == name:
                    a[...] = value
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={getattr(self, n):g}" for n in self.numbers)
        return f"{type(self).__name__}({shown})"


def _choice(parameters: Any) -> tuple[Any, ...] | None:
    """The patterns and parameters, checked."""
    if parameters is None:
        return None
    if isinstance(parameters, str | Recorded):
        parameters = [parameters]
    if isinstance(parameters, Module) or not isinstance(parameters, Iterable):
        raise TypeError(
            "parameters are names, patterns of names or Parameter objects, not "
            f"{type(parameters).__name__}; of a layer: list(layer.parameters())"
        )
    chosen = tuple(parameters)
    for p in chosen:
        if not isinstance(p, str | Recorded):
            raise TypeError(f"a parameter is named, or given as an object; got {p!r}")
    if not chosen:
        raise ValueError("parameters is empty: nothing would be regularized")
    return chosen


class L1(Regularizer):
    """``λ Σ |w|``: many weights near 0. Ledger R-03.

    Arguments:
        l1: λ.
        proximal: instead of adding the penalty's slope λ sign(w) to the gradient, shrink the
            weights by lr · λ after the update, and to exactly 0 within it. Slopes alone leave them
            swinging around 0 (erratum E004-54). With an optimizer that scales the gradient, such as
            Adam, this is not the minimizer of loss and penalty but works towards zeros all the
            same.
        parameters: see `Regularizer`.

    References: Tibshirani 1996; Parikh & Boyd 2014 (proximal).

    >>> import chainrule as cr
    >>> cr.regularizers.L1(0.5)(cr.nn.Parameter([[1.0, -2.0]])).item()
    1.5
    """

    numbers: ClassVar[tuple[str, ...]] = ("l1",)

    def __init__(self, l1: float = 0.01, proximal: bool = False, parameters: Any = None) -> None:
        super().__init__(parameters)
        self.l1 = l1
        self.proximal = bool(proximal)

    def penalty(self, w: Any) -> Any:
        if self.proximal:  # the weights are shrunk afterwards
            return _nothing(w.dtype)
        return self.operand("l1", w.dtype) * regularization.l1_penalty(w)

    def after_update(self, model: Any, lr: float | Callable[[Any], float] | None = None) -> None:
        if not self.proximal:
            return
        if lr is None:
            raise ValueError(
                f"{type(self).__name__}(proximal=True) shrinks by lr · λ: call "
                "after_update(model, lr) with the learning rate of the update"
            )
        for _, p in self.chosen(model):
            threshold = _live(partial(self._threshold, p, lr), p.dtype)
            _change(p, softshrink, threshold)

    def _threshold(self, p: Any, lr: float | Callable[[Any], float]) -> float:
        return self.l1 * (lr(p) if callable(lr) else lr)


class L2(Regularizer):
    """``½ λ Σ w²``, with slope λ w: small weights. Ledger R-01, R-02, R-04.

    It is Tikhonov's regularizer with Γ = √λ I (erratum E004-55). With plain SGD it equals decoupled
    weight decay, ``w (1 - lr λ) - lr ∇L``, with no other optimizer (erratum E004-24): see `AdamW`.

    Arguments:
        l2: λ.
        half: False leaves the ½ out, as Keras does: ``λ Σ w²``, slope 2 λ w (ledger X-09, K-10).
        parameters: see `Regularizer`.

    >>> import chainrule as cr
    >>> cr.regularizers.L2(0.5)(cr.nn.Parameter([[1.0, -2.0]])).item()
    1.25
    """

    numbers: ClassVar[tuple[str, ...]] = ("l2",)

    def __init__(self, l2: float = 0.01, half: bool = True, parameters: Any = None) -> None:
        super().__init__(parameters)
        self.l2 = l2
        self.half = bool(half)

    def penalty(self, w: Any) -> Any:
        value = self.operand("l2", w.dtype) * regularization.l2_penalty(w)
        return value if self.half else 2.0 * value


#: Note 004's second name for the same penalty.
Tikhonov = L2


class ElasticNet(L1):
    """``λ₁ Σ |w| + ½ λ₂ Σ w²``, with slope ``λ₁ sign(w) + λ₂ w``, 0 at 0. Ledger R-03.

    Arguments:
        l1, l2: λ₁ and λ₂.
        proximal: for the first term, as in `L1`.
        parameters: see `Regularizer`.

    Reference: Zou & Hastie, "Regularization and variable selection via the elastic net", 2005.

    >>> import chainrule as cr
    >>> cr.regularizers.ElasticNet(0.5, 2.0)(cr.nn.Parameter([[1.0, -2.0]])).item()
    6.5
    """

    numbers: ClassVar[tuple[str, ...]] = ("l1", "l2")

    def __init__(
        self,
        l1: float = 0.01,
        l2: float = 0.01,
        proximal: bool = False,
        parameters: Any = None,
    ) -> None:
        super().__init__(l1, proximal, parameters)
        self.l2 = l2

    def penalty(self, w: Any) -> Any:
        l2 = self.operand("l2", w.dtype)
        if self.proximal:
            return l2 * regularization.l2_penalty(w)
        return regularization.elastic_net_penalty(w, self.operand("l1", w.dtype), l2)


class SpectralNorm(Regularizer):
    """``λ σ₁(W)`` for each weight, σ₁ its largest singular value. Ledger R-05, erratum E004-30.

    It bounds by how much a layer can stretch a difference of its inputs. The slope is ``λ u₁ v₁ᵀ``
    (erratum E004-31), of the squared form ``λ σ₁ u₁ v₁ᵀ``.

    Arguments:
        strength: λ.
        squared: ``½ λ σ₁²`` instead, as Yoshida & Miyato define it.
        method: ``"exact"`` computes singular values at every step, which cannot be captured, and
            has derivatives of every order; ``"power"`` follows the singular vectors from step to
            step by power iteration, which costs little more than two products with a vector. Its
            first vectors are exact, and a second derivative raises.
        iterations: of the power iteration, for each step.
        parameters: see `Regularizer`.

    An object follows the weights of one model.

    Reference: Yoshida & Miyato, "Spectral norm regularization for improving the generalizability of
    deep learning", 2017.

    >>> import chainrule as cr
    >>> cr.regularizers.SpectralNorm(0.5)(cr.nn.Parameter([[3.0, 0.0], [0.0, 4.0]])).item()
    2.0
    """

    numbers: ClassVar[tuple[str, ...]] = ("strength",)

    def __init__(
        self,
        strength: float = 0.01,
        squared: bool = False,
        method: str = "exact",
        iterations: int = 1,
        parameters: Any = None,
    ) -> None:
        super().__init__(parameters)
        if method not in ("exact", "power"):
            raise ValueError(f"SpectralNorm: method is 'exact' or 'power', got {method!r}")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ValueError(
                f"SpectralNorm: iterations is a whole number from 1, got {iterations!r}"
            )
        self.strength = strength
        self.squared, self.method, self.iterations = bool(squared), method, iterations
        #: name -> the vectors u and v that follow the parameter
        self._vectors: dict[str, tuple[Variable, Variable]] = {}

    def named_penalty(self, name: str, w: Any) -> Any:
        return self._scaled(self._followed(name, w) if self.method == "power" else self._exact(w))

    def penalty(self, w: Any) -> Any:
        return self._scaled(self._exact(w))

    def _exact(self, w: Any) -> Any:
        return spectral.spectral_norm(w)

    def _scaled(self, sigma: Any) -> Any:
        strength = self.operand("strength", sigma.dtype)
        return strength * (0.5 * (sigma * sigma) if self.squared else sigma)

    def _followed(self, name: str, w: Any) -> Any:
        rows = w.shape[0] if w.ndim else 0
        u, v = self._vectors.get(name, (None, None))
        if u is None or v is None or u.dtype != w.dtype or u.shape != (rows, 1):
            if state.recorder is not None:
                raise Postponed("the singular vectors of a weight are computed for the first time")
            with no_grad():
                _, left, right = spectral.singular_vectors(w)
            u, v = self._vectors[name] = Variable(left), Variable(right)
        sigma, left, right = spectral.power_iteration(w, u, v, self.iterations)
        u.assign(left)
        v.assign(right)
        return sigma

    def state(self) -> dict[str, Any]:
        return {
            f"{name}.{part}": np.array(a._data)
            for name, pair in self._vectors.items()
            for part, a in zip("uv", pair, strict=True)
        }

    def load_state(self, arrays: dict[str, Any]) -> None:
        names = dict.fromkeys(n.rpartition(".")[0] for n in arrays)
        self._vectors = {n: (Variable(arrays[f"{n}.u"]), Variable(arrays[f"{n}.v"])) for n in names}


class Orthogonality(Regularizer):
    """``λ ‖Wᵀ W - I‖_F²`` for each weight, with slope ``4 λ W (Wᵀ W - I)``. Ledger R-06.

    It draws the columns of W towards an orthonormal set, and the rows of a wide W, whose columns
    are too many (see `chainrule.ops.regularization.orthogonality_penalty`; erratum E004-32).

    Arguments:
        strength: λ.
        parameters: see `Regularizer`.

    References: Brock et al. 2017; Bansal, Chen & Wang 2018.

    >>> import chainrule as cr
    >>> cr.regularizers.Orthogonality(0.5)(cr.nn.Parameter([[2.0, 0.0], [0.0, 1.0]])).item()
    4.5
    """

    numbers: ClassVar[tuple[str, ...]] = ("strength",)

    def __init__(self, strength: float = 0.01, parameters: Any = None) -> None:
        super().__init__(parameters)
        self.strength = strength

    def penalty(self, w: Any) -> Any:
        return self.operand("strength", w.dtype) * regularization.orthogonality_penalty(w)


class MaxNorm(Regularizer):
    """After each update, ``w_i ← w_i / max(1, ‖w_i‖ / c)``: no unit's incoming weights are longer.

    Ledger R-08. With a strength it is the penalty of note 004 instead, ``λ Σ_i max(0, ‖w_i‖ - c)``
    (ledger R-07), with its slope ``λ w_i / ‖w_i‖``, which the note's own update leaves out: one or
    the other (erratum E004-33).

    Arguments:
        max_norm: c; 2 as in Keras. Srivastava et al. use 3 to 4.
        strength: λ of the penalty; at 0, the default, the weights are projected.
        axis: along which a vector lies; all but the first by default, so that a row of ``(out,
            in)``, and the whole kernel of an output channel, is one (erratum E004-55). Keras lays a
            weight out as ``(in, out)``, and its ``axis=0`` is this.
        parameters: see `Regularizer`.

    Frozen parameters are not projected.

    References: Srebro & Shraibman 2005; Srivastava et al., "Dropout", 2014.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([[3.0, 4.0], [0.5, 0.0]])
    >>> cr.regularizers.MaxNorm(2.5).project(w)
    >>> w
    parameter([[1.5, 2. ],
               [0.5, 0. ]])
    """

    numbers: ClassVar[tuple[str, ...]] = ("max_norm", "strength")

    def __init__(
        self,
        max_norm: float = 2.0,
        strength: float = 0.0,
        axis: Any = None,
        parameters: Any = None,
    ) -> None:
        super().__init__(parameters)
        self.max_norm, self.strength, self.axis = max_norm, strength, axis

    def penalty(self, w: Any) -> Any:
        if not self.strength:
            return _nothing(w.dtype)
        excess = regularization.max_norm_penalty(w, self.operand("max_norm", w.dtype), self.axis)
        return self.operand("strength", w.dtype) * excess

    def project(self, model: Any) -> None:
        """Shorten what is too long, in a model, a parameter or several."""
        for _, p in self.chosen(model):
            bound = self.operand("max_norm", p.dtype)
            _change(p, regularization.max_norm_projection, bound, self.axis)

    def after_update(self, model: Any, lr: float | Callable[[Any], float] | None = None) -> None:
        if not self.strength:
            self.project(model)


def _change(p: Any, by: Callable[..., Any], *arguments: Any) -> None:
    """Give a parameter other values, in place, unless it is frozen."""
    if not isinstance(p, Variable):
        raise TypeError(f"only parameters can be changed, not a {type(p).__name__}")
    if p.requires_grad:
        with no_grad():
            p.assign(by(p, *arguments))


def _nothing(dtype: Any) -> Any:
    return Recorded._wrap(np.zeros((), dtype))


def _live(number: Callable[[], float], dtype: Any) -> Any:
    """A number as an array; in a captured step it is computed anew before each replay."""
    a = np.array(number(), dtype)
    if state.recorder is not None:

        def prepare() -> bool:
            a[...] = number()
            return True

        state.recorder.hosts.append((prepare, lambda: None))
    return a


_BY_NAME: dict[str, type[Regularizer]] = {
    "l1": L1, "l2": L2, "tikhonov": L2, "elastic_net": ElasticNet, "spectral_norm": SpectralNorm,
    "orthogonality": Orthogonality, "max_norm": MaxNorm,
}  # fmt: skip


def get(regularizer: Any) -> Callable[[Any], Any]:
    """A regularizer from its name, with its defaults; an object or function is given back.

    Raises:
        ValueError: for an unknown name, with the nearest.
        TypeError: for a class instead of an object, and for what cannot be called.

    >>> import chainrule as cr
    >>> cr.regularizers.get("l2")
    L2(l2=0.01)
    """
    if isinstance(regularizer, str):
        if regularizer not in _BY_NAME:
            raise ValueError(
                f"unknown regularizer {regularizer!r}; {nearest(regularizer, _BY_NAME)}"
            )
        return _BY_NAME[regularizer]()
    if isinstance(regularizer, type):
        raise TypeError(f"a regularizer is an object: write {regularizer.__name__}(…)")
    if not callable(regularizer):
        raise TypeError(f"a regularizer is a name or a function of the model, not {regularizer!r}")
    return regularizer  # type: ignore[no-any-return]
