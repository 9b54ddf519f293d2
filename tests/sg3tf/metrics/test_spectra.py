"""Spectra of images for which they are known, and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sg3tf.metrics.spectra import (
    INTERPOLATION,
    Spectrum,
    SpectrumError,
    average_spectrum,
    decibels,
    generated_images,
    load_normalized,
    load_spectrum,
    radial_average,
    slices,
    window,
)
from tests.sg3tf.metrics.conftest import tiny

Array = NDArray[np.float64]

R = 32
SIZE = INTERPOLATION * R


def spectrum_of(*images: Array) -> Spectrum:
    """Spectrum of images [R, R]."""
    return average_spectrum([np.stack(images)[..., None]], {})


def wave(x: float, y: float, phase: float = 0.3) -> Array:
    """[R, R], with x and y cycles per pixel along the axes."""
    i = np.arange(R)
    return np.cos(2 * np.pi * (x * i + y * i[:, None]) + phase)


def test_white_noise_is_0_db_everywhere():
    """A bin's power is the mean of N chi-squared values of one degree of freedom or more: variance 2 / N at most.

    Six standard deviations leave 1e-9 of all noise outside, and there are 16 R^2 bins of which 4 R^2 are independent.
    """
    num = 1000
    noise = np.random.default_rng(0).standard_normal([num, R, R, 3])
    power = average_spectrum(np.split(noise, 10), {}).normalized(0.0, 1.0)
    np.testing.assert_allclose(power, 1, atol=6 * np.sqrt(2 / (3 * num)))
    assert power.mean() == pytest.approx(1, abs=6 * np.sqrt(2 / (3 * num * R**2) * 2))


@pytest.mark.parametrize("height", [R, 20])
def test_normalized_is_the_spectrum_of_normalized_images(height: int):
    images = np.random.default_rng(1).integers(0, 256, [5, height, R, 3]).astype(np.float64)
    mean, std = images.mean(), images.std()
    spectrum = average_spectrum([images[:2], images[2:]], {})
    assert spectrum.mean == pytest.approx(mean, rel=1e-12) and spectrum.std == pytest.approx(std, rel=1e-12)

    rows, columns = np.kaiser(height, 8.0), np.kaiser(R, 8.0)
    windowed = (images - mean) / std * np.outer(rows, columns)[..., None]
    direct = np.abs(np.fft.fft2(windowed, (SIZE, SIZE), axes=(1, 2))) ** 2 / np.sum(rows**2) / np.sum(columns**2)
    np.testing.assert_allclose(spectrum.normalized(mean, std), direct.mean((0, 3)), atol=1e-12 * direct.max())


def test_parseval():
    images = np.random.default_rng(2).standard_normal([3, R, R])
    power = spectrum_of(*images).normalized(0.0, 1.0)
    assert power.mean() == pytest.approx(np.sum((images * window(R)) ** 2) / 3 * 1.0, rel=1e-12)
    assert np.sum(window(R) ** 2) == pytest.approx(1, rel=1e-12)


def test_sinusoid():
    """Half its amplitude, times the window's sum, at its frequency: what the other half leaks there is below -57 dB."""
    x, y = 40, 12  # in steps of 1 / SIZE
    power = spectrum_of(wave(x / SIZE, y / SIZE)).normalized(0.0, 1.0)
    assert np.unravel_index(np.argmax(power), power.shape) in [(y, x), (-y % SIZE, -x % SIZE)]
    taps = np.kaiser(R, 8.0)
    expected = taps.sum() ** 4 / np.sum(taps**2) ** 2 / 4
    leak = 2 * 10 ** (-57 / 20)  # of amplitudes that add
    assert power[y, x] == pytest.approx(expected, rel=leak) == power[-y, -x]


@pytest.mark.parametrize(("x", "y"), [(0.7, 0.0), (0.0, 0.625), (0.75, 0.625), (-0.25, 0.25)])
def test_aliases_and_directions(x: float, y: float):
    power = spectrum_of(wave(x, y)).normalized(0.0, 1.0)
    row, column = np.unravel_index(np.argmax(power), power.shape)
    for sign in (1, -1):
        apart = np.array([sign * x - column / SIZE, sign * y - row / SIZE])
        if np.all(np.abs(apart - np.rint(apart)) <= 0.5 / SIZE):
            return
    pytest.fail(f"the peak is at {column / SIZE}, {row / SIZE}")


def test_a_quarter_turn_turns_the_spectrum():
    image = np.random.default_rng(3).standard_normal([R, R])
    power, turned = (spectrum_of(x).normalized(0.0, 1.0) for x in (image, np.rot90(image)))
    np.testing.assert_allclose(np.roll(turned[::-1], 1, axis=0), power.T, atol=1e-12 * power.max())


