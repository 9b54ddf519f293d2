"""Schedule of a run: ticks, snapshots, checkpoints, and its end."""

from __future__ import annotations

import pytest

from tests.helpers import tiny_run
from trainer.schedule import Due, Schedule, tick_number

BATCH = 8


def schedule(faces, cur_nimg=0, **options):
    return Schedule(
        tiny_run.options(faces, **{"tick": 2 * BATCH / 1000, "snap": 4, "checkpoint": 3, **options}), cur_nimg
    )


def actions(schedule, start, end):
    """{cur_nimg: actions} of the steps that end after `start` up to `end`."""
    due = {nimg: schedule.due(nimg) for nimg in range(start + BATCH, end + 1, BATCH)}
    return {nimg: actions for nimg, actions in due.items() if actions != Due()}


def test_actions_of_a_run(faces):
    due = actions(schedule(faces), 0, 24 * BATCH)
    assert list(due) == [tick * 2 * BATCH for tick in range(1, 13)]
    assert all(actions.tick for actions in due.values())
    assert [nimg // BATCH // 2 for nimg, actions in due.items() if actions.snapshot] == [4, 8, 12]
    # A snapshot comes with a checkpoint.
    assert [nimg // BATCH // 2 for nimg, actions in due.items() if actions.checkpoint] == [3, 4, 6, 8, 9, 12]


def test_steps_longer_than_a_tick_miss_no_snapshot(faces):
    """Steps of 4/3 of a tick: none ends in the third of every four ticks."""
    due = actions(schedule(faces, tick=0.75 * BATCH / 1000, snap=25, checkpoint=5), 0, 1000 * BATCH)
    snapshots, checkpoints = ([-(-n * ticks * 3 // 4) * BATCH for n in range(1, 2000)] for ticks in (25, 5))
    assert [nimg for nimg, actions in due.items() if actions.snapshot] == [n for n in snapshots if n in due]
    assert [nimg for nimg, actions in due.items() if actions.checkpoint] == [n for n in checkpoints if n in due]
    assert list(due) == [n * BATCH for n in range(1, 1001)]


@pytest.mark.parametrize("start", [1, 4, 6, 7, 13])
def test_a_resumed_run_acts_at_the_same_places(faces, start):
    straight = actions(schedule(faces), 0, 24 * BATCH)
    resumed = actions(schedule(faces, start * BATCH), start * BATCH, 24 * BATCH)
    assert resumed == {nimg: actions for nimg, actions in straight.items() if nimg > start * BATCH}


def test_the_end_repeats_nothing_of_the_last_step(faces):
    run = schedule(faces)
    assert actions(run, 0, 8 * BATCH)[8 * BATCH] == Due(True, True, True)
    assert run.due_at_end(8 * BATCH) == Due()
    run = schedule(faces)
    assert actions(run, 0, 6 * BATCH)[6 * BATCH] == Due(True, False, True)
    assert run.due_at_end(6 * BATCH) == Due(snapshot=True)
    run = schedule(faces)
    actions(run, 0, 7 * BATCH)
    assert run.due_at_end(7 * BATCH) == Due(True, True, True)
    assert run.due_at_end(7 * BATCH) == Due()


@pytest.mark.parametrize("start", [0, 8 * BATCH])
def test_a_process_without_a_step_saves_but_has_no_tick(faces, start):
    assert schedule(faces, start).due_at_end(start) == Due(snapshot=True, checkpoint=True)


def test_a_run_is_finished_at_its_kimg(faces):
    run = schedule(faces, kimg=0.02)
    assert [run.is_finished(nimg) for nimg in (0, 16, 20, 24)] == [False, False, True, True]


@pytest.mark.parametrize(("cur_nimg", "number"), [(0, 0), (7, 0), (8, 1), (15, 1), (16, 2), (8_000_000, 1_000_000)])
def test_ticks_are_counted_from_the_start_of_the_run(faces, cur_nimg, number):
    assert tick_number(cur_nimg, tiny_run.options(faces, tick=0.008)) == number
