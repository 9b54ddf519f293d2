"""Metrics for generators: FID, KID, precision and recall, path length, equivariance and others.

Names are imported on first use, so that a command can set TensorFlow's log level before importing TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg3tf.metrics.evaluate import Evaluation, MetricResult, check, compute
    from sg3tf.metrics.names import METRIC_NAMES
    from sg3tf.metrics.registry import METRICS, Metric
    from sg3tf.metrics.samples import ArrayImages, Labels

__all__ = [
    "METRICS",
    "METRIC_NAMES",
    "ArrayImages",
    "Evaluation",
    "Labels",
    "Metric",
    "MetricResult",
    "check",
    "compute",
]

_MODULES = {
    "METRICS": "registry",
    "METRIC_NAMES": "names",
    "ArrayImages": "samples",
    "Evaluation": "evaluate",
    "Labels": "samples",
    "Metric": "registry",
    "MetricResult": "evaluate",
    "check": "evaluate",
    "compute": "evaluate",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sg3tf.metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sg3tf.metrics.{_MODULES[name]}"), name)
