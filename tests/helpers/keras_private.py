"""Private names of Keras in tests, see tests/sg3tf/ops/test_tf_private.py; for others trainer/_keras_private.py."""

from __future__ import annotations

import keras


def flatten_layers(model: keras.Layer) -> list[keras.Layer]:
    """Return the model and all layers in it, at any depth."""
    return list(model._flatten_layers())
