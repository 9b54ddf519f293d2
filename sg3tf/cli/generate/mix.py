"""Draw a style mixing sheet: each row's image with each column's styles (arXiv 1812.04948, figure 3).

sg3tf generate mix --network=runs/00000-... --rows=85,100 --cols=55,821 --layers=coarse --out=mix.png
"""

from __future__ import annotations

from absl.flags import DEFINE_string, FlagValues

from sg3tf.cli import drawing_flags
from sg3tf.generate.sheets import mix_pairs, mixing_sheet
from sg3tf.images import enlarge


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_drawing_network(options)
    drawing_flags.define_noise(options)
    drawing_flags.define_truncation(options)
    drawing_flags.define_class(options)
    drawing_flags.define_transform(options)
    DEFINE_string("rows", "0-3", "Sources of the rows: seeds, or an .npz file of latents.", flag_values=options)
    DEFINE_string("cols", "4-9", "Sources of the columns: seeds, or an .npz file of latents.", flag_values=options)
    DEFINE_string(
        "layers",
        "coarse",
        "Style vectors taken from the columns: coarse, middle, fine, or numbers: 0-6,9.",
        flag_values=options,
    )
    drawing_flags.define_picture(options, "PNG file to write.")
    drawing_flags.define_save_latents(options)


def main(options: FlagValues) -> None:
    """Run the command."""
    drawing_flags.single_truncation(options)
    network = drawing_flags.network_from_flags(options)
    layers = drawing_flags.style_range(options.layers, network.num_ws)
    are_files = {flag: drawing_flags.is_latents_file(options[flag].value) for flag in ("rows", "cols")}
    if all(are_files.values()):
        drawing_flags.reject_unused_class(options, *are_files)
    transform = drawing_flags.transform_from_flags(network, options)
    rows, columns = (
        drawing_flags.apply_transform(drawing_flags.parse_latents(network, flag, options, is_file), transform)
        for flag, is_file in are_files.items()
    )
    mixed = mix_pairs(rows, columns, layers)
    drawing_flags.prepare_outputs(options)
    picture = enlarge(mixing_sheet(network, rows, columns, mixed), options.scale)
    drawing_flags.save_picture(network, options, picture)
    drawing_flags.save_latents(options, mixed)
