"""Metrics: how good predictions are, as functions of whole arrays and as streams of batches.

The functions carry scikit-learn's names, arguments and values. The streaming objects give the same
values batch by batch, and :func:`get` finds a metric by name for training.

>>> from chainrule import metrics
>>> metrics.f1_score([0, 1, 1, 0], [0, 1, 0, 0])
0.6666666666666666
"""

from __future__ import annotations

from chainrule.metrics._input import UndefinedMetricWarning
from chainrule.metrics.agreement import (
    balanced_accuracy_score,
    class_likelihood_ratios,
    cohen_kappa_score,
    hamming_loss,
    matthews_corrcoef,
    zero_one_loss,
)
from chainrule.metrics.calibration import (
    brier_score_loss,
    calibration_curve,
    d2_brier_score,
    expected_calibration_error,
)
from chainrule.metrics.classification import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from chainrule.metrics.curves import (
    auc,
    confusion_matrix_at_thresholds,
    det_curve,
    metric_at_thresholds,
    precision_recall_curve,
    roc_curve,
)
from chainrule.metrics.explained import (
    d2_absolute_error_score,
    d2_pinball_score,
    d2_tweedie_score,
    explained_variance_score,
    mean_gamma_deviance,
    mean_poisson_deviance,
    mean_tweedie_deviance,
)
from chainrule.metrics.intervals import bootstrap_interval, proportion_interval
from chainrule.metrics.probability import d2_log_loss_score, hinge_loss, log_loss
from chainrule.metrics.ranking import (
    average_precision_score,
    roc_auc_score,
)
from chainrule.metrics.ratios import (
    false_negative_rate,
    false_positive_rate,
    fbeta_score,
    jaccard_score,
    negative_predictive_value,
    specificity_score,
)
from chainrule.metrics.registry import get
from chainrule.metrics.regression import (
    max_error,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    mean_squared_error,
    mean_squared_log_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
    root_mean_squared_log_error,
)
from chainrule.metrics.report import classification_report
from chainrule.metrics.retrieval import (
    coverage_error,
    dcg_score,
    label_ranking_average_precision_score,
    label_ranking_loss,
    ndcg_score,
    top_k_accuracy_score,
)
from chainrule.metrics.streaming import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Mean,
    Precision,
    Recall,
)
from chainrule.metrics.streaming_counts import (
    BalancedAccuracy,
    CohenKappa,
    FalseNegativeRate,
    FalsePositiveRate,
    FBeta,
    Jaccard,
    MatthewsCorrelation,
    NegativePredictiveValue,
    Specificity,
)
from chainrule.metrics.streaming_probability import (
    ROCAUC,
    AveragePrecision,
    BrierScore,
    CalibrationError,
    LogLoss,
    TopKAccuracy,
)
from chainrule.metrics.streaming_regression import (
    R2,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanPinballLoss,
    MeanSquaredError,
    RootMeanSquaredError,
)

__all__ = [
    "F1",
    "R2",
    "ROCAUC",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "BrierScore",
    "CalibrationError",
    "CohenKappa",
    "ConfusionMatrix",
    "FBeta",
    "FalseNegativeRate",
    "FalsePositiveRate",
    "Jaccard",
    "LogLoss",
    "MatthewsCorrelation",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanPinballLoss",
    "MeanSquaredError",
    "NegativePredictiveValue",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "Specificity",
    "TopKAccuracy",
    "UndefinedMetricWarning",
    "accuracy_score",
    "auc",
    "average_precision_score",
    "balanced_accuracy_score",
    "bootstrap_interval",
    "brier_score_loss",
    "calibration_curve",
    "class_likelihood_ratios",
    "classification_report",
    "cohen_kappa_score",
    "confusion_matrix",
    "confusion_matrix_at_thresholds",
    "coverage_error",
    "d2_absolute_error_score",
    "d2_brier_score",
    "d2_log_loss_score",
    "d2_pinball_score",
    "d2_tweedie_score",
    "dcg_score",
    "det_curve",
    "expected_calibration_error",
    "explained_variance_score",
    "f1_score",
    "false_negative_rate",
    "false_positive_rate",
    "fbeta_score",
    "get",
    "hamming_loss",
    "hinge_loss",
    "jaccard_score",
    "label_ranking_average_precision_score",
    "label_ranking_loss",
    "log_loss",
    "matthews_corrcoef",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_gamma_deviance",
    "mean_pinball_loss",
    "mean_poisson_deviance",
    "mean_squared_error",
    "mean_squared_log_error",
    "mean_tweedie_deviance",
    "median_absolute_error",
    "metric_at_thresholds",
    "multilabel_confusion_matrix",
    "ndcg_score",
    "negative_predictive_value",
    "precision_recall_curve",
    "precision_recall_fscore_support",
    "precision_score",
    "proportion_interval",
    "r2_score",
    "recall_score",
    "roc_auc_score",
    "roc_curve",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
    "specificity_score",
    "top_k_accuracy_score",
    "zero_one_loss",
]
