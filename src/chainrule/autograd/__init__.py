"""Floor 3: the tape and the transformations built on it."""

from chainrule.autograd.transforms import gradients as grad

__all__ = ["grad"]
