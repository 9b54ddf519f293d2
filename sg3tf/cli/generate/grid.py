"""Draw a grid of images, or a truncation sweep.

sg3tf generate grid --network=runs/00000-... --seeds=0-63 --out=uncurated.png
sg3tf generate grid --network=runs/00000-... --seeds=3,7,85 --trunc=0,0.5,1 --out=sweep.png
"""

from __future__ import annotations

from absl.flags import DEFINE_integer, FlagValues

from sg3tf.cli import drawing_flags
from sg3tf.generate.sheets import grid
from sg3tf.images import enlarge


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_latents(options, seeds="0-63")
    drawing_flags.define_noise(options)
    drawing_flags.define_picture(options, "PNG file to write.")
    DEFINE_integer(
        "columns",
        None,
        "Images per row; default: one for each --trunc, or as square as possible.",
        lower_bound=1,
        flag_values=options,
    )


def main(options: FlagValues) -> None:
    """Run the command."""
    network = drawing_flags.network_from_flags(options)
    latents = drawing_flags.latents_from_flags(network, options)
    sweep = len(options.trunc or [])
    drawing_flags.prepare_outputs(options)
    picture = grid(network, latents, options.columns or (sweep if sweep > 1 else None))
    drawing_flags.save_picture(network, options, enlarge(picture, options.scale))
    drawing_flags.save_latents(options, latents)
