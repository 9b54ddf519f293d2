"""The low-pass designs: closed forms, and the properties that antialiasing rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.models.ablation_layers import bilinear
from sg3tf.models.filters import low_pass
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis
from sg3tf.models.presets import ALIAS_FREE_PRESETS, generator_preset
from tests.conftest import Golden
from tests.helpers.numerics import Array
from tests.helpers.reference import filters as reference

RIPPLE_DB = 6.0  # Kaiser's formula is a fit for long filters; ours have 12 or 24 taps

designs = st.tuples(
    st.integers(2, 48),  # taps
    st.floats(0.05, 0.4),  # cutoff / rate
    st.floats(0.05, 0.5),  # half_width / rate
    st.sampled_from([16.0, 64.0, 2048.0]),
)


def scaled(design: tuple[int, float, float, float]) -> tuple[int, float, float, float]:
    taps, cutoff, half_width, rate = design
    return taps, cutoff * rate, half_width * rate, rate


@given(designs)
def test_separable_is_a_windowed_sinc(design: tuple[int, float, float, float]) -> None:
    np.testing.assert_allclose(low_pass(*scaled(design)), reference.low_pass(*scaled(design)), rtol=0, atol=1e-13)


@given(designs)
def test_radial_is_a_windowed_jinc(design: tuple[int, float, float, float]) -> None:
    ours, expected = (f(*scaled(design), radial=True) for f in (low_pass, reference.low_pass))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@given(designs, st.booleans())
def test_unit_gain_at_zero_frequency_and_symmetry(design: tuple[int, float, float, float], radial: bool) -> None:
    taps = low_pass(*scaled(design), radial=radial)
    assert taps is not None
    assert taps.shape == (design[0],) * (2 if radial else 1)
    assert taps.dtype == np.float64
    assert taps.sum() == pytest.approx(1, abs=1e-12)
    for symmetric in (np.flip(taps), np.flip(taps, 0), taps.T):
        np.testing.assert_allclose(taps, symmetric, rtol=0, atol=1e-14)


def test_one_tap_is_no_filter() -> None:
    assert low_pass(1, 2.0, 6.0, 32.0) is None
    assert low_pass(1, 2.0, 6.0, 32.0, radial=True) is None


def test_radial_taps_depend_on_the_radius_alone() -> None:
    half_width, rate = 8.0, 64.0
    taps = low_pass(12, 8.0, half_width, rate, radial=True)
    window = reference.kaiser(12, half_width, rate)
    jinc = taps / np.outer(window, window)
    # Positions are odd multiples of half a sample; 1 + 49 = 25 + 25, 1 + 121 = 121 + 1, 25 + 81 = 81 + 25.
    center = 5.5
    at = {(y, x): jinc[int(center + y / 2), int(center + x / 2)] for y in range(-11, 12, 2) for x in range(-11, 12, 2)}
    for (y, x), value in at.items():
        for (v, u), other in at.items():
            if y * y + x * x == v * v + u * u:
                assert value == pytest.approx(other, rel=1e-12)
    assert at[1, 7] == pytest.approx(at[5, 5], rel=1e-12)


def layers_with_filters() -> list[LayerPlan]:
    plans = [plan_synthesis(generator_preset(p, r)) for p in ALIAS_FREE_PRESETS for r in (16, 64, 256, 1024)]
    return [layer for plan in plans for layer in plan.layers if layer.up_taps > 1]


def stages(layer: LayerPlan) -> list[tuple[int, float, float]]:
    return [
        (layer.up_taps, layer.in_cutoff, layer.in_half_width),
        (layer.down_taps, layer.out_cutoff, layer.out_half_width),
    ]


def test_planned_filters_keep_the_band_and_block_beyond_the_transition() -> None:
    for layer in layers_with_filters():
        for num_taps, cutoff, half_width in stages(layer):
            rate = float(layer.temporary_rate)
            taps = low_pass(num_taps, cutoff, half_width, rate)
            kept = reference.response(taps, np.linspace(0, cutoff, 50), rate)
            assert kept.min() > 0.46 and kept.max() < 1.08, layer
            stopband = np.linspace(min(cutoff + half_width, rate / 2), rate / 2, 200)
            leak = np.abs(reference.response(taps, stopband, rate)).max()
            promised = reference.attenuation(num_taps, half_width, rate)
            assert -20 * np.log10(leak) > promised - RIPPLE_DB, layer


def test_half_amplitude_at_the_cutoff() -> None:
    taps = low_pass(96, 8.0, 4.0, 64.0)
    assert reference.response(taps, np.array([8.0]), 64.0) == pytest.approx(0.5, abs=0.001)


def test_a_planned_radial_filter_passes_alike_in_all_directions() -> None:
    layer = plan_synthesis(generator_preset("stylegan3-r", 256)).layers[4]
    num_taps, cutoff, half_width = stages(layer)[1]
    rate = float(layer.temporary_rate)
    assert layer.use_radial_filters
    position = np.arange(num_taps) - (num_taps - 1) / 2
    y, x = np.meshgrid(position, position, indexing="ij")

    def around(taps: Array, frequency: float) -> Array:
        phases = [2 * np.pi * frequency / rate * (x * np.cos(a) + y * np.sin(a)) for a in np.linspace(0, np.pi / 2, 19)]
        return np.array([np.sum(taps * np.cos(phase)) for phase in phases])

    radial = low_pass(num_taps, cutoff, half_width, rate, radial=True)
    separable = low_pass(num_taps, cutoff, half_width, rate)
    square = np.outer(separable, separable)  # the control
    assert 4 * np.ptp(around(radial, cutoff)) < np.ptp(around(square, cutoff))
    stop = cutoff + half_width
    assert 4 * np.abs(around(radial, stop)).max() < np.abs(around(square, stop)).max() < 0.05


def test_golden(golden: Golden) -> None:
    arrays, entries = golden("filters"), golden("layer_plan")
    compared = 0
    for key in sorted({name.split("/")[0] for name in arrays}):
        flags = entries[key]
        preset, resolution = key.rsplit("-", 1)
        config = generator_preset(
            preset, int(resolution), channel_base=flags["channel_base_flag"], channel_max=flags["channel_max_flag"]
        )
        for index, layer in enumerate(plan_synthesis(config).layers):
            for (num_taps, cutoff, half_width), name in zip(stages(layer), ("up", "down"), strict=True):
                expected = arrays.get(f"{key}/L{index}/{name}_filter")
                if expected is None:
                    continue
                radial = layer.use_radial_filters and name == "down"
                taps = low_pass(num_taps, cutoff, half_width, layer.temporary_rate, radial)
                np.testing.assert_allclose(taps, expected, rtol=0, atol=3e-8)  # half a float32 ulp of 0.5
                compared += 1
    assert compared == len(arrays) == 112


@pytest.mark.parametrize("factor", [2, 4])
def test_bilinear_interpolates_linearly(factor: int) -> None:
    signal = np.random.default_rng(0).normal(size=9)
    taps = bilinear(2 * factor)
    assert taps is not None and taps.sum() == pytest.approx(1)
    spread = np.zeros(9 * factor)
    spread[::factor] = signal
    upsampled = np.convolve(spread, factor * taps)  # the first sample's triangle begins here
    position = (np.arange(len(upsampled)) - (2 * factor - 1) / 2) / factor
    inside = (position > 0) & (position < 8)
    np.testing.assert_allclose(upsampled[inside], np.interp(position, np.arange(9), signal)[inside], atol=1e-14)
    assert bilinear(1) is None
