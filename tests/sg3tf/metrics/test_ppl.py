"""Perceptual path length of generators for which it is known, and the images that it compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Generator, GeneratorConfig
from sg3tf.metrics.ppl import PathLengthMetric, measure_path_length
from sg3tf.metrics.samples import Samples, uniform_classes

Z_DIM, SIZE = 3, 4
ROUNDING = 2.0**-24  # of float32, relative


@dataclasses.dataclass
class Linear:
    """Images are `pixels` @ w, and w is z of length 1, plus a third of the label.

    Arithmetic is in float64, so that w and images are rounded once each.
    """

    pixels: np.ndarray = dataclasses.field(default_factory=lambda: isometry())
    config: GeneratorConfig = dataclasses.field(default_factory=lambda: GeneratorConfig(16, z_dim=Z_DIM))
    supports_noise: bool = False
    dtype_policy = keras.DTypePolicy("float32")

    def mapping(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        w = tf.math.l2_normalize(tf.cast(z, tf.float64), axis=1)
        if label is not None:
            w += tf.cast(label, tf.float64) / 3
        return tf.cast(w, tf.float32)[:, None]

    def with_dtype(self, dtype: str) -> Linear:
        assert dtype == "float32"
        return self

    def synthesis(self, ws: tf.Tensor, noise: str = "const") -> tf.Tensor:
        pixels = tf.einsum("pd,nd->np", self.pixels, tf.cast(ws[:, 0], tf.float64))
        side = int(np.sqrt(len(self.pixels)))
        return tf.cast(tf.reshape(pixels, [-1, side, side, 1]), tf.float32)


@dataclasses.dataclass
class Position(Linear):
    """Every pixel is the position of the image on the path between two latents, from `start` to 1."""

    start: float = 0.0

    def mapping(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        return tf.repeat(tf.constant([self.start, 1.0]), tf.shape(z)[0] // 2)[:, None, None]

    def synthesis(self, ws: tf.Tensor, noise: str = "const") -> tf.Tensor:
        return tf.tile(ws[..., None], [1, SIZE, SIZE, 1])


def isometry() -> np.ndarray:
    """[SIZE^2, Z_DIM]: distances between images are those between their w."""
    return np.linalg.qr(np.random.default_rng(0).standard_normal([SIZE**2, Z_DIM]))[0]


def squared(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(a - b), axis=[1, 2, 3])


def measure(
    G: Any, distance: Callable[..., tf.Tensor] = squared, count: int = 40, batch: int = 16, **options: Any
) -> float:
    samples = Samples(count, G.config.z_dim, options.pop("seed", 0), options.pop("labels", None))
    progress = options.pop("progress", lambda done, total: None)
    metric = PathLengthMetric(**{"space": "w", "sampling": "end", **options})
    return measure_path_length(metric, distance, G, samples, batch=batch, progress=progress)


def unit_ends(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    z = Samples(2 * count, Z_DIM, seed, None).latents(np.arange(2 * count)).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z[::2], z[1::2]


def inner_mean(values: np.ndarray) -> float:
    """Mean without the lengths entirely in the first or last hundredth of the sorted lengths."""
    values = np.sort(values)
    last = len(values) - 1
    return values[int(np.floor(0.01 * last)) : int(np.ceil(0.99 * last)) + 1].mean()


def mean_error(lengths: np.ndarray, roundings: int, epsilon: float) -> float:
    """Error of the mean if differences between images, epsilon * sqrt(lengths), are off by `roundings` roundings."""
    error = roundings * ROUNDING / epsilon
    return 3 * error * np.sqrt(lengths).mean() + error**2  # 3 for 2: the mean is over most lengths


@pytest.mark.parametrize("sampling", ["full", "end"])
@pytest.mark.parametrize("epsilon", [1e-4, 0.25])
def test_lines(sampling: str, epsilon: float):
    """A line's length is the same everywhere: |A (w2 - w1)|^2. At either end w is rounded, and A w, of norm 2."""
    pixels = isometry() * np.array([1.0, 2.0, 0.5])
    a, b = unit_ends(40)
    lengths = np.sum(((b - a) @ pixels.T) ** 2, axis=1)
    tolerance = mean_error(lengths, 2 * 2 * 2, epsilon)
    assert tolerance < 0.02 * lengths.mean()
    actual = measure(Linear(pixels), sampling=sampling, epsilon=epsilon)
    assert actual == pytest.approx(inner_mean(lengths), abs=tolerance)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_arcs(sampling: str):
    """On a sphere of radius 1 an arc's speed is its angle; a chord of 1e-4 of it is shorter by less than 1e-8.

    At either end z is rounded, and w, and the image.
    """
    a, b = unit_ends(40, seed=3)
    lengths = np.arccos(np.sum(a * b, axis=1)) ** 2
    tolerance = mean_error(lengths, 2 * 3, 1e-4)
    assert tolerance < 0.02 * lengths.mean()
    actual = measure(Linear(), space="z", sampling=sampling, seed=3)
    assert actual == pytest.approx(inner_mean(lengths), abs=tolerance)


