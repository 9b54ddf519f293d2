"""Equivariance to translation and rotation: EQ-T, EQ-T_frac and EQ-R (arXiv 2106.12423, appendix E)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from sg3tf.latents import transform_matrix
from sg3tf.metrics.cache import ProgressFile
from sg3tf.metrics.samples import Samples
from sg3tf.models.stylegan3 import Generator

# ---------------------------------------------------------------------------------------------------------------------
# Translating images, by whole pixels or between them (arXiv 2106.12423, appendix E.1 and E.2).
# ---------------------------------------------------------------------------------------------------------------------

Drawn = dict[str, Any]

LOBES = 3  # of the Lanczos filter, on either side
LONGEST = 1 / 8  # of a translation along either axis, in image widths


def sample_integer_translation(rng: np.random.Generator, resolution: int) -> Drawn:
    """A random translation by whole pixels; see `at`."""
    return translation_at(np.round(_uniform(rng) * resolution), resolution)


def sample_fractional_translation(rng: np.random.Generator, resolution: int) -> Drawn:
    """A random translation, interpolated by a Lanczos filter; see `at`."""
    return translation_at(_uniform(rng) * resolution, resolution, LOBES)


def _uniform(rng: np.random.Generator) -> Any:
    return rng.uniform(-LONGEST, LONGEST, size=2)


def translation_at(shift: Any, resolution: int, lobes: int = 0) -> Drawn:
    """The translation by `shift`.

    Args:
        shift: pixels to the right and down.
        resolution: side of the image.
        lobes: of the Lanczos filter on either side; 0 for none, where the shift must be whole.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "whole": int32 [2], shift rounded down.
        "weights": float32 [2, K], of the K samples that surround a position, along x and y.
    """
    shift = np.asarray(shift, np.float64)
    whole = np.floor(shift)
    distance = _steps(max(2 * lobes, 1)) - (shift - whole)[:, None]
    weights = np.sinc(distance) * (np.sinc(distance / lobes) if lobes else 1)
    weights /= weights.sum(axis=1, keepdims=True)
    return {
        "transform": transform_matrix(0.0, *(shift / resolution)),
        "whole": whole.astype(np.int32),
        "weights": weights.astype(np.float32),
    }


def translate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Translated images, and where they are right.

    Args:
        x: float32 [N, R, R, C].
        drawn: N translations as from `at`, stacked.

    Returns:
        float32 [N, R, R, C]; zero beyond the image.
        float32 [N, R, R, 1], 1 where no sample beyond the image was needed, else 0.
    """
    whole, weights = drawn["whole"], drawn["weights"]
    x, inside_x = _along(x, 2, whole[:, 0], weights[:, 0])
    x, inside_y = _along(x, 1, whole[:, 1], weights[:, 1])
    return x, (inside_y[:, :, None] * inside_x[:, None, :])[..., None]


