"""Tables prepared for a network: columns recognised, scaled and encoded; targets and classes."""

from chainrule.data.preprocess.frames import to_frame
from chainrule.data.preprocess.kinds import Column
from chainrule.data.preprocess.table import TablePreprocessor, describe_columns
from chainrule.data.preprocess.target import Target

__all__ = ["Column", "TablePreprocessor", "Target", "describe_columns", "to_frame"]
