"""Equivariance to translation and rotation: EQ-T, EQ-T_frac and EQ-R (arXiv 2106.12423, appendix E)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from sg3tf.latents import transform_matrix
from sg3tf.metrics.cache import ProgressFile
from sg3tf.metrics.replicas import results_of_batches
from sg3tf.metrics.samples import Index, Samples, check_finite
from sg3tf.utils.resolution import Resolution, size_of

Array = NDArray[np.float64]
#: Parameters of one transform, or of several, stacked; "transform" is the generator's argument.
Params = dict[str, Any]

LANCZOS_LOBES = 3  # on either side of the filter
IMAGE_RANGE = 2.0  # of images from -1 to 1


# --- The metric -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class EquivarianceMetric:
    """A random transform of images, and how to compare transformed images.

    Attributes:
        sample_params: (rng, resolution) -> parameters of one transform; resolution is the side of a square, or a Size.
        compare: (reference images, images generated with the transform, stacked parameters) -> (difference, mask),
            float32 [N, H, W, C] and [N, H, W, 1] or [1, H, W, 1].
        min_side: minimum image side in pixels; with smaller images, a transform may leave no valid pixels.

    Examples:
        >>> metric = EquivarianceMetric(sample_integer_translation, compare_translated)
        >>> params = metric.sample_params(np.random.default_rng(0), 256)
        >>> params["whole"]
        array([  9, -15], dtype=int32)
    """

    sample_params: Callable[[np.random.Generator, Resolution], Params]
    compare: Callable[[tf.Tensor, tf.Tensor, Params], tuple[tf.Tensor, tf.Tensor]]
    min_side: int = 8


def measure_equivariance(
    metric: EquivarianceMetric,
    G: Any,
    samples: Samples,
    *,
    batch: int = 8,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
    progress_file: ProgressFile | None = None,
) -> float:
    """Measure equivariance: the PSNR in dB of transformed images against images generated with the transform.

    The value is 10 log10(IMAGE_RANGE^2 / mean squared difference).

    Args:
        metric: the transform, sampled for each image.
        G: the generator.
        samples: latents, labels, and random numbers for the transforms.
        batch: latents per batch on each replica; each latent gives two images.
        strategy: the replicas; None for the current strategy.
        progress: called after every batch with the number of latents done and in total.
        progress_file: intermediate results of an interrupted call with the same arguments.

    Raises:
        FloatingPointError: images are not finite.
    """

    strategy = strategy or tf.distribute.get_strategy()

    def arrays(index: Index) -> dict[str, Any]:
        params = [metric.sample_params(samples.params_rng(int(i)), G.config.resolution) for i in index]
        label = samples.label(index)
        return {
            "z": samples.latents(index),
            "params": stack_params(params),
            **({} if label is None else {"label": label}),
        }

    def sums_of_squares(tensors: Any) -> tf.Tensor:
        """Per-image sums of the masked squared difference and of the mask, float64 [N, 2]."""
        params = tensors["params"]
        ws, transform = G.mapping(tensors["z"], tensors.get("label")), params["transform"]
        identity = tf.eye(3, batch_shape=tf.shape(transform)[:1])
        # Generate both sets of images in one call, because tracing a generator is slow.
        images = G.synthesis(tf.concat([ws, ws], 0), transform=tf.concat([identity, transform], 0))
        reference, transformed = tf.split(images, 2)
        difference, mask = metric.compare(reference, transformed, params)
        mask = tf.broadcast_to(mask, tf.shape(difference))
        summands = tf.stack([tf.square(difference) * mask, mask], axis=1)
        return tf.reduce_sum(tf.cast(summands, tf.float64), axis=[2, 3, 4])

    progress_file = progress_file or ProgressFile()
    saved = progress_file.load()
    total = saved.get("total", np.zeros(2))
    positions = range(int(saved.get("done", 0)), samples.count)
    for start, stop, sums in results_of_batches(strategy, sums_of_squares, arrays, positions, batch):
        check_finite(sums, "images of samples", start, stop)
        total += sums.sum(axis=0)
        progress_file.save_periodically(total=total, done=stop)
        progress(stop, samples.count)
    squared_difference, num_values = total
    with np.errstate(divide="ignore"):  # infinite if there is no difference
        return float(10 * np.log10(IMAGE_RANGE**2 * num_values / squared_difference))


def stack_params(params: Sequence[Params]) -> Params:
    """Stack the parameters of several transforms."""
    return {name: np.stack([one[name] for one in params]) for name in params[0]}


# --- Translation by whole pixels or fractions of them (appendix E.1 and E.2) ------------------------------------------

MAX_TRANSLATION = 1 / 8  # along either axis, relative to the width or the height


def sample_integer_translation(rng: np.random.Generator, resolution: Resolution) -> Params:
    """Parameters of a random translation by whole pixels; see `translation_params_for`."""
    return translation_params_for(np.round(_sample_shift(rng, resolution)), size_of(resolution).width)


def sample_fractional_translation(rng: np.random.Generator, resolution: Resolution) -> Params:
    """Parameters of a random translation with a Lanczos filter; see `translation_params_for`."""
    return translation_params_for(_sample_shift(rng, resolution), size_of(resolution).width, LANCZOS_LOBES)


def _sample_shift(rng: np.random.Generator, resolution: Resolution) -> Array:
    """Return a random shift in pixels to the right and down, float64 [2]."""
    return rng.uniform(-MAX_TRANSLATION, MAX_TRANSLATION, size=2) * size_of(resolution)


def translation_params_for(shift: Any, width: int, lobes: int = 0) -> Params:
    """Parameters of the translation by `shift`.

    Args:
        shift: pixels to the right and down.
        width: image width in pixels.
        lobes: number of lobes of the Lanczos filter on either side; 0 for no filter, for integer shifts only.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "whole": int32 [2], the shift rounded down.
        "weights": float32 [2, K], filter weights of the K samples around a position, along x and y.
    """
    shift = np.asarray(shift, np.float64)
    whole = np.floor(shift)
    distance = _tap_offsets(max(2 * lobes, 1)) - (shift - whole)[:, None]
    weights = np.sinc(distance) * (np.sinc(distance / lobes) if lobes else 1)
    weights /= weights.sum(axis=1, keepdims=True)
    return {
        "transform": transform_matrix(0.0, *(shift / width)),
        "whole": whole.astype(np.int32),
        "weights": weights.astype(np.float32),
    }


def translate(x: tf.Tensor, params: Params) -> tuple[tf.Tensor, tf.Tensor]:
    """Translate images; return them with a mask of their valid pixels.

    Args:
        x: float32 [N, H, W, C].
        params: N results of `translation_params_for`, stacked.

    Returns:
        float32 [N, H, W, C]; samples outside the image count as zero.
        float32 [N, H, W, 1], 1 where no sample outside the image was needed, otherwise 0.
    """
    whole, weights = params["whole"], params["weights"]
    x, inside_x = _translate_axis(x, 2, whole[:, 0], weights[:, 0])
    x, inside_y = _translate_axis(x, 1, whole[:, 1], weights[:, 1])
    return x, (inside_y[:, :, None] * inside_x[:, None, :])[..., None]


def compare_translated(reference: tf.Tensor, transformed: tf.Tensor, params: Params) -> tuple[tf.Tensor, tf.Tensor]:
    """Difference between generated and computed translation, [N, H, W, C], and a mask of valid pixels, [N, H, W, 1]."""
    expected, mask = translate(reference, params)
    return transformed - expected, mask


def _translate_axis(x: tf.Tensor, axis: int, whole: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Translate images along one axis by whole [N] with weights [N, K]; return them and their mask [N, R]."""
    size = x.shape[axis]
    result, mask = tf.zeros_like(x), tf.constant(1.0)
    for tap, offset in enumerate(_tap_offsets(weights.shape[1])):
        source = tf.range(size)[None] - whole[:, None] - int(offset)
        inside = tf.cast((source >= 0) & (source < size), tf.float32)
        weight = tf.expand_dims(weights[:, tap, None] * inside, -1)  # [N, R, 1]
        sample = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
        result += sample * tf.expand_dims(weight, 3 - axis)
        mask *= inside
    return result, mask


