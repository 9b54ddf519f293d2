"""Soak of two training workers that disturb each other: frozen, killed, and cut off from each other.

python -m tests.helpers.worker_soak --minutes=10 --out=build/soak/workers.json
python -m tests.helpers.worker_soak --program=sums --trials=freeze-10,cut-5

A trial waits until both have begun and disturbs one worker. Either both go on, or the others end within the time of
their limits with one line that names the lost worker; the same commands then finish the run. The weights in the end
must equal those of an undisturbed run. --program=sums leaves out the networks, which take minutes to build on a busy
machine, and compares sums. Cuts need network namespaces, which need root: elsewhere they are left out.

Prints a line of JSON for each trial; the exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.helpers.addresses import free_addresses
from tests.helpers.kill_soak import BATCH, QUICK, RESOLUTION, digest, train_arguments, write_noise

ROOT = Path(__file__).parents[2]
HANGS_AFTER_S = 400  # to build the training step on a busy machine
#: Seconds without a heartbeat after which a worker is lost, in trials that wait for that; and until it is noticed.
HEARTBEAT_TIMEOUT_S = 10
NOTICED_AFTER_S = 30


@dataclasses.dataclass(frozen=True)
class Trial:
    """A disturbance.

    Attributes:
        what: freeze (SIGSTOP), kill (SIGKILL), or cut (the network between the workers).
        worker: number of the worker that it meets.
        seconds: until it is over; None: for good.
    """

    what: str
    worker: int = 1
    seconds: float | None = None


TRIALS = {
    "freeze-10": Trial("freeze", 1, 10),
    "freeze-60": Trial("freeze", 0, 60),
    "freeze": Trial("freeze", 1),
    "freeze-chief": Trial("freeze", 0),
    "kill": Trial("kill", 1),
    "kill-chief": Trial("kill", 0),
    "cut-5": Trial("cut", 1, 5),
    "cut": Trial("cut", 1),
}


class Wrong(Exception):
    """Result that a disturbance must not have."""


# --- Network ----------------------------------------------------------------------------------------------------------


class Network:
    """Two hosts that are network namespaces of this machine, joined by a cable."""

    def __init__(self) -> None:
        self.hosts = [f"sg3tf-{os.getpid()}-{index}" for index in range(2)]
        self.addresses = ["10.117.0.1:12345", "10.117.0.2:12345"]

    def __enter__(self) -> Network:
        for host in self.hosts:
            _ip("netns", "add", host)
        _ip("link", "add", "cable", "netns", self.hosts[0], "type", "veth", "peer", "cable", "netns", self.hosts[1])
        for host, address in zip(self.hosts, self.addresses, strict=True):
            _ip("-n", host, "address", "add", f"{address.partition(':')[0]}/24", "dev", "cable")
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "link", "set", "cable", "up")
        return self

    def cut(self, worker: int) -> None:
        _ip("-n", self.hosts[worker], "link", "set", "cable", "down")

    def mend(self, worker: int) -> None:
        _ip("-n", self.hosts[worker], "link", "set", "cable", "up")

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            subprocess.run(["ip", "netns", "delete", host], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def namespaces_are_permitted() -> bool:
    try:
        with Network():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# --- Workers ----------------------------------------------------------------------------------------------------------


class Workers:
    """Both workers of a run, whose output goes to log.0 and log.1 in `folder`."""

    def __init__(self, arguments: list[str], folder: Path, network: Network | None) -> None:
        self.addresses = network.addresses if network else free_addresses(2)
        self.logs = [folder / f"log.{index}" for index in range(2)]
        self.processes = []
        for index in range(2):
            prefix = ["ip", "netns", "exec", network.hosts[index]] if network else []
            task = {"cluster": {"worker": self.addresses}, "task": {"type": "worker", "index": index}}
            with self.logs[index].open("w") as log:
                process = subprocess.Popen(
                    [*prefix, sys.executable, *arguments],
                    cwd=ROOT,
                    env={**os.environ, "TF_CONFIG": json.dumps(task)},
                    stdout=log,
                    stderr=log,
                )
            self.processes.append(process)

    def wait(self, seconds: float, numbers: tuple[int, ...] = (0, 1)) -> list[int]:
        """Exit statuses of these workers.

        Raises:
            Wrong: one is still running.
        """
        end = time.monotonic() + seconds
        try:
            return [self.processes[number].wait(max(end - time.monotonic(), 0.1)) for number in numbers]
        except subprocess.TimeoutExpired:
            running = [number for number in numbers if self.processes[number].poll() is None]
            raise Wrong(f"workers {running} are still running after {seconds:g} s: {self.ends()}") from None

    def ends(self) -> list[str]:
        return [log.read_text(errors="replace")[-1500:] for log in self.logs]

    def lines(self, number: int) -> list[str]:
        """Lines of a worker's log that begin with "sg3tf train: "."""
        return [line for line in self.logs[number].read_text().splitlines() if re.match(r"sg3tf train: ", line)]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def workers(arguments: list[str], folder: Path, network: Network | None) -> Iterator[Workers]:
    both = Workers(arguments, folder, network)
    try:
        yield both
    finally:
        both.end()


def wait_for(begun: Callable[[Path], bool], both: Workers, folder: Path) -> None:
    end = time.monotonic() + HANGS_AFTER_S
    while not begun(folder):
        if time.monotonic() > end or any(process.poll() is not None for process in both.processes):
            raise Wrong(f"they do not begin: {both.ends()}")
        time.sleep(0.05)


