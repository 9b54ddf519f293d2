"""The generator's input: Fourier features under a learned rigid motion (arXiv 2106.12423, section 3.1, appendix F)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sg3tf.layers.dense import Dense

NARROWEST_TRANSITION = 1e-3  # relative to the bandwidth


@keras.saving.register_keras_serializable("sg3tf")
class FourierInput(keras.layers.Layer):
    """Sine waves on a canvas that the user, and w if `transformed`, can translate and rotate.

    Args:
        channels: waves.
        size: side of the canvas in samples.
        sampling_rate: samples per image width; the canvas is size / sampling_rate image widths wide.
        bandwidth: highest frequency drawn, in cycles per image width.
        transformed: move the waves by w, of which else nothing but the number of images is used.

    Weights that never train: `freqs` [channels, 2] in (x, y) cycles per image width, `phases` [channels] in turns.
    Always computes in float32: frequencies times positions leave no bits for less.
    """

    def __init__(
        self, channels: int, size: int, sampling_rate: int, bandwidth: float, transformed: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.channels = channels
        self.size = size
        self.sampling_rate = sampling_rate
        self.bandwidth = bandwidth
        self.transformed = transformed
        if transformed:
            self.affine = Dense(4, kernel_scale=0.0, bias_init=(1.0, 0.0, 0.0, 0.0), name="affine", dtype="float32")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """input_shape: (batch, w_dim)."""
        if self.transformed:
            self.affine.build(tuple(input_shape))
        self.kernel = self.add_weight(
            shape=(self.channels, self.channels), initializer=keras.initializers.RandomNormal(0, 1), name="kernel"
        )
        self.freqs = self.add_weight(
            shape=(self.channels, 2), initializer=self._draw_frequencies, trainable=False, name="freqs"
        )
        self.phases = self.add_weight(
            shape=(self.channels,),
            initializer=keras.initializers.RandomUniform(-0.5, 0.5),
            trainable=False,
            name="phases",
        )
        self.transform = self.add_weight(
            shape=(3, 3), initializer=keras.initializers.Identity(), trainable=False, name="transform"
        )
        self.built = True

    def _draw_frequencies(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        """Spread roughly evenly over the disc: normal directions with their long tail pulled in."""
        freqs = keras.random.normal(shape, dtype="float32")
        radius = tf.norm(freqs, axis=1, keepdims=True)
        return tf.cast(freqs / (radius * tf.exp(tf.square(radius)) ** 0.25) * self.bandwidth, dtype or "float32")

    def call(self, w: tf.Tensor, transform: tf.Tensor | None = None) -> tf.Tensor:
        """Draws the waves.

        Args:
            w: float32 [N, w_dim].
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width; applied
                in front of the learned one. Default: the layer's own `transform` weight.

        Returns:
            float32 [N, size, size, channels].
        """
        freqs, phases = self._moved_waves(w, self._matrices(transform))
        # Where waves reach up to half of the sampling rate, this much room is left for the rounding of a rotation.
        transition = max(self.sampling_rate / 2 - self.bandwidth, NARROWEST_TRANSITION * self.bandwidth)
        amplitude = (tf.norm(freqs, axis=2) - self.bandwidth) / transition
        amplitude = tf.clip_by_value(1 - amplitude, 0.0, 1.0)

        # sin(2 pi (x fx + y fy + phase)) split by the addition theorem would lose digits: evaluate it as it is.
        centres = (np.arange(self.size) + 0.5 - self.size / 2) / self.sampling_rate
        position = tf.constant(centres, tf.float32)
        along_x = position[None, None, :, None] * freqs[:, None, None, :, 0]
        along_y = position[None, :, None, None] * freqs[:, None, None, :, 1]
        angle = along_x + along_y + phases[:, None, None, :]
        waves = tf.sin(2 * np.pi * angle) * amplitude[:, None, None, :]
        return tf.tensordot(waves, self.kernel / self.channels**0.5, axes=1)

    def _matrices(self, transform: tf.Tensor | None) -> tf.Tensor:
        """The user's transform as [1 or N, 3, 3]."""
        matrix = tf.cast(tf.convert_to_tensor(self.transform if transform is None else transform), tf.float32)
        if matrix.shape.rank not in (2, 3) or matrix.shape[-2:] != (3, 3):
            raise ValueError(f"transform of shape {matrix.shape}: give [3, 3] or [N, 3, 3]")
        return matrix[None] if matrix.shape.rank == 2 else matrix

    def _moved_waves(self, w: tf.Tensor, user: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Frequencies [N, channels, 2] and phases [N, channels] after Rotation @ Translation @ user transform."""
        if self.transformed:
            motion = _learned_motion(self.affine(w)) @ user
        else:
            motion = tf.broadcast_to(user, [tf.shape(w)[0], 3, 3])
        phases = self.phases + tf.einsum("cj,nj->nc", self.freqs, motion[:, :2, 2])
        freqs = tf.einsum("cj,njk->nck", self.freqs, motion[:, :2, :2])
        return freqs, phases

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.size, self.size, self.channels

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "size": self.size,
            "sampling_rate": self.sampling_rate,
            "bandwidth": self.bandwidth,
            "transformed": self.transformed,
        }


def _learned_motion(t: tf.Tensor) -> tf.Tensor:
    """Rotation @ Translation [N, 3, 3] of (cos, sin, tx, ty) [N, 4], all divided by the length of the first two."""
    t = t / tf.norm(t[:, :2], axis=1, keepdims=True)
    cos, sin, tx, ty = tf.unstack(t, axis=1)
    one, zero = tf.ones_like(cos), tf.zeros_like(cos)
    rotation = _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
    translation = _matrix([[one, zero, -tx], [zero, one, -ty], [zero, zero, one]])
    return rotation @ translation


def _matrix(rows: list[list[tf.Tensor]]) -> tf.Tensor:
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
