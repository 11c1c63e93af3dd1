"""What is inside a model, and what goes on in it."""

from chainrule.diagnose.nonfinite import first_nonfinite
from chainrule.diagnose.summary import Summary, summary

__all__ = ["Summary", "first_nonfinite", "summary"]
