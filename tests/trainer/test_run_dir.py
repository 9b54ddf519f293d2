"""Names and contents of run folders, checkpoints, and the options of a resumed run."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import math
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.images import save_png
from sg3tf.models import power_ema
from sg3tf.models.loading import label_scale
from sg3tf.utils import checksums
from sg3tf.utils.label_scale import LabelScale
from tests.helpers.tiny_run import PLAIN
from trainer import run_dir
from trainer.config import Change, Options, read_options
from trainer.errors import OptionError
from trainer.run_dir import ResumePoint

NAME = PLAIN.description


def make_checkpoint(run, cur_nimg):
    folder = run_dir.new_checkpoint(run, cur_nimg)
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text(json.dumps({"cur_nimg": cur_nimg}))
    checksums.write_checksums(folder)
    return folder


def test_lines_that_are_kept_have_their_numbers_back(tmp_path):
    file = tmp_path / "stats.jsonl"
    file.write_text('{"kimg": 1, "loss": "NaN"}\n{"kimg": 2, "loss": NaN}\n{"kimg": "Infinity", "loss": 1}\n')
    kept = run_dir.truncate_lines(file, 2000, lambda line: line["kimg"])
    assert [line["kimg"] for line in kept] == [1, 2]
    assert all(math.isnan(line["loss"]) for line in kept)


def test_folders_are_numbered_one_after_another(tmp_path):
    outdir = tmp_path / "not" / "there" / "yet"
    names = [run_dir.create(outdir, PLAIN).name for _ in range(3)]
    assert names == [f"00000-{NAME}", f"00001-{NAME}", f"00002-{NAME}"]


def test_the_number_follows_the_highest_of_any_run(tmp_path):
    for name in ("00002-something-else", "00041-x", "99-no-run", "demo", "000990-no-run"):
        (tmp_path / name).mkdir()
    assert run_dir.create(tmp_path, PLAIN).name == f"00042-{NAME}"


def test_a_number_that_another_process_has_just_taken_is_skipped(tmp_path, monkeypatch):
    for _ in range(2):
        run_dir.create(tmp_path, PLAIN)
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([]))  # as they were when this process looked
    assert run_dir.create(tmp_path, PLAIN).name == f"00002-{NAME}"


def test_a_new_folder_holds_the_options(tmp_path):
    run = run_dir.create(tmp_path, PLAIN)
    assert [path.name for path in run.iterdir()] == ["options.json"]
    assert Options.from_file(run / "options.json") == PLAIN


def test_an_outdir_that_cannot_be_written_is_named(tmp_path):
    outdir = tmp_path / "out"
    outdir.write_text("a file")
    with pytest.raises(OptionError, match=f"--outdir={outdir}") as refusal:
        run_dir.create(outdir, PLAIN)
    assert "\n" not in str(refusal.value)


def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path):
    """255 bytes; "\u00fc" has two."""
    desc = "\u00fc" * 50 + "d" * (255 - len(f"00000-{NAME}-") - 100)
    assert len(run_dir.create(tmp_path, dataclasses.replace(PLAIN, desc=desc)).name) == 205
    with pytest.raises(OptionError, match="has 256 bytes, 255 at most; use a shorter --desc") as refusal:
        run_dir.create(tmp_path, dataclasses.replace(PLAIN, desc=f"{desc}d"))
    assert "\n" not in str(refusal.value)


def test_checkpoints_are_in_order_and_complete(tmp_path):
    for cur_nimg in (999_936_000, 16, 1_000_016_000, 250_000):
        make_checkpoint(tmp_path, cur_nimg)
    (tmp_path / "checkpoints" / ".002000000.partial").mkdir()
    (tmp_path / "checkpoints" / "notes").mkdir()
    assert [path.name for path in run_dir.checkpoints(tmp_path)] == [
        "000000016",
        "000250000",
        "999936000",
        "1000016000",
    ]
    assert run_dir.checkpoints(tmp_path / "nowhere") == []


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    run_dir.remove_old_checkpoints(tmp_path, keep=2)  # none yet
    for cur_nimg in (16, 32, 48, 64):
        make_checkpoint(tmp_path, cur_nimg)
    (tmp_path / "checkpoints" / ".000000080.partial-1").mkdir()  # of a killed process
    run_dir.remove_old_checkpoints(tmp_path, keep=2)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert [path.name for path in run_dir.checkpoints(tmp_path)] == ["000000048", "000000064"]


def test_latest_is_the_newest_run_of_the_same_description_with_a_checkpoint(tmp_path):
    assert run_dir.latest_matching_run(tmp_path / "nowhere", PLAIN) is None
    assert run_dir.latest_matching_run(tmp_path, PLAIN) is None
    first, second = (run_dir.create(tmp_path, PLAIN) for _ in range(2))
    assert run_dir.latest_matching_run(tmp_path, PLAIN) is None  # none can be resumed
    make_checkpoint(first, 16)
    assert run_dir.latest_matching_run(tmp_path, PLAIN) == first
    make_checkpoint(second, 8)
    run_dir.create(tmp_path, PLAIN)
    make_checkpoint(tmp_path / f"00009-{NAME}-other", 8)
    make_checkpoint(tmp_path / f"00010-{NAME.replace('gamma2', 'gamma20')}", 8)
    make_checkpoint(tmp_path / f"old-00011-{NAME}", 8)
    assert run_dir.latest_matching_run(tmp_path, PLAIN) == second


def test_a_run_that_was_killed_before_it_saved_anything_begins_anew_in_its_folder(tmp_path, capsys):
    """Not one that another process trains, one with other options, or one with a network that somebody may keep."""
    dead, others = run_dir.create(tmp_path, PLAIN), [run_dir.create(tmp_path, PLAIN) for _ in range(4)]
    dataclasses.replace(PLAIN, seed=1).write(others[0] / "options.json")
    (others[1] / "network-snapshot-000001.keras").touch()
    make_checkpoint(others[2], 8)
    (others[3] / "options.json").write_text("{}")
    (dead / "fakes000001.png").touch()
    (dead / "checkpoints" / ".000000008.partial-1").mkdir(parents=True)
    before = [sorted(path.rglob("*")) for path in others]
    with run_dir.create_locked(tmp_path, PLAIN, latest=True) as run:
        assert run == dead
        assert sorted(path.name for path in run.iterdir()) == [".lock", "discarded", "log.txt", "options.json"]
        assert capsys.readouterr().out == f"{run} was stopped before its first checkpoint; it starts over\n"
        with run_dir.create_locked(tmp_path, PLAIN, latest=True) as second:  # as another process
            assert second.name == f"00005-{NAME}"
        with run_dir.create_locked(tmp_path, PLAIN, latest=True) as third:
            assert third == second
    with run_dir.create_locked(tmp_path, PLAIN) as new:
        assert new.name == f"00006-{NAME}"
    assert [sorted(path.rglob("*")) for path in others] == before


def test_a_run_that_was_killed_while_its_folder_was_made_begins_anew_in_it(tmp_path):
    """With its options, and its classes, which may be lacking."""
    dead = run_dir.create(tmp_path, PLAIN, ["cat", "dog"])
    (dead / "classes.json").unlink()
    for unfinished in (None, ".options.partial-1.json"):
        if unfinished:
            (dead / "options.json").rename(dead / unfinished)
            for file in dead.glob("[!.]*"):
                file.unlink()
        with run_dir.create_locked(tmp_path, PLAIN, ["cat", "dog"], latest=True) as run:
            assert run == dead
            assert Options.from_file(run / "options.json") == PLAIN
            assert json.loads((run / "classes.json").read_text()) == ["cat", "dog"]
            assert [path.name for path in run.glob(".*")] == [".lock"]
        assert not list(run.glob(".*"))


def test_runs_that_begin_at_the_same_moment_have_folders_of_their_own(tmp_path, monkeypatch):
    """To the second, the first one's empty folder looks as if a kill had left it."""
    make_folder = run_dir._next_folder
    with contextlib.ExitStack() as stack:

        def interrupted(outdir, options):
            folder = make_folder(outdir, options)
            monkeypatch.setattr(run_dir, "_next_folder", make_folder)
            assert stack.enter_context(run_dir.create_locked(tmp_path, PLAIN, latest=True)) == folder
            return folder

        monkeypatch.setattr(run_dir, "_next_folder", interrupted)
        with run_dir.create_locked(tmp_path, PLAIN, latest=True) as run:
            assert run.name == f"00001-{NAME}"


