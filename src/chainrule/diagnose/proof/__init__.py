"""Proofs: samples of every operation, loss and layer, and the checks that each must pass."""

from collections.abc import Iterator

from chainrule.diagnose.proof.activations import activations, masks
from chainrule.diagnose.proof.checks import CHECKS, Proof, prove
from chainrule.diagnose.proof.elementary import elementary
from chainrule.diagnose.proof.layers import layers
from chainrule.diagnose.proof.linear import linear
from chainrule.diagnose.proof.losses import losses
from chainrule.diagnose.proof.samples import Sample

__all__ = ["CHECKS", "Proof", "Sample", "prove", "samples"]


def samples() -> Iterator[tuple[str, Sample]]:
    """Every sample with what it is of: an operation, an activation, a loss or a layer."""
    for kind, families in (
        ("operation", (elementary, linear, masks)),
        ("activation", (activations,)),
        ("loss", (losses,)),
        ("layer", (layers,)),
    ):
        for family in families:
            for sample in family():
                yield kind, sample
