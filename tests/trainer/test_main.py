"""python -m trainer.main from outside: the files of a run, stopping, resuming, changing options, and refusals."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sg3tf
import sg3tf.metrics as sg3tf_metrics
from sg3tf.data import sampler
from sg3tf.data.dataset import open_dataset
from sg3tf.generate import latents_file
from sg3tf.generate.open_network import open_network
from sg3tf.models.loading import discriminator_beside, load_model
from sg3tf.models.run_folder import progress_name, snapshot_name
from sg3tf.ops import native
from tests.helpers.bit_flips import cut
from tests.helpers.clock_jump import JUMPS, JumpingClock
from tests.helpers.kill_soak import QUICK
from tests.helpers.kill_time import random_delay
from tests.helpers.tiny_run import PLAIN, SIZE
from tests.helpers.tools import CHROMIUM, skip
from tests.helpers.training_process import BATCH, HANGS_AFTER_S, NAME, ROOT, finish, flags, only, scalars, start
from trainer import distribution, run_dir
from trainer import main as trainer_main
from trainer.config import DEFAULTS, Options
from trainer.errors import TrainingError

MORE_STEPS = 16  # after resuming, so that R1 is among them wherever the run was stopped


class Run(NamedTuple):
    """A run that has ended."""

    folder: Path
    status: int
    out: str
    err: str

    def progress(self):
        return json.loads((run_dir.checkpoints(self.folder)[-1] / "progress.json").read_text())


class Runs(NamedTuple):
    """The same run, once stopped, resumed, killed and resumed again, and once without a stop."""

    arguments: list[str]
    stopped: Run  # with a copy of its folder as it was then
    killed: Run  # likewise
    resumed: Run
    straight: Run


def fresh(arguments, clock=None):
    """Runs to the end, in an outdir without other runs; while the wall clock jumps, if one is given."""
    process = start(arguments, clock.environment if clock else None)
    with jumps(clock):
        status, out, err = finish(process)
    return Run(only(Path(arguments[0].partition("=")[2]).iterdir()), status, out, err)


@contextlib.contextmanager
def jumps(clock):
    """The clock jumps every half second, but not to before 1980, where .keras files cannot be written."""
    ended = threading.Event()

    def jump():
        for seconds in itertools.cycle([seconds for seconds in JUMPS if seconds > -86_400]):
            clock.set(seconds)
            if ended.wait(0.5):
                return

    if clock is None:
        yield
        return
    thread = threading.Thread(target=jump)
    thread.start()
    yield
    ended.set()
    thread.join()


def last(folder, pattern):
    """The last of the files that match, in the order of their names without suffixes."""
    return max(folder.glob(pattern), key=lambda path: path.stem)


def wait_for(process, condition):
    began = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < HANGS_AFTER_S
        time.sleep(0.05)


def end(process, number, copy_to):
    """Sends the signal; a copy of the only run is made where `copy_to` says."""
    process.send_signal(number)
    result = finish(process)
    outdir = copy_to.parent / "a"
    shutil.copytree(original := only(outdir.iterdir()), copy_to / original.name)
    return Run(copy_to / original.name, *result)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, unlabeled):
    folder = tmp_path_factory.mktemp("runs")
    common = {"mirror": True, "workers": 2, "tick": 4 * BATCH / 1000, "checkpoint": 1, "ada_kimg": 1}
    arguments = flags(folder / "a", unlabeled, kimg=1000, snap=100, resume="latest", **common)
    process = start(arguments)
    wait_for(process, lambda: list((folder / "a").glob("*/stats.jsonl")))
    stopped = end(process, signal.SIGINT, folder / "stopped")

    process = start(arguments)
    run, last_name = only((folder / "a").iterdir()), run_dir.checkpoints(stopped.folder)[-1].name
    rows = len(scalars(stopped.folder))
    wait_for(
        process,
        lambda: len(scalars(run)) > rows + 1 and run_dir.checkpoints(run)[-1].name > last_name,
    )
    time.sleep(random_delay(2))  # at any moment: in a step, or while a file is written
    killed = end(process, signal.SIGKILL, folder / "killed")

    # In images; half a batch less than a whole number of them, so that rounding cannot matter.
    end_kimg = (killed.progress()["cur_nimg"] + MORE_STEPS * BATCH - BATCH // 2) / 1000
    resumed = fresh([*arguments, f"--kimg={end_kimg}"], JumpingClock.build(folder))
    shown = {"histograms": True, "profile_steps": "16,18", "metrics": "eqt50k_int", "metrics_samples": 4}
    straight = fresh(flags(folder / "b", unlabeled, kimg=end_kimg, snap=4, **common, **shown))
    return Runs(arguments, stopped, killed, resumed, straight)


@pytest.mark.slow
def test_exit_status(runs):
    assert [(run.status, run.err if run.status not in (0, 130, -signal.SIGKILL) else "") for run in runs[1:]] == [
        (130, ""),
        (-signal.SIGKILL, ""),
        (0, ""),
        (0, ""),
    ]
    assert not any("Traceback" in run.err for run in runs[1:])


# Files of a run.


def snapshots_nimg(run):
    """Images seen at each snapshot of the run without a stop: every 16 steps, and at the end."""
    steps = run.progress()["step"]
    return [step * BATCH for step in [*range(16, steps, 16), steps]]


@pytest.mark.slow
def test_jumps_of_the_clock_change_no_duration(runs):
    """Its weights and files are compared below."""
    durations = ("Timing/", "Goodput/", "Progress/goodput")
    kimg_of_a_tick = 4 * BATCH / 1000
    values = [
        row[name] * (kimg_of_a_tick if name == "Timing/sec_per_kimg" else 1)
        for row in scalars(runs.resumed.folder)
        for name in row
        if name.startswith(durations)
    ]
    assert values and all(0 <= value < 4 * HANGS_AFTER_S for value in values)
    seconds = json.loads((runs.resumed.folder / "goodput.json").read_text()).values()
    assert all(0 <= value < 4 * HANGS_AFTER_S for value in seconds)


@pytest.mark.slow
def test_folder(runs):
    folder = runs.straight.folder
    assert folder.name == f"00000-{NAME}"
    names = {path.name for path in folder.iterdir()}
    progress = [progress_name(nimg) for nimg in snapshots_nimg(runs.straight)]
    assert names == {
        *("options.json", "log.txt", "stats.jsonl", "goodput.json", "tensorboard", "checkpoints"),
        *("reals.png", "fakes000000.png", "fakes000000.npz"),
        *(f"network-snapshot-{name}{part}.keras" for name in progress for part in ("", "-discriminator")),
        *(f"fakes{name}.{suffix}" for name in progress for suffix in ("png", "npz")),
        *("metric-eqt50k_int.jsonl", "network-best-eqt50k_int.keras", "network-best-eqt50k_int-discriminator.keras"),
    }


@pytest.mark.slow
def test_options_are_the_resolved_ones(runs, unlabeled):
    options = Options.from_file(runs.straight.folder / "options.json")
    assert options == Options(
        cfg="stylegan3-t",
        data=str(unlabeled),
        data_name="faces",
        resolution=16,
        image_channels=3,
        num_images=64,
        label_dim=0,
        batch=BATCH,
        gamma=0.05,
        batch_per_replica=BATCH,
        kimg=options.kimg,
        tick=4 * BATCH / 1000,
        snap=4,
        histograms=True,
        profile_steps=(16, 18),
        metrics=("eqt50k_int",),
        metrics_samples=4,
        mirror=True,
        workers=2,
        strategy="cpu",
        checkpoint=1,
        ada_kimg=1.0,
        data_digest=open_dataset(unlabeled).digest,
        **SIZE,
    )


@pytest.mark.slow
def test_images(runs, unlabeled):
    """Grids of 16 columns: 8 rows of fakes; of reals, as many as there are."""
    folder = runs.straight.folder
    with Image.open(last(folder, "fakes*.png")) as fakes, Image.open(folder / "reals.png") as reals:
        assert (fakes.size, fakes.mode) == ((16 * 16, 8 * 16), "RGB")
        assert (reals.size, reals.mode) == ((16 * 16, 4 * 16), "RGB")
        pixels, shown = np.asarray(fakes), np.asarray(reals)
    tiles = shown.reshape(4, 16, 16, 16, 3).swapaxes(1, 2).reshape(64, 16, 16, 3)
    dataset = open_dataset(unlabeled)
    np.testing.assert_array_equal(tiles, [dataset[i][0] for i in range(64)])
    assert len(np.unique(pixels.reshape(8, 16, 16, 16, 3).swapaxes(1, 2).reshape(128, -1), axis=0)) > 100


@pytest.mark.slow
def test_a_tile_of_the_grid_can_be_drawn_again(runs):
    """Alone, where it was drawn among 16: sums have another order, so that a value may round to the next of 256."""
    folder = runs.straight.folder
    network = open_network(str(folder))
    ws = latents_file.load(last(folder, "fakes*.npz"), network)[[37]].ws
    (again,) = network.images(ws)
    with Image.open(last(folder, "fakes*.png")) as grid:
        tile = np.asarray(grid)[32:48, 80:96]  # row 2, column 5
    assert np.ptp(tile) > 10
    difference = np.abs(tile.astype(int) - again)
    assert difference.max() <= 1 and np.mean(difference > 0) < 0.01


@pytest.mark.slow
def test_statistics(runs):
    rows = scalars(runs.straight.folder)
    steps = runs.straight.progress()["step"]
    # A tick every 4 steps, and at the end.
    assert [row["Progress/kimg"] for row in rows] == [
        *(n * 4 * BATCH / 1000 for n in range(1, (steps - 1) // 4 + 1)),
        steps * BATCH / 1000,
    ]
    for index, row in enumerate(rows):
        expected = {
            *("Loss/G/loss", "Loss/D/loss", "Loss/scores/fake", "Loss/scores/real", "Loss/signs/fake"),
            *("Loss/signs/real", "Progress/tick", "Progress/kimg", "Progress/augment", "Progress/r_t"),
            *("Timing/total_sec", "Timing/sec_per_tick", "Timing/sec_per_kimg", "Timing/maintenance_sec"),
            *(
                "Progress/goodput",
                "Goodput/productive_sec",
                "Goodput/lost_sec",
                "Goodput/startup_sec",
                "Goodput/saving_sec",
            ),
            *("Timing/input_stall_share", "Resources/cpu_mem_gb", "Resources/peak_cpu_mem_gb"),
            *(f"Weights/{part}/norm" for part in ("G", "D", "G_ema")),
            *(f"Gradients/{phase}/{name}" for phase in "GD" for name in ("norm", "nonfinite", "overflow")),
        }
        first, last = index * 4, min(index * 4 + 4, steps)
        if any(step % 16 == 0 for step in range(first, last)):
            expected |= {"Loss/r1_penalty", "Loss/D/reg"}
            expected |= {f"Gradients/R1/{name}" for name in ("norm", "nonfinite", "overflow")}
        assert set(row) == expected
        assert all(np.isfinite(value) for value in row.values())
        assert 0 < row["Timing/sec_per_kimg"] < 10_000
        assert -1 <= row["Loss/signs/real"] <= 1
        assert 0 <= row["Timing/input_stall_share"] < 1
        assert 0.1 < row["Resources/cpu_mem_gb"] <= row["Resources/peak_cpu_mem_gb"] < 100
        assert row["Progress/tick"] == row["Progress/kimg"] * 1000 // (4 * BATCH)
    assert rows[0]["Loss/G/loss"] == pytest.approx(np.log(2), abs=0.2)  # D is untrained
    assert rows[0]["Loss/D/loss"] == pytest.approx(2 * np.log(2), abs=0.4)
    assert {row["Progress/augment"] for row in rows} != {0.0}


@pytest.mark.slow
def test_log_has_a_line_per_tick(runs):
    warning, first, *lines = (runs.straight.folder / "log.txt").read_text().splitlines()
    assert warning.startswith("warning: --gamma=0.05 differs by more than a factor of 4 from 0.5")
    assert first.startswith("building the training step with ")
    lines = [line for line in lines if not line.startswith("eqt50k_int")]
    assert len(lines) == len(scalars(runs.straight.folder))
    time = r"(\d+h )?\d+m \d\ds"
    form = rf"kimg [\d.]+ +sec/kimg [\d.]+ +total {time} +left {time} +mem [\d.]+ *GB  augment [\d.]+  D "
    for line in lines:
        assert re.match(form, line), line
        assert line in runs.straight.out
    assert "kimg" not in runs.straight.err  # the progress bar, which is for terminals


@pytest.mark.slow
def test_tensorboard(runs):
    events = EventAccumulator(str(runs.straight.folder / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    rows = scalars(runs.straight.folder)
    histograms = {tag for tag in tags if tag.startswith(("G/", "D/"))}
    assert {"G/mapping/fc0/kernel", "D/b16/conv0/bias"} <= histograms
    metrics = {"Metrics/eqt50k_int"}
    assert tags == set().union(*rows) | {"fakes"} | histograms | metrics
    for name in tags - {"fakes"} - histograms - metrics:
        points = [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        expected = [(round(row["Progress/kimg"] * 1000), row[name]) for row in rows if name in row]
        assert [step for step, _ in points] == [step for step, _ in expected]
        np.testing.assert_allclose([v for _, v in points], [v for _, v in expected], rtol=1e-6, err_msg=name)
        assert events.SummaryMetadata(name).plugin_data.plugin_name == "scalars"
    assert events.SummaryMetadata("fakes").plugin_data.plugin_name == "images"
    width, height, *encoded = tf.make_ndarray(events.Tensors("fakes")[-1].tensor_proto)
    assert (int(width), int(height)) == (256, 128)
    with Image.open(last(runs.straight.folder, "fakes*.png")) as image:
        np.testing.assert_array_equal(tf.io.decode_png(encoded[0]).numpy(), np.asarray(image))


@pytest.mark.slow
def test_snapshot_is_the_averaged_generator_and_the_discriminator(runs):
    folder = runs.straight.folder
    checkpoint = run_dir.checkpoints(folder)[-1]
    with Image.open(last(folder, "fakes*.png")) as image:
        first_tile = np.asarray(image)[:16, :16]
    stored = tf.train.load_checkpoint(str(checkpoint / "state"))
    snapshot = last(folder, "network-snapshot-*[0-9].keras")
    networks = [("G_ema", sg3tf.load(path)) for path in (folder, snapshot, checkpoint)]
    networks.append(("D", load_model(discriminator_beside(snapshot), sg3tf.Discriminator)))
    assert {network.dtype_policy.name for _, network in networks} == {"float32"}
    for name, network in networks:
        for index, variable in enumerate(network.variables):
            value = stored.get_tensor(f"{name}/{index}/.ATTRIBUTES/VARIABLE_VALUE")
            np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    G = sg3tf.load(checkpoint)
    z = np.random.RandomState(0).randn(1, 512).astype(np.float32)  # the first tile has seed 0
    shown = sg3tf.images.to_uint8(G.predict(z, verbose=0))[0]
    assert np.max(np.abs(shown.astype(int) - first_tile)) <= 1  # rounding to 8 bits


@pytest.mark.slow
def test_metrics_and_the_best_snapshot(runs):
    folder = runs.straight.folder
    lines = [json.loads(line) for line in (folder / "metric-eqt50k_int.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [nimg / 1000 for nimg in snapshots_nimg(runs.straight)]
    assert {line["num_samples"] for line in lines} == {4}
    assert [line["snapshot"] for line in lines] == [snapshot_name(nimg) for nimg in snapshots_nimg(runs.straight)]
    best = max(lines, key=lambda line: line["results"]["eqt50k_int"])
    G = sg3tf.load(folder / "network-best-eqt50k_int.keras")
    found = sg3tf_metrics.compute(["eqt50k_int"], G, num_samples=4, batch=BATCH)
    assert found["eqt50k_int"] == pytest.approx(best["results"]["eqt50k_int"], abs=0.1)


@pytest.fixture(scope="module")
def profile(runs):
    """The recording of two steps."""
    return only((runs.straight.folder / "tensorboard").glob("plugins/profile/*/*.xplane.pb"))


@pytest.mark.slow
def test_profile_names_phases_and_layers(profile):
    convert = pytest.importorskip("xprof.convert.raw_to_tool_data", reason="extra 'profile' is not installed")
    trace, _ = convert.xspace_to_tool_data([str(profile)], "trace_viewer", {})
    events = json.loads(trace)["traceEvents"]
    names = {text for event in events for text in (event.get("name", ""), event.get("args", {}).get("long_name", ""))}
    for phase in ("G", "D", "R1"):
        assert any(name.startswith(f"phase_{phase}/") for name in names), phase
        assert any(name.startswith(f"gradient_tape/phase_{phase}/") for name in names), phase
    for layer in ("L0_36_8", "L13_16_8", "mapping", "b16", "conv0"):
        assert any(f"/{layer}" in name for name in names), layer
    overview, _ = convert.xspace_to_tool_data([str(profile)], "overview_page", {})
    tables = json.loads(overview)
    (steps,) = (t["rows"] for t in tables if t.get("cols") and t["cols"][0]["id"] == "stepnum")
    assert [row["c"][0]["v"] for row in steps] == ["train 16", "train 17"]


@pytest.mark.slow
def test_tensorboard_shows_the_profile(runs, profile, tmp_path):
    """In a browser."""
    pytest.importorskip("xprof", reason="extra 'profile' is not installed")
    if not CHROMIUM:
        skip("no Chromium on the path (make explorer-tools installs it where it may)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tensorboard = [sys.executable, "-m", "tensorboard.main", f"--logdir={runs.straight.folder}", f"--port={port}"]
    page = f"http://127.0.0.1:{port}/data/plugin/profile/"
    with subprocess.Popen([*tensorboard, "--host=127.0.0.1"], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert any(f":{port}" in line for line in server.stderr)
            with urllib.request.urlopen(f"{page}runs", timeout=60) as answer:
                assert profile.parent.name in gzip.decompress(answer.read()).decode()
            show = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
            show = [*show, "--dump-dom", f"{page}index.html"]
            shown = subprocess.run(show, capture_output=True, text=True, timeout=HANGS_AFTER_S, cwd=tmp_path)
        finally:
            server.terminate()
    assert "Performance Summary" in shown.stdout
    assert "Host Compute Time" in shown.stdout


@pytest.mark.slow
def test_checkpoints(runs):
    steps = runs.straight.progress()["step"]
    saved = [step for step in range(4, steps, 4)] + [steps]  # every tick, and at the end
    names = [path.name for path in run_dir.checkpoints(runs.straight.folder)]
    assert names == [f"{step * BATCH:09d}" for step in saved[-2:]]
    assert runs.straight.progress() == {"format": 2, "cur_nimg": steps * BATCH, "step": steps}


# Stopping and resuming.


@pytest.mark.slow
def test_ctrl_c_stops_at_a_checkpoint_and_prints_the_command_to_resume(runs):
    stopped = runs.stopped
    assert stopped.status == 130
    progress = stopped.progress()
    assert progress["step"] >= 4 and progress["cur_nimg"] == progress["step"] * BATCH
    assert run_dir.checkpoints(stopped.folder)[-1].name == f"{progress['cur_nimg']:09d}"
    *_, announcement, command = stopped.out.splitlines()
    last = runs.resumed.folder / "checkpoints" / f"{progress['cur_nimg']:09d}"
    assert announcement == f"Stopped. The last checkpoint is {last}. Continue with:"
    assert shlex.split(command) == ["python", "-m", "trainer.main", f"--resume={runs.resumed.folder}"]


@pytest.mark.parametrize(("pid", "status"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_sigterm_ends_the_first_process_of_a_container_before_it_trains(pid, status):
    """The kernel would ignore it without a handler. Shells tell other processes' ends by a signal from statuses."""
    code = f"import os, time; from trainer import main; os.getpid = lambda: {pid}\n"
    code += "main.extras.require = lambda *_, **__: (print(flush=True), time.sleep(60))\nmain.main(['--data=x'])"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.terminate()
    assert process.wait(10) == status