def disturb(trial: Trial, both: Workers, network: Network | None) -> dict[str, Any]:
    """Disturb one worker, and check what becomes of both; return what was seen."""
    process = both.processes[trial.worker]
    match trial.what:
        case "freeze":
            process.send_signal(signal.SIGSTOP)
        case "kill":
            process.send_signal(signal.SIGKILL)
        case _:
            assert network
            network.cut(trial.worker)
    began = time.monotonic()
    if trial.seconds:
        time.sleep(trial.seconds)
        if trial.what == "freeze":
            process.send_signal(signal.SIGCONT)
        elif network:
            network.mend(trial.worker)
        statuses = both.wait(HANGS_AFTER_S)
        if statuses != [0, 0]:
            raise Wrong(f"ended with {statuses}: {both.ends()}")
        return {"statuses": statuses}
    others = (0, 1) if trial.what == "cut" else (1 - trial.worker,)
    statuses = both.wait(HEARTBEAT_TIMEOUT_S + NOTICED_AFTER_S, others)
    seconds, said = round(time.monotonic() - began, 1), [both.lines(other) for other in others]
    for other, lines in zip(others, said, strict=True):
        name = f"worker {1 - other} ({both.addresses[1 - other]})"
        if len(lines) != 1 or name not in lines[0] or "--resume=latest" not in lines[0]:
            raise Wrong(f"worker {other} must say one line that names {name}: {lines} {both.ends()}")
    if statuses != [1] * len(others):
        raise Wrong(f"ended with {statuses}: {both.ends()}")
    return {"statuses": statuses, "noticed_after_s": seconds, "said": [lines[0] for lines in said]}


# --- Soak -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Program:
    """Command of the workers.

    Attributes:
        command: (inputs, folder, heartbeat timeout in seconds) -> arguments of Python.
        begun: (folder) -> True once the workers work together.
        result: (folder) -> what has to be as in an undisturbed run.
        resumes: a run that has ended too early is finished by the same command.
    """

    command: Callable[[Path, Path, float], list[str]]
    begun: Callable[[Path], bool]
    result: Callable[[Path], str]
    resumes: bool = True


def training(work: Path, folder: Path, heartbeat_timeout: float) -> list[str]:
    more = {"metrics": "none", "snap": 1000, "batch_per_replica": BATCH // 2, "heartbeat_timeout": heartbeat_timeout}
    return ["-m", "sg3tf", *train_arguments(work, folder, **QUICK, **more)]


def weights(folder: Path) -> str:
    """Digest of the state of the last checkpoint."""
    newest = max(folder.glob("runs/*/checkpoints/[0-9]*"), key=lambda path: path.name)
    return digest(b"".join(file.read_bytes() for file in sorted(newest.glob("state.*"))))


PROGRAMS = {
    "train": Program(training, lambda folder: bool(list(folder.glob("runs/*/checkpoints/0*"))), weights),
    "sums": Program(
        lambda work, folder, timeout: ["-m", "tests.helpers.reducing_worker", "60", f"{timeout}"],
        lambda folder: "step 5:" in (folder / "log.0").read_text(),
        lambda folder: re.findall("step.*", (folder / "log.0").read_text())[-1],
        resumes=False,
    ),
}


def undisturbed(program: Program, work: Path) -> str:
    """Result of a run without a disturbance."""
    folder = work / "undisturbed"
    folder.mkdir()
    with workers(program.command(work, folder, 100), folder, None) as both:
        if any(both.wait(HANGS_AFTER_S)):
            raise Wrong(f"without a disturbance: {both.ends()}")
    return program.result(folder)


def soak(program: Program, names: list[str], minutes: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Try one disturbance after the other, as long as there is time; yield its name and what was seen."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_noise(work / "faces", RESOLUTION)
        expected = None
        for trial_name in names:
            if time.monotonic() > began + 60 * minutes:
                return
            trial, folder, start = TRIALS[trial_name], work / trial_name, time.monotonic()
            if trial.what == "cut" and not namespaces_are_permitted():
                yield trial_name, {"skipped": "network namespaces are not permitted here"}
                continue
            folder.mkdir()
            arguments = program.command(work, folder, 100 if trial.seconds else HEARTBEAT_TIMEOUT_S)
            try:
                with contextlib.ExitStack() as stack:
                    network = stack.enter_context(Network()) if trial.what == "cut" else None
                    with workers(arguments, folder, network) as both:
                        wait_for(program.begun, both, folder)
                        seen = disturb(trial, both, network)
                if trial.seconds is None and program.resumes:
                    with workers(arguments, folder, None) as both:
                        if any(both.wait(HANGS_AFTER_S)):
                            raise Wrong(f"the same commands fail: {both.ends()}")
                if trial.seconds or program.resumes:
                    expected = expected or undisturbed(program, work)
                    seen["equal"] = program.result(folder) == expected
                if not seen.get("equal", True):
                    raise Wrong("the results differ from those of an undisturbed run")
            except Wrong as problem:
                seen = {"wrong": str(problem)}
            yield trial_name, {**seen, "took_s": round(time.monotonic() - start, 1)}
            shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", choices=PROGRAMS, default="train")
    parser.add_argument("--trials", default=",".join(TRIALS), help="disturbances, separated by commas")
    parser.add_argument("--minutes", type=float, default=10, help="no trial begins later")
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the workers and removes the namespaces
    found = {}
    for name, seen in soak(PROGRAMS[options.program], options.trials.split(","), options.minutes):
        found[name] = seen
        print(json.dumps({name: seen}), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return int(any("wrong" in seen for seen in found.values()))


if __name__ == "__main__":
    sys.exit(main())
