"""Losses of the phases of a training step.

A phase is a function of (state, inputs) that returns the loss of each image, float32 [N], and the values of metrics,
{name: [N]}. It changes only running statistics: those of G in the discriminator's phase, and the mean path length.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from sg3tf.models.base import BaseGenerator
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.latent_ops import mix
from sg3tf.models.seeded_normal import standard_normal
from trainer.inputs import DiscriminatorInputs, FakeInputs, Latents, PathLengthInputs, RealInputs, View
from trainer.step_order import BLUR_SIGMA_PIXELS, PL_INTERVAL, R1_INTERVAL

PL_MEAN_STEP = 0.01
LECAM_MEAN_STEP = 0.01

Metrics = dict[str, tf.Tensor]
#: (state, inputs) -> (loss of each image, {name of a metric: its values})
LossFunction = Callable[[Any, Any], tuple[tf.Tensor, Metrics]]


@dataclasses.dataclass(frozen=True)
class Regularization:
    """Lazy regularization (arXiv 1912.04958, section 3.1): every `interval` steps, with `interval` times the gradient.

    Attributes:
        gamma: weight of the R1 penalty; 0 for none.
        r1_interval: steps between R1 phases.
        pl_weight: weight of path length regularization; 0 for none.
        pl_interval: steps between path length phases.
        lecam: weight of the LeCam penalty, which is part of every discriminator phase; 0 for none.
        num_parts: parts of a batch whose gradients accumulate; each of them updates the means of LeCam.

    Examples:
        >>> regularization = Regularization(gamma=8.2)
        >>> regularization.r1_interval, regularization.pl_weight
        (16, 0.0)
    """

    gamma: float
    r1_interval: int = R1_INTERVAL
    pl_weight: float = 0.0
    pl_interval: int = PL_INTERVAL
    lecam: float = 0.0
    num_parts: int = 1


class State(Protocol):
    """The part of a training state that losses read.

    Attributes:
        G, D: the networks in training.
        augment: transforms (images, parameters, probability) to images of the same shape; None without augmentation.
        regularization: weights of the penalties.
        pl_mean: float32 scalar, moving average of path lengths.
        lecam_means: float32 [2], moving averages of the logits of real and of generated images; None without LeCam.
    """

    G: BaseGenerator
    D: Discriminator
    augment: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor] | None
    regularization: Regularization
    pl_mean: tf.Variable
    lecam_means: tf.Variable | None


# --- Logistic loss ----------------------------------------------------------------------------------------------------


def generator_phase(state: State, inputs: FakeInputs) -> tuple[tf.Tensor, Metrics]:
    """Non-saturating logistic loss softplus(-D(G(z))) (arXiv 1406.2661)."""
    images = generate(state.G, inputs.latents)
    logits = discriminator_logits(state, images, inputs.latents.label, inputs.view)
    loss = tf.nn.softplus(-logits)
    return loss, {"Loss/G/loss": loss, **scores("fake", logits)}


def discriminator_phase(state: State, inputs: DiscriminatorInputs) -> tuple[tf.Tensor, Metrics]:
    """Logistic loss softplus(D(G(z))) + softplus(-D(x)); updates the running statistics of G."""
    fake_images = tf.stop_gradient(generate(state.G, inputs.fake.latents, update_emas=True))
    fake_logits, real_logits = _both_logits(state, fake_images, inputs)
    loss = tf.nn.softplus(fake_logits) + tf.nn.softplus(-real_logits)
    metrics = {"Loss/D/loss": loss, **scores("fake", fake_logits), **scores("real", real_logits)}
    if state.lecam_means is None:
        return loss, metrics
    penalty = lecam_penalty(fake_logits, real_logits, state.lecam_means, state.regularization.num_parts)
    return loss + penalty * state.regularization.lecam, metrics | {"Loss/lecam_penalty": penalty}


def r1_phase(state: State, inputs: RealInputs) -> tuple[tf.Tensor, Metrics]:
    """R1 regularization gamma / 2 |grad_x D(x)|^2 (arXiv 1801.04406, equation 9)."""
    penalty, logits = r1_penalty(state, *real_images(state, inputs), inputs.view)
    loss = penalty * (state.regularization.gamma / 2)
    metrics = {"Loss/r1_penalty": penalty, "Loss/D/reg": loss, **scores("real", logits)}
    return loss * state.regularization.r1_interval, metrics


# --- Paired relativistic loss -----------------------------------------------------------------------------------------

# arXiv 2501.05441: each generated image is compared with a real one, and R2 is R1 of generated images. Signs are those
# of D(x) - D(G(z)), because single logits have no fixed zero.


def relativistic_generator_phase(state: State, inputs: DiscriminatorInputs) -> tuple[tf.Tensor, Metrics]:
    """Relativistic loss softplus(D(x) - D(G(z))) of the generator (arXiv 2501.05441, section 2)."""
    images = generate(state.G, inputs.fake.latents)
    fake_logits, real_logits = _both_logits(state, images, inputs)
    loss = tf.nn.softplus(real_logits - fake_logits)
    return loss, {"Loss/G/loss": loss, **_paired_scores(fake_logits, real_logits)}


def relativistic_discriminator_phase(state: State, inputs: DiscriminatorInputs) -> tuple[tf.Tensor, Metrics]:
    """Relativistic loss softplus(D(G(z)) - D(x)) of the discriminator; updates the running statistics of G."""
    images = tf.stop_gradient(generate(state.G, inputs.fake.latents, update_emas=True))
    fake_logits, real_logits = _both_logits(state, images, inputs)
    loss = tf.nn.softplus(fake_logits - real_logits)
    return loss, {"Loss/D/loss": loss, **_paired_scores(fake_logits, real_logits)}


def r1_r2_phase(state: State, inputs: DiscriminatorInputs) -> tuple[tf.Tensor, Metrics]:
    """R1 and R2 regularization gamma / 2 (|grad_x D(x)|^2 + |grad_x D(G(z))|^2) (arXiv 2501.05441, section 2)."""
    fake, real = inputs.fake, inputs.real
    images = tf.stop_gradient(generate(state.G, fake.latents))
    r1, real_logits = r1_penalty(state, *real_images(state, real), real.view)
    r2, fake_logits = r1_penalty(state, images, fake.latents.label, fake.view)
    loss = (r1 + r2) * (state.regularization.gamma / 2)
    metrics = {"Loss/r1_penalty": r1, "Loss/r2_penalty": r2, "Loss/D/reg": loss}
    return loss * state.regularization.r1_interval, {**metrics, **_paired_scores(fake_logits, real_logits)}


def _paired_scores(fake_logits: tf.Tensor, real_logits: tf.Tensor) -> Metrics:
    sign = tf.sign(real_logits - fake_logits)
    signs = {"Loss/signs/real": sign, "Loss/signs/fake": -sign}
    return {**scores("fake", fake_logits), **scores("real", real_logits), **signs}


# --- Both losses ------------------------------------------------------------------------------------------------------


def path_length_phase(state: State, inputs: PathLengthInputs) -> tuple[tf.Tensor, Metrics]:
    """Path length regularization (|J_w^T y| - a)^2 of StyleGAN2 (arXiv 1912.04958, equation 4)."""
    penalty, _ = path_length_penalty(state.G, inputs.latents, inputs.directions, state.pl_mean)
    loss = penalty * state.regularization.pl_weight
    return loss * state.regularization.pl_interval, {"Loss/pl_penalty": penalty, "Loss/G/reg": loss}


def _both_logits(state: State, images: tf.Tensor, inputs: DiscriminatorInputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits [N] of generated images, and those of the real ones."""
    fake, real = inputs.fake, inputs.real
    fake_logits = discriminator_logits(state, images, fake.latents.label, fake.view)
    return fake_logits, discriminator_logits(state, *real_images(state, real), real.view)


