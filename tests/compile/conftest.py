"""Random programs: expression trees over the primitives, and arrays to run them on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from tests_kernels import Builder

SMOOTH = {
    "tanh": lambda xp, a: xp.tanh(a),
    "sigmoid": lambda xp, a: xp.sigmoid(a),
    "erf": lambda xp, a: xp.erf(a),
    "sin": lambda xp, a: xp.sin(a),
    "cos": lambda xp, a: xp.cos(a),
    "negative": lambda xp, a: -a,
    "expm1": lambda xp, a: xp.expm1(xp.tanh(a)),
    "exp": lambda xp, a: xp.exp(-(a * a)),
    "log1p": lambda xp, a: xp.log1p(a * a),
    "log": lambda xp, a: xp.log(2.0 + a * a),
    "sqrt": lambda xp, a: xp.sqrt(a * a + 0.5),
    "lgamma": lambda xp, a: xp.lgamma(1.5 + xp.tanh(a)),
    "pow": lambda xp, a: xp.pow(1.0 + a * a, 1.5),
    "cube": lambda xp, a: a**3,
    "row sum": lambda xp, a: xp.sum(a, axis=-1, keepdims=True),
    "row mean": lambda xp, a: xp.mean(a, axis=-1, keepdims=True),
    "column mean": lambda xp, a: xp.mean(a, axis=0, keepdims=True),
    "total": lambda xp, a: xp.sum(a) / 7.0,
    "add": lambda xp, a, b: a + b,
    "subtract": lambda xp, a, b: a - b,
    "multiply": lambda xp, a, b: a * b,
    "divide": lambda xp, a, b: a / (1.0 + b * b),
    "power": lambda xp, a, b: xp.pow(1.0 + a * a, xp.tanh(b)),
    "scale": lambda xp, a: 0.5 * a - 1.0,
}
KINKED = {
    "abs": lambda xp, a: xp.abs(a),
    "relu": lambda xp, a: xp.where(a <= 0.0, 0.0, a),
    "cap": lambda xp, a: xp.where(a > 1.0, 1.0, a),
    "leaky": lambda xp, a: xp.where(a <= 0.0, 0.1 * a, a),
    "row max": lambda xp, a: xp.max(a, axis=-1, keepdims=True),
    "stop": lambda xp, a: xp.stop_gradient(a) * a,
    "maximum": lambda xp, a, b: xp.maximum(a, b),
    "minimum": lambda xp, a, b: xp.minimum(a, b),
    "where": lambda xp, a, b: xp.where((a < b) & xp.isfinite(a), a, b),
    "either": lambda xp, a, b: xp.where((a < 0.1) | ~(b > 0.2), a, -b),
}
ALL = SMOOTH | KINKED
LEAVES = ["x", "y", "bias", "column", "scale"]  # (R, C), (R, C), (C,), (R, 1), ()


def _trees(names):
    unary = [n for n in names if ALL[n].__code__.co_argcount == 2]
    binary = [n for n in names if ALL[n].__code__.co_argcount == 3]
    return st.recursive(
        st.sampled_from(LEAVES),
        lambda t: st.tuples(st.sampled_from(unary), t) | st.tuples(st.sampled_from(binary), t, t),
        max_leaves=8,
    )


def _evaluate(tree, xp, values):
    if isinstance(tree, str):
        return values[tree]
    name, *args = tree
    return ALL[name](xp, *(_evaluate(a, xp, values) for a in args))


class Programs:
    """What the tests in this folder share."""

    names = LEAVES
    smooth = _trees(list(SMOOTH))
    any = _trees(list(ALL))

    @staticmethod
    def text(*trees):
        """The text whose outputs are these trees."""

        def program(xp, x, y, bias, column, scale):
            values = dict(zip(LEAVES, (x, y, bias, column, scale), strict=True))
            results = tuple(_evaluate(t, xp, values) for t in trees)
            return results if len(results) > 1 else results[0]

        return program

    @staticmethod
    def arrays(rows=5, columns=3, dtype=np.float64, seed=0):
        r = np.random.default_rng(seed)
        shapes = [(rows, columns), (rows, columns), (columns,), (rows, 1), ()]
        return [np.asarray(r.normal(size=s), dtype) for s in shapes]


@pytest.fixture(scope="session")
def programs():
    return Programs


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compiles kernels, all at once, and gives their functions."""
    return Builder(tmp_path_factory.mktemp("c"))