def _tap_offsets(num_taps: int) -> NDArray[np.int64]:
    """Offsets of the samples around a position, counted to the left from the position rounded down."""
    return np.arange(num_taps) - (num_taps - 1) // 2


# --- Rotation and pseudo-rotation (appendix E.3) ----------------------------------------------------------------------
#
# A rotated pixel grid can represent the frequencies in a rotated square. Both an image and its rotation can represent
# the intersection of the two squares, an octagon. The rotation filters the image to this octagon, with two Lanczos
# windows, one along the axes of each grid. The pseudo-rotation removes the same frequencies from a generated rotation.
# Taps are sampled, truncated and normalized so that values are comparable with published ones.

FILTER_RADIUS = 2 * LANCZOS_LOBES  # pixels on either side, beyond which the filters are truncated
MIN_SIDE_ROTATED = 2 * FILTER_RADIUS + 1  # pixels; valid ones are farther than FILTER_RADIUS from each border
UPSAMPLING = 4  # samples computed per pixel, between which images are interpolated linearly


def sample_rotation(rng: np.random.Generator, resolution: Resolution) -> Params:
    """Parameters of a random rotation, independent of the resolution; see `rotation_params_for`."""
    return rotation_params_for(rng.uniform(-np.pi, np.pi))


def rotation_params_for(angle: float) -> Params:
    """Parameters of the rotation by `angle` radians, clockwise on screen.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "up_taps": float32 [47, 47], filter of the rotation, along the axes of the unrotated image.
        "taps": float32 [11, 11], filter of the pseudo-rotation, along the axes of the rotated image.
    """
    return {
        "transform": transform_matrix(angle),
        "up_taps": _rotation_taps(angle).astype(np.float32),
        "taps": _pseudo_rotation_taps(-angle).astype(np.float32),
    }