class Loss(NamedTuple):
    """The phases that a loss consists of.

    The log, `fit` and the adaptive augmentation read Loss/G/loss from the generator's phase, and Loss/D/loss,
    Loss/signs/real, Loss/scores/real and Loss/scores/fake from the discriminator's. Loss/r1_penalty is optional.

    Attributes:
        generator: phase of the generator.
        discriminator: phase of the discriminator.
        penalty: phase of the gradient penalty, in steps with R1.

    Examples:
        >>> LOSSES["logistic"].penalty.__name__
        'r1_phase'
    """

    generator: LossFunction
    discriminator: LossFunction
    penalty: LossFunction


LOSSES = {
    "logistic": Loss(generator_phase, discriminator_phase, r1_phase),
    "relativistic": Loss(relativistic_generator_phase, relativistic_discriminator_phase, r1_r2_phase),
}


def phases(loss: str) -> dict[str, tuple[LossFunction, str]]:
    """Phases of a step with a loss of LOSSES: {name: (function, "G" or "D": the network that it trains)}."""
    chosen = LOSSES[loss]
    return {
        "G": (chosen.generator, "G"),
        "PL": (path_length_phase, "G"),
        "D": (chosen.discriminator, "D"),
        "R1": (chosen.penalty, "D"),
    }


