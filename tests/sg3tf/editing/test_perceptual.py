"""Distances against NumPy, and the files of their networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.editing import perceptual as module
from sg3tf.editing.perceptual import features, perceptual, pixels, pixels_and

R = 16
RNG = np.random.default_rng(0)
A, B = RNG.uniform(-1, 1, [2, 3, R, R, 3]).astype(np.float32)


@pytest.fixture(scope="module")
def discriminator() -> sg3tf.Discriminator:
    return sg3tf.Discriminator.from_preset("stylegan3-t", resolution=R, channel_base=128, channel_max=8)


def halved(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, 3).mean((2, 4))


def test_pixels():
    scales = [(A - B).astype(np.float64)]
    scales += [halved(scales[0])]
    scales += [halved(scales[1])]
    assert scales[-1].shape == (3, 4, 4, 3)
    expected = np.mean([np.mean(s**2, axis=(1, 2, 3)) for s in scales], axis=0)
    np.testing.assert_allclose(pixels(A, B), expected, rtol=1e-5)


def test_features(discriminator: sg3tf.Discriminator):
    def activations(x: np.ndarray) -> list[np.ndarray]:
        y, found = discriminator.fromrgb(tf.constant(x)), []
        for block in discriminator.blocks:
            y = block(y)
            found.append(np.asarray(y, np.float64))
        return [f / np.linalg.norm(f, axis=-1, keepdims=True) for f in found]

    # Of unit vectors, the squared difference is twice one minus their cosine.
    pairs = zip(activations(A), activations(B), strict=True)
    expected = np.mean([np.mean(2 - 2 * np.sum(p * q, -1), axis=(1, 2)) for p, q in pairs], axis=0)
    compare = features(discriminator)
    np.testing.assert_allclose(compare(A, B), expected, rtol=1e-4)
    np.testing.assert_array_equal(compare(A, A), 0)


def test_the_sum_with_a_discriminator(discriminator: sg3tf.Discriminator):
    compare = pixels_and(features(discriminator))
    np.testing.assert_allclose(compare(A, B), pixels(A, B) + features(discriminator)(A, B), rtol=1e-5)


class MeanDifference:
    """A stand-in for LPIPS, that tells which size it is given."""

    def distance(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return 1000.0 * a.shape[1] + tf.reduce_mean(a - b, [1, 2, 3])


def test_the_sum_with_lpips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.detectors, "load", load_fake)
    compare = pixels_and(perceptual("folder"))
    large = np.repeat(np.repeat(A[:1], 32, 1), 32, 2)  # of 512 x 512 pixels, which are compared as 256 x 256
    found = compare(large, 0 * large)
    np.testing.assert_allclose(found, pixels(large, 0 * large) + 256_000 + large.mean(), rtol=1e-6)
    np.testing.assert_allclose(compare(A, B), pixels(A, B) + 16_000 + (A - B).mean((1, 2, 3)), rtol=1e-6)


def load_fake(name: str, folder: str) -> MeanDifference:
    assert (name, folder) == ("lpips", "folder")
    return MeanDifference()


def test_missing_files(tmp_path: Path):
    with pytest.raises(ValueError, match="nothing is downloaded"):
        perceptual(str(tmp_path))
