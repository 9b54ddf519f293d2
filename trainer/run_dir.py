"""The folder of a run: OUTDIR/00003-stylegan3-t-NAME-batch32-gamma2."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sg3tf.utils.files import verify_checksums
from trainer.config import Options
from trainer.errors import OptionError
from trainer.state import PROGRESS

OPTIONS = "options.json"
CHECKPOINTS = "checkpoints"


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
        options.write(folder / OPTIONS)
    except OSError as error:
        raise OptionError(f"--outdir={outdir}: cannot make a run folder ({error})") from error
    return folder


def latest_matching_run(outdir: Path, options: Options) -> Path | None:
    """The newest run in `outdir` of this description that has a checkpoint."""
    pattern = re.compile(rf"\d{{5}}-{re.escape(options.description)}")
    runs = [path for path in outdir.glob("*") if pattern.fullmatch(path.name) and checkpoints(path)]
    return max(runs, default=None, key=lambda path: path.name)


def checkpoints(run: Path) -> list[Path]:
    """Folders of training states, oldest first."""
    return sorted(path for path in (run / CHECKPOINTS).glob("*") if path.name.isdigit())


def last_checkpoint(run: Path) -> str:
    """How messages name where a run can go on."""
    found = checkpoints(run)
    return str(found[-1]) if found else "the beginning, as there is no checkpoint yet"


def new_checkpoint(run: Path, cur_nimg: int) -> Path:
    """Where the checkpoint at `cur_nimg` images goes."""
    return run / CHECKPOINTS / f"{cur_nimg:09d}"


def remove_old_checkpoints(run: Path, keep: int) -> None:
    """Keeps the newest few, which are large, and removes what killed processes left half-written."""
    for path in checkpoints(run)[:-keep]:
        shutil.rmtree(path)
    for path in (run / CHECKPOINTS).glob(".*.partial-*"):
        shutil.rmtree(path, ignore_errors=True)


def resolve_resume_path(path: Path, flag: str = "resume") -> tuple[Path, Path]:
    """(run folder, checkpoint folder) for --resume=PATH, which may name either.

    Of a run it is the newest checkpoint that is whole; those that are not are named on the way.

    Raises:
        OptionError: neither, or no checkpoint is whole.
    """
    path = path.resolve()
    if (path / PROGRESS).is_file():
        return path.parent.parent, path
    found = checkpoints(path)
    if not found:
        raise OptionError(f"--{flag}={path}: holds no checkpoint; give a run folder, a checkpoint folder or 'latest'")
    problems = []
    for checkpoint in reversed(found):
        problem = verify_checksums(checkpoint)
        if problem is None:
            return path, checkpoint
        problems.append(problem)
        print(f"{checkpoint}: not used, because {problem}")
    raise OptionError(f"--{flag}={path}: none of its {len(found)} checkpoints is whole; of the newest, {problems[0]}")