def held_out_scores(state: State, inputs: RealInputs) -> Metrics:
    """Metrics of real images that the discriminator does not learn from."""
    logits = discriminator_logits(state, to_float(inputs.images), inputs.label, inputs.view)
    return scores("validation", logits)


def scores(kind: str, logits: tf.Tensor) -> Metrics:
    """Metrics of logits [N] of `kind`: "real", "fake" or "validation"."""
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": tf.sign(logits)}


# --- Networks and penalties -------------------------------------------------------------------------------------------


def generate(G: BaseGenerator, latents: Latents, update_emas: bool = False) -> tf.Tensor:
    """Images [N, H, W, C] of a generator in training."""
    ws = styles(G, latents, update_emas)
    return G.synthesis(ws, update_emas=update_emas, noise=_noise(latents))


def styles(G: BaseGenerator, latents: Latents, update_emas: bool = False) -> tf.Tensor:
    """Style vectors [N, num_ws, w_dim]; from index mix_from on, those of mix_z (arXiv 1812.04948, section 3.1)."""
    ws = G.mapping(latents.z, latents.label, update_emas=update_emas)
    if latents.mix_z is None:
        return ws
    other = G.mapping(latents.mix_z, latents.label)
    return mix(ws, other, from_b=tf.range(G.num_ws)[None, :] >= latents.mix_from[:, None])


