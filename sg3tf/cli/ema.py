"""Build a network whose weights are an average of any width over a run trained with --posthoc_ema.

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
from sg3tf.utils import flags as shared
from sg3tf.utils.files import require_writable

_LARGE_ERROR = 0.3  # of the weighting, relative


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    flags.DEFINE_string("network", None, "Run folder.", required=True, flag_values=options)
    flags.DEFINE_float(
        "sigma_rel",
        None,
        "Width of the average: the standard deviation of its weighting over time, relative to the training time.",
        required=True,
        flag_values=options,
    )
    flags.DEFINE_float(
        "kimg",
        None,
        "Thousands of images after which the average is taken, at a snapshot; default: the newest snapshot.",
        flag_values=options,
    )
    shared.define_out(options, ".keras file to write.")


def main(options: Any) -> None:
    """Write the network, and print the approximation error of its weighting."""
    # Imported here, so that --help does not load TensorFlow.
    from sg3tf.models.loading import class_names, label_scale, load, save_with_labels
    from sg3tf.models.run_folder import snapshot_name, snapshots

    out = shared.check_out(options.out, ".keras")
    require_writable(out.parent)
    run = Path(options.network)
    stored = power_ema.stored_averages(run)
    nimg = _snapshot_at(options.kimg, sorted({average.nimg for average in stored}))
    averages = [average for average in stored if average.nimg <= nimg]
    weights, error = power_ema.combination(averages, Average(options.sigma_rel, nimg))
    # Loaded for its configuration and running statistics, which are not averaged.
    files = snapshots(run)
    G = load(files.get(nimg) or files.get(nimg // 1000 * 1000) or run / snapshot_name(nimg))
    power_ema.assign_combination(G, {stored[a]: float(w) for a, w in zip(averages, weights, strict=True)})
    save_with_labels(G, out, class_names(run), label_scale(run))
    if error > _LARGE_ERROR:
        print("warning: too few snapshots for an average of this width; its weighting is another one", file=sys.stderr)
    print(
        f"{options.out}: sigma_rel {options.sigma_rel:g} at {nimg / 1000} kimg from {len(averages)} averages, "
        f"relative error of the weighting {error:.2g}"
    )


def _snapshot_at(kimg: float | None, snapshots: list[int]) -> int:
    """Return the images of the snapshot within 1 % of `kimg`, which is rarely hit exactly; for None, the newest."""
    if kimg is None:
        return snapshots[-1]
    nearest = min(snapshots, key=lambda nimg: abs(nimg - 1000 * kimg))
    if abs(nearest - 1000 * kimg) > nearest / 100:
        raise ValueError(f"--kimg={kimg}: no snapshot has averages there; the nearest has them at {nearest / 1000}")
    return nearest
