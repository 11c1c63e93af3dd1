"""What is inside a model, and what goes on in it."""

from chainrule.diagnose.nonfinite import first_nonfinite
from chainrule.diagnose.per_sample import per_sample_gradients
from chainrule.diagnose.summary import Summary, summary

__all__ = ["Summary", "first_nonfinite", "per_sample_gradients", "summary"]
