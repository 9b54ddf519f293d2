"""Soak of SIGKILLs: commands killed at random moments and run again until they end, compared with undisturbed ones.

python -m tests.helpers.kill_soak --minutes=30 --seed=1 --out=build/soak/kills.json
python -m tests.helpers.kill_soak --jobs=train,video --trials=2

Half of the kills come at any moment, the others while a file or folder is being written. Some end the whole process
group, as Ctrl-\\ would, others only the command itself, as the kernel does when memory runs out. Each trial of a job
begins in an empty folder and has one to five kills; the same command is then run until it ends by itself. Its results
must be those of an undisturbed run, and after each kill what is there under a final name must be complete. A trial that
is not over when the time is does not count.

Prints a line of JSON for each trial, and in the end a table. The exit status is 1 if anything was wrong, an undisturbed
run included. All commands are forked from one process that has imported TensorFlow, so that few kills meet imports.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.helpers.addresses import free_addresses

HANGS_AFTER_S = 900  # on a busy machine
RESOLUTION = 8  # where nothing else is said
ODD = "it's 50% [of é]"  # name of the folder of everything
BATCH = 8
MOST_KILLS = 5  # of a trial
STEPS = 24


# --- Jobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A command, and what it leaves.

    Attributes:
        arguments: (inputs, folder) -> arguments of `sg3tf`; it writes into the folder.
        results: (folder) -> {name: digest or value} of what has to be as in an undisturbed run; {} if nothing is there.
        processes: number of processes that run the command together, connected by TF_CONFIG.
    """

    arguments: Callable[[Path, Path], list[str]]
    results: Callable[[Path], dict[str, Any]]
    processes: int = 1


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def files(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder."""
    return {str(f.relative_to(folder)): digest(f.read_bytes()) for f in sorted(folder.rglob("*")) if f.is_file()}


def keras_weights(file: Path) -> str:
    with zipfile.ZipFile(file) as content:  # also has the date
        return digest(content.read("model.weights.h5"))


def onnx_graph(file: Path) -> str:
    """Digest of everything but the metadata, which has the time that the validation took."""
    model = importlib.import_module("onnx").load(file)
    del model.metadata_props[:]
    return digest(model.SerializeToString(deterministic=True))


def litert_model(file: Path) -> str:
    """Digest of everything before the metadata, a zip file at the end."""
    with zipfile.ZipFile(file) as metadata:
        return digest(file.read_bytes()[: metadata.infolist()[0].header_offset])


DIGESTS = {".keras": keras_weights, ".onnx": onnx_graph, ".tflite": litert_model}


#: Instead of a metric's line, where a run has said that it leaves out the metrics in which it was killed twice.
LEFT_OUT = "left out"


def write_noise(folder: Path, resolution: int) -> None:
    """Write a data set of 64 random images in FFHQ's layout into the new folder."""
    import numpy as np

    from sg3tf.data.ffhq import encode_levels, ffhq_writer

    folder.mkdir()
    with ffhq_writer(folder, folder.name, resolution) as add:
        for image in np.random.default_rng(0).integers(0, 256, (64, resolution, resolution, 3), np.uint8):
            add(encode_levels(image), None)


def train_arguments(inputs: Path, folder: Path, **more: Any) -> list[str]:
    values = {
        **{"outdir": folder / "runs", "data": inputs / "faces", "batch": BATCH, "gamma": 0.05, "resume": "latest"},
        **{"cbase": 128, "cmax": 8, "kimg": BATCH * STEPS / 1000, "tick": 4 * BATCH / 1000, "snap": 2},
        **{"checkpoint": 1, "ada_kimg": 1, "mirror": True, "metrics": "kid_scattering", "metrics_samples": 100},
        **more,
    }
    return ["train", *(f"--{name}={value}" for name, value in values.items() if value is not None)]


def train_results(folder: Path) -> dict[str, Any]:
    """Weights and statistics of the run."""
    runs = [path for path in (folder / "runs").glob("*") if any(path.glob("checkpoints/[0-9]*"))]
    if not runs:
        return {}
    run, found = runs[-1], {}
    for checkpoint in run.glob("checkpoints/[0-9]*"):
        found |= {f"{checkpoint.name}/{f.name}": digest(f.read_bytes()) for f in checkpoint.glob("state.*")}
        found[f"{checkpoint.name}/generator"] = keras_weights(checkpoint / "generator.keras")
    found |= {file.name: keras_weights(file) for file in run.glob("network-*.keras")}
    found |= {file.name: digest(file.read_bytes()) for file in run.glob("fakes*")}
    log = (run / "log.txt").read_text()
    without_metrics = re.findall(r"warning: no metrics of (\S+): \d+ processes were killed", log)
    for file in run.glob("metric-*"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        snapshots = [line["snapshot"] for line in lines]
        if snapshots != sorted(set(snapshots)):
            raise Wrong(f"{file.name} has the snapshots {snapshots}")
        found |= {f"{file.name}, {line['snapshot']}": digest(json.dumps(line).encode()) for line in lines}
        found |= {f"{file.name}, {snapshot}": LEFT_OUT for snapshot in without_metrics if snapshot not in snapshots}
    if without_metrics:  # and which snapshot is the best may depend on them
        found |= {file.name: LEFT_OUT for file in run.glob("network-best-*.keras")}
    same = ("Loss/", "Gradients/", "Weights/", "Progress/")
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in line.items() if k.startswith(same) and k != "Progress/goodput"} for line in lines]
    found["stats.jsonl"] = digest(json.dumps(kept).encode())
    return found


