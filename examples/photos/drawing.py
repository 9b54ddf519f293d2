"""The two pictures of photos.py: a chart of distance and losses, and fakes over time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from sg3tf.images import grid

_LINE = {"linestyle": "--", "linewidth": 1}


def draw_curve(path: Path, report: dict[str, Any]) -> None:
    """Distance over kimg with its floor, and below it the losses with those of a D that cannot tell.

    Args:
        path: PNG to write.
        report: what photos.json says.
    """
    snapshots = report["snapshots"]
    kimg = [snapshot["kimg"] for snapshot in snapshots]
    distances = [snapshot["distance"] for snapshot in snapshots]
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(8, 6), height_ratios=[3, 2], layout="constrained")
    above.semilogy([0, *kimg], [report["random_weights"], *distances], "o-", markersize=4, label="fakes")
    above.axhline(report["held_out"], color="tab:green", label="held-out reals", **_LINE)
    above.set_ylabel("Fréchet distance to reals")
    above.set_yticks([0.1, 0.3, 1, 3, 10, 30, 100])
    above.minorticks_off()
    above.yaxis.set_major_formatter("{x:g}")
    for name, color, level in (("D", "tab:red", 2 * math.log(2)), ("G", "tab:purple", math.log(2))):
        below.plot(kimg, [snapshot[f"Loss/{name}/loss"] for snapshot in snapshots], color=color, label=name)
        below.axhline(level, color=color, **_LINE)
    below.set(
        xlabel="thousands of images shown to D", ylabel="loss (dashed: D undecided)", xlim=(0, None), ylim=(0, None)
    )
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_rows(path: Path, rows: dict[str, NDArray[np.uint8]]) -> None:
    """One row of images, uint8 [N, R, R, 3], beside each name."""
    figure, places = plt.subplots(len(rows), squeeze=False, figsize=(8, 0.54 * len(rows)), layout="constrained")
    for axes, (name, row) in zip(places[:, 0], rows.items(), strict=True):
        axes.imshow(grid(row, len(row)), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=160, bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)
