"""Run exported programs (export_programs.py) with JAX: compare results, measure time and memory, and profile.

python custom_ops/gpu/run_programs.py FOLDER --ffi=libffi.so --out=report.json

Set NVIDIA_TF32_OVERRIDE=0 to compare results. Otherwise XLA rounds the inputs of float32 convolutions to TF32, which
alone makes a difference of 1.4e-3. Leave it unset to measure times. The exit status is 1 if a program fails.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import numpy as np

from custom_ops.gpu.pjrt import Program, register_handlers
from custom_ops.gpu.program_set import Argument, Entry, ProgramSet

Row = dict[str, Any]
PROFILED_CALLS = 2
OWN_KERNELS = ("filtered_lrelu", "upfirdn2d")


class Runner:
    """Runs the programs of a folder, one after another.

    Args:
        programs: the folder.
        repeats: timed calls; 0 for none.
        profile: kernels to list, those that take the most time; 0 for none.
    """

    def __init__(self, programs: ProgramSet, repeats: int, profile: int) -> None:
        self._programs, self._repeats, self._profile = programs, repeats, profile
        self._placed: dict[Argument, jax.Array] = {}

    def compile(self, entry: Entry) -> tuple[Program, float]:
        """Return a compiled program and the compile time in seconds."""
        started = time.perf_counter()
        program = Program(self._programs.text(entry.name))
        return program, time.perf_counter() - started

    def run(self, entry: Entry, program: Program) -> Iterator[Row]:
        """Run a program, and yield the parts of its row of the report, the most valuable first."""
        arguments = self._arguments(entry)

        def call() -> list[jax.Array]:
            return jax.block_until_ready(program(arguments))

        yield check(entry, call(), self._programs.stored)
        if self._repeats:
            times = sorted(seconds(call) * 1e3 / entry.images for _ in range(self._repeats))
            yield {"ms_per_image": statistics.median(times), "ms_per_image_range": [times[0], times[-1]]}
        yield {"memory_gb": program.memory_gb()}
        if self._profile:
            yield {"kernels": kernels(call, self._profile)}

    def _arguments(self, entry: Entry) -> list[jax.Array]:
        """Return the arguments, on the device; programs of one network share its weights."""
        device = jax.devices()[0]
        for argument in self._placed.keys() - set(entry.arguments):
            del self._placed[argument]
        for argument in set(entry.arguments) - self._placed.keys():
            self._placed[argument] = jax.device_put(argument.value(self._programs.stored), device)
        return [self._placed[argument] for argument in entry.arguments]


def check(entry: Entry, results: list[jax.Array], stored: Any) -> Row:
    """Compare results with the expected ones, or only look for numbers that are not finite.

    Returns:
        "ok"; "largest_error", the largest norm of a difference as a share of its limit; "of_result", its index.
    """
    got = [np.asarray(result, np.float64) for result in results]
    row: Row = {"ok": all(bool(np.all(np.isfinite(result))) for result in got)}
    if entry.expected:
        if len(got) != len(entry.expected):
            raise ValueError(f"{len(got)} results, but {len(entry.expected)} expected")
        shares = [
            float(np.linalg.norm(result - expected.result.value(stored))) / (expected.limit or np.finfo(float).tiny)
            for result, expected in zip(got, entry.expected, strict=True)
        ]
        row["largest_error"] = max(shares)
        row["of_result"] = shares.index(row["largest_error"]) if row["ok"] else None
        row["ok"] &= row["largest_error"] <= 1
    return row


def seconds(call: Callable[[], Any]) -> float:
    """Return the time of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def kernels(call: Callable[[], Any], count: int) -> list[Row]:
    """Return the kernels of a call that take the most time."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            for _ in range(PROFILED_CALLS):
                call()
        (trace,) = Path(folder).rglob("perfetto_trace.json.gz")
        recorded = json.loads(gzip.decompress(trace.read_bytes()))
    events = recorded["traceEvents"] if isinstance(recorded, dict) else recorded
    return summarize(events, PROFILED_CALLS)[:count]


def summarize(events: list[Row], calls: int) -> list[Row]:
    """Return the kernels of a trace, the longest first.

    Args:
        events: events of a trace in Chrome's format, with times in microseconds.
        calls: number of times that the program ran.

    Returns:
        Times and launches per call; "example" has the instruction to which one of the launches belongs.
    """
    named = [event for event in events if event.get("ph") == "M"]
    processes = {e["pid"]: str(e["args"].get("name")) for e in named if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): str(e["args"].get("name")) for e in named if e["name"] == "thread_name"}
    launches: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for event in events:
        on_gpu = event.get("ph") == "X" and "GPU" in processes.get(event["pid"], "")
        if on_gpu and "Stream" in threads.get((event["pid"], event["tid"]), ""):
            # Kernels of the project have one name in all layers.
            layer = str(event.get("args", {}).get("hlo_op", "")) if event["name"].startswith(OWN_KERNELS) else ""
            launches[event["name"], layer].append(event)
    milliseconds = {key: sum(event["dur"] for event in group) / 1e3 for key, group in launches.items()}
    total = sum(milliseconds.values())
    return [
        {
            "kernel": key[0],
            "ms": milliseconds[key] / calls,
            "share": milliseconds[key] / total,
            "launches": len(launches[key]) / calls,
            "example": {name: str(value)[:200] for name, value in launches[key][0].get("args", {}).items()},
        }
        for key in sorted(launches, key=lambda key: -milliseconds[key])
    ]


def compiled_ahead(runner: Runner, entries: Iterable[Entry], jobs: int, timed: bool) -> Iterator[tuple[Entry, Any]]:
    """Yield each program with a function that returns it compiled. Compiles `jobs` programs at a time.

    If runs are timed, nothing is compiled while the caller runs a program. Otherwise, programs are yielded as they are
    finished.
    """
    waiting = list(entries)
    with ThreadPoolExecutor(jobs) as pool:
        if not timed:
            entry_of = {pool.submit(runner.compile, entry): entry for entry in waiting}
            yield from ((entry_of[future], future.result) for future in as_completed(entry_of))
            return
        while waiting:
            group, waiting = waiting[:jobs], waiting[jobs:]
            futures = [pool.submit(runner.compile, entry) for entry in group]
            for future in futures:
                future.exception()  # waits
            yield from ((entry, future.result) for entry, future in zip(group, futures, strict=True))


def main() -> int:
    """Run the programs and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by export_programs.py")
    parser.add_argument("--only", default="", help="regular expression: programs whose names match")
    parser.add_argument("--ffi", type=Path, help="library with the handlers of the native operations")
    parser.add_argument("--repeats", type=int, default=10, help="timed calls; 0 for none")
    parser.add_argument("--profile", type=int, default=0, help="kernels to list, those that take the most time")
    parser.add_argument("--jobs", type=int, default=1, help="programs to compile at a time")
    parser.add_argument("--out", type=Path, help="write the report here, as JSON, after every program")
    args = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}", flush=True)
    if args.ffi:
        register_handlers(args.ffi)
    programs = ProgramSet(args.folder)
    runner = Runner(programs, args.repeats, args.profile)
    entries = [entry for name, entry in programs.entries.items() if re.search(args.only, name)]
    rows: list[Row] = []

    def write() -> None:
        if args.out:
            report = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "rows": rows}
            args.out.write_text(json.dumps(report, indent=1) + "\n")

    for entry, compiled in compiled_ahead(runner, entries, args.jobs, timed=args.repeats > 0):
        row: Row = {"name": entry.name, **entry.labels, "images": entry.images, "ok": False}
        rows.append(row)
        try:
            program, row["compile_seconds"] = compiled()
            for part in runner.run(entry, program):
                row |= part
                write()  # a profile may take all the time that is left
        except Exception as error:  # the other programs can still be measured
            row |= {"ok": False, "error": f"{type(error).__name__}: {str(error)[:600]}"}
        write()
        print(json.dumps({key: value for key, value in row.items() if key != "kernels"}), flush=True)
    return int(not rows or not all(row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
