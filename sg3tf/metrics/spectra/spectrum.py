"""The average power spectrum of a set of images: what is kept of them, and what is read from it. No TensorFlow.

White noise of variance 1 has power 1, 0 dB, at every frequency. Frequencies are in cycles per pixel.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sg3tf.atomic import whole_file

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
        with whole_file(path) as file:
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
        raise FileNotFoundError(f"{path}: no such file; make it with python -m sg3tf.metrics.spectra calc")
    try:
        with np.load(path) as file:
            settings = json.loads(str(file["settings"]))
            return Spectrum(file["power"], file["mean_image"], float(file["mean_square"]), settings)
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile) as error:
        remedy = "make it with python -m sg3tf.metrics.spectra calc"
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
