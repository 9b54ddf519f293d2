"""Draw classes side by side, one per column.

sg3tf generate sheet --network=runs/00000-... --seeds=0-7 --classes=0-9 --out=classes.png
"""

from __future__ import annotations

from absl.flags import DEFINE_string, FlagValues

from sg3tf.cli import drawing_flags
from sg3tf.generate.network import Network
from sg3tf.generate.sheets import class_sheet, latents_of_classes
from sg3tf.latents import parse_seeds
from sg3tf.utils.class_names import describe_classes, is_number


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_drawing_network(options)
    drawing_flags.define_noise(options)
    drawing_flags.define_truncation(options)
    drawing_flags.define_transform(options)
    drawing_flags.define_seeds(options, "0-7", "Seeds and ranges, one per row: 0-7,85.")
    DEFINE_string(
        "classes", None,
        "Classes, one per column: names separated by commas, or numbers and ranges, 0-3,7; default: all.",
        flag_values=options,
    )  # fmt: skip
    drawing_flags.define_picture(options, "PNG file to write.")
    drawing_flags.define_save_latents(options)


def main(options: FlagValues) -> None:
    """Run the command."""
    seeds = parse_seeds(options.seeds)
    psi = drawing_flags.single_truncation(options)
    network = drawing_flags.network_from_flags(options)
    if not network.label_dim:
        raise ValueError(f"network={network.name}: has no classes to show; grid takes networks without labels")
    if is_number(network.classes, network.label_dim):
        given = f"network={network.name}: its label is one number"
        raise ValueError(f"{given}, and it has no classes to show; grid --class=NUMBER takes one")
    if network.label_scale:
        given = f"network={network.name}: its label is {network.label_dim} numbers"
        raise ValueError(f"{given}, and it has no classes to show; grid --class=NUMBER,NUMBER,... takes them")
    classes = _class_numbers(network, options.classes)
    towards_class = options.trunc_center == "class"
    latents = latents_of_classes(network, seeds, classes, psi, options.trunc_cutoff, towards_class)
    latents = drawing_flags.apply_transform(latents, drawing_flags.transform_from_flags(network, options))
    drawing_flags.prepare_outputs(options)
    drawing_flags.save_picture(network, options, class_sheet(network, latents, classes, options.scale))
    drawing_flags.save_latents(options, latents)


def _class_numbers(network: Network, text: str | None) -> list[int]:
    """Return the classes of a name, of names separated by commas, or of numbers and ranges; of None, all."""
    if text in network.classes:  # it may contain a comma
        return [network.classes.index(text)]
    names = [part.strip() for part in (text or "").split(",")]
    if set(names) <= set(network.classes):
        return [network.classes.index(name) for name in names]
    try:
        return drawing_flags.parse_positions("classes", text, network.label_dim)
    except ValueError as error:
        if not network.classes:
            raise
        choice = describe_classes(network.classes, network.label_dim)
        raise ValueError(f"classes={text}: give a range such as 0-1, {choice}") from error
