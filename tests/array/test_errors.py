from __future__ import annotations

import pytest

from chainrule.array import errors
from chainrule.array.errors import nearest


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("ShapeError", ValueError), ("DataError", ValueError), ("NonFiniteError", ArithmeticError),
        ("FileFormatError", ValueError), ("StaleGraphError", RuntimeError),
        ("MissingExtraError", ImportError),
    ],
)  # fmt: skip
def test_every_error_is_the_builtin_a_caller_expects(name, base):
    error = getattr(errors, name)
    assert name in errors.__all__
    with pytest.raises(base, match="what, where and why"):
        raise error("what, where and why")
    assert error.__doc__


def test_names_are_complete():
    types = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert set(errors.__all__) == types | {"nearest"}


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("crossentropy", ["mse", "cross_entropy"], "did you mean 'cross_entropy'?"),
        ("adam", ["adamw", "adamax", "sgd"], "did you mean 'adamw' or 'adamax'?"),
        ("q", ["mse", "l1"], "known: 'l1', 'mse'"),
        (3, ["a"], "known: 'a'"),
    ],
)
def test_nearest(name, known, hint):
    assert nearest(name, known) == hint
    assert nearest(name, iter(known)) == hint
