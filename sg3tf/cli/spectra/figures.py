"""Flags and input of the commands that plot spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from sg3tf.metrics import plots, spectra
from sg3tf.utils import flags as shared


def define_png_out(options: flags.FlagValues) -> None:
    """Define --out."""
    shared.define_out(options, ".png file to write.")


def define_power_limits(options: flags.FlagValues) -> None:
    """Define --low and --high."""
    flags.DEFINE_float("low", None, "Lowest power to show, in dB; default: the spectra's minimum.", flag_values=options)
    flags.DEFINE_float(
        "high", None, "Highest power to show, in dB; default: the spectra's maximum.", flag_values=options
    )


def power_limits(options: Any) -> tuple[float | None, float | None]:
    """Return --low and --high, in dB.

    Raises:
        ValueError: --low is not less than --high.
    """
    low, high = options.low, options.high
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low={low}: give less than high={high}")
    return low, high


def load(files: list[str], at_least: int = 1) -> dict[str, spectra.Array]:
    """Load spectra written by `sg3tf spectra calc`; see `spectra.load_normalized`.

    Raises:
        ValueError: there are fewer files than `at_least`.
    """
    plots.check_matplotlib()
    if len(files) < at_least:
        raise ValueError(f"{len(files)} files: give at least {at_least}, from sg3tf spectra calc")
    return spectra.load_normalized([Path(file) for file in files])
