"""Losses as pure functions: one number per image, in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import tensorflow as tf

from sg3tf import Discriminator, Generator
from sg3tf.models.layers import normal_rows

PL_MEAN_STEP = 0.01

#: What `trainer.random_inputs.Draws.latents` draws.
Latents = Mapping[str, tf.Tensor]
#: Images to images, as likely to be seen by D.
Augmentation = Callable[[tf.Tensor], tf.Tensor]
#: Of the blur in front of D; None for none.
Sigma: TypeAlias = tf.Tensor | float | None


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


def generate(G: Generator, latents: Latents, update_emas: bool = False) -> tf.Tensor:
    """Images [N, R, R, C] of what `Draws.latents` drew."""
    ws = styles(G, latents, update_emas)
    return G.synthesis(ws, update_emas=update_emas, noise=latents.get("noise", "const"))


def styles(G: Generator, latents: Latents, update_emas: bool = False) -> tf.Tensor:
    """Style vectors [N, num_ws, w_dim]: those from mix_from on are of mix_z (arXiv 1812.04948, section 3.1)."""
    ws = G.mapping(latents["z"], latents["label"], update_emas=update_emas)
    if "mix_z" not in latents:
        return ws
    other = G.mapping(latents["mix_z"], latents["label"])
    return tf.where((tf.range(G.num_ws)[None, :] < latents["mix_from"][:, None])[:, :, None], ws, other)


def discriminator_logits(
    D: Discriminator,
    images: tf.Tensor,
    label: tf.Tensor | None,
    blur_sigma: tf.Tensor | None = None,
    augment: Augmentation | None = None,
) -> tf.Tensor:
    """Logits [N] of images as the discriminator sees them in training: blurred, then augmented."""
    if blur_sigma is not None:
        images = blur(images, blur_sigma)
    if augment is not None:
        images = augment(images)
    return D(images, label=label)[:, 0]


def generator_loss(
    G: Generator, D: Discriminator, latents: Latents, blur_sigma: Sigma = None, augment: Augmentation | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Non-saturating logistic loss softplus(-D(G(z))) [N], and the logits [N]."""
    logits = discriminator_logits(D, generate(G, latents), latents["label"], blur_sigma, augment)
    return tf.nn.softplus(-logits), logits


def fake_loss(
    G: Generator, D: Discriminator, latents: Latents, blur_sigma: Sigma = None, augment: Augmentation | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The discriminator's softplus(D(G(z))) [N] and logits [N]; moves the running statistics of G."""
    images = tf.stop_gradient(generate(G, latents, update_emas=True))
    logits = discriminator_logits(D, images, latents["label"], blur_sigma, augment)
    return tf.nn.softplus(logits), logits


def real_loss(
    D: Discriminator,
    images: tf.Tensor,
    label: tf.Tensor | None,
    blur_sigma: Sigma = None,
    augment: Augmentation | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The discriminator's softplus(-D(x)) [N] and logits [N]."""
    logits = discriminator_logits(D, images, label, blur_sigma, augment)
    return tf.nn.softplus(-logits), logits


def r1_penalty(
    D: Discriminator,
    images: tf.Tensor,
    label: tf.Tensor | None,
    blur_sigma: Sigma = None,
    augment: Augmentation | None = None,
) -> tf.Tensor:
    """|grad_x D(x)|^2 [N] (arXiv 1801.04406, equation 9), without gamma / 2; x is the image before augmentation."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(discriminator_logits(D, images, label, blur_sigma, augment))
    return tf.reduce_sum(tf.square(tape.gradient(score, images)), axis=[1, 2, 3])


def path_length_penalty(
    G: Generator, latents: Latents, direction_seeds: tf.Tensor, mean: tf.Variable
) -> tuple[tf.Tensor, tf.Tensor]:
    """(|J_w^T y| - a)^2 [N] and the lengths |J_w^T y| [N] (arXiv 1912.04958, equation 4).

    y is a random image of unit variance per sqrt(H W); the length averages over style vectors.

    Args:
        direction_seeds: int32 [N, 2], what y is drawn from.
        mean: float32 scalar a, the moving average of lengths; takes in those of this batch.
    """
    ws = styles(G, latents)
    with tf.GradientTape() as tape:
        tape.watch(ws)
        images = G.synthesis(ws, noise=latents.get("noise", "const"))
        height, width = images.shape[1:3]
        y = tf.reshape(normal_rows(direction_seeds, height * width * images.shape[3]), tf.shape(images))
        y /= (height * width) ** 0.5
        projection = tf.reduce_sum(images * y)
    jacobian = tape.gradient(projection, ws)
    lengths = tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(jacobian), axis=2), axis=1))
    moved = mean + PL_MEAN_STEP * (tf.reduce_mean(lengths) - mean)
    mean.assign(tf.stop_gradient(moved))
    return tf.square(lengths - moved), lengths
