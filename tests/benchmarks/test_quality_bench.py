"""The matrix of training runs, with stand-ins for training and for the distances of generated images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality_bench
from sg3tf.cli.main import main as sg3tf_main
from sg3tf.data.sampler import ORDERS
from sg3tf.utils import command_line


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faces: Path) -> Any:
    """A function of --options that runs the benchmark; returns its lines, and the runs that were trained."""
    trained: list[list[str]] = []

    def train(outdir: Path, arguments: list[str]) -> None:
        trained.append(arguments)
        (outdir / "00000-run").mkdir(parents=True)  # killed before its first checkpoint
        run = outdir / "00001-run"
        run.mkdir()
        options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
        (run / "options.json").write_text(json.dumps({"lecam": "0", "data_order": ORDERS[-1], **options}))
        for name in ("000004", "000008_016"):
            (run / f"network-snapshot-{name}.keras").write_text(f"{1000 * len(trained)}")

    def compute(names: Any, G: str, real: Any, num_samples: int, batch: int) -> dict[str, float]:
        assert num_samples == len(real) == 9
        return {name: float(G) for name in names}

    def run(options: str, *more: str, status: int = 0) -> tuple[list[dict[str, Any]], list[list[str]]]:
        trained.clear()
        given = [f"--data={faces}", "--kimg=6", "--seeds=2", "--held_out=9", f"--outdir={tmp_path / 'q'}"]
        arguments = [*given, f"--options={options}", *more, "--", "--batch=8"]
        found = command_line.run(
            "quality_bench", quality_bench.main, quality_bench.define_flags, "", arguments, positional="FLAG..."
        )
        assert found == status
        lines = (tmp_path / "q" / "quality.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], list(trained)

    for function in (train, compute):
        monkeypatch.setattr(quality_bench, function.__name__, function)
    monkeypatch.setattr(quality_bench, "load", Path.read_text)
    return run


def test_matrix(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines, trained = bench("base,lecam=0.1+aug=apa")
    floor, *runs = lines
    assert floor["option"] == "floor" and 0 < floor["swd"] < 1000
    order = [("base", 0), ("lecam=0.1+aug=apa", 0), ("base", 1), ("lecam=0.1+aug=apa", 1)]
    assert [(run["option"], run["seed"]) for run in runs] == order
    for run, arguments in zip(runs, trained, strict=True):
        assert {"--kimg=6", "--tick=1", "--batch=8", "--validation=9", f"--seed={run['seed']}"} <= set(arguments)
        assert ("--lecam=0.1" in arguments and "--aug=apa" in arguments) == (run["option"] != "base")
        assert [point["kimg"] for point in run["snapshots"]] == [4, 8.016]
        assert all(point["swd"] > floor["swd"] for point in run["snapshots"])
    more, trained = bench("base,relativistic")  # what is done is not made again
    assert more[:5] == lines and [run["option"] for run in more[5:]] == ["relativistic"] * 2 and len(trained) == 2

    folders = [run["run"] for run in runs]
    out = tmp_path / "curves.png"
    assert sg3tf_main(["compare-runs", *folders, "--metric=swd_held_out", f"--out={out}"]) == 0
    first = capsys.readouterr().out.splitlines()[-3].split()
    assert first[:2] == ["2", "8.016"]
    assert float(first[3]) == 2000  # the mean of the first and the third run


def test_runs_with_other_held_out_images_are_refused(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """They have trained on what is held out now."""
    run = tmp_path / "q" / "base" / "seed0" / "00000-run"
    run.mkdir(parents=True)
    (run / "options.json").write_text('{"data_order": 2}')
    lines, trained = bench("base", status=1)
    assert [line["option"] for line in lines] == ["floor"] and not trained
    assert f"{run}: was started by an earlier revision, with other held-out images" in capsys.readouterr().err


def test_resolution_and_number_of_images(bench: Any):
    (floor, *runs), trained = bench("base", "--resolution=16", "--max_images=20")
    assert (floor["resolution"], floor["images"], floor["held_out"]) == ("16", 11, 9)
    assert [run["flags"] for run in runs] == [["--resolution=16", "--max_images=20", "--batch=8"]] * 2
    assert all({"--resolution=16", "--max_images=20"} <= set(arguments) for arguments in trained)


def test_training_that_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="trainer.main .*--nonsense failed with status 1; its message is above"):
        quality_bench.train(tmp_path, ["--nonsense"])
    assert "nonsense" in capfd.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 130])
def test_ctrl_c_waits_for_the_trainer_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int
):
    """Its lines are not among those of the benchmark."""
    trainer = tmp_path / "trainer.py"
    trainer.write_text(f"""#!{sys.executable}
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(1)
    print("saved", flush=True)
    sys.exit({status})
signal.signal(signal.SIGINT, save)
for process in os.getppid(), os.getpid():  # as a terminal does
    os.kill(process, signal.SIGINT)
time.sleep(60)
""")
    trainer.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(trainer))
    with pytest.raises(KeyboardInterrupt, match="stopped; the same command continues"):
        quality_bench.train(tmp_path, [])
    assert capfd.readouterr() == ("", "saved\n")


def test_unknown_option():
    with pytest.raises(ValueError, match="'lecam' is neither FLAG=VALUE nor one of base, relativistic"):
        quality_bench.training_flags("gamma=1+lecam")