def rotate(x: tf.Tensor, params: Params) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate images; return them with a mask of their valid pixels.

    Args:
        x: float32 [N, H, W, C].
        params: N results of `rotation_params_for`, stacked.

    Returns:
        float32 [N, H, W, C]; only defined where the mask is 1.
        float32 [N, H, W, 1], 1 where no sample outside the image was needed, otherwise 0.
    """
    _, height, width, channels = x.shape
    zeros = UPSAMPLING - 1
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, zeros], [0, 0], [0, zeros], [0, 0]])
    x = _convolve(tf.reshape(x, [-1, height * UPSAMPLING, width * UPSAMPLING, channels]), params["up_taps"])

    # In float64, because at positions of some thousand samples, float32 has few digits left for the fraction.
    size = np.array([width, height])
    centers = [tf.range(side, dtype=tf.float64) - (side - 1) / 2 for side in (width, height)]
    grid = tf.stack(tf.meshgrid(*centers), axis=-1)  # (x, y) in pixels from the center
    source = tf.einsum("nij,hwj->nhwi", tf.cast(params["transform"][:, :2, :2], tf.float64), grid)
    sample = (source + (size - 1) / 2) * UPSAMPLING
    nearest = tf.floor(sample + 0.5) / UPSAMPLING - (size - 1) / 2
    bound = size / 2 - FILTER_RADIUS
    inside = tf.reduce_all((nearest >= -bound) & (nearest < bound), axis=-1, keepdims=True)
    return _interpolate(x, sample + FILTER_RADIUS * UPSAMPLING - 1), tf.cast(inside, tf.float32)


def pseudo_rotate(x: tf.Tensor, params: Params) -> tuple[tf.Tensor, tf.Tensor]:
    """Remove from rotated images the frequencies that `rotate` removes; arguments and results as in `rotate`."""
    margin = FILTER_RADIUS - 1
    inside = tf.pad(tf.ones([side - 2 * margin for side in x.shape[1:3]]), [[margin, margin], [margin, margin]])
    return _convolve(x, params["taps"])[:, margin:-margin, margin:-margin], inside[None, :, :, None]


def compare_rotated(reference: tf.Tensor, transformed: tf.Tensor, params: Params) -> tuple[tf.Tensor, tf.Tensor]:
    """Difference between generated and computed rotation, [N, H, W, C], and a mask of valid pixels, [N, H, W, 1]."""
    expected, mask = rotate(reference, params)
    generated, inside = pseudo_rotate(transformed, params)
    return generated - expected, mask * inside


def _convolve(x: tf.Tensor, taps: tf.Tensor) -> tf.Tensor:
    """Full convolution of x [N, H, W, C] with taps [N, K, K] by FFT: [N, H + K - 1, W + K - 1, C]."""
    height, width = (side + taps.shape[1] - 1 for side in x.shape[1:3])
    length = [next_fast_len(side, real=True) for side in (height, width)]
    spectrum = tf.signal.rfft2d(tf.transpose(x, [0, 3, 1, 2]), length) * tf.signal.rfft2d(taps, length)[:, None]
    return tf.transpose(tf.signal.irfft2d(spectrum, length)[..., :height, :width], [0, 2, 3, 1])


def _interpolate(x: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Sample x [N, S, T, C] bilinearly at float64 [N, H, W, 2], (x, y) relative to the first sample's center."""
    last = tf.constant([x.shape[2] - 2, x.shape[1] - 2], tf.float64)
    corner = tf.clip_by_value(tf.floor(position), tf.zeros_like(last), last)
    right, down = tf.split(tf.cast(position - corner, tf.float32), 2, axis=-1)
    column, row = tf.unstack(tf.cast(corner, tf.int32), axis=-1)

    def sample(dy: int, dx: int) -> tf.Tensor:
        return tf.gather_nd(x, tf.stack([row + dy, column + dx], axis=-1), batch_dims=1)

    top = sample(0, 0) * (1 - right) + sample(0, 1) * right
    bottom = sample(1, 0) * (1 - right) + sample(1, 1) * right
    return top * (1 - down) + bottom * down