@pytest.mark.slow
def test_latest_starts_a_run_where_there_is_none(runs):
    assert (
        f"--resume=latest: no run named *-{NAME} in {runs.resumed.folder.parent} has a checkpoint" in runs.stopped.out
    )


@pytest.mark.slow
def test_latest_continues_in_the_same_folder(runs):
    stopped, killed, resumed = runs.stopped, runs.killed, runs.resumed
    assert only(resumed.folder.parent.iterdir()).name == stopped.folder.name  # no second run
    assert "Resuming from checkpoints" in resumed.out.replace(f"{resumed.folder}/", "")
    assert killed.progress()["step"] > stopped.progress()["step"]
    assert resumed.progress()["step"] == killed.progress()["step"] + MORE_STEPS
    log, stats = ((stopped.folder / name).read_text() for name in ("log.txt", "stats.jsonl"))
    assert (resumed.folder / "log.txt").read_text().startswith(log)
    assert (resumed.folder / "stats.jsonl").read_text().startswith(stats)


@pytest.mark.slow
def test_statistics_continue_as_if_the_run_had_not_stopped(runs):
    """Lines written between the last checkpoint and the kill are there once, with the same numbers."""
    same = ("Loss/", "Progress/", "Gradients/", "Weights/")
    one, two = (
        {
            row["Progress/kimg"]: {n: v for n, v in row.items() if n.startswith(same) and n != "Progress/goodput"}
            for row in scalars(run.folder)
        }
        for run in (runs.straight, runs.resumed)
    )
    assert len(two) == len(scalars(runs.resumed.folder))
    stop = runs.stopped.progress()["cur_nimg"] / 1000  # there, a tick was cut into two
    cut = {stop, next(kimg for kimg in one if kimg >= stop)}
    assert {kimg: row for kimg, row in two.items() if kimg not in cut} == {
        kimg: row for kimg, row in one.items() if kimg not in cut
    }


