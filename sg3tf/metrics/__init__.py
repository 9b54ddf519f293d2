"""Numbers that say how good a generator is.

Names are loaded when they are first used: the command line quiets TensorFlow before anything imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg3tf.metrics.registry import METRICS, Metric, check, compute

__all__ = ["METRICS", "Metric", "check", "compute"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sg3tf.metrics' has no attribute {name!r}")
    from sg3tf.metrics import registry

    return getattr(registry, name)
