"""Bad ticks end a run, single overflows do not."""

from __future__ import annotations

import math

import pytest

from trainer.divergence_monitor import DivergenceMonitor
from trainer.errors import TrainingError
from trainer.stats import as_summary

GOOD = {
    "Loss/G/loss": as_summary(0.7),
    "Gradients/G/overflow": as_summary(0.5),
    "Gradients/G/norm": as_summary(math.inf),
}
OVERFLOW = {**GOOD, "Gradients/R1/overflow": {"num": 4, "mean": 0.75, "std": 0.4}}
NOT_A_NUMBER = {**GOOD, "Loss/D/loss": as_summary(math.nan)}


def test_half_of_the_steps_may_overflow():
    monitor = DivergenceMonitor(1)
    assert monitor.update(GOOD) is None
    assert monitor.is_healthy


def test_a_single_step_that_overflows_is_bad_only_after_another_one():
    monitor = DivergenceMonitor(2)
    single, fine = ({**GOOD, "Gradients/R1/overflow": as_summary(value)} for value in (1.0, 0.0))
    assert [monitor.update(tick) for tick in (single, fine, single)] == [None] * 3
    assert monitor.update(GOOD) is None  # without a step of that phase
    assert "100% of the steps of phase R1" in monitor.update(single)
    with pytest.raises(TrainingError, match="2 bad ticks"):
        monitor.update(single)


@pytest.mark.parametrize(
    ("bad", "words"), [(OVERFLOW, "75% of the steps of phase R1"), (NOT_A_NUMBER, "Loss/D/loss is nan")]
)
def test_bad_ticks_in_a_row_end_the_run(bad, words):
    monitor = DivergenceMonitor(3)
    for _ in range(2):
        assert words in monitor.update(bad)
        assert not monitor.is_healthy
    assert monitor.update(GOOD) is None  # begins to count anew
    assert monitor.is_healthy
    for _ in range(2):
        monitor.update(bad)
    with pytest.raises(TrainingError, match=r"3 bad ticks in a row \(--max_bad_ticks=3\)") as failure:
        monitor.update(bad)
    assert words in str(failure.value) and "\n" not in str(failure.value)
