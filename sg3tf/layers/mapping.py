"""The mapping networks: z and labels to the intermediate latent space."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sg3tf.layers.dense import Dense

LR_MULTIPLIER = 0.01
W_AVG_DECAY = 0.998


def normalize_second_moment(x: tf.Tensor) -> tf.Tensor:
    """Scales every row of x [N, D] to unit mean square."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)


@keras.saving.register_keras_serializable("sg3tf")
class Mapping(keras.layers.Layer):
    """z and, where there are labels, a label to w: dense layers on their normalised concatenation.

    With z_dim 0 it maps labels alone, as the discriminator's conditioning needs.

    Args:
        z_dim, label_dim: sizes of the inputs; not both 0.
        w_dim: size of the output.
        num_layers: dense layers with leaky ReLU after the label embedding.
        track_average: keep the running mean of w that truncation pulls towards.
    """

    def __init__(
        self, z_dim: int, label_dim: int, w_dim: int, num_layers: int, track_average: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.z_dim = z_dim
        self.label_dim = label_dim
        self.w_dim = w_dim
        self.num_layers = num_layers
        self.track_average = track_average
        self.embed = Dense(w_dim, name="embed", dtype="float32") if label_dim else None
        self.dense = [
            Dense(w_dim, "lrelu", lr_multiplier=LR_MULTIPLIER, name=f"fc{index}", dtype="float32")
            for index in range(num_layers)
        ]

    def build(self, input_shape: Any = None) -> None:
        features = self.z_dim
        if self.embed is not None:
            self.embed.build((None, self.label_dim))
            features += self.w_dim
        for layer in self.dense:
            layer.build((None, features))
            features = self.w_dim
        self.w_avg = None
        if self.track_average:
            self.w_avg = self.add_weight(
                shape=(self.w_dim,),
                initializer="zeros",
                trainable=False,
                dtype="float32",
                aggregation="mean",
                autocast=False,
                name="w_avg",
            )
        self.built = True

    def call(
        self, z: tf.Tensor | None = None, label: tf.Tensor | None = None, update_average: bool = False
    ) -> tf.Tensor:
        """z float [N, z_dim] and label float [N, label_dim] (where they exist) to w float32 [N, w_dim]."""
        parts = []
        if self.z_dim:
            parts.append(normalize_second_moment(_checked("z", z, self.z_dim)))
        if self.embed is not None:
            parts.append(normalize_second_moment(self.embed(_checked("label", label, self.label_dim))))
        w = tf.concat(parts, axis=1)
        for layer in self.dense:
            w = layer(w)
        if update_average and self.w_avg is not None:
            mean = tf.reduce_mean(tf.stop_gradient(w), axis=0)
            self.w_avg.assign(mean + W_AVG_DECAY * (self.w_avg - mean))
        return w

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "z_dim": self.z_dim,
            "label_dim": self.label_dim,
            "w_dim": self.w_dim,
            "num_layers": self.num_layers,
            "track_average": self.track_average,
        }


def _checked(name: str, value: tf.Tensor | None, size: int) -> tf.Tensor:
    if value is None:
        raise ValueError(f"{name} is missing: this model needs {name} [N, {size}]")
    value = tf.cast(tf.convert_to_tensor(value), tf.float32)
    if value.shape.rank != 2 or value.shape[1] not in (None, size):
        raise ValueError(f"{name} of shape {value.shape}: give [N, {size}]")
    return value
