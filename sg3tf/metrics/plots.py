"""Figures of spectra and texture sticking, and captioned tables of images.

Figures need matplotlib: pip install 'sg3tf[metrics]'. Tables need only NumPy and Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from sg3tf.images import to_uint8
from sg3tf.metrics.spectra import compare_spectra, decibels, slices
from sg3tf.utils.extras import require
from sg3tf.utils.files import atomic_write

if TYPE_CHECKING:
    from sg3tf.metrics.texture_sticking import AverageImage

Array = NDArray[np.float64]

# Okabe and Ito's palette, which is safe for color-blind readers, without its yellow.
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", "-.", ":")  # cycled when the colors are used up
_STYLE = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
}
_DPI = 130
_FREQUENCY = "cycles per pixel"
_POWER = "power (dB; 0 dB: white noise)"

HEATMAP_SMOOTHING = 1.25  # standard deviation of a heat map's Gaussian smoothing, in frequency steps


# --- All figures ------------------------------------------------------------------------------------------------------


def check_matplotlib() -> None:
    """Raise MissingExtraError if matplotlib is missing."""
    require("matplotlib", extra="metrics", purpose="drawing figures")


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yield a matplotlib Figure of `width` x `height` inches, then write it to `path` atomically."""
    check_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        fig = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        yield fig
        with atomic_write(path) as file:
            fig.savefig(file, format="png", dpi=_DPI)


def line_style(number: int) -> dict[str, str]:
    """Color and dashes of the figure's line with index `number`."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": _DASHES[number // len(COLORS) % len(_DASHES)]}


def add_legend(fig: Any, axes: Any) -> None:
    """Add a legend for the lines of `axes`, to the right of the figure."""
    fig.legend(*axes.get_legend_handles_labels(), loc="outside right upper")


# --- Spectra ----------------------------------------------------------------------------------------------------------


def plot_heatmaps(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Plot power maps [4R, 4R] side by side, from `low` to `high` dB; None for the minimum or maximum of all maps."""
    maps = {
        name: scipy.fft.fftshift(decibels(scipy.ndimage.gaussian_filter(power, HEATMAP_SMOOTHING, mode="wrap")))
        for name, power in powers.items()
    }
    low = min(values.min() for values in maps.values()) if low is None else low
    high = max(values.max() for values in maps.values()) if high is None else high
    with figure(path, 0.9 + 2.7 * len(maps), 2.9) as fig:
        panels = fig.subplots(1, len(maps), squeeze=False, sharey=True)[0]
        for axes, (name, values) in zip(panels, maps.items(), strict=True):
            half_step = 0.5 / len(values)
            extent = (-0.5 - half_step, 0.5 - half_step) * 2
            image = axes.imshow(values, origin="lower", extent=extent, cmap="viridis", vmin=low, vmax=high)
            axes.set(title=name, xlabel=f"horizontal ({_FREQUENCY})", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
            axes.grid(False)
        panels[0].set_ylabel(f"vertical ({_FREQUENCY})")
        fig.colorbar(image, ax=panels, label=_POWER)


def plot_slices(path: Path, powers: dict[str, Array], low: float | None, high: float | None) -> None:
    """Plot power along the horizontal and the diagonal, one line per spectrum."""
    with figure(path, 8.5, 3.2) as fig:
        horizontal, diagonal = fig.subplots(1, 2, sharey=True)
        for number, (name, power) in enumerate(powers.items()):
            step, along_0, along_45 = slices(power)
            horizontal.plot(step, decibels(along_0), label=name, **line_style(number))
            diagonal.plot(step * np.sqrt(2), decibels(along_45), label=name, **line_style(number))
        horizontal.set(title="0°", xlabel=_FREQUENCY, ylabel=_POWER, xlim=(0, 0.5), ylim=(low, high))
        diagonal.set(title="45°", xlabel=_FREQUENCY, xlim=(0, np.sqrt(0.5)))
        add_legend(fig, horizontal)


def plot_comparison(path: Path, powers: dict[str, Array], resolution: int) -> None:
    """Plot radial averages and, below, their differences from the first one."""
    with figure(path, 7.5, 4.8) as fig:
        above, below = fig.subplots(2, sharex=True, height_ratios=[3, 2])
        for number, (name, (frequency, power, difference)) in enumerate(compare_spectra(powers, resolution).items()):
            above.plot(frequency, power, label=name, **line_style(number))
            below.plot(frequency, difference, **line_style(number))
        for axes in (above, below):
            axes.axvline(0.5, color="#999999", linewidth=0.8)
        above.annotate("corners", (0.5, 1), (4, -2), xycoords=above.get_xaxis_transform(), textcoords="offset points")
        above.texts[-1].set(va="top", color="#777777")
        above.set(ylabel=_POWER, xlim=(0, np.sqrt(0.5)))
        below.set(xlabel=f"frequency in any direction ({_FREQUENCY})", ylabel=f"over {next(iter(powers))} (dB)")
        add_legend(fig, above)


# --- Texture sticking -------------------------------------------------------------------------------------------------


def plot_fixed_shares(path: Path, panels: Mapping[str, Mapping[str, AverageImage | None]]) -> None:
    """Plot the share of power that stays in place over frequency, from {panel title: {network: average or None}}."""
    with figure(path, 8.5, 3.2) as fig:
        all_axes = fig.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, averages) in zip(all_axes, panels.items(), strict=True):
            for number, (name, average) in enumerate(averages.items()):
                if average is not None:
                    axes.plot(average.frequency, average.fixed_share, label=name, **line_style(number))
            axes.set(title=title, xlabel=f"frequency ({_FREQUENCY})", xlim=(0, 0.5), ylim=(-0.05, 1.05))
        all_axes[0].set_ylabel("share of power that stays in place")
        add_legend(fig, all_axes[0])