def build_results(folder: Path) -> dict[str, Any]:
    return files(folder / "faces")


def export_results(folder: Path) -> dict[str, Any]:
    """Variables of the newest version: a kill after it has appeared leaves it, and the next command makes another."""
    versions = sorted((path for path in (folder / "model").glob("[0-9]*")), key=lambda path: int(path.name))
    for version in versions:
        assert (version / "assets.extra" / "sg3tf.json").is_file(), f"{version} is incomplete"
    return files(versions[-1] / "variables") if versions else {}


def output_results(folder: Path) -> dict[str, Any]:
    """Lines of JSON that a command prints, without the time that it took."""
    lines = [json.loads(line) for line in (folder / "log.0").read_text().splitlines() if line.startswith("{")]
    return {str(index): {k: v for k, v in line.items() if k != "seconds"} for index, line in enumerate(lines)}


def file_results(folder: Path) -> dict[str, Any]:
    """Files under final names: networks by their weights or graphs, others by their bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "log.")) for part in name.parts):
            digest_of = DIGESTS.get(path.suffix, lambda path: digest(path.read_bytes()))
            found[str(name)] = digest_of(path)
    return found


#: Options of training whose step is built quickly.
#: Flags of a training step that is traced quickly, and without that of an adaptive augmentation.
QUICK = {"cfg": "stylegan2", "pl_weight": 0, "map_depth": 1, "aug": "noaug", "ada_kimg": None}


def train_images(inputs: Path, folder: Path) -> list[str]:
    """Training on a zip file of pictures, which are decoded and resized as they are read."""
    data = {"data": inputs / "images.zip", "resolution": RESOLUTION}
    return train_arguments(inputs, folder, **data, strategy="cpu", **QUICK)


def export_file(inputs: Path, folder: Path, kind: str, suffix: str) -> list[str]:
    return ["export", f"--network={inputs / 'tiny.keras'}", f"--format={kind}", f"--out={folder / f'tiny.{suffix}'}"]


#: The quick ones first: a short soak gets no further.
JOBS = {
    "build": Job(
        lambda inputs, folder: [
            *("data", "build", f"--source={inputs / 'images'}", f"--outdir={folder / 'faces'}"),
            *("--resolution=16", "--workers=2"),
        ],
        build_results,
    ),
    "convert": Job(
        lambda inputs, folder: [
            *("convert", "from-pickle", f"--network={inputs / 'official.pkl'}", f"--outdir={folder / 'network'}")
        ],
        file_results,
    ),
    "video": Job(
        lambda inputs, folder: [
            *("generate", "interpolate", f"--network={inputs / 'tiny.keras'}", "--seeds=0-3", "--frames=20"),
            f"--out={folder / 'walk.mp4'}",
        ],
        file_results,
    ),
    "edit": Job(
        lambda inputs, folder: [
            *("edit", f"--network={inputs / 'tiny.keras'}", "--num_samples=1000", "--direction=0,1"),
            *(f"--save_directions={folder / 'directions.npz'}", f"--out={folder / 'edited.png'}"),
        ],
        file_results,
    ),
    "ema": Job(
        lambda inputs, folder: [
            *("ema", f"--network={next((inputs / 'runs').iterdir())}", "--sigma_rel=0.1"),
            f"--out={folder / 'average.keras'}",
        ],
        file_results,
    ),
    "upload": Job(
        lambda inputs, folder: [
            *("upload", f"--network={inputs / 'tiny.keras'}", "--repo=somebody/faces", "--license=cc0-1.0"),
            f"--out={folder / 'repository'}",
        ],
        file_results,
    ),
    "export": Job(
        lambda inputs, folder: [
            "export",
            f"--network={inputs / 'tiny.keras'}",
            f"--model_base_path={folder / 'model'}",
        ],
        export_results,
    ),
    "onnx": Job(lambda inputs, folder: export_file(inputs, folder, "onnx", "onnx"), file_results),
    "litert": Job(lambda inputs, folder: export_file(inputs, folder, "litert", "tflite"), file_results),
    "metrics": Job(
        lambda inputs, folder: [
            *("metrics", f"--network={inputs / 'tiny16.keras'}", f"--data={inputs / 'faces16'}", "--num_samples=400"),
            *("--metrics=swd,kid_scattering", f"--cache_dir={folder / 'cache'}"),
        ],
        output_results,
    ),
    "project": Job(
        lambda inputs, folder: [
            *("project", f"--network={inputs / 'tiny.keras'}", f"--target={inputs / 'images' / '0' / '0.png'}"),
            *("--steps=30", f"--outdir={folder / 'found'}", f"--discriminator={inputs / 'D.keras'}", "--seed=1"),
            "--crop",
            *(f"--tune={folder / 'tuned.keras'}", "--tune_steps=10"),
        ],
        file_results,
    ),
    "train-quick": Job(
        lambda inputs, folder: train_arguments(inputs, folder, strategy="cpu", **QUICK),
        train_results,
    ),
    "train-zip": Job(train_images, train_results),
    "train-2": Job(
        lambda inputs, folder: train_arguments(inputs, folder, batch_per_replica=BATCH // 2, **QUICK),
        train_results,
        processes=2,
    ),
    "train": Job(
        lambda inputs, folder: train_arguments(
            inputs, folder, data=inputs / "faces16", strategy="cpu", metrics="swd,kid_scattering"
        ),
        train_results,
    ),
}


def make_inputs(folder: Path, names: Sequence[str]) -> None:
    """Images, data sets, networks with random weights, and, for the job `ema`, a run."""
    import keras
    import numpy as np

    import sg3tf
    from sg3tf.images import save_png
    from tests.helpers.official_networks import stored
    from tests.helpers.official_writer import dumps

    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)):
        save_png(folder / "images" / str(index % 3) / f"{index}.png", image)
    for name, resolution in (("faces", RESOLUTION), ("faces16", 16)):
        build = ["data", "build", f"--source={folder / 'images'}", f"--outdir={folder / name}"]
        assert wait(start([*build, f"--resolution={resolution}"], folder / "log"), HANGS_AFTER_S) == 0
    shutil.make_archive(str(folder / "images"), "zip", folder / "images")
    if "ema" in names:
        train = train_arguments(folder, folder, metrics="none", strategy="cpu", snap=1, posthoc_ema=True, **QUICK)
        assert wait(start(train, folder / "log"), HANGS_AFTER_S) == 0
    keras.utils.set_random_seed(0)
    for name, resolution in (("tiny", RESOLUTION), ("tiny16", 16)):
        size = {"resolution": resolution, "channel_base": 128, "channel_max": 8}
        sg3tf.Generator.from_preset("stylegan2", **size, mapping_layers=1).save(folder / f"{name}.keras")
    sg3tf.Discriminator.from_preset("stylegan2", **{**size, "resolution": RESOLUTION}).save(folder / "D.keras")
    golden = dict(np.load(Path(__file__).parents[1] / "golden" / "generator_t32.npz"))
    (folder / "official.pkl").write_bytes(dumps({"G_ema": stored("generator_t32", golden)}))


# --- Processes --------------------------------------------------------------------------------------------------------


RUNNING: set[int] = set()  # process IDs, each of a session; one that has been waited for may be another's soon


def preload() -> None:
    """Import what the commands import; nothing may be computed, as TensorFlow's threads do not survive a fork."""
    for name in ("tensorflow", "keras", "trainer.loop", "serving.saved_model", "sg3tf.metrics", "sg3tf.cli.main"):
        importlib.import_module(name)


