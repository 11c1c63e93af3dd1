"""`check_gradients` finds small mistakes of either order, and lets right functions pass."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.autograd import tape
from chainrule.autograd.tape import Op, Variable


class Cube(Op):
    """x³ whose vjp carries a relative error, on arrays, on tensors, or in its own derivative."""

    name = "cube"

    def __init__(self, arrays=0.0, tensors=0.0, second=0.0):
        self.arrays, self.tensors, self.second = arrays, tensors, second

    def forward(self, xp, x):
        return (x * x * x,), ()

    def vjp(self, xp, inputs, outputs, residuals, cotangents, needed):
        x, g = inputs[0], cotangents[0]
        if not isinstance(x, Variable):
            return (g * (3 + self.arrays) * x * x,)
        if not self.second:
            return (g * (3 + self.tensors) * x * x,)
        # the value 3 x², but with a derivative of its own
        fixed = ops.stop_gradient(x)
        return (g * (3 * x * x + 3 * self.second * (x * x - fixed * fixed)),)


def f(**wrong):
    return lambda x: tape.apply(Cube(**wrong), x)[0]


X = np.array([0.7, -1.3, 2.0])


def test_the_right_cube_passes():
    assert cr.check_gradients(f(), X) is True


def test_an_error_of_a_thousandth_in_the_first_derivative_is_found():
    with pytest.raises(AssertionError, match=r"derivative of order 1, direction 0"):
        cr.check_gradients(f(arrays=3e-3), X)
    with pytest.raises(AssertionError, match=r"derivative of order 1"):
        cr.check_gradients(f(arrays=3e-3), X, order=1)


def test_an_error_of_a_thousandth_in_the_second_derivative_is_found():
    wrong = f(second=1e-3)
    cr.check_gradients(wrong, X, order=1)
    with pytest.raises(AssertionError, match=r"derivative of order 2, direction 0"):
        cr.check_gradients(wrong, X)


def test_a_vjp_that_differs_on_tensors_is_found():
    wrong = f(tensors=3e-3)
    cr.check_gradients(wrong, X, order=1)
    with pytest.raises(AssertionError, match=r"argument 0 differs by .* when it is recorded"):
        cr.check_gradients(wrong, X)


def test_not_a_number_never_passes():
    with pytest.raises(AssertionError, match=r"order 1"):
        cr.check_gradients(lambda x: x * float("nan"), X)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 3), (0, 3)])
def test_right_functions_of_many_shapes_pass(shape):
    x = np.random.default_rng(3).standard_normal(shape)
    cr.check_gradients(ops.silu, x)
    cr.check_gradients(lambda a, b: (a * b, a - ops.sin(b)), x, x + 0.5)


def test_entries_of_very_different_size():
    cr.check_gradients(lambda x: x * x, np.array([1e-3, 1.0, 1e4, -1e4]))
    cr.check_gradients(ops.tanh, np.array([1e-3, 1.0, 1e4, -1e4]))


def test_float32_and_lists_and_tensors_are_checked_in_float64():
    cr.check_gradients(ops.gelu, X.astype(np.float32))
    cr.check_gradients(ops.gelu, [0.5, 1.0])
    cr.check_gradients(ops.gelu, cr.tensor([0.5, 1.0], requires_grad=True))


def test_integer_and_boolean_arguments_pass_through():
    labels = np.array([0, 2, 1])
    x = np.random.default_rng(0).standard_normal((3, 3))
    cr.check_gradients(lambda x, t: ops.cross_entropy(x, t), x, labels)
    cr.check_gradients(ops.where, np.array([True, False, True]), X, 2 * X)
    with pytest.raises(TypeError, match=r"at least one floating"):
        cr.check_gradients(lambda t: t, labels)


def test_unconnected_and_linear_arguments():
    cr.check_gradients(lambda x, y: x * 2, X, X)
    cr.check_gradients(lambda x: cr.tensor([1.0]), X)


def test_inside_no_grad():
    with cr.no_grad():
        cr.check_gradients(ops.silu, X)


def test_what_cannot_be_checked():
    with pytest.raises(TypeError, match=r"returned float, not a tensor"):
        cr.check_gradients(lambda x: 1.0, X)
    with pytest.raises(ValueError, match=r"order is 1 or 2"):
        cr.check_gradients(ops.silu, X, order=3)


def test_a_kink_is_named_with_its_slopes():
    with pytest.raises(AssertionError, match=r"this point is a kink: the slope is .* on one side"):
        cr.check_gradients(ops.relu, np.array([0.0, 1.0, -2.0]))
    with pytest.raises(AssertionError, match=r"order 2, .* kink"):  # relu' is, where relu² is not
        cr.check_gradients(lambda x: ops.relu(x) ** 2 + x, np.zeros(2))


def test_a_kink_close_by_is_no_hindrance():
    for distance in (1e-3, -3e-4, 1e-4):
        cr.check_gradients(ops.relu, np.array([distance]))


def test_a_wrong_derivative_close_to_a_kink_is_no_kink():
    def wrong(x):
        return ops.relu(x) + f(arrays=3e-2)(x)

    with pytest.raises(AssertionError, match=r"differences give"):
        cr.check_gradients(wrong, np.array([0.9, 1e-4]), order=1)
