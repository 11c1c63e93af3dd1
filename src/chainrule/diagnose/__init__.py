"""What is inside a model, what goes on in it, and what it makes of data."""

from chainrule.diagnose.baseline import best_constant
from chainrule.diagnose.examples import worst
from chainrule.diagnose.importance import Importance, permutation_importance
from chainrule.diagnose.nonfinite import first_nonfinite
from chainrule.diagnose.per_sample import per_sample_gradients
from chainrule.diagnose.summary import Summary, summary

__all__ = [
    "Importance",
    "Summary",
    "best_constant",
    "first_nonfinite",
    "per_sample_gradients",
    "permutation_importance",
    "summary",
    "worst",
]
