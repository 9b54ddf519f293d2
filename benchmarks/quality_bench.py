"""A matrix of short training runs, options x seeds, and the distances of their snapshots to held-out images.

python -m benchmarks.quality_bench --data=datasets/portraits --kimg=48 --seeds=3 \\
    --options=base,relativistic,lecam=0.1 -- --batch=16 --gamma=0.5 --cbase=1024 --cmax=32

Runs are trained one after the other, each in its own process. After Ctrl-C or a kill, the same command continues.
quality.jsonl has a line for each run; see docs/quality.md. `sg3tf compare-runs --metric=swd_held_out` plots them.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from numpy.typing import NDArray

from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.sampler import ORDERS
from sg3tf.metrics import compute, registry
from sg3tf.metrics.detectors import BUILT_IN
from sg3tf.metrics.features import run_detector
from sg3tf.metrics.names import SELF_CONTAINED_METRICS
from sg3tf.metrics.samples import comparison_rng
from sg3tf.models.loading import load
from sg3tf.models.run_folder import snapshots
from sg3tf.utils import command_line
from sg3tf.utils.files import atomic_write
from sg3tf.utils.resolution import to_resolution

#: Short names for flags of trainer.main; others are written FLAG=VALUE, and several are joined by +.
NAMES = {"base": "", "relativistic": "loss=relativistic", "apa": "aug=apa", "ada": "aug=ada", "noaug": "aug=noaug"}
SNAPSHOTS = 6  # of a run
BATCH = 16  # images at a time when computing distances


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags of the matrix."""
    flags.DEFINE_string("data", None, "Data set.", required=True, flag_values=values)
    flags.DEFINE_string(
        "resolution", None, "Resolution to read and to train at, as in trainer.main.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_images", None, "Number of images to use, including held-out ones, as in trainer.main.", flag_values=values
    )
    flags.DEFINE_float("kimg", 48.0, "Length of each run, in thousands of images.", flag_values=values)
    flags.DEFINE_list(
        "options",
        list(NAMES)[:2],
        f"Flags of trainer.main, such as lecam=0.1 or gamma=1+aug=apa; or {', '.join(NAMES)}.",
        flag_values=values,
    )
    flags.DEFINE_integer("seeds", 3, "Seeds of each option: 0 and on.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "held_out", 500, "Images to hold out of training, spread over the data.", lower_bound=2, flag_values=values
    )
    flags.DEFINE_string(
        "outdir", "runs/quality", "Folder for the runs, and for the lines in quality.jsonl.", flag_values=values
    )


def training_flags(option: str) -> list[str]:
    """Flags of trainer.main for one of --options.

    Raises:
        ValueError: the option is neither a name nor FLAG=VALUE.
    """
    pairs = [pair for pair in NAMES.get(option, option).split("+") if pair]
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise ValueError(f"--options: {wrong[0]!r} is neither FLAG=VALUE nor one of {', '.join(NAMES)}")
    return [f"--{pair}" for pair in pairs]


def train(outdir: Path, arguments: Sequence[str]) -> None:
    """Train to the end in `outdir`, which has no other run; continue if a process was killed.

    Its output goes to stderr, because lines of JSON go to stdout. After Ctrl-C, which it receives as well, it saves a
    checkpoint before this function ends.

    Raises:
        ValueError: training has failed.
        KeyboardInterrupt: it was interrupted.
    """
    command = ["-m", "trainer.main", f"--outdir={outdir}", "--resume=latest", *arguments]
    interrupted = False
    with subprocess.Popen([sys.executable, *command], stdout=sys.stderr) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
    if interrupted or process.returncode == 130:
        raise KeyboardInterrupt("stopped; the same command continues")
    if status := process.returncode:
        raise ValueError(f"python {shlex.join(command)} failed with status {status}; its message is above")


