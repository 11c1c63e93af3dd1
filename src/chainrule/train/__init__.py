"""Floor 7: the training loop, callbacks, checkpoints."""

from chainrule.train.history import History
from chainrule.train.pairing import PairingWarning
from chainrule.train.trainer import Trainer

__all__ = ["History", "PairingWarning", "Trainer"]
