"""Plot the differences of spectra from the first one, and print one JSON line per spectrum.

sg3tf spectra compare data.npz T.npz --out=compare.png
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags

from sg3tf.cli.spectra import figures
from sg3tf.metrics import plots, spectra
from sg3tf.utils import flags as shared
from sg3tf.utils.json_text import to_json


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    figures.define_png_out(options)


def main(options: Any, files: list[str]) -> None:
    """Plot the figure, and print the lines."""
    out = shared.check_out(options.out, ".png")
    powers = figures.load(files, at_least=2)
    resolution = len(next(iter(powers.values()))) // spectra.INTERPOLATION
    plots.plot_comparison(out, powers, resolution)
    reference, *others = zip(files, spectra.compare_spectra(powers, resolution).values(), strict=True)
    for file, (frequency, _, difference) in others:
        below_nyquist = difference[frequency <= 0.5]
        line = {
            "file": file,
            "reference": reference[0],
            "rms_db": float(np.sqrt(np.mean(below_nyquist**2))),
            "cycles_per_pixel": frequency.tolist(),
            "difference_db": difference.round(4).tolist(),
        }
        print(to_json(line))