def test_pink_field_falls_by_20_db_per_decade():
    """Amplitudes 1 / f on a torus eight times as wide, from which the images are cut.

    The window averages power over a neighborhood of standard deviation s = 0.67 / R along either axis, which adds
    s^2 / 2 times its Laplacian: at k cycles per image width 2 * 0.67^2 / k^2 of it, 0.06 dB at the fit's lower end.
    There a ring of 512 images has some 3000 independent values, for 0.08 dB; nine such rings, of which log10 k has a
    deviation of 0.095, give the slope to 0.27. Allowed is three times as much.
    """
    rng = np.random.default_rng(4)
    wide = 8 * R
    frequency = np.hypot(np.fft.fftfreq(wide)[:, None], np.fft.fftfreq(wide))
    frequency[0, 0] = np.inf
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal([8, wide, wide])) / frequency).real
    images = fields.reshape(8, 8, R, 8, R).transpose(0, 1, 3, 2, 4).reshape(-1, R, R, 1)
    spectrum = average_spectrum([images], {})
    frequency, power = radial_average(spectrum.normalized(spectrum.mean, spectrum.std), R)
    fit = slice(8, R // 2 + 1)
    slope, _ = np.polyfit(np.log10(frequency[fit]), decibels(power[fit]), 1)
    assert slope == pytest.approx(-20, abs=0.8)


def test_slices_and_rings():
    """For a spectrum that is the squared frequency, slices are exact and rings up to half a ring's width."""
    step = np.fft.fftfreq(SIZE)
    power = step[:, None] ** 2 + step**2
    frequency, across, diagonal = slices(power)
    np.testing.assert_allclose(across, frequency**2)
    np.testing.assert_allclose(diagonal, 2 * frequency**2)
    assert frequency[-1] == 0.5
    frequency, means = radial_average(power, R)
    assert frequency[1] == 1 / R and np.sqrt(0.5) - 0.5 / R <= frequency[-1] <= np.sqrt(0.5) + 0.5 / R
    assert np.all(np.abs(np.sqrt(means) - frequency) <= 0.5 / R + 1e-12)
    fifth = [x**2 + y**2 for x in step for y in step if 4.5 < R * np.hypot(x, y) < 5.5]
    assert means[5] == pytest.approx(np.mean(fifth))


def test_files(tmp_path: Path):
    spectrum = average_spectrum([np.random.default_rng(5).standard_normal([2, R, R, 1])], {"seed": 3})
    spectrum.save(tmp_path / "a.npz")
    again = load_spectrum(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.power, spectrum.power)
    np.testing.assert_array_equal(again.mean_image, spectrum.mean_image)
    assert (again.mean_square, again.settings) == (spectrum.mean_square, {"seed": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_names_as_text(tmp_path: Path):
    path = str(tmp_path / "a.npz")
    average_spectrum([np.random.default_rng(5).standard_normal([2, R, R, 1])], {"seed": 3}).save(path)
    assert load_spectrum(path).settings == {"seed": 3}
    assert list(load_normalized([path])) == ["a"]


def test_all_are_normalized_by_the_first(tmp_path: Path):
    """Twice the contrast: 6 dB more. With its mean elsewhere, there is a difference at frequency 0 besides."""
    images = np.random.default_rng(6).standard_normal([2, R, R, 1])
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path, scale, offset in zip(paths, (1, 2), (1.0, 5.0), strict=True):
        average_spectrum([scale * images + offset], {}).save(path)
    a, b = load_normalized(paths).values()
    far = np.s_[SIZE // 4 : -SIZE // 4]
    np.testing.assert_allclose(decibels(b[far, far] / a[far, far]), decibels(4), atol=0.1)
    assert b[0, 0] > 10 * a[0, 0]


def test_files_that_are_refused(tmp_path: Path):
    average_spectrum([np.random.default_rng(7).standard_normal([1, R, R, 1])], {}).save(tmp_path / "good.npz")
    average_spectrum([np.random.default_rng(7).standard_normal([1, 16, 16, 1])], {}).save(tmp_path / "small.npz")
    average_spectrum([np.ones([1, R, R, 1])], {}).save(tmp_path / "flat.npz")
    (tmp_path / "text.npz").write_text("spectrum")
    np.savez(tmp_path / "other.npz", power=np.ones(3))
    np.savez(tmp_path / "pickle.npz", settings=np.array([{}], dtype=object))
    np.save(tmp_path / "array.npz.npy", np.ones(3))
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    for name in ("text", "other", "pickle", "array"):
        with pytest.raises(SpectrumError, match=rf"{name}\.npz: holds no spectrum .*; make it with"):
            load_spectrum(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError, match=r"missing\.npz: no such file; make it"):
        load_spectrum(tmp_path / "missing.npz")
    with pytest.raises(SpectrumError, match=r"small\.npz: resolution 16, .*good\.npz has 32; give"):
        load_normalized([tmp_path / "good.npz", tmp_path / "small.npz"])
    with pytest.raises(SpectrumError, match=r"flat\.npz: all pixels are equal"):
        load_normalized([tmp_path / "flat.npz"])
    with pytest.raises(SpectrumError, match="names are not distinct"):
        load_normalized([tmp_path / "good.npz"] * 2)


@pytest.mark.parametrize(("preset", "label_dim"), [("stylegan3-t", 0), ("stylegan2", 2)])
def test_images_of_networks(preset: str, label_dim: int):
    """They are the same for every batch size, except for rounding to 8 bits; each image occurs once."""
    G = tiny(preset, label_dim=label_dim)
    one, other = (np.concatenate(list(generated_images(G, 5, seed=1, batch=batch))) for batch in (2, 5))
    assert one.shape == (5, 16, 16, 3) and one.dtype == np.uint8
    assert np.abs(one.astype(int) - other).max() <= 1
    assert len(np.unique(one.reshape(5, -1), axis=0)) == 5


def test_nan_in_images_of_a_network():
    G = tiny("stylegan2")
    G.const.assign(G.const * np.nan)
    with pytest.raises(FloatingPointError, match="images of samples 0 to 1 are not finite"):
        list(generated_images(G, 2, seed=0, batch=2))
