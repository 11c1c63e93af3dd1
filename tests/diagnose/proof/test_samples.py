"""Every operation has a sample, and its reference is not the library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import ops
from chainrule.diagnose.proof import samples
from chainrule.diagnose.proof.samples import draws, elementary

SAMPLES = list(elementary())


def test_titles_are_unique():
    titles = [s.title for s in SAMPLES]
    assert len(titles) == len(set(titles))


def test_a_reference_does_not_call_the_library(monkeypatch):
    class Forbidden:
        def __getattr__(self, name):
            raise AssertionError(f"the reference calls chainrule.ops.{name}")

    monkeypatch.setattr(samples, "ops", Forbidden())
    for s in SAMPLES:
        s.reference(*s.inputs)


def test_draws_depend_on_the_key_and_keep_away_from_whole_numbers():
    x = draws("a", 50, 50)
    assert np.array_equal(x, draws("a", 50, 50))
    assert not np.array_equal(x, draws("b", 50, 50))
    assert np.min(np.abs(x - np.round(x))) >= 0.05


@pytest.mark.parametrize("x", [0.3, 1.0, 2.5, 11.0, 40.0])
def test_the_references_of_gamma(x):
    mpmath = pytest.importorskip("mpmath")
    assert math.isclose(samples._digamma(x), mpmath.digamma(x), rel_tol=1e-13, abs_tol=1e-13)
    assert math.isclose(samples._trigamma(x), mpmath.polygamma(1, x), rel_tol=1e-13)


def test_inputs_lie_in_the_domain():
    for s in SAMPLES:
        if s.elementwise:
            assert all(np.all((a > s.domain[0]) & (a < s.domain[1])) for a in s.inputs)


def test_most_operations_have_a_sample_of_every_order():
    names = {s.name for s in SAMPLES}
    assert names <= set(ops.__all__)
    assert {s.name for s in SAMPLES if s.order == 2} >= {"add", "matmul", "sort", "var", "dense"}
