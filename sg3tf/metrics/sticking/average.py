"""The average of many similar images, and how much of their detail it keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sg3tf.metrics.spectra.spectrum import rings, window

Array = NDArray[np.float64]


class Average(NamedTuple):
    """Of images that show the same, more or less.

    Attributes:
        image: float64 [R, R, C].
        frequency: [K] in cycles per pixel.
        fixed: [K], of the images' power at a frequency the share that lies at the same place with the same phase in
            all of them: 1 where they are equal, 0 where they have nothing to do with each other.
    """

    image: Array
    frequency: Array
    fixed: Array


def average(batches: Iterable[NDArray[np.float32]]) -> Average:
    """The average of at least two images, batches of [N, R, R, C].

    For the spectra F_i of the windowed images, the share is the sum of conj(F_i) F_j over all i != j over its greatest
    value. Without i = j nothing but chance is left of images that are independent, however few there are.
    """
    count, image, spectrum, power = 0, *(np.zeros([1, 1, 1]) for _ in range(3))
    for batch in batches:
        images = np.asarray(batch, np.float64)
        spectra = scipy.fft.fft2(images * window(images.shape[1])[..., None], axes=(1, 2))
        count += len(images)
        image = image + images.sum(0)
        spectrum = spectrum + spectra.sum(0)
        power = power + np.sum(np.abs(spectra) ** 2, axis=0)
    size = image.shape[0]
    pairs = np.sum(np.abs(spectrum) ** 2 - power, axis=-1) / (count - 1)
    frequency, together = rings(pairs, size)
    _, alone = rings(power.sum(-1), size)
    return Average(image / count, frequency, together / np.maximum(alone, np.finfo(float).tiny))
