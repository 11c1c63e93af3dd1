"""Class indices that are none, and what the errors say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import ops
from chainrule.array.errors import DataError

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 4, 3))
P = RNG.uniform(0.05, 0.95, (4, 3))
T = RNG.uniform(0, 1, (4, 3))
LOGITS = RNG.standard_normal((6, 4)) * 3
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFT = RNG.dirichlet(np.ones(4), 6)
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5, 3.0])
SAMPLE_WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])


def test_wrong_labels():
    with pytest.raises(DataError, match=r"label 4 at row 2 is out of range; 4 classes are 0 to 3"):
        ops.cross_entropy(LOGITS, np.array([0, 1, 4, 1, 2, 0]))
    with pytest.raises(DataError, match=r"counted from 1\? subtract 1"):
        ops.cross_entropy(LOGITS, LABELS + 1)
    with pytest.raises(DataError, match=r"label -1 at row 0"):
        ops.nll_loss(LOGITS, np.array([-1, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"whole numbers.*first: 0.5 at \(1,\)"):
        ops.cross_entropy(LOGITS, np.array([0, 0.5, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"whole numbers"):
        ops.cross_entropy(LOGITS, np.array([0, np.nan, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"at index \(1, 2\)"):
        ops.cross_entropy(np.zeros((2, 3, 3)), np.array([[0, 1, 2], [0, 1, 7]]))
    for dtype in (float, np.uint8, np.int8, np.uint64):
        assert ops.cross_entropy(LOGITS, LABELS.astype(dtype)) == ops.cross_entropy(LOGITS, LABELS)
    many = np.zeros((1, 300))
    np.testing.assert_allclose(ops.cross_entropy(many, np.array([255], np.uint8)), math.log(300))
    with pytest.raises(DataError, match=r"whole numbers, got <U1"):
        ops.cross_entropy(LOGITS, np.array(list("aabbcc")))
    with pytest.raises(DataError, match=r"whole numbers"):
        ops.cross_entropy(LOGITS, np.array([0, np.inf, 0, 0, 0, 0]))
