"""The shipped digits."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import pytest

from chainrule.data import load_digits


def test_shapes_and_ranges():
    X, y = load_digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.uint8, (1797,), np.uint8)
    assert (X.min(), X.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digest():
    X, y = load_digits()
    digest = hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_each_call_gives_new_arrays():
    X, _ = load_digits()
    X[:] = 0
    assert load_digits()[0].any()


def test_file_is_small():
    assert len(files("chainrule.data").joinpath("digits.npz").read_bytes()) < 50_000


def test_equals_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = load_digits()
    theirs = datasets.load_digits()
    assert np.array_equal(X, theirs.data)
    assert np.array_equal(y, theirs.target)
