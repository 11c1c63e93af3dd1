"""Metrics: how good predictions are, as functions of whole arrays and as streams of batches.

The functions carry scikit-learn's names, arguments and values. The streaming objects give the same
values batch by batch, and :func:`get` finds a metric by name for training.

>>> from chainrule import metrics
>>> metrics.f1_score([0, 1, 1, 0], [0, 1, 0, 0])
0.6666666666666666
"""

from __future__ import annotations

from chainrule.metrics._input import UndefinedMetricWarning
from chainrule.metrics.calibration import (
    brier_score_loss,
    calibration_curve,
    expected_calibration_error,
)
from chainrule.metrics.classification import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from chainrule.metrics.intervals import bootstrap_interval, proportion_interval
from chainrule.metrics.probability import log_loss
from chainrule.metrics.ranking import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from chainrule.metrics.registry import get
from chainrule.metrics.regression import (
    R2,
    MeanAbsoluteError,
    MeanSquaredError,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from chainrule.metrics.streaming import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Mean,
    Precision,
    Recall,
)

__all__ = [
    "F1",
    "R2",
    "Accuracy",
    "ConfusionMatrix",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Precision",
    "Recall",
    "UndefinedMetricWarning",
    "accuracy_score",
    "average_precision_score",
    "balanced_accuracy_score",
    "bootstrap_interval",
    "brier_score_loss",
    "calibration_curve",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_score",
    "get",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "multilabel_confusion_matrix",
    "precision_recall_curve",
    "precision_recall_fscore_support",
    "precision_score",
    "proportion_interval",
    "r2_score",
    "recall_score",
    "roc_auc_score",
    "roc_curve",
]
