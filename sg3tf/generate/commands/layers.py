"""python -m sg3tf.cli.generate layers: what each layer shows, three of its channels as red, green and blue.

python -m sg3tf.cli.generate layers --network=runs/00000-... --seeds=0,1 --layers=0-13 --out=layers.png
python -m sg3tf.cli.generate layers --network=runs/00000-... --seeds=0 --translate=0,0:0.1,0 --out=layers.mp4
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf.generate import shared_flags, trajectory
from sg3tf.generate.captions import with_captions
from sg3tf.generate.feature_maps import Activations, View, layers_of
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.render_video import render_video
from sg3tf.images import enlarge
from sg3tf.latents import parse_seeds
from sg3tf.utils.progress import with_progress

Picture = NDArray[np.uint8]

_VIEWED = 8  # images at most that say which channels are shown, and in what range


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_network_flags()
    trajectory.define_flags()
    flags.DEFINE_string("layers", None, "Layers and ranges, coarse to fine from 0; default: all.")
    flags.DEFINE_integer("columns", 8, "Layers side by side.", lower_bound=1)
    shared_flags.define_picture_flags(
        "PNG of the seeds, one below the other; or a film through them, as interpolate makes."
    )


def main(options: Any) -> None:
    """Runs the command with its flags."""
    way = trajectory.way(options)
    network = shared_flags.network(options)
    numbers = layer_numbers(network, options.layers)
    keyframes = trajectory.keyframes(network, options)
    out, still = Path(options.out), options.out.endswith(".png")
    latents = trajectory.interpolate_keyframes(
        network, keyframes, dataclasses.replace(way, frames=1, loop=True) if still else way
    )
    views = Views(network, latents, numbers)
    if still:
        drawn = [views.tiles(number) for number in with_progress(range(len(latents)), len(latents))]
        rows = dict(zip(keyframes.names(), drawn, strict=True))
        shared_flags.save_picture(options, views.picture(rows, options.columns, options.scale))
    else:
        described = {"network": network.identity(), "latents": latents.digest(), "layers": numbers}
        described |= {"columns": options.columns, "scale": options.scale}

        def frames_from(start: int) -> Iterator[Picture]:
            for number in range(start, len(latents)):
                yield views.picture({"": views.tiles(number)}, options.columns, options.scale)

        render_video(out, len(latents), frames_from, options.fps, described)
        print(options.out)
    shared_flags.save_latents(options, latents)


def layer_numbers(network: Network, text: str | None) -> list[int]:
    """Layers and ranges as people write them; None: all.

    Raises:
        ValueError: a network whose layers are out of reach, or layers that it does not have.
    """
    count = len(layers_of(network.generator))
    try:
        numbers = range(count) if text is None else parse_seeds(text)
    except ValueError as error:
        raise ValueError(f"layers={text}: give numbers and ranges, like 0-3,7") from error
    if max(numbers) >= count:
        raise ValueError(f"layers={text}: this network has layers 0 to {count - 1}")
    return list(numbers)


class Views:
    """Pictures of layers while they draw points.

    Args:
        network: one with a Keras model.
        latents: the points, of which some say which channels are shown, and in what range.
        numbers: of the layers.
    """

    def __init__(self, network: Network, latents: Latents, numbers: Sequence[int]) -> None:
        self._network = network
        self._latents = latents
        self._activations = Activations(network.generator, list(numbers))
        some = np.linspace(0, len(latents) - 1, min(len(latents), _VIEWED)).astype(int)
        given = [self._given(number) for number in some]
        self._views = [View.of([layers[i] for layers in given]) for i in range(len(numbers))]

    def tiles(self, number: int) -> list[Picture]:
        """What the layers show of one point, and its image, each uint8 [resolution, resolution, 3]."""
        side = self._network.resolution
        tiles = [view(given) for view, given in zip(self._views, self._given(number), strict=True)]
        moved = self._latents.transform
        image = self._network.synthesize(self._latents.ws[[number]], None if moved is None else moved[[number]])[0]
        tiles.append(image[..., :3].repeat(3 // min(image.shape[2], 3), axis=2))
        return [enlarge(tile, side // len(tile)) for tile in tiles]

    def picture(self, rows: dict[str, list[Picture]], columns: int, scale: int = 1) -> Picture:
        """Tiles of points, by their names, as one picture with captions, so many layers side by side.

        Returns:
            uint8 [H, W, 3]; each pixel of the image is a square of side `scale`.
        """
        names = [*self._activations.names, "image"]
        blocks = []
        for start in range(0, len(names), columns):
            part = slice(start, start + columns)
            blank = [""] * (columns - len(names[part]) if start else 0)
            some = {name: [enlarge(tile, scale) for tile in tiles[part]] for name, tiles in rows.items()}
            blocks.append(with_captions([*names[part], *blank], some))
        return np.concatenate(blocks)

    def _given(self, number: int) -> list[NDArray[np.float32]]:
        moved = self._latents.transform
        return self._activations(self._latents.ws[number], None if moved is None else moved[number])
