"""Layout of a training run's folder, as far as it is needed to find and describe networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

OPTIONS = "options.json"
CHECKPOINTS = "checkpoints"

# Files in each folder of CHECKPOINTS:
CHECKPOINT_GENERATOR = "generator.keras"
PROGRESS = "progress.json"

_SNAPSHOT = re.compile(r"network-snapshot-(\d+(?:_\d{3})?)\.keras")


def run_of(file: Path) -> Path | None:
    """Return the run folder of a snapshot, or of a checkpoint's generator two levels below it; None without one."""
    return next((folder for folder in file.parents[:3] if (folder / OPTIONS).is_file()), None)


def progress_name(nimg: int) -> str:
    """Progress of a run as its file names give it: 000200 after 200 kimg, 000200_016 after 200,016 images.

    Examples:
        >>> [progress_name(nimg) for nimg in (0, 200_000, 200_016)]
        ['000000', '000200', '000200_016']
    """
    return f"{nimg // 1000:06d}" + (f"_{nimg % 1000:03d}" if nimg % 1000 else "")


def nimg_of_progress(text: str) -> int:
    """Number of images of a progress in file names, the inverse of `progress_name`.

    Examples:
        >>> [nimg_of_progress(text) for text in ("000000", "000200", "000200_016")]
        [0, 200000, 200016]
    """
    kimg, _, images = text.partition("_")
    return int(kimg) * 1000 + int(images or 0)


def snapshot_name(nimg: int) -> str:
    """File name of the snapshot after `nimg` images."""
    return f"network-snapshot-{progress_name(nimg)}.keras"


def snapshots(run: Path) -> dict[int, Path]:
    """Return the snapshots of a run, {images seen: file}, oldest first.

    Older versions rounded the number down to whole kimg, so a name without an underscore may be imprecise.
    """
    matches = [(match, file) for file in run.glob("*") if (match := _SNAPSHOT.fullmatch(file.name))]
    found = {nimg_of_progress(match[1]): file for match, file in matches}
    return dict(sorted(found.items()))


def trained_nimg(file: Path) -> int | None:
    """Number of images that a snapshot or checkpoint was trained on; None for other files."""
    if match := _SNAPSHOT.fullmatch(file.name):
        return nimg_of_progress(match[1])
    try:
        return int(json.loads(file.with_name(PROGRESS).read_text())["cur_nimg"])
    except (OSError, ValueError, TypeError, LookupError):
        return None
