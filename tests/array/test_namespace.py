from __future__ import annotations

import numpy as np
import pytest

from chainrule.array.namespace import NUMPY, NumpyNamespace
from chainrule.array.primitives import PRIMITIVES


def test_every_primitive_is_there():
    xp = NumpyNamespace()
    for name in PRIMITIVES:
        assert callable(getattr(xp, name))
    with pytest.raises(AttributeError, match="no primitive 'arctan'"):
        _ = xp.arctan


def test_reductions_are_numpys():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    for axis in (None, 0, -1, (0, 2)):
        for keepdims in (False, True):
            for name in ("sum", "max", "mean"):
                y = getattr(NUMPY, name)(x, axis=axis, keepdims=keepdims)
                expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
                assert y.dtype == np.float32
                assert y.shape == expected.shape
                np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_like_is_read_for_its_shape():
    x = np.arange(3.0)
    assert NUMPY.broadcast_to(x, np.ones((2, 3))).shape == (2, 3)
    assert NUMPY.sum_to(np.ones((2, 3)), x).tolist() == [2, 2, 2]
    assert NUMPY.one_hot(np.array([[1]]), np.ones((1, 2))).tolist() == [[False, True]]
    assert NUMPY.ones_like(x).tolist() == [1, 1, 1]
    assert NUMPY.zeros_like(x).tolist() == [0, 0, 0]


def test_array_operations():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert NUMPY.matrix_transpose(x).shape == (2, 4, 3)
    assert NUMPY.permute_dims(x, (2, 0, 1)).shape == (4, 2, 3)
    assert NUMPY.matmul(x, NUMPY.matrix_transpose(x)).shape == (2, 3, 3)
    assert NUMPY.concat([x, x], axis=1).shape == (2, 6, 4)
    assert NUMPY.stack([x, x]).shape == (2, 2, 3, 4)
    assert NUMPY.reshape(x, (6, 4)).shape == (6, 4)
    assert NUMPY.einsum("bij,bij->b", x, x).shape == (2,)
    assert NUMPY.flip(x, axis=0)[0, 0, 0] == 12
    index = np.array([[[0]], [[1]]])
    assert NUMPY.take_along_axis(x[..., :1], index, axis=1).ravel().tolist() == [0, 16]
