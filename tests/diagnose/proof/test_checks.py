"""Every sample passes on every executor, and every check finds what it looks for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from chainrule import ops
from chainrule.compile import build, native
from chainrule.diagnose.proof import CHECKS, Sample, checks, prove, samples
from chainrule.diagnose.proof.samples import draws
from chainrule.ops.formula import formula
from tests_steps import build_at_once, forget_plans

SAMPLES = list(samples())


@pytest.fixture(scope="module", autouse=True)
def built(executor):
    """The native code of all samples, by one run of the compiler, and quickly: what it computes is
    looked at here; what the compiler makes of it otherwise, in tests/compile."""
    if executor != "native":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_known", dict(native._known))  # what is built here stays here
        patch.setattr(build, "shared_library", partial(build.shared_library, extra=("-O0",)))
        with native.collecting() as texts:
            for _, sample in SAMPLES:
                prove(sample)
        build_at_once(texts)
        yield
    forget_plans()


@pytest.mark.parametrize(
    "sample", [s for _, s in SAMPLES], ids=[f"{kind} {s.title}" for kind, s in SAMPLES]
)
def test_everything_is_proved(executor, sample):
    proof = prove(sample)
    assert proof.passed, "\n".join(proof.wrong)
    assert proof.value <= 1e-5


def cube(x):
    return x * x * x


def plain(x):
    return x**3


def sample(f, reference=plain, x=None, **more):
    x = draws("broken", 3, 4) if x is None else x
    return Sample("broken", f, reference, (x,), elementwise=True, **more)


def wrong(broken):
    """The names of the checks that fail."""
    return {text.partition(":")[0] for text in prove(broken).wrong}


def test_what_is_right_passes():
    assert prove(sample(cube)).wrong == ()


def with_vjp(vjp, saves="x"):
    @formula
    def broken(xp, x):
        return x * x * x

    broken.override(saves=saves)(vjp)
    return broken


def test_a_wrong_value_is_found():
    assert wrong(sample(lambda x: cube(x) * 1.0001)) == {"value"}
    # right in float32, but not in float64
    assert wrong(sample(lambda x: cube(x) * (1 + 1e-9))) == {"value"}


def test_a_wrong_first_derivative_is_found():
    broken = with_vjp(lambda xp, inputs, y, g: g * (3.0003 * inputs[0] * inputs[0]))
    assert "first derivative" in wrong(sample(broken))


def test_a_wrong_second_derivative_is_found():
    broken = with_vjp(lambda xp, inputs, y, g: g * (3.0 * inputs[0] * xp.stop_gradient(inputs[0])))
    assert wrong(sample(broken)) == {"second derivative"}


def test_a_type_that_changes_is_found():
    assert "types" in wrong(sample(lambda x: cube(x) * np.ones(1, np.float64)))


def test_a_changed_input_is_found():
    def broken(x):
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x += 0.0
        elif isinstance(x, np.ndarray):
            x.flags.writeable = True
            x *= 2.0
        return cube(x)

    assert "inputs stay" in wrong(sample(broken))


def test_a_dependence_on_strides_is_found():
    def broken(x):
        raw = x if isinstance(x, np.ndarray) else x._data
        return cube(x) if raw.flags.c_contiguous else cube(x) * 2.0

    assert wrong(sample(broken)) == {"strides"}


def test_a_gradient_that_depends_on_who_asks_is_found():
    def broken(a, b):
        first = isinstance(a, np.ndarray) or not a.requires_grad
        return a * ops.stop_gradient(b) + b * (2.0 if first else 1.0) if first else a * b

    a, b = draws("a", 3, 4), draws("b", 3, 4)
    found = wrong(Sample("broken", broken, lambda a, b: a * b, (a, b), elementwise=True))
    assert "some gradients" in found


def test_a_memory_of_the_last_call_is_found():
    last = {}

    def broken(x):
        if isinstance(x, np.ndarray):
            return cube(x)
        last["x"] = x._data.copy()
        return _Remembers(last)(x)

    class _Remembers:
        def __init__(self, held):
            self.held = held

        def __call__(self, x):
            from chainrule.autograd.tape import Op, apply

            class Broken(Op):
                name = "broken"

                def forward(op, xp, x):
                    return (x * x * x,), ()

                def vjp(op, xp, inputs, outputs, residuals, cotangents, needed):
                    # reads what the last call left, and not what its own node holds
                    return (cotangents[0] * 3.0 * self.held["x"] * inputs[0],)

            return apply(Broken(), x)[0]

    assert "used twice" in wrong(sample(broken))


def test_an_empty_array_or_a_number_that_fails_is_found():
    def no_rows(x):
        return cube(x) if x.size else cube(x).reshape(0)

    assert wrong(sample(no_rows)) == {"no rows"}
    assert wrong(sample(lambda x: cube(x) if x.ndim else cube(x).reshape(1))) >= {"one number"}


def test_a_swallowed_nan_is_found():
    def broken(x):
        raw = x if isinstance(x, np.ndarray) else x._data
        return ops.where(np.isnan(raw), 0.0, cube(x))

    assert wrong(sample(broken)) == {"NaN"}


def test_a_nan_at_an_extreme_is_found():
    def broken(x):  # inf / inf, or inf - inf, where the limit is 1
        return ops.exp(x) / (1.0 + ops.exp(x))

    found = prove(sample(broken, lambda x: 1 / (1 + np.exp(-x)))).wrong
    assert [text.partition(":")[0] for text in found] == ["extremes"]
    assert "at 10000" in found[0]


def test_shapes_that_are_taken_in_silence_are_found():
    a, b = draws("a", 3, 4), draws("b", 3, 4)

    def broken(a, b):
        return a * b if a.shape == b.shape else a

    sample = Sample("broken", broken, lambda a, b: a * b, (a, b), elementwise=True)
    assert wrong(sample) == {"wrong shapes"}


def test_every_check_has_a_test_that_it_can_fail():
    tested = {"value", "first derivative", "second derivative", "types", "inputs stay", "strides",
              "some gradients", "used twice", "no rows", "one number", "NaN", "extremes",
              "wrong shapes"}  # fmt: skip
    assert set(CHECKS) == tested


def test_the_errors_of_a_proof_are_those_of_its_checks():
    proof = prove(sample(lambda x: cube(x) * 1.0001))
    assert proof.value == np.inf
    assert proof.first < 1e-6
    assert not proof.passed
    assert "error" in proof.wrong[0]


def test_gaps():
    assert checks._gap([1.0, np.nan, np.inf], [1.0, np.nan, np.inf]) == 0.0
    assert checks._gap([1.0, np.inf], [1.0, 5.0]) == np.inf
    assert checks._gap([1], [2]) == np.inf
    with pytest.raises(AssertionError, match="shape"):
        checks._gap([1.0], [[1.0]])
