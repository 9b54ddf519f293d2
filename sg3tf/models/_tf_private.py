"""Private names of TensorFlow that the models use; tests/sg3tf/models/test_tf_private.py tests them."""

from __future__ import annotations

import keras


def track_layers_in_lists(owner: keras.layers.Layer) -> None:
    """Let tf.train.Checkpoint find the layers in an owner's lists, which Keras does not report to TensorFlow."""
    for name, value in [*vars(owner).items()]:  # tracking adds attributes
        if name.startswith("_") or not isinstance(value, list):
            continue
        for i, layer in enumerate(value):
            if isinstance(layer, keras.layers.Layer):
                owner._track_trackable(layer, name=f"{name}_{i}", overwrite=True)
