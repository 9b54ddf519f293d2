"""python -m sg3tf.cli.generate mix: style mixing as a sheet of sources and results (arXiv 1812.04948, figure 3).

python -m sg3tf.cli.generate mix --network=runs/00000-... --rows=85,100 --cols=55,821 --layers=coarse --out=mix.png
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf import images, latents
from sg3tf.generate import shared_flags
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.utils.progress import with_progress

_GAP = 8  # an image's width over that between sources and results

# Thirds of the style vectors; docs/gallery.md shows what they do.
_RANGES = ("coarse", "middle", "fine")


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_network_flags()
    shared_flags.define_truncation_flags()
    shared_flags.define_label_flags()
    shared_flags.define_motion_flags()
    flags.DEFINE_string("rows", "0-3", "Sources of the rows: seeds, or an .npz file of latents.")
    flags.DEFINE_string("cols", "4-9", "Sources of the columns: seeds, or an .npz file of latents.")
    flags.DEFINE_string(
        "layers", "coarse", "Style vectors that come from the columns: coarse, middle, fine, or numbers: 0-6,9."
    )
    shared_flags.define_picture_flags("PNG to write.")
    shared_flags.define_save_flag()


def main(options: Any) -> None:
    """Runs the command with its flags."""
    shared_flags.single_truncation(options)  # refuses a sweep
    network = shared_flags.network(options)
    layers = style_range(options.layers, network.num_ws)
    rows, columns = (shared_flags.parse_latents(network, text, options) for text in (options.rows, options.cols))
    mixed = mix(rows, columns, layers)
    transform = shared_flags.motion(network, options)
    picture = sheet(network, rows, columns, mixed, transform)
    shared_flags.save_picture(options, images.enlarge(picture, options.scale))
    shared_flags.save_latents(options, shared_flags.apply_transform(mixed, transform))


def style_range(text: str, num_ws: int) -> list[int]:
    """Positions of style vectors as people name them: "coarse", "middle", "fine", numbers, and several of these.

    Raises:
        ValueError: something else, or positions that the network does not have.
    """
    positions: set[int] = set()
    for part in text.split(","):
        if part in _RANGES:
            third = _RANGES.index(part)
            positions.update(range(round(third * num_ws / 3), round((third + 1) * num_ws / 3)))
            continue
        try:
            positions.update(latents.parse_seeds(part))
        except ValueError as error:
            raise ValueError(f"layers={text}: give coarse, middle, fine, or numbers and ranges: 0-6,9") from error
    if max(positions) >= num_ws:
        raise ValueError(f"layers={text}: this network has style vectors 0 to {num_ws - 1}")
    return sorted(positions)


def mix(rows: Latents, columns: Latents, layers: list[int]) -> Latents:
    """Every row's point with the style vectors `layers` of every column's, row by row."""
    ws_a = np.repeat(rows.ws, len(columns), axis=0)
    ws_b = np.tile(columns.ws, [len(rows), 1, 1])
    return Latents(latents.mix(ws_a, ws_b, layers))


def sheet(
    network: Network, rows: Latents, columns: Latents, mixed: Latents, transform: NDArray[Any] | None = None
) -> NDArray[np.uint8]:
    """Images of the sources at the left and above, and of the mixed points between, apart by a white gap.

    Args:
        network: what draws.
        rows, columns: the sources.
        mixed: row by row.
        transform: [3, 3], inverse transform of all images; None for none.

    Returns:
        uint8 [H, W, C].
    """
    ws = np.concatenate([columns.ws, rows.ws, mixed.ws])
    drawn = np.stack([*with_progress(network.images(ws, transform), len(ws))])
    above, left, between = np.split(drawn, [len(columns), len(columns) + len(rows)])
    size, gap = network.resolution, max(network.resolution // _GAP, 1)
    canvas = np.full([gap + size * (len(rows) + 1), gap + size * (len(columns) + 1), network.channels], 255, np.uint8)
    canvas[:size, size + gap :] = images.grid(above, len(columns))
    canvas[size + gap :, :size] = images.grid(left, 1)
    canvas[size + gap :, size + gap :] = images.grid(between, len(columns))
    return canvas
