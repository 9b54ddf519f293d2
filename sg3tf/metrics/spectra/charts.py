"""Figures of spectra: maps, slices, and differences by ring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from sg3tf.metrics.figures import figure, legend_outside, line
from sg3tf.metrics.spectra.spectrum import decibels, rings, slices

Array = NDArray[np.float64]

SMOOTHING = 1.25  # standard deviation of the Gaussian over a map, in steps of its frequencies
_FREQUENCY = "cycles per pixel"
_POWER = "power (dB; 0 dB: white noise)"


def heatmap(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Maps [4R, 4R] of all frequencies side by side, from `low` to `high` dB; None: all there is."""
    maps = {
        name: scipy.fft.fftshift(decibels(scipy.ndimage.gaussian_filter(power, SMOOTHING, mode="wrap")))
        for name, power in powers.items()
    }
    shown = [value for values in maps.values() for value in (values.min(), values.max())]
    limits = {"vmin": min(shown) if low is None else low, "vmax": max(shown) if high is None else high}
    with figure(path, 0.9 + 2.7 * len(maps), 2.9) as drawing:
        panels = drawing.subplots(1, len(maps), squeeze=False, sharey=True)[0]
        for axes, (name, values) in zip(panels, maps.items(), strict=True):
            half_step = 0.5 / len(values)
            extent = (-0.5 - half_step, 0.5 - half_step) * 2
            drawn = axes.imshow(values, origin="lower", extent=extent, cmap="viridis", **limits)
            axes.set(title=name, xlabel=f"horizontal ({_FREQUENCY})", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
            axes.grid(False)
        panels[0].set_ylabel(f"vertical ({_FREQUENCY})")
        drawing.colorbar(drawn, ax=panels, label=_POWER)


def draw_slices(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Power along the horizontal and the diagonal, one line for each spectrum."""
    with figure(path, 8.5, 3.2) as drawing:
        across, diagonal = drawing.subplots(1, 2, sharey=True)
        for number, (name, power) in enumerate(powers.items()):
            step, along_0, along_45 = slices(power)
            across.plot(step, decibels(along_0), label=name, **line(number))
            diagonal.plot(step * np.sqrt(2), decibels(along_45), label=name, **line(number))
        across.set(title="0°", xlabel=_FREQUENCY, ylabel=_POWER, xlim=(0, 0.5), ylim=(low, high))
        diagonal.set(title="45°", xlabel=_FREQUENCY, xlim=(0, np.sqrt(0.5)))
        legend_outside(drawing, across)


def draw_comparison(path: Path, powers: dict[str, Array], resolution: int) -> None:
    """Radial averages, and below them what sets the others apart from the first."""
    with figure(path, 7.5, 4.8) as drawing:
        above, below = drawing.subplots(2, sharex=True, height_ratios=[3, 2])
        for number, (name, (frequency, power, difference)) in enumerate(compare(powers, resolution).items()):
            above.plot(frequency, power, label=name, **line(number))
            below.plot(frequency, difference, **line(number))
        for axes in (above, below):
            axes.axvline(0.5, color="#999999", linewidth=0.8)
        above.annotate("corners", (0.5, 1), (4, -2), xycoords=above.get_xaxis_transform(), textcoords="offset points")
        above.texts[-1].set(va="top", color="#777777")
        above.set(ylabel=_POWER, xlim=(0, np.sqrt(0.5)))
        below.set(xlabel=f"frequency in any direction ({_FREQUENCY})", ylabel=f"over {next(iter(powers))} (dB)")
        legend_outside(drawing, above)


def compare(powers: dict[str, Array], resolution: int) -> dict[str, tuple[Array, Array, Array]]:
    """For each spectrum the frequencies of its rings, their power in dB, and that over the first spectrum's."""
    averages: dict[str, Any] = {name: rings(power, resolution) for name, power in powers.items()}
    reference = decibels(next(iter(averages.values()))[1])
    return {
        name: (frequency, decibels(power), decibels(power) - reference) for name, (frequency, power) in averages.items()
    }
