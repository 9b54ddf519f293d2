"""Draw the feature maps of each layer, with three of its channels as red, green and blue.

sg3tf generate layers --network=runs/00000-... --seeds=0,1 --layers=0-13 --out=layers.png
sg3tf generate layers --network=runs/00000-... --seeds=0 --translate=0,0:0.1,0 --out=layers.mp4
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from absl.flags import DEFINE_integer, DEFINE_string, FlagValues

from sg3tf import video
from sg3tf.cli import drawing_flags
from sg3tf.generate.trajectory import interpolate_keyframes
from sg3tf.generate.videos import render_video
from sg3tf.utils.progress import with_progress


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_trajectory(options)
    DEFINE_string("layers", None, "Layers and ranges, from 0, coarse to fine; default: all.", flag_values=options)
    DEFINE_integer("columns", 8, "Layers side by side.", lower_bound=1, flag_values=options)
    drawing_flags.define_picture(
        options,
        "PNG file with one row per seed; or a video through the seeds: .mp4, .webm or .gif.",
        (".png", *video.ENDINGS),
    )


def main(options: FlagValues) -> None:
    """Run the command."""
    # Imported here, so that --help does not load TensorFlow.
    from sg3tf.generate.feature_maps import LayerPictures, Picture, layers_of

    out = Path(options.out)
    if out.suffix == ".png":
        _refuse_flags_of_videos(options)
    trajectory = drawing_flags.trajectory_from_flags(options)
    network = drawing_flags.network_from_flags(options)
    positions = drawing_flags.parse_positions("layers", options.layers, len(layers_of(network.generator)))
    keyframes = drawing_flags.keyframes_from_flags(network, options)
    if out.suffix == ".png":  # only the keyframes
        is_single = len(keyframes) == 1
        if is_single:  # a single keyframe takes single values only
            drawing_flags.single_truncation(options)
            drawing_flags.transform_from_flags(network, options)
        trajectory = dataclasses.replace(trajectory, frames=1, loop=is_single or options.loop)
    latents = interpolate_keyframes(network, keyframes, trajectory)
    drawing_flags.prepare_outputs(options)
    pictures = LayerPictures(network, latents, positions)
    if out.suffix == ".png":
        tiles = [pictures.tiles(number) for number in with_progress(range(len(latents)), len(latents))]
        rows = [*zip(keyframes.names(), tiles, strict=True)]
        drawing_flags.save_picture(network, options, pictures.sheet(rows, options.columns, options.scale))
    else:

        def frames_from(start: int) -> Iterator[Picture]:
            for number in range(start, len(latents)):
                yield pictures.sheet([("", pictures.tiles(number))], options.columns, options.scale)

        metadata = {"network": network.identity(), "latents": latents.digest(), "layers": positions}
        metadata |= {"columns": options.columns, "scale": options.scale}
        render_video(out, len(latents), frames_from, options.fps, metadata)
        print(options.out)
    drawing_flags.save_latents(options, latents)


def _refuse_flags_of_videos(options: FlagValues) -> None:
    """Raise ValueError if a flag is given that a picture of the keyframes does not use."""
    for flag in ("frames", "curve", "fps"):
        if options[flag].present:
            given = f"{flag}={options[flag].value}, out={options.out}"
            raise ValueError(f"{given}: a .png file shows the keyframes alone; leave {flag} out, or write a video")