def compare_translated(still: tf.Tensor, moved: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Generated translation minus translated image, [N, R, R, C], and a mask [N, R, R, 1] of where it counts."""
    expected, mask = translate(still, drawn)
    return moved - expected, mask


def _along(x: tf.Tensor, axis: int, whole: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Translates along one axis; whole [N], weights [N, K]. The mask is [N, R]."""
    size = x.shape[axis]
    result, mask = tf.zeros_like(x), tf.constant(1.0)
    for tap, step in enumerate(_steps(weights.shape[1])):
        source = tf.range(size)[None] - whole[:, None] - int(step)
        inside = tf.cast((source >= 0) & (source < size), tf.float32)
        weight = tf.expand_dims(weights[:, tap, None] * inside, -1)  # [N, R, 1]
        sample = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
        result += sample * tf.expand_dims(weight, 3 - axis)
        mask *= inside
    return result, mask


def _steps(taps: int) -> Any:
    """Where samples lie, counted towards the left from the one at a position rounded down, `taps` around it."""
    return np.arange(taps) - (taps - 1) // 2


# ---------------------------------------------------------------------------------------------------------------------
# Rotating images, and leaving of an image what a rotation leaves (arXiv 2106.12423, appendix E.3).
#
# A rotated pixel grid can carry the frequencies of a rotated square. What an image and its rotation can both carry is
# the intersection of two squares, an octagon; the rotation passes it through a filter windowed by two Lanczos windows,
# one along either grid's axes. Taps are sampled, cut and normalised such that the numbers compare with published ones.
# ---------------------------------------------------------------------------------------------------------------------

Array = NDArray[np.float64]

REACH = 2 * LOBES  # pixels where the filters are cut, on either side
UPSAMPLING = 4  # samples per pixel that are computed; between them, images are interpolated linearly


def sample_rotation(rng: np.random.Generator, resolution: int) -> Drawn:  # resolution: as for translations
    """A random rotation; see `at`."""
    return rotation_at(rng.uniform(-np.pi, np.pi))


def rotation_at(angle: float) -> Drawn:
    """The rotation by `angle` radians, clockwise on the screen.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "up_taps": float32 [47, 47], the filter of the rotation, along the axes of the image to be rotated.
        "taps": float32 [11, 11], the filter of the pseudo-rotation, along the axes of a rotated image.
    """
    return {
        "transform": transform_matrix(angle),
        "up_taps": _octagon_taps(angle).astype(np.float32),
        "taps": _square_taps(-angle).astype(np.float32),
    }


def rotate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotated images, and where they are right.

    Args:
        x: float32 [N, R, R, C].
        drawn: N rotations as from `at`, stacked.

    Returns:
        float32 [N, R, R, C]; only defined where the mask is 1.
        float32 [N, R, R, 1], 1 where no sample beyond the image was needed, else 0.
    """
    size = x.shape[1]
    zeros = UPSAMPLING - 1
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, zeros], [0, 0], [0, zeros], [0, 0]])
    x = _convolve(tf.reshape(x, [-1, size * UPSAMPLING, size * UPSAMPLING, x.shape[-1]]), drawn["up_taps"])

    # In float64, as a position of some thousand samples leaves a float32 few digits of what lies between them.
    centres = tf.range(size, dtype=tf.float64) - (size - 1) / 2
    grid = tf.stack(tf.meshgrid(centres, centres), axis=-1)  # (x, y) in pixels from the middle
    source = tf.einsum("nij,hwj->nhwi", tf.cast(drawn["transform"][:, :2, :2], tf.float64), grid)
    sample = (source + (size - 1) / 2) * UPSAMPLING
    nearest = tf.floor(sample + 0.5) / UPSAMPLING - (size - 1) / 2
    bound = size / 2 - REACH
    inside = tf.reduce_all((nearest >= -bound) & (nearest < bound), axis=-1, keepdims=True)
    return _interpolate(x, sample + REACH * UPSAMPLING - 1), tf.cast(inside, tf.float32)


def pseudo_rotate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotated images less what a rotation would have removed; arguments and results as of `rotate`."""
    size, margin = x.shape[1], REACH - 1
    inside = tf.pad(tf.ones([size - 2 * margin, size - 2 * margin]), [[margin, margin], [margin, margin]])
    return _convolve(x, drawn["taps"])[:, margin:-margin, margin:-margin], inside[None, :, :, None]


def compare_rotated(still: tf.Tensor, moved: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Generated rotation minus rotated image, [N, R, R, C], and a mask [N, R, R, 1] of where it counts."""
    expected, mask = rotate(still, drawn)
    generated, inside = pseudo_rotate(moved, drawn)
    return generated - expected, mask * inside


def _convolve(x: tf.Tensor, taps: tf.Tensor) -> tf.Tensor:
    """x [N, S, S, C] with taps [N, K, K] in full, [N, S + K - 1, S + K - 1, C], by Fourier transforms."""
    size = x.shape[1] + taps.shape[1] - 1
    length = [next_fast_len(size, real=True)] * 2
    spectrum = tf.signal.rfft2d(tf.transpose(x, [0, 3, 1, 2]), length) * tf.signal.rfft2d(taps, length)[:, None]
    return tf.transpose(tf.signal.irfft2d(spectrum, length)[..., :size, :size], [0, 2, 3, 1])


def _interpolate(x: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Bilinear samples of x [N, S, S, C] at float64 [N, R, R, 2], (x, y) from the first sample's centre."""
    corner = tf.clip_by_value(tf.floor(position), 0, x.shape[1] - 2)
    right, down = tf.split(tf.cast(position - corner, tf.float32), 2, axis=-1)
    column, row = tf.unstack(tf.cast(corner, tf.int32), axis=-1)

    def sample(dy: int, dx: int) -> tf.Tensor:
        return tf.gather_nd(x, tf.stack([row + dy, column + dx], axis=-1), batch_dims=1)

    top = sample(0, 0) * (1 - right) + sample(0, 1) * right
    bottom = sample(1, 0) * (1 - right) + sample(1, 1) * right
    return top * (1 - down) + bottom * down


def _octagon_taps(turn: float) -> Array:
    """Taps of the rotation, of sum 1 for each position between pixels: a constant stays one."""
    x, y = _grid(REACH, UPSAMPLING)
    taps = _octagon(x, y, turn) * _window(turn, UPSAMPLING)
    for row in range(UPSAMPLING):
        for column in range(UPSAMPLING):
            phase = taps[row::UPSAMPLING, column::UPSAMPLING]
            phase /= phase.sum()
    return taps


def _square_taps(turn: float) -> Array:
    """Taps of the pseudo-rotation, of sum 1: on the pixels themselves, the unturned sinc is an impulse."""
    x, y = _turned(*_grid(REACH, 1), turn)
    taps = np.sinc(x) * np.sinc(y) * _window(turn, 1)
    return taps / taps.sum()


def _octagon(x: Array, y: Array, turn: float) -> Array:
    """The convolution of sinc(x) sinc(y) and the same turned: the Fourier transform of two squares' intersection.

    By the divergence theorem it is a sum over the octagon's edges. All touch a circle of radius 1/2, so that the
    tangent of half the angle between their normals says how far they go; opposite ones make a sine.
    """
    gap = -turn % (np.pi / 2)  # between a normal of the unturned square and the next of the turned one
    short, long = np.tan(gap / 2) / 2, np.tan((np.pi / 2 - gap) / 2) / 2
    length, middle = short + long, (short - long) / 2
    squared = (2 * np.pi) ** 2 * (x**2 + y**2)
    total = np.zeros_like(x)
    for normal, centre in ((0, middle), (gap, -middle), (np.pi / 2, middle), (np.pi / 2 + gap, -middle)):
        across, along = (2 * np.pi * v for v in _turned(x, y, -normal))
        total += 2 * across * length * np.sinc(along * length / (2 * np.pi)) * np.sin(across / 2 + along * centre)
    area = 2 * length
    return np.where(squared > 0, total / np.where(squared > 0, squared, 1), area)


def _window(turn: float, per_pixel: int) -> Array:
    """The convolution of a Lanczos window in x and y and the same turned."""
    further = 2  # pixels; the convolution ends within REACH + further, so that nothing wraps around
    x, y = _grid(REACH + further, per_pixel)
    spectra = [np.fft.rfft2(_lanczos(u) * _lanczos(v)) for u, v in ((x, y), _turned(x, y, turn))]
    window = np.fft.ifftshift(np.fft.irfft2(spectra[0] * spectra[1], x.shape))  # of what is centred twice
    crop = slice(further * per_pixel, -further * per_pixel)
    return window[crop, crop]


def _lanczos(x: Array) -> Array:
    return np.sinc(x / LOBES) * (np.abs(x) < LOBES)


def _grid(reach: int, per_pixel: int) -> tuple[Array, Array]:
    """x and y of the taps closer to 0 than `reach` pixels, along each axis."""
    last = reach * per_pixel - 1
    axis = np.arange(-last, last + 1) / per_pixel
    x, y = np.meshgrid(axis, axis)
    return x, y


def _turned(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


# ---------------------------------------------------------------------------------------------------------------------
# How exactly generated images follow a motion of the generator's input (arXiv 2106.12423, appendix E).
# ---------------------------------------------------------------------------------------------------------------------

RANGE = 2.0  # of images from -1 to 1


@dataclasses.dataclass(frozen=True)
class EquivarianceMetric:
    """A random motion of images.

    Attributes:
        draw: (rng, resolution) -> arrays for one image; one is "transform", for the generator.
        compare: (images, images generated in motion, arrays of draw, stacked) -> (difference, mask), as float32
            [N, R, R, C] and [N, R, R, 1] or [1, R, R, 1].
    """

    draw: Callable[[np.random.Generator, int], Drawn]
    compare: Callable[[tf.Tensor, tf.Tensor, Drawn], tuple[tf.Tensor, tf.Tensor]]


def measure_equivariance(
    motion: EquivarianceMetric,
    G: Generator,
    samples: Samples,
    batch: int,
    progress: Callable[[int, int], object],
    so_far: ProgressFile | None = None,
) -> float:
    """10 log10(RANGE^2 / mean squared difference between moved images and images generated in motion), in dB.

    Args:
        motion: what moves, independently for each image.
        G: makes the images.
        samples: latents and labels, and what motions are drawn from.
        batch: latents at a time; each makes two images.
        progress: called with latents done and latents in all.
        so_far: what an interrupted call with the same arguments left.

    Raises:
        FloatingPointError: images that are not finite.
    """

    @tf.function
    def squares(z: tf.Tensor, label: tf.Tensor | None, drawn: Drawn) -> tf.Tensor:
        still, moved = _images(G, G.mapping(z, label), drawn["transform"])
        difference, mask = motion.compare(still, moved, drawn)
        mask = tf.broadcast_to(mask, tf.shape(difference))
        summands = tf.stack([tf.square(difference) * mask, mask])
        return tf.reduce_sum(tf.cast(summands, tf.float64), axis=[2, 3, 4])

    so_far = so_far or ProgressFile()
    before = so_far.arrays()
    total = before.get("total", np.zeros(2))
    for start in range(int(before.get("done", 0)), samples.count, batch):
        index = np.minimum(np.arange(start, start + batch), samples.count - 1)  # all of one size, for one graph
        drawn = [motion.draw(samples.motion(int(i)), G.config.resolution) for i in index]
        stacked = {name: np.stack([d[name] for d in drawn]) for name in drawn[0]}
        wanted = min(batch, samples.count - start)
        sums = squares(samples.latents(index), samples.label(index), stacked).numpy()[:, :wanted]
        if not np.isfinite(sums).all():
            raise FloatingPointError(f"images of samples {start} to {start + wanted - 1} are not finite")
        total += sums.sum(axis=1)
        so_far.keep(total=total, done=start + wanted)
        progress(start + wanted, samples.count)
    squared_difference, values = total
    with np.errstate(divide="ignore"):  # no difference at all is infinitely good
        return float(10 * np.log10(RANGE**2 * values / squared_difference))


def _images(G: Generator, ws: tf.Tensor, transform: tf.Tensor) -> list[tf.Tensor]:
    """Images [N, R, R, C] without and with a transform; at once, as tracing a generator takes its time."""
    still = tf.eye(3, batch_shape=tf.shape(transform)[:1])
    return tf.split(G.synthesis(tf.concat([ws, ws], 0), transform=tf.concat([still, transform], 0)), 2)
