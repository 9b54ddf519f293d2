"""Write docs/training_options.md from the fields of trainer.config.Options: python tools/options_page.py."""

from __future__ import annotations

from pathlib import Path

from trainer.config import DEFAULTS, FIELDS
from trainer.option_flags import default_text

PAGE = Path(__file__).parents[1] / "docs" / "training_options.md"
#: {first field of a group: its heading}, in the order of the fields.
GROUPS = {
    "cfg": "Networks",
    "data": "Data",
    "batch": "Optimization",
    "aug": "Augmentation",
    "strategy": "Devices and hosts",
    "tick": "Reports and snapshots",
}
INTRODUCTION = """\
<!-- Written by tools/options_page.py from the fields of trainer.config.Options. -->
# Training options

[Training](training.md) explains how they work together. `options.json` in a run folder records all of them. Options
marked "may change" can have another value [on resume](training.md#changing-options). Four flags are not options:
`--outdir=runs` is where run folders are created, `--resume` [continues a run](training.md#stopping-and-resuming),
`--dry_run` prints what would be trained, and `--fp32` is short for `--precision=fp32`.
"""


def options_page() -> str:
    """Return the page, with a table for each group of options."""
    lines = INTRODUCTION.splitlines()
    for name in DEFAULTS:
        field = FIELDS[name]
        if name in GROUPS:
            lines += ["", f"## {GROUPS[name]}", "", "| flag | default | on resume | |", "|---|---|---|---|"]
        text = field.metadata["help"]
        if field.metadata["choices"]:
            text += f" One of {', '.join(f'`{choice}`' for choice in field.metadata['choices'])}."
        may_change = "may change" if field.metadata["resumable"] else ""
        row = f"| `--{name}` | {default_text(field)} | {may_change} | {text} |"
        lines.append(row)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(options_page())
