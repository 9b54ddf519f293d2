"""Stacked glyphs: every mode is recognized, and coverage counts them."""

from __future__ import annotations

import numpy as np

from benchmarks import stacked_glyphs


def test_modes_are_recognized_at_every_shift_and_with_noise() -> None:
    modes = np.arange(stacked_glyphs.NUM_MODES)
    rng = np.random.default_rng(0)
    images = stacked_glyphs.stack(modes, rng)
    np.testing.assert_array_equal(stacked_glyphs.find_modes(images), modes)
    blurred = images / 127.5 - 1 + 0.3 * rng.normal(size=images.shape)
    assert (stacked_glyphs.find_modes(blurred) == modes).mean() > 0.99


def test_coverage() -> None:
    assert stacked_glyphs.coverage(np.arange(1000)) == {"modes": 1000, "kl": 0.0}
    # Half of the modes: every frequency is twice what it should be.
    assert stacked_glyphs.coverage(np.arange(500)) == {"modes": 500, "kl": round(float(np.log(2)), 4)}
