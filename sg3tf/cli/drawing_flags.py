"""Flags of the commands that generate with a network, and the latents, trajectories and transforms they specify."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf.generate import latents_file
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.open_network import open_network
from sg3tf.generate.seeds import latents_from_seeds, sweep_truncation
from sg3tf.generate.trajectory import CURVES, Trajectory, resample
from sg3tf.images import save_png
from sg3tf.latents import parse_seeds, transform_matrix
from sg3tf.utils import flags as shared
from sg3tf.utils.class_names import class_numbers, describe_classes, is_number
from sg3tf.utils.files import require_writable
from sg3tf.version import __version__

FloatArray = NDArray[np.float32]

_OUTPUTS = ("out", "outdir", "save_latents", "save_directions", "video", "tune")
_CONNECTION = ("timeout_s", "ssl_ca_file", "api_key_file")
# Flags that do not affect the image, or are already in its metadata.
_NOT_IN_METADATA = {"batch", "out", "outdir", "save_latents", "network", *_CONNECTION}


# --- Definitions -----------------------------------------------------------------------------------------------------


def define_drawing_network(options: flags.FlagValues) -> None:
    """Define --network, --batch, and the flags for a connection to a server."""
    shared.define_network(
        options,
        "Generator: .keras file, run or checkpoint folder, example network such as portraits-32, address such as "
        "hf://USER/NAME, SavedModel folder, or grpc://HOST:PORT/MODEL.",
    )
    shared.define_batch(
        options, None, "Images at a time; does not affect the images; default: up to 8, by size and memory."
    )
    flags.DEFINE_float(
        "timeout_s",
        None,
        "Deadline for each request to a server, including retries, in seconds; default: 60.",
        lower_bound=0.001,
        flag_values=options,
    )
    flags.DEFINE_string(
        "ssl_ca_file",
        None,
        "PEM file with trusted certificates; enables TLS to a server.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "api_key_file", None, "File with the key to send with each request to a server.", flag_values=options
    )


def define_seeds(options: flags.FlagValues, default: str, help: str = "Seeds and ranges of seeds: 0-63,85.") -> None:
    """Define --seeds."""
    flags.DEFINE_string("seeds", default, help, flag_values=options)


def define_truncation(options: flags.FlagValues, sweep: str = "") -> None:
    """Define --trunc, --trunc_cutoff and --trunc_center.

    Args:
        options: where to define them.
        sweep: what several values of --trunc do, for its help; "" if they are refused.
    """
    help = "Truncation psi: 1 for none, 0 for the average image"
    flags.DEFINE_list("trunc", None, f"{help}; {sweep}." if sweep else f"{help}.", flag_values=options)
    flags.DEFINE_integer(
        "trunc_cutoff",
        None,
        "Number of leading style vectors to truncate; default: all.",
        lower_bound=0,
        flag_values=options,
    )
    flags.DEFINE_enum(
        "trunc_center",
        "all",
        ("all", "class"),
        "Center of truncation: the average of all classes, or that of the class.",
        flag_values=options,
    )


def define_class(options: flags.FlagValues) -> None:
    """Define --class."""
    flags.DEFINE_string(
        "class", None,
        "Class name, class number, or the whole label vector: cat, 3 or 0.5,0.5,0; for networks with labels. "
        "If the data set standardized its labels, give the original numbers.",
        flag_values=options,
    )  # fmt: skip


def define_transform(options: flags.FlagValues) -> None:
    """Define --rotate and --translate."""
    flags.DEFINE_list(
        "rotate", None, "Clockwise rotation in degrees; a video takes several, spread evenly: 0,360.",
        flag_values=options,
    )  # fmt: skip
    flags.DEFINE_string(
        "translate",
        None,
        "Translation after the rotation, in image widths right and down: X,Y; a video takes several: 0,0:0.1,0.",
        flag_values=options,
    )


def define_latents(options: flags.FlagValues, seeds: str, sweep: str = "several values make a sweep") -> None:
    """Define the flags for images: network, seeds or latents, truncation, class, transform, --save_latents.

    Args:
        options: where to define them.
        seeds: default of --seeds.
        sweep: see `define_truncation`.
    """
    define_drawing_network(options)
    define_truncation(options, sweep)
    define_class(options)
    define_transform(options)
    define_seeds(options, seeds)
    flags.DEFINE_string(
        "latents",
        None,
        "Latents instead of seeds: .npz file written by --save_latents, or the one next to a run's image grid.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "tiles", None, "Images of --latents to draw, from 0, such as 0-3,7; default: all.", flag_values=options
    )
    define_save_latents(options)


def define_trajectory(options: flags.FlagValues) -> None:
    """Define the flags for a video through keyframes, which include those for images."""
    define_latents(options, seeds="0-3", sweep="several values are spread evenly")
    flags.DEFINE_enum(
        "curve", "cubic", CURVES,
        "Interpolation between keyframes: cubic or lerp of style vectors, or slerp of z.", flag_values=options,
    )  # fmt: skip
    flags.DEFINE_bool("loop", False, "Return to the first keyframe at the end.", flag_values=options)
    flags.DEFINE_integer(
        "frames", None, "Frames from each keyframe to the next; default: 60, and 8 in a .png file.", lower_bound=1,
        flag_values=options,
    )  # fmt: skip
    define_fps(options)


def define_noise(options: flags.FlagValues) -> None:
    """Define --noise."""
    flags.DEFINE_enum(
        "noise",
        "const",
        ("const", "random", "none"),
        "Noise of the layers of StyleGAN2 and other networks with noise: the stored one, one that each image gets from "
        "its style vectors, or none.",
        flag_values=options,
    )


def define_save_latents(options: flags.FlagValues) -> None:
    """Define --save_latents."""

    def check_ending(name: str | None) -> bool:
        if name and not is_latents_file(name):
            raise flags.ValidationError("give a name that ends in .npz")
        return True

    flags.DEFINE_string(
        "save_latents", None, ".npz file for the latents, to pass to other commands as --latents.", flag_values=options
    )
    flags.register_validator("save_latents", check_ending, flag_values=options)


def define_fps(options: flags.FlagValues) -> None:
    """Define --fps."""
    flags.DEFINE_integer("fps", 30, "Frames per second.", lower_bound=1, flag_values=options)


def define_picture(options: flags.FlagValues, help: str, endings: Sequence[str] = (".png",)) -> None:
    """Define --out and --scale.

    Args:
        help: help text of --out.
        endings: supported suffixes; "" for a folder.
    """

    def check_ending(out: str | None) -> bool:
        if out is not None and Path(out).suffix not in endings:
            raise flags.ValidationError(f"give a name that ends in {' or '.join(filter(None, endings))}")
        return True

    shared.define_out(options, help)
    flags.register_validator("out", check_ending, flag_values=options)
    flags.DEFINE_integer(
        "scale",
        1,
        "Enlargement, for small networks: each pixel becomes a square with sides of this many pixels.",
        lower_bound=1,
        flag_values=options,
    )


# --- Meaning ---------------------------------------------------------------------------------------------------------


def network_from_flags(options: Any) -> Network:
    """Open --network, and set its truncation center from --trunc_center if the command has a --class.

    Raises:
        ValueError: --trunc_center=class for an unconditional network, or without --class; --trunc_cutoff greater than
            the network's number of style vectors; either flag without --trunc.
    """
    if "trunc" in options and not options.trunc:
        _require_no_truncation(options)
    connection = {name: options[name].value for name in _CONNECTION if options[name].value is not None}
    network = open_network(options.network, options.batch, **connection)
    if "noise" in options:
        network.set_noise(options.noise)
    cutoff = options.trunc_cutoff if "trunc_cutoff" in options else None
    if cutoff is not None and cutoff > network.num_ws:
        raise ValueError(f"trunc_cutoff={cutoff}: network={network.name} has {network.num_ws} style vectors")
    if "trunc_center" in options and options.trunc_center == "class":
        if not network.label_dim:
            raise ValueError(f"trunc_center=class: leave it out, as network={network.name} has no labels")
        if "class" in options:
            network.center_on_class(cast(FloatArray, label_from_flags(network, options)))
    return network


def latents_from_flags(network: Network, options: Any, uses_class: bool = False) -> Latents:
    """Return the latents that the flags specify, seed by seed, and for each seed in the order of --trunc.

    Args:
        network: the network they are for.
        options: the flags.
        uses_class: True for a command that needs --class for more than seeds.

    Raises:
        OSError, ValueError: unsuitable files or values; the message names the flag.
    """
    _check_seeds_or_latents(options)
    if options.latents and not uses_class:
        reject_unused_class(options, "latents")
    transform = transform_from_flags(network, options)
    flag = "latents" if options.latents else "seeds"
    return apply_transform(parse_latents(network, flag, options, bool(options.latents)), transform)


def keyframes_from_flags(network: Network, options: Any) -> Latents:
    """Return the latents of --seeds or --latents, without truncation."""
    _check_seeds_or_latents(options)
    if options.latents and options.curve == "slerp":
        raise ValueError(f"latents={options.latents}: slerp interpolates the z of seeds; use cubic or lerp")
    if options.latents:
        reject_unused_class(options, "latents")
        return _load("latents", network, options)
    return latents_from_seeds(network, parse_seeds(options.seeds), label=label_from_flags(network, options))


def trajectory_from_flags(options: Any, frames: int = 60) -> Trajectory:
    """Return the trajectory that the flags specify.

    Args:
        frames: default of --frames.

    Raises:
        ValueError: a flag is not a number; the message names it.
    """
    psi = parse_numbers("trunc", options.trunc) if options.trunc else None
    motion = _motion_from_flags(options) if options.rotate or options.translate else None
    return Trajectory(options.frames or frames, options.curve, options.loop, psi, options.trunc_cutoff, motion)


def parse_latents(network: Network, flag: str, options: Any, is_file: bool) -> Latents:
    """Return the latents of seeds or of an .npz file, truncated according to the flags.

    Args:
        network: the network they are for.
        flag: name of the flag with seeds and ranges, or a file name.
        options: all flags.
        is_file: True for a file, False for seeds.
    """
    psis = parse_numbers("trunc", options.trunc) if options.trunc else [1.0]
    if not is_file:
        seeds, label = parse_seeds(options[flag].value, flag), label_from_flags(network, options)
        return latents_from_seeds(network, seeds, psis, options.trunc_cutoff, label)
    latents = _load(flag, network, options)
    return sweep_truncation(network, latents, psis, options.trunc_cutoff) if options.trunc else latents


def is_latents_file(text: str) -> bool:
    """Return True for an .npz file of latents, False for seeds and ranges."""
    return Path(text).suffix.lower() == ".npz"


def reject_unused_class(options: Any, *files: str) -> None:
    """Reject --class if all latents come from files, which have their own labels, unless truncation uses it.

    Args:
        options: the flags.
        files: names of the flags that hold the files.

    Raises:
        ValueError: --class is given, but not used.
    """
    name = options["class"].value
    if name is not None and options.trunc_center != "class":
        given = ", ".join(f"{flag}={options[flag].value}" for flag in files)
        raise ValueError(f"class={name}: {given} have their own labels; leave --class out")


def _load(flag: str, network: Network, options: Any) -> Latents:
    """Return the latents of the .npz file that a flag names, restricted to --tiles if given."""
    file = options[flag].value
    latents = latents_file.load(Path(file), network, flag)
    if "tiles" not in options or options.tiles is None:
        return latents
    tiles = parse_positions("tiles", options.tiles, len(latents), of=f"{flag}={file}")
    return dataclasses.replace(latents[tiles], tiles=np.array(tiles))


def apply_transform(latents: Latents, transform: FloatArray | None) -> Latents:
    """Compose `transform` [3, 3] with the latents' own transforms, which move the image first."""
    if transform is None:
        return latents
    earlier = np.eye(3, dtype=np.float32) if latents.transform is None else latents.transform
    return dataclasses.replace(latents, transform=np.broadcast_to(earlier @ transform, [len(latents), 3, 3]))


