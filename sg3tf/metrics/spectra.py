"""Average power spectra of data and generators (arXiv 2106.12423, appendix E)."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf.images import to_uint8
from sg3tf.metrics.plots import figure, legend_outside, line
from sg3tf.metrics.samples import Samples, uniform_classes
from sg3tf.models.generators import Generator
from sg3tf.utils.files import atomic_write

# ---------------------------------------------------------------------------------------------------------------------
# The average power spectrum of a set of images: what is kept of them, and what is read from it. No TensorFlow.
#
# White noise of variance 1 has power 1, 0 dB, at every frequency. Frequencies are in cycles per pixel.
# ---------------------------------------------------------------------------------------------------------------------

Array = NDArray[np.float64]

BETA = 8.0  # of the Kaiser window: what it leaks beyond 2.8 / R is below -57 dB
INTERPOLATION = 4  # frequencies that are read, per 1 / R
_LOWEST = 1e-15  # of power in dB; rounding leaves about as much


class SpectrumError(ValueError):
    """A file that holds no spectrum, or spectra that cannot be compared."""


def window(resolution: int) -> Array:
    """The separable Kaiser window [R, R] that images are multiplied with; its squares sum to 1."""
    taps = np.kaiser(resolution, BETA)
    return np.outer(taps, taps) / np.sum(taps**2)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Averages over images and channels, as they are, from which the spectrum follows for any mean and scale.

    Attributes:
        power: float64 [2R, R + 1], mean of |DFT of a windowed image, padded with zeros to 2R|^2, as of numpy.fft.rfft2.
            That many frequencies determine all others, as the autocorrelation of R samples is 2R - 1 long.
        mean_image: float64 [R, R].
        mean_square: of all pixels.
        settings: where the images came from.
    """

    power: Array
    mean_image: Array
    mean_square: float
    settings: dict[str, Any]

    @property
    def resolution(self) -> int:
        return len(self.mean_image)

    @property
    def mean(self) -> float:
        """Of all pixels."""
        return float(self.mean_image.mean())

    @property
    def std(self) -> float:
        """Standard deviation of all pixels."""
        return float(np.sqrt(max(self.mean_square - self.mean**2, 0.0)))

    def normalised(self, mean: float, std: float) -> Array:
        """Power at every frequency of (x - mean) / std, for the images x.

        Returns:
            float64 [4R, 4R], frequencies in the order of numpy.fft.fftfreq(4R).
        """
        size = (2 * self.resolution,) * 2
        weights = window(self.resolution)
        constant = mean * scipy.fft.rfft2(weights, size)
        average = scipy.fft.rfft2(weights * self.mean_image, size)
        centred = self.power - 2 * (constant.conj() * average).real + np.abs(constant) ** 2
        return _interpolated(centred / std**2)

    def save(self, path: Path) -> None:
        """Writes a .npz file, whole or not at all."""
        settings = np.str_(json.dumps(self.settings))
        with atomic_write(path) as file:
            np.savez_compressed(
                file, power=self.power, mean_image=self.mean_image, mean_square=self.mean_square, settings=settings
            )


