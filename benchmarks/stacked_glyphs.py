"""Mode coverage of short training runs: digits stacked in the three color channels, a thousand equally frequent modes.

python -m benchmarks.stacked_glyphs --kimg=40 --seeds=1 --options=base,relativistic -- --batch=16 --gamma=0.1

Prints a JSON line for each run: the number of modes among 10,000 generated images, and the Kullback-Leibler divergence
of their frequencies from the uniform distribution, in nats. Another line is for equally many images of the data.
docs/quality.md has the results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.quality_bench import NAMES, train, training_flags
from sg3tf.data.ffhq import encode_levels, ffhq_writer
from sg3tf.models.loading import load
from sg3tf.models.run_folder import snapshots
from sg3tf.utils import command_line
from sg3tf.utils.files import atomic_directory

RESOLUTION, MARGIN = 16, 2  # pixels; digits are shifted by up to MARGIN along either axis
DIGITS = 10
NUM_MODES = DIGITS**3
SAMPLES = 10_000
BATCH = 100
TRAINING = ("--cfg=stylegan2", "--resolution=16", "--cbase=512", "--cmax=64", "--aug=noaug", "--metrics=none")


def glyphs() -> NDArray[np.float32]:
    """Draw the digits 0 to 9, [10, 12, 12] from 0 to 1, in the size of an image without its margin."""
    size = RESOLUTION - 2 * MARGIN
    font = ImageFont.load_default(size=14)
    found = []
    for digit in map(str, range(DIGITS)):
        image = Image.new("L", (size, size))
        ImageDraw.Draw(image).text((size / 2, size / 2), digit, fill=255, font=font, anchor="mm")
        found.append(np.asarray(image, np.float32) / 255)
    return np.stack(found)


def stack(modes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw images [N, 16, 16, 3] of `modes`, from 0 to 999, whose digits are in red, green and blue, each shifted."""
    templates, size = glyphs(), RESOLUTION - 2 * MARGIN
    images = np.zeros([len(modes), RESOLUTION, RESOLUTION, 3], np.uint8)
    for image, digits in zip(images, np.stack([modes // 100, modes // 10 % 10, modes % 10], 1), strict=True):
        for channel, digit in enumerate(digits):
            y, x = rng.integers(0, 2 * MARGIN + 1, size=2)
            image[y : y + size, x : x + size, channel] = np.rint(templates[digit] * 255)
    return images


def find_modes(images: NDArray[Any]) -> NDArray[np.int64]:
    """Return the modes of images [N, 16, 16, 3]: in each channel, the digit that correlates most at any shift."""
    templates = glyphs()
    size = templates.shape[1]
    templates = _standardized(templates.reshape(DIGITS, -1))
    modes = np.zeros(len(images), np.int64)
    for channel in range(3):
        windows = sliding_window_view(images[..., channel].astype(np.float32), (size, size), axis=(1, 2))
        similarity = _standardized(windows.reshape(*windows.shape[:3], -1)) @ templates.T  # [N, 5, 5, 10]
        modes = modes * DIGITS + similarity.max(axis=(1, 2)).argmax(axis=1)
    return modes


def _standardized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows - rows.mean(axis=-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def coverage(modes: NDArray[np.int64]) -> dict[str, float]:
    """Return the number of modes that occur and the divergence of their frequencies from the uniform distribution."""
    counts = np.bincount(modes, minlength=NUM_MODES)
    share = counts[counts > 0] / len(modes)
    return {"modes": int((counts > 0).sum()), "kl": round(float(np.sum(share * np.log(share * NUM_MODES))), 4)}


def write_data(folder: Path, count: int, seed: int) -> None:
    """Write `count` images, of all modes equally often, in FFHQ's layout into the new folder."""
    rng = np.random.default_rng(seed)
    with atomic_directory(folder) as partial, ffhq_writer(partial, "glyphs", RESOLUTION) as add:
        for image in stack(np.arange(count) % NUM_MODES, rng):
            add(encode_levels(image))


def generate(run: Path) -> NDArray[np.float32]:
    """Generate SAMPLES images [N, 16, 16, 3] with the last snapshot of a run, from seed 0."""
    generator = load(list(snapshots(run).values())[-1])
    z = np.random.default_rng(0).normal(size=[SAMPLES, generator.config.z_dim]).astype(np.float32)
    return np.concatenate([generator(z[i : i + BATCH]).numpy() for i in range(0, SAMPLES, BATCH)])


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags of the benchmark."""
    flags.DEFINE_float("kimg", 40.0, "Length of each run, in thousands of images.", flag_values=values)
    flags.DEFINE_list("options", list(NAMES)[:2], "As in benchmarks.quality_bench.", flag_values=values)
    flags.DEFINE_integer("seeds", 1, "Seeds of each option: 0 and on.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("outdir", "runs/glyphs", "Folder for the data and the runs.", flag_values=values)


def main(options: flags.FlagValues, more: list[str]) -> None:
    """Train each option with each seed, with `more` flags of trainer.main, and print the coverage of each."""
    outdir = Path(options.outdir)
    if not (outdir / "data").exists():
        write_data(outdir / "data", count=50 * NUM_MODES, seed=0)
    real = stack(np.random.default_rng(1).integers(0, NUM_MODES, SAMPLES), np.random.default_rng(2))
    print(json.dumps({"option": "data", **coverage(find_modes(real))}), flush=True)
    common = [f"--data={outdir / 'data'}", f"--kimg={options.kimg}", "--snap=1000", *TRAINING, *more]
    for seed in range(options.seeds):
        for option in options.options:
            folder = outdir / f"{option}-seed{seed}"
            train(folder, [*common, *training_flags(option), f"--seed={seed}"])
            run = max(folder.glob("*-*"))
            line = {"option": option, "seed": seed, "kimg": options.kimg, **coverage(find_modes(generate(run)))}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(command_line.run("stacked_glyphs", main, define_flags, __doc__ or "", positional="-- --FLAG=VALUE..."))
