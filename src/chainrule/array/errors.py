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
    """Shapes do not fit an operation or a layer. Names the layer, the expectation, what came.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> try:
    ...     cr.nn.Dense(3, 2)(np.ones((1, 4)))
    ... except cr.ShapeError as error:
    ...     print(str(error).split(";")[0])
    model Dense(3 -> 2): expected x: (B, 3), got (1, 4)
    """


class DataError(ValueError):
    """Data given to training, evaluation or prediction cannot be used. Names row and column.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> try:
    ...     cr.data.Batches((np.zeros((3, 2)), np.zeros(2)))
    ... except cr.DataError as error:
    ...     print(error)
    x has 3 rows but y has 2; every sample needs one.
    """


class NonFiniteError(ArithmeticError):
    """A loss or gradient became NaN or infinite. Names the step and the first layer.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> trainer = cr.Trainer(cr.nn.Dense(2, 1), loss="mse")
    >>> y = np.full((4, 1), 1e30, np.float32)  # its square is not a float32
    >>> try:
    ...     trainer.fit((np.ones((4, 2)), y), epochs=1, verbose=False)
    ... except cr.NonFiniteError as error:
    ...     print(str(error).split(".")[0])
    the loss became inf at step 1 (epoch 1, batch 0)
    """


class FileFormatError(ValueError):
    """A model, checkpoint or data file is truncated, damaged, too large or not ours.

    >>> import os, tempfile
    >>> import chainrule as cr
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> with open(path, "wb") as file:
    ...     size = file.write(b"not a model")
    >>> try:
    ...     cr.load(path)
    ... except cr.FileFormatError as error:
    ...     print("model.safetensors" in str(error))
    True
    """


class StaleGraphError(RuntimeError):
    """A backward pass met a graph that is freed, or parameters changed since the forward pass.

    All error signals come before any update (ledger B-05): through a matrix that has moved they
    would be wrong, so the tape refuses.

    >>> import chainrule as cr
    >>> x = cr.tensor([3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> try:
    ...     loss.backward()
    ... except cr.StaleGraphError as error:
    ...     print(str(error).split(":")[0])
    backward through sum a second time
    """


class MissingExtraError(ImportError):
    """An optional dependency is absent. Names the command that installs it.

    >>> import chainrule as cr
    >>> issubclass(cr.MissingExtraError, ImportError)
    True
    """


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
