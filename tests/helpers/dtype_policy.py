"""The global dtype policy of Keras, which a notebook may have set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def global_dtype_policy(name: str) -> Iterator[None]:
    """Set the policy within the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
