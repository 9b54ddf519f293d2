"""Counts of the training loop's benchmark; its measurements are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from absl import app

from benchmarks import loop_bench
from benchmarks.loop_bench import Alternating, Turn, row_of
from trainer.step import TrainStep

ROOT = Path(__file__).parents[2]
SECONDS = {"G": 5.0, "D": 3.0, "R1": 2.0, "average": 1.0}
SPLIT, REST = 0.25, 4.0  # converting the inputs of a phase, and everything else that a step does in the loop


class FakeStep:
    """Training step that computes nothing, and advances a clock by the seconds of its parts."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, Counter[str]()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        time = SimpleNamespace(perf_counter=lambda: self.now, process_time=lambda: 2 * self.now)
        monkeypatch.setattr(loop_bench, "time", time)
        monkeypatch.setattr(TrainStep, "__init__", lambda stepper: self._make(stepper))
        monkeypatch.setattr(TrainStep, "_to_devices", lambda stepper, arrays: self._pass(SPLIT, "split"))
        monkeypatch.setattr(TrainStep, "run", lambda stepper, real, held_out: self._run(stepper))

    def _make(self, stepper: Any) -> None:
        stepper.state, stepper.options = SimpleNamespace(step=0), SimpleNamespace(r1_interval=16)
        functions = {name: lambda tensors, name=name: self._pass(SECONDS[name], name) for name in SECONDS}
        stepper._update_ema = functions.pop("average")
        stepper._phases = functions

    def _run(self, stepper: Any) -> None:
        self._pass(REST, "rest")
        for name, phase in stepper._phases.items():
            if name != "R1" or stepper.state.step % 16 == 0:
                phase({})
        stepper._update_ema(0.5)
        stepper.state.step += 1

    def _pass(self, seconds: float, name: str) -> None:
        self.now += seconds
        self.calls[name] += 1


def test_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn has the phases in the ratio of training, once in the loop and once without anything beside them."""
    fake, turns = FakeStep(), list[Turn]()
    fake.install(monkeypatch)
    stepper = Alternating(turns)
    for _ in range(2 * 16 + 1):
        stepper.run(None)  # type: ignore[arg-type]
    phases = 16 * (5 + 3 + 1) + 2
    whole = phases + 16 * REST + (2 * 16 + 1) * SPLIT
    assert turns == [Turn(whole, 2 * whole, phases, 2 * phases, phases)] * 2
    steps = 4 * 16 + 1  # two turns of both kinds, and the step that ends the second one
    assert fake.calls == {
        **{"G": steps, "D": steps, "average": steps, "R1": 5},
        **{"rest": 33, "split": 2 * 33 + 3},
    }


def test_row() -> None:
    turns = [Turn(8.0, 20.0, 6.0, 19.0, 7.0, 0.4), Turn(10.0, 16.0, 9.0, 16.0, 9.9, 0.1), Turn(9, 10, 10, 9, 9, 0)]
    row = row_of("T-16", "ada", "native", turns)
    assert row["images_per_turn"] == 64
    assert row["loop_images_per_second"] == pytest.approx(64 / 9)
    assert row["phases_images_per_second"] == pytest.approx(64 / 9)
    assert row["milliseconds_per_step_outside_of_phases"] == pytest.approx(0.1 / 16 * 1000)
    assert row["input_stall_share"] == pytest.approx(0.01)
    assert row["overhead_share"] == pytest.approx({"clock": 0.1, "cores": 0.05, "outside_of_phases": 0.01})
    assert row["overhead_share_of_turns"]["clock"] == pytest.approx([0.25, 0.1, -1 / 9])
    assert row["goals"]["overhead_share_clock"] == {"is": pytest.approx(0.1), "at_most": 0.05}


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    """Without augmentation, whose functions take the longest to trace; the loop's other work is the same."""
    out = tmp_path / "loop.json"
    command = [sys.executable, "-m", "benchmarks.loop_bench", "--repeats=2", f"--out={out}"]
    done = subprocess.run([*command, "--presets=T-16", "--aug=noaug"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert [json.loads(line) for line in done.stdout.splitlines()][1:] == [row]
    assert (row["network"], row["aug"], row["images_per_turn"]) == ("T-16", "noaug", 64)
    assert all(len(shares) == 2 for shares in row["overhead_share_of_turns"].values())
    assert row["loop_images_per_second"] > 0 and row["phases_images_per_second"] > 0
    assert 0 < row["overhead_share"]["outside_of_phases"] < 1  # both are times of the same turn
    assert 0 < row["input_stall_share"] < row["overhead_share"]["outside_of_phases"]


def test_unknown_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_bench, "flags", SimpleNamespace(FLAGS=SimpleNamespace(presets=["T-16"])))
    monkeypatch.setattr(loop_bench, "_AUG", SimpleNamespace(value=["adaa"]))
    with pytest.raises(app.UsageError, match=r"aug=\['adaa'\]: give some of noaug, fixed, ada"):
        loop_bench.main(["loop_bench"])
