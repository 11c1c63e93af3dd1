"""The exception types of the library; each subclasses the built-in a caller would expect."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "DataError",
    "FileFormatError",
    "MissingExtraError",
    "NonFiniteError",
    "ShapeError",
    "StaleGraphError",
    "nearest",
]


class ShapeError(ValueError):
    """Shapes do not fit an operation or a layer. Names the layer, the expectation, what came."""


class DataError(ValueError):
    """Data given to training, evaluation or prediction cannot be used. Names row and column."""


class NonFiniteError(ArithmeticError):
    """A loss or gradient became NaN or infinite. Names the step and the first layer."""


class FileFormatError(ValueError):
    """A model, checkpoint or data file is truncated, damaged, too large or not ours."""


class StaleGraphError(RuntimeError):
    """A backward pass met a graph that is freed, or parameters changed since the forward pass."""


class MissingExtraError(ImportError):
    """An optional dependency is absent. Names the command that installs it."""


def nearest(name: object, known: Iterable[str]) -> str:
    """A hint for an unknown name: the closest known ones, else all of them.

    >>> nearest("crossentropy", ["mse", "cross_entropy"])
    "did you mean 'cross_entropy'?"
    >>> nearest("q", ["mse", "l1"])
    "known: 'l1', 'mse'"
    """
    import difflib  # here, because only a mistake needs it

    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known: {', '.join(repr(n) for n in names)}"