def start(arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start `sg3tf ARGUMENTS` in a session of its own; return its process ID."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        RUNNING.add(pid)
        return pid
    status = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ.update(environment or {})
        from sg3tf.cli import main

        status = main.main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(pid: int, at_most_s: float) -> int | None:
    """Exit status of a process, negative for a signal; None if it is still running after `at_most_s`."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            RUNNING.discard(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def start_all(job: Job, inputs: Path, folder: Path) -> list[int]:
    """Start the processes of a job."""
    arguments = job.arguments(inputs, folder)
    addresses = free_addresses(job.processes)
    config = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}} for i in range(job.processes)]
    several = [{"TF_CONFIG": json.dumps(one)} if job.processes > 1 else {} for one in config]
    return [start(arguments, folder / f"log.{index}", one) for index, one in enumerate(several)]


def run(job: Job, inputs: Path, folder: Path) -> float:
    """Run a job to its end; return the seconds that it took.

    Raises:
        Wrong: it fails or does not end.
    """
    began = time.monotonic()
    pids = start_all(job, inputs, folder)
    statuses = [wait(pid, HANGS_AFTER_S) for pid in pids]
    for pid, status in zip(pids, statuses, strict=True):
        if status is None:
            end_session(pid)
            wait(pid, 10)
    if any(status != 0 for status in statuses):
        logs = [(folder / f"log.{index}").read_text()[-2000:] for index in range(len(pids))]
        raise Wrong(f"ended with {statuses}: {logs}")
    return time.monotonic() - began


def session_of(pid: int) -> list[int]:
    """Processes of the session that `pid` leads, or led."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def end_session(pid: int) -> None:
    for member in session_of(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


# --- Kills ------------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of a job.

    Attributes:
        seconds: of the undisturbed run.
        kills_of_writes: those of the kills that came within 30 ms of a file or folder under a temporary name.
        goodput: seconds of all disturbed runs by cause, of training.
    """

    seconds: float
    trials: int = 0
    kills: int = 0
    kills_of_writes: int = 0
    wrong: list[str] = field(default_factory=list)
    goodput: dict[str, float] = field(default_factory=dict)


class Wrong(Exception):
    """Result that a kill must not have."""


class OutOfTime(Exception):
    """The time of the soak is over."""


def unfinished(folder: Path) -> set[str]:
    """Files and folders under temporary names, except goodput.json's, which is written every second."""
    names = set()
    with contextlib.suppress(FileNotFoundError):  # while it is renamed
        names = {str(path) for path in folder.rglob(".*") if "partial" in path.name or "unfinished" in path.name}
    return {name for name in names if ".goodput.json" not in name}


def make_older(folder: Path) -> None:
    """Let what a killed command has left be two hours old, so that the next one removes it."""
    for name in unfinished(folder):
        with contextlib.suppress(FileNotFoundError):
            os.utime(name, (time.time() - 7200,) * 2)


def wait_for_moment(pids: list[int], folder: Path, rng: random.Random, seconds: float) -> str:
    """Return "any" at a random moment of the next `seconds`, "write" while a file is written, "" if a process ended."""
    writing = rng.random() < 0.5
    end = time.monotonic() + rng.uniform(0, seconds)
    if writing:
        end, before = time.monotonic() + seconds, unfinished(folder)
    while time.monotonic() < end:
        if any(not alive(pid) for pid in pids):
            return ""
        if writing and unfinished(folder) - before and rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.03))
            return "write"
        time.sleep(0.003)
    return "any"


