"""python -m sg3tf.cli.generate grid: many images in one picture.

python -m sg3tf.cli.generate grid --network=runs/00000-... --seeds=0-63 --out=uncurated.png
python -m sg3tf.cli.generate grid --network=runs/00000-... --seeds=3,7,85 --trunc=0,0.5,1 --out=sweep.png
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf import images
from sg3tf.generate import shared_flags
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.utils.progress import with_progress


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_flags(seeds="0-63")
    shared_flags.define_picture_flags("PNG to write.")
    flags.DEFINE_integer("columns", None, "Images in a row; default: one for each --trunc, or a square.", lower_bound=1)


def main(options: Any) -> None:
    """Runs the command with its flags."""
    network = shared_flags.network(options)
    latents = shared_flags.latents_from_flags(network, options)
    sweep = len(options.trunc or [])
    picture = grid(network, latents, options.columns or (sweep if sweep > 1 else None))
    shared_flags.save_picture(options, images.enlarge(picture, options.scale))
    shared_flags.save_latents(options, latents)


def grid(network: Network, latents: Latents, columns: int | None = None) -> NDArray[np.uint8]:
    """The images of all points, row by row.

    Args:
        network: what draws.
        latents: the points.
        columns: images in a row; None: as square as possible.

    Returns:
        uint8 [H, W, C].
    """
    drawn = with_progress(network.images(latents.ws, latents.transform), len(latents))
    return images.grid(np.stack([*drawn]), columns)
