"""python -m trainer.main from outside: what a run leaves, stopping and resuming, and refusals."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sg3tf
from tests.trainer.tiny import SIZE
from trainer import run_folder
from trainer.data import open_dataset
from trainer.options import Options

ROOT = Path(__file__).parents[2]
BATCH = 8
MORE_STEPS = 16  # after resuming: R1 is among them, wherever the run was stopped
NAME = f"stylegan3-t-faces-batch{BATCH}-gamma0.5"
HANGS_AFTER_S = 300


def flags(outdir, data, **more):
    values = {"outdir": outdir, "data": data, "batch": BATCH, "gamma": 0.5, **SIZE, "strategy": "cpu", **more}
    return [f"--{name}={value}" for name, value in values.items()]


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.main", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """(exit status, stdout, stderr)"""
    try:
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    except BaseException:
        process.kill()
        raise
    return process.returncode, out, err


class Run(NamedTuple):
    """A run that has ended."""

    folder: Path
    status: int
    out: str
    err: str

    def progress(self):
        return json.loads((run_folder.checkpoints(self.folder)[-1] / "progress.json").read_text())


class Runs(NamedTuple):
    """The same run, stopped in the middle and resumed, and without a stop."""

    arguments: list[str]
    stopped: Run  # with a copy of its folder as it was then
    resumed: Run
    straight: Run


def fresh(arguments):
    """Runs to the end, in an outdir without other runs."""
    status, out, err = finish(start(arguments))
    return Run(only(Path(arguments[0].partition("=")[2]).iterdir()), status, out, err)


def only(items):
    (item,) = items
    return item


@pytest.fixture(scope="module")
def runs(tmp_path_factory, unlabelled):
    folder = tmp_path_factory.mktemp("runs")
    common = {"mirror": True, "workers": 2, "tick": 4 * BATCH / 1000}
    arguments = flags(folder / "a", unlabelled, kimg=1000, snap=100, resume="latest", **common)
    process = start(arguments)
    began = time.monotonic()
    while not list((folder / "a").glob("*/stats.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < HANGS_AFTER_S
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    original = only((folder / "a").iterdir())
    shutil.copytree(original, folder / "stopped" / original.name)
    stopped = Run(folder / "stopped" / original.name, *result)

    # In images; half a batch less than a whole number of them, so that rounding cannot matter.
    end_kimg = (stopped.progress()["cur_nimg"] + MORE_STEPS * BATCH - BATCH // 2) / 1000
    resumed = fresh([*arguments, f"--kimg={end_kimg}"])
    straight = fresh(flags(folder / "b", unlabelled, kimg=end_kimg, snap=2, **common))
    return Runs(arguments, stopped, resumed, straight)


@pytest.mark.slow
def test_exit_status(runs):
    assert [(run.status, run.err if run.status not in (0, 130) else "") for run in runs[1:]] == [
        (130, ""),
        (0, ""),
        (0, ""),
    ]
    assert not any("Traceback" in run.err for run in runs[1:])


# What a run leaves.


@pytest.mark.slow
def test_folder(runs):
    folder = runs.straight.folder
    assert folder.name == f"00000-{NAME}"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("options.json", "log.txt", "stats.jsonl", "tensorboard", "checkpoints"),
        *("reals.png", "fakes000000.png", "network-snapshot-000000.keras"),
    }


@pytest.mark.slow
def test_options_are_the_resolved_ones(runs, unlabelled):
    options = Options.from_file(runs.straight.folder / "options.json")
    assert options == Options(
        cfg="stylegan3-t",
        data=str(unlabelled),
        data_name="faces",
        resolution=16,
        image_channels=3,
        num_images=64,
        label_dim=0,
        batch=BATCH,
        gamma=0.5,
        batch_per_replica=BATCH,
        kimg=options.kimg,
        tick=4 * BATCH / 1000,
        snap=2,
        mirror=True,
        workers=2,
        strategy="cpu",
        **SIZE,
    )


@pytest.mark.slow
def test_images(runs, unlabelled):
    """Grids of 16 columns: 8 rows of fakes; of reals, as many as there are."""
    folder = runs.straight.folder
    with Image.open(folder / "fakes000000.png") as fakes, Image.open(folder / "reals.png") as reals:
        assert (fakes.size, fakes.mode) == ((16 * 16, 8 * 16), "RGB")
        assert (reals.size, reals.mode) == ((16 * 16, 4 * 16), "RGB")
        pixels, shown = np.asarray(fakes), np.asarray(reals)
    tiles = shown.reshape(4, 16, 16, 16, 3).swapaxes(1, 2).reshape(64, 16, 16, 3)
    dataset = open_dataset(unlabelled)
    np.testing.assert_array_equal(tiles, [dataset[i][0] for i in range(64)])
    assert len(np.unique(pixels.reshape(8, 16, 16, 16, 3).swapaxes(1, 2).reshape(128, -1), axis=0)) > 100


def scalars(run):
    return [json.loads(line) for line in (run.folder / "stats.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_statistics(runs):
    rows = scalars(runs.straight)
    steps = runs.straight.progress()["step"]
    # A tick every 4 steps, and at the end.
    assert [row["progress/kimg"] for row in rows] == [
        *(n * 4 * BATCH / 1000 for n in range(1, (steps - 1) // 4 + 1)),
        steps * BATCH / 1000,
    ]
    for index, row in enumerate(rows):
        expected = {
            *("loss/G", "loss/D", "logits/fake", "logits/real", "logits/real_sign", "progress/kimg"),
            *("timing/sec_per_kimg", "timing/total_sec", "resources/peak_memory_gb"),
        }
        first, last = index * 4, min(index * 4 + 4, steps)
        if any(step % 16 == 0 for step in range(first, last)):
            expected.add("loss/R1")
        assert set(row) == expected
        assert all(np.isfinite(value) for value in row.values())
        assert 0 < row["timing/sec_per_kimg"] < 10_000
        assert -1 <= row["logits/real_sign"] <= 1
        assert 0.1 < row["resources/peak_memory_gb"] < 100
    assert rows[0]["loss/G"] == pytest.approx(np.log(2), abs=0.2)  # D knows nothing yet
    assert rows[0]["loss/D"] == pytest.approx(2 * np.log(2), abs=0.4)


@pytest.mark.slow
def test_log_has_a_line_per_tick(runs):
    lines = (runs.straight.folder / "log.txt").read_text().splitlines()
    assert len(lines) == len(scalars(runs.straight))
    for line in lines:
        assert re.match(r"kimg [\d.]+ +sec/kimg [\d.]+ +total (\d+h )?\d+m \d\ds +mem [\d.]+ *GB  D ", line), line
        assert line in runs.straight.out
    assert "kimg" in runs.straight.err  # the progress bar


@pytest.mark.slow
def test_tensorboard(runs):
    events = EventAccumulator(str(runs.straight.folder / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    rows = scalars(runs.straight)
    assert tags == set().union(*rows) | {"fakes"}
    for name in tags - {"fakes"}:
        points = [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        expected = [(round(row["progress/kimg"] * 1000), row[name]) for row in rows if name in row]
        assert [step for step, _ in points] == [step for step, _ in expected]
        np.testing.assert_allclose([v for _, v in points], [v for _, v in expected], rtol=1e-6, err_msg=name)
        assert events.SummaryMetadata(name).plugin_data.plugin_name == "scalars"
    assert events.SummaryMetadata("fakes").plugin_data.plugin_name == "images"
    width, height, *encoded = tf.make_ndarray(events.Tensors("fakes")[-1].tensor_proto)
    assert (int(width), int(height)) == (256, 128)
    with Image.open(runs.straight.folder / "fakes000000.png") as image:
        np.testing.assert_array_equal(tf.io.decode_png(encoded[0]).numpy(), np.asarray(image))


@pytest.mark.slow
def test_snapshot_is_the_averaged_generator(runs):
    folder = runs.straight.folder
    checkpoint = run_folder.checkpoints(folder)[-1]
    with Image.open(folder / "fakes000000.png") as image:
        first_tile = np.asarray(image)[:16, :16]
    stored = tf.train.load_checkpoint(str(checkpoint / "state"))
    for path in (folder, folder / "network-snapshot-000000.keras", checkpoint):
        G = sg3tf.load(path)
        for index, variable in enumerate(G.variables):
            value = stored.get_tensor(f"G_ema/{index}/.ATTRIBUTES/VARIABLE_VALUE")
            np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    philox = np.random.Philox(key=[0, 4], counter=[0, 0, 0, 0])
    z = np.random.Generator(philox).standard_normal([128, 512], np.float32)
    shown = sg3tf.images.to_uint8(G.predict(z[:4], verbose=0))[0]
    assert np.max(np.abs(shown.astype(int) - first_tile)) <= 1  # rounding to 8 bits


@pytest.mark.slow
def test_checkpoints(runs):
    steps = runs.straight.progress()["step"]
    saved = [step for step in range(8, steps, 8)] + [steps]  # every second tick, and at the end
    names = [path.name for path in run_folder.checkpoints(runs.straight.folder)]
    assert names == [f"{step * BATCH:09d}" for step in saved[-2:]]
    assert runs.straight.progress() == {"cur_nimg": steps * BATCH, "step": steps}


# Stopping and resuming.


@pytest.mark.slow
def test_ctrl_c_stops_at_a_checkpoint_and_says_how_to_go_on(runs):
    stopped = runs.stopped
    assert stopped.status == 130
    progress = stopped.progress()
    assert progress["step"] >= 4 and progress["cur_nimg"] == progress["step"] * BATCH
    assert only(run_folder.checkpoints(stopped.folder)).name == f"{progress['cur_nimg']:09d}"
    *_, says, command = stopped.out.splitlines()
    assert says == "Stopped at a checkpoint. Continue with:"
    original = runs.resumed.folder
    expected = [*(a for a in runs.arguments if not a.startswith("--resume")), f"--resume={original}"]
    assert shlex.split(command) == ["python", "-m", "trainer.main", *expected]


@pytest.mark.slow
def test_latest_begins_a_run_where_there_is_none(runs):
    assert f"--resume=latest: no run named *-{NAME} in {runs.resumed.folder.parent}; beginning one" in runs.stopped.out


@pytest.mark.slow
def test_latest_continues_in_the_same_folder(runs):
    stopped, resumed = runs.stopped, runs.resumed
    assert only(resumed.folder.parent.iterdir()).name == stopped.folder.name  # no second run
    assert f"Resuming from {run_folder.CHECKPOINTS}" in resumed.out.replace(f"{resumed.folder}/", "")
    assert resumed.progress()["step"] == stopped.progress()["step"] + MORE_STEPS
    for name in ("log.txt", "stats.jsonl"):
        before, after = ((run.folder / name).read_text() for run in (stopped, resumed))
        assert after.startswith(before) and len(after) > len(before)
    rows = [row["progress/kimg"] for row in scalars(resumed)]
    assert rows == sorted(set(rows))


@pytest.mark.slow
def test_resuming_changes_nothing(runs):
    """Bit for bit: weights, running statistics, optimizers, average. Mirroring and threads were on."""
    assert runs.resumed.progress() == runs.straight.progress()
    one, two = (
        tf.train.load_checkpoint(str(run_folder.checkpoints(run.folder)[-1] / "state"))
        for run in (runs.straight, runs.resumed)
    )
    shapes = one.get_variable_to_shape_map()
    assert two.get_variable_to_shape_map() == shapes
    names = [name for name in shapes if name.endswith("VARIABLE_VALUE")]
    for part, at_least in {"G": 85, "G_ema": 85, "D": 18, "g_optimizer": 135, "d_optimizer": 37}.items():
        assert sum(name.startswith(f"{part}/") for name in names) >= at_least
    assert [name for name in names if not np.array_equal(one.get_tensor(name), two.get_tensor(name))] == []


@pytest.mark.slow
def test_training_changed_what_resuming_must_not_change(runs):
    """Else the test above would say nothing."""
    one, two = (
        tf.train.load_checkpoint(str(run_folder.checkpoints(run.folder)[-1] / "state"))
        for run in (runs.stopped, runs.straight)
    )
    names = [name for name in one.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    same = [name.partition("/")[0] for name in names if np.array_equal(one.get_tensor(name), two.get_tensor(name))]
    # Frequencies, phases and the user's transform; learning rates.
    assert sorted(same) == ["G"] * 3 + ["G_ema"] * 3 + ["d_optimizer", "g_optimizer"]


# Refusals: one line, and nothing is made or changed.


def damaged(runs, folder, name, damage):
    """A copy of the stopped run whose file `name`, of its checkpoint or of itself, is damaged."""
    run = folder / name / runs.stopped.folder.name
    shutil.copytree(runs.stopped.folder, run)
    file = run / name if (run / name).exists() else only(run_folder.checkpoints(run)) / name
    damage(file)
    return run


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


class Refused(NamedTuple):
    """Every case's result, and the folder that the cases of runs to resume lie in, as it was before and after."""

    results: dict[str, dict]
    before: dict
    after: dict
    new: Path