@pytest.mark.slow
def test_goodput_counts_the_time_of_all_processes(runs):
    """Startup takes seconds each time; how much is lost depends on the moment of the kill."""
    straight, stopped, resumed = (scalars(run.folder)[-1] for run in (runs.straight, runs.stopped, runs.resumed))
    for row in (straight, stopped, resumed):
        seconds = {cause: row[f"Goodput/{cause}_sec"] for cause in ("productive", "lost", "startup", "saving")}
        assert row["Progress/goodput"] == pytest.approx(seconds["productive"] / sum(seconds.values()))
        assert seconds["productive"] > 0 and seconds["startup"] > 0 and seconds["saving"] >= 0, seconds
    assert straight["Goodput/saving_sec"] > 0
    assert straight["Goodput/lost_sec"] == 0
    assert resumed["Goodput/lost_sec"] >= 0
    assert resumed["Goodput/startup_sec"] > 2 * stopped["Goodput/startup_sec"]  # the last of three processes


@pytest.mark.slow
def test_options_follow_the_command_line(runs):
    """The first command asked for a longer run than the last."""
    kimg = [Options.from_file(run.folder / "options.json").kimg for run in (runs.killed, runs.resumed, runs.straight)]
    assert kimg[0] == 1000 > kimg[1] == kimg[2]


