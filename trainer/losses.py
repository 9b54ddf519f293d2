"""Losses as pure functions: one number per image, in float32."""

from __future__ import annotations

import tensorflow as tf

from sg3tf import Discriminator, Generator


def blur(images: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Gaussian blur with zero padding: taps 2^-((i / sigma)^2) for |i| <= floor(3 sigma), normalised.

    Written as two products with a banded matrix, so that sigma may be a tensor that fades during training.

    Args:
        images: float [N, R, R, C].
        sigma: pixels; below 1/3 the images pass unchanged.

    Gradient with respect to images: of any order.
    """
    sigma = tf.convert_to_tensor(sigma, tf.float32)
    reach = tf.floor(3 * sigma)
    offset = tf.range(-images.shape[1] + 1, images.shape[1], dtype=tf.float32)
    safe = tf.maximum(sigma, 1e-6)
    unlimited = tf.range(-tf.maximum(reach, 0), tf.maximum(reach, 0) + 1)
    total = tf.reduce_sum(tf.pow(2.0, -tf.square(unlimited / safe)))
    taps = tf.where(tf.abs(offset) <= reach, tf.pow(2.0, -tf.square(offset / safe)), 0.0) / total
    position = tf.range(images.shape[1])
    matrix = tf.gather(taps, position[:, None] - position[None, :] + images.shape[1] - 1)
    return tf.einsum("ih,nhwc,jw->nijc", matrix, images, matrix)


def judge(D: Discriminator, images: tf.Tensor, label: tf.Tensor | None, blur_sigma: tf.Tensor | None) -> tf.Tensor:
    """Logits [N, 1] of images as the discriminator sees them in training."""
    if blur_sigma is not None:
        images = blur(images, blur_sigma)
    return D(images, label=label)


def generator_loss(
    G: Generator, D: Discriminator, z: tf.Tensor, label: tf.Tensor | None, blur_sigma: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Non-saturating logistic loss softplus(-D(G(z))) [N], and the logits [N]."""
    images = G.synthesis(G.mapping(z, label))
    logits = judge(D, images, label, blur_sigma)[:, 0]
    return tf.nn.softplus(-logits), logits


def fake_loss(
    G: Generator, D: Discriminator, z: tf.Tensor, label: tf.Tensor | None, blur_sigma: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The discriminator's softplus(D(G(z))) [N] and logits [N]; moves the running statistics of G."""
    images = G.synthesis(G.mapping(z, label, update_emas=True), update_emas=True)
    logits = judge(D, tf.stop_gradient(images), label, blur_sigma)[:, 0]
    return tf.nn.softplus(logits), logits


def real_loss(
    D: Discriminator, images: tf.Tensor, label: tf.Tensor | None, blur_sigma: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The discriminator's softplus(-D(x)) [N] and logits [N]."""
    logits = judge(D, images, label, blur_sigma)[:, 0]
    return tf.nn.softplus(-logits), logits


def r1_penalty(
    D: Discriminator, images: tf.Tensor, label: tf.Tensor | None, blur_sigma: tf.Tensor | None = None
) -> tf.Tensor:
    """|grad_x D(x)|^2 [N] (arXiv 1801.04406, equation 9), without gamma / 2."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(judge(D, images, label, blur_sigma))
    return tf.reduce_sum(tf.square(tape.gradient(score, images)), axis=[1, 2, 3])
