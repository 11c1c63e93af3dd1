"""The digits that come with the package: small enough to ship, real enough to learn from."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

__all__ = ["load_digits"]


def load_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """1797 handwritten digits of 13 people, as 8×8 images.

    Each pixel counts, from 0 to 16, the inked points of a 4×4 square of the 32×32 scan.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the part of it
    that scikit-learn ships (its test set), stored as 8-bit integers.

    Returns:
        ``X`` (1797, 64) uint8 from 0 to 16, row-major images; ``y`` (1797,) uint8 from 0 to 9.
        New arrays at each call.

    >>> X, y = load_digits()
    >>> X.shape, X.dtype, int(X.max()), y[:5]
    ((1797, 64), dtype('uint8'), 16, array([0, 1, 2, 3, 4], dtype=uint8))
    """
    # beside this file: importlib.resources would cost every import of the package 8 ms
    with np.load(
        os.path.join(os.path.dirname(__file__), "digits.npz"), allow_pickle=False
    ) as arrays:
        return arrays["X"], arrays["y"]
