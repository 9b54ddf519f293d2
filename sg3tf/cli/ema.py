"""Make the network whose weights are an average of any length over a run that was trained with --posthoc_ema.

sg3tf ema --network=runs/00000-... --sigma_rel=0.08 --out=ema.keras
sg3tf ema --network=runs/00000-... --sigma_rel=0.15 --kimg=400 --out=ema.keras
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

from sg3tf.models import power_ema
from sg3tf.models.power_ema import Average
from sg3tf.utils import command_line
from sg3tf.utils import flags as shared
from sg3tf.utils.files import atomic_path


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    flags.DEFINE_string("network", None, "Run folder.", required=True, flag_values=options)
    flags.DEFINE_float(
        "sigma_rel",
        None,
        "Width of the average: the standard deviation of its weighting of time, as a share of the time trained.",
        required=True,
        flag_values=options,
    )
    flags.DEFINE_float(
        "kimg",
        None,
        "Thousands of images after which the average is taken; default: at the newest snapshot.",
        flag_values=options,
    )
    shared.define_out(options, ".keras file to write.")


def main(options: Any) -> None:
    """Write the network, and print how well its weighting of time is met."""
    from sg3tf.models.loading import load, snapshot_name, snapshots  # here, so that --help needs no TensorFlow

    run = Path(options.network)
    stored = power_ema.stored_averages(run)
    newest = max(average.nimg for average in stored)
    nimg = newest if options.kimg is None else round(1000 * options.kimg)
    oldest = min(average.nimg for average in stored)
    if not oldest <= nimg <= newest:
        raise ValueError(
            f"--kimg={options.kimg:g}: must be from {oldest / 1000:g} to {newest / 1000:g}, the first and last snapshot"
        )
    averages = [average for average in stored if average.nimg <= nimg]
    weights, error = power_ema.combination(averages, Average(options.sigma_rel, nimg))
    # For its configuration and running statistics, which are not averaged.
    last = max(average.nimg for average in averages)
    files = snapshots(run)
    G = load(files.get(last) or files.get(last // 1000 * 1000) or run / snapshot_name(last))
    power_ema.assign_combination(G, {stored[a]: float(w) for a, w in zip(averages, weights, strict=True)})
    with atomic_path(Path(options.out)) as path:
        G.save(path)
    print(
        f"{options.out}: sigma_rel {options.sigma_rel:g} at {nimg / 1000:g} kimg from {len(averages)} averages, "
        f"relative error of the weighting {error:.2g}"
    )


if __name__ == "__main__":
    sys.exit(command_line.run("sg3tf ema", main, define_flags, __doc__ or ""))
