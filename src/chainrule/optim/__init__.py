"""Optimizers, learning-rate schedules and gradient clipping, with PyTorch's meanings.

An optimizer is an update equation per entry (a text in `xp`); everything around it, groups, weight
decay, gathering into one vector, state, is the same for all. `LBFGS` alone looks at all entries
together, and evaluates the loss itself. Schedules are in `chainrule.optim.lr_scheduler`.

>>> import chainrule as cr
>>> w = cr.nn.Parameter([2.0])
>>> optimizer = cr.optim.SGD([w], lr=0.25)
>>> for _ in range(2):
...     optimizer.zero_grad()
...     loss = (w * w).sum()
...     loss.backward()
...     optimizer.step()
>>> w
parameter([0.5])
"""

from chainrule.optim import lr_scheduler
from chainrule.optim.adadelta import Adadelta
from chainrule.optim.adagrad import Adagrad
from chainrule.optim.adam import Adam, AdamW
from chainrule.optim.adamax import Adamax
from chainrule.optim.asgd import ASGD
from chainrule.optim.averaging import ExponentialMovingAverage, StochasticWeightAveraging
from chainrule.optim.clip import clip_grad_norm, clip_grad_value
from chainrule.optim.lbfgs import LBFGS
from chainrule.optim.momentum import Momentum
from chainrule.optim.nadam import NAdam
from chainrule.optim.optimizer import Optimizer, Rule
from chainrule.optim.radam import RAdam
from chainrule.optim.registry import get
from chainrule.optim.rmsprop import RMSprop
from chainrule.optim.rprop import Rprop
from chainrule.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ExponentialMovingAverage",
    "Momentum",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Rule",
    "StochasticWeightAveraging",
    "clip_grad_norm",
    "clip_grad_value",
    "get",
    "lr_scheduler",
]