def label_from_flags(network: Network, options: Any) -> FloatArray | None:
    """Return the label [label_dim] of --class: names, numbers or a vector; None for an unconditional network."""
    text, dim = options["class"].value, network.label_dim
    if text is None and not dim:
        return None
    if not dim:
        raise ValueError(f"class={text}: leave it out, as network={network.name} has no labels")
    if text is not None and (vector := _label_vector(text, network)) is not None:
        return vector
    scale = network.label_scale  # labels with a scale are not classes
    label = None if text is None or scale else network.label_of_class(text)
    if label is None:
        choice = "a number" if dim == 1 else f"a vector of {dim} numbers"
        if scale:
            choice += f", as before they were standardized ({scale})"
        elif not is_number(network.classes, dim):
            classes = describe_classes(network.classes, dim)
            choice = classes if dim == 1 else f"{choice}, {classes}"
        raise ValueError(f"{'--class is missing' if text is None else f'class={text}'}: give {choice}")
    return label


def _label_vector(text: str, network: Network) -> FloatArray | None:
    """Return the label of label_dim numbers in `text`, standardized as in the data set; None if it is not a vector."""
    if network.classes and text in class_numbers(network.classes, network.label_dim):
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    if len(numbers) != network.label_dim:
        return None
    vector = np.asarray(network.label_scale.standardize(numbers) if network.label_scale else numbers, np.float32)
    return vector if np.isfinite(vector).all() else None


