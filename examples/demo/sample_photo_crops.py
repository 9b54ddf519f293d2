"""Crop random squares from the two sample photographs that come with scikit-learn.

python examples/demo/sample_photo_crops.py --outdir=photos --count=3000
make demo DATA=photos
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from sg3tf.utils import command_line
from sg3tf.utils.files import atomic_directory
from sg3tf.utils.progress import with_progress


def random_crop(photo: Image.Image, rng: np.random.Generator, resolution: int) -> Image.Image:
    """Return a square, RGB [resolution, resolution], of log-uniform scale; half are mirrored."""
    largest = min(photo.size)
    side = np.exp(rng.uniform(np.log(min(resolution, largest)), np.log(largest)))
    left, top = (rng.uniform(0, length - side) for length in photo.size)
    crop = photo.resize(
        (resolution, resolution),
        Image.Resampling.LANCZOS,
        box=(left, top, left + side, top + side),
    )
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def load_photos() -> list[Image.Image]:
    """Return scikit-learn's sample photographs, RGB."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise ImportError("scikit-learn is not installed; pip install scikit-learn") from error
    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("outdir", None, "Folder to make; it must not exist.", required=True, flag_values=options)
    flags.DEFINE_integer("count", 3000, "Number of crops.", lower_bound=1, flag_values=options)
    flags.DEFINE_integer("resolution", 64, "Width and height, pixels.", lower_bound=4, flag_values=options)
    flags.DEFINE_integer("seed", 0, "Seed of the crops.", lower_bound=0, flag_values=options)


def main(args: flags.FlagValues) -> None:
    """Write the crops."""
    photos = load_photos()
    rng = np.random.default_rng(args.seed)
    with atomic_directory(Path(args.outdir)) as folder:
        for i in with_progress(range(args.count), args.count):
            crop = random_crop(photos[i % len(photos)], rng, args.resolution)
            crop.save(folder / f"{i:05d}.png")
    print(f"{args.outdir}: {args.count} crops of {len(photos)} photographs")


if __name__ == "__main__":
    sys.exit(command_line.run("sample_photo_crops", main, define_flags, __doc__))