def load(path: Path) -> Spectrum:
    """The spectrum that `save` wrote.

    Raises:
        FileNotFoundError: no such file.
        SpectrumError: it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it with python -m sg3tf.cli.spectra calc")
    try:
        with np.load(path) as file:
            settings = json.loads(str(file["settings"]))
            return Spectrum(file["power"], file["mean_image"], float(file["mean_square"]), settings)
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile) as error:
        remedy = "make it with python -m sg3tf.cli.spectra calc"
        raise SpectrumError(f"{path}: holds no spectrum ({type(error).__name__}); {remedy}") from error


def load_alike(paths: list[Path]) -> dict[str, Array]:
    """Power [4R, 4R] by file name without suffix; pixels normalised by mean and deviation of the first file's.

    Raises:
        FileNotFoundError: no such file.
        SpectrumError: no spectrum, images of different resolution or all of one colour, or two files of one name.
    """
    spectra = [load(path) for path in paths]
    first = spectra[0]
    if not first.std > 0:
        raise SpectrumError(f"{paths[0]}: all pixels are equal, which leaves nothing to show; use other images")
    for path, spectrum in zip(paths, spectra, strict=True):
        if spectrum.resolution != first.resolution:
            sizes = f"resolution {spectrum.resolution}, {paths[0]} has {first.resolution}"
            raise SpectrumError(f"{path}: {sizes}; give files of one resolution")
    if len({path.stem for path in paths}) < len(paths):
        raise SpectrumError(f"{' '.join(map(str, paths))}: names are not distinct; they tell lines apart, rename one")
    return {
        path.stem: spectrum.normalised(first.mean, first.std) for path, spectrum in zip(paths, spectra, strict=True)
    }


def decibels(power: Any) -> Array:
    """10 log10(power)."""
    return 10 * np.log10(np.maximum(power, _LOWEST))


def slices(power: Array) -> tuple[Array, Array, Array]:
    """Steps of 1 / size from 0 to 1/2, and the power at (step, 0) and (step, step) of power [size, size]."""
    index = np.arange(len(power) // 2 + 1)
    return index / len(power), power[0, index], power[index, index]


def rings(power: Array, resolution: int) -> tuple[Array, Array]:
    """Radial average: mean power where the frequency rounds to 0, 1, 2, ... cycles per image width.

    Returns:
        Frequencies [K] in cycles per pixel, up to the corner at 2^-0.5, and power [K].
    """
    frequency = scipy.fft.fftfreq(len(power))
    ring = np.rint(np.hypot(frequency[:, None], frequency) * resolution).astype(int).ravel()
    return np.arange(ring.max() + 1) / resolution, np.bincount(ring, power.ravel()) / np.bincount(ring)


def _interpolated(power: Array) -> Array:
    """[2R, R + 1] to [INTERPOLATION * R, INTERPOLATION * R]: zeros around the autocorrelation."""
    size = len(power)
    autocorrelation = scipy.fft.fftshift(scipy.fft.irfft2(power, (size, size)))
    padded = np.pad(autocorrelation, (INTERPOLATION * size // 2 - size) // 2)
    return scipy.fft.fft2(scipy.fft.ifftshift(padded)).real


# ---------------------------------------------------------------------------------------------------------------------
# Averages the power spectra of many images.
# ---------------------------------------------------------------------------------------------------------------------

Images = NDArray[np.uint8]


def average(batches: Iterable[ArrayLike], settings: dict[str, Any]) -> Spectrum:
    """The average spectrum of images [N, R, R, C], at least one batch of them; summed in float64."""
    total: list[Any] = []
    values = 0
    for images in batches:
        images = tf.cast(images, tf.float64)
        sums = _sums(images, window(images.shape[1]))
        total = [a + b for a, b in zip(total, sums, strict=True)] if total else list(sums)
        values += images.shape[0] * images.shape[3]
    power, image, square = (part.numpy() / values for part in total)
    return Spectrum(power, image, float(square.mean()), settings)


@tf.function(reduce_retracing=True)
def _sums(images: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Sums over images and channels: power [2R, R + 1], pixels [R, R] and their squares [R, R]."""
    x = tf.transpose(images, [0, 3, 1, 2])
    spectra = tf.signal.rfft2d(x * weights, 2 * tf.shape(weights))
    parts = tf.square(tf.math.real(spectra)) + tf.square(tf.math.imag(spectra)), x, tf.square(x)
    return tuple(tf.reduce_sum(part, [0, 1]) for part in parts)


def of_data(dataset: Any, num_images: int, batch: int) -> Iterator[Images]:
    """Batches [N, R, R, C] of `num_images` images of a data set, spread evenly."""
    index = np.arange(num_images) * len(dataset) // num_images
    for start in range(0, num_images, batch):
        yield np.stack([dataset[int(i)][0] for i in index[start : start + batch]])