def transform_from_flags(network: Network, options: Any) -> FloatArray | None:
    """Return the transform [3, 3] of --rotate and --translate; None if they are not given or 0."""
    if len(options.rotate or []) > 1 or ":" in (options.translate or ""):
        given = f"rotate={','.join(options.rotate or ['0'])}, translate={options.translate or '0,0'}"
        raise ValueError(f"{given}: give one value each; several are for videos")
    step = _motion_from_flags(options)[0]
    if not step.any():
        return None
    network.require_transform()
    return transform_matrix(*step)


def single_truncation(options: Any) -> float:
    """Return the truncation, for commands without sweeps."""
    psis = parse_numbers("trunc", options.trunc or ["1"])
    if len(psis) > 1:
        raise ValueError(f"trunc={','.join(options.trunc)}: give one number; grid makes sweeps")
    return psis[0]


def parse_numbers(flag: str, texts: Sequence[str]) -> list[float]:
    """Return the finite numbers of a list flag; raise a ValueError that names the flag."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = []
    if not values or not np.isfinite(values).all():
        raise ValueError(f"{flag}={','.join(texts)}: give numbers, separated by commas")
    return values


def style_range(text: str, num_ws: int) -> list[int]:
    """Return style vector indices: "coarse", "middle", "fine" (thirds), numbers and ranges, separated by commas.

    Raises:
        ValueError: malformed text, or an index out of range.
    """
    thirds = ("coarse", "middle", "fine")
    positions: set[int] = set()
    for part in map(str.strip, text.split(",")):
        if part in thirds:
            third = thirds.index(part)
            positions.update(range(round(third * num_ws / 3), round((third + 1) * num_ws / 3)))
            continue
        try:
            positions.update(parse_seeds(part))
        except ValueError as error:
            form = "coarse, middle, fine, or numbers and ranges, the smaller number first: 0-6,9"
            raise ValueError(f"layers={text}: give {form}") from error
    if max(positions) >= num_ws:
        raise ValueError(f"layers={text}: this network has style vectors 0 to {num_ws - 1}")
    return sorted(positions)


def parse_positions(flag: str, text: str | None, count: int, of: str = "this network") -> list[int]:
    """Return the indices in a flag of numbers and ranges, from 0; None means all.

    Args:
        flag: flag name, a plural such as "layers", for messages.
        text: value of the flag.
        count: number of items.
        of: owner of the items, for messages.

    Raises:
        ValueError: malformed text, or numbers out of range.
    """
    try:
        numbers = list(range(count)) if text is None else parse_seeds(text)
    except ValueError as error:
        raise ValueError(f"{flag}={text}: give numbers and ranges, the smaller number first, like 0-3,7") from error
    if max(numbers) >= count:
        raise ValueError(f"{flag}={text}: {of} has {flag} 0 to {count - 1}")
    return numbers


# --- Results ---------------------------------------------------------------------------------------------------------


def flags_as_metadata(options: Any) -> dict[str, str]:
    """Return the given flags that affect the image, for its metadata."""
    given = [options[name] for name in options if options[name].present and name not in _NOT_IN_METADATA]
    return {
        flag.name: str(flag.value).lower() if flag.boolean else str(flag.serialize()).partition("=")[2]
        for flag in given
    }


def picture_metadata(network: Network, options: Any) -> dict[str, str]:
    """Return the metadata of a picture: the program, the network, and the given flags that affect the image."""
    return {"Software": f"sg3tf {__version__}", "network": network.source, **flags_as_metadata(options)}


def prepare_outputs(options: Any) -> None:
    """Make the folders of all output files, and try whether files can be written there, before images are computed.

    Raises:
        OSError: they cannot; the message names the flag.
    """
    for flag in _OUTPUTS:
        if flag not in options or not options[flag].value:
            continue
        path = Path(options[flag].value)
        folder = path if flag == "outdir" else path.parent
        try:
            require_writable(folder)
        except OSError as error:
            raise OSError(f"{flag}={path}: no files can be written to {folder} ({error.strerror})") from error
        if path.suffix and path != folder and path.is_dir():
            raise IsADirectoryError(f"{flag}={path}: is a folder; choose another name")


def save_picture(network: Network, options: Any, picture: NDArray[np.uint8]) -> None:
    """Write --out, with its metadata, and print its name."""
    save_png(options.out, picture, picture_metadata(network, options))
    print(options.out)


def save_latents(options: Any, latents: Latents) -> None:
    """Write --save_latents, if given."""
    if options.save_latents:
        latents_file.save(Path(options.save_latents), latents)


def _check_seeds_or_latents(options: Any) -> None:
    if options.latents and options["seeds"].present:
        raise ValueError(f"seeds={options.seeds}, latents={options.latents}: give one of them")
    if options.tiles and not options.latents:
        raise ValueError(f"tiles={options.tiles}: counts the images of a file; give it with --latents")


def _require_no_truncation(options: Any) -> None:
    """Raise ValueError if a truncation flag is given."""
    for flag, value, default in (
        ("trunc_cutoff", options.trunc_cutoff, None),
        ("trunc_center", options.trunc_center, "all"),
    ):
        if value != default:
            raise ValueError(f"{flag}={value}: has no effect without --trunc; add it, such as --trunc=0.7")


def _motion_from_flags(options: Any) -> NDArray[np.float64]:
    """Return rows (clockwise angle in radians, image widths right and down) with all values of both flags."""
    angles = np.radians(parse_numbers("rotate", options.rotate or ["0"]))
    shifts = [parse_numbers("translate", pair.split(",")) for pair in (options.translate or "0,0").split(":")]
    if any(len(shift) != 2 for shift in shifts):
        raise ValueError(f"translate={options.translate}: give X,Y, or several of them, like 0,0:0.1,0")
    # Both are piecewise linear: use a grid that contains the corners of both.
    count = max(len(angles) - 1, 1) * max(len(shifts) - 1, 1) + 1
    return np.column_stack([resample(angles, count, False), resample(shifts, count, False)])
