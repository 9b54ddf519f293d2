"""Soak of memory: training with snapshots, metrics and ADA, whose resident memory has to stay flat.

python -m tests.helpers.memory_soak --minutes=30 --out=build/soak/memory.json

The first third of the ticks is left out, in which graphs are made and pools and caches fill. Of the others, the second
half may have 2 % more than the first. Serving is in tests/serving/server/test_storm.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.helpers.kill_soak import RESOLUTION, train_arguments

MOST_GROWTH = 0.02


def memory_of_ticks(minutes: float, work: Path) -> list[float]:
    """Resident memory in gigabytes at each tick of a run of so many minutes."""
    import numpy as np

    from sg3tf.data.ffhq import encode_levels, ffhq_writer

    (work / "faces").mkdir()
    with ffhq_writer(work / "faces", "faces", RESOLUTION) as add:
        for image in np.random.default_rng(0).integers(0, 256, (64, RESOLUTION, RESOLUTION, 3), np.uint8):
            add(encode_levels(image), None)
    arguments = train_arguments(work, work, kimg=1e6, tick=0.16, snap=4, checkpoint=4, strategy="cpu")
    process = subprocess.Popen([sys.executable, "-m", "sg3tf", *arguments], stdout=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(minutes * 60)
    process.send_signal(signal.SIGTERM)
    if process.wait() != 130:
        raise RuntimeError(f"training ended with status {process.returncode}")
    (stats,) = (work / "runs").glob("*/stats.jsonl")
    return [json.loads(line)["Resources/cpu_mem_gb"]["mean"] for line in stats.read_text().splitlines()]


def report(ticks: list[float]) -> dict[str, Any]:
    """Growth of the memory from the second third of the ticks to the last."""
    third = len(ticks) // 3
    before, after = statistics.median(ticks[third : 2 * third]), statistics.median(ticks[2 * third :])
    growth = after / before - 1
    return {
        "ticks": len(ticks),
        "before_gb": before,
        "after_gb": after,
        "growth": growth,
        "flat": growth <= MOST_GROWTH,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = report(memory_of_ticks(options.minutes, Path(work)))
    print(json.dumps(found))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return int(not found["flat"])


if __name__ == "__main__":
    sys.exit(main())
