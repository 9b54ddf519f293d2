"""Plot a metric over the course of training runs, and print a table.

Runs that differ only in the seed become one curve, with a band from the lowest to the highest value.

sg3tf compare-runs runs/0000* --out=curves.png
sg3tf compare-runs runs/0000* --metric=kid_scattering --out=curves.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from sg3tf.metrics import plots
from sg3tf.metrics.run_curves import Group, group_runs, read_runs
from sg3tf.utils import flags as shared


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    shared.define_out(options, ".png file to write.")
    flags.DEFINE_string(
        "metric",
        "swd",
        "Value to compare: one of the training run's --metrics, such as swd or pr50k3_full_recall, or one from "
        "stats.jsonl, such as Loss/D/loss or Progress/augment.",
        flag_values=options,
    )


def main(options: Any, folders: list[str]) -> None:
    """Plot the figure, and print a table."""
    plots.check_matplotlib()
    out = shared.check_out(options.out, ".png")
    if not folders:
        raise ValueError("no runs: give one or more run folders")
    groups = group_runs(read_runs([Path(folder) for folder in folders], options.metric))
    plots.plot_runs(out, groups, options.metric)
    print(_table(groups))
    print(out)


def _table(groups: list[Group]) -> str:
    """Return a table with one row per group: values at the last number of images its runs share, and mean extremes."""
    head = ["runs", "kimg", "hours", "mean", "lowest", "highest", "least mean", "at kimg", "greatest", "at kimg", "of"]
    rows = [head]
    for group in groups:
        end = [group.kimg[-1], group.hours[-1], group.mean[-1], group.low[-1], group.high[-1]]
        places = [np.argmin(np.nan_to_num(sign * group.mean, nan=np.inf)) for sign in (1, -1)]
        extremes = [value for i in places for value in (group.mean[i], group.kimg[i])]
        rows.append([str(len(group.runs)), *(f"{value:.4g}" for value in [*end, *extremes]), group.label])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    return "\n".join("  ".join([*map(str.rjust, row, widths), row[-1]]) for row in rows)