def of_network(G: Generator, num_images: int, seed: int, batch: int) -> Iterator[Images]:
    """Batches [N, R, R, C] of generated images, in 8 bits as data are; classes are drawn uniformly.

    Raises:
        FloatingPointError: images that are not finite.
    """
    label_dim = G.config.label_dim
    samples = Samples(num_images, G.config.z_dim, seed, uniform_classes(label_dim, seed) if label_dim else None)

    @tf.function(reduce_retracing=True)
    def generate(z: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
        return G.synthesis(G.mapping(z, label))

    for start in range(0, num_images, batch):
        index = np.minimum(np.arange(start, start + batch), num_images - 1)  # all of one size, for one graph
        wanted = min(batch, num_images - start)
        images = generate(samples.latents(index), samples.label(index)).numpy()[:wanted]
        if not np.isfinite(images).all():
            raise FloatingPointError(f"images of samples {start} to {start + wanted - 1} are not finite")
        yield to_uint8(images)


# ---------------------------------------------------------------------------------------------------------------------
# Figures of spectra: maps, slices, and differences by ring.
# ---------------------------------------------------------------------------------------------------------------------

SMOOTHING = 1.25  # standard deviation of the Gaussian over a map, in steps of its frequencies
_FREQUENCY = "cycles per pixel"
_POWER = "power (dB; 0 dB: white noise)"


def heatmap(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Maps [4R, 4R] of all frequencies side by side, from `low` to `high` dB; None: all there is."""
    maps = {
        name: scipy.fft.fftshift(decibels(scipy.ndimage.gaussian_filter(power, SMOOTHING, mode="wrap")))
        for name, power in powers.items()
    }
    shown = [value for values in maps.values() for value in (values.min(), values.max())]
    limits = {"vmin": min(shown) if low is None else low, "vmax": max(shown) if high is None else high}
    with figure(path, 0.9 + 2.7 * len(maps), 2.9) as drawing:
        panels = drawing.subplots(1, len(maps), squeeze=False, sharey=True)[0]
        for axes, (name, values) in zip(panels, maps.items(), strict=True):
            half_step = 0.5 / len(values)
            extent = (-0.5 - half_step, 0.5 - half_step) * 2
            drawn = axes.imshow(values, origin="lower", extent=extent, cmap="viridis", **limits)
            axes.set(title=name, xlabel=f"horizontal ({_FREQUENCY})", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
            axes.grid(False)
        panels[0].set_ylabel(f"vertical ({_FREQUENCY})")
        drawing.colorbar(drawn, ax=panels, label=_POWER)


def draw_slices(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Power along the horizontal and the diagonal, one line for each spectrum."""
    with figure(path, 8.5, 3.2) as drawing:
        across, diagonal = drawing.subplots(1, 2, sharey=True)
        for number, (name, power) in enumerate(powers.items()):
            step, along_0, along_45 = slices(power)
            across.plot(step, decibels(along_0), label=name, **line(number))
            diagonal.plot(step * np.sqrt(2), decibels(along_45), label=name, **line(number))
        across.set(title="0°", xlabel=_FREQUENCY, ylabel=_POWER, xlim=(0, 0.5), ylim=(low, high))
        diagonal.set(title="45°", xlabel=_FREQUENCY, xlim=(0, np.sqrt(0.5)))
        legend_outside(drawing, across)


def draw_comparison(path: Path, powers: dict[str, Array], resolution: int) -> None:
    """Radial averages, and below them what sets the others apart from the first."""
    with figure(path, 7.5, 4.8) as drawing:
        above, below = drawing.subplots(2, sharex=True, height_ratios=[3, 2])
        for number, (name, (frequency, power, difference)) in enumerate(compare(powers, resolution).items()):
            above.plot(frequency, power, label=name, **line(number))
            below.plot(frequency, difference, **line(number))
        for axes in (above, below):
            axes.axvline(0.5, color="#999999", linewidth=0.8)
        above.annotate("corners", (0.5, 1), (4, -2), xycoords=above.get_xaxis_transform(), textcoords="offset points")
        above.texts[-1].set(va="top", color="#777777")
        above.set(ylabel=_POWER, xlim=(0, np.sqrt(0.5)))
        below.set(xlabel=f"frequency in any direction ({_FREQUENCY})", ylabel=f"over {next(iter(powers))} (dB)")
        legend_outside(drawing, above)


def compare(powers: dict[str, Array], resolution: int) -> dict[str, tuple[Array, Array, Array]]:
    """For each spectrum the frequencies of its rings, their power in dB, and that over the first spectrum's."""
    averages: dict[str, Any] = {name: rings(power, resolution) for name, power in powers.items()}
    reference = decibels(next(iter(averages.values()))[1])
    return {
        name: (frequency, decibels(power), decibels(power) - reference) for name, (frequency, power) in averages.items()
    }