def test_other_hosts_are_excluded_on_nfs(tmp_path, monkeypatch):
    """It passes on locks of regular files that are open for writing only; those of folders are of one host."""
    lock = fcntl.flock

    def nfs_lock(file, operation):
        descriptor = file if isinstance(file, int) else file.fileno()
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if writable and stat.S_ISREG(os.fstat(descriptor).st_mode):
            lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", nfs_lock)
    with run_dir.create_locked(tmp_path, PLAIN) as run:
        make_checkpoint(run, 8)
        with (
            pytest.raises(OptionError, match=f"another process trains this run; .*remove {run}/.lock$"),
            ResumePoint.from_path(run).open_for_resume(PLAIN, []),
        ):
            pass


def test_means_and_deviations_of_labels_that_the_data_set_has_standardized(tmp_path):
    """A run with labels has them, also one that an earlier version began and that is resumed."""
    for number, age in enumerate((30, 50)):
        save_png(tmp_path / "images" / f"{number}.png", np.full([16, 16, 3], age, np.uint8))
    ages = {"labels": [["0.png", [30]], ["1.png", [50]]]}
    (tmp_path / "images" / "dataset.json").write_text(json.dumps(ages))
    build(tmp_path / "images", tmp_path / "faces", BuildConfig(16, standardize=True))
    plain, labeled = (dataclasses.replace(PLAIN, data=str(tmp_path / "faces"), cond=cond) for cond in (False, True))
    assert not (run_dir.create(tmp_path, plain) / "label_scale.json").exists()
    run = run_dir.create(tmp_path, labeled)
    assert json.loads((run / "label_scale.json").read_text()) == {"mean": [40.0], "std": [10.0]}
    (run / "label_scale.json").unlink()
    make_checkpoint(run, 16)
    ResumePoint.from_path(run).record(labeled, [])
    (run / "network-snapshot-000000.keras").touch()
    assert label_scale(run) == LabelScale((40.0,), (10.0,))


