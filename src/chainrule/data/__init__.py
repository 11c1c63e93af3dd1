"""Floor 6: data. Batches of arrays, memory maps, tables and streams; checks; splits; digits.

>>> from chainrule.data import Batches, load_digits, split
>>> x, y = load_digits()
>>> train, test = split(y, (0.8, 0.2), seed=0)
>>> batches = Batches((x[train], y[train]), batch_size=64, shuffle=True)
>>> len(batches), batches.n_samples
(23, 1438)
"""

from chainrule.data.batches import Batch, Batches
from chainrule.data.digits import load_digits
from chainrule.data.preprocess import TablePreprocessor, Target, describe_columns
from chainrule.data.reading import read_table, scan_table, stray_values
from chainrule.data.sources import as_array
from chainrule.data.splitting import folds, split
from chainrule.data.table_files import table_files
from chainrule.data.validate import (
    check_labels,
    check_lengths,
    check_probabilities,
    check_sample_weight,
    check_targets,
    check_x,
    class_weights,
)

__all__ = [
    "Batch",
    "Batches",
    "TablePreprocessor",
    "Target",
    "as_array",
    "check_labels",
    "check_lengths",
    "check_probabilities",
    "check_sample_weight",
    "check_targets",
    "check_x",
    "class_weights",
    "describe_columns",
    "folds",
    "load_digits",
    "read_table",
    "scan_table",
    "split",
    "stray_values",
    "table_files",
]
