"""Texture sticking: slices and averages of moving images (arXiv 2106.12423, figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from sg3tf import latents
from sg3tf.images import to_uint8
from sg3tf.metrics import equivariance
from sg3tf.metrics.samples import uniform_classes
from sg3tf.metrics.spectra import rings, window
from sg3tf.models.generators import Generator

# ---------------------------------------------------------------------------------------------------------------------
# The average of many similar images, and how much of their detail it keeps.
# ---------------------------------------------------------------------------------------------------------------------

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


# ---------------------------------------------------------------------------------------------------------------------
# Images of one generator around one latent: its neighbours in w, an interpolation, and motions of the input.
# ---------------------------------------------------------------------------------------------------------------------

FloatArray = NDArray[np.float32]

_SPREAD_OF = 256  # latents that say how far w varies
_NEIGHBOUR, _SPREAD, _SHIFT = range(3)  # what random numbers are for


class Views:
    """Images of a generator around the latent of a seed.

    Args:
        G: the generator, of either kind.
        seed: of the latent, as in sg3tf.generate, of the class where there are classes, and of all that is random.
        psi: truncation; 0 for the average latent.
        batch: images at a time.
    """

    def __init__(self, G: Generator, seed: int, psi: float, batch: int) -> None:
        self.G = G
        self.seed = seed
        self.batch = batch
        self.psi = psi
        self.centre = self._ws(latents.z_from_seeds([seed], G.config.z_dim), psi)
        self._synthesis = tf.function(
            lambda ws, transform=None: G.synthesis(ws, transform=transform), reduce_retracing=True
        )

    def image(self) -> FloatArray:
        """float32 [R, R, C], the image in the middle."""
        return next(self._images(1, lambda i: (self.centre,)))[0]

    def neighbours(self, count: int, radius: float) -> Iterator[FloatArray]:
        """Batches of images whose w differ from the centre by isotropic Gaussian noise.

        Args:
            count: how many in all.
            radius: standard deviation of the noise over that of the w of random latents, per component.
        """
        z = self._rng(_SPREAD).standard_normal([_SPREAD_OF, self.G.config.z_dim])
        w = self._ws(z, psi=1.0)[:, 0]
        sigma = radius * np.sqrt(np.mean(np.square(w - w.mean(axis=0))))
        noise = self._rng(_NEIGHBOUR).standard_normal([count, 1, self.G.config.w_dim])
        return self._images(count, lambda i: (self.centre + sigma * noise[i],))

    def interpolation(self, frames: int) -> Iterator[FloatArray]:
        """Batches of the images on the way to the next seed, at constant angular speed in z."""
        here, there = latents.z_from_seeds([self.seed, self.seed + 1], self.G.config.z_dim)
        ws = self._ws(latents.slerp(here, there, np.linspace(0, 1, frames)), self.psi)
        return self._images(frames, lambda i: (ws[i],))

    def motions(self, count: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """The central image while the generator's input is translated by up to 1/8 of the width along x and y.

        Yields:
            Batches [N, R, R, C] as generated, the same moved back, and [N, R, R, 1], 1 where the latter are right.
        """
        size = self.G.config.resolution
        shifts = self._rng(_SHIFT).uniform(
            -size * equivariance.MAX_TRANSLATION, size * equivariance.MAX_TRANSLATION, [count, 2]
        )

        def moved(index: NDArray[np.int64]) -> tuple[Any, ...]:
            there = [
                equivariance.translation_params_for(shift, size, equivariance.LANCZOS_LOBES)["transform"]
                for shift in shifts[index]
            ]
            return np.repeat(self.centre, len(index), axis=0), np.stack(there)

        start = 0
        for images in self._images(count, moved):
            back = [
                equivariance.translation_params_for(-shift, size, equivariance.LANCZOS_LOBES)
                for shift in shifts[start : start + len(images)]
            ]
            start += len(images)
            returned, mask = equivariance.translate(
                images, {name: np.stack([b[name] for b in back]) for name in back[0]}
            )
            yield images, returned.numpy(), mask.numpy()

    def _ws(self, z: NDArray[Any], psi: float) -> FloatArray:
        label_dim = self.G.config.label_dim
        label = np.tile(uniform_classes(label_dim, self.seed)(0), [len(z), 1]) if label_dim else None
        return self.G.mapping(tf.cast(z, tf.float32), label, truncation_psi=psi).numpy()

    def _images(self, count: int, inputs: Callable[[NDArray[np.int64]], tuple[Any, ...]]) -> Iterator[FloatArray]:
        """Batches of the images that synthesis makes of inputs(positions)."""
        for start in range(0, count, self.batch):
            index = np.arange(start, min(start + self.batch, count))
            images = self._synthesis(*(tf.cast(value, tf.float32) for value in inputs(index))).numpy()
            if not np.isfinite(images).all():
                raise FloatingPointError("images are not finite; use another network")
            yield images

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])


# ---------------------------------------------------------------------------------------------------------------------
# Pictures in rows and columns with their names, each pixel a whole number of pixels large. NumPy and Pillow only.
# ---------------------------------------------------------------------------------------------------------------------

_GAP = 10
_FONT_SIZE = 13
_LINE = 18


def enlarged(image: ArrayLike, height: int, width: int) -> NDArray[np.uint8]:
    """The picture [H, W, C] as uint8 RGB, repeated pixel by pixel to at most height x width, or as it is if larger."""
    pixels = to_uint8(image)
    for axis, size in enumerate((height, width)):
        pixels = pixels.repeat(max(1, size // pixels.shape[axis]), axis=axis)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def sheet(columns: list[str], rows: Mapping[str, Sequence[NDArray[np.uint8] | str]]) -> NDArray[np.uint8]:
    """Lays out pictures.

    Args:
        columns: what stands above them.
        rows: what stands to their left (lines apart by newlines) -> of every column a picture, uint8 [H, W, 3], or
            what to write instead.

    Returns:
        uint8 [H, W, 3], white where nothing is.
    """
    font = ImageFont.load_default(_FONT_SIZE)

    def size(content: NDArray[np.uint8] | str) -> tuple[int, int]:
        """Height and width."""
        if isinstance(content, str):
            lines = content.split("\n")
            return len(lines) * _LINE, _GAP + int(max(font.getlength(line) for line in lines))
        return content.shape[0], content.shape[1]

    height = [max(size(content)[0] for content in (label, *row)) for label, row in rows.items()]
    width = [
        max(size(content)[1] for content in (name, *column))
        for name, column in zip(columns, zip(*rows.values(), strict=True), strict=True)
    ]
    margin = max(size(label)[1] for label in rows)
    top = _GAP + (_LINE if any(columns) else 0)
    left = [_GAP + margin + sum(width[:i]) + i * _GAP for i in range(len(columns))]
    canvas = Image.new("RGB", (left[-1] + width[-1] + _GAP, top + sum(height) + len(height) * _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for x, name in zip(left, columns, strict=True):
        draw.text((x, _GAP // 2), name, "black", font)
    for row, (label, pictures) in enumerate(rows.items()):
        y = top + sum(height[:row]) + row * _GAP
        draw.multiline_text((_GAP, y), label, "black", font)
        for x, picture in zip(left, pictures, strict=True):
            if isinstance(picture, str):
                draw.multiline_text((x, y), picture, "#777777", font)
            else:
                canvas.paste(Image.fromarray(picture), (x, y))
    return np.asarray(canvas)