def test_without_locks_every_run_that_begins_has_a_folder_of_its_own(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for number in range(2):
        with run_dir.create_locked(tmp_path, PLAIN, latest=True) as run:
            assert run.name == f"{number:05d}-{NAME}"


@pytest.mark.parametrize("desc", ["a+(b", "two\nlines"])
def test_special_characters_in_a_description_are_literal(tmp_path, desc):
    options = dataclasses.replace(PLAIN, gamma=6.6, desc=desc)
    make_checkpoint(tmp_path / f"00001-{PLAIN.description.replace('gamma2', 'gamma6x6')}-{desc}", 8)
    assert run_dir.latest_matching_run(tmp_path, options) is None
    run = run_dir.create(tmp_path, options)
    make_checkpoint(run, 8)
    assert run_dir.latest_matching_run(tmp_path, options) == run


def test_resume_path_is_a_run_or_a_checkpoint(tmp_path):
    run = run_dir.create(tmp_path, PLAIN)
    older, newer = make_checkpoint(run, 16), make_checkpoint(run, 32)
    assert run_dir.resolve_resume_path(run) == (run, newer)
    assert run_dir.resolve_resume_path(older) == (run, older)


def test_resume_path_may_be_relative(tmp_path, monkeypatch):
    run = run_dir.create(tmp_path, PLAIN)
    checkpoint = make_checkpoint(run, 16)
    monkeypatch.chdir(run)
    assert run_dir.resolve_resume_path(Path(".")) == (run, checkpoint)


@pytest.mark.parametrize("there", [False, True])
def test_resume_path_without_a_checkpoint_is_refused(tmp_path, there):
    path = tmp_path / "run"
    if there:
        path.mkdir()
    lacks = "holds no checkpoint" if there else "does not exist"
    with pytest.raises(OptionError, match=f"--resume={path}: {lacks}; give a run folder"):
        run_dir.resolve_resume_path(path)


def test_resume_path_of_a_run_without_a_checkpoint_gives_the_remedy(tmp_path):
    run = run_dir.create(tmp_path, PLAIN)
    with pytest.raises(OptionError, match="stopped before its first checkpoint; repeat the command that started it"):
        run_dir.resolve_resume_path(run)
    with pytest.raises(OptionError, match=f"--init_from={run}: holds no checkpoint; give"):
        run_dir.resolve_resume_path(run, "init_from")
    (run / "network-snapshot-000200.keras").touch()
    with pytest.raises(OptionError, match="holds snapshots but no checkpoint; start a new run from one with --init_fr"):
        run_dir.resolve_resume_path(run)


def test_resume_path_of_a_file_names_the_flag_for_weights(tmp_path):
    """As the official code is given --resume=x.pkl, where it starts a new run."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"")
    with pytest.raises(OptionError, match=f"--resume={path}: holds no checkpoint; .*weights.* give --init_from$"):
        run_dir.resolve_resume_path(path)


@pytest.fixture
def damaged_run(tmp_path):
    """A run with three checkpoints, the newest two damaged."""
    run = run_dir.create(tmp_path, PLAIN)
    _, older, newest = (make_checkpoint(run, cur_nimg) for cur_nimg in (16, 32, 48))
    (older / "progress.json").unlink()
    (newest / "progress.json").write_text("{ }")
    return run


def test_resume_path_falls_back_to_the_newest_intact_checkpoint(damaged_run, capsys):
    assert run_dir.resolve_resume_path(damaged_run)[1].name == "000000016"
    newest, older = capsys.readouterr().out.splitlines()
    assert newest.startswith(f"{damaged_run / 'checkpoints' / '000000048'}: not used, because progress.json is damaged")
    assert older.startswith(f"{damaged_run / 'checkpoints' / '000000032'}: not used, because progress.json cannot be")


def test_resume_path_without_an_intact_checkpoint_is_refused(damaged_run):
    (damaged_run / "checkpoints" / "000000016" / "sha256.json").unlink()
    with pytest.raises(
        OptionError, match="none of its 3 checkpoints is intact; the newest one: progress.json is damaged"
    ):
        run_dir.resolve_resume_path(damaged_run)


# Resuming.


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints at 16, 32 and 48 images."""
    run = run_dir.create(tmp_path, PLAIN)
    for cur_nimg in (16, 32, 48):
        make_checkpoint(run, cur_nimg)
    return run


def checkpoint(run, cur_nimg):
    return run_dir.new_checkpoint(run, cur_nimg)


def resume(path, **values):
    """Resume with other values; returns what is printed."""
    point = ResumePoint.from_path(path)
    options = dataclasses.replace(point.options, **values)
    changes = point.changes_to(options)
    point.record(options, changes)
    return point.notes(changes)


def test_resuming_without_changes_leaves_everything(run):
    before = (run / "options.json").read_text()
    point = ResumePoint.from_path(run)
    assert (point.run, point.checkpoint, point.kimg) == (run, checkpoint(run, 48), 0.048)
    assert point.options == PLAIN
    assert resume(run) == []
    assert (run / "options.json").read_text() == before
    assert (run / "log.txt").read_text() == ""


def test_changes_are_recorded_with_the_kimg(run):
    assert resume(run, gamma=4.0, metrics=("eqt50k_int",)) == [
        "at 0.048 kimg: --gamma from 2.0 to 4.0",
        "at 0.048 kimg: --metrics from none to eqt50k_int",
    ]
    assert (run / "log.txt").read_text().splitlines() == [
        "at 0.048 kimg: --gamma from 2.0 to 4.0",
        "at 0.048 kimg: --metrics from none to eqt50k_int",
    ]
    options, changes = read_options(run / "options.json")
    assert options == dataclasses.replace(PLAIN, gamma=4.0, metrics=("eqt50k_int",))
    assert [(c.kimg, c.option) for c in changes] == [(0.048, "gamma"), (0.048, "metrics")]


def test_changes_stay_and_accumulate(run):
    resume(run, gamma=4.0)
    make_checkpoint(run, 64)
    assert resume(run) == []
    resume(run, gamma=8.0, glr=0.001)
    options, changes = read_options(run / "options.json")
    assert (options.gamma, options.glr) == (8.0, 0.001)
    assert [(c.kimg, c.option, c.old, c.new) for c in changes] == [
        (0.048, "gamma", 2.0, 4.0),
        (0.064, "gamma", 4.0, 8.0),
        (0.064, "glr", 0.0025, 0.001),
    ]


def test_an_older_checkpoint_comes_with_the_options_of_its_time(run):
    resume(checkpoint(run, 16), dlr=0.001)
    make_checkpoint(run, 32)
    resume(run, gamma=4.0, kimg=99.0)
    make_checkpoint(run, 48)
    resume(run, gamma=8.0)
    point = ResumePoint.from_path(checkpoint(run, 16))
    # kimg has no effect on the result and keeps its last value; the rate was changed at this very checkpoint.
    assert point.options == dataclasses.replace(PLAIN, dlr=0.001, kimg=99.0)
    assert resume(checkpoint(run, 16)) == [
        "at 0.016 kimg: --gamma from 8.0 to 2.0, as it was at this checkpoint",
        "at 0.016 kimg: --dlr from 0.002 to 0.001 stays, as changed at this checkpoint; --dlr=0.002 undoes it",
    ]
    options, changes = read_options(run / "options.json")
    assert options.gamma == 2.0
    assert [c.option for c in changes] == ["dlr", "kimg"]


def test_changes_at_the_checkpoint_itself_stay_with_a_line_that_undoes_them(run):
    resume(run, gamma=4.0, glr=0.001, kimg=99.0)
    assert resume(run, gamma=8.0) == ["at 0.048 kimg: --gamma from 4.0 to 8.0"]
    assert resume(run) == []  # the newest checkpoint
    make_checkpoint(run, 64)
    assert resume(checkpoint(run, 48), glr=0.002) == [
        "at 0.048 kimg: --gamma from 2.0 to 8.0 stays, as changed at this checkpoint; --gamma=2.0 undoes it",
        "at 0.048 kimg: --glr from 0.001 to 0.002",
    ]
    make_checkpoint(run, 64)
    assert resume(checkpoint(run, 48), gamma=2.0, glr=0.0025) == [
        "at 0.048 kimg: --gamma from 8.0 to 2.0",
        "at 0.048 kimg: --glr from 0.002 to 0.0025",
    ]
    make_checkpoint(run, 64)
    assert resume(checkpoint(run, 48)) == []  # as they were before all of it


def test_the_only_checkpoint_may_have_another_name(run):
    kept = checkpoint(run, 48).rename(run / "checkpoints" / "best")
    for other in run_dir.checkpoints(run):
        shutil.rmtree(other)
    assert resume(kept, gamma=8.0) == ["at 0.048 kimg: --gamma from 2.0 to 8.0"]


def test_changes_that_a_resumed_run_cannot_make_are_refused_with_values_and_remedy(run):
    before = (run / "options.json").read_text()
    with pytest.raises(OptionError) as refusal:
        resume(run, seed=3, gamma=4.0, num_images=63)
    message = str(refusal.value)
    assert message.startswith(f"--resume={run}: a resumed run cannot change ")
    assert "--seed from 0 to 3" in message and "num_images from 64 to 63" in message and "gamma from" not in message
    assert f"--init_from={run}" in message and "\n" not in message
    assert (run / "options.json").read_text() == before


def test_progress_that_cannot_be_read_is_refused(run):
    (checkpoint(run, 48) / "progress.json").write_text("[]")
    (checkpoint(run, 48) / "sha256.json").unlink()
    checksums.write_checksums(checkpoint(run, 48))
    with pytest.raises(OptionError, match=r"progress.json cannot be read") as refusal:
        ResumePoint.from_path(checkpoint(run, 48))
    assert "\n" not in str(refusal.value)


def test_latest_finds_a_run_whose_gamma_has_changed(run, tmp_path):
    resume(run, gamma=4.0)
    assert run_dir.latest_matching_run(tmp_path, dataclasses.replace(PLAIN, gamma=4.0)) == run
    assert run_dir.latest_matching_run(tmp_path, PLAIN) == run  # as the folder is named
    assert run_dir.latest_matching_run(tmp_path, dataclasses.replace(PLAIN, gamma=8.0)) is None


def test_a_change_is_read_back_equal(run):
    resume(run, metrics=("eqt50k_int",))
    assert read_options(run / "options.json")[1] == [Change(0.048, "metrics", (), ("eqt50k_int",))]


@pytest.mark.parametrize("name", ["options.json", "log.txt"])
def test_a_run_that_cannot_be_written_is_not_resumed(run, name):
    """As root may write everything, a folder stands in the place of the file."""
    point = ResumePoint.from_path(run)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    with pytest.raises(OptionError, match=f"--resume={run}: cannot be written .*{name}.*resume from a copy") as refusal:
        point.record(PLAIN, [])
    assert "\n" not in str(refusal.value) and ".partial-" not in str(refusal.value)


def test_a_run_that_another_process_trains_is_not_resumed(run):
    point, before = ResumePoint.from_path(run), (run / "options.json").read_bytes()
    with point.open_for_resume(PLAIN, []):
        second = point.open_for_resume(dataclasses.replace(PLAIN, kimg=99.0), [])
        with pytest.raises(OptionError, match=f"--resume={run}: another process trains this run"), second:
            raise AssertionError("resumed")
    assert (run / "options.json").read_bytes() == before
    with point.open_for_resume(PLAIN, []) as resumed:
        assert resumed == run


# What the run has saved after the checkpoint.


def test_a_run_resumed_from_an_older_checkpoint_continues_from_there_after_a_kill(run):
    resume(checkpoint(run, 32))
    make_checkpoint(run, 40)
    assert ResumePoint.from_path(run).checkpoint == checkpoint(run, 40)  # not 48, which is another way
    run_dir.remove_old_checkpoints(run, keep=2)
    assert [path.name for path in run_dir.checkpoints(run)] == ["000000032", "000000040"]


def test_a_discarded_checkpoint_is_refused_until_all_is_moved_back(run):
    before, values = ResumePoint.from_path(run), {"stats.jsonl": "{}\n{}\n", "metric-swd.jsonl": "{}\n"}
    for name, lines in values.items():
        (run / name).write_text(lines)
    resume(checkpoint(run, 16), gamma=9.0)
    dropped = run / "discarded" / "000000048"
    with pytest.raises(OptionError, match=rf"--resume={dropped}: .* discarded this one.* --init_from={dropped}, or"):
        ResumePoint.from_path(dropped)
    assert run_dir.resolve_resume_path(dropped, "init_from") == (run, dropped)
    for name in values:
        (run / name).write_text("")  # as when the process begins to train
    for path in list((run / "discarded").iterdir()):
        path.replace(run / ("checkpoints" if path.is_dir() else ".") / path.name)
    assert ResumePoint.from_path(run) == before
    assert {name: (run / name).read_text() for name in values} == values


def test_files_without_a_checkpoint_leave_the_options_of_discarded_ones(run):
    """The process was killed between a snapshot and its checkpoint."""
    resume(run, gamma=4.0)
    make_checkpoint(run, 64)
    resume(checkpoint(run, 32))
    (run / "fakes000000_040.png").touch()
    resume(run, gamma=9.0)
    assert (run / "discarded" / "fakes000000_040.png").exists()
    assert read_options(run / "discarded" / "options.json")[0].gamma == 4.0


@pytest.mark.parametrize("moves", range(5))
def test_a_kill_while_later_files_are_moved_leaves_what_can_be_resumed(run, monkeypatch, moves):
    """The run has the options of its newest checkpoint, whichever that is, and in the end all of the discarded ones."""
    gammas = {16: 2.0, 32: 3.0, 48: 4.0}
    resume(checkpoint(run, 32), gamma=3.0)
    make_checkpoint(run, 48)
    resume(run, gamma=4.0)
    (run / "network-snapshot-000000_040.keras").touch()
    whole, replace, left = (run / "options.json").read_bytes(), Path.replace, iter(range(moves))

    def replace_or_die(self, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    with contextlib.suppress(KeyboardInterrupt):
        resume(checkpoint(run, 16))
    monkeypatch.undo()
    assert (run / "discarded" / "options.json").read_bytes() == whole
    point = ResumePoint.from_path(run)
    newest = int(point.checkpoint.name)
    assert point.options.gamma == gammas[newest]
    assert newest == [48, 32, 32, 16, 16][moves]
    resume(checkpoint(run, 16))
    assert (run / "discarded" / "options.json").read_bytes() == whole
    assert [path.name for path in run_dir.checkpoints(run)] == ["000000016"]
    assert read_options(run / "options.json")[0].gamma == 2.0
    assert (run / "discarded" / "network-snapshot-000000_040.keras").exists()


def test_a_damaged_checkpoint_is_refused_before_newer_ones_are_moved(run):
    (damaged,) = [path for path in checkpoint(run, 32).iterdir() if path.name == "progress.json"]
    damaged.write_text(damaged.read_text() + " ")
    with pytest.raises(OptionError, match=rf"--resume={checkpoint(run, 32)}: cannot be used, because .*progress"):
        ResumePoint.from_path(checkpoint(run, 32))


def test_a_run_that_went_on_since_the_command_began_is_not_resumed(run):
    point, before = ResumePoint.from_path(run), (run / "options.json").read_bytes()
    make_checkpoint(run, 56)
    resumed = point.open_for_resume(PLAIN, [])
    with pytest.raises(OptionError, match="another process has saved a checkpoint since.*; run the command again"):
        resumed.__enter__()
    assert (run / "options.json").read_bytes() == before and checkpoint(run, 56).is_dir()


def test_files_later_than_the_checkpoint_are_moved_and_named(run, capsys):
    saved = ["fakes000000{}.png", "fakes000000{}.npz"]
    saved += ["network-snapshot-000000{}.keras", "network-snapshot-000000{}-discriminator.keras"]
    kept = [
        *(name.format(part) for name in saved for part in ("", "_008", "_016")),
        power_ema.file_name(16),
        "network-best-swd.keras",
        "reals.png",
    ]
    moved = [*(name.format("_024") for name in saved), "network-snapshot-000001.keras", power_ema.file_name(24)]
    for name in [*kept, *moved, ".fakes000000_024.partial-1.png"]:
        (run / name).write_text(name)
    resume(checkpoint(run, 16))
    assert {path.name for path in run.iterdir()} == {*kept, "options.json", "log.txt", "checkpoints", "discarded"}
    assert {path.name for path in (run / "discarded").iterdir()} == {*moved, "options.json", "000000032", "000000048"}
    (run / moved[0]).write_text("again")
    make_checkpoint(run, 32)
    resume(checkpoint(run, 16))  # the newest of two with the same name stays
    assert (run / "discarded" / moved[0]).read_text() == "again"
    line = (run / "log.txt").read_text().splitlines()[-1]
    assert line in capsys.readouterr().out
    later = f"checkpoints/000000032, {moved[0]}"
    assert line == f"moved to {run / 'discarded'}, because later than this checkpoint: {later}"


def test_nothing_is_moved_from_the_newest_checkpoint(run):
    assert resume(run) == []
    assert not (run / "discarded").exists()


def test_a_checkpoint_whose_replacement_was_killed_is_found(tmp_path):
    run = run_dir.create(tmp_path, PLAIN)
    folder = make_checkpoint(run, 16)
    for find in (lambda: run_dir.resolve_resume_path(run)[1], lambda: run_dir.latest_matching_run(tmp_path, PLAIN)):
        folder.rename(folder.with_name(f".{folder.name}.old-1"))
        assert find() in (folder, run)
        assert run_dir.checkpoints(run) == [folder]
