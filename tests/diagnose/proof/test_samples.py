"""Every operation has a sample, and its reference is not the library."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

from chainrule import ops
from chainrule.diagnose import proof
from chainrule.diagnose.proof import samples
from chainrule.diagnose.proof.samples import draws

SAMPLES = list(samples())


def test_titles_are_unique():
    titles = [(kind, s.title) for kind, s in SAMPLES]
    assert len(titles) == len(set(titles))


def test_everything_public_has_a_sample():
    assert {s.name for kind, s in SAMPLES if kind != "layer"} == set(ops.__all__)


def test_a_reference_does_not_call_the_library(monkeypatch):
    class Forbidden:
        def __getattr__(self, name):
            raise AssertionError(f"the reference calls chainrule.ops.{name}")

    for module in ("elementary", "linear", "activations"):
        monkeypatch.setattr(
            importlib.import_module(f"{proof.__name__}.{module}"), "ops", Forbidden()
        )
    for kind, s in SAMPLES:
        if kind != "layer":
            s.reference(*s.inputs)


def test_draws_depend_on_the_key_and_keep_away_from_whole_numbers():
    x = draws("a", 50, 50)
    assert np.array_equal(x, draws("a", 50, 50))
    assert not np.array_equal(x, draws("b", 50, 50))
    assert np.min(np.abs(x - np.round(x))) >= 0.05


@pytest.mark.parametrize("x", [0.3, 1.0, 2.5, 11.0, 40.0])
def test_the_references_of_gamma(x):
    mpmath = pytest.importorskip("mpmath")
    elementary = importlib.import_module(f"{proof.__name__}.elementary")
    assert math.isclose(elementary._digamma(x), mpmath.digamma(x), rel_tol=1e-13, abs_tol=1e-13)
    assert math.isclose(elementary._trigamma(x), mpmath.polygamma(1, x), rel_tol=1e-13)


def test_inputs_lie_in_the_domain():
    for _, s in SAMPLES:
        if s.elementwise:
            assert all(np.all((a > s.domain[0]) & (a < s.domain[1])) for a in s.inputs)
