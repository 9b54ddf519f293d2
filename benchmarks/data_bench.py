"""Images per second that training can read, compared with a plain read of the same files and with decoding only.

python -m benchmarks.data_bench --out=data-cpu.json

The images are synthetic, about as compressible as photographs, and in the page cache, so the program is measured and
not the disk. `batches` is the function that training calls; `read` reads the same files at once, in one thread;
`decode` decodes images in memory, in as many threads as `batches` (PNG only). The three alternate.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import report
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.encoding import encode_png
from sg3tf.data.ffhq import encode_levels, ffhq_writer, find_levels
from sg3tf.data.sampler import batches
from sg3tf.image_files import open_image
from sg3tf.utils.machine import num_cores

FORMS = ("png", "raw", "memory")
BLOCK = 2**20  # bytes of one plain read
PREFETCH = 4  # as in training
MIN_BATCHES = 6

_RESOLUTIONS = flags.DEFINE_list("resolutions", ["256", "1024"], "resolutions to measure, powers of two")
_FORMS = flags.DEFINE_list(
    "forms", list(FORMS), f"forms of the data set: {', '.join(FORMS)} (memory: read once, then cached)"
)
_WORKERS = flags.DEFINE_list("workers", None, "numbers of threads; default: 1 and one per core")
_MEGAPIXELS = flags.DEFINE_integer(
    "megapixels", 64, "megapixels of all images of one resolution together", lower_bound=1
)
_BATCH = flags.DEFINE_integer("batch", 16, "images per batch", lower_bound=1)


def synthetic_image(resolution: int, seed: int) -> np.ndarray:
    """Noise at all scales, with the strengths of photographs: uint8 [R, R, 3]."""
    rng = np.random.default_rng(seed)
    total = 1.5 * rng.standard_normal([resolution, resolution, 3], np.float32)
    size = 4
    while size <= resolution:
        octave = Image.fromarray(rng.integers(0, 256, [size, size, 3], np.uint8))
        large = np.asarray(octave.resize((resolution, resolution), Image.Resampling.BICUBIC), np.float32)
        total += (large - 127.5) * 2 / size
        size *= 2
    return np.clip(total + 127.5, 0, 255).astype(np.uint8)


def make(folder: Path, resolution: int) -> dict[str, Path]:
    """Write both forms; return their paths."""
    count = max(2 * _BATCH.value, _MEGAPIXELS.value * 2**20 // resolution**2)
    raw = folder / "raw"
    raw.mkdir()
    with ffhq_writer(raw, "raw", resolution) as add:
        for seed in range(count):
            add(encode_levels(synthetic_image(resolution, seed)))
    build(raw, folder / "png", BuildConfig(resolution))
    top = find_levels(raw)[resolution]
    return {"raw": top, "png": folder / "png", "memory": top}


@dataclass(frozen=True)
class Timing:
    """Speed of one run through some images."""

    images_per_second: float
    cpu_ms_per_image: float

    @staticmethod
    def of(images: int, work: Callable[[], None]) -> Timing:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Timing(images / wall, cpu / images * 1e3)


def stream(dataset: Dataset, workers: int) -> Timing:
    """Time batches after the first ones, so that equally many are in preparation at the beginning and the end."""
    count = max(MIN_BATCHES, len(dataset) // _BATCH.value)
    made = batches(dataset, _BATCH.value, seed=0, mirror=True, workers=workers, prefetch=PREFETCH)
    take(made, PREFETCH)
    timing = Timing.of(count * _BATCH.value, lambda: take(made, count))
    made.close()
    return timing


def take(made: Iterator[object], count: int) -> None:
    for _ in islice(made, count):
        pass


def read_files(files: Sequence[Path]) -> None:
    buffer = bytearray(BLOCK)
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def decode(images: Sequence[bytes], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda encoded: np.array(open_image(io.BytesIO(encoded))), images):
            pass


def measure(form: str, path: Path, workers: int) -> report.Row:
    start = time.perf_counter()
    dataset = open_dataset(path)
    opened = time.perf_counter() - start
    if form == "memory":
        dataset = dataset.cached(2**40)
        take((dataset[i] for i in range(len(dataset))), len(dataset))
    files = sorted(path.glob("*.tfrecords")) if path.is_dir() else [path]
    sides = {
        "batches": partial(stream, dataset, workers),
        "read": partial(Timing.of, len(dataset), partial(read_files, files)),
    }
    if form == "png":
        encoded = [encode_png(dataset[i][0]) for i in range(min(len(dataset), 4 * _BATCH.value))]
        sides["decode"] = partial(Timing.of, len(encoded), partial(decode, encoded, workers))
    timings: dict[str, list[Timing]] = {name: [] for name in sides}
    for _ in range(report.REPEATS.value):
        for name, side in sides.items():
            timings[name].append(side())
    row: report.Row = {
        "form": form,
        "resolution": dataset.resolution,
        "workers": workers,
        "images": len(dataset),
        "bytes_per_image": sum(file.stat().st_size for file in files) // len(dataset),
        "seconds_to_open": opened,
    }
    for name, runs in timings.items():
        row[name] = {
            field: report.median([getattr(run, field) for run in runs])
            for field in ("images_per_second", "cpu_ms_per_image")
        }
    for name in timings.keys() - {"batches"}:
        row[f"share_of_{name}"] = row["batches"]["images_per_second"] / row[name]["images_per_second"]
    return row


def rows() -> Iterator[report.Row]:
    workers = [int(number) for number in _WORKERS.value or sorted({1, num_cores()})]
    for resolution in (int(side) for side in _RESOLUTIONS.value):
        with tempfile.TemporaryDirectory() as folder:
            paths = make(Path(folder), resolution)
            for form in _FORMS.value:
                for number in workers:
                    yield measure(form, paths[form], number)


def main(argv: Sequence[str]) -> None:
    report.run(argv, rows)


if __name__ == "__main__":
    app.run(main)