# --- Tables of images -------------------------------------------------------------------------------------------------

_GAP = 10
_FONT_SIZE = 13
_LINE_HEIGHT = 18


def enlarge_to_fit(image: ArrayLike, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image [H, W, C] as uint8 RGB, enlarged by pixel repetition to fit height x width; never reduced."""
    pixels = to_uint8(image)
    for axis, size in enumerate((height, width)):
        pixels = pixels.repeat(max(1, size // pixels.shape[axis]), axis=axis)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def image_table(columns: list[str], rows: Mapping[str, Sequence[NDArray[np.uint8] | str]]) -> NDArray[np.uint8]:
    """Lay out images in rows and columns with captions.

    Args:
        columns: captions above the columns.
        rows: caption on the left (may have several lines) -> for every column, an image, uint8 [H, W, 3], or a text in
            its place.

    Returns:
        uint8 [H, W, 3], on a white background.
    """
    font = ImageFont.load_default(_FONT_SIZE)

    def size(content: NDArray[np.uint8] | str) -> tuple[int, int]:
        """Height and width."""
        if isinstance(content, str):
            lines = content.split("\n")
            return len(lines) * _LINE_HEIGHT, _GAP + int(max(font.getlength(line) for line in lines))
        return content.shape[0], content.shape[1]

    heights = [max(size(content)[0] for content in (caption, *row)) for caption, row in rows.items()]
    widths = [
        max(size(content)[1] for content in (name, *column))
        for name, column in zip(columns, zip(*rows.values(), strict=True), strict=True)
    ]
    margin = max(size(caption)[1] for caption in rows)
    top = _GAP + (_LINE_HEIGHT if any(columns) else 0)
    lefts = [_GAP + margin + sum(widths[:i]) + i * _GAP for i in range(len(columns))]
    canvas = Image.new("RGB", (lefts[-1] + widths[-1] + _GAP, top + sum(heights) + len(heights) * _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for x, name in zip(lefts, columns, strict=True):
        draw.text((x, _GAP // 2), name, "black", font)
    for row, (caption, contents) in enumerate(rows.items()):
        y = top + sum(heights[:row]) + row * _GAP
        draw.multiline_text((_GAP, y), caption, "black", font)
        for x, content in zip(lefts, contents, strict=True):
            if isinstance(content, str):
                draw.multiline_text((x, y), content, "#777777", font)
            else:
                canvas.paste(Image.fromarray(content), (x, y))
    return np.asarray(canvas)
