"""sg3tf compare-runs, with run folders made of the files that it reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.compare_runs import main
from trainer.run_curves import group_runs, read_run, read_runs


def make_run(
    folder: Path, values: dict[float, float], seconds: float = 90.0, num_samples: int = 100, **options: Any
) -> Path:
    """A run with a tick every 2 kimg, of so many seconds, to the last of the values {kimg: swd}."""
    folder.mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps({"loss": "logistic", "gamma": 1.0, "seed": 0, **options}))
    ticks = np.arange(2, max(values) + 1, 2.0)
    with (folder / "stats.jsonl").open("w") as file:
        for kimg in ticks:
            entries = {"Progress/kimg": kimg, "Timing/sec_per_tick": seconds, "Loss/D/loss": kimg / 100}
            entries |= {"Timing/total_sec": 1.0}  # of a process, of which there may have been several
            file.write(json.dumps({n: {"mean": v} for n, v in entries.items()} | {"timestamp": 0}) + "\n")
    with (folder / "metric-swd.jsonl").open("w") as file:
        for kimg, value in values.items():
            line = {"metric": "swd", "results": {"swd": value}, "num_samples": num_samples, "kimg": kimg}
            file.write(json.dumps(line) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two seeds, of which one was stopped earlier; and another loss."""
    a = make_run(tmp_path / "00000-a", {4: 80.0, 8: 40.0, 12: 20.0}, desc="first", kimg=12)
    b = make_run(tmp_path / "00001-a", {4: 60.0, 8: 50.0}, seconds=30.0, seed=1, kimg=8)
    c = make_run(tmp_path / "00002-a", {4: 90.0, 8: 7.0, 12: 8.0}, loss="relativistic", lecam=0.0)
    return [str(a), str(b), str(c)]


def test_runs_that_differ_in_the_seed_are_one_group(runs: list[str]):
    first, second = group_runs([read_run(Path(run), "swd") for run in runs])
    assert (first.label, second.label) == ("loss=logistic", "loss=relativistic")
    assert [run.name for run in first.runs] == ["00000-a", "00001-a"]
    for array, expected in (
        (first.kimg, [4, 8]),
        (first.hours, [2 * 60 / 3600, 4 * 60 / 3600]),
        (first.mean, [70, 45]),
        (first.low, [60, 40]),
        (first.high, [80, 50]),
        (second.kimg, [4, 8, 12]),
        (second.low, [90, 7, 8]),
    ):
        np.testing.assert_allclose(array, expected)


def test_runs_whose_snapshots_are_at_other_places(tmp_path: Path):
    """At the places of the one that has fewer, by linear interpolation of the other."""
    a = make_run(tmp_path / "a", {2: 10.0, 6: 30.0})
    b = make_run(tmp_path / "b", {1: 5.0, 3: 15.0, 5: 25.0, 8: 70.0}, seed=3)
    (group,) = group_runs([read_run(a, "swd"), read_run(b, "swd")])
    assert group.label == "a"
    np.testing.assert_allclose([group.kimg, group.low, group.high], [[2, 6], [10, 30], [10, 40]])
    c = make_run(tmp_path / "c", {3: 15.0, 4: 20.0, 5: 20.0}, seed=4)  # all between the values of the other
    (group,) = group_runs([read_run(a, "swd"), read_run(c, "swd")])
    np.testing.assert_allclose([group.kimg, group.low, group.high], [[3, 4, 5], [15, 20, 20], [15, 20, 25]])


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder, gamma in (("few/t", 1.0), ("many/t", 2.0), ("many/r", 3.0)):
        make_run(tmp_path / folder / "00000-faces", {2: 10.0}, gamma=gamma)
    monkeypatch.chdir(tmp_path / "many")

    def names(*folders: str) -> list[str]:
        return [run.name for run in read_runs([Path(folder) for folder in folders], "swd")]

    assert names("t/00000-faces", "r/00000-faces") == ["t/00000-faces", "r/00000-faces"]
    assert names("t/00000-faces", "../few/t/00000-faces") == ["many/t/00000-faces", "few/t/00000-faces"]
    assert names("t/00000-faces", "t/00000-faces") == ["00000-faces", "00000-faces"]