@pytest.fixture(scope="module")
def refused(runs, tmp_path_factory, faces, unlabelled):
    folder = tmp_path_factory.mktemp("refused")
    old, new = folder / "old", folder / "new"
    old.mkdir()
    (folder / "file").touch()

    def begin(**more):
        return flags(new, unlabelled, **more)

    def resume(path, **more):
        return flags(old, unlabelled, mirror=True, resume=path, **more)

    run = old / runs.stopped.folder.name
    shutil.copytree(runs.stopped.folder, run)
    printed = shlex.split(runs.stopped.out.splitlines()[-1])[3:]
    cases = {
        "resolution": begin(resolution=32),
        "too small": begin(resolution=8),
        "no power of two": begin(resolution=17),
        "labels": begin(cond=True),
        "batch": begin(batch_per_replica=12),
        "no gpu": begin(strategy="gpu:7"),
        "strategy": begin(strategy="nonsense"),
        "no devices": begin(strategy="cpu:0"),
        "gamma": begin(gamma=-1),
        "seed": begin(seed=-1),
        "kimg": begin(kimg=0),
        "group": begin(mbstd_group=0),
        "channels": begin(cbase=16),
        "max_images": begin(max_images=0),
        "argument": [*begin(), "mirror"],
        "outdir": flags(folder / "file", unlabelled),
        "desc": begin(desc="a/b"),
        "nothing to resume": resume(folder / "nowhere"),
        "different": resume(run, seed=3, glr=0.1),
        "latest, different": resume("latest", cbase=256),
        "other data": [*resume(run), f"--data={faces}", "--cond"],
        "printed": [*printed, "--gamma=9"],
        "options.json": resume(damaged(runs, old, "options.json", cut)),
        "progress.json": resume(damaged(runs, old, "progress.json", Path.unlink)),
        "state.index": resume(damaged(runs, old, "state.index", Path.unlink)),
        "state.data-00000-of-00001": resume(damaged(runs, old, "state.data-00000-of-00001", cut)),
        "dry run": begin(dry_run=True, desc="x"),
        "resume in two words": [*begin(dry_run=True), "--resume", "latest", "--snap=3"],
    }
    before = listing(old)
    commands, results = folder / "commands.json", folder / "results.json"
    commands.write_text(json.dumps(list(cases.values())))
    subprocess.run(
        [sys.executable, "-m", "tests.trainer.refusals", str(commands), str(results)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=HANGS_AFTER_S,
    )
    found = dict(zip(cases, json.loads(results.read_text()), strict=True))
    return Refused(found, before, listing(old), new)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("resolution", ["resolution 32 is not there", "available: 4, 8, 16"]),
        ("too small", ["resolution=8", "from 16 to 1024"]),
        ("no power of two", ["resolution 17 is no power of two"]),
        ("labels", ["has no labels", "--cond"]),
        ("batch", ["--batch=8", "--batch_per_replica=12", "1 replicas = 12"]),
        ("no gpu", ["--strategy=gpu:7", "TensorFlow sees 0 GPUs"]),
        ("strategy", ["--strategy=nonsense", "mirrored", "gpu:K", "cpu:N"]),
        ("no devices", ["--strategy=cpu:0"]),
        ("gamma", ["--gamma=-1.0", "0 or more"]),
        ("seed", ["--seed=-1"]),
        ("kimg", ["--kimg=0.0"]),
        ("group", ["--mbstd_group=0"]),
        ("channels", ["channel_base=16", "at least 32"]),
        ("max_images", ["max_images is 0"]),
        ("argument", ["unexpected argument 'mirror'", "--name=value"]),
        ("outdir", ["--outdir=", "file"]),
        ("desc", ["--outdir=", "a/b"]),
        ("nothing to resume", ["--resume=", "nowhere", "holds no checkpoint"]),
        ("different", ["--seed: 0 in the checkpoint, 3 now", "--glr: 0.0025 in the checkpoint, 0.1 now"]),
        ("latest, different", ["--resume=latest", "--cbase: 128 in the checkpoint, 256 now"]),
        ("other data", ["--cond: False in the checkpoint, True now"]),
        ("printed", ["--gamma: 0.5 in the checkpoint, 9.0 now"]),
        ("options.json", ["options.json", "cannot be read"]),
        ("progress.json", ["cannot be restored", "progress.json"]),
        ("state.index", ["cannot be restored"]),
        ("state.data-00000-of-00001", ["cannot be restored"]),
    ],
)
def test_refusal(refused, case, words):
    result = refused.results[case]
    assert result["error"] is None, result["error"]
    assert result["status"] == 1
    (line,) = result["err"].splitlines()
    assert line.startswith("trainer.main: ")
    assert [word for word in words if word not in line] == [], line


