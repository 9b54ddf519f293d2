"""Flags that say what to draw, the same for all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

import sg3tf
from sg3tf.generate import latents_file
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network, open_network
from sg3tf.images import save_png
from sg3tf.latents import parse_seeds, transform_matrix, truncate, z_from_seeds

FloatArray = NDArray[np.float32]

# Flags that say nothing about the picture.
_NOT_SHOWN = ("batch", "out", "outdir", "save_latents", "network")


def define_network_flags() -> None:
    """--network and --batch."""
    flags.DEFINE_string(
        "network", None, ".keras file, run folder, SavedModel, or grpc://HOST:PORT/MODEL.", required=True
    )
    flags.DEFINE_integer(
        "batch", None, "Images at a time, which changes no byte of them; default: up to 8, by memory.", lower_bound=1
    )


def define_truncation_flags() -> None:
    """--trunc and --trunc_cutoff."""
    flags.DEFINE_list("trunc", None, "Truncation: 1 is none, 0 the average image; several: a sweep.")
    flags.DEFINE_integer("trunc_cutoff", None, "Truncate only the first so many style vectors.", lower_bound=0)


def define_label_flags() -> None:
    """--class and --label."""
    flags.DEFINE_integer("class", None, "Class number, for a network with labels.")
    flags.DEFINE_list("label", None, "The whole label vector instead: 0.5,0.5,0.")


def define_motion_flags() -> None:
    """--rotate and --translate, of all images."""
    flags.DEFINE_float("rotate", 0.0, "Turns the images clockwise, in degrees.")
    flags.DEFINE_list("translate", ["0", "0"], "Then moves them right and down, in image widths: X,Y.")


def define_flags(seeds: str) -> None:
    """All flags of the commands that draw one picture for each point.

    Args:
        seeds: their default.
    """
    define_network_flags()
    define_truncation_flags()
    define_label_flags()
    define_motion_flags()
    flags.DEFINE_string("seeds", seeds, "Seeds and ranges: 0-63,85.")
    flags.DEFINE_string("latents", None, "Instead of seeds: an .npz file that a tool of sg3tf.generate has left.")
    define_save_flag()


def define_save_flag() -> None:
    """--save_latents."""
    flags.DEFINE_string("save_latents", None, ".npz file to leave the latents in, for other tools' --latents.")


def define_picture_flags(out: str) -> None:
    """--out and --scale.

    Args:
        out: what --out is.
    """
    flags.DEFINE_string("out", None, out, required=True)
    flags.DEFINE_integer("scale", 1, "Side of the square that each pixel becomes, for small networks.", lower_bound=1)


def save_picture(options: Any, picture: NDArray[np.uint8]) -> None:
    """Writes --out, with the flags as metadata, and prints its name."""
    text = {"Software": f"sg3tf {sg3tf.__version__}", "network": options.network, **flags_as_metadata(options)}
    save_png(options.out, picture, text)
    print(options.out)


def save_latents(options: Any, points: Latents) -> None:
    """Leaves the points in --save_latents, if it is given."""
    if options.save_latents:
        latents_file.save(Path(options.save_latents), points)


def network(options: Any) -> Network:
    """The network of the flags, which is opened."""
    return open_network(options.network, options.batch)


def latents_from_flags(network: Network, options: Any) -> Latents:
    """The points that the flags name: seed by seed, and for each of them in the order of --trunc.

    Raises:
        OSError, ValueError: files or values that do not fit, named by their flags.
    """
    if options.latents and options["seeds"].present:
        raise ValueError(f"seeds={options.seeds}, latents={options.latents}: give one of both")
    transform = motion(network, options)
    return apply_transform(
        parse_latents(network, options.latents or options.seeds, options, is_file=bool(options.latents)), transform
    )


def apply_transform(points: Latents, transform: FloatArray | None) -> Latents:
    """The points with `transform` [3, 3], of `motion`, in front of what they are moved by already."""
    if transform is None:
        return points
    earlier = np.eye(3, dtype=np.float32) if points.transform is None else points.transform
    return dataclasses.replace(points, transform=np.broadcast_to(earlier @ transform, [len(points), 3, 3]))


def parse_latents(network: Network, text: str, options: Any, is_file: bool | None = None) -> Latents:
    """The points of seeds or of an .npz file, truncated as the flags say.

    Args:
        text: seeds and ranges, or the name of a file.
        is_file: which of both; None: a file if it ends in .npz.
    """
    psis = numbers("trunc", options.trunc) if options.trunc else [1.0]
    if not (text.endswith(".npz") if is_file is None else is_file):
        return from_seeds(network, parse_seeds(text), psis, options.trunc_cutoff, label(network, options))
    points = latents_file.load(Path(text), network)
    return _swept(network, points, psis, options.trunc_cutoff) if options.trunc else points


def from_seeds(
    network: Network,
    seeds: Sequence[int],
    psis: Sequence[float] = (1.0,),
    cutoff: int | None = None,
    label: FloatArray | None = None,
) -> Latents:
    """The points of seeds.

    Args:
        seeds: from 0 to 2**32 - 1.
        psis: truncations, each for every seed.
        cutoff: truncate only the first so many style vectors; None for all.
        label: [label_dim], for a network with labels.

    Returns:
        Latents of seeds times psis, seed by seed.
    """
    ws = network.map(z_from_seeds(seeds, network.z_dim), label=label)
    labels = None if label is None else np.tile(label, [len(seeds), 1])
    points = Latents(ws, seeds=np.asarray(seeds, np.int64), label=labels)
    return _swept(network, points, psis, cutoff)


def _swept(network: Network, points: Latents, psis: Sequence[float], cutoff: int | None) -> Latents:
    if cutoff is not None and cutoff > network.num_ws:
        raise ValueError(f"trunc_cutoff={cutoff}: network={network.name} has {network.num_ws} style vectors")
    each = points[np.repeat(np.arange(len(points)), len(psis))]
    psi = np.tile(np.asarray(psis, np.float32), len(points))
    return dataclasses.replace(each, ws=truncate(each.ws, network.w_avg, psi, cutoff), psi=psi)


def label(network: Network, options: Any) -> FloatArray | None:
    """The label vector [label_dim] of --class or --label; None for a network without labels."""
    number, vector, dim = options["class"].value, options.label, network.label_dim
    if number is None and not vector and not dim:
        return None
    if not dim or (number is None) == (vector is None):
        remedy = f"give one of both, --class from 0 to {dim - 1}" if dim else "leave them out: no labels here"
        raise ValueError(f"class={number}, label={vector and ','.join(vector)}: {remedy}")
    if vector:
        values = numbers("label", vector)
        if len(values) != dim:
            raise ValueError(f"label={','.join(vector)}: give {dim} numbers")
        return np.asarray(values, np.float32)
    if not 0 <= number < dim:
        raise ValueError(f"class={number}: must be from 0 to {dim - 1}")
    return np.eye(dim, dtype=np.float32)[number]


def motion(network: Network, options: Any) -> FloatArray | None:
    """The transform [3, 3] of --rotate and --translate; None where nothing moves."""
    shift = numbers("translate", options.translate)
    if len(shift) != 2:
        raise ValueError(f"translate={','.join(options.translate)}: give two numbers, X,Y")
    if not (options.rotate or any(shift)):
        return None
    network.require_transform()
    return transform_matrix(np.radians(options.rotate), *shift)


def single_truncation(options: Any) -> float:
    """The truncation, where a command makes no sweeps."""
    psis = numbers("trunc", options.trunc or ["1"])
    if len(psis) > 1:
        raise ValueError(f"trunc={','.join(options.trunc)}: give one number; grid makes sweeps")
    return psis[0]


def numbers(flag: str, texts: Sequence[str]) -> list[float]:
    """Finite numbers out of a list flag; ValueError names the flag."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = []
    if not values or not np.isfinite(values).all():
        raise ValueError(f"{flag}={','.join(texts)}: give numbers, separated by commas")
    return values


def flags_as_metadata(options: Any) -> dict[str, str]:
    """The flags that were given and make the picture what it is, for its metadata."""
    given = {name: str(options[name].serialize()).partition("=")[2] for name in options if options[name].present}
    return {name: value for name, value in given.items() if name not in _NOT_SHOWN}