@pytest.mark.slow
def test_resuming_changes_nothing(runs):
    """Bit for bit: weights, running statistics, optimizers, average, augmentation; with mirroring and threads."""
    assert runs.resumed.progress() == runs.straight.progress()
    one, two = (
        tf.train.load_checkpoint(str(run_dir.checkpoints(run.folder)[-1] / "state"))
        for run in (runs.straight, runs.resumed)
    )
    shapes = one.get_variable_to_shape_map()
    assert two.get_variable_to_shape_map() == shapes
    names = [name for name in shapes if name.endswith("VARIABLE_VALUE")]
    for part, at_least in {"G": 85, "G_ema": 85, "D": 18, "g_optimizer": 69, "d_optimizer": 20, "augment": 6}.items():
        assert sum(name.startswith(f"{part}/") for name in names) >= at_least
    assert [name for name in names if not np.array_equal(one.get_tensor(name), two.get_tensor(name))] == []


@pytest.mark.slow
def test_training_changed_what_resuming_must_not_change(runs):
    """Otherwise the test above would prove nothing."""
    one, two = (
        tf.train.load_checkpoint(str(run_dir.checkpoints(run.folder)[-1] / "state"))
        for run in (runs.stopped, runs.straight)
    )
    names = [name for name in one.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    same = [name.partition("/")[0] for name in names if np.array_equal(one.get_tensor(name), two.get_tensor(name))]
    # Frequencies, phases and the user's transform; learning rates.
    assert sorted(set(same) - {"augment", "pl_mean"}) == ["G", "G_ema", "d_optimizer", "g_optimizer"]
    assert [same.count(part) for part in ("G", "G_ema", "d_optimizer", "g_optimizer")] == [3, 3, 1, 1]


# Changing options of a resumed run.

#: Another value for each, with what it is in the optimizers; R1 comes every 16 steps, each a 17th Adam update of D.
CHANGES = {
    "unchanged": {},
    "glr": {"glr": 0.001},
    "dlr": {"dlr": 0.001},
    "gamma": {"gamma": 0.2},
}
RESUMED_STEP, END_STEP = 16, 20


class Changed(NamedTuple):
    """A run of END_STEP steps, and copies of it that were resumed at RESUMED_STEP with other options."""

    original: Path
    resumed: dict[str, Path]
    results: dict[str, dict]

    def variables(self, name=None):
        """{name: value} at the end of the original, or of the resumed copy `name`."""
        folder = run_dir.new_checkpoint(self.resumed[name] if name else self.original, END_STEP * BATCH)
        stored = tf.train.load_checkpoint(str(folder / "state"))
        names = [n for n in stored.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")]
        return {n: stored.get_tensor(n) for n in names}

    def learning_rate(self, part, name=None):
        return self.variables(name)[f"{part}/1/.ATTRIBUTES/VARIABLE_VALUE"]


def in_one_process(folder, commands):
    """Results of many commands, by cli_errors_worker."""
    folder.mkdir()
    given, results = folder / "commands.json", folder / "results.json"
    given.write_text(json.dumps(commands))
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.cli_errors_worker", str(given), str(results)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=HANGS_AFTER_S,
    )
    return json.loads(results.read_text())


@pytest.fixture(scope="module")
def changed(tmp_path_factory, unlabeled):
    folder = tmp_path_factory.mktemp("changed")
    shape = {"kimg": END_STEP * BATCH / 1000, "tick": 4 * BATCH / 1000, "checkpoint": 1, "keep_checkpoints": 9}
    arguments = flags(folder / "original", unlabeled, snap=100, **QUICK, **shape)
    in_one_process(folder / "first", [arguments])
    original = only((folder / "original").iterdir())
    resumed = {name: folder / name / original.name for name in CHANGES}
    commands = []
    for name, values in CHANGES.items():
        shutil.copytree(original, resumed[name])
        checkpoint = run_dir.new_checkpoint(resumed[name], RESUMED_STEP * BATCH)
        commands.append([f"--resume={checkpoint}", *(f"--{option}={value}" for option, value in values.items())])
    results = in_one_process(folder / "second", commands)
    return Changed(original, resumed, dict(zip(CHANGES, results, strict=True)))


@pytest.mark.slow
def test_resuming_with_nothing_but_the_run_changes_nothing(changed):
    before, after = changed.variables(), changed.variables("unchanged")
    assert before.keys() == after.keys()
    # Without augmentation its heuristic is not a number.
    assert [name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)] == []
    texts = [(run / "options.json").read_text() for run in (changed.original, changed.resumed["unchanged"])]
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHANGES if name != "unchanged"])
def test_a_changed_option_takes_effect(changed, name):
    result = changed.results[name]
    assert (result["status"], result["error"]) == (0, None)
    before, after = changed.variables(), changed.variables(name)
    trained = "G/" if name == "glr" else "D/"
    assert any(n.startswith(trained) and not np.array_equal(before[n], after[n]) for n in before)
    g_rate, d_rate = changed.learning_rate("g_optimizer", name), changed.learning_rate("d_optimizer", name)
    assert g_rate == np.float32(CHANGES[name].get("glr", 0.002))
    assert d_rate == np.float32(CHANGES[name].get("dlr", 0.002) * 16 / 17)


