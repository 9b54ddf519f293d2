"""Image data sets: reading, sampling, building, verifying.

Names are imported on first use, so that the sampler works without protocol buffers, which only records need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg3tf.data.dataset import Dataset, open_dataset
    from sg3tf.data.errors import DataError
    from sg3tf.data.sampler import batches

__all__ = ["DataError", "Dataset", "batches", "open_dataset"]

_MODULES = {"DataError": "errors", "Dataset": "dataset", "batches": "sampler", "open_dataset": "dataset"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sg3tf.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sg3tf.data.{_MODULES[name]}"), name)