def test_end_is_the_start():
    """Speed differs along an arc where images are stretched."""
    pixels = isometry() * np.array([1.0, 3.0, 0.1])
    a, b = unit_ends(200)
    angles = np.arccos(np.sum(a * b, axis=1, keepdims=True))
    at_start = (b - a * np.cos(angles)) * angles / np.sin(angles)
    expected = inner_mean(np.sum((at_start @ pixels.T) ** 2, axis=1))
    assert measure(Linear(pixels), space="z", count=200, epsilon=1e-3) == pytest.approx(expected, rel=5e-3)
    assert measure(Linear(pixels), space="z", count=200, sampling="full") != pytest.approx(expected, rel=5e-2)


def along(
    distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], sampling: str, epsilon: float, start: float = 0.0
) -> float:
    """Mean of a function of two positions on the path, from `start` to 1, over 1000 paths."""

    def of_pixels(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return distance(tf.cast(a[:, 0, 0, 0], tf.float64), tf.cast(b[:, 0, 0, 0], tf.float64))

    G = Position(start=start)
    return measure(G, of_pixels, count=1000, batch=100, sampling=sampling, epsilon=epsilon) * epsilon**2


def test_positions():
    """t is uniform from 0 to 1, or 0; the other image is epsilon further."""
    assert along(lambda a, b: a, "end", 0.1) == 0 and along(lambda a, b: b, "end", 0.1) == pytest.approx(0.1)
    assert along(lambda a, b: b - a, "full", 0.1) == pytest.approx(0.1)
    for power in (1, 2, 3):
        variance = 1 / (2 * power + 1) - 1 / (power + 1) ** 2
        outer = 0.01  # the least and the greatest hundredth are missing, of numbers from 0 to 1
        mean = along(lambda a, b, power=power: a**power, "full", 0.1)
        assert abs(mean - 1 / (power + 1)) < 4 * np.sqrt(variance / 1000) + outer


def test_steps_are_not_rounded():
    """In float32, t + epsilon would be off by up to 3e-8; around 0, where numbers have more digits, it shows."""

    def error(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.abs(a) < 0.1, tf.square(b - a - 2e-4), 0)

    around_zero = 0.1  # of positions
    assert 0 < np.sqrt(along(error, "full", 1e-4, start=-1.0) / around_zero) < 0.1 * ROUNDING


def test_outer_lengths_are_left_out():
    """Of 150, percentiles lie between the second and the third, and between the last but two and the last but one."""
    a, b = unit_ends(150)
    exact = np.sort(np.sum((b - a) ** 2, axis=1))

    def distance(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Very small and very large for the outermost pair."""
        length = squared(x, y)
        return tf.where(length > exact[-2:].mean(), 1e9, tf.where(length < exact[:2].mean(), -1e9, length))

    assert measure(Linear(), distance, count=150, epsilon=1.0) == pytest.approx(exact[1:-1].mean(), rel=1e-5)
    assert measure(Linear(), count=1, epsilon=1.0) == pytest.approx(np.sum((b - a)[0] ** 2), rel=1e-5)


@pytest.mark.parametrize(
    ("side", "crop", "compared"), [(8, False, 8), (8, True, 4), (512, False, 256), (1024, True, 256)]
)
def test_compared_pixels(side: int, crop: bool, compared: int):
    """The face if cropped, and at most 256 pixels, by averages over boxes. Pixels contain their row and column."""

    class Coordinates(Linear):
        def synthesis(self, ws: tf.Tensor, noise: str = "const") -> tf.Tensor:
            rows_columns = np.moveaxis(np.mgrid[:side, :side], 0, -1).astype(np.float32)
            return tf.repeat(rows_columns[None], tf.shape(ws)[0], axis=0)

    seen = []
    for corner, axis in ((0, 0), (0, 1), (-1, 0), (-1, 1)):

        def distance(a: tf.Tensor, b: tf.Tensor, corner: int = corner, axis: int = axis) -> tf.Tensor:
            assert a.shape[1:] == b.shape[1:] == [compared, compared, 2]
            return a[:, corner, corner, axis]

        seen.append(measure(Coordinates(), distance, count=1, batch=1, epsilon=1.0, crop=crop))
    top, left, bottom, right = (side * share for share in ((3 / 8, 2 / 8, 7 / 8, 6 / 8) if crop else (0, 0, 1, 1)))
    half_box = (bottom - top) / compared / 2
    edges = [top + half_box, left + half_box, bottom - half_box, right - half_box]
    assert seen == [edge - 0.5 for edge in edges]  # pixel 0 has its center half a pixel from the edge


def test_labels():
    """Both ends have the label of the path, which moves them alike; its size differs from path to path."""
    seen = []

    class Labelled(Linear):
        def mapping(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
            tf.py_function(lambda value: seen.append(value.numpy()), [label], [])
            return super().mapping(z, label)

    labels = uniform_classes(Z_DIM, seed=0)
    plain, labeled = measure(Linear(), epsilon=1.0), measure(Labelled(), epsilon=1.0, labels=labels)
    assert labeled == pytest.approx(plain, rel=1e-5)
    expected = np.stack([labels(i) for i in range(16)])
    np.testing.assert_array_equal(seen[0], np.concatenate([expected, expected]))


def test_value_depends_on_seed_and_not_on_batch():
    options = {"epsilon": 0.1, "space": "z", "sampling": "full", "count": 7}
    pixels = isometry() * np.array([1.0, 3.0, 0.1])
    first = measure(Linear(pixels), batch=7, **options)
    for batch in (3, 16):
        assert measure(Linear(pixels), batch=batch, **options) == pytest.approx(first, rel=1e-6)
    assert measure(Linear(pixels), batch=7, seed=1, **options) != pytest.approx(first, rel=1e-2)


def test_progress():
    seen: list[tuple[int, int]] = []
    measure(Linear(), count=5, batch=2, progress=lambda *done: seen.append(done))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_not_finite():
    def distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.constant([1.0, np.inf])

    with pytest.raises(FloatingPointError, match="distances of paths 0 to 1 are not finite"):
        measure(Linear(), distance, count=4, batch=2)


def test_half_precision_and_noise():
    """It computes in float32; both images of a pair have the same noise, which is not the stored one."""
    keras.utils.set_random_seed(0)
    width = {"channel_base": 64, "channel_max": 8, "z_dim": 4, "w_dim": 4}
    G = Generator.from_preset("stylegan2", resolution=8, **width)
    for weight in G.weights:
        if "noise_strength" in weight.path:
            weight.assign(1.0)
    options = {"count": 6, "batch": 3}
    value = measure(G, **options)
    assert measure(G, epsilon=1e-2, **options) == pytest.approx(value, rel=0.05)  # noise of 1 would be 1e8 of 1e-4
    mixed = type(G)(G.config, dtype="mixed_bfloat16")
    mixed.set_weights(G.get_weights())
    assert measure(mixed, **options) == value
    for weight in G.weights:
        if "noise_const" in weight.path:
            weight.assign(tf.zeros_like(weight))
    assert measure(G, **options) == value