@pytest.mark.slow
def test_a_changed_gamma_weights_the_penalty(changed):
    runs = (changed.original, changed.resumed["gamma"])
    rows = [json.loads((run / "stats.jsonl").read_text().splitlines()[-1]) for run in runs]
    before, after = ({n: row[n]["mean"] for n in ("Loss/r1_penalty", "Loss/D/reg")} for row in rows)
    assert after["Loss/r1_penalty"] == before["Loss/r1_penalty"]  # the weights were still the same
    assert after["Loss/D/reg"] == pytest.approx(before["Loss/D/reg"] * 0.2 / 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHANGES if name != "unchanged"])
def test_a_changed_option_is_printed_and_recorded_with_the_kimg(changed, name):
    kimg, ((option, new),) = RESUMED_STEP * BATCH / 1000, CHANGES[name].items()
    old = getattr(Options.from_file(changed.original / "options.json"), option)
    line = f"at {kimg:g} kimg: --{option} from {old} to {new}"
    assert line in changed.results[name]["out"]
    assert line in (changed.resumed[name] / "log.txt").read_text().splitlines()
    values = json.loads((changed.resumed[name] / "options.json").read_text())
    assert values[option] == new
    assert values["changes"] == [{"kimg": kimg, "option": option, "old": old, "new": new}]


