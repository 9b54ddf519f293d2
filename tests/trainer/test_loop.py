"""What ends a run from outside, in one line; that a run ends well is in test_main."""

from __future__ import annotations

import errno

import pytest
import tensorflow as tf

from trainer import loop, run_dir
from trainer.errors import TrainingError


class Workers:
    """So many."""

    def __init__(self, count):
        self.count = count


@pytest.fixture
def run(tmp_path):
    for cur_nimg in (8, 16):
        run_dir.new_checkpoint(tmp_path, cur_nimg).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "stats.jsonl"),
            ["stats.jsonl: cannot be written", "No space"],
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore"), ["memory (OOM when allocating)"]),
        (tf.errors.UnavailableError(None, None, "Socket closed\nmore"), ["another worker is lost", "Socket closed"]),
    ],
)
def test_one_line_with_the_remedy(run, error, words):
    with pytest.raises(TrainingError) as failure, loop._explained(run, Workers(2)):
        raise error
    message = str(failure.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    if "memory" in message:
        assert "--batch_per_replica" in message
    else:
        assert message.endswith(str(run / "checkpoints" / "000000016"))


def test_errors_of_the_program_itself_stay_what_they_are(run):
    error = tf.errors.InvalidArgumentError(None, None, "shapes")
    with pytest.raises(tf.errors.InvalidArgumentError), loop._explained(run, Workers(1)):
        raise error


def test_several_workers_agree_on_stopping_every_few_steps():
    class Asked(Workers):
        times = 0

        def any(self, flag):
            Asked.times += 1
            return flag

    class State:
        step = 0

    stopped = []
    for State.step in range(9):
        stopped.append(loop._shall_stop([2], Asked(2), State))
    assert [step for step, stop in enumerate(stopped) if stop] == [0, 4, 8]
    assert Asked.times == 3
    assert loop._shall_stop([2], Asked(1), State) and not loop._shall_stop([], Asked(1), State)
