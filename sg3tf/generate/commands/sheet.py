"""python -m sg3tf.cli.generate sheet: classes side by side, one in each column.

python -m sg3tf.cli.generate sheet --network=runs/00000-... --seeds=0-7 --classes=0-9 --out=classes.png
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf.generate import shared_flags
from sg3tf.generate.captions import with_captions
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.images import enlarge
from sg3tf.latents import parse_seeds, z_from_seeds
from sg3tf.utils.progress import with_progress


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_network_flags()
    shared_flags.define_truncation_flags()
    shared_flags.define_motion_flags()
    flags.DEFINE_string("seeds", "0-7", "Seeds and ranges, one for each row: 0-7,85.")
    flags.DEFINE_string("classes", None, "Class numbers and ranges, one for each column; default: all.")
    shared_flags.define_picture_flags("PNG to write.")
    shared_flags.define_save_flag()


def main(options: Any) -> None:
    """Runs the command with its flags."""
    seeds = parse_seeds(options.seeds)
    psi = shared_flags.single_truncation(options)
    network = shared_flags.network(options)
    classes = class_numbers(network, options.classes)
    latents = of_classes(network, seeds, classes, psi, options.trunc_cutoff)
    latents = shared_flags.apply_transform(latents, shared_flags.motion(network, options))
    shared_flags.save_picture(options, sheet(network, latents, classes, options.scale))
    shared_flags.save_latents(options, latents)


def class_numbers(network: Network, text: str | None) -> list[int]:
    """Classes and ranges as people write them; None: all.

    Raises:
        ValueError: a network without labels, or classes that it does not have.
    """
    if not network.label_dim:
        raise ValueError(f"network={network.name}: has no classes to show; grid takes networks without labels")
    try:
        numbers = range(network.label_dim) if text is None else parse_seeds(text)
    except ValueError as error:
        raise ValueError(f"classes={text}: give numbers and ranges, like 0-3,7") from error
    if max(numbers) >= network.label_dim:
        raise ValueError(f"classes={text}: this network has classes 0 to {network.label_dim - 1}")
    return list(numbers)


def of_classes(
    network: Network, seeds: Sequence[int], classes: Sequence[int], psi: float = 1.0, cutoff: int | None = None
) -> Latents:
    """The points of every seed in every class, seed by seed; psi and cutoff as of sg3tf.latents.truncate."""
    one_hot = np.eye(network.label_dim, dtype=np.float32)[list(classes)]
    each, labels = np.repeat(np.asarray(seeds, np.int64), len(classes)), np.tile(one_hot, [len(seeds), 1])
    ws = network.map(z_from_seeds(each.tolist(), network.z_dim), psi, cutoff, labels)
    return Latents(ws, seeds=each, psi=np.full([len(each)], psi, np.float32), label=labels)


def sheet(network: Network, latents: Latents, classes: Sequence[int], scale: int = 1) -> NDArray[np.uint8]:
    """The points of `of_classes` as a picture with captions, uint8 [H, W, 3]; each pixel a square of side `scale`."""
    drawn = [
        enlarge(image, scale) for image in with_progress(network.images(latents.ws, latents.transform), len(latents))
    ]
    rows = {}
    for start in range(0, len(drawn), len(classes)):
        name = "" if latents.seeds is None else f"seed {latents.seeds[start]}"
        rows[name] = drawn[start : start + len(classes)]
    return with_captions([f"class {number}" for number in classes], rows)