def _rotation_taps(angle: float) -> Array:
    """Filter taps of the rotation. They sum to 1 for each subpixel position, which preserves constant images."""
    x, y = _tap_grid(FILTER_RADIUS, UPSAMPLING)
    taps = _octagon(x, y, angle) * _double_lanczos_window(angle, UPSAMPLING)
    for row in range(UPSAMPLING):
        for column in range(UPSAMPLING):
            phase = taps[row::UPSAMPLING, column::UPSAMPLING]
            phase /= phase.sum()
    return taps


def _pseudo_rotation_taps(angle: float) -> Array:
    """Filter taps of the pseudo-rotation, which sum to 1. On the pixel grid, the unrotated sinc is an impulse."""
    x, y = _rotate_points(*_tap_grid(FILTER_RADIUS, 1), angle)
    taps = np.sinc(x) * np.sinc(y) * _double_lanczos_window(angle, 1)
    return taps / taps.sum()


def _octagon(x: Array, y: Array, angle: float) -> Array:
    """Convolution of sinc(x) sinc(y) and its rotation: the Fourier transform of the intersection of two squares.

    By the divergence theorem, it is a sum over the octagon's edges. All edges are tangent to a circle of radius 1/2, so
    their lengths follow from the tangent of half the angle between their normals. Opposite edges combine to a sine.
    """
    gap = -angle % (np.pi / 2)  # between a normal of the unrotated square and the next of the rotated one
    short, long = np.tan(gap / 2) / 2, np.tan((np.pi / 2 - gap) / 2) / 2
    length, middle = short + long, (short - long) / 2
    squared = (2 * np.pi) ** 2 * (x**2 + y**2)
    total = np.zeros_like(x)
    for normal, center in ((0, middle), (gap, -middle), (np.pi / 2, middle), (np.pi / 2 + gap, -middle)):
        across, along = (2 * np.pi * v for v in _rotate_points(x, y, -normal))
        total += 2 * across * length * np.sinc(along * length / (2 * np.pi)) * np.sin(across / 2 + along * center)
    area = 2 * length
    return np.where(squared > 0, total / np.where(squared > 0, squared, 1), area)


def _double_lanczos_window(angle: float, samples_per_pixel: int) -> Array:
    """Convolution of a Lanczos window in x and y and its rotation."""
    padding = 2  # pixels; the convolution ends within FILTER_RADIUS + padding, so it does not wrap around
    x, y = _tap_grid(FILTER_RADIUS + padding, samples_per_pixel)
    spectra = [np.fft.rfft2(_lanczos_window(u) * _lanczos_window(v)) for u, v in ((x, y), _rotate_points(x, y, angle))]
    window = np.fft.ifftshift(np.fft.irfft2(spectra[0] * spectra[1], x.shape))  # both factors are centered
    crop = slice(padding * samples_per_pixel, -padding * samples_per_pixel)
    return window[crop, crop]


def _lanczos_window(x: Array) -> Array:
    return np.sinc(x / LANCZOS_LOBES) * (np.abs(x) < LANCZOS_LOBES)


def _tap_grid(radius: int, samples_per_pixel: int) -> tuple[Array, Array]:
    """x and y coordinates of the taps less than `radius` pixels from 0, along each axis."""
    last = radius * samples_per_pixel - 1
    axis = np.arange(-last, last + 1) / samples_per_pixel
    x, y = np.meshgrid(axis, axis)
    return x, y


def _rotate_points(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x - sin * y, sin * x + cos * y
