"""Run folders such as OUTDIR/00003-stylegan3-t-NAME-batch32-gamma2.048: names, options.json, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from sg3tf.data.shards import label_scale
from sg3tf.models import power_ema
from sg3tf.models.loading import CLASSES, LABEL_SCALE
from sg3tf.models.run_folder import CHECKPOINTS, OPTIONS, PROGRESS, nimg_of_progress, snapshots
from sg3tf.utils.checksums import verify_checksums
from sg3tf.utils.file_lock import locked_file
from sg3tf.utils.files import MAX_NAME_BYTES, atomic_write, recover_replaced, reject_remote
from sg3tf.utils.json_text import from_json
from sg3tf.utils.output import ignoring_lost_output
from trainer.config import Change, Options, as_flag, read_options
from trainer.errors import OptionError

LOG = "log.txt"
STATS = "stats.jsonl"
DISCARDED = "discarded"
LOCK = ".lock"  # there while a process trains the run, and after a kill

_OF_PROGRESS = re.compile(r"(?:fakes|network-snapshot-)(\d{6,}(?:_\d{3})?)(?:-discriminator)?\.\w+")


def create(outdir: Path, options: Options, classes: Sequence[str] = ()) -> Path:
    """Create the next numbered folder with options.json and the files about labels.

    Raises:
        OptionError: the folder cannot be created.
    """
    with create_locked(outdir, options, classes) as run:
        return run


@contextlib.contextmanager
def create_locked(outdir: Path, options: Options, classes: Sequence[str] = (), latest: bool = False) -> Iterator[Path]:
    """Folder of a new run, as created by `create`, locked within the context.

    Args:
        outdir: folder for run folders.
        options: options of the run.
        classes: names of classes.
        latest: reuse the newest run with the same options that was killed before it had saved anything and is not
            locked by a running process; without one, or without locks in this file system, use the next folder.

    Raises:
        OptionError: the folder cannot be created or written.
    """
    reject_remote(outdir)
    with contextlib.ExitStack() as stack:
        try:
            run = _reused(outdir, options, stack) if latest else None
            while run is None:
                run = _next_folder(outdir, options)
                try:
                    stack.enter_context(locked_file(run / LOCK))
                except BlockingIOError:  # another process has just begun in this folder, as if it was left by a kill
                    run = None
                except OSError:  # no locks in this file system
                    pass
            options.write(run / OPTIONS)
            if classes:
                _write_json(run / CLASSES, classes)
            _write_label_scale(run, options)
        except OSError as error:
            raise OptionError(f"--outdir={outdir}: cannot create a run folder ({error})") from error
        yield run


def _write_label_scale(run: Path, options: Options) -> None:
    """Write label_scale.json if the run trains with labels that its data set standardizes."""
    if options.cond and (scale := label_scale(Path(options.data))):
        _write_json(run / LABEL_SCALE, scale.to_json())


def _write_json(file: Path, value: Any) -> None:
    with atomic_write(file) as out:
        out.write(f"{json.dumps(value, indent=2)}\n".encode())


def _next_folder(outdir: Path, options: Options) -> Path:
    outdir.mkdir(parents=True, exist_ok=True)
    numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r"(\d{5})-", path.name))]
    number = max(numbers, default=-1) + 1
    while True:
        folder = outdir / f"{number:05d}-{options.description}"
        if (size := len(os.fsencode(folder.name))) > MAX_NAME_BYTES:
            raise OptionError(
                f"--outdir={outdir}: the run folder's name, {folder.name}, has {size} bytes, {MAX_NAME_BYTES} at most; "
                "use a shorter --desc or a shorter name of the data set"
            )
        try:
            folder.mkdir()
            return folder
        except FileExistsError:  # another process has just made it
            number += 1


def _reused(outdir: Path, options: Options, stack: contextlib.ExitStack) -> Path | None:
    """Newest run that can start over with these options, emptied, and locked in `stack`."""
    for run in sorted(outdir.glob("[0-9]" * 5 + "-*"), reverse=True):
        if run.name[6:] == options.description and _has_saved_nothing(run, options):
            with contextlib.suppress(OSError):
                stack.enter_context(locked_file(run / LOCK))
                note = f"{run} was stopped before its first checkpoint; it starts over"
                with ignoring_lost_output():
                    print(note)
                discard_later(run, 0)
                shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)  # unfinished ones
                with open(run / LOG, "a", encoding="utf-8") as log:
                    log.write(note + "\n")
                return run
    return None


def _has_saved_nothing(run: Path, options: Options) -> bool:
    """True if a run has no checkpoint and no snapshot, and has these options or was killed before it had any."""
    if checkpoints(run) or snapshots(run):
        return False
    if not any(run.glob("[!.]*")):
        return True
    try:
        return Options.from_file(run / OPTIONS).reproducibility_fields == options.reproducibility_fields
    except OptionError:
        return False


def latest_matching_run(outdir: Path, options: Options) -> Path | None:
    """Newest run in `outdir` with a checkpoint whose name or current options have the description of `options`."""
    numbered = re.compile(r"\d{5}-(.+)", re.DOTALL)  # a name may contain a newline
    runs = [path for path in outdir.glob("*") if numbered.fullmatch(path.name)]
    for run in sorted(runs, key=lambda path: path.name, reverse=True):
        if run.name[6:] == options.description or _description_now(run) == options.description:
            recover_checkpoints(run)
            if checkpoints(run):
                return run
    return None


def _description_now(run: Path) -> str | None:
    """Description of a run's current options, which differs from its folder's name once gamma has changed."""
    try:
        return Options.from_file(run / OPTIONS).description
    except OptionError:
        return None


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def checkpoints(run: Path) -> list[Path]:
    """Folders of training states, oldest first."""
    found = [path for path in (run / CHECKPOINTS).glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))  # names have 9 digits, and 10 from a million kimg on


def last_checkpoint(run: Path) -> str:
    """Description, for messages, of where a run would resume."""
    found = checkpoints(run)
    return str(found[-1]) if found else "the beginning, as there is no checkpoint yet"


def how_to_continue(run: Path) -> str:
    """Advice, for messages, on how to continue a run that ended."""
    found = checkpoints(run)
    return f"continue with --resume from {found[-1]}" if found else "repeat the command, as there is no checkpoint yet"


def new_checkpoint(run: Path, cur_nimg: int) -> Path:
    """Folder for the checkpoint at `cur_nimg` images."""
    return run / CHECKPOINTS / f"{cur_nimg:09d}"


def remove_old_checkpoints(run: Path, keep: int) -> None:
    """Keep the newest `keep` checkpoints, and remove files that killed processes left half-written."""
    for path in checkpoints(run)[:-keep]:
        path.rename(path.with_name(f".{path.name}.partial-old"))  # so a kill leaves nothing half-removed
    for path in (run / CHECKPOINTS).glob(".*.partial-*"):
        shutil.rmtree(path, ignore_errors=True)


def recover_checkpoints(run: Path) -> None:
    """Restore checkpoints that a killed process was replacing; see `files.recover_replaced`."""
    for path in (run / CHECKPOINTS).glob(".*.old-*"):
        recover_replaced(path.with_name(path.name[1:].rpartition(".old-")[0]))


def discard_later(run: Path, cur_nimg: int) -> list[str]:
    """Move what a run has saved after `cur_nimg` images to its folder discarded/, and remove unfinished files.

    A run that is resumed there saves its own. Otherwise its next process, or users who load the run, would get the
    newest files, which no longer belong to the run. Call this before options.json is written: with later checkpoints,
    discarded/ first gets a copy of it, and of the statistics and metrics, to continue from a checkpoint that is moved
    back. The newest files are moved first, so that what a killed process leaves can be resumed.

    Returns:
        Paths of the moved files, relative to the run folder.
    """
    for path in run.glob(".*.partial-*"):
        path.unlink(missing_ok=True)
    later = [path for path in checkpoints(run) if int(path.name) > cur_nimg]
    changing = [run / OPTIONS, run / STATS, *run.glob("metric-*.jsonl")] if later else []
    later += [path for path in sorted(run.iterdir()) if (_nimg_of(path.name) or 0) > cur_nimg]
    if later:
        (run / DISCARDED).mkdir(exist_ok=True)
    for path in filter(Path.is_file, changing):
        with atomic_write(run / DISCARDED / path.name) as out:
            out.write(path.read_bytes())
    for path in sorted(later, key=_nimg_of_path, reverse=True):
        target = run / DISCARDED / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    return [str(path.relative_to(run)) for path in later]


def _nimg_of(name: str) -> int | None:
    """Number of images seen by the networks in a file of this name; None for other files."""
    if match := _OF_PROGRESS.fullmatch(name):
        return nimg_of_progress(match[1])
    return power_ema.nimg_of(name)


def _nimg_of_path(path: Path) -> int:
    """Number of images seen at a checkpoint, or by the networks in another file of a run."""
    return int(path.name) if path.name.isdigit() else _nimg_of(path.name) or 0


def truncate_lines(file: Path, cur_nimg: int, kimg: Callable[[Any], float]) -> list[Any]:
    """Remove the lines of a .jsonl file from after `cur_nimg` images, which a resumed run writes again.

    Damaged lines, such as one that a killed process was writing, are removed as well.

    Args:
        file: the file, which need not exist.
        cur_nimg: images that the run has seen.
        kimg: returns a line's number of images, in thousands.

    Returns:
        Contents of the remaining lines.
    """

    def is_kept(line: str) -> bool:
        try:
            return line.endswith("\n") and kimg(from_json(line)) * 1000 <= cur_nimg + 0.5
        except (ValueError, LookupError, TypeError):
            return False

    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if is_kept(line)]
    if len(kept) < len(lines):
        with atomic_write(file) as out:
            out.write("".join(kept).encode())
    return [from_json(line) for line in kept]


#: Sources that --resume and --init_from accept.
_SOURCES = {
    "resume": "a run folder, a checkpoint folder or 'latest'",
    "init_from": "a run folder, a checkpoint folder, a folder with G.keras, a .keras file or its address, or an "
    "official pickle",
}


def resolve_resume_path(path: Path, flag: str = "resume") -> tuple[Path, Path]:
    """Return (run folder, checkpoint folder) for --resume=PATH, which may be either.

    For a run folder, this is the newest intact checkpoint; damaged newer ones are reported.

    Raises:
        OptionError: the path is neither, or no checkpoint is intact.
    """
    path = path.resolve()
    if (path / PROGRESS).is_file():
        if problem := verify_checksums(path):
            raise OptionError(f"--{flag}={path}: cannot be used, because {problem}; give another checkpoint or a run")
        return path.parent.parent, path
    recover_checkpoints(path)
    found = checkpoints(path)
    if not found:
        if flag == "resume" and snapshots(path):
            raise OptionError(
                f"--resume={path}: holds snapshots but no checkpoint; start a new run from one with --init_from"
            )
        if flag == "resume" and (path / OPTIONS).is_file():
            raise OptionError(
                f"--resume={path}: this run was stopped before its first checkpoint; repeat the command that started "
                "it (out of memory: with a smaller --batch_per_replica)"
            )
        lacks = "holds no checkpoint" if path.exists() else "does not exist"
        weights = "; to start from the weights of a .keras or .pkl file, give --init_from" if path.is_file() else ""
        raise OptionError(f"--{flag}={path}: {lacks}; give {_SOURCES[flag]}{weights}")
    problems = []
    for checkpoint in reversed(found):
        problem = verify_checksums(checkpoint)
        if problem is None:
            return path, checkpoint
        problems.append(problem)
        print(f"{checkpoint}: not used, because {problem}")
    raise OptionError(f"--{flag}={path}: none of its {len(found)} checkpoints is intact; the newest one: {problems[0]}")


# --- Resuming ---------------------------------------------------------------------------------------------------------


#: Options that identify the images.
_OF_DATA = {"data_digest", "data_name", "num_images", "image_channels", "label_dim"}


@dataclasses.dataclass(frozen=True)
class ResumePoint:
    """Checkpoint to resume from, and the options in effect there.

    Options that affect the result have their values at the time of the checkpoint, so resuming from an older checkpoint
    repeats what happened then; all others have their values in options.json.

    Attributes:
        run: run folder.
        checkpoint: checkpoint folder.
        kimg: thousands of images shown before the checkpoint.
        options: options of the run.
        changes: changes of the options before the checkpoint.
        reverted: changes from the options in options.json to those at the time of the checkpoint.
        found: checkpoints of the run.
    """

    run: Path
    checkpoint: Path
    kimg: float
    options: Options
    changes: Sequence[Change]
    reverted: Sequence[Change]
    found: Sequence[Path]

    @classmethod
    def from_path(cls, path: Path) -> ResumePoint:
        """Find the checkpoint for --resume=PATH, a run folder or a checkpoint folder.

        Raises:
            OptionError: there is none, or its options cannot be read.
        """
        run, checkpoint = resolve_resume_path(path)
        found = checkpoints(run)
        if checkpoint.parent.name == DISCARDED:
            raise OptionError(
                f"--resume={path}: the run was resumed from an earlier checkpoint and has discarded this one, with its "
                f"options; start a new run from its weights with --init_from={path}, or move everything in "
                f"{run / DISCARDED} back to where it was (docs/training.md)"
            )
        latest, changes = read_options(run / OPTIONS)
        try:
            kimg = json.loads((checkpoint / PROGRESS).read_text())["cur_nimg"] / 1000
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise OptionError(f"--resume={path}: {checkpoint / PROGRESS} cannot be read ({error})") from error
        later = [change for change in changes if change.kimg > kimg and change.affects_result]
        # If an option changed repeatedly, its first change, which comes last here, has the value to revert to.
        options = dataclasses.replace(latest, **{change.option: change.old for change in reversed(later)})
        kept = [change for change in changes if change not in later]
        return cls(run, checkpoint, kimg, options, kept, options.changes_since(latest, kimg), found)

    def changes_to(self, options: Options) -> list[Change]:
        """Return the changes from the run's options to `options`.

        Raises:
            OptionError: a resumed run cannot change one of these options.
        """
        changes = options.changes_since(self.options, self.kimg)
        refused = {change.option: str(change) for change in changes if not change.allowed}
        remedy = f"or start a new run from its weights with --init_from={self.run}"
        if "data_digest" in refused and _OF_DATA.issuperset(refused):
            counts = [f"{of.num_images} for training" for of in (options, self.options)]
            raise OptionError(
                f"--data={options.data}: holds other images or labels than those of the run {self.run} ({counts[0]}, "
                f"{counts[1]} then); restore them, {remedy}"
            )
        if refused:
            raise OptionError(
                f"--resume={self.run}: a resumed run cannot change {', '.join(refused.values())}; leave these options "
                f"as they were, {remedy}"
            )
        return changes

    def notes(self, changes: Sequence[Change]) -> list[str]:
        """Lines for the log about `changes`, and about options that revert to their values at the checkpoint.

        Changes that were made at the checkpoint itself stay. Where it is not the newest, which people choose to undo
        something, they have a line, too.
        """
        at = f"at {self.kimg:g} kimg"
        is_newest = not self.found or self.checkpoint == self.found[-1]  # none are found where folders were renamed
        stay = [] if is_newest else self._made_here(without={c.option for c in changes})
        return [
            *(f"{at}: {change}, as it was at this checkpoint" for change in self.reverted),
            *(f"{at}: {c} stays, as changed at this checkpoint; --{c.option}={as_flag(c.old)} undoes it" for c in stay),
            *(f"{at}: {change}" for change in changes),
        ]

    def _made_here(self, without: Collection[str]) -> list[Change]:
        """Changes that were made at the checkpoint and affect the result, one of each option."""
        found: dict[str, Change] = {}
        for change in self.changes:
            if change.kimg == self.kimg and change.affects_result and change.option not in without:
                old = found.get(change.option, change).old
                found[change.option] = dataclasses.replace(change, old=old)
        return [change for change in found.values() if change.old != change.new]

    @contextlib.contextmanager
    def open_for_resume(self, options: Options, changes: Sequence[Change]) -> Iterator[Path]:
        """Run folder, locked within the context as by `create_locked`, with `changes` recorded.

        Raises:
            OptionError: another process trains the run, or has done so since the checkpoint was chosen, or the folder
                cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked_file(self.run / LOCK))
            except BlockingIOError:
                raise OptionError(
                    f"--resume={self.run}: another process trains this run; wait until it ends, resume from a copy of "
                    f"the folder or, if its host was lost, remove {self.run / LOCK}"
                ) from None
            except OSError:  # no locks in this file system, or an unwritable folder, which `record` reports
                pass
            if checkpoints(self.run) != self.found:
                raise OptionError(
                    f"--resume={self.run}: another process has saved a checkpoint since this one started; run the "
                    "command again"
                )
            self.record(options, changes)
            yield self.run

    def record(self, options: Options, changes: Sequence[Change]) -> None:
        """Write `changes` to options.json and the log, and discard what the run has saved after the checkpoint.

        Raises:
            OptionError: the run folder cannot be written.
        """
        try:
            notes = self.notes(changes)
            if moved := discard_later(self.run, round(self.kimg * 1000)):
                notes.append(f"moved to {self.run / DISCARDED}, because later than this checkpoint: {', '.join(moved)}")
                with ignoring_lost_output():
                    print(notes[-1])
            options.write(self.run / OPTIONS, [*self.changes, *changes])
            _write_label_scale(self.run, options)  # which older runs lack
            with open(self.run / LOG, "a", encoding="utf-8") as log:
                log.writelines(f"{note}\n" for note in notes)
        except OSError as error:
            raise OptionError(
                f"--resume={self.run}: cannot be written ({error}); make it writable, or resume from a copy of it"
            ) from error