def alive(pid: int) -> bool:
    """True unless the process has ended, which leaves it to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kill(pids: list[int], rng: random.Random) -> list[int]:
    """Kill some of the processes of a job, or all; return those that are left to end by themselves."""
    killed = rng.choice([pids, [rng.choice(pids)]])
    whole_group = rng.random() < 0.5
    for pid in killed:
        if whole_group:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
        wait(pid, 30)
    return [pid for pid in pids if pid not in killed]


def disturb(
    job: Job, inputs: Path, folder: Path, expected: Mapping[str, Any], rng: random.Random, tally: Tally
) -> None:
    """Kill a job once or more often, then let it end.

    Raises:
        Wrong: the results differ from the expected ones, or something incomplete has a final name.
    """
    for _ in range(rng.randint(1, MOST_KILLS)):
        pids = start_all(job, inputs, folder)
        if (moment := wait_for_moment(pids, folder, rng, tally.seconds)) and all(alive(pid) for pid in pids):
            tally.kills += 1
            tally.kills_of_writes += moment == "write"
            others = kill(pids, rng)
        else:  # it has come to its end first
            others = pids
        for pid in others:
            if wait(pid, HANGS_AFTER_S) is None:
                end_session(pid)
                wait(pid, 10)
                raise Wrong(f"a process does not end: {(folder / 'log.0').read_text()[-2000:]}")
        for pid in pids:
            end = time.monotonic() + 10
            while left := session_of(pid):
                if time.monotonic() > end:
                    end_session(pid)
                    raise Wrong(f"{len(left)} processes outlive their command, which was killed")
                time.sleep(0.05)
        make_older(folder)
        found = job.results(folder)
        check_complete(folder, found, expected)
        if found == expected:  # some commands refuse to make again what is there
            break
    else:
        run(job, inputs, folder)
        found = job.results(folder)
        if found != expected:
            names = sorted(n for n in {*found, *expected} if found.get(n) not in (expected.get(n), LEFT_OUT))
            if names:
                raise Wrong(f"results differ from those of an undisturbed run: {', '.join(names)}")
        if left := unfinished(folder):
            raise Wrong(f"left behind: {', '.join(sorted(left))}")
        if left := [*Path(os.environ["TMPDIR"]).glob("sg3tf-*")]:
            raise Wrong(f"temporary files stay: {', '.join(path.name for path in left)}")
        if len(runs := [*folder.glob("runs/*")]) > 1:
            raise Wrong(f"several run folders: {', '.join(sorted(run.name for run in runs))}")


def check_complete(folder: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse what is under a final name and differs from an undisturbed run, and checkpoints that are damaged."""
    from sg3tf.utils.checksums import verify_checksums

    for checkpoint in folder.glob("runs/*/checkpoints/[0-9]*"):
        if problem := verify_checksums(checkpoint):
            raise Wrong(f"{checkpoint.name}: {problem}")
    final = {name for name in found if name in expected and ".jsonl" not in name and "best" not in name}
    if differing := sorted(name for name in final if found[name] != expected[name]):
        raise Wrong(f"after a kill, these differ from an undisturbed run: {', '.join(differing)}")


