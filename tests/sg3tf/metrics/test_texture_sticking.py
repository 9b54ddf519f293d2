"""Averages of known images, views of known and of real generators, and tables of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import GeneratorConfig, latents
from sg3tf.metrics.plots import enlarge_to_fit, image_table
from sg3tf.metrics.texture_sticking import Views, average_images
from tests.helpers.analytic_images import AMPLITUDE, WAVES, Waves
from tests.sg3tf.metrics.conftest import tiny

R = 32


def test_share_of_a_fixed_pattern():
    """Noise of variance 1 that is the same in all images and noise of variance 3 that is new in each: a quarter stays.

    A ring has K frequencies of which half are independent, over which the fixed pattern's power varies by its mean
    over sqrt(K / 2); taken together, 5 deviations of a share whose derivative by that power is 3/16.
    """
    rng = np.random.default_rng(0)
    num, channels = 200, 8
    images = rng.standard_normal([R, R, channels]) + np.sqrt(3) * rng.standard_normal([num, R, R, channels])
    result = average_images(np.split(images, 4))
    np.testing.assert_allclose(result.image, images.mean(0))
    inside = slice(4, R // 2 + 1)
    members = 2 * np.pi * np.arange(R)[inside] * channels
    window = 2.0**2  # bins over which it spreads power, by which fewer are independent
    tolerance = 5 * 3 / 16 * np.sqrt(2 * window / members) + 5 / np.sqrt(num * members / 2 / window)
    assert np.all(np.abs(result.fixed_share[inside] - 0.25) < tolerance)
    assert result.fixed_share[inside].mean() == pytest.approx(0.25, abs=0.02)


def test_share_of_equal_and_of_independent_images():
    rng = np.random.default_rng(1)
    image = rng.standard_normal([R, R, 3])
    np.testing.assert_allclose(average_images([np.stack([image] * 3)]).fixed_share, 1, rtol=1e-9)
    two = average_images([rng.standard_normal([2, R, R, 3])]).fixed_share
    assert abs(np.mean(two[4:])) < 0.1  # and not the 1/2 that an average of two keeps


class Moving(Waves):
    """Waves with the other arguments of a generator."""

    def mapping(self, z: tf.Tensor, label: None = None, truncation_psi: float = 1.0) -> tf.Tensor:
        return super().mapping(z)

    def synthesis(self, ws: tf.Tensor, transform: tf.Tensor | None = None) -> tf.Tensor:
        return super().synthesis(ws, tf.eye(3)[None] if transform is None else transform)


def views_of_waves(**faults: Any) -> Views:
    return Views(Moving(GeneratorConfig(R, z_dim=2), **faults), seed=3, psi=1.0, batch=64)


def test_translations_of_a_wave():
    """Averaged over a range of shifts, a wave is left with its amplitude times a sinc; moved back, it is as before."""
    views = views_of_waves()
    image = views.image()
    moving, back, mask = (np.concatenate(parts) for parts in zip(*views.translations(1024), strict=True))
    assert moving.shape == (1024, R, R, 3) and mask.shape == (1024, R, R, 1)
    # Lanczos filters of three lobes displace a ramp by up to 0.02 pixels along either axis.
    assert np.abs(mask * (back - image)).max() < np.sqrt(2) * 0.02 * 2 * np.pi * WAVES / R * AMPLITUDE
    assert mask[:, 8:-8, 8:-8].all() and not mask[:, 0].all()
    direction = views.center[0, :2].astype(np.float64)
    expected = np.prod(np.sinc(WAVES * direction / 4)) * image
    # Waves that are averaged over 1024 draws: five deviations of at most that of a wave.
    np.testing.assert_allclose(moving.mean(0), expected, atol=5 * AMPLITUDE / np.sqrt(2 * 1024))


@pytest.mark.parametrize(("preset", "label_dim"), [("stylegan3-r", 0), ("stylegan3-b", 0), ("stylegan2", 2)])
def test_views_of_real_generators(preset: str, label_dim: int):
    G = tiny(preset, label_dim=label_dim)
    views = Views(G, seed=2, psi=0.5, batch=2)
    assert G.supports_transform == (preset != "stylegan2")
    if G.supports_transform:
        assert [len(images) for images, _, _ in views.translations(3)] == [2, 1]
    still = np.concatenate(list(views.neighbors(3, radius=0.0)))
    np.testing.assert_allclose(still, np.stack([views.image()] * 3), atol=1e-6)
    moved = np.concatenate(list(views.neighbors(3, radius=0.5)))
    assert len(np.unique(moved.reshape(3, -1), axis=0)) == 3
    frames = np.concatenate(list(views.interpolation(5)))
    np.testing.assert_allclose(frames[0], views.image(), atol=1e-5)
    following = Views(G, seed=3, psi=0.5, batch=2) if not label_dim else None  # another class otherwise
    if following:
        np.testing.assert_allclose(frames[-1], following.image(), atol=1e-5)
        z = latents.z_from_seeds([2], 4)
        np.testing.assert_allclose(views.image(), G(z, truncation_psi=0.5)[0], atol=1e-5)


def test_neighbors_differ_by_the_radius():
    """In w, by `radius` deviations of w; 800 numbers give one deviation to 2.5 %, 256 latents the other to 5 %."""
    G = tiny("stylegan3-t")
    views = Views(G, seed=0, psi=0.0, batch=8)
    given: list[Any] = []

    def synthesis(ws: tf.Tensor, transform: None) -> tf.Tensor:
        given.append(ws.numpy())
        return tf.zeros([len(ws), 16, 16, 3])

    views._synthesis = synthesis
    list(views.neighbors(200, radius=0.5))
    ws = np.concatenate(given)
    w = G.mapping(np.random.default_rng(0).standard_normal([4096, 4])).numpy()[:, 0]
    assert np.sqrt(np.mean((ws - views.center) ** 2)) == pytest.approx(0.5 * np.sqrt(w.var(0).mean()), rel=0.2)
    assert np.ptp(ws, axis=1).max() == 0  # one w for all layers


def test_nan_is_refused():
    with pytest.raises(FloatingPointError, match="not finite"):
        views_of_waves(nan=True).image()


def test_image_table():
    red = np.full([4, 6, 3], [255, 0, 0], np.uint8)
    picture = image_table(["first", "second"], {"row": [red, "left out"], "two\nlines": [red, red]})
    assert np.sum(np.all(picture == [255, 0, 0], axis=-1)) == 3 * 24
    assert tuple(picture[-1, -1]) == (255, 255, 255)
    gray = np.full([2, 3, 1], 7, np.uint8)
    assert enlarge_to_fit(gray, 5, 12).shape == (4, 12, 3) and enlarge_to_fit(gray, 1, 1).shape == (2, 3, 3)
