"""PyTorch's functions and chainrule's counterparts: what `conformance_ops.py`, for functions of
`torch`, and `conformance_functional.py`, for those of `torch.nn.functional`, fill in.

Each entry says which function of `cr.ops` is meant and calls it with PyTorch's arguments: `dim`
becomes `axis`, an option that needs another function is written with it. What chainrule does
otherwise on purpose raises `NotApplicable` with the reason; the reasons are few, and stand here.
An entry whose function chainrule lacks is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import chainrule as cr

ops = cr.ops

ZERO_D = "an axis of a 0-d input: as in NumPy it has none"
NEGATIVE_PAD = "negative padding: chainrule crops by slices"
LEGACY_EMPTY = "an empty 1-d tensor beside others, which PyTorch skips: shapes must agree"
NOT_ONE = "squeeze of an axis that is not of length 1: NumPy's rule, it raises"
BROADCAST = "input and target of different shapes: chainrule never broadcasts them"
LABELS = "labels other than -1 and 1: chainrule refuses them"
ONE_LABEL = "one label of shape (1,) for an input without a batch axis: shapes must fit"
INTEGER_MEAN = "the mean of integers: a float here, PyTorch refuses"
EMPTY = "a maximum over no entries: it raises, as NumPy's"
LIMIT = "the value at infinity: the limit here, NaN in PyTorch"
POLE = "infinity and the poles of digamma: the limit here, NaN or a large number in PyTorch"
NAN = "NaN: NaN here, 0 in PyTorch"
NO_CHANNELS = "dropout of channels where they are not certain: chainrule asks for the axes"
CORNER = "gather from a corner of the input: take_along_axis needs one index per place"


@dataclasses.dataclass
class Case:
    name: str  # of chainrule's function
    call: Callable[..., Any]
    check: Callable[..., Any] | None = None  # of drawn values; NotImplemented where none are
    #: why certain inputs may give something else, and which
    apart: tuple[str, Callable[[Any], Any]] | None = None
    labels: int | None = None  # where PyTorch's samples have any numbers for the labels -1 and 1
    direct: bool = True  # one call of one function: what PyTorch refuses must be refused
    rounded: tuple[float, float] | None = None  # tolerances of derivatives PyTorch rounds itself

    @property
    def present(self) -> bool:
        return hasattr(ops, self.name)


NAMES = {"dim": "axis", "keepdim": "keepdims", "other": "b", "exponent": "b"}


def renamed(kwargs: dict[str, Any], more: dict[str, str]) -> dict[str, Any]:
    kwargs = {k: v for k, v in kwargs.items() if not (k == "inplace" and v is False)}
    return {more.get(k, NAMES.get(k, k)): v for k, v in kwargs.items()}


def shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape)


def axes(x: Any, axis: Any) -> Any:
    """An axis or several, as PyTorch has them, in NumPy's way."""
    if axis == () or axis == []:
        return None
    return tuple(axis) if isinstance(axis, list) else axis


CASES: dict[str, Case] = {}


def add(theirs: str, ours: str, call: Callable[..., Any] | None = None, **more: Any) -> None:
    if call is None:

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(ops, ours)(*args, **renamed(kwargs, {}))

    CASES[theirs] = Case(ours, call, **more)
