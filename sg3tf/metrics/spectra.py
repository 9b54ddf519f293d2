"""Average power spectra of data and generators (arXiv 2106.12423, appendix E).

White noise of variance 1 has power 1, or 0 dB, at every frequency. Frequencies are in cycles per pixel. TensorFlow is
imported only to compute a spectrum, so that reading and plotting one starts fast.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from sg3tf.images import to_uint8
from sg3tf.metrics.samples import Images, Samples, check_finite, padded_batches, uniform_classes
from sg3tf.utils.arrays import read_npz
from sg3tf.utils.files import atomic_write
from sg3tf.utils.resolution import Resolution, Size, size_of, to_resolution

Array = NDArray[np.float64]

KAISER_BETA = 8.0  # leakage of this window beyond 2.8 / R is below -57 dB
INTERPOLATION = 4  # number of frequencies per 1 / R
_MIN_POWER = 1e-15  # lower bound before converting to dB, about the rounding error


# --- A spectrum -------------------------------------------------------------------------------------------------------


class SpectrumError(ValueError):
    """A file is not a spectrum, or spectra are not comparable."""


def window(resolution: Resolution) -> Array:
    """Separable Kaiser window [H, W] for images, with a sum of squares of 1."""
    width, height = size_of(resolution)
    rows, columns = np.kaiser(height, KAISER_BETA), np.kaiser(width, KAISER_BETA)
    return np.outer(rows, columns) / np.sqrt(np.sum(rows**2) * np.sum(columns**2))


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Averages over images and channels that give the spectrum for any pixel mean and scale.

    Attributes:
        power: float64 [2R, R + 1], mean of |DFT of a windowed image, zero-padded to 2R|^2, in the order of
            numpy.fft.rfft2; R is the longer side. These frequencies determine all others, because the autocorrelation
            of R samples has length 2R - 1.
        mean_image: float64 [H, W].
        mean_square: mean square of all pixels.
        settings: origin of the images.

    Examples:
        >>> images = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 3], np.uint8)
        >>> spectrum = average_spectrum([images], settings={})
        >>> spectrum.resolution, spectrum.power.shape
        (16, (32, 17))
        >>> spectrum.normalized(spectrum.mean, spectrum.std).shape
        (64, 64)
    """

    power: Array
    mean_image: Array
    mean_square: float
    settings: dict[str, Any]

    @property
    def resolution(self) -> Resolution:
        return to_resolution(self.mean_image.shape[::-1])

    @property
    def mean(self) -> float:
        """Mean of all pixels."""
        return float(self.mean_image.mean())

    @property
    def std(self) -> float:
        """Standard deviation of all pixels."""
        return float(np.sqrt(max(self.mean_square - self.mean**2, 0.0)))

    def normalized(self, mean: float, std: float) -> Array:
        """Return the power of (x - mean) / std at every frequency, for the images x.

        Returns:
            float64 [4R, 4R], frequencies in the order of numpy.fft.fftfreq(4R).
        """
        size = self.power.shape[:1] * 2
        weights = window(self.resolution)
        constant = mean * scipy.fft.rfft2(weights, size)
        average = scipy.fft.rfft2(weights * self.mean_image, size)
        centered = self.power - 2 * (constant.conj() * average).real + np.abs(constant) ** 2
        return _interpolate(centered / std**2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file atomically."""
        settings = np.str_(json.dumps(self.settings))
        with atomic_write(Path(path)) as file:
            np.savez_compressed(
                file, power=self.power, mean_image=self.mean_image, mean_square=self.mean_square, settings=settings
            )


def _interpolate(power: Array) -> Array:
    """Interpolate [2R, R + 1] to [INTERPOLATION * R, INTERPOLATION * R] by zero-padding the autocorrelation."""
    size = len(power)
    autocorrelation = scipy.fft.fftshift(scipy.fft.irfft2(power, (size, size)))
    padded = np.pad(autocorrelation, (INTERPOLATION * size // 2 - size) // 2)
    return scipy.fft.fft2(scipy.fft.ifftshift(padded)).real


def load_spectrum(path: str | os.PathLike[str]) -> Spectrum:
    """Load a spectrum saved by Spectrum.save.

    Raises:
        FileNotFoundError: no such file.
        SpectrumError: the file is not a spectrum.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it with sg3tf spectra calc")
    try:
        arrays = read_npz(path)
        settings = json.loads(str(arrays["settings"]))
        return Spectrum(arrays["power"], arrays["mean_image"], float(arrays["mean_square"]), settings)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise SpectrumError(f"{path}: holds no spectrum ({error}); make it with sg3tf spectra calc") from error


def load_normalized(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Array]:
    """Power [4R, 4R] by file name without suffix, for pixels normalized by the first file's mean and deviation.

    Raises:
        FileNotFoundError: no such file.
        SpectrumError: not a spectrum, different resolutions, images of a single color, or two files of the same name.
    """
    files = [Path(path) for path in paths]
    spectra = [load_spectrum(file) for file in files]
    first = spectra[0]
    if not first.std > 0:
        raise SpectrumError(f"{files[0]}: all pixels are equal, so there is no spectrum to show; use other images")
    for file, spectrum in zip(files, spectra, strict=True):
        if spectrum.resolution != first.resolution:
            sizes = f"resolution {spectrum.resolution}, {files[0]} has {first.resolution}"
            raise SpectrumError(f"{file}: {sizes}; give files of one resolution")
    if len({file.stem for file in files}) < len(files):
        raise SpectrumError(f"{' '.join(map(str, files))}: names are not distinct; they label the lines, rename one")
    return {
        file.stem: spectrum.normalized(first.mean, first.std) for file, spectrum in zip(files, spectra, strict=True)
    }


def decibels(power: Any) -> Array:
    """10 log10(power)."""
    return 10 * np.log10(np.maximum(power, _MIN_POWER))


def slices(power: Array) -> tuple[Array, Array, Array]:
    """Return frequencies 0 to 1/2 in steps of 1 / size, and power [size, size] at (step, 0) and (step, step)."""
    index = np.arange(len(power) // 2 + 1)
    return index / len(power), power[0, index], power[index, index]


def radial_average(power: Array, resolution: int) -> tuple[Array, Array]:
    """Mean power over rings of frequencies that round to 0, 1, 2, ... cycles per longer side of the image.

    Returns:
        Frequencies [K] in cycles per pixel, up to the corner at 2^-0.5, and power [K].
    """
    frequency = scipy.fft.fftfreq(len(power))
    ring = np.rint(np.hypot(frequency[:, None], frequency) * resolution).astype(int).ravel()
    return np.arange(ring.max() + 1) / resolution, np.bincount(ring, power.ravel()) / np.bincount(ring)


def compare_spectra(powers: dict[str, Array], resolution: int) -> dict[str, tuple[Array, Array, Array]]:
    """Return, for each spectrum, ring frequencies, their power in dB, and its difference from the first spectrum's."""
    averages = {name: radial_average(power, resolution) for name, power in powers.items()}
    reference = decibels(next(iter(averages.values()))[1])
    return {
        name: (frequency, decibels(power), decibels(power) - reference) for name, (frequency, power) in averages.items()
    }


# --- Averages over images ---------------------------------------------------------------------------------------------


def average_spectrum(batches: Iterable[ArrayLike], settings: dict[str, Any]) -> Spectrum:
    """Average spectrum of batches of images [N, H, W, C], at least one batch; summed in float64."""
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def sums_of(images: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Sums over images and channels: power [2R, R + 1], pixels [H, W] and their squares [H, W]."""
        x = tf.transpose(images, [0, 3, 1, 2])
        spectra = tf.signal.rfft2d(x * weights, tf.repeat(2 * tf.reduce_max(tf.shape(weights)), 2))
        parts = tf.square(tf.math.real(spectra)) + tf.square(tf.math.imag(spectra)), x, tf.square(x)
        return tuple(tf.reduce_sum(part, [0, 1]) for part in parts)

    total: list[Any] = []
    count = 0
    for batch in batches:
        images = tf.cast(batch, tf.float64)
        sums = sums_of(images, window(Size(images.shape[2], images.shape[1])))
        total = [a + b for a, b in zip(total, sums, strict=True)] if total else list(sums)
        count += images.shape[0] * images.shape[3]
    power, image, square = (part.numpy() / count for part in total)
    return Spectrum(power, image, float(square.mean()), settings)


def data_images(data: Images, num_images: int, batch: int) -> Iterator[NDArray[np.uint8]]:
    """Yield `num_images` images, spread over a data set, in batches [N, H, W, C]."""
    part = data.subsample(num_images)
    for start in range(0, num_images, batch):
        yield np.stack([part[i][0] for i in range(start, min(start + batch, num_images))])


def generated_images(G: Any, num_images: int, seed: int, batch: int) -> Iterator[NDArray[np.uint8]]:
    """Yield generated images in batches [N, H, W, C], in 8 bits like the data; classes are uniformly distributed.

    Raises:
        FloatingPointError: images are not finite.
    """
    import tensorflow as tf

    label_dim = G.config.label_dim
    samples = Samples(num_images, G.config.z_dim, seed, uniform_classes(label_dim, seed) if label_dim else None)

    @tf.function(autograph=False, reduce_retracing=True)
    def generate(z: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
        return G.synthesis(G.mapping(z, label))

    for start, stop, index in padded_batches(0, num_images, batch):
        images = generate(samples.latents(index), samples.label(index)).numpy()[: stop - start]
        check_finite(images, "images of samples", start, stop)
        yield to_uint8(images)