@pytest.mark.slow
def test_refusals_make_and_change_nothing(refused):
    assert refused.after == refused.before
    assert [path.name for path in refused.new.glob("*")] == []


@pytest.mark.slow
def test_dry_run_prints_the_options(refused):
    result = refused.results["dry run"]
    assert (result["status"], result["err"], result["error"]) == (0, "", None)
    options = json.loads(result["out"])
    assert (options["desc"], options["batch_per_replica"], options["num_images"]) == ("x", BATCH, 64)


@pytest.mark.slow
def test_command_to_resume_has_one_resume(refused, unlabelled):
    given = flags(refused.new, unlabelled, dry_run=True)
    expected = ["python", "-m", "trainer.main", *given, "--snap=3", "--resume=RUN"]
    assert shlex.split(refused.results["resume in two words"]["resume"]) == expected


@pytest.mark.slow
def test_exit_status_of_a_refusal(tmp_path):
    outdir, missing = tmp_path / "out", tmp_path / "missing"
    status, out, err = finish(start(flags(outdir, missing)))
    lines = [line for line in err.splitlines() if not re.match(r"WARNING: All log messages|[IW]\d{4}", line)]
    assert (status, out, lines) == (1, "", [f"trainer.main: {missing} does not exist"])
    assert not outdir.exists()
