"""The folder of a run: OUTDIR/00003-stylegan3-t-NAME-batch32-gamma2."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from trainer.options import OptionError, Options

OPTIONS = "options.json"
CHECKPOINTS = "checkpoints"
KEPT_CHECKPOINTS = 2  # full training states; the .keras snapshots are all kept


def create(outdir: Path, options: Options) -> Path:
    """Makes the next numbered folder and writes options.json into it.

    Raises:
        OptionError: it cannot be made there.
    """
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r"(\d{5})-", path.name))]
        folder = outdir / f"{max(numbers, default=-1) + 1:05d}-{options.description}"
        folder.mkdir()
        (folder / OPTIONS).write_text(options.to_json())
    except OSError as error:
        raise OptionError(f"--outdir={outdir}: cannot make a run folder ({error})") from error
    return folder


def newest_of(outdir: Path, options: Options) -> Path | None:
    """The newest run in `outdir` of this description that has a checkpoint."""
    pattern = re.compile(rf"\d{{5}}-{re.escape(options.description)}")
    runs = [path for path in outdir.glob("*") if pattern.fullmatch(path.name) and checkpoints(path)]
    return max(runs, default=None, key=lambda path: path.name)


def checkpoints(run: Path) -> list[Path]:
    """Folders of training states, oldest first."""
    return sorted(path for path in (run / CHECKPOINTS).glob("*") if path.name.isdigit())


def new_checkpoint(run: Path, cur_nimg: int) -> Path:
    """Where the checkpoint at `cur_nimg` images goes."""
    return run / CHECKPOINTS / f"{cur_nimg:09d}"


def remove_old_checkpoints(run: Path) -> None:
    """Keeps the newest few: they are large, and only the newest is needed to resume."""
    for path in checkpoints(run)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(path)


def locate(path: Path) -> tuple[Path, Path]:
    """(run folder, checkpoint folder) for --resume=PATH, which may name either.

    Raises:
        OptionError: neither.
    """
    path = path.resolve()
    if (path / "progress.json").is_file():
        return path.parent.parent, path
    found = checkpoints(path)
    if not found:
        raise OptionError(f"--resume={path}: holds no checkpoint; give a run folder, a checkpoint folder or 'latest'")
    return path, found[-1]
