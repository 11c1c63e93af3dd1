"""Find where a text turns float32 into float64.

NumPy keeps float32 with Python numbers (NEP 50), but not with NumPy scalars, and a result of
nothing but tests and Python numbers is float64: ``where(c, 1.0, 0.0)``, ``(x > 0) * 1.0``,
``a * np.sqrt(2)``, ``mean(x > 0) * a``. The compiled program is typed as a whole and stays float32;
the same text run by plain NumPy does not, and the two would differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.array.namespace import NUMPY
from chainrule.array.primitives import PRIMITIVES

__all__ = ["lint"]

_NAMES = {row.numpy: name for name, row in PRIMITIVES.items() if isinstance(row.numpy, np.ufunc)}


def lint(text: Callable[..., Any], names: Sequence[str], **attrs: Any) -> list[str]:
    """The operations of ``text(xp, *names, **attrs)`` that give float64 for float32, in order.

    Only the operation that widened is reported, not those that went on with its result. Empty for
    a text that keeps float32.

    >>> import math
    >>> lint(lambda xp, x: x * math.sqrt(2) + xp.where(x > 0.0, x, 0.0), ["x"])
    []
    >>> lint(lambda xp, x: x * np.sqrt(2) + xp.where(x > 0.0, 1.0, 0.0), ["x"])
    ['multiply', 'where']
    """
    found: list[str] = []

    class Watched(np.ndarray[Any, Any]):
        """An array whose operators report."""

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
            return call(_NAMES.get(ufunc, ufunc.__name__), getattr(ufunc, method), inputs, kwargs)

    def call(name: str, function: Any, args: Sequence[Any], kwargs: Any) -> Any:
        wide = any(isinstance(a, Watched) and a.dtype == np.float64 for a in args)
        result = function(*(np.asarray(a) if isinstance(a, Watched) else a for a in args), **kwargs)
        if result.dtype == np.float64 and not wide:
            found.append(name)
        return np.asarray(result).view(Watched)

    class Namespace:
        def __getattr__(self, name: str) -> Any:
            function = getattr(NUMPY, name)
            return lambda *args, **kwargs: call(name, function, args, kwargs)

    values = np.linspace(0.25, 0.75, 6, dtype=np.float32).reshape(2, 3)
    with np.errstate(all="ignore"):
        text(Namespace(), *(values.view(Watched) for _ in names), **attrs)
    return found