# Refusals: one line, and nothing is made or changed.


def damaged(runs, folder, name, damage):
    """A copy of the stopped run whose file `name`, of its checkpoint or of itself, is damaged."""
    run = folder / name / runs.stopped.folder.name
    shutil.copytree(runs.stopped.folder, run)
    for older in run_dir.checkpoints(run)[:-1]:
        shutil.rmtree(older)
    file = run / name if (run / name).exists() else only(run_dir.checkpoints(run)) / name
    damage(file)
    return run


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


class Refused(NamedTuple):
    """Result of every case, and the folder of the runs to resume before and after."""

    results: dict[str, dict]
    before: dict
    after: dict
    new: Path


@pytest.fixture(scope="module")
def refused(runs, tmp_path_factory, faces, unlabeled):
    folder = tmp_path_factory.mktemp("refused")
    old, new = folder / "old", folder / "new"
    old.mkdir()
    (folder / "file").touch()

    def begin(**more):
        return flags(new, unlabeled, **more)

    def resume(path, **more):
        return flags(old, unlabeled, mirror=True, resume=path, **more)

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
        "outdir": flags(folder / "file", unlabeled),
        "desc": begin(desc="a/b"),
        "nothing to resume": resume(folder / "nowhere"),
        "different": resume(run, seed=3, cbase=256, glr=0.1),
        "latest, different": resume("latest", cbase=256),
        "other data": [*resume(run), f"--data={faces}", "--cond"],
        "printed": [*printed, "--seed=9"],
        "data missing": [f"--outdir={new}", "--batch=8"],
        "batch missing": [f"--outdir={new}", f"--data={unlabeled}"],
        "unknown flag": begin(gama=3),
        "not a number": begin(batch="many"),
        "resume, dry run": [f"--resume={run}", "--gamma=9", "--snap=3", "--dry_run"],
        "options.json": resume(damaged(runs, old, "options.json", cut)),
        "progress.json": resume(damaged(runs, old, "progress.json", Path.unlink)),
        "state.index": resume(damaged(runs, old, "state.index", Path.unlink)),
        "state.data-00000-of-00001": resume(damaged(runs, old, "state.data-00000-of-00001", cut)),
        "p without fixed": begin(p=0.2),
        "fixed without p": begin(aug="fixed"),
        "rv": begin(ada_heuristic="rv"),
        "too few to hold out": begin(validation=64),
        "two precisions": begin(fp32=True, precision="bf16"),
        "freezed": begin(freezed=99),
        "unknown metric": begin(metrics="eqt50k_int,fid"),
        "metric of another network": begin(cfg="stylegan2", metrics="eqr50k"),
        "profile": begin(profile_steps="a,b"),
        "start from nothing": begin(init_from=folder / "nowhere"),
        "start from another": begin(init_from=next(run.glob("checkpoints/*/generator.keras")), cfg="stylegan2"),
        "small cache": begin(cache=1e-6),
        "dry run": begin(dry_run=True, desc="x"),
    }
    before = listing(old)
    results = in_one_process(folder / "worker", list(cases.values()))
    return Refused(dict(zip(cases, results, strict=True)), before, listing(old), new)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("resolution", ["resolution 32 does not exist", "available: 4, 8, 16"]),
        ("too small", ["resolution=8", "from 16 to 1024"]),
        ("no power of two", ["resolution 17 is not a power of two"]),
        ("labels", ["has no labels", "--cond"]),
        ("batch", ["--batch=8", "--batch_per_replica=12", "1 replicas = 12"]),
        ("no gpu", ["--strategy=gpu:7", "TensorFlow finds 0 GPUs"]),
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
        ("desc", ["--desc", "a/b", "remove the slash"]),
        ("nothing to resume", ["--resume=", "nowhere", "nowhere: does not exist"]),
        ("different", ["--resume=", "cannot change --cbase from 128 to 256, --seed from 0 to 3", "--init_from="]),
        ("latest, different", ["--resume=", "--cbase from 128 to 256"]),
        ("other data", ["--cond from False to True"]),
        ("printed", ["--seed from 0 to 9"]),
        ("data missing", ["--data: is missing"]),
        ("batch missing", ["--batch: is missing"]),
        ("unknown flag", ["gama", "gamma"]),
        ("not a number", ["--batch=many"]),
        ("options.json", ["options.json", "cannot be read"]),
        ("progress.json", ["none of its 1 checkpoints is intact", "progress.json cannot be read"]),
        ("state.index", ["none of its 1 checkpoints is intact", "state.index cannot be read"]),
        ("state.data-00000-of-00001", ["none of its 1 checkpoints is intact", "state.data-00000-of-00001 is damaged"]),
        ("p without fixed", ["--p=0.2", "--aug=fixed"]),
        ("fixed without p", ["--aug=fixed", "--p"]),
        ("rv", ["--ada_heuristic=rv", "--validation"]),
        ("too few to hold out", ["validation", "64"]),
        ("two precisions", ["--fp32", "--precision=bf16"]),
        ("freezed", ["--freezed=99", "7 convolutions"]),
        ("unknown metric", ["metrics='fid'", "eqt50k_int"]),
        ("metric of another network", ["metrics='eqr50k'", "StyleGAN2Config"]),
        ("profile", ["--profile_steps=a,b", "20,25"]),
        ("start from nothing", ["--init_from=", "nowhere", "nowhere: does not exist"]),
        ("start from another", ["--init_from=", "another architecture", "GeneratorConfig there"]),
        ("small cache", ["cache"]),
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
    options, end = json.JSONDecoder().raw_decode(result["out"])
    assert "steps: 3,125,000 of 8 images on 1 device" in result["out"][end:]
    assert (options["desc"], options["batch_per_replica"], options["num_images"]) == ("x", BATCH, 64)


