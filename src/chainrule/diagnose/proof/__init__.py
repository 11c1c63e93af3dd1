"""Proofs: samples of every operation, and the checks that each must pass."""

from chainrule.diagnose.proof.checks import CHECKS, Proof, prove
from chainrule.diagnose.proof.samples import Sample, elementary

__all__ = ["CHECKS", "Proof", "Sample", "elementary", "prove"]
