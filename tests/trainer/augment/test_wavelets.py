"""Wavelets against their definitions and the golden numbers."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest

from trainer.augment.filtering import octave_bands
from trainer.augment.geometry import SYM6


def response(taps, frequency):
    """Response of a filter about its middle tap, at radians per sample."""
    offset = np.arange(len(taps)) - len(taps) // 2
    return np.real(np.sum(taps * np.exp(-1j * frequency * offset)))


def test_sym6_is_orthogonal_to_its_even_shifts():
    taps = np.array(SYM6)
    assert taps.sum() == pytest.approx(1, abs=1e-15)
    products = [taps[shift:] @ taps[: 12 - shift] for shift in range(0, 12, 2)]
    np.testing.assert_allclose(products, [0.5, 0, 0, 0, 0, 0], atol=1e-15)


def test_sym6_is_the_most_symmetric_of_the_daubechies_factors():
    """All factorizations of the half-band polynomial of order 6, from its roots."""
    factors = []
    pairs = []
    for root in np.roots([comb(5 + k, k) for k in range(6)][::-1]):
        if root.imag >= -1e-9:
            inside, outside = sorted(np.roots([1, 4 * root - 2, 1]), key=abs)
            conjugate = abs(root.imag) > 1e-9
            pairs.append([[z, np.conj(z)] if conjugate else [z] for z in (inside, outside)])
    for choice in itertools.product(*pairs):
        taps = np.real(np.poly([*(z for zs in choice for z in zs), *6 * [-1]]))
        factors.append(taps / taps.sum())
    assert len(factors) == 8
    nearest = min(factors, key=lambda taps: min(np.linalg.norm(taps - SYM6), np.linalg.norm(taps[::-1] - SYM6)))
    np.testing.assert_allclose(min(nearest, nearest[::-1], key=lambda t: np.linalg.norm(t - SYM6)), SYM6, atol=1e-11)

    def crookedness(taps):
        phase = np.unwrap(np.angle(np.fft.rfft(taps, 256)))[:100]
        line = np.polyval(np.polyfit(np.arange(100), phase, 1), np.arange(100))
        return np.linalg.norm(phase - line)

    assert crookedness(SYM6) <= min(crookedness(taps) for taps in factors) + 1e-9


def test_bands_add_up_to_the_image():
    bands = octave_bands()
    assert bands.shape == (4, 43)
    np.testing.assert_allclose(bands.sum(axis=0), np.arange(43) == 21, atol=1e-15)
    np.testing.assert_allclose(bands, bands[:, ::-1], atol=1e-15)


@pytest.mark.parametrize("band, frequency", [(0, 0.0), (3, np.pi)])
def test_outermost_bands_keep_their_ends(band, frequency):
    np.testing.assert_allclose([response(taps, frequency) for taps in octave_bands()], np.arange(4) == band, atol=1e-14)


@pytest.mark.parametrize("band", [1, 2, 3])
def test_bands_meet_at_octaves(band):
    """At the edge of a band, the bands below and above it have about half of the response each."""
    edge = np.pi / 8 * 2 ** (band - 1)
    below = sum(response(taps, edge) for taps in octave_bands()[:band])
    assert below == pytest.approx(0.5, abs=0.04)


def test_golden(golden):
    arrays = golden("augment")
    np.testing.assert_allclose(SYM6, arrays["Hz_geom"], atol=3e-8)
    np.testing.assert_allclose(octave_bands(), arrays["Hz_fbank"], atol=1e-7)
