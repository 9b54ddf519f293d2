"""The look of all figures, and how one becomes a PNG file. Needs matplotlib: pip install sg3tf[plots]."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sg3tf.utils.extras import MissingExtraError, require
from sg3tf.utils.files import atomic_write

# Okabe and Ito's palette, which colour-blind people can tell apart, without its yellow.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", "-.", ":")  # once the colours are used up
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


class FigureError(ValueError):
    """There is nothing to draw with."""


def check_matplotlib() -> None:
    """Raises FigureError where matplotlib is missing."""
    try:
        require("matplotlib", extra="metrics", purpose="drawing a figure")
    except MissingExtraError as error:
        raise FigureError(str(error)) from error


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A matplotlib Figure of that many inches, to draw into; then it is written to `path`, whole or not at all."""
    check_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        drawing = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        yield drawing
        with atomic_write(path) as file:
            drawing.savefig(file, format="png", dpi=_DPI)


def line(number: int) -> dict[str, str]:
    """Colour and dashes of a figure's line `number`."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)]}


def legend_outside(drawing: Any, axes: Any) -> None:
    """Names of the lines of `axes`, to the right of everything."""
    drawing.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
