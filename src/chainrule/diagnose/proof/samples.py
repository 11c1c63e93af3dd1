"""What a proof is made of: an operation, inputs for it, and the same thing in plain NumPy."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.array.dtypes import Array

__all__ = ["Sample", "along", "draws"]


class Sample(NamedTuple):
    """One call of an operation: `f` of the inputs in the library, `reference` of them in NumPy.

    `order` is up to which derivative the operation has one that is not zero everywhere.
    """

    name: str
    f: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Array, ...]
    detail: str = ""
    order: int = 2
    #: entry by entry: any shape serves, and extremes are tried in every entry
    elementwise: bool = False
    #: where its floating inputs may lie
    domain: tuple[float, float] = (-math.inf, math.inf)
    #: whether it says anything of no rows
    empty: bool = True
    #: NaN in gives NaN out
    spreads: bool = True
    #: allowed error relative to the largest entry, in float64
    tolerance: float = 1e-13

    @property
    def title(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name

    @property
    def reals(self) -> list[int]:
        """Which inputs are real numbers, not indices or conditions."""
        return [k for k, a in enumerate(self.inputs) if a.dtype.kind == "f"]


def draws(key: str, *shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """Numbers that depend on the key alone; each is at least 0.05 away from a whole number, where
    many functions have a kink."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    x = rng.uniform(low, high, shape)
    near = np.round(x)
    return np.where(np.abs(x - near) < 0.05, near + np.where(x < near, -0.07, 0.07), x)


def along(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The function with these options."""
    return lambda *xs: f(*xs, **options)