def test_table_and_figure(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with open(Path(runs[0]) / "metric-swd.jsonl", "a") as file:
        file.write('{"metric": "sw')  # the run goes on
    out = tmp_path / "curves.png"
    assert main([*runs, f"--out={out}"]) == 0
    head, first, second, path = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["runs", "kimg", "hours", "mean", "lowest", "highest"]
    assert first.split() == ["2", "8", "0.06667", "45", "40", "50", "45", "8", "70", "4", "loss=logistic"]
    assert second.split() == ["1", "12", "0.15", "8", "8", "8", "7", "8", "90", "4", "loss=relativistic"]
    assert path == str(out)
    with Image.open(out) as image:
        colors = {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    assert {(0, 0, 0), (0, 0x72, 0xB2)} <= colors  # the curves of both
    assert main([*runs, f"--out={out}", "--metric=Loss/D/loss"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["2", "8", "0.06667", "0.08"]


def test_values_that_are_no_numbers_are_not_the_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run", {4: 3.0, 8: math.nan, 12: 90.0})
    assert main([str(run), f"--out={tmp_path / 'curves.png'}"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[6:10] == ["3", "4", "90", "12"]


def test_values_of_the_last_definition_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """After --snap was changed, which decides how many images are compared."""
    run = make_run(tmp_path / "run", {1: 80.0}, num_samples=1000)
    with open(run / "metric-swd.jsonl", "a") as file:
        for kimg in (2, 3):
            file.write(json.dumps({"results": {"swd": 10.0 * kimg}, "num_samples": 400, "kimg": kimg}) + "\n")
    found = read_run(run, "swd")
    assert (found.kimg.tolist(), found.values.tolist()) == ([2, 3], [20, 30])
    ones, others = (f"({count} images, version 1 of the metric)" for count in (1000, 400))
    said = f"1 of 3 values of swd left out, because they were measured differently {ones} than the last one {others}"
    assert capsys.readouterr().err == f"{run}: {said}\n"


def test_a_run_without_a_value_yet_is_left_out(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    begun = make_run(tmp_path / "00003-begun", {2: 1.0})
    (begun / "metric-swd.jsonl").unlink()
    found = read_runs([begun, *map(Path, runs)], "swd")
    assert [run.name for run in found] == ["00000-a", "00001-a", "00002-a"]
    assert capsys.readouterr().err.startswith(f"left out: {begun}: has no values of 'swd'; no metric has been computed")
    with pytest.raises(ValueError, match="has no values of 'fid'"):
        read_runs([begun, *map(Path, runs)], "fid")


def test_errors(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = make_run(tmp_path / "other", {4: 80.0}, num_samples=50)
    damaged, foreign = make_run(tmp_path / "damaged", {4: 1.0}), make_run(tmp_path / "foreign", {4: 1.0})
    (damaged / "metric-swd.jsonl").write_text("{\n")
    (foreign / "stats.jsonl").write_text("[1]\n")
    out = f"--out={tmp_path / 'x.png'}"
    for arguments, words in (
        ([out], ["no runs"]),
        ([*runs, "--out=x.jpg"], ["out=x.jpg", ".png"]),
        ([str(tmp_path), out], [str(tmp_path), "not a run folder"]),
        ([runs[0], out, "--metric=fid"], [runs[0], "no values of 'fid'", "swd"]),
        ([runs[0], str(other), out], ["100 images, version 1 of the metric in 00000-a", "50 images", "in other"]),
        ([str(damaged), out], ["metric-swd.jsonl, line 1", "damaged"]),
        ([str(foreign), out], [str(foreign), "damaged"]),
    ):
        assert main(arguments) == 1, arguments
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and [word for word in words if word not in message] == [], message
    assert not (tmp_path / "x.png").exists()
