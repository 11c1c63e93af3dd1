"""Initializers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.array.errors import nearest
from chainrule.init import initializers as laws
from chainrule.init import matrices

__all__ = ["get"]

#: What answers questions about initial values, and gives none.
_NO_INITIALIZERS = {"fans", "gain"}

_BY_NAME: dict[str, Callable[..., Any]] = {
    name: getattr(room, name)
    for room in (laws, matrices)
    for name in room.__all__
    if name not in _NO_INITIALIZERS
}


def get(name: str | Callable[..., Any]) -> Callable[..., Any]:
    """The initializer of this name; a function is given back as it is.

    Arguments:
        name: one of those of this room, in PyTorch's spelling without the underscore
            (``"xavier_uniform"``), or Keras's (``"glorot_uniform"``, ``"identity"``).

    Raises:
        ValueError: for another name, with the nearest.

    >>> import chainrule as cr
    >>> cr.init.get("he_normal") is cr.init.he_normal
    True
    """
    if callable(name):
        return name
    if name not in _BY_NAME:
        raise ValueError(f"no initializer is called {name!r}; {nearest(name, _BY_NAME)}")
    return _BY_NAME[name]