def real_images(state: State, inputs: RealInputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Images float32 [N, H, W, C] and labels that the discriminator gets as real; with APA, some are generated."""
    images = to_float(inputs.images)
    if inputs.pseudo is None:
        return images, inputs.label
    latents, replaced = inputs.pseudo.latents, inputs.pseudo.replaced
    generated = tf.cast(tf.stop_gradient(generate(state.G, latents)), images.dtype)
    label = tf.where(replaced[:, None], latents.label, inputs.label)
    return tf.where(replaced[:, None, None, None], generated, images), label


def _noise(latents: Latents) -> tf.Tensor | str:
    return "const" if latents.noise is None else latents.noise


def discriminator_logits(state: State, images: tf.Tensor, label: tf.Tensor | None, view: View) -> tf.Tensor:
    """Logits [N] of images as the discriminator sees them in training: blurred, then augmented.

    Args:
        state: training state with the discriminator and the augmentation.
        images: float [N, H, W, C] in [-1, 1].
        label: float32 [N, label_dim].
        view: parameters of blur and augmentation.
    """
    if view.blur_sigma is not None:
        images = blur(images, view.blur_sigma[0])
    if state.augment is not None and view.augment_params is not None:
        images = state.augment(images, view.augment_params, view.augment_p)
    return state.D(images, label=label)[:, 0]


def r1_penalty(state: State, images: tf.Tensor, label: tf.Tensor | None, view: View) -> tuple[tf.Tensor, tf.Tensor]:
    """|grad_x D(x)|^2 [N] and the logits D(x) [N]; x is the image before blur and augmentation.

    Arguments as in discriminator_logits.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator_logits(state, images, label, view)
        total = tf.reduce_sum(logits)
    return tf.reduce_sum(tf.square(tape.gradient(total, images)), axis=[1, 2, 3]), logits


def lecam_penalty(fake_logits: tf.Tensor, real_logits: tf.Tensor, means: tf.Variable, num_parts: int = 1) -> tf.Tensor:
    """(D(x) - a_F)^2 + (D(G(z)) - a_R)^2, [N], of LeCam regularization (arXiv 2104.03310, equation 5).

    Args:
        fake_logits, real_logits: [N].
        means: float32 [2], the moving averages a_R and a_F of logits, which are updated with those of this batch unless
            these are not finite.
        num_parts: number of parts of a batch; together they update the means as much as a whole batch does.
    """
    real_mean, fake_mean = tf.unstack(means.value())
    penalty = tf.square(real_logits - fake_mean) + tf.square(fake_logits - real_mean)
    batch_means = tf.stack([tf.reduce_mean(real_logits), tf.reduce_mean(fake_logits)])
    step = 1 - (1 - LECAM_MEAN_STEP) ** (1 / num_parts)
    means.assign(_finite_or(means, means + step * (tf.stop_gradient(batch_means) - means)))
    return penalty


def path_length_penalty(
    G: BaseGenerator, latents: Latents, direction_seeds: tf.Tensor, mean: tf.Variable
) -> tuple[tf.Tensor, tf.Tensor]:
    """(|J_w^T y| - a)^2 [N] and the lengths |J_w^T y| [N].

    y is Gaussian noise divided by sqrt(H W); the length averages over style vectors.

    Args:
        G: the generator.
        latents: inputs of the generator.
        direction_seeds: int32 [N, 2], seeds of y.
        mean: float32 scalar a, the moving average of lengths, which is updated with those of this batch unless these
            are not finite.
    """
    ws = styles(G, latents)
    with tf.GradientTape() as tape:
        tape.watch(ws)
        images = G.synthesis(ws, noise=_noise(latents))
        height, width = images.shape[1:3]
        y = tf.reshape(standard_normal(direction_seeds, height * width * images.shape[3]), tf.shape(images))
        y /= (height * width) ** 0.5
        projection = tf.reduce_sum(images * y)
    jacobian = tape.gradient(projection, ws)
    lengths = tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(jacobian), axis=2), axis=1))
    moved = mean + PL_MEAN_STEP * (tf.reduce_mean(lengths) - mean)
    mean.assign(_finite_or(mean, tf.stop_gradient(moved)))
    return tf.square(lengths - moved), lengths


def _finite_or(old: tf.Variable, new: tf.Tensor) -> tf.Tensor:
    """`new` where it is finite, and `old` elsewhere: an average would never recover from an overflowing image."""
    return tf.where(tf.math.is_finite(new), new, old)


# --- Images -----------------------------------------------------------------------------------------------------------


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Images in [-1, 1]: uint8 from 0 to 255 is scaled, float is returned unchanged."""
    return tf.cast(images, tf.float32) / 127.5 - 1 if images.dtype == tf.uint8 else images


def blur(images: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Gaussian blur with zero padding: taps 2^-((i / sigma)^2) for |i| <= floor(3 sigma), normalized.

    Computed as two products with banded matrices, so sigma may be a tensor that fades during training.

    Args:
        images: float [N, H, W, C].
        sigma: pixels, at most BLUR_SIGMA_PIXELS; below 1/3 the images pass unchanged.

    Gradient with respect to images: of any order.
    """
    sigma = tf.convert_to_tensor(sigma, tf.float32)
    # All taps, even those beyond the image, and equally many for every sigma: XLA needs static shapes.
    largest = math.floor(3 * BLUR_SIGMA_PIXELS)
    total = tf.reduce_sum(_taps(tf.range(-largest, largest + 1, dtype=tf.float32), sigma))

    def matrix(side: int) -> tf.Tensor:
        taps = _taps(tf.range(-side + 1, side, dtype=tf.float32), sigma) / total
        position = tf.range(side)
        return tf.gather(taps, position[:, None] - position[None, :] + side - 1)

    return tf.einsum("ih,nhwc,jw->nijc", matrix(images.shape[1]), images, matrix(images.shape[2]))


def _taps(offset: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Unnormalized taps of the blur at `offset` pixels."""
    taps = tf.pow(2.0, -tf.square(offset / tf.maximum(sigma, 1e-6)))
    return tf.where(tf.abs(offset) <= tf.floor(3 * sigma), taps, 0.0)
