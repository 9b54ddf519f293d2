"""Distances of an example network to data not seen in training, computed independently of sg3tf.metrics.

python examples/distances.py --network=examples/portraits-32.keras --data=datasets/unseen

`--data` is a data set with at least twice `--count` images, which is split into parts of `--count` images. Each part is
compared with equally many generated images, with their own seeds and labels, and with every other part, which gives the
floor. Prints one line of JSON:

- `swd`, `swd_floor`: mean sliced Wasserstein distance between 7x7 patches of the Laplacian pyramid, times 1000 (arXiv
  1710.10196, section 5), with its own random patches and directions, in NumPy and SciPy.
- `swd_range`, `swd_floor_range`: lowest and highest over the parts, or pairs of parts. Smaller differences are noise.
- `diversity`: mean distance between two generated images, divided by that between two images of the data.
"""

from __future__ import annotations

import itertools
import sys

from sg3tf.utils import command_line, startup_notices
from sg3tf.utils.json_text import to_json

startup_notices.hide()

import numpy as np
from absl import flags
from numpy.typing import NDArray
from scipy import ndimage

import sg3tf
from sg3tf import latents
from sg3tf.data.dataset import open_dataset
from sg3tf.images import to_uint8

_PATCH = 7
_PATCHES = 128  # of each level of an image
_LAST_LEVEL = 16  # pixels
_DIRECTIONS = 512
_BLUR = np.array([1, 4, 6, 4, 1]) / 16

Images = NDArray[np.float32]


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    network = "Generator: .keras file, run or checkpoint."
    flags.DEFINE_string("network", None, network, required=True, flag_values=options)
    data = "Data set of images not seen in training."
    flags.DEFINE_string("data", None, data, required=True, flag_values=options)
    flags.DEFINE_integer("count", 1024, "Number of images of each part.", lower_bound=2, flag_values=options)


def main(options: flags.FlagValues) -> None:
    """Print the distances."""
    count = options.count
    G = sg3tf.load(options.network)
    dataset = open_dataset(options.data, resolution=G.config.resolution, use_labels=bool(G.config.label_dim))
    if len(dataset) < 2 * count:
        raise ValueError(f"--data={options.data} has {len(dataset)} images: give {2 * count}, or a smaller --count")
    reals, fakes = [], []
    for first in range(0, len(dataset) - count + 1, count):
        part = range(first, first + count)
        reals.append(np.stack([dataset[i][0] for i in part]).astype(np.float32))
        inputs = {"z": latents.z_from_seeds(part, G.config.z_dim)}
        if G.config.label_dim:
            inputs["label"] = np.stack([dataset.label(i) for i in part])
        fakes.append(np.asarray(to_uint8(G.predict(inputs, batch_size=16, verbose=0)), np.float32))
    distances = [sliced_wasserstein(*pair) for pair in zip(reals, fakes, strict=True)]
    floors = [sliced_wasserstein(*pair) for pair in itertools.combinations(reals, 2)]
    diversity = np.mean([mean_distance(part) for part in fakes]) / np.mean([mean_distance(part) for part in reals])
    result = {
        "network": options.network,
        "count": count,
        "parts": len(reals),
        "swd": round(float(np.mean(distances)), 2),
        "swd_range": [round(min(distances), 2), round(max(distances), 2)],
        "swd_floor": round(float(np.mean(floors)), 2),
        "swd_floor_range": [round(min(floors), 2), round(max(floors), 2)],
        "diversity": round(float(diversity), 3),
    }
    print(to_json(result))


def sliced_wasserstein(a: Images, b: Images) -> float:
    """Mean over the levels of the pyramid, times 1000, of images float32 [N, H, W, C]."""
    rng = np.random.default_rng(0)
    levels = zip(*(pyramid(images) for images in (a, b)), strict=True)
    return 1000 * float(np.mean([_level_distance(*level, rng) for level in levels]))


def pyramid(images: Images) -> list[Images]:
    """Differences [N, H, W, C] at the size of the images, at half of it, ..., and last the smallest images."""
    levels = []
    while min(images.shape[1:3]) >= 2 * _LAST_LEVEL:
        half = _blurred(images)[:, ::2, ::2]
        between = np.zeros_like(images)
        between[:, ::2, ::2] = half
        levels.append(images - 4 * _blurred(between))
        images = half
    return [*levels, images]


def _blurred(images: Images) -> Images:
    for axis in (1, 2):
        images = ndimage.correlate1d(images, _BLUR, axis=axis, mode="mirror")
    return images


def _level_distance(a: Images, b: Images, rng: np.random.Generator) -> float:
    directions = rng.standard_normal([_PATCH * _PATCH * a.shape[-1], _DIRECTIONS]).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    patches = [_patches(images, rng) for images in (a, b)]
    distances = []
    for some in np.split(directions, _DIRECTIONS // 32, axis=1):  # in parts, to limit memory
        first, second = (np.sort(some.T @ rows.T, axis=1) for rows in patches)
        distances.append(np.abs(first - second).mean())
    return float(np.mean(distances))


def _patches(images: Images, rng: np.random.Generator) -> Images:
    """Random patches [N * 128, 49 C], with mean 0 and standard deviation 1 in each channel."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))  # [N, Y, X, C, 7, 7]
    index = np.arange(len(images))[:, None]
    y, x = (rng.integers(count, size=[len(images), _PATCHES]) for count in windows.shape[1:3])
    patches = windows[index, y, x].reshape(-1, images.shape[-1], _PATCH * _PATCH)
    return ((patches - patches.mean((0, 2), keepdims=True)) / patches.std((0, 2), keepdims=True)).reshape(
        len(patches), -1
    )


def mean_distance(images: Images) -> float:
    """Mean Euclidean distance between two different images."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    squares = (rows**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0))
    return float(distances.sum() / (len(rows) * (len(rows) - 1)))


if __name__ == "__main__":
    sys.exit(command_line.run("distances", main, define_flags, __doc__))
