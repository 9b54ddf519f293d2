"""Time and memory for opening a large synthetic data set and reading from it, in a new process.

python -m benchmarks.open_bench --out=open-cpu.json

The shards are sparse files of the right length with a few real records, and indexes as the builder writes them. `open`
is `open_dataset`; `draw` draws the images of the training stream from the middle of an epoch; `read` reads and decodes
records at arbitrary positions. `memory` is the resulting increase of the peak resident size.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import report
from sg3tf.data.dataset import open_dataset
from sg3tf.data.record_index import write_index
from sg3tf.data.sampler import ShuffledOrder
from sg3tf.data.shards import encode_record, write_manifest
from sg3tf.data.tfrecord import FRAME, record_writer

RESOLUTION = 8
DRAWN = 200_000
MEGABYTE = 1e6
READ_EVERY = 50_021  # a prime, for records in all shards, at various positions
MOST_SECONDS, MOST_MEGABYTES = 10, 500

_IMAGES = flags.DEFINE_list("images", ["1000000", "100000000"], "numbers of images")
_SHARDS = flags.DEFINE_integer("shards", 1200, "number of files", lower_bound=1)
_FILES = flags.DEFINE_integer("files", 256, "files that the process may open (ulimit -n)", lower_bound=64)
_DATA = flags.DEFINE_string("data", None, "data set to open in this process, whose measurements it prints")


def make(folder: Path, num_images: int) -> None:
    """Write a data set with a real record at every READ_EVERY-th position, and holes elsewhere."""
    record = encode_record(np.arange(3 * RESOLUTION**2, dtype=np.uint8).reshape(RESOLUTION, RESOLUTION, 3))
    with record_writer(folder / "record") as write:
        write(record)
    framed = (folder / "record").read_bytes()
    sizes = np.full(num_images, len(record) + FRAME)
    bounds = [shard * num_images // _SHARDS.value for shard in range(_SHARDS.value + 1)]
    shards = []
    for shard, (first, end) in enumerate(itertools.pairwise(bounds)):
        name = f"x-{shard:05d}.tfrecords"
        with open(folder / name, "wb") as file:
            file.truncate((end - first) * len(framed))
            for i in range(-(-first // READ_EVERY) * READ_EVERY, end, READ_EVERY):
                file.seek((i - first) * len(framed))
                file.write(framed)
        shards.append({"file": name, "num_images": end - first, "digest": ""})
    write_index(folder, sizes)
    about = {"name": "x", "resolution": RESOLUTION, "channels": 3, "num_images": num_images, "digest": "sha256:"}
    write_manifest(folder, {**about, "label": {"kind": "none", "dim": 0, "classes": []}, "shards": shards})


def measure(folder: Path) -> report.Row:
    """Open the data set, draw and read images; return times and memory."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES.value, _FILES.value))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = _resident("VmRSS"), time.perf_counter()
    dataset = open_dataset(folder)
    opened = time.perf_counter()
    order = ShuffledOrder(len(dataset), seed=0, mirror=True)
    images = [order.at(position)[0] for position in range(len(dataset) // 2, len(dataset) // 2 + DRAWN)]
    drawn = time.perf_counter()
    places = range(0, len(dataset), READ_EVERY)
    for i in np.random.default_rng(0).permutation(places).tolist():
        dataset[i]
    read = time.perf_counter()
    return {
        "images": len(dataset),
        "shards": len(list(folder.glob("*.tfrecords"))),
        "files_open": len(os.listdir("/proc/self/fd")),
        "open_seconds": report.goal(opened - start, MOST_SECONDS),
        "draw_microseconds": (drawn - opened) / len(images) * 1e6,
        "read_microseconds": (read - drawn) / len(places) * 1e6,
        "memory_megabytes": report.goal((_resident("VmHWM") - before) / MEGABYTE, MOST_MEGABYTES),
    }


def _resident(name: str) -> int:
    """Return VmRSS, the resident size, or VmHWM, its peak since the reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def rows() -> Iterator[report.Row]:
    """Measure each number of images in its own process."""
    for num_images in map(int, _IMAGES.value):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), num_images)
            command = [sys.executable, "-m", "benchmarks.open_bench", f"--data={folder}", f"--files={_FILES.value}"]
            yield json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    if _DATA.value:
        print(json.dumps(measure(Path(_DATA.value))))
    else:
        report.run(argv, rows)


if __name__ == "__main__":
    app.run(main)
