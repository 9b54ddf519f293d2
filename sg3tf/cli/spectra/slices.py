"""Plot slices through spectra written by calc.

sg3tf spectra slices data.npz T.npz --out=slices.png
"""

from __future__ import annotations

from typing import Any

from absl import flags

from sg3tf.cli.spectra import figures
from sg3tf.metrics import plots
from sg3tf.utils import flags as shared


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    figures.define_png_out(options)
    figures.define_power_limits(options)


def main(options: Any, files: list[str]) -> None:
    """Plot the figure, and print its file name."""
    out = shared.check_out(options.out, ".png")
    plots.plot_slices(out, figures.load(files), *figures.power_limits(options))
    print(out)
