"""Numbers that say how good a generator is.

Names are loaded when they are first used: the command line quiets TensorFlow before anything imports it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg3tf.metrics.evaluate import Measurement, check, compute
    from sg3tf.metrics.registry import METRICS, Metric

__all__ = ["METRICS", "Measurement", "Metric", "check", "compute"]

_HOMES = {
    "METRICS": "registry",
    "Measurement": "evaluate",
    "Metric": "registry",
    "check": "evaluate",
    "compute": "evaluate",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sg3tf.metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sg3tf.metrics.{_HOMES[name]}"), name)
