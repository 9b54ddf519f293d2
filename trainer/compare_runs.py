"""Plot a metric over the course of training runs, and print a table.

Runs that differ only in the seed become one curve, with a band from the lowest to the highest value.

sg3tf compare-runs runs/0000* --out=curves.png
sg3tf compare-runs runs/0000* --metric=kid_scattering --out=curves.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from sg3tf.metrics import plots
from sg3tf.utils import command_line
from sg3tf.utils import flags as shared
from trainer.run_curves import Group, group_runs, read_runs

MANY_POINTS = 20  # with at least as many, points are not marked
LOGARITHMIC_RATIO = 10  # of the largest to the smallest value; the axis is logarithmic from this ratio on


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


def main(argv: Sequence[str] | None = None, name: str = "trainer.compare_runs") -> int:
    """Run the program `name` with the arguments `argv`, by default those of the process; return the exit status."""
    return command_line.run(name, _main, define_flags, str(__doc__), argv, positional="RUN...")


def _main(options: Any, folders: list[str]) -> None:
    """Plot the figure, and print a table."""
    plots.check_matplotlib()
    out = shared.check_out(options.out, ".png")
    if not folders:
        raise ValueError("no runs: give one or more run folders")
    groups = group_runs(read_runs([Path(folder) for folder in folders], options.metric))
    _plot(out, groups, options.metric)
    print(_table(groups))
    print(out)


def _plot(path: Path, groups: Sequence[Group], name: str) -> None:
    """Plot values over images and over time, with a band from the lowest to the highest of a group's runs."""
    bounds = np.concatenate([values for group in groups for values in (group.low, group.high)])
    low, high = np.nanmin(bounds, initial=np.inf), np.nanmax(bounds, initial=-np.inf)  # ticks may have NaN
    with plots.figure(path, 9.5, 3.6) as fig:
        over_kimg, over_hours = fig.subplots(1, 2, sharey=True)
        for number, group in enumerate(groups):
            style, seeds = plots.line_style(number), len(group.runs)
            label = group.label if seeds == 1 else f"{group.label} ({seeds} runs)"
            for axes, x in ((over_kimg, group.kimg), (over_hours, group.hours)):
                axes.plot(x, group.mean, label=label, marker="." if len(x) < MANY_POINTS else None, **style)
                if seeds > 1:
                    axes.fill_between(x, group.low, group.high, color=style["color"], alpha=0.15, linewidth=0)
        over_kimg.set(xlabel="thousands of images (kimg)", ylabel=name)
        over_hours.set(xlabel="hours")
        if low > 0 and high / low > LOGARITHMIC_RATIO:
            over_kimg.set_yscale("log")
        fig.legend(*over_kimg.get_legend_handles_labels(), loc="outside upper center", ncols=2)


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


if __name__ == "__main__":
    sys.exit(main())
