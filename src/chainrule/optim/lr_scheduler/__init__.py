"""Learning-rate schedules, with PyTorch's names, arguments and sequences.

A schedule changes ``lr`` in the optimizer's groups. ``scheduler.step()`` is called after the
optimizer's step: once per epoch, or per batch where ``scheduler.interval`` is ``"step"``.
Schedules multiply the present rate where PyTorch's do, so that several of them, and changes by
hand, compose.

>>> import chainrule as cr
>>> optimizer = cr.optim.SGD([cr.nn.Parameter([0.0])], lr=1.0)
>>> scheduler = cr.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> rates = []
>>> for epoch in range(5):
...     rates += scheduler.get_last_lr()
...     scheduler.step()
>>> rates
[1.0, 1.0, 0.5, 0.5, 0.25]
"""

from chainrule.optim.lr_scheduler.base import LRScheduler
from chainrule.optim.lr_scheduler.compose import ChainedScheduler, SequentialLR
from chainrule.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from chainrule.optim.lr_scheduler.cycle import CyclicLR, OneCycleLR
from chainrule.optim.lr_scheduler.factor import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from chainrule.optim.lr_scheduler.plateau import ReduceLROnPlateau
from chainrule.optim.lr_scheduler.registry import check, get
from chainrule.optim.lr_scheduler.warmup import WarmupLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
    "check",
    "get",
]