# --- Soak -------------------------------------------------------------------------------------------------------------


def soak(names: Sequence[str], seed: int, trials: int | None, keep: Path | None) -> Iterator[tuple[str, Tally]]:
    """Try one job after the other, and yield it and its counts after each trial."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ending_processes():
        work = Path(name) / ODD
        inputs, temporary = work / "inputs", Path(name) / "tmp"
        temporary.mkdir(parents=True)
        os.environ |= {"XDG_CACHE_HOME": str(work / "cache"), "TMPDIR": str(temporary)}
        in_a_process(lambda: make_inputs(inputs, names))
        expected: dict[str, dict[str, Any]] = {}
        tallies: dict[str, Tally] = {}
        broken: set[str] = set()  # jobs that fail undisturbed
        for number in range(trials if trials is not None else sys.maxsize):
            if broken == {*names}:
                return
            for index, job_name in enumerate(names):
                if job_name in broken:
                    continue
                job, folder = JOBS[job_name], work / job_name
                if job_name not in tallies:
                    folder.mkdir()
                    try:
                        tallies[job_name] = Tally(run(job, inputs, folder))
                        expected[job_name] = job.results(folder)
                        if not expected[job_name]:
                            raise Wrong("it leaves nothing")
                    except Wrong as problem:
                        broken.add(job_name)
                        yield job_name, Tally(0, wrong=[f"undisturbed: {problem}"])
                        continue
                    finally:
                        shutil.rmtree(folder)
                tally = copy.deepcopy(tallies[job_name])
                folder.mkdir()
                tally.trials += 1
                rng = random.Random(f"{seed} {number} {index}")
                try:
                    disturb(job, inputs, folder, expected[job_name], rng, tally)
                except Wrong as problem:
                    tally.wrong.append(f"trial {number} of seed {seed}: {problem}")
                    if keep:
                        shutil.copytree(folder, keep / f"{job_name}-{seed}-{number}", dirs_exist_ok=True)
                for file in folder.glob("runs/*/goodput.json"):
                    for cause, seconds in json.loads(file.read_text()).items():
                        tally.goodput[cause] = tally.goodput.get(cause, 0) + seconds
                shutil.rmtree(folder)
                tallies[job_name] = tally
                yield job_name, tally


@contextlib.contextmanager
def time_limit(minutes: float) -> Iterator[None]:
    """Context that ends after so many minutes, wherever it is."""

    def end(number: int, frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        with contextlib.suppress(OutOfTime):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def ending_processes() -> Iterator[None]:
    """Context at whose end the processes that are still running are killed."""
    try:
        yield
    finally:
        for pid in [*RUNNING]:
            end_session(pid)
            wait(pid, 10)


def in_a_process(function: Callable[[], None]) -> None:
    """Call a function in a process of its own, as this one has to compute nothing."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if wait(pid, HANGS_AFTER_S) != 0:
        raise Wrong("the inputs cannot be made")