def distances(run: Path, real: Dataset) -> list[dict[str, float]]:
    """Distances of each snapshot's images to equally many real ones; also written to files of the run."""
    found = []
    for nimg, file in snapshots(run).items():
        values = compute(SELF_CONTAINED_METRICS, load(file), real, num_samples=len(real), batch=BATCH)
        found.append({"kimg": nimg / 1000, **{name: round(value, 3) for name, value in values.items()}})
    for name in SELF_CONTAINED_METRICS:
        result = f"{name}_held_out"
        with atomic_write(run / f"metric-{result}.jsonl") as out:
            for point in found:
                line = {"metric": result, "results": {result: point[name]}, "kimg": point["kimg"]}
                line |= {"num_samples": len(real), "version": registry.METRICS[name].version}
                out.write((json.dumps(line) + "\n").encode())
    return found


def floor(held_out: Dataset, others: Dataset) -> dict[str, float]:
    """Distances between held-out images and equally many others, a floor that no network can be expected to beat."""
    resolution, count = held_out.resolution, min(len(held_out), len(others))

    def features(dataset: Dataset, detector: Any) -> NDArray[np.float32]:
        images = np.stack([dataset[i][0] for i in range(count)])
        parts = [np.arange(count)[i : i + BATCH] for i in range(0, count, BATCH)]
        outputs = [run_detector(detector, images[part], tf.constant(part, tf.int32)) for part in parts]
        return np.concatenate([next(iter(output.values())).numpy() for output in outputs])

    found = {}
    for name in SELF_CONTAINED_METRICS:
        kind: Any = registry.METRICS[name].kind
        detector = BUILT_IN[kind.detector](resolution)
        real, other = (features(dataset, detector) for dataset in (held_out, others.subsample(count)))
        (value,) = kind.compute(real, other, comparison_rng(0))
        found[name] = round(value, 3)
    return found


def main(options: flags.FlagValues, more: list[str]) -> None:
    """Train the runs whose lines are missing, with `more` flags of trainer.main for all of them."""
    outdir = Path(options.outdir)
    out = outdir / "quality.jsonl"
    outdir.mkdir(parents=True, exist_ok=True)
    all_flags = {option: training_flags(option) for option in options.options}
    resolution = None if options.resolution is None else to_resolution(options.resolution)
    dataset = open_dataset(
        options.data, resolution=resolution, use_labels="--cond" in more, max_images=options.max_images
    )
    others, held_out = dataset.split(options.held_out)
    values = {"resolution": options.resolution, "max_images": options.max_images}
    more = [*(f"--{name}={value}" for name, value in values.items() if value is not None), *more]
    of_data = {"data": held_out.digest, "part": held_out.part, "resolution": str(held_out.resolution)}
    common = {**of_data, "kimg": options.kimg, "held_out": len(held_out), "flags": more}
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

    def write(line: dict[str, Any]) -> None:
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def is_done(key: dict[str, Any]) -> bool:
        return any(all(line.get(name) == value for name, value in key.items()) for line in done)

    tick = f"--tick={options.kimg / SNAPSHOTS:g}"
    length = [f"--kimg={options.kimg:g}", tick, "--snap=1", "--checkpoint=1", "--metrics=none"]
    about_floor = {"option": "floor", **of_data, "held_out": len(held_out), "images": len(others)}
    if not is_done(about_floor):
        write(about_floor | floor(held_out, others))
    for seed in range(options.seeds):  # all options of a seed first, so that an interrupted matrix is comparable
        for option, of_option in all_flags.items():
            key = {"option": option, "seed": seed, **common}
            if is_done(key):
                print(f"{option}, seed {seed}: measured before, see {out}", file=sys.stderr)
                continue
            folder, start = outdir / option / f"seed{seed}", time.monotonic()
            for file in folder.glob("*/options.json"):
                if json.loads(file.read_text()).get("data_order") != ORDERS[-1]:
                    begun = f"{file.parent}: was started by an earlier revision, with other held-out images"
                    raise ValueError(f"{begun}; give another --outdir")
            train(
                folder,
                [
                    f"--data={options.data}",
                    *length,
                    *more,
                    *of_option,
                    f"--seed={seed}",
                    f"--validation={len(held_out)}",
                ],
            )
            seconds = round(time.monotonic() - start)
            run = max(folder.glob("*-*"))  # earlier ones were killed before their first checkpoint
            write({**key, "run": str(run), "seconds": seconds, "snapshots": distances(run, held_out)})


if __name__ == "__main__":
    sys.exit(command_line.run("quality_bench", main, define_flags, __doc__ or "", positional="-- --FLAG=VALUE..."))
