"""The explorer while a picture is dragged, in a headless Chromium, with the embedded server.

python -m benchmarks.explorer_bench --networks=portraits-32,T-256 --drag_seconds=600 --out=explorer-cpu.json

- milliseconds: from the pointer movement that requested a picture until that picture is on the screen. The pointer
  moves 60 times a second, and the latest movement during a request replaces earlier ones.
- server: the same request, sent sequentially by another process, before and after. The server only shares the machine
  with the browser during the dragging.
- cpu_milliseconds_per_picture: CPU time of each kind of Chromium process, and of the server, from /proc. The network
  process is one of several small ones.
- heap_mb: heap of the page, after garbage collections, every twenty seconds; server_resident_mb: before and after.

It needs the packages of serving/explorer and Chromium (make explorer-tools).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import report
from benchmarks.networks import Network
from benchmarks.report import Row, goal, median
from benchmarks.server import MODEL, Server
from serving.saved_model import export_saved_model
from sg3tf import Generator, build_generator
from sg3tf.models.configs import ConfigError
from sg3tf.models.presets import TRAINED_PRESETS

EXPLORER = Path(__file__).parents[1] / "serving" / "explorer"

CHANNEL_BASE, CHANNEL_MAX = 4096, 64  # of networks with random weights

# Goals
MOST_SERVER_TIMES = 1.5
MOST_SHEET_MS = 2000
MOST_GROWTH_MB = 1.0  # out of ten to twenty: noise of caches

_NETWORKS = flags.DEFINE_list(
    "networks", ["portraits-32"], "Trained presets, or T-256 and the like with random weights."
)
_SECONDS = flags.DEFINE_integer("drag_seconds", 60, "Duration of the dragging.", lower_bound=1)


def load(name: str) -> Any:
    """Return the generator of a trained preset, or of a short name."""
    if name in TRAINED_PRESETS:
        return Generator.from_preset(name)
    return build_generator(Network.named(name, CHANNEL_BASE, CHANNEL_MAX).generator())


def drag(server: Server, seconds: int) -> dict[str, Any]:
    """Run the browser; return the output of tests/drag.mjs, and the memory of the server."""
    environment = os.environ | {
        "SERVER": server.rest,
        "SERVER_PID": str(server.pid),
        "MODEL": MODEL,
        "SECONDS": str(seconds),
    }
    resident = [server.resident_mb()]
    command = ["node", "--experimental-websocket", "--no-warnings", "tests/drag.mjs"]
    done = subprocess.run(command, cwd=EXPLORER, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"the browser failed: {done.stderr.strip()[-1000:]}")
    return json.loads(done.stdout) | {"resident": [*resident, server.resident_mb()]}


def row_of(name: str, found: dict[str, Any]) -> Row:
    """Row of one network."""
    p50, p95 = np.percentile(found["delays"], [50, 95]).tolist()
    server = median(found["serverMs"])
    heap = found["heap"]
    growth = heap[-1] - heap[min(1, len(heap) - 1)]  # the first one is from before caches have filled
    return {
        "network": name,
        "milliseconds": {"p50": p50, "p95": p95},
        "server_milliseconds": {"p50": server, "p95": float(np.percentile(found["serverMs"], 95))},
        "sheet_milliseconds": found["sheetMs"],
        "pictures": len(found["delays"]),
        "requests": {"sent": found["sent"], "aborted": found["aborted"], "never_sent": found["replaced"]},
        "cpu_milliseconds_per_picture": {kind: value / len(found["delays"]) for kind, value in found["cpuMs"].items()},
        "heap_mb": heap,
        "server_resident_mb": found["resident"],
        "goals": {
            "server_times": goal(p50 / server, MOST_SERVER_TIMES),
            "wasted": goal(found["aborted"], 0),
            "growth_mb": goal(growth, MOST_GROWTH_MB),
            "sheet_ms": goal(found["sheetMs"], MOST_SHEET_MS),
        },
    }


def results() -> Iterator[Row]:
    for name in _NETWORKS.value:
        with tempfile.TemporaryDirectory() as folder:
            export_saved_model(load(name), Path(folder) / MODEL)
            with Server(Path(folder) / MODEL) as server:
                yield row_of(name, drag(server, _SECONDS.value))


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