def table(tallies: Mapping[str, Tally]) -> str:
    lines = [
        "| command | undisturbed run, s | trials | kills | of writes | wrong | goodput |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tally in tallies.items():
        total = sum(tally.goodput.values())
        shares = ", ".join(f"{cause} {seconds / total:.0%}" for cause, seconds in tally.goodput.items())
        lines.append(
            f"| {name} | {tally.seconds:.1f} | {tally.trials} | {tally.kills} | {tally.kills_of_writes} "
            f"| {len(tally.wrong)} | {shares} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default=",".join(JOBS), help="jobs, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="trials of each job; default: until the time is over")
    parser.add_argument("--minutes", type=Fraction, default=30, help="end of the last trial; 5/2 is 2.5")
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    parser.add_argument("--keep", type=Path, help="folder for copies of what went wrong")
    options = parser.parse_args()
    preload()
    tallies = {}
    trials = soak(options.jobs.split(","), options.seed, options.trials, options.keep)
    with time_limit(float(options.minutes)), contextlib.closing(trials):
        for name, tally in trials:
            tallies[name] = tally
            last = {"job": name, "trials": tally.trials, "kills": tally.kills, "wrong": tally.wrong[-1:]}
            print(json.dumps(last), flush=True)
    print(table(tallies))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({name: vars(tally) for name, tally in tallies.items()}, indent=2) + "\n")
    if not tallies:
        print(f"no trial has ended within --minutes={options.minutes}: give more", file=sys.stderr)
    return int(not tallies or any(tally.wrong for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