@pytest.mark.slow
def test_dry_run_of_a_resumed_run_prints_the_changes_and_makes_none(refused):
    result = refused.results["resume, dry run"]
    assert (result["status"], result["err"], result["error"]) == (0, "", None)
    options, end = json.JSONDecoder().raw_decode(result["out"])
    assert (options["gamma"], options["snap"], options["batch"], options["mirror"]) == (9, 3, BATCH, True)
    assert "--gamma from 0.05 to 9.0" in result["out"][end:] and "--snap from 100 to 3" in result["out"][end:]


def test_importing_defines_no_flags():
    assert "kimg" not in absl_flags.FLAGS and "dry_run" not in absl_flags.FLAGS


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/00000/options.json")

    monkeypatch.setattr(distribution, "make_strategy", full)
    assert trainer_main.main(["--data=x", "--batch=8"]) == 1
    assert capsys.readouterr().err == "trainer.main: [Errno 28] No space left on device: 'runs/00000/options.json'\n"


def test_a_missing_tensorboard_is_one_line(monkeypatch, capsys):
    """The extra named metrics, for example, has all else that training imports."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(distribution, "make_strategy", lambda *_, **__: pytest.fail("was called"))
    assert trainer_main.main(["--data=x", "--batch=8"], "sg3tf train") == 1
    expected = "sg3tf train: sg3tf train needs the package tensorboard: pip install 'sg3tf[train]' ("
    assert capsys.readouterr().err.startswith(expected)


def test_help_lists_every_flag(capsys):
    assert trainer_main.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in (*DEFAULTS, "outdir", "resume", "fp32", "dry_run"):
        assert re.search(rf"^  --(\[no\])?{name}$", text, re.MULTILINE), name


def test_native_operations_that_are_missing_are_one_line(unlabeled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setenv("SG3TF_OPS", "native")
    monkeypatch.setattr(distribution, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())
    assert trainer_main.main(flags(tmp_path / "runs", unlabeled)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer.main: native operations asked for, but there is no {tmp_path}")


@pytest.mark.slow
def test_exit_status_of_a_refusal(tmp_path):
    outdir, missing = tmp_path / "out", tmp_path / "missing"
    status, out, err = finish(start(flags(outdir, missing)))
    lines = [line for line in err.splitlines() if not re.match(r"WARNING: All log messages|[IW]\d{4}", line)]
    remedy = "--data takes a folder or zip file of images, or records"
    assert (status, out, lines) == (1, "", [f"trainer.main: {missing} does not exist; {remedy}"])
    assert not outdir.exists()


@pytest.mark.slow
def test_data_that_cannot_be_read_leave_the_last_checkpoint(tmp_path, noise, write_ffhq):
    """The damaged record follows some good batches, and is not in the grid of real images."""
    count, columns_times_rows = 130, 128
    data = write_ffhq(tmp_path / "faces", noise(count, 16))
    shown = {i * count // columns_times_rows for i in range(columns_times_rows)}
    bad = only(set(range(count - 1)) - shown)
    for seed in range(9):
        order = sampler.ShuffledOrder(count, seed=seed, mirror=False)
        steps = next(position for position in range(count) if order.at(position)[0] == bad) // BATCH
        if steps >= 4:
            break
    file = data / "faces-r04.tfrecords"
    content = bytearray(file.read_bytes())
    content[(2 * bad + 1) * len(content) // (2 * count)] ^= 1  # in the middle of the record: they are of one length
    file.write_bytes(content)
    common = {"kimg": 1, "tick": 2 * BATCH / 1000, "checkpoint": 1, "aug": "noaug", "seed": seed}
    status, _, err = finish(start(flags(tmp_path / "runs", data, **common)))
    assert status == 1
    (line,) = (line for line in err.splitlines() if line.startswith("trainer.main: "))
    assert line.startswith(f"trainer.main: {file}: record {bad} is corrupt")
    run = only((tmp_path / "runs").iterdir())
    assert run_dir.resolve_resume_path(run)[1].name == f"{steps // 2 * 2 * BATCH:09d}"


class Workers(distribution.Workers):
    """One of two workers, to whom the other says what is given."""

    def __init__(self, index, other=0):
        self.index, self.count, self.other, self._addresses = index, 2, other, ["a:1", "b:1"]

    def _gathered(self, number):
        if isinstance(self.other, Exception):
            raise self.other
        return [number, self.other] if self.is_chief else [self.other, number]


def test_the_chief_makes_the_folder_and_the_others_get_its_number(tmp_path):
    with trainer_main._open_run(tmp_path, PLAIN, [], False, None, [], Workers(0)) as run:
        assert run == tmp_path / f"00000-{PLAIN.description}" and run.is_dir()
    with trainer_main._open_run(tmp_path, PLAIN, [], False, None, [], Workers(1, other=41)) as run:
        assert run == tmp_path / f"00041-{PLAIN.description}" and not run.exists()


def test_a_worker_that_is_lost_before_the_run_is_named(tmp_path):
    lost = Workers(1, tf.errors.UnavailableError(None, None, "Socket closed"))
    opened = trainer_main._open_run(tmp_path, PLAIN, [], False, None, [], lost)
    with pytest.raises(TrainingError, match=r"^worker 0 \(a:1\): lost; .*\(Socket closed\)"), opened:
        raise AssertionError("opened")


def test_workers_that_would_resume_from_different_checkpoints_are_refused(tmp_path, faces, monkeypatch, capsys):
    """Such as from folders of their own; one of them would wait for the other forever."""
    monkeypatch.setattr(distribution, "Workers", lambda strategy: Workers(0, other=8000))
    assert trainer_main.main([*flags(tmp_path / "runs", faces), "--resume=latest"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trainer.main: images seen at the checkpoints to resume from (-1: a new run) differ between")
    assert "the workers ([-1, 8000])" in line
    assert not (tmp_path / "runs").exists()


def test_a_run_stopped_before_its_first_checkpoint_is_not_said_to_resume(tmp_path):
    """Such as after a bad first tick."""
    text = trainer_main._how_to_continue("sg3tf train", tmp_path)
    assert text == "Stopped; repeat the command, as there is no checkpoint yet"
